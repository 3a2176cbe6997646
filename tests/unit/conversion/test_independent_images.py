"""Images beyond the test split: which are taken, which are left out, and that Keras predicts them once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import fake_artifacts
from tests.helpers.recipes import drawn, tiny_recipe
from tledge._io import files
from tledge.config import Parity
from tledge.contract import InputSpec
from tledge.conversion import independent_images as collected
from tledge.data import prepare, splits
from tledge.progress import Silent
from tledge.quantization import selection_images
from tledge.recipe.definition import Recipe
from tledge.recipe.loader import parse, with_photos
from tledge.run import golden_set, independent_images
from tledge.run.folder import RunFolder
from tledge.run.independent_images import EXTRA, VALIDATION

SIDE = 32


class Listener(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class FakeConverter:
    """Predicts that every image is of the class of its first byte."""

    jobs: int = 0

    def convert(self, conversion: Any) -> None:
        self.jobs += 1
        images = np.load(conversion.job.images)
        np.save(conversion.job.target.out, np.eye(3, dtype=np.float32)[images[:, 0, 0, 0] % 3])


@pytest.fixture
def trained(tmp_path: Path) -> tuple[RunFolder, Recipe]:
    """A run that was never trained, with the test images of its own cache as golden set."""
    recipe = parse(tiny_recipe(drawn(24, 9)), "little.toml")
    folder = RunFolder(fake_artifacts.run(tmp_path / "run"))
    prepared = prepare.prepare_dataset(recipe.data, SIDE)
    facts = {
        "cache": str(prepared.folder), "labels": prepared.labels, "seed": 5, "input": InputSpec(SIDE, SIDE),
    }  # fmt: skip
    files.write_json(folder.run, replace(folder.read_run(), **facts))
    rows = splits.split(prepared, recipe.data, 5)["test"]
    labels = prepared.label_indices[rows]
    golden_set.save(
        folder.golden,
        golden_set.Golden(
            prepared.images()[rows], labels, np.eye(len(prepared.labels), dtype=np.float32)[labels],
            tuple(map(str, rows)), {},
        ),
    )  # fmt: skip
    return folder, recipe


def ask(
    folder: RunFolder, recipe: Recipe, *variants: str, progress: Silent | None = None
) -> collected.Request | None:
    return collected.request(
        folder, recipe, folder.read_run(), variants or ("tflite-int8",), progress or Silent()
    )


def photos(folder: Path, *images: Any) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


def noise(seed: int) -> Any:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE)))


def test_validation_images_and_copies_are_asked_for(trained: tuple[RunFolder, Recipe]) -> None:
    folder, recipe = trained
    asked, golden = ask(folder, recipe), folder.read_golden()
    assert asked is not None and set(asked.collected.sources) == {VALIDATION}
    assert len(asked.copies) == len(selection_images.CHANGES) * len(golden.images)
    assert asked.golden_sha256 == golden_set.fingerprint(folder.read_golden())


def test_nothing_is_asked_for_where_the_test_images_decide(trained: tuple[RunFolder, Recipe]) -> None:
    folder, recipe = trained
    assert ask(folder, recipe, "tflite-fp32", "saved_model") is None
    loose = replace(recipe, parity=Parity(int8_agreement=0.5, int8_accuracy=0.5, max_drop=0.5))
    assert ask(folder, loose) is None
    listener = Listener()
    assert ask(folder, with_photos(loose, Path("more")), progress=listener) is None
    assert listener.lines == ["9 test images decide alone: other photos are not needed"]


def test_photos_that_repeat_others_are_left_out_and_told(
    trained: tuple[RunFolder, Recipe], tmp_path: Path
) -> None:
    folder, recipe = trained
    test_image, new = folder.read_golden().images[0], noise(1)
    root = photos(tmp_path / "more", new, test_image[:, ::-1], new, noise(2))
    listener = Listener()
    asked = ask(folder, with_photos(recipe, root), progress=listener)
    assert asked is not None
    extra = asked.collected.images[[source == EXTRA for source in asked.collected.sources]]
    np.testing.assert_array_equal(extra, [new, noise(2)])
    assert any(line.endswith("do not count: 2 of 4") for line in listener.lines)


def test_keras_predicts_once(trained: tuple[RunFolder, Recipe], tmp_path: Path) -> None:
    folder, recipe = trained
    root = photos(tmp_path / "more", noise(1))
    asked, converter = ask(folder, with_photos(recipe, root)), FakeConverter()
    assert asked is not None
    collected.predict(converter, folder, asked, 60)  # type: ignore[arg-type]
    kept = independent_images.load(folder.path / independent_images.NAME)
    np.testing.assert_array_equal(kept.images, asked.collected.images)
    assert kept.sources[-1] == EXTRA and kept.copies.shape == (4, len(folder.read_golden().images), 3)
    first_bytes = asked.copies[:, 0, 0, 0].reshape(4, -1) % 3
    np.testing.assert_array_equal(kept.copies.argmax(2), first_bytes)
    assert ask(folder, with_photos(recipe, root)) is None, "nothing changed"
    assert ask(folder, recipe) is None, "photos of an earlier export stay"
    Image.fromarray(noise(3)).save(root / "another.png")
    assert ask(folder, with_photos(recipe, root)) is not None
