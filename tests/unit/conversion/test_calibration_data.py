"""The calibration images of a run: which are taken, what is written down of them, and read again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tests.helpers.recipes import drawn, tiny_recipe
from tledge._io import files
from tledge.conversion import calibration_data
from tledge.data import cache, prepare, splits
from tledge.errors import DataError
from tledge.progress import SILENT, Progress
from tledge.quantization import calibration_set
from tledge.recipe.definition import Recipe
from tledge.recipe.loader import parse
from tledge.run import golden_set
from tledge.run.folder import RunFolder

RECIPE = tiny_recipe(
    drawn(24, 9), 'name = "all"\n[export.calibration]\nimages = 7\n[recipe]\nname = "little"'
)


class Heard:
    """A `Progress` that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, what: str, total: int | None = None) -> Any:
        raise NotImplementedError

    def finish(self, task: Any) -> None:
        raise NotImplementedError

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[RunFolder, Recipe, cache.Prepared]:
    """Write a run of synthetic photos that was never trained, whose golden set is the test photos."""
    recipe = parse(RECIPE, "little.toml")
    prepared = prepare.prepare_dataset(recipe.data, 32)
    folder = RunFolder(fake_artifacts.run(tmp_path / "run"))
    facts = {"cache": str(prepared.folder), "labels": prepared.labels, "seed": 5}
    files.write_json(folder.run, replace(folder.read_run(), **facts))
    write_golden(folder, prepared, splits.split(prepared, recipe.data, 5)["test"])
    return folder, recipe, prepared


def write_golden(folder: RunFolder, prepared: cache.Prepared, rows: Any) -> None:
    labels, ids = prepared.label_indices[rows], tuple(prepared.rows[row].id for row in rows.tolist())
    answers = np.zeros((len(rows), 3), np.float32)
    golden_set.save(folder.golden, golden_set.Golden(prepared.images()[rows], labels, answers, ids, {}))


def written(
    folder: RunFolder, recipe: Recipe, progress: Progress = SILENT
) -> calibration_data.WrittenCalibration:
    run = folder.read_run()
    prepared = calibration_data.open_photos(recipe, run)
    return calibration_data.write_calibration_images(folder, recipe, run, prepared, progress)


def calibrated(folder: RunFolder, recipe: Recipe) -> tuple[Any, dict[str, Any]]:
    images = np.load(written(folder, recipe).path)
    return images, json.loads(folder.calibration.read_text())


def test_record_names_every_image(drawn: tuple[RunFolder, Recipe, cache.Prepared]) -> None:
    folder, recipe, prepared = drawn
    images, record = calibrated(folder, recipe)
    train = splits.split(prepared, recipe.data, 5)["train"].tolist()
    rows = [entry["row"] for entry in record["images"]]
    assert np.array_equal(images, prepared.images()[rows]) and set(rows) <= set(train)
    hashes = [calibration_set.pixel_sha256(image) for image in images]
    assert [entry["sha256"] for entry in record["images"]] == hashes
    assert [(entry["id"], entry["label"]) for entry in record["images"]] == [
        (prepared.rows[row].id, prepared.rows[row].label) for row in rows
    ]
    assert sorted(record["classes"].values()) == [2, 2, 3] and record["count"] == len(images) == 7
    assert record["pixels"] == {
        "least": images.min(), "largest": images.max(), "mean": pytest.approx(images.mean(), abs=1e-3)
    }  # fmt: skip
    assert record["sha256"] == files.sha256(folder.path / record["path"])
    assert (record["seed"], record["split"], record["added"]) == (5, "train", ["all 0", "all 255"])
    assert record["disjoint_from"] == {"file": "golden.npz", "images": 9, "left_out": []}


def test_photos_in_a_cache_of_others_are_not_used(drawn: tuple[RunFolder, Recipe, cache.Prepared]) -> None:
    folder, recipe, prepared = drawn
    elsewhere = folder.path.parent / "shared" / prepared.folder.name
    shutil.copytree(prepared.folder, elsewhere)
    run = replace(folder.read_run(), cache=str(elsewhere))
    assert calibration_data.open_photos(recipe, run).folder == elsewhere
    elsewhere.parent.chmod(0o777)
    progress = Heard()
    assert calibration_data.open_photos(recipe, run, progress).folder == prepared.folder
    assert "not used" in progress.lines[0] and "may be changed by other accounts" in progress.lines[0]


def test_seed_decides(drawn: tuple[RunFolder, Recipe, cache.Prepared]) -> None:
    folder, recipe, _ = drawn
    records = [calibrated(folder, recipe)[1] for _ in range(2)]
    files.write_json(folder.run, replace(folder.read_run(), seed=6))
    assert records[0] == records[1] != calibrated(folder, recipe)[1]


def test_test_photos_are_left_out_and_named(drawn: tuple[RunFolder, Recipe, cache.Prepared]) -> None:
    folder, recipe, prepared = drawn
    before, record = calibrated(folder, recipe)
    planted = np.array([record["images"][2]["row"], 30], np.int64)
    write_golden(folder, prepared, planted)
    name = record["images"][2]["id"]
    progress = Heard()
    images = np.load(written(folder, recipe, progress).path)
    assert np.array_equal(images, np.delete(before, 2, axis=0))
    assert f"1 train photos are test photos too ({name} is {name}), and were left out" in progress.lines[0]
    noted = json.loads(folder.calibration.read_text())
    assert noted["disjoint_from"]["left_out"] == [f"{name} is {name}"]
    assert noted["count"] == 6 and name not in [entry["id"] for entry in noted["images"]]


def test_nothing_but_test_photos_is_refused(drawn: tuple[RunFolder, Recipe, cache.Prepared]) -> None:
    folder, recipe, prepared = drawn
    _, record = calibrated(folder, recipe)
    (folder.path / calibration_data.CALIBRATION).unlink()
    write_golden(folder, prepared, np.array([entry["row"] for entry in record["images"]], np.int64))
    with pytest.raises(DataError, match="all 7 calibration images are test photos"):
        calibrated(folder, recipe)
    assert not (folder.path / calibration_data.CALIBRATION).exists()


def test_one_grey_level_is_another_photo(drawn: tuple[RunFolder, Recipe, cache.Prepared]) -> None:
    """Only equal pixels are refused; near-duplicates are the split's matter."""
    folder, recipe, _ = drawn
    images, _ = calibrated(folder, recipe)
    near = images.copy()
    near[:, 0, 0, 0] ^= 1
    names = tuple("abcdefg")
    golden_set.save(
        folder.golden, golden_set.Golden(near, np.zeros(7, np.int64), np.zeros((7, 3), np.float32), names, {})
    )
    assert calibrated(folder, recipe)[1]["disjoint_from"]["images"] == 7


def test_images_that_were_used_are_read_again(drawn: tuple[RunFolder, Recipe, cache.Prepared]) -> None:
    folder, recipe, _ = drawn
    fresh = calibration_data.calibration_images(folder, recipe, folder.read_run())
    images, _ = calibrated(folder, recipe)
    assert np.array_equal(fresh, images)
    np.save(folder.path / calibration_data.CALIBRATION, images[:3])
    assert len(calibration_data.calibration_images(folder, recipe, folder.read_run())) == 3


def test_stability_joins_the_record(drawn: tuple[RunFolder, Recipe, cache.Prepared]) -> None:
    folder, recipe, _ = drawn
    record = written(folder, recipe).record
    heard, artifact = Heard(), folder.read_artifacts()[0]
    calibration_data.note_stability(folder, record, [artifact], heard)
    assert json.loads(folder.calibration.read_text())["stability"] is None
    planted = {"largest": 0.6, "warning": "calibrate on more"}
    unstable = replace(artifact, details={"stability": planted})
    calibration_data.note_stability(folder, record, [unstable], heard)
    assert json.loads(folder.calibration.read_text())["stability"] == planted
    assert heard.lines == ["warning: calibrate on more"]


def test_repairs_are_chosen_on_validation_photos(drawn: tuple[RunFolder, Recipe, cache.Prepared]) -> None:
    """Never on test photos: a repair that is chosen on them would verify itself."""
    folder, recipe, prepared = drawn
    parts = splits.split(prepared, recipe.data, 5)
    images, labels = calibration_data.selection_set(recipe, folder.read_run(), prepared, 1000)
    photos = {image.tobytes(): label for image, label in zip(images, labels.tolist(), strict=True)}
    for row in parts["validation"].tolist():
        assert photos[prepared.images()[row].tobytes()] == prepared.label_indices[row]
    for split in ("train", "test"):
        assert not photos.keys() & {image.tobytes() for image in prepared.images()[parts[split]]}
    assert len(images) == 5 * len(parts["validation"])
    few, _ = calibration_data.selection_set(recipe, folder.read_run(), prepared, 17)
    assert len(few) == 15


def test_chosen_images_are_kept_in_the_run(drawn: tuple[RunFolder, Recipe, cache.Prepared]) -> None:
    folder, recipe, prepared = drawn
    (folder.path / "evidence").mkdir(exist_ok=True)
    calibration_data.write_selection_set(folder, recipe, folder.read_run(), prepared)
    images, labels = calibration_data.selection_set(recipe, folder.read_run(), prepared, 1500)
    with np.load(folder.path / calibration_data.HELD_OUT) as kept:
        assert np.array_equal(kept["images"], images) and np.array_equal(kept["labels"], labels)
