"""The record of a run: every figure is that of its own split, and the golden set holds test photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers.numbered_photos import Network, prepared
from tests.helpers.recipes import BARE
from tests.helpers.run_records import SCORE
from tledge.data.inspection import DatasetSummary
from tledge.metrics import abstention
from tledge.progress import SILENT
from tledge.recipe.loader import parse
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import TrainedRun
from tledge.training import outputs
from tledge.training.checkpoint import State

COUNT = 150
RECIPE = BARE + "[log]\ntensorboard = false\n"
ROWS = {"train": np.arange(60), "validation": np.arange(60, 110), "test": np.arange(110, 150)}
SUMMARY = DatasetSummary(COUNT, 0, (4, 4), (4, 4), (4, 4), {}, {}, {}, (), 1.0, (), (), ())


@dataclass(frozen=True)
class Finished:
    """A run that was written: its folder, its record, and the network and labels behind it."""

    folder: RunFolder
    record: TrainedRun
    network: Network
    labels: Any

    def accuracy(self, split: str) -> float:
        """Return the accuracy on a split, computed from the rows alone."""
        rows = ROWS[split]
        return float((self.network.table[rows].argmax(1) == self.labels[rows]).mean())


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """Finish a training whose network needs no Keras, without a model file and plots."""
    network, photos = Network(COUNT), prepared(tmp_path / "cache", COUNT)
    network.table[ROWS["validation"]] = np.roll(network.table[ROWS["validation"]], 1, axis=0)
    monkeypatch.setattr(outputs, "predict", lambda core, images, rows, _progress: core.predict(images, rows))
    monkeypatch.setattr(outputs.inspection, "write_evidence", lambda *_: SUMMARY)
    monkeypatch.setattr(outputs.classifier, "save", lambda *_: None)
    monkeypatch.setattr(outputs, "_write_plots", lambda *_: None)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    session: Any = SimpleNamespace(
        recipe=parse(RECIPE, "bare.toml"), folder=folder, prepared=photos, rows=ROWS, seed=3, progress=SILENT,
        core=network, engine=SimpleNamespace(plain=lambda core: core),
    )  # fmt: skip
    record = outputs.finish(session, State(first_stage_validation=SCORE, history=[{"epoch": 1}]))
    return Finished(folder, record, network, photos.label_indices)


def test_every_score_is_that_of_its_split(finished: Finished) -> None:
    validation, test = finished.record.validation, finished.record.test
    assert (validation.images, test.images) == (50, 40)
    assert validation.accuracy == finished.accuracy("validation")
    assert test.accuracy == finished.accuracy("test") != validation.accuracy
    assert finished.record.train_images == 60


def test_threshold_is_fitted_on_validation(finished: Finished) -> None:
    """On the test split, what it promises of new photos would be measured on the photos that chose it."""
    rows = ROWS["validation"]
    fitted = abstention.fit_abstention(finished.network.table[rows], finished.labels[rows], 0.05)
    assert finished.record.confidence == fitted and fitted.images == 50


def test_risk_of_each_split_is_its_own(finished: Finished) -> None:
    assert finished.record.confidence is not None
    for split, risk in finished.folder.read_risk().items():
        rows = ROWS[split]
        wanted = abstention.risk_coverage(
            finished.network.table[rows], finished.labels[rows], finished.record.confidence.temperature
        )
        assert risk == wanted


def test_golden_set_is_the_test_split(finished: Finished) -> None:
    golden = golden_set.load(finished.folder.golden)
    assert golden.ids == tuple(f"{row}.png" for row in ROWS["test"])
    np.testing.assert_array_equal(golden.probabilities, finished.network.table[ROWS["test"]])
    np.testing.assert_array_equal(golden.labels, finished.labels[ROWS["test"]])


def test_date_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOURCE_DATE_EPOCH sets it, so that trainings of two days leave equal files."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert outputs._today() == "1970-01-02"
    for wrong in ("", "x", "-1"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        assert outputs._today() >= "2026-01-01"
