"""A folder of photos from the field, with labels and without."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.numbered_photos import encoded
from tledge.data import photo_folder
from tledge.data.photo_folder import label_indices, list_photos, prepare_photos
from tledge.errors import DataError, RecipeError


def write(root: Path, *names: str) -> Path:
    """Write a photo for each name, filled with its number."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(number))
    return root


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("a.png", "b.png"), ["", ""]),
        (("cat/a.png", "dog/b.png"), ["cat", "dog"]),
        (("test/cat/a.png", "test/dog/b.png"), ["cat", "dog"]),
    ],
)
def test_folders_are_labels(tmp_path: Path, names: tuple[str, ...], labels: list[str]) -> None:
    photos = prepare_photos(write(tmp_path, *names), (4, 4))
    assert photos.names == names and list(photos.labels) == labels
    assert photos.has_labels == any(labels)
    assert photos.images.shape == (2, 4, 4, 3) and photos.images[1, 0, 0].tolist() == [1, 1, 1]


def test_known_photos_are_left_out(tmp_path: Path) -> None:
    photos = prepare_photos(
        write(tmp_path, "cat/a.png", "cat/b.png"), (4, 4), exclude={sha256(encoded(0)).hexdigest()}
    )
    assert photos.names == ("cat/b.png",) and photos.known == ("cat/a.png",)
    assert photos.sha256 == (sha256(encoded(1)).hexdigest(),)


def test_unreadable_photos_are_named(tmp_path: Path) -> None:
    write(tmp_path, "cat/a.png")
    (tmp_path / "cat/broken.jpg").write_bytes(b"no photo")
    (tmp_path / "cat/notes.txt").write_text("x")
    photos = prepare_photos(tmp_path, (4, 4))
    assert photos.names == ("cat/a.png",)
    assert "cat/broken.jpg" in photos.unreadable[0] and "notes.txt" in photos.left_out[0]


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(DataError, match="none of its 1 photos"):
        prepare_photos(tmp_path, (4, 4))


@pytest.mark.parametrize("names", [(), ("a.png", "cat/b.png"), ("cat/a.png", "x/dog/b.png")])
def test_other_folders_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(DataError):
        list_photos(write(tmp_path, *names))


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such folder"):
        list_photos(tmp_path / "nowhere")


def test_too_many_photos_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_folder, "MAX_BYTES", 100)
    with pytest.raises(DataError, match=r"3 photos are too many at once.*at most 2"):
        prepare_photos(write(tmp_path, "a.png", "b.png", "c.png"), (4, 4))


def test_labels_are_those_of_the_model(tmp_path: Path) -> None:
    photos = prepare_photos(write(tmp_path, "cat/a.png", "dog/b.png", "owl/c.png"), (4, 4))
    np.testing.assert_array_equal(label_indices(photos, ("owl", "cat "), tmp_path), [1, -1, 0])
    with pytest.raises(DataError, match="not labels of the model"):
        label_indices(photos, ("fish", "bird"), tmp_path)
