"""The export stage with a converter that only writes a file: jobs, results, names, what is read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.helpers import fake_artifacts
from tests.helpers.recipes import drawn, tiny_recipe
from tledge._io import files
from tledge._process import processors
from tledge.conversion import export
from tledge.conversion.worker_client import Conversion
from tledge.data import prepare
from tledge.environment import packages
from tledge.formats.jobs import (
    CalibratedJob,
    MixedPrecisionJob,
    QuantizationAwareJob,
    RepairJob,
    UncalibratedJob,
    WrittenArtifact,
)
from tledge.progress import Silent
from tledge.recipe.definition import Recipe
from tledge.recipe.loader import parse
from tledge.run.folder import RunFolder

RECIPE = tiny_recipe(
    drawn(24, 9), 'name = "all"\n[export.calibration]\nimages = 7\n[recipe]\nname = "little"'
)


class Listener(Silent):
    """Keeps the lines that an export says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class FakeConverter:
    """Writes `data` for every job, and reports the mode that `modes` has for it, else the job's own."""

    modes: ClassVar[dict[str, str]] = {}
    converted: ClassVar[list[str]] = []

    def __init__(self, memory_mib: int = 0) -> None:
        del memory_mib

    def __enter__(self) -> FakeConverter:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def convert(self, conversion: Conversion) -> WrittenArtifact:
        target = conversion.job.target
        Path(target.out).parent.mkdir(parents=True, exist_ok=True)
        Path(target.out).write_bytes(b"data")
        if uncorrected := getattr(conversion.job, "uncorrected", None):
            Path(uncorrected).write_bytes(b"rounded")
        self.converted.append(conversion.variant)
        mode = self.modes.get(target.mode, target.mode)
        return WrittenArtifact(mode, {"stability": {"largest": 0.1, "warning": ""}})


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RunFolder, Recipe]:
    """Write a run that was never trained, and let the export use no real converter."""
    monkeypatch.setattr(export, "Converter", FakeConverter)
    monkeypatch.setattr(export.independent_images, "request", lambda *_: None)
    monkeypatch.setattr(FakeConverter, "modes", {})
    monkeypatch.setattr(FakeConverter, "converted", [])
    recipe = parse(RECIPE, "little.toml")
    folder = RunFolder(fake_artifacts.run(tmp_path / "run"))
    prepared = prepare.prepare_dataset(recipe.data, 32)
    facts = {"cache": str(prepared.folder), "labels": prepared.labels, "seed": 5}
    files.write_json(folder.run, replace(folder.read_run(), **facts))
    folder.model.write_bytes(b"network")
    return folder, recipe


def with_int8(recipe: Recipe, **settings: Any) -> Recipe:
    int8 = replace(recipe.export.int8, **settings)
    return replace(recipe, export=replace(recipe.export, int8=int8))


def inputs(folder: RunFolder, recipe: Recipe) -> export.ExportInputs:
    return export._export_inputs(folder, recipe, ["tflite-int8", "tflite-mixed"], export.SILENT)


@pytest.mark.parametrize(
    ("name", "settings", "kind"),
    [
        ("saved_model", {}, UncalibratedJob),
        ("tflite-dynamic", {"repair": True}, UncalibratedJob),
        ("tflite-int8", {"repair": False}, CalibratedJob),
        ("tflite-int8", {"repair": True}, RepairJob),
        ("tflite-int16x8", {"repair": True}, CalibratedJob),
        ("onnx-int8", {"repair": True}, CalibratedJob),
        ("tflite-mixed", {}, MixedPrecisionJob),
    ],
)
def test_variant_and_settings_decide_the_kind_of_job(
    trained: tuple[RunFolder, Recipe], name: str, settings: dict[str, bool], kind: type
) -> None:
    folder, recipe = trained
    job = export.conversion_job(inputs(folder, with_int8(recipe, **settings)), name)
    assert type(job) is kind and job.target.labels == folder.read_run().labels
    assert job.target.model == str(folder.model.resolve())


def test_uncorrected_conversion_is_kept_where_biases_are_corrected(
    trained: tuple[RunFolder, Recipe],
) -> None:
    folder, recipe = trained
    for corrected in (True, False):
        asked = inputs(folder, with_int8(recipe, bias_correction=corrected, repair=False))
        job = export.conversion_job(asked, "onnx-int8")
        assert isinstance(job, CalibratedJob) and job.bias_correction is corrected
        path = folder.path / "evidence" / "onnx-int8-uncorrected.onnx"
        assert job.uncorrected == (str(path.resolve()) if corrected else None)


def test_quantization_aware_model_becomes_int8(trained: tuple[RunFolder, Recipe]) -> None:
    folder, recipe = trained
    folder.student.write_bytes(b"")
    artifacts = export.export(folder, with_int8(recipe, repair=True), ["tflite-int8", "tflite-fp32"])
    assert [artifact.variant for artifact in artifacts] == ["tflite-fp32", "tflite-int8"]
    assert artifacts[1].details["repair"] == "none: the model was trained quantization-aware"
    assert not folder.calibration.is_file()
    asked = export.ExportInputs(folder, recipe, folder.read_run())
    job = export.conversion_job(asked, "tflite-int8")
    assert isinstance(job, QuantizationAwareJob) and job.target.model == str(folder.student.resolve())


def test_repair_that_ends_in_another_mode_is_named_so(
    trained: tuple[RunFolder, Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeConverter, "modes", {"int8": "mixed"})
    folder, recipe = trained
    (folder.artifacts / "tflite-int8.json").write_text("{}")
    artifacts = export.export(folder, with_int8(recipe, repair=True), ["tflite-int8"])
    assert (artifacts[0].variant, artifacts[0].path) == ("tflite-mixed", "artifacts/tflite-mixed.tflite")
    assert artifacts[0].details["uncorrected"] == "evidence/tflite-int8-uncorrected.tflite"
    assert (folder.artifacts / "tflite-mixed.json").is_file()
    assert not list(folder.artifacts.glob("tflite-int8*"))


def test_artifacts_are_returned_with_their_hashes(trained: tuple[RunFolder, Recipe]) -> None:
    folder, recipe = trained
    artifacts = export.export(folder, with_int8(recipe, repair=False), ["onnx-fp32", "tflite-int8"])
    assert [artifact.variant for artifact in artifacts] == ["tflite-int8", "onnx-fp32"]
    for artifact in artifacts:
        assert artifact.sha256 == files.sha256(folder.path / artifact.path)
        assert json.loads((folder.artifacts / f"{artifact.variant}.json").read_text())["bytes"] == 4
    assert json.loads(folder.calibration.read_text())["stability"] == {"largest": 0.1, "warning": ""}


BOTH = ["tflite-fp32", "tflite-int8"]


def test_nothing_changed_converts_nothing_again(trained: tuple[RunFolder, Recipe]) -> None:
    folder, recipe = trained
    first_listener, listener = Listener(), Listener()
    first = export.export(folder, with_int8(recipe, repair=False), BOTH, first_listener)
    assert f"Converting {folder.path} into tflite-fp32, tflite-int8" in first_listener.lines
    again = export.export(RunFolder(folder.path), with_int8(recipe, repair=False), BOTH, listener)
    assert again == first and FakeConverter.converted == BOTH
    assert [line for line in listener.lines if "kept, nothing changed: tflite-fp32, tflite-int8" in line]
    assert not [line for line in listener.lines if line.startswith("Converting")]
    assert json.loads(folder.calibration.read_text())["stability"] == {"largest": 0.1, "warning": ""}
    export.export(RunFolder(folder.path), with_int8(recipe, repair=False), BOTH, force=True)
    assert FakeConverter.converted == [*BOTH, *BOTH]


def test_repair_that_was_left_for_another_mode_is_kept(
    trained: tuple[RunFolder, Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeConverter, "modes", {"int8": "mixed"})
    folder, recipe = trained
    for _ in range(2):
        artifacts = export.export(folder, with_int8(recipe, repair=True), ["tflite-int8"])
        assert [artifact.variant for artifact in artifacts] == ["tflite-mixed"]
    assert FakeConverter.converted == ["tflite-int8"]


def _write(name: str, data: bytes) -> Callable[[RunFolder, pytest.MonkeyPatch], None]:
    return lambda folder, _patch: (folder.path / name).write_bytes(data) and None  # type: ignore[return-value]


def _other_versions(_folder: RunFolder, patch: pytest.MonkeyPatch) -> None:
    made = packages.made_with()
    patch.setattr(packages, "made_with", lambda: {**made, "packages": {**made["packages"], "keras": "9.9"}})


def _unknown_versions(_folder: RunFolder, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(packages, "made_with", lambda: {"tledge": "1", "python": "3", "packages": {}})


def _other_description(folder: RunFolder, _patch: pytest.MonkeyPatch) -> None:
    files.write_json(folder.run, replace(folder.read_run(), description="another"))


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        (_write("model.keras", b"retrained"), BOTH),
        (_other_versions, BOTH),
        (_unknown_versions, BOTH),
        (_other_description, BOTH),
        (_write("artifacts/tflite-int8.tflite", b"dat!"), BOTH[1:]),
        (_write("artifacts/tflite-fp32.json", b"{}"), BOTH),
        (_write("evidence/tflite-int8-uncorrected.tflite", b"other"), BOTH[1:]),
    ],
)
def test_what_changed_is_converted_anew(
    trained: tuple[RunFolder, Recipe],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[RunFolder, pytest.MonkeyPatch], None],
    anew: list[str],
) -> None:
    folder, recipe = trained
    export.export(folder, with_int8(recipe, repair=False), BOTH)
    change(folder, monkeypatch)
    export.export(RunFolder(folder.path), with_int8(recipe, repair=False), BOTH)
    assert FakeConverter.converted == [*BOTH, *anew]


@pytest.mark.parametrize(
    "settings", [{"repair": True}, {"bias_correction": False}, {"calibration": 5}], ids=str
)
def test_other_settings_convert_int8_anew(
    trained: tuple[RunFolder, Recipe], settings: dict[str, Any]
) -> None:
    folder, recipe = trained
    recipe = with_int8(recipe, repair=False)
    export.export(folder, recipe, BOTH)
    if count := settings.pop("calibration", 0):
        calibration = replace(recipe.export.calibration, images=count)
        recipe = replace(recipe, export=replace(recipe.export, calibration=calibration))
    export.export(folder, with_int8(recipe, **settings), BOTH)
    assert FakeConverter.converted == [*BOTH, "tflite-int8"]


OPENED: list[Path] = []
"""Files that were opened to be read while a test listens; an audit hook cannot be removed."""


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str) and arguments[1] in ("r", "rb"):
        OPENED.append(Path(arguments[0]))


@pytest.fixture(scope="module")
def audit() -> Iterator[None]:
    sys.addaudithook(_note_opened)
    yield
    OPENED.clear()


@pytest.mark.usefixtures("audit")
def test_nothing_is_read_twice(trained: tuple[RunFolder, Recipe]) -> None:
    """What the run folder has read before is not read at all; the cache of photos is opened once."""
    folder, recipe = trained
    run = folder.read_run()
    folder.read_golden()
    folder.read_artifacts()
    OPENED.clear()
    export.export(folder, with_int8(recipe, repair=True), ["tflite-int8"])
    inside = [path for path in OPENED if folder.path in path.parents and ".tledge-" not in str(path)]
    read = sorted(path.relative_to(folder.path).as_posix() for path in inside)
    hashed = ["calibration.npy", "held_out.npz", "tflite-int8-uncorrected.tflite"]
    expected = ["artifacts/tflite-int8.tflite", *(f"evidence/{name}" for name in hashed), "model.keras"]
    assert read == expected
    index = Path(run.cache) / "index.json"
    assert OPENED.count(index) == 1


def test_one_processor_gets_one_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["saved_model", "tflite-fp32", "onnx-fp32", "tflite-int8"]
    monkeypatch.setenv(processors.VARIABLE, "2")
    assert export._queues_of_processes(wanted) == [
        ["tflite-fp32", "tflite-int8"],
        ["saved_model", "onnx-fp32"],
    ]
    assert export._queues_of_processes(wanted[:1]) == [wanted[:1]]
    monkeypatch.setenv(processors.VARIABLE, "1")
    assert export._queues_of_processes(wanted) == [wanted] and export._queues_of_processes([]) == []
