"""Loose models get pixels as they take them, and return probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tests.helpers.loose_models import colour, onnx_model, write
from tledge.errors import RecipeError
from tledge.formats import onnx
from tledge.formats.base import InputArithmetic
from tledge.formats.loose_model import LOGITS, SCORES, open_loose
from tledge.formats.tflite_metadata_writer import write_metadata
from tledge.preprocessing.scaling import AROUND_ZERO, TO_ONE, parse_scaling
from tledge.runtime.model_file import ModelFile

UNEQUAL = [[3.0, 0.0], [0.5, 0.5], [-2.0, 4.0]]

RED, BLUE = colour(220, 90, 30), colour(30, 90, 220)


def predicted(content: bytes, photos: Any = (RED, BLUE), **choices: Any) -> list[list[float]]:
    opened = open_loose(ModelFile("model.onnx", content), **choices)
    rows: list[list[float]] = opened.session.run(np.stack(photos)).tolist()
    return rows


def by_hand(scale: float, offset: float) -> float:
    """The probability of class 0 for RED, whose values are byte * scale + offset."""
    red, green, blue = (value * scale + offset for value in (220, 90, 30))
    return float(1 / (1 + np.exp(-2 * (3 * red + 0.5 * green - 2 * blue))))


def test_scaling_is_applied() -> None:
    (red, blue) = predicted(onnx_model(), scaling=AROUND_ZERO)
    assert red[0] == pytest.approx(by_hand(1 / 127.5, -1), abs=1e-5) and red[0] > 0.9 > 0.1 > blue[0]


def test_without_scaling_it_asks() -> None:
    with pytest.raises(RecipeError, match=r"does not say how its pixels are scaled.*--scaling"):
        predicted(onnx_model())


@pytest.mark.parametrize("nchw", [False, True])
def test_first_operators_are_found(nchw: bool) -> None:
    content = onnx_model(first=[("Div", [127.5]), ("Sub", [1.0])], nchw=nchw)
    (red, _blue) = predicted(content)
    assert red[0] == pytest.approx(by_hand(1 / 127.5, -1), abs=1e-5)
    (first, last) = (onnx.inspect_here(ModelFile("m.onnx", content)).first, "SOFTMAX")
    assert first == InputArithmetic((1 / 127.5,), (-1.0,))
    assert onnx.inspect_here(ModelFile("m.onnx", content)).last == last


def test_planes_give_the_same() -> None:
    usual, planes = (predicted(onnx_model(nchw=nchw), scaling=TO_ONE) for nchw in (False, True))
    np.testing.assert_allclose(usual, planes, atol=1e-6)


def test_channels_are_swapped() -> None:
    (red, blue) = predicted(onnx_model(), scaling=parse_scaling("-1..1,bgr"))
    assert red[0] < 0.5 < blue[0]


def test_grey_input_gets_luma() -> None:
    content = onnx_model(channels=1, weights=[[1.0, -1.0]])
    ((white, _), (black, _)) = predicted(content, [colour(*[255] * 3), colour(0, 0, 0)], scaling=AROUND_ZERO)
    assert white == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-5) and black == pytest.approx(
        1 - white, abs=1e-5
    )


def test_one_image_at_a_time_where_the_batch_is_fixed() -> None:
    assert len(predicted(onnx_model(batch=1), [RED] * 3, scaling=TO_ONE)) == 3


def test_half_precision_and_bytes() -> None:
    assert predicted(onnx_model(dtype="FLOAT16"), scaling=TO_ONE)[0][0] > 0.9
    assert predicted(onnx_model(dtype="UINT8", first=[("Div", [255.0])]))[0][0] > 0.9


@pytest.mark.parametrize(
    ("last", "returns"), [("", LOGITS), ("Sigmoid", SCORES), ("Softmax", "probabilities")]
)
def test_logits_get_a_softmax(last: str, returns: str) -> None:
    opened = open_loose(ModelFile("m.onnx", onnx_model(last=last, weights=UNEQUAL)), scaling=TO_ONE)
    assert opened.returns == returns
    rows = opened.session.run(np.stack([RED, BLUE]))
    assert rows.min() >= 0 and rows.max() <= 1
    assert (returns == SCORES) != np.allclose(rows.sum(1), 1, atol=1e-5)
    assert any("logits" in line or "score" in line for line in opened.remarks) == (returns != "probabilities")


@pytest.mark.parametrize("last", ["", "Sigmoid"])
def test_one_output_becomes_two_classes(last: str, tmp_path: Path) -> None:
    opened = open_loose(
        ModelFile("m.onnx", onnx_model(last=last, weights=[[-3.0], [0.0], [2.0]])), scaling=TO_ONE
    )
    assert opened.session.classes == 2
    (red, blue) = opened.session.run(np.stack([RED, BLUE])).tolist()
    assert sum(red) == pytest.approx(1) and red[0] > 0.5 > blue[0]


def test_any_size_takes_photos_as_they_are() -> None:
    content = onnx_model(size=("H", "W"))
    opened = open_loose(ModelFile("m.onnx", content), scaling=TO_ONE)
    assert opened.preprocessing.size is None and any("any size" in line for line in opened.remarks)
    assert opened.session.run(colour(200, 0, 0, side=13)[None]).shape == (1, 2)
    assert open_loose(ModelFile("m.onnx", content), scaling=TO_ONE, image_size=(9, 9)).session.image_size == (
        9,
        9,
    )


def test_write_is_what_other_tests_read(tmp_path: Path) -> None:
    assert write(tmp_path, onnx_model()).stat().st_size > 100


def tflite_file(folder: Path, mean: float, std: float) -> Path:
    """A float file with this mean and std in its metadata."""
    (folder / "m.tflite").write_bytes(
        write_metadata(
            fake_artifacts.tflite(), name="m", description="", version="1",
            labels=fake_artifacts.LABELS, mean=mean, std=std,
        )
    )  # fmt: skip
    return folder / "m.tflite"


@pytest.mark.parametrize(
    ("mean", "std"), [(float("nan"), 1.0), (0.0, float("inf")), (1e30, 1.0), (0.0, -1.0)]
)
def test_absurd_metadata_in_a_file_asks(tmp_path: Path, mean: float, std: float) -> None:
    with pytest.raises(RecipeError, match=r"metadata that cannot be right.*--scaling"):
        open_loose(tflite_file(tmp_path, mean, std))


def test_metadata_of_a_file_scales(tmp_path: Path) -> None:
    opened = open_loose(tflite_file(tmp_path, 127.5, 127.5))
    assert opened.preprocessing.scaling == AROUND_ZERO and opened.labels == fake_artifacts.LABELS
    images = fake_artifacts.pixels()
    by_hand = (images / np.float32(127.5) - 1).reshape(5, -1) @ fake_artifacts.weights().T
    logits = np.log(opened.session.run(images))
    np.testing.assert_allclose(logits - logits[:, :1], by_hand - by_hand[:, :1], atol=1e-3)
