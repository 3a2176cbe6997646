"""Folders of drawn scenes for `tledge data`, and reading its report."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.command_line import Cli
from tests.helpers.recipes import tiny_recipe


def recipe_of(folder: Path) -> str:
    """A recipe over the photos of a folder."""
    return tiny_recipe(f'source = "folder:{folder}"', share=0.2, image_size=64)


def scene(seed: int) -> Image.Image:
    """A picture unlike all others: soft random colours, weaker where they are finer, as in photos."""
    rng = np.random.default_rng(seed)
    made = np.zeros((120, 160, 3))
    for cells, strength in ((4, 1.0), (12, 0.4), (30, 0.15)):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        made += strength * (np.asarray(noise.resize((160, 120), Image.Resampling.BICUBIC), float) - 128)
    return Image.fromarray((128 + made).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, quality: int = 92, orientation: int = 0) -> bytes:
    out = io.BytesIO()
    tags = Image.Exif()
    if orientation:
        tags[0x0112] = orientation
    image.save(out, "JPEG", quality=quality, exif=tags)
    return out.getvalue()


def scenes(parent: Path) -> Path:
    """`photos`, of two labels and each of another scene, and `pets.toml` for them, below `parent`."""
    photos = parent / "photos"
    for number in range(36):
        split, label = ("test" if number % 6 == 0 else "train"), ("cat", "dog")[number % 2]
        place = photos / split / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:02d}.jpg").write_bytes(encoded(scene(number)))
    (photos / "test" / "dog").mkdir(exist_ok=True)
    (photos / "test" / "dog" / "99.jpg").write_bytes(encoded(scene(99)))
    (parent / "pets.toml").write_text(recipe_of(photos))
    return photos


def report(cli: Cli, *options: str) -> dict[str, object]:
    done = cli("data", "pets.toml", "--json", "--quiet", *options)
    assert done.code == 0, done.err
    found: dict[str, object] = json.loads(done.out)
    return found


def pairs(found: dict[str, object]) -> dict[frozenset[str], str]:
    """Kind by the two file names."""
    listed = found["duplicates"]
    assert isinstance(listed, list)
    return {frozenset((one["first"], one["second"])): one["kind"] for one in listed}


def plant(
    folder: Path, cat: str, cat_2: str, dog: str, dog_2: str, test: tuple[str, str]
) -> dict[frozenset[str], str]:
    """Plant doubles of four train photos of two labels; gives what must be reported."""
    labels = cat.split("/")[1], dog.split("/")[1]
    copy, saved = f"train/{labels[1]}/a copy.jpg", f"{test[0]}/saved again.jpg"
    turned, lost = f"{test[1]}/turned by EXIF.jpg", f"{test[1]}/tag lost.jpg"
    (folder / copy).write_bytes((folder / cat).read_bytes())  # the same bytes in two classes
    small = Image.open(folder / cat_2)
    small = small.resize((small.width * 3 // 4, small.height * 3 // 4))
    (folder / saved).write_bytes(encoded(small, quality=75))
    lying = Image.open(folder / dog).transpose(Image.Transpose.ROTATE_90)  # EXIF 6 turns it back
    (folder / turned).write_bytes(encoded(lying, orientation=6))
    (folder / lost).write_bytes(encoded(Image.open(folder / dog_2).transpose(Image.Transpose.ROTATE_90)))
    return {
        frozenset((cat, copy)): "same bytes",
        frozenset((cat_2, saved)): "same picture",
        frozenset((dog, turned)): "same picture",
        frozenset((dog_2, lost)): "turned or mirrored",
    }
