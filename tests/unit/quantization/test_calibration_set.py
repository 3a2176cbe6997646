"""Calibration images: what is refused, what is written down, and whether their ranges are steady."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.fake_graphs import chain, pictures
from tledge.errors import DataError
from tledge.quantization import calibration_set
from tledge.quantization.activation_statistics import TensorSelection, measure
from tledge.quantization.calibration_set import load, require_usable, stability
from tledge.quantization.tflite_graph import FloatGraph

GOOD = pictures(4)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (GOOD[:0], "is empty or does not hold RGB images"),
        (GOOD[..., 0], "does not hold RGB images: its shape is"),
        (GOOD[..., :1], "expected .images, height, width, 3"),
        (GOOD.astype(np.float32) * np.nan, "holds NaN or infinity"),
        (np.where(GOOD > 99, -np.inf, 0.0), "holds NaN or infinity"),
        (GOOD / np.float32(255), "from 0.* expected pixels 0..255 as uint8. They look scaled"),
        (GOOD.astype(np.int16) + 99, "int16 values from .* expected pixels 0..255"),
        (GOOD.astype(np.float32), "float32 values from"),
        (np.repeat(GOOD[:1], 5, 0), "the 5 calibration images are all the same"),
    ],
)
def test_unusable_set_is_refused(images: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        require_usable(images)


def test_usable_set_passes() -> None:
    require_usable(GOOD)
    require_usable(GOOD[:1])


def test_blanks_are_added_behind() -> None:
    found = calibration_set.with_blanks(GOOD)
    assert len(found) == len(GOOD) + calibration_set.BLANKS and np.array_equal(found[:4], GOOD)
    assert not found[4].any() and (found[5] == 255).all()


def test_difference_of_a_worked_example() -> None:
    """Images 0, 2 reach 0..10, images 1, 3 reach -2..8: 2 of a width of 10. The last one is a blank."""
    span = np.array([[1, 10], [-2, 8], [0, 3], [1, 2], [-99, 99]], np.float32)
    still = np.tile(np.float32([0, 6]), (5, 1))
    found = stability({4: still, 7: span}, {4: "relu", 7: "project"}, 4)
    assert found is not None and found["largest"] == pytest.approx(0.2) and found["tensors"] == 2
    assert [one["tensor"] for one in found["worst"]] == ["project", "relu"]
    assert found["worst"][0]["first"] == (0, 10) and found["worst"][0]["second"] == (-2, 8)
    assert found["images"] == (2, 2) and found["warning"] == ""


def test_one_photo_has_no_halves() -> None:
    assert stability({0: np.zeros((3, 2), np.float32)}, {0: "x"}, 1) is None
    assert stability({}, {}, 9) is None


def spans(images: Any) -> dict[str, Any]:
    graph = FloatGraph(chain())
    found = measure(graph.pack(), calibration_set.with_blanks(images), TensorSelection(graph.activations))
    made = stability(found.spans, {one: graph.name(one) for one in graph.activations}, len(images))
    assert made is not None
    return made


def test_planted_instability_warns() -> None:
    """Every second photo is nearly black: half the set does not know what bright photos do."""
    steady = pictures(40)
    assert spans(steady)["warning"] == ""
    steady[::2] //= 20
    found = spans(steady)
    assert found["largest"] > 0.5
    assert "differs by" in found["warning"] and "Set [export.calibration] images to more" in found["warning"]


def test_blanks_do_not_count() -> None:
    """One half would hold black, the other white."""
    even = np.tile(pictures(1) // 4 + 90, (8, 1, 1, 1))
    assert spans(even)["largest"] == 0


def test_calibration_set_must_be_bytes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="onnx-int8: no calibration set"):
        load(None, "onnx-int8")
    for images in (np.zeros((0, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.float32)):
        np.save(tmp_path / "calibration.npy", images)
        with pytest.raises(DataError, match="calibration set"):
            load(str(tmp_path / "calibration.npy"), "onnx-int8")
