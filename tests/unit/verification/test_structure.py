"""Faults of an artifact's structure: each gives its reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.gate_answers import NAMES
from tledge.contract import InputSpec
from tledge.formats.base import Port, Structure
from tledge.formats.registry import VARIANTS
from tledge.verification import structure

SPEC = InputSpec(32, 48)

PARAMETERS = 1_000_000

INT8 = Structure(
    inputs=(Port("image", "uint8", (1, 32, 48, 3), 1.0, 0),),
    outputs=(Port("probabilities", "uint8", (1, 4), 1 / 256, 0),),
    weights={"int8": 1_000_000, "int32": 20_000},
    activations=("int8", "uint8"),
    operators=("CONV_2D", "DEPTHWISE_CONV_2D", "QUANTIZE", "SOFTMAX"),
    zeroed=(),
    labels=NAMES,
)

FLOAT = Structure(
    inputs=(Port("image", "uint8", (1, 32, 48, 3)),),
    outputs=(Port("probabilities", "float32", (1, 4)),),
    weights={"float32": 4_000_000, "int32": 200},
    activations=("float32",),
    operators=("CAST", "CONV_2D"),
    zeroed=(),
    labels=NAMES,
)


def faults(found: Structure, variant: str = "tflite-int8", size: int = 1_100_000) -> list[str]:
    return structure.structure_reasons(
        found, VARIANTS[variant].mode, labels=NAMES, spec=SPEC, parameters=PARAMETERS, file_bytes=size
    )


def port(**parts: Any) -> tuple[Port, ...]:
    return (replace(INT8.inputs[0], **parts),)


HALF = replace(FLOAT, weights={"float16": 2_000_000})

EIGHT = replace(FLOAT, weights={"int8": 990_000, "float32": 20_000})

ANY_BATCH = replace(FLOAT, inputs=(Port("image", "uint8", (-1, 32, 48, 3)),))


@pytest.mark.parametrize(
    ("found", "variant", "size"),
    [
        (INT8, "tflite-int8", 1_100_000),
        (FLOAT, "tflite-fp32", 4_050_000),
        (HALF, "tflite-fp16", 2_050_000),
        (EIGHT, "tflite-dynamic", 1_100_000),
        (ANY_BATCH, "onnx-fp32", 4_050_000),
        (replace(ANY_BATCH, weights=HALF.weights), "onnx-fp16", 2_050_000),
        (replace(EIGHT, inputs=(replace(ANY_BATCH.inputs[0], scale=1.0),)), "onnx-int8", 1_100_000),
        (ANY_BATCH, "saved_model", 5_000_000),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_good_structure_has_no_reasons(found: Structure, variant: str, size: int) -> None:
    assert faults(found, variant, size) == []


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"inputs": port(dtype="float32", scale=0.0)}, "takes float32 input, the contract says uint8"),
        ({"inputs": port(dtype="int8")}, "takes int8 input"),
        ({"inputs": port(dtype="int16")}, "takes int16 input"),
        ({"inputs": port(scale=1 / 255)}, "calibrated on images scaled to 0..1"),
        ({"inputs": port(scale=0.0)}, "its input is not quantized: a float model, or one with integer"),
        ({"inputs": port(scale=0.93)}, "the calibration set does not span 0..255"),
        ({"inputs": port(zero_point=3)}, "zero point 3, expected 1 and 0"),
        ({"inputs": port(shape=(-1, 32, 48, 3))}, "[-1, 32, 48, 3], the contract says [1, 32, 48, 3]"),
        ({"inputs": port(shape=(1, 48, 32, 3))}, "the contract says [1, 32, 48, 3]"),
        ({"inputs": port(shape=(1, 3, 32, 48))}, "the contract says [1, 32, 48, 3]"),
        ({"inputs": port() * 2}, "has 2 inputs and 1 outputs, expected one each"),
        ({"outputs": ()}, "has 1 inputs and 0 outputs"),
        ({"outputs": (replace(INT8.outputs[0], shape=(1, 5)),)}, "returns 5 values for 4 labels"),
        ({"operators": ("CONV_2D", "FlexErf")}, "operators that LiteRT lacks: FlexErf"),
        ({"operators": ("READ_VARIABLE", "VAR_HANDLE")}, "from variables (READ_VARIABLE, VAR_HANDLE)"),
        ({"operators": ("RANDOM_UNIFORM",)}, "random operators (RANDOM_UNIFORM)"),
        ({"operators": ("BERNOULLI",)}, "random operators (BERNOULLI)"),
        ({"operators": ("MULTINOMIAL",)}, "random operators (MULTINOMIAL)"),
        ({"weights": {"float32": 4_000_000}}, "holds float32 tensors (100% of the weights): a float model"),
        ({"activations": ("float32", "int8")}, "holds float32 tensors (0% of the weights)"),
        ({"labels": None}, "carries no labels"),
        ({"labels": ("dog", "cat", "emu", "fox")}, "'dog' where labels.txt says 'cat'; labels are shuffled"),
        ({"labels": NAMES[:3]}, "its labels differ from labels.txt"),
        ({"zeroed": ("conv_1", "dense")}, "all weights of dense are zero"),
    ],
    ids=lambda one: one.replace(" ", "-") if isinstance(one, str) else "",
)
def test_planted_fault_gives_reason(parts: dict[str, Any], message: str) -> None:
    (*_others, reason) = faults(replace(INT8, **parts))
    assert message in reason


def test_one_fault_gives_one_reason() -> None:
    assert len(faults(replace(INT8, inputs=port(scale=1 / 255)))) == 1
    assert len(faults(replace(INT8, operators=("FlexErf", "FlexRoll")))) == 1
    assert len(faults(replace(INT8, zeroed=tuple("abcdef")))) == structure.MAX_REASONS


@pytest.mark.parametrize(
    ("found", "variant", "held", "wanted"),
    [
        (FLOAT, "tflite-fp16", "float32", "float16"),
        (FLOAT, "tflite-dynamic", "float32", "int8"),
        (HALF, "tflite-fp32", "float16", "float32"),
        (replace(FLOAT, weights={}), "tflite-fp16", "no", "float16"),
    ],
)
def test_wrong_weight_dtype_is_named(found: Structure, variant: str, held: str, wanted: str) -> None:
    size = int(PARAMETERS * VARIANTS[variant].mode.size[0]) + 1000
    assert f"weights are {held}, expected {wanted}" in faults(found, variant, size)


@pytest.mark.parametrize(
    ("variant", "found", "small", "large"),
    [
        ("tflite-int8", INT8, 899_999, 2_800_000),
        ("tflite-fp16", HALF, 1_799_999, 3_800_000),
        ("tflite-fp32", FLOAT, 3_499_999, 6_300_000),
    ],
)
def test_wrong_file_size_is_named(variant: str, found: Structure, small: int, large: int) -> None:
    assert faults(found, variant, small + 1) == []
    assert "the weights were dropped" in faults(found, variant, small)[0]
    assert "contains more than the model" in faults(found, variant, large)[0]


def test_every_fault_is_told() -> None:
    broken = replace(INT8, inputs=port(dtype="float32"), operators=("FlexErf",), zeroed=("dense",), labels=())
    assert len(faults(broken, size=1000)) == 5
