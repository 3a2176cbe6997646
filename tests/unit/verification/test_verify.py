"""Bundles beside their own answers: those that do not load, say nothing or are no numbers."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.fake_device_bundle import change, write_sums
from tledge.errors import ArtifactError
from tledge.verification import verify

ANSWERS = "golden/tflite-int8.xnnpack.npy"


def replaced(bundle: Path, kind: str) -> None:
    """Recorded answers that are none."""
    path = bundle / ANSWERS
    found = np.load(path, allow_pickle=False)
    if kind == "objects":
        np.save(path, np.array([Path], object), allow_pickle=True)
    elif kind == "huge":
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999), }".ljust(117) + b"\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    elif kind == "text":
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 6) + b"{((((\n")
    else:
        np.save(path, found * np.float32(np.nan) if kind == "NaN" else found[:, :1])
    write_sums(bundle)


@pytest.mark.parametrize("kind", ["objects", "huge", "text"])
def test_answers_that_do_not_load_are_told(kind: str, bundle: Path) -> None:
    replaced(bundle, kind)
    with pytest.raises(ArtifactError, match="is damaged"):
        verify.verify_bundle(bundle)


@pytest.mark.parametrize(
    ("kind", "words_"), [("NaN", "differ from those recorded"), ("shape", "were recorded")]
)
def test_answers_that_say_nothing_do_not_pass(kind: str, words_: str, bundle: Path) -> None:
    """NaN compares with nothing, and a column would be spread over all classes."""
    replaced(bundle, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = {one.variant: one for one in verify.verify_bundle(bundle).rows}["tflite-int8"]
    assert row.verdict == "failed" and words_ in " ".join(row.reasons)


def test_bundle_of_no_artifact_is_told(bundle: Path) -> None:
    change(bundle, lambda raw: raw.update(artifacts=[]))
    with pytest.raises(ArtifactError, match="names no artifact"):
        verify.verify_bundle(bundle)


def shift_golden_pixels(bundle: Path, levels: int) -> None:
    """Change one value of a golden photo as it was recorded, by so many grey levels."""
    path = bundle / "golden" / "pixels.npy"
    pixels = np.load(path)
    level = int(pixels[2, 5, 7, 1])
    pixels[2, 5, 7, 1] = level + levels if level < 128 else level - levels
    np.save(path, pixels)
    write_sums(bundle)


def test_golden_photo_may_differ_by_one_grey_level(bundle: Path) -> None:
    shift_golden_pixels(bundle, 1)
    assert verify.verify_bundle(bundle).rows


@pytest.mark.parametrize("levels", [2, 10])
def test_golden_photo_that_differs_by_more_is_refused(bundle: Path, levels: int) -> None:
    shift_golden_pixels(bundle, levels)
    with pytest.raises(ArtifactError, match=rf"golden/02\.png preprocessed .* by {levels} grey levels"):
        verify.verify_bundle(bundle)
