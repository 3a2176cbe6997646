"""The golden set of a run: every id, label and probability belongs to the image beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.numbered_photos import LABELS, SIDE, Network, encoded, prepared
from tledge.data import golden_set_writer
from tledge.preprocessing import encodings, image
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.golden_set import Golden

ROWS = np.array([29, 4, 18, 7, 12, 2, 24, 13, 5])
"""Rows of the test split, in an order of its own."""


def write(folder: Path, rows: NDArray[np.int64] = ROWS, originals: int = 0) -> Golden:
    """Write the golden set of numbered photos, and read it again."""
    network = Network(30)
    photos = prepared(folder / "cache", 30, originals)
    run = RunFolder(folder / "run")
    run.path.mkdir()
    golden_set_writer.write(run, photos, rows, network.table[rows], network, seed=3)
    return golden_set.load(run.golden)


def listed(folder: Path, name: str) -> list[dict[str, Any]]:
    """Read a list beside the golden photos."""
    entries: list[dict[str, Any]] = json.loads((folder / "run" / "golden" / name).read_text())
    return entries


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


def test_photos_are_those_of_their_rows(tmp_path: Path) -> None:
    """Kept originals first, byte for byte; then prepared images as PNG, up to twelve and none twice."""
    golden = write(tmp_path, np.arange(5, 28), originals=8)
    photos = listed(tmp_path, "photos.json")
    assert [entry["photo"] for entry in photos] == [f"{number:02d}.png" for number in range(12)]
    assert len({entry["row"] for entry in photos}) == 12
    for entry in photos:
        data = (tmp_path / "run" / "golden" / entry["photo"]).read_bytes()
        np.testing.assert_array_equal(image.preprocess(data, (SIDE, SIDE)), golden.images[entry["row"]])
    assert {int(numbers(golden)[entry["row"]]) for entry in photos[:3]} == {5, 6, 7}
    first = photos[0]
    assert (tmp_path / "run" / "golden" / first["photo"]).read_bytes() == encoded(
        int(numbers(golden)[first["row"]])
    )


def test_copies_in_other_encodings_have_their_own_predictions(tmp_path: Path) -> None:
    golden, network = write(tmp_path), Network(30)
    photos, copies = listed(tmp_path, "photos.json"), listed(tmp_path, "encodings.json")
    assert [copy["encoding"] for copy in copies] == list(encodings.KINDS)
    for number, copy in enumerate(copies):
        assert copy["photo"].startswith(f"{len(photos) + number:02d}.")
        pixels = image.preprocess(tmp_path / "run" / "golden" / copy["photo"], (SIDE, SIDE))
        assert copy["keras"] == network.predict_on_batch(pixels[None])[0].tolist()
        assert copy["label"] == golden.labels[photos[number % len(photos)]["row"]]
