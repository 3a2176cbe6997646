"""What a model that was made elsewhere says of its input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tledge.errors import ArtifactError, RecipeError
from tledge.formats import input_preprocessing
from tledge.formats.base import InputArithmetic, Port, Structure
from tledge.formats.input_preprocessing import read_input, with_choices
from tledge.preprocessing.scaling import AROUND_ZERO, BYTES, TORCH, parse_scaling

FLOAT = Port("image", "float32", (1, 8, 8, 3))
INT8, UINT8 = replace(FLOAT, dtype="int8"), replace(FLOAT, dtype="uint8")


def structure(port: Port, first: InputArithmetic | None = None, **metadata: Any) -> Structure:
    return Structure((port,), (), {}, (), (), (), None, metadata, first)


def stated(mean: list[float], std: list[float]) -> dict[str, Any]:
    return {"input": {"mean": mean, "std": std}}


def scaling_of(port: Port, first: InputArithmetic | None = None, **metadata: Any) -> str | None:
    found = read_input(structure(port, first, **metadata), "m.tflite").scaling
    return found.name if found else None


@pytest.mark.parametrize(
    ("mean", "std", "name"),
    [
        ([127.5], [127.5], "-1..1"),
        ([0.0], [255.0], "0..1"),
        ([0.0], [1.0], "0..255"),
        ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], "torch"),
        ([128.0], [128.0], "mean=128,std=128"),
        ([127.5, 127.5, 127.5], [127.5, 127.5, 127.5], "-1..1"),
    ],
)
def test_metadata_of_a_float_input(mean: list[float], std: list[float], name: str) -> None:
    assert scaling_of(FLOAT, **stated(mean, std)) == name


@pytest.mark.parametrize(
    ("mean", "std"),
    [([float("nan")], [1.0]), ([0.0], [float("nan")]), ([0.0], [0.0]), ([0.0], [-1.0]), ([1e30], [1.0]),
     ([0.0], [float("inf")]), ([0.0] * 1000, [1.0] * 1000), ([0.0, 1.0], [1.0])],
)  # fmt: skip
def test_absurd_metadata_is_no_scaling(mean: list[float], std: list[float]) -> None:
    found = read_input(structure(FLOAT, **stated(mean, std)), "m.tflite")
    assert found.scaling is None and "cannot be right" in found.source and len(found.source) < 200


def test_float_input_without_metadata_is_unknown() -> None:
    found = read_input(structure(FLOAT), "m.tflite")
    assert found.scaling is None and found.source == "a float32 input without metadata"
    message = str(input_preprocessing.unknown_scaling(found, "m.tflite"))
    assert "--scaling" in message and "-1..1" in message and "auto --photos" in message


@pytest.mark.parametrize(
    ("port", "scale", "zero_point", "name"),
    [
        (UINT8, 1.0, 0, "0..255"),
        (UINT8, 1 / 255, 0, "0..1"),
        (UINT8, 2 / 255, 127, "-1..1"),
        (UINT8, 1 / 128, 128, "-1..1"),
        (INT8, 1.0, -128, "0..255"),
        (INT8, 0.00392, -128, "0..1"),
        (INT8, 2 / 255, -1, "-1..1"),
        (INT8, 0.99 / 255, -128, "0..1"),
        (INT8, 0.0186, -14, None),
        (INT8, 1.0, 0, None),
    ],
)
def test_range_of_a_quantized_input(port: Port, scale: float, zero_point: int, name: str | None) -> None:
    assert scaling_of(replace(port, scale=scale, zero_point=zero_point)) == name


def test_byte_input_takes_the_byte() -> None:
    assert scaling_of(UINT8) == "0..255"
    assert scaling_of(UINT8, **stated([127.5], [127.5])) == "0..255"  # as MediaPipe does
    odd = read_input(structure(replace(UINT8, scale=0.0186, zero_point=114)), "m").scaling
    assert odd and odd.std[0] == pytest.approx(1 / 0.0186)


def test_known_range_goes_before_metadata_and_metadata_before_none() -> None:
    odd = replace(INT8, scale=0.0186, zero_point=-14)
    assert scaling_of(odd, **stated(list(TORCH.mean), list(TORCH.std))) == "torch"
    known = replace(INT8, scale=2 / 255, zero_point=-1)
    assert scaling_of(known, **stated([0.0], [1.0])) == "-1..1"


@pytest.mark.parametrize(
    ("scale", "offset", "name"),
    [
        ((1 / 127.5,), (-1.0,), "0..255"),
        ((1 / 255,), (0.0,), "0..255"),
        ((2.0,), (-1.0,), "0..1"),
        ((1.0,), (-103.939, -116.779, -123.68), "0..255,bgr"),
        ((1 / 0.229, 1 / 0.224, 1 / 0.225), (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225), "0..1"),
        ((0.3,), (7.0,), None),
        ((0.0,), (1.0,), None),
        ((float("nan"),), (0.0,), None),
    ],
)
def test_first_operators_scale(scale: tuple[float, ...], offset: tuple[float, ...], name: str | None) -> None:
    assert scaling_of(FLOAT, InputArithmetic(scale, offset)) == name


@pytest.mark.parametrize(
    ("nominal", "pixels", "name"),
    [("Normalized_0_1", "Rgb8", "0..1"), ("Normalized_1_1", "Bgr8", "-1..1,bgr"),
     ("NominalRange_0_255", "Bgr8", "0..255,bgr"), ("else", "Rgb8", None)],
)  # fmt: skip
def test_properties_of_onnx(nominal: str, pixels: str, name: str | None) -> None:
    metadata = {"Image.NominalPixelRange": nominal, "Image.BitmapPixelFormat": pixels}
    assert scaling_of(FLOAT, **metadata) == name


@pytest.mark.parametrize(
    ("shape", "signature", "expected"),
    [
        ((1, 8, 9, 3), (), (8, 9, 3, "NHWC")),
        ((-1, 3, 8, 9), (), (8, 9, 3, "NCHW")),
        ((1, 28, 28, 1), (), (28, 28, 1, "NHWC")),
        ((1, 1, 28, 28), (), (28, 28, 1, "NCHW")),
        ((1, 1, 1, 3), (-1, -1, -1, 3), (0, 0, 3, "NHWC")),
        ((1, 1, 1, 3), (), (0, 0, 3, "NHWC")),
        ((-1, 3, -1, -1), (), (0, 0, 3, "NCHW")),
    ],
)
def test_shape_is_read(shape: tuple[int, ...], signature: tuple[int, ...], expected: tuple[Any, ...]) -> None:
    found = read_input(structure(replace(UINT8, shape=shape, signature=signature)), "m")
    assert (found.height, found.width, found.channels, found.layout) == expected
    assert (found.size is None) == (expected[0] == 0)


@pytest.mark.parametrize(
    "port",
    [
        replace(FLOAT, shape=(1, 8, 8, 4)),
        replace(FLOAT, shape=(1, 8)),
        replace(FLOAT, shape=(1, 9999, 8, 3)),
        replace(FLOAT, dtype="string"),
        replace(INT8, scale=float("nan")),
        replace(INT8, scale=-1.0),
        replace(INT8, scale=1e30),
        replace(INT8, scale=1e-30),
        replace(INT8, scale=1.0, zero_point=300),
    ],
)
def test_what_is_no_image_is_refused(port: Port) -> None:
    with pytest.raises(ArtifactError, match=r"m\.tflite"):
        read_input(structure(port), "m.tflite")


def test_figures_for_colours_do_not_fit_grey() -> None:
    grey = replace(FLOAT, shape=(1, 8, 8, 1))
    found = read_input(structure(grey, **stated(list(TORCH.mean), list(TORCH.std))), "m")
    assert found.scaling is None and "grey" in found.source
    with pytest.raises(RecipeError, match="grey"):
        with_choices(found, TORCH, None, "m")


def test_choices_go_first() -> None:
    found = read_input(structure(FLOAT, **stated([0.0], [255.0])), "m")
    assert with_choices(found, AROUND_ZERO, None, "m").scaling == AROUND_ZERO
    assert with_choices(found, None, (8, 8), "m") == found
    with pytest.raises(RecipeError, match="takes images of 8x8"):
        with_choices(found, None, (9, 8), "m")
    free = replace(found, height=0, width=0)
    assert with_choices(free, None, (9, 8), "m").size == (9, 8)


def test_byte_input_takes_no_other_scaling() -> None:
    found = read_input(structure(UINT8), "m")
    assert with_choices(found, parse_scaling("0..255,bgr"), None, "m").scaling != BYTES
    with pytest.raises(RecipeError, match="takes bytes"):
        with_choices(found, AROUND_ZERO, None, "m")
