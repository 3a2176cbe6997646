"""`tools/device_check.py`: which answers count as equal, and what is said of a missing tool."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import arm64
import device_check
import numpy as np
import pytest

from tledge.errors import MissingError, ParityFailed

SURE = np.eye(3, dtype=np.float32)


def compared(folder: Path, name: str, here: Any, there: Any) -> list[str]:
    for side, answers in (("here", here), ("there", there)):
        (folder / side).mkdir()
        np.save(folder / side / name, answers)
    return list(device_check.compare(folder / "here", folder / "there"))


def test_equal_answers_pass(tmp_path: Path) -> None:
    (line,) = compared(tmp_path, "tflite-int8.xnnpack.npy", SURE, SURE)
    assert line == "tflite-int8, xnnpack kernels: differs by 0 in 3 photos, allowed 0"


def test_integers_have_no_tolerance(tmp_path: Path) -> None:
    with pytest.raises(ParityFailed, match=r"tflite-int8, reference kernels: differs by 1\.?.*allowed 0"):
        compared(tmp_path, "tflite-int8.reference.npy", SURE, SURE * np.float32(1 - 1e-6))


def test_floats_may_round(tmp_path: Path) -> None:
    assert compared(tmp_path, "tflite-fp32.xnnpack.npy", SURE, SURE - np.float32(9e-6))


@pytest.mark.parametrize("fault", [SURE - np.float32(2e-5), SURE * np.nan])
def test_floats_have_a_limit(tmp_path: Path, fault: Any) -> None:
    with pytest.raises(ParityFailed, match="allowed 1e-05"):
        compared(tmp_path, "tflite-fp32.xnnpack.npy", SURE, fault)


def test_one_answer_to_everything_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(ParityFailed, match="the same to every photo"):
        compared(tmp_path, "tflite-fp32.xnnpack.npy", SURE[[0, 0]], SURE[[0, 0]])


def test_no_answers_is_no_pass(tmp_path: Path) -> None:
    with pytest.raises(ParityFailed, match=r"needs a \.tflite file"):
        list(device_check.compare(tmp_path, tmp_path))


@pytest.mark.parametrize(
    ("variant", "most"),
    [
        ("tflite-fp16", 1e-5),
        ("tflite-int16x8", 0),
        ("tflite-dynamic", 2.5 / 256),
        ("tflite-mixed", 2.5 / 256),
    ],
)
def test_what_each_variant_is_allowed(variant: str, most: float) -> None:
    assert device_check.allowed(variant) == most


def test_a_missing_tool_is_named() -> None:
    with pytest.raises(MissingError, match="no-such-tool is not here"):
        arm64._output(["no-such-tool"])


def test_a_failing_tool_is_quoted() -> None:
    with pytest.raises(MissingError, match=r"(?s)failed:.*no package of that name"):
        arm64._output([sys.executable, "-c", "raise SystemExit('no package of that name')"])
