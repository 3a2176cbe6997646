"""Photos of a fixed camera, which near-duplicate groups would keep in one split, are noticed by init."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tledge.recipe.init import recipe_text
from tledge.recipe.init_folder import look

RANDOM = np.random.default_rng(5)


def scene() -> np.ndarray:
    small = Image.fromarray(RANDOM.integers(0, 256, (6, 6, 3), np.uint8))
    return np.asarray(small.resize((64, 64), Image.Resampling.BICUBIC)).astype(int)


def write(folder: Path, count: int, fixed: bool, noise: int) -> None:
    folder.mkdir(parents=True)
    background = scene()
    for number in range(count):
        pixels = (background if fixed else scene()) + RANDOM.integers(-noise, noise + 1, (64, 64, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")


@pytest.mark.parametrize(
    ("fixed", "count", "noise", "alike"),
    [
        ((True, False), 20, 4, ("bad",)),
        ((True, True), 12, 8, ("bad", "ok")),
        ((False, True), 40, 1, ("ok",)),
        ((False, False), 20, 4, ()),
        ((True, True), 6, 4, ()),
    ],
)
def test_labels_of_a_fixed_camera_are_noticed(
    fixed: tuple[bool, bool], count: int, noise: int, alike: tuple[str, ...], tmp_path: Path
) -> None:
    for label, is_fixed in zip(("bad", "ok"), fixed, strict=True):
        write(tmp_path / label, count, is_fixed, noise)
    folder = look(tmp_path)
    assert folder.alike == alike
    assert ('group = "none"' in recipe_text(folder, "parts")) == bool(alike)


def test_split_folders_need_no_groups(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        for label in ("bad", "ok"):
            write(tmp_path / split / label, 9, True, 2)
    assert not look(tmp_path).alike
