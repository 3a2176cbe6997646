"""Write the files of a trained run: model, history, golden set, plots."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tledge._io import atomic, files
from tledge.contract import InputSpec
from tledge.data import golden_set_writer, inspection, scores
from tledge.data.scores import score
from tledge.metrics import abstention, statistics
from tledge.models import classifier
from tledge.run import versions
from tledge.run.records import TrainedRun
from tledge.training.checkpoint import State
from tledge.training.loggers import tensorboard
from tledge.training.scoring import predict
from tledge.training.session import TrainingSession
from tledge.visualization import plots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def finish(session: TrainingSession, state: State) -> TrainedRun:
    """Write model, history, golden set and plots; return the record of `run.json`."""
    recipe, folder, prepared = session.recipe, session.folder, session.prepared
    inventory = inspection.write_evidence(
        folder, prepared, session.rows, session.seed, session.progress, recipe.stage
    )
    core = session.engine.plain(session.core)
    classifier.save(core, folder.model)
    files.write_text(folder.history, _csv(state.history))
    validation, test = (_predict(session, core, split) for split in ("validation", "test"))
    fitted = abstention.fit_abstention(*validation, recipe.abstain.give_up)
    risk = {
        split: asdict(abstention.risk_coverage(*predicted, fitted.temperature))
        for split, predicted in (("validation", validation), ("test", test))
    }
    files.write_json(folder.risk, risk)
    probabilities, labels = test
    golden_set_writer.write(folder, prepared, session.rows["test"], probabilities, core, session.seed)
    _write_plots(session, state, probabilities, labels)
    if recipe.log.tensorboard:
        tensorboard.write(folder, recipe, core, prepared, session.rows["train"], state.history)
    assert state.first_stage_validation is not None
    return TrainedRun(
        name=recipe.meta.name,
        version=versions.of_models(recipe.meta.version, folder.model, folder.student),
        seed=session.seed,
        description=recipe.meta.description,
        synthetic=recipe.synthetic,
        labels=prepared.labels,
        input=InputSpec(
            recipe.model.image_size, recipe.model.image_size, pixel_range=recipe.data.pixel_range
        ),
        backbone=recipe.model.backbone,
        parameters=int(core.count_params()),
        train_images=len(session.rows["train"]),
        validation=score(*validation),
        test=score(probabilities, labels),
        first_stage_validation=state.first_stage_validation,
        seconds=0.0,
        cache=str(prepared.folder),
        skipped=prepared.skipped,
        expected=recipe.expect.test_accuracy,
        halved=state.halved,
        confidence=fitted,
        remarks=scores.remarks(inventory, labels, probabilities, prepared.labels, len(state.history)),
        trained_on=_today(),
    )


def _today() -> str:
    """Return the date in UTC, or that of SOURCE_DATE_EPOCH: files made on two days are then equal."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(seconds), UTC) if seconds.isdecimal() else datetime.now(UTC)
    return now.date().isoformat()


def _predict(
    session: TrainingSession, core: Any, split: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the probabilities float32[N, classes] and the labels int64[N] of a split."""
    rows = session.rows[split]
    probabilities = predict(core, session.prepared.images(), rows, session.progress)
    return probabilities, session.prepared.label_indices[rows]


def _write_plots(
    session: TrainingSession,
    state: State,
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> None:
    """Draw the curves of training and the confusion matrix of the test split."""
    recipe, names = session.recipe, session.prepared.labels
    title = recipe.meta.name + (" (synthetic photos)" if recipe.synthetic else "")
    with atomic.replacing(session.folder.path / "curves.png") as path:
        plots.curves(state.history, path, title, {split: len(rows) for split, rows in session.rows.items()})
    with atomic.replacing(session.folder.path / "confusion.png") as path:
        counts = statistics.confusion(labels, probabilities.argmax(1), len(names))
        plots.confusion(counts, names, path, f"{title}, {len(labels):,} test images")


def _csv(history: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in history for name in row))
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return out.getvalue()
