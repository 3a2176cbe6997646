"""Write what a trained run leaves: model, history, golden set, plots, environment."""

from __future__ import annotations

import csv
import io
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tledge._io import atomic, files
from tledge._process import optional_imports
from tledge.contract import InputSpec
from tledge.data import cache as data_cache
from tledge.data import inspection
from tledge.environment import machine, packages
from tledge.metrics import abstention, statistics
from tledge.models import classifier
from tledge.progress import Progress
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.run.records import TrainedRun
from tledge.training import (
    checkpoint,
    golden_set_writer,
    scoring,
)
from tledge.training.loggers import tensorboard
from tledge.training.scoring import predict, score
from tledge.visualization import plots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def environment(seed: int, settings: Sequence[str]) -> dict[str, Any]:
    """Versions, machine and settings that a repetition would want to know."""
    named = ("keras", "tensorflow", "jax", "numpy", "Pillow", "ai-edge-litert", "tf2onnx", "onnx")
    made_with = packages.made_with()
    return {
        "tledge": made_with["tledge"],
        "seed": seed,
        "settings": list(settings),
        "backend": optional_imports.load("keras", "train").backend.backend(),
        "python": made_with["python"],
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": machine.versions(named),
        "installed": made_with["packages"],
    }


def finish(
    recipe: Recipe,
    core: Any,
    prepared: data_cache.Prepared,
    rows: dict[str, NDArray[np.int64]],
    found: inspection.DatasetSummary,
    state: checkpoint.State,
    folder: RunFolder,
    progress: Progress,
) -> TrainedRun:
    """Write model, history, golden set and plots; gives the value of `run.json`."""
    classifier.save(core, folder.model)
    files.write_text(folder.history, _csv(state.history))
    known, pixels = prepared.label_indices, prepared.images()
    seen = predict(core, pixels, rows["validation"], progress), known[rows["validation"]]
    labels = known[rows["test"]]
    probabilities = predict(core, pixels, rows["test"], progress)
    fitted = abstention.fit_abstention(*seen, recipe.abstain.give_up)
    risk = {"validation": abstention.risk_coverage(*seen, fitted.temperature)}
    risk["test"] = abstention.risk_coverage(probabilities, labels, fitted.temperature)
    files.write_json(folder.risk, {split: asdict(one) for split, one in risk.items()})
    golden_set_writer.write(folder, prepared, rows["test"], probabilities, core, recipe.meta.seed)
    title = recipe.meta.name + (" (synthetic photos)" if recipe.synthetic else "")
    with atomic.replacing(folder.path / "curves.png") as path:
        plots.curves(state.history, path, title)
    with atomic.replacing(folder.path / "confusion.png") as path:
        counts = statistics.confusion(labels, probabilities.argmax(1), len(prepared.labels))
        plots.confusion(counts, prepared.labels, path, f"{title}, test split")
    if recipe.log.tensorboard:
        tensorboard.write(folder, recipe, core, prepared, rows["train"], state.history)
    assert state.first_stage_validation is not None
    return TrainedRun(
        name=recipe.meta.name,
        version=recipe.meta.version,
        seed=recipe.meta.seed,
        description=recipe.meta.description,
        synthetic=recipe.synthetic,
        labels=prepared.labels,
        input=InputSpec(recipe.model.image_size, recipe.model.image_size),
        backbone=recipe.model.backbone,
        parameters=int(core.count_params()),
        train_images=len(rows["train"]),
        validation=score(*seen),
        test=score(probabilities, labels),
        first_stage_validation=state.first_stage_validation,
        seconds=0.0,
        cache=str(prepared.folder),
        skipped=prepared.skipped,
        expected=recipe.expect.test_accuracy,
        halved=state.halved,
        confidence=fitted,
        remarks=scoring.of_training(found, labels, probabilities, prepared.labels, len(state.history)),
    )


def _csv(history: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in history for name in row))
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return out.getvalue()
