"""`tledge export`: the variants that it is asked for, and repairs that wait for more photos."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tests.helpers.command_line import Cli
from tests.helpers.recipes import drawn, tiny_recipe
from tledge._io import files
from tledge.errors import RecipeError
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact, ParityReport, ParityRow, Reference


def test_unknown_variant_is_two(cli: Cli) -> None:
    from tledge.cli import export

    with pytest.raises(RecipeError, match="tflite-int4: no such variant"):
        export._variants(None, [], ("tflite-int4",), False)  # type: ignore[arg-type]


INT8 = Artifact("tflite-int8", "artifacts/tflite-int8.tflite", "ab", 4, 1.0)


class Exports:
    """Stands in for converting and verifying: notes whether repairs were asked for, and gives verdicts."""

    def __init__(self, folder: RunFolder, verdicts: list[str]) -> None:
        self.folder, self.verdicts, self.repairs = folder, verdicts, list[bool]()

    def export(self, _folder: RunFolder, recipe: Any, *_rest: Any, **_options: Any) -> list[Artifact]:
        self.repairs.append(recipe.export.int8.repair)
        files.write_json(self.folder.artifacts / "tflite-int8.json", INT8)
        return [INT8]

    def verify(self, *_arguments: Any, **_options: Any) -> ParityReport:
        verdict, counts = self.verdicts.pop(0), {"images": 5, "images_needed": 100}
        row = ParityRow(INT8.variant, INT8.path, INT8.sha256, 4, verdict, **counts)  # type: ignore[arg-type]
        report = ParityReport(False, Reference(1.0, 5), (row,))
        files.write_json(self.folder.parity, report)
        return report


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exports:
    """A run with five test images, on which Keras is right; nothing is converted or verified."""
    folder = RunFolder(fake_artifacts.run(tmp_path / "run"))
    golden, classes = folder.read_golden(), np.arange(5) % 3
    sure = np.eye(3, dtype=np.float32)[classes]
    golden_set.save(folder.golden, replace(golden, labels=classes, probabilities=sure))
    files.write_text(folder.recipe, tiny_recipe(drawn(24, 9)))
    files.write_json(folder.environment, {"settings": []})
    exports = Exports(folder, ["undecided", "undecided"])
    monkeypatch.setattr("tledge.conversion.export.export", exports.export)
    monkeypatch.setattr("tledge.verification.verify.verify_run", exports.verify)
    monkeypatch.setattr("tledge.cli.export._culprits", lambda *_arguments: ())
    return exports


def test_no_repair_is_tried_where_photos_are_missing(run: Exports, cli: Cli) -> None:
    done = cli("export", run.folder.path, "--repair")
    assert done.code == 6 and run.repairs == [False]
    assert "No repair was tried: images are missing, no repair could confirm int8." in done.out
    assert "95 more test images would settle it." in done.out
    shown = json.loads(cli("export", run.folder.path, "--repair", "--json").out)
    assert shown["no_repair"].startswith("No repair was tried") and run.repairs == [False, False]


def test_failed_int8_is_repaired_also_with_few_photos(run: Exports, cli: Cli) -> None:
    run.verdicts[:] = ["failed", "undecided", "failed"]
    done = cli("export", run.folder.path, "--repair")
    assert run.repairs == [False, True] and "No repair" not in done.out
    cli("export", run.folder.path, "--int8")
    run.verdicts[:] = ["undecided"]
    cli("export", run.folder.path, "--repair")
    assert run.repairs == [False, True, False, True]  # it is known to fail


def test_enough_photos_are_repaired_at_once(run: Exports, cli: Cli) -> None:
    text = run.folder.recipe.read_text()
    run.folder.recipe.write_text(
        f"{text}[parity]\nint8_agreement = 0.5\nmax_drop = 0.5\nint8_accuracy = 0.5\n"
    )
    cli("export", run.folder.path, "--repair")
    assert run.repairs == [True]


@pytest.mark.parametrize(("more", "repairs"), [(100, [False]), (200, [False, True])])
def test_repair_is_tried_where_more_images_can_confirm_it(
    run: Exports, cli: Cli, monkeypatch: pytest.MonkeyPatch, more: int, repairs: list[bool]
) -> None:
    """Not the validation images, which choose a repair: 149 others that all agree confirm 98 %."""
    monkeypatch.setattr("tledge.verification.independent.images_for_repaired", lambda _folder: more)
    cli("export", run.folder.path, "--repair")
    assert run.repairs == repairs


def test_int8_that_passed_needs_no_repair(run: Exports, cli: Cli) -> None:
    run.verdicts[:] = ["passed"]
    done = cli("export", run.folder.path, "--repair")
    assert run.repairs == [False] and "No repair" not in done.out
