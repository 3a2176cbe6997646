"""What photos prepared otherwise cost: on a network that decides by colour, and on the small run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import fake_artifacts
from tests.helpers.command_line import Cli
from tests.helpers.fake_artifacts import LABELS, SIZE
from tledge._io import files
from tledge.bundle.manifest import GoldenCase, manifest_json, parse_manifest
from tledge.bundle.reader import open_bundle
from tledge.config import Data
from tledge.errors import ArtifactError, DataError, MissingError, RecipeError, RunError
from tledge.preprocessing import app_variants, image
from tledge.run import golden_set, records
from tledge.run.folder import RunFolder
from tledge.verification import preprocessing_skew
from tledge.verification.preprocessing_skew import SkewReport, SkewRow

COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))

EACH = 6


def colour_weights() -> Any:
    """Weights that answer with the mean of red, of green, of blue."""
    return (np.tile(np.eye(3), SIZE * SIZE) / (SIZE * SIZE * 255)).astype(np.float32)


def coloured(index: int, number: int) -> Image.Image:
    noise = np.random.default_rng(number).integers(-40, 41, (24, 40, 1))
    return Image.fromarray((np.array(COLOURS[index]) + noise).clip(0, 255).astype(np.uint8))


def deceptive(index: int, number: int) -> Image.Image:
    """One colour, but another in each of the few pixels that lie on the places asked for."""
    pixels = np.full((5 * SIZE, 5 * SIZE, 3), COLOURS[index], np.uint8)
    pixels[2::5, 2::5] = COLOURS[(index + 1) % 3]
    pixels[0, 0] = number
    return Image.fromarray(pixels)


def photos(root: Path, draw: Callable[[int, int], Image.Image], turned: int) -> list[Path]:
    """Photos of all labels below `root/test`, the first of every `turned` stored upside down."""
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    made = []
    for number in range(EACH * len(LABELS)):
        path = root / "test" / LABELS[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(number % 3, number).save(
            path, exif=upside_down if turned and number % turned == 0 else Image.Exif()
        )
        made.append(path)
    return made


def write_golden(folder: RunFolder, root: Path, paths: list[Path]) -> None:
    pixels = np.stack([image.preprocess(path, (SIZE, SIZE)) for path in paths])
    labels = np.arange(len(paths)) % 3
    ids = tuple(path.relative_to(root).as_posix() for path in paths)
    golden_set.save(
        folder.golden, golden_set.Golden(pixels, labels, np.eye(3, dtype=np.float32)[labels], ids, {})
    )


class Made:
    """A run on photos that a test may change."""

    def __init__(
        self, folder: Path, draw: Callable[[int, int], Image.Image] = coloured, turned: int = 2
    ) -> None:
        self.root = folder / "photos"
        self.paths = photos(self.root, draw, turned)
        self.folder = RunFolder(fake_artifacts.run(folder / "run"))
        write_golden(self.folder, self.root, self.paths)
        self.data = Data(source=f"folder:{self.root}")

    def report(self, variant: str | None = None) -> SkewReport:
        return preprocessing_skew.skew_run(self.folder, self.data, variant=variant)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setattr(fake_artifacts, "weights", colour_weights)
    return Made(tmp_path)


def by_name(report: SkewReport) -> dict[str, SkewRow]:
    return {row.preparation: row for row in report.rows}


def test_contract_differs_by_nothing(made: Made) -> None:
    report = made.report()
    row = by_name(report)["reference"]
    assert (row.mean_difference, row.max_difference, row.max_abs_dp) == (0, 0, 0)
    assert row.accuracy == report.accuracy == row.agreement == 1
    assert (row.accuracy_change, row.change_low, row.change_high) == (0, 0, 0)


def test_every_way_has_a_row(made: Made) -> None:
    report = made.report()
    assert [row.preparation for row in report.rows] == [way.name for way in app_variants.APP_VARIANTS]
    assert (report.variant, report.images, report.kernels) == ("tflite-fp32", EACH * 3, "xnnpack")
    assert all(row.max_difference > 0 for row in report.rows[1:])


def test_blue_first_is_found_out(made: Made) -> None:
    """Red and blue change places: the green third stays right."""
    report = made.report()
    row = by_name(report)["bgr"]
    assert row.accuracy == row.agreement == pytest.approx(1 / 3)
    assert row.accuracy_change == pytest.approx(-2 / 3) and row.change_high < -0.3
    assert report.summary == (
        "Worst: an app that hands over blue, green, red instead of red, green, blue loses 66.7 points of "
        "accuracy and predicts differently for 66.7% of 18 photos."
    )
    assert not any("resize_jitter" in remark for remark in report.remarks)


def test_missing_antialiasing_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_artifacts, "weights", colour_weights)
    report = Made(tmp_path, deceptive).report()
    found = by_name(report)
    assert found["nearest"].accuracy == found["bilinear"].accuracy == 0
    assert found["area"].accuracy == found["reference"].accuracy == 1
    assert "resize_jitter" in report.remarks[-1]


def test_differences_are_grey_levels(made: Made) -> None:
    """The same figures, computed photo by photo."""
    pixels = [app_variants.decode_photo(path.read_bytes()) for path in made.paths]
    reference = golden_set.load(made.folder.golden).images.astype(int)
    rows = by_name(made.report())
    for way in app_variants.APP_VARIANTS:
        apart = np.abs(
            np.stack([way.preprocess(one, (SIZE, SIZE)) for one in pixels]).astype(int) - reference
        )
        row = rows[way.name]
        assert row.mean_difference == pytest.approx(apart.mean())
        assert row.max_difference == apart.max()


def test_run_keeps_the_report(made: Made) -> None:
    report = made.report()
    kept = json.loads((made.folder.path / "evidence" / "skew.json").read_text())
    assert kept["summary"] == report.summary and len(kept["rows"]) == len(report.rows)


def test_many_photos_are_sampled_by_class(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing_skew, "MAX_PHOTOS", 9)
    report = made.report()
    assert (report.images, report.test_images) == (9, 18)
    assert report.remarks[0] == "9 of 18 test photos were used, classes in turn."
    assert by_name(report)["bgr"].accuracy == pytest.approx(1 / 3)
    assert made.report() == report


def test_square_upright_photos_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_artifacts, "weights", colour_weights)

    def small(index: int, number: int) -> Image.Image:
        return coloured(index, number).resize((SIZE, SIZE))

    report = Made(tmp_path, small, turned=0).report()
    said = "\n".join(report.remarks)
    assert "18 of 18 photos have the model's size:" in said
    assert "changes with bilinear, nearest, area, canvas, centre-crop, exif-ignored: the photos" in said


def test_photos_that_went_are_named(made: Made) -> None:
    made.paths[4].unlink()
    with pytest.raises(
        DataError, match=r"1 of 18 test photos are not there any more, such as test/dog/4\.png"
    ):
        made.report()
    assert not (made.folder.path / "evidence").exists()


def test_folder_that_went_is_missing(made: Made) -> None:
    made.root.rename(made.root.with_name("moved"))
    with pytest.raises(MissingError, match=r"no such folder of photos.*\n.*tledge verify BUNDLE --skew"):
        made.report()


def test_another_photo_is_refused(made: Made) -> None:
    coloured(2, 99).save(made.paths[4])
    with pytest.raises(DataError, match=r"test/dog/4\.png: not the photo that was tested.*grey levels"):
        made.report()


def shift_golden_set(made: Made, levels: int) -> None:
    """Change one value of a test photo as it was recorded, by so many grey levels."""
    reference = golden_set.load(made.folder.golden)
    images = reference.images.copy()
    level = int(images[4, 3, 2, 1])
    images[4, 3, 2, 1] = level + levels if level < 128 else level - levels
    golden_set.save(made.folder.golden, replace(reference, images=images))


def test_photo_may_differ_from_the_golden_set_by_one_grey_level(made: Made) -> None:
    shift_golden_set(made, 1)
    assert by_name(made.report())["reference"].max_difference == 1


@pytest.mark.parametrize("levels", [2, 20])
def test_photo_that_differs_by_more_is_refused(made: Made, levels: int) -> None:
    shift_golden_set(made, levels)
    with pytest.raises(DataError, match=rf"test/dog/4\.png: not the photo .* by {levels} grey levels"):
        made.report()


def test_damaged_photo_is_named(made: Made) -> None:
    made.paths[4].write_bytes(made.paths[4].read_bytes()[:90])
    with pytest.raises(DataError, match=r"test/dog/4\.png: .*damaged"):
        made.report()


def test_changed_artifact_is_refused(made: Made) -> None:
    (made.folder.artifacts / "tflite-fp32.tflite").write_bytes(b"other")
    with pytest.raises(RunError, match=r"changed or gone since it was verified\. Run `tledge verify"):
        made.report()


def test_unknown_variant_lists_those_there(made: Made) -> None:
    with pytest.raises(
        RecipeError, match=r"tflite-int8: not in .* There are saved_model, tflite-fp32, onnx-fp32"
    ):
        made.report("tflite-int8")


def test_variant_is_chosen_by_name(made: Made) -> None:
    report = made.report("onnx-fp32")
    assert (report.variant, report.kernels) == ("onnx-fp32", "onnxruntime-cpu")
    assert by_name(report)["bgr"].accuracy == pytest.approx(1 / 3)


def test_nothing_passed_nothing_chosen(made: Made) -> None:
    report = made.folder.read_parity()
    failed = tuple(replace(row, verdict="failed") for row in report.rows)
    files.write_json(made.folder.parity, replace(report, rows=failed))
    with pytest.raises(RunError, match="no artifact passed verification"):
        made.report()
    assert made.report("tflite-fp32").variant == "tflite-fp32"


def test_smallest_of_integers_is_preferred() -> None:
    def row(variant: str, size: int, verdict: str = "passed") -> records.ParityRow:
        return records.ParityRow(variant, variant, "", size, verdict)

    rows = [row("tflite-fp16", 50), row("tflite-fp32", 90), row("tflite-int16x8", 33), row("tflite-int8", 30)]
    assert preprocessing_skew._choose_artifact(rows, None, "here").variant == "tflite-int8"
    assert preprocessing_skew._choose_artifact(rows[:3], None, "here").variant == "tflite-int16x8"
    assert (
        preprocessing_skew._choose_artifact(
            [*rows[:2], row("tflite-int8", 30, "failed")], None, "here"
        ).variant
        == "tflite-fp32"
    )
    assert preprocessing_skew._choose_artifact(rows[:1], None, "here").variant == "tflite-fp16"


@pytest.fixture
def bundle(made: Made, tmp_path: Path) -> Path:
    """A bundle with six of the photos."""
    path = fake_artifacts.bundle(tmp_path / "bundle")
    reference = golden_set.load(made.folder.golden)
    cases = []
    for number in range(6):
        (path / "golden" / f"{number}.png").write_bytes(made.paths[number].read_bytes())
        cases.append(GoldenCase(f"{number}.png", LABELS[number % 3], LABELS[number % 3], number))
    np.save(path / "golden" / "pixels.npy", reference.images[:6])
    manifest = parse_manifest((path / "manifest.json").read_bytes(), "here")
    (path / "manifest.json").write_text(manifest_json(replace(manifest, golden=tuple(cases))))
    return path


def test_bundle_uses_its_golden_photos(bundle: Path) -> None:
    report = preprocessing_skew.skew_bundle(open_bundle(bundle))
    assert (report.variant, report.images, report.accuracy) == ("tflite-fp32", 6, 1)
    assert by_name(report)["bgr"].accuracy == pytest.approx(1 / 3)
    assert by_name(report)["reference"].max_difference == 0
    assert "Only the bundle's 6 golden photos were used, too few for a reliable figure" in report.remarks[0]


def test_bundle_without_photos_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no golden photos"):
        preprocessing_skew.skew_bundle(open_bundle(fake_artifacts.bundle(tmp_path / "bare")))


def test_changed_golden_photo_is_damage(bundle: Path) -> None:
    coloured(2, 99).save(bundle / "golden" / "1.png")
    with pytest.raises(ArtifactError, match=r"contradicts itself .*1\.png: not the photo"):
        preprocessing_skew.skew_bundle(open_bundle(bundle))


def test_bundle_command_shows_the_table(bundle: Path, cli: Cli) -> None:
    done = cli("verify", bundle, "--skew", "--quiet")
    assert done.code == 0, done.err
    assert "centre-crop" in done.out and "-66.67 pp" in done.out
    assert done.out.splitlines()[-1] == f"Next: tledge predict {bundle} PHOTO.jpg"


def test_variant_belongs_to_skew(bundle: Path, cli: Cli) -> None:
    done = cli("verify", bundle, "--variant", "tflite-fp32")
    assert done.code == 2 and "--skew" in done.err


def test_small_loss_may_be_chance() -> None:
    row = SkewRow("reference", "", 0, 0, 0.9, 0, 0, 0, 1, 0)
    lost = replace(row, preparation="area", does="does this", accuracy_change=-0.01, change_low=-0.03,
                   change_high=0.01, agreement=0.99)  # fmt: skip
    assert "loses 1.0 points" in preprocessing_skew._summary([row, lost], 100)
    assert "may be chance" in preprocessing_skew._summary([row, lost], 100)
    even = replace(lost, accuracy_change=0.0)
    assert preprocessing_skew._summary([row, even], 100) == (
        "None of these costs accuracy here. "
        "An app that does this predicts differently for 1.0% of 100 photos."
    )
