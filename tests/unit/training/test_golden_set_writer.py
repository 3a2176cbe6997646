"""The golden set of a run: every id, label and probability belongs to the image beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.numbered_photos import LABELS, SIDE, Network, prepared
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.golden_set import Golden
from tledge.training import golden_set_writer

ROWS = np.array([29, 4, 18, 7, 12, 2, 24, 13, 5])
"""Rows of the test split, in an order of its own."""


def write(folder: Path) -> Golden:
    """Write the golden set of numbered photos, and read it again."""
    network = Network(30)
    photos = prepared(folder / "cache", 30)
    run = RunFolder(folder / "run")
    run.path.mkdir()
    golden_set_writer.write(run, photos, ROWS, network.table[ROWS], network, seed=3)
    return golden_set.load(run.golden)


def numbers(golden: Golden) -> NDArray[np.int64]:
    """Return which photo each image is."""
    return golden.images[:, 0, 0, 0].astype(np.int64)


def require_one_photo_each(golden: Golden) -> None:
    """Check that image, id, label and probabilities of every place are those of one photo."""
    photos = numbers(golden)
    assert golden.ids == tuple(f"{photo}.png" for photo in photos)
    assert [LABELS[label] for label in golden.labels] == [LABELS[photo % 3] for photo in photos]
    np.testing.assert_array_equal(golden.probabilities, Network(30).table[photos])


def test_every_test_photo_is_kept_bit_for_bit(tmp_path: Path) -> None:
    golden = write(tmp_path)
    np.testing.assert_array_equal(numbers(golden), ROWS)
    require_one_photo_each(golden)
    assert golden.probabilities.dtype == np.float32


@pytest.mark.parametrize("count", [3, 6])
def test_part_of_a_large_test_split_keeps_what_belongs_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(golden_set, "MAX_BYTES", count * SIDE * SIDE * 3)
    golden = write(tmp_path)
    assert len(golden.ids) == count and set(numbers(golden)) < set(ROWS.tolist())
    assert np.bincount(golden.labels).tolist() == [count // 3] * 3, "stratified"
    require_one_photo_each(golden)


def test_wrong_input_is_predicted_as_it_would_be_fed(tmp_path: Path) -> None:
    golden, network = write(tmp_path), Network(30)
    for fault in golden_set.FAULTS:
        fed = fault.apply(golden.images.astype(np.float32))
        np.testing.assert_array_equal(golden.faults[fault.name], network.predict_on_batch(fed))
