"""Images between the classes, on which remedies are judged."""

from pathlib import Path

import numpy as np
from PIL import Image

from tledge.quantization import selection_images


def test_images_between_classes() -> None:
    """Each is laid over one of another class, in all shares; alone in its class, nothing is."""
    labels = np.array([0, 0, 0, 1, 1, 2])
    images = np.repeat(labels * 100, 12).reshape(6, 2, 2, 3).astype(np.uint8)
    found = selection_images.blend_between_classes(images, labels)
    assert found.shape == (18, 2, 2, 3) and found.dtype == np.uint8
    half = found[6:12, 0, 0, 0].astype(int)
    assert np.array_equal(2 * half - 100 * labels == 100 * labels, [False] * 6)
    assert set((2 * half - 100 * labels).tolist()) <= {0, 100, 200}
    assert len(selection_images.blend_between_classes(images[:3], labels[:3])) == 0


def test_every_photo_has_its_changed_copies_behind_it() -> None:
    """As it is, mirrored, darker, brighter and cropped, each in the order of the photos, with labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 20, 20, 3)).astype(np.uint8)
    copies, labels = selection_images.with_changed_copies(images, np.array([2, 0, 1]))
    assert copies.shape == (15, 20, 20, 3) and copies.dtype == np.uint8
    assert labels.tolist() == [2, 0, 1] * 5
    same, mirrored, darker, brighter, cropped = np.split(copies, 5)
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(mirrored, images[:, :, ::-1])
    np.testing.assert_array_equal(darker, np.round(images * np.float32(0.7)))
    np.testing.assert_array_equal(brighter, np.minimum(np.round(images * np.float32(1.3)), 255))
    box = (2, 2, 18, 18)  # .85 of 20 leaves 1.5 at either edge
    wanted = [Image.fromarray(image).resize((20, 20), Image.Resampling.BILINEAR, box=box) for image in images]
    np.testing.assert_array_equal(cropped, np.stack([np.asarray(image) for image in wanted]))


def test_images_lie_between_a_photo_and_one_of_another_class() -> None:
    labels = np.array([0, 1, 1, 0])
    images = np.array([10, 110, 210, 60], np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    found = selection_images.blend_between_classes(images, labels)[:, 0, 0, 0].reshape(3, 4).astype(int)
    photos = images[:, 0, 0, 0].astype(int)
    others = photos + np.round((found[1] - photos) / 0.5).astype(int)
    assert sorted(others.tolist()) == [10, 60, 110, 210]
    assert all(
        labels[photos.tolist().index(other)] != label for other, label in zip(others, labels, strict=True)
    )
    for share, row in zip((0.4, 0.5, 0.6), found, strict=True):
        assert np.abs(row - (photos + share * (others - photos))).max() <= 0.5


def test_saved_images_are_read_again(tmp_path: Path) -> None:
    images, labels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), np.array([1, 0])
    selection_images.save(tmp_path / "held.npz", images, labels)
    with np.load(tmp_path / "held.npz") as kept:
        assert np.array_equal(kept["images"], images) and np.array_equal(kept["labels"], labels)
