"""Write the files of an adopted model's run; `run.json` comes last."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tledge import contract
from tledge._io import atomic, file_guard, files, zip_guard
from tledge.adoption import accepted_classes
from tledge.adoption.facts import ModelFacts
from tledge.adoption.scaling_decision import Decision
from tledge.adoption.session import AdoptionSession
from tledge.contract import InputSpec
from tledge.data import golden_set_writer, inspection, scores
from tledge.data.cache import Prepared
from tledge.environment import record
from tledge.errors import ArtifactError, RunError
from tledge.metrics import abstention, statistics
from tledge.models import keras_file
from tledge.models.backbones import ADOPTED
from tledge.progress import Progress
from tledge.recipe.definition import Recipe
from tledge.run import versions
from tledge.run.folder import RunFolder
from tledge.run.records import Origin, Score, TrainedRun
from tledge.visualization import plots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = dict[str, NDArray[np.int64]]

UNKNOWN_TRAINING = (
    "the model was adopted: tledge cannot know which photos it was trained on. If test photos were among "
    "them, the scores are too good"
)


@dataclass(frozen=True)
class Adopted:
    """An adopted model: its file, what was saved of it, and what was found out about it."""

    path: Path
    saved: Path
    is_unchanged: bool
    facts: ModelFacts
    decision: Decision
    labels_from: str
    settings: Sequence[str]


def write(
    folder: RunFolder,
    adopted: Adopted,
    recipe: Recipe,
    text: str,
    prepared: Prepared,
    rows: Rows,
    predictions: Mapping[str, NDArray[np.float32]],
    session: AdoptionSession,
    progress: Progress,
    started: float,
) -> TrainedRun:
    """Write the run: what training writes too, and the adopted file.

    Args:
        folder: The run folder; what it holds is replaced.
        adopted: The adopted model.
        recipe: The recipe of the run.
        text: The recipe's text.
        prepared: The prepared images.
        rows: The rows of each split.
        predictions: Probabilities float32[N, classes] of validation and test.
        session: Predicts with the saved model.
        progress: Receives what happens.
        started: When adopting began, by the monotonic clock.
    """
    model = _model_bytes(adopted)
    folder.empty()
    environment = record.of_run(recipe.meta.seed, adopted.settings, "tensorflow")
    files.write_json(folder.environment, {**environment, "cache": prepared.folder.name})
    files.write_text(folder.recipe, text)
    files.write_text(folder.labels, contract.labels_text(prepared.labels))
    summary = inspection.write_evidence(folder, prepared, rows, recipe.meta.seed, progress)
    origin = _write_models(folder, adopted, model)
    labels = {split: prepared.label_indices[rows[split]] for split in predictions}
    confidence = abstention.fit_abstention(
        predictions["validation"], labels["validation"], recipe.abstain.give_up
    )
    _write_risk(folder, predictions, labels, confidence.temperature)
    golden_set_writer.write(folder, prepared, rows["test"], predictions["test"], session, recipe.meta.seed)
    _write_confusion(folder, recipe.meta.name, prepared.labels, labels["test"], predictions["test"])
    run = replace(
        _unscored(recipe, prepared, rows, adopted.facts),
        validation=scores.score(predictions["validation"], labels["validation"]),
        test=scores.score(predictions["test"], labels["test"]),
        first_stage_validation=scores.score(predictions["validation"], labels["validation"]),
        seconds=round(time.monotonic() - started, 1),
        confidence=confidence,
        remarks=(
            UNKNOWN_TRAINING,
            *adopted.decision.remarks,
            *scores.remarks(summary, labels["test"], predictions["test"], prepared.labels, None),
        ),
        origin=origin,
        version=versions.of_models(recipe.meta.version, folder.model),
    )
    files.write_json(folder.run, run)
    return run


def _unscored(recipe: Recipe, prepared: Prepared, rows: Rows, facts: ModelFacts) -> TrainedRun:
    """Return the record of a run without its scores."""
    none = Score(0, 0.0, 0.0, 0.0)
    return TrainedRun(
        name=recipe.meta.name,
        version=recipe.meta.version,
        seed=recipe.meta.seed,
        description=recipe.meta.description,
        synthetic=recipe.synthetic,
        labels=prepared.labels,
        input=InputSpec(*facts.size, pixel_range=recipe.data.pixel_range),
        backbone=ADOPTED,
        parameters=facts.parameters,
        train_images=len(rows["train"]),
        validation=none,
        test=none,
        first_stage_validation=none,
        seconds=0.0,
        cache=str(prepared.folder),
        skipped=prepared.skipped,
    )


def _write_models(folder: RunFolder, adopted: Adopted, model: bytes) -> Origin:
    """Keep the adopted file, write `model.keras`; return where the model comes from."""
    folder.adopted.mkdir(exist_ok=True)
    kept = folder.adopted / adopted.path.name
    source = adopted.path.resolve()
    files.copy(source, kept, below=source.parent)
    with atomic.replacing(folder.model) as path:
        path.write_bytes(model)
    facts, decision = adopted.facts, adopted.decision
    return Origin(
        file=adopted.path.name,
        sha256=folder.sha256(kept),
        framework=facts.framework,
        version=facts.version,
        scaling=decision.scaling.name,
        scaling_from=decision.source,
        labels_from=adopted.labels_from,
        changes=tuple(_changes(facts)),
    )


def _model_bytes(adopted: Adopted) -> bytes:
    """Return the bytes of `model.keras`: those of the file where it is as tledge makes one.

    Raises:
        ArtifactError: What was made of the model holds a layer that the other commands would refuse.
    """
    if adopted.is_unchanged and adopted.path.is_file():
        with suppress(RunError):  # plain, but with other parts than tledge writes
            return keras_file.read(adopted.path)
    data = file_guard.read_bytes(adopted.saved, limit=keras_file.MAX_FILE)
    try:
        keras_file.judge(data)
    except (ValueError, RecursionError, *zip_guard.DAMAGE) as error:
        reason = " ".join(str(error).split())[:300] or repr(error)
        raise ArtifactError(
            f"{adopted.path}: refused, because {reason}. {accepted_classes.ADVICE}."
        ) from error
    return data


def _changes(facts: ModelFacts) -> list[str]:
    """Return what was changed in the model, a sentence each."""
    endings = {
        "logits": "a softmax was added: the model ends in logits",
        "sigmoid": "the sigmoid unit became the probabilities of two classes",
        "logit": "the single logit became the probabilities of two classes",
    }
    lines = [f"{name} was taken out: it changes photos at random" for name in facts.removed]
    lines += [endings[facts.ending]] if facts.ending in endings else []
    lines += ["the layers compute in float32"] if facts.retyped else []
    lines += ["a layer in front turns colours to grey"] if facts.channels == 1 else []
    return lines


def _write_risk(
    folder: RunFolder,
    predictions: Mapping[str, NDArray[np.float32]],
    labels: Mapping[str, NDArray[np.int64]],
    temperature: float,
) -> None:
    risk = {
        split: asdict(abstention.risk_coverage(predictions[split], labels[split], temperature))
        for split in predictions
    }
    files.write_json(folder.risk, risk)


def _write_confusion(
    folder: RunFolder,
    name: str,
    names: tuple[str, ...],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
) -> None:
    counts = statistics.confusion(labels, probabilities.argmax(1), len(names))
    with atomic.replacing(folder.path / "confusion.png") as path:
        plots.confusion(counts, names, path, f"{name}, test split")
