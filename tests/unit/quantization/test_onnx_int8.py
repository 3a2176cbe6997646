"""ONNX in int8: each step on a small graph."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.onnx_graphs import SIDE, WIDTH, answers, constants, graph, photos
from tledge.contract import InputSpec
from tledge.errors import ConversionError
from tledge.formats.registry import VARIANTS, onnx
from tledge.quantization.bias_correction import round_weights
from tledge.quantization.onnx_int8 import correct_biases, fold_batch_norm, quantize
from tledge.verification import structure

lib = pytest.importorskip("onnx")

pytest.importorskip("onnxruntime")


def kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_folding_keeps_answers() -> None:
    before, after = graph(), fold_batch_norm(graph())
    wanted = answers(before, photos())
    assert kinds(before).count("Mul") == 2 and kinds(after).count("Mul") == 1
    assert kinds(after)[-2:] == ["Gemm", "Softmax"] and "MatMul" not in kinds(after)
    assert {node.domain for node in after.graph.node} <= {"", "ai.onnx"}
    assert np.allclose(answers(after, photos()), wanted, atol=1e-5) and np.ptp(wanted, axis=0).max() > 0.3


def linear(model: Any, place: int) -> Any:
    """The linear node with this number."""
    return [one for one in model.graph.node if one.op_type in ("Conv", "Gemm")][place]


def rounded_alone(model: Any, place: int, bias: NDArray[np.float32]) -> Any:
    """A copy of a float model in which one linear node has rounded weights and another bias."""
    copy = lib.ModelProto.FromString(model.SerializeToString())
    node = linear(copy, place)
    kernel = constants(copy)[node.input[1]]
    rounded = round_weights(kernel, 0 if node.op_type == "Conv" else 1)
    for name, values in (("kernel", rounded), ("bias", bias)):
        copy.graph.initializer.append(lib.numpy_helper.from_array(values, f"own_{name}"))
    node.input[:] = [node.input[0], "own_kernel", "own_bias"]
    return copy


@pytest.mark.parametrize("place", range(3), ids=["padded stem", "depthwise", "dense"])
def test_correction_undoes_the_shift(place: int) -> None:
    """A layer with rounded weights gives what it gave before, on average over images and positions."""
    before, after = fold_batch_norm(graph()), fold_batch_norm(graph())
    made = correct_biases(after, photos())
    name = linear(before, place).output[0]
    old, new = (constants(model)[linear(model, place).input[2]] for model in (before, after))

    def mean(model: Any) -> NDArray[np.float32]:
        found = answers(model, photos(), name)
        return found.mean(axis=tuple(axis for axis in range(found.ndim) if axis != 1))

    wanted = mean(before)
    uncorrected = abs(mean(rounded_alone(before, place, old)) - wanted).max()
    corrected = abs(mean(rounded_alone(before, place, new)) - wanted).max()
    assert made[place].largest == pytest.approx(uncorrected, rel=0.02) and uncorrected > 1e-4
    assert corrected < 0.01 * uncorrected


def test_corrected_model_reads_all_it_holds() -> None:
    model = fold_batch_norm(graph())
    correct_biases(model, photos())
    assert set(constants(model)) <= {name for node in model.graph.node for name in node.input}


def test_batches_weigh_as_many_images_as_they_hold() -> None:
    """9 images are a batch of 8 and one of 1."""
    nine, model, other = photos(7), fold_batch_norm(graph()), fold_batch_norm(graph())
    once = correct_biases(model, nine)
    thrice = correct_biases(other, np.concatenate([nine] * 8))
    assert [one.largest for one in once] == pytest.approx([one.largest for one in thrice], rel=1e-4)


def test_weights_lie_on_their_levels() -> None:
    model = fold_batch_norm(graph())
    kernel = constants(model)[linear(model, 0).input[1]]
    made = quantize(model, photos())
    held = constants(made)
    node = next(
        one
        for one in made.graph.node
        if one.op_type == "DequantizeLinear" and held.get(one.input[0], kernel[0]).shape == kernel.shape
    )
    levels, scale, zero_point = (held[name] for name in node.input)
    assert levels.dtype == np.int8 and scale.shape == (WIDTH,) and not zero_point.any()
    assert np.allclose(levels * scale[:, None, None, None], round_weights(kernel, 0), atol=1e-6)


def test_int8_answers_nearly_alike_in_any_batch() -> None:
    model, images = fold_batch_norm(graph()), photos()
    wanted = answers(model, images)
    correct_biases(model, images)
    made = quantize(model, images)
    found = answers(made, images)
    assert 0 < abs(found - wanted).max() < 0.1
    parts = [answers(made, part) for part in (images[:1], images[1:])]
    assert np.allclose(np.concatenate(parts), found, atol=1e-6)


def test_logits_stay_float() -> None:
    made = quantize(fold_batch_norm(graph()), photos())
    logits = linear(made, 2).output[0]
    assert [node.op_type for node in made.graph.node if logits in node.input] == ["Softmax"]


def test_shift_of_scaled_bytes_stays_float() -> None:
    """Its output is read by no QuantizeLinear but the one in front of the first kernel."""
    made = quantize(fold_batch_norm(graph()), photos())
    moved = next(node for node in made.graph.node if node.op_type == "Add")
    assert [node.op_type for node in made.graph.node if moved.output[0] in node.input] == ["Transpose"]


def test_quantizer_without_images_is_a_conversion_error() -> None:
    with pytest.raises(ConversionError, match="quantizer failed"):
        quantize(fold_batch_norm(graph()), photos()[:0])


def inspected(model: Any, folder: Path) -> onnx.Structure:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return onnx.inspect(path)


def reasons(found: onnx.Structure, variant: str) -> list[str]:
    return structure.structure_reasons(
        found, VARIANTS[variant].mode, labels=("a", "b", "c"), spec=InputSpec(SIDE, SIDE), parameters=1000,
        file_bytes=2000,
    )  # fmt: skip


def test_byte_is_its_own_quantized_value(tmp_path: Path) -> None:
    found = inspected(quantize(fold_batch_norm(graph()), photos()), tmp_path)
    assert (found.inputs[0].scale, found.inputs[0].zero_point) == (1.0, 0)
    assert found.inputs[0].shape == (-1, SIDE, SIDE, 3)
    assert not [one for one in reasons(found, "onnx-int8") if "input scale" in one]


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda images: images // 255, "input scale 0.00392157 .*calibrated on images scaled to 0..1"),
        (lambda images: images // 2, "input scale 0.498039 .*the calibration set does not span 0..255"),
    ],
    ids=["0..1", "dark"],
)
def test_wrong_range_is_seen(spoilt: Any, message: str, tmp_path: Path) -> None:
    found = inspected(quantize(fold_batch_norm(graph()), spoilt(photos())), tmp_path)
    assert any(re.match(message, one) for one in reasons(found, "onnx-int8"))


def test_float_graph_is_no_int8(tmp_path: Path) -> None:
    found = inspected(graph(), tmp_path)
    text = "; ".join(reasons(found, "onnx-int8"))
    assert "weights are float32, expected int8" in text and "its input is not quantized" in text
