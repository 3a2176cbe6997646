"""Corruptions equal those of OpenCV, repeat, and grow with their level."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tledge.preprocessing import corruptions
from tledge.preprocessing.corruptions import CORRUPTIONS, DIRECTIONS, LEVELS, corrupt

Image = NDArray[np.uint8]


@pytest.fixture(scope="module", params=[(64, 48), (71, 71), (96, 96)])
def image(request: pytest.FixtureRequest) -> Image:
    """A picture with edges, a gradient, texture and saturated parts."""
    height, width = request.param
    generator = np.random.default_rng(7)
    rows, columns = np.mgrid[0:height, 0:width]
    base = np.stack([rows * 3, columns * 4, 255 - rows - columns], -1) % 256
    base[height // 4 : height // 2, width // 4 : width // 2] = (250, 20, 130)
    base[-9:] = 255
    return np.clip(base + generator.normal(0, 12, base.shape), 0, 255).astype(np.uint8)


def strength(name: str, level: int) -> float:
    return CORRUPTIONS[name].strengths[level - 1]


def by_opencv(image: Image, name: str, level: int) -> list[Image]:
    """What OpenCV makes of an image; several where a direction is drawn."""
    value = strength(name, level)
    pixels = image.astype(np.float64)
    if name == "blur":
        size = 2 * int(corruptions.TRUNCATE * value + 0.5) + 1
        return [cv2.GaussianBlur(image, (size, size), value, borderType=cv2.BORDER_REPLICATE)]
    if name == "motion-blur":
        return [motion(image, int(value), direction) for direction in DIRECTIONS]
    if name in ("dark", "bright"):
        return [cv2.convertScaleAbs(image, alpha=value)]
    if name == "low-contrast":
        return [cv2.addWeighted(image, value, np.full_like(image, 0), 0, (1 - value) * pixels.mean())]
    if name == "jpeg":
        _done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(value)])
        return [cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]]
    if name == "low-resolution":
        return [reduced(image, int(value))]
    assert name == "colour-cast"
    return [
        np.dstack([cv2.convertScaleAbs(image[..., c], alpha=gain) for c, gain in enumerate(gains)])
        for gains in ((1 + value, 1, 1 - value), (1 - value, 1, 1 + value))
    ]


def motion(image: Image, length: int, direction: tuple[int, int]) -> Image:
    kernel = np.zeros((length, length))
    for offset in range(-(length // 2), length // 2 + 1):
        kernel[length // 2 + direction[0] * offset, length // 2 + direction[1] * offset] = 1 / length
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def reduced(image: Image, factor: int) -> Image:
    """Average each block, those that the border cuts too, and enlarge by interpolation."""
    height, width = image.shape[:2]
    small = np.empty((-(-height // factor), -(-width // factor), 3))
    for row, column in np.ndindex(small.shape[:2]):
        block = image[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        small[row, column] = cv2.resize(block.astype(np.float64), (1, 1), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"noise"}))
def test_equals_opencv_within_a_grey_level(image: Image, name: str, level: int) -> None:
    result = corrupt(image, name, level, seed=3, number=5).astype(int)
    assert min(np.abs(result - other).max() for other in by_opencv(image, name, level)) <= 1


@pytest.mark.parametrize("level", LEVELS)
def test_noise_has_its_deviation(level: int) -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    difference = corrupt(grey, "noise", level, seed=0, number=0).astype(float) - 128
    sigma = strength("noise", level)
    assert abs(difference.mean()) < 0.3 and abs(difference.std() / sigma - 1) < 0.02
    channels = difference.reshape(-1, 3).T
    assert np.abs(np.corrcoef(channels) - np.eye(3)).max() < 0.02


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_repeats_and_changes_more_with_its_level(image: Image, name: str) -> None:
    before = image.copy()
    results = [corrupt(image, name, level, seed=1, number=2) for level in LEVELS]
    again = [corrupt(image, name, level, seed=1, number=2) for level in LEVELS]
    assert all((one == other).all() for one, other in zip(results, again, strict=True))
    assert all(result.dtype == np.uint8 and result.shape == image.shape for result in results)
    changes = [np.abs(result.astype(int) - before).mean() for result in results]
    assert 0 < changes[0] < changes[1] and changes[0] < changes[2]
    assert (image == before).all()


@pytest.mark.parametrize("name", ["noise", "motion-blur", "colour-cast"])
def test_images_and_seeds_differ(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    first = corrupt(image, name, 2, seed=0, number=0)
    assert any((corrupt(image, name, 2, seed=0, number=number) != first).any() for number in range(1, 9))
    assert any((corrupt(image, name, 2, seed=seed, number=0) != first).any() for seed in range(1, 9))


def test_unknown_names_and_levels_are_refused() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(KeyError):
        corrupt(image, "rain", 1, 0, 0)
    with pytest.raises(ValueError, match="expected 1, 2 or 3"):
        corrupt(image, "blur", 0, 0, 0)
