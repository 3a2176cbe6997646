"""Make a run of a model that was trained elsewhere: find its scaling, predict photos, write the run."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import file_guard
from tledge.adoption import archives, label_order, outputs, scaling_decision
from tledge.adoption.archives import Unpacked
from tledge.adoption.facts import ModelFacts
from tledge.adoption.outputs import Adopted
from tledge.adoption.scaling_decision import Decision
from tledge.adoption.session import AdoptionSession
from tledge.data import prepare, sampling, splits
from tledge.data.cache import Prepared
from tledge.errors import DataError, RecipeError, RunError
from tledge.models.backbones import ADOPTED
from tledge.preprocessing.scaling import BYTES, Scaling
from tledge.progress import SILENT, Progress, start_task
from tledge.recipe import init, init_folder, loader
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.run.records import TrainedRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KNOWN_TRIED, UNKNOWN_TRIED = 40, 150
"""Photos that every scaling is tried on, where the model says its own and where it says none."""

SUM = 1e-3
"""Largest difference from 1 of the sum of the probabilities of a photo."""


@dataclass(frozen=True)
class AdoptionRequest:
    """What `adopt` was called with."""

    model: Path
    photos: Path
    folder: RunFolder
    labels: Path | None
    scaling: Scaling | None
    image_size: int
    settings: Sequence[str]
    force: bool
    progress: Progress


def adopt(
    model: Path,
    photos: Path,
    out: Path | None = None,
    *,
    labels: Path | None = None,
    scaling: Scaling | None = None,
    image_size: int = 0,
    settings: Sequence[str] = (),
    force: bool = False,
    progress: Progress = SILENT,
) -> tuple[RunFolder, TrainedRun]:
    """Make a run of a model that was trained elsewhere.

    Args:
        model: A `.keras` file, a Keras 2 `.h5` file, a SavedModel folder, or a zip of Teachable Machine.
        photos: A folder of photos with labels, as for `tledge init`.
        out: The run folder; runs/NAME of the model by default.
        labels: A text file with the labels in the order of the model's outputs, one a line.
        scaling: How pixels are scaled for the model; found out if None.
        image_size: Side of the photos, where the model takes any.
        settings: The `--set` overrides of the recipe that is written.
        force: Replace the run in `out`.
        progress: Receives what happens.

    Returns:
        The run folder, and the record in `run.json`.

    Raises:
        RecipeError: There is no such model, or the scaling or the labels cannot be found out, or do not fit;
            the message says what to type.
        ArtifactError: The model is damaged, holds code, or is no classifier of photos.
        RunError: `out` holds a run, or another command is writing there.
        MissingError: There are no such photos.
        DataError: The photos cannot be used.
    """
    if not model.exists():
        raise RecipeError(f"{model}: no such file or folder. Name the model to adopt.")
    folder = RunFolder(out or Path("runs") / name_of(model))
    request = AdoptionRequest(model, photos, folder, labels, scaling, image_size, settings, force, progress)
    if folder.path.exists() and not folder.path.is_dir():
        raise RunError(f"{folder.path}: a file; --out takes a folder.")
    with folder.alone():
        _claim(folder, force=force)
        return folder, _adopt(request)


def name_of(model: Path) -> str:
    """Return the name of a run for a model: that of its file, in letters that a name may have."""
    return re.sub(r"[^\w-]+", "-", model.name.partition(".")[0]).strip("-")[:80] or ADOPTED


def _claim(folder: RunFolder, *, force: bool) -> None:
    """Raise RunError unless the folder is empty, or holds a run that is to be replaced."""
    if all(path.name.startswith(".") for path in folder.path.iterdir()):
        return
    if not (folder.recipe.is_file() and folder.environment.is_file()):
        raise RunError(f"{folder.path}: not empty and not a run folder. Choose another --out.")
    if not force:
        raise RunError(f"{folder.path}: holds a run. Choose another --out, or replace it with --force.")


def _adopt(request: AdoptionRequest) -> TrainedRun:
    """Adopt a model into a folder that is ours to write."""
    started, progress = time.monotonic(), request.progress
    with tempfile.TemporaryDirectory(prefix="tledge-", ignore_cleanup_errors=True) as scratch:
        unpacked = archives.unpack(request.model, Path(scratch))
        progress.say(f"opening {request.model.name}")
        inside = "" if unpacked.model == request.model else f" ({unpacked.model.name})"
        shown = f"{request.model}{inside}"
        with AdoptionSession(unpacked.model, request.image_size, shown) as session:
            names, source = _listed_labels(request, unpacked, session.facts)
            recipe, text = _recipe(request, session.facts, names)
            prepared = prepare.prepare_dataset(recipe.data, recipe.model.image_size, progress)
            splits.require_labels(prepared)
            _require_labels(request, prepared, session.facts, source)
            rows = splits.split(prepared, recipe.data, recipe.meta.seed, progress)
            decision = _decide(request, session, prepared, rows, source)
            saved, is_unchanged = session.save(decision.scaling)
            adopted = Adopted(
                request.model, saved, is_unchanged, session.facts, decision, source, request.settings
            )
            predictions = {
                split: _predict(session, prepared, rows[split], progress) for split in ("validation", "test")
            }
            _require_order(prepared, rows, predictions, source)
            return outputs.write(
                request.folder, adopted, recipe, text, prepared, rows, predictions, session, progress, started
            )


def _listed_labels(
    request: AdoptionRequest, unpacked: Unpacked, facts: ModelFacts
) -> tuple[tuple[str, ...], str]:
    """Return the labels that were given, and where they come from; none where the folders name them."""
    if request.labels is not None:
        data = file_guard.read_bytes(request.labels, follow=True, limit=1 << 20, error=RecipeError)
        names, where, source = label_order.read(data.decode("utf-8", "replace")), str(request.labels), "file"
    elif unpacked.labels:
        names, where = label_order.read(unpacked.labels), f"{request.model}: labels.txt"
        source = "archive"
    else:
        return (), "folders"
    label_order.require_count(names, facts.classes, where)
    return names, source


def _recipe(request: AdoptionRequest, facts: ModelFacts, names: Sequence[str]) -> tuple[Recipe, str]:
    """Return the recipe of the run, and its text."""
    folder = init_folder.look(request.photos)
    name = name_of(request.folder.path.absolute())
    text = (
        f"# The model was adopted from {init.quoted(request.model.name)}; tledge did not train it.\n\n"
        f"[recipe]\nname = {init.quoted(name)}\nseed = 0\n\n{init.data_tables(folder, names)}\n"
        f'[model]\nbackbone = "{ADOPTED}"\nimage_size = {facts.size[0]}\n'
    )
    return loader.parse(text, request.folder.recipe.name, request.settings), text


def _require_labels(request: AdoptionRequest, prepared: Prepared, facts: ModelFacts, source: str) -> None:
    where = f"{request.photos}: the folders' names" if source == "folders" else str(request.model)
    label_order.require_count(prepared.labels, facts.classes, where)


def _decide(
    request: AdoptionRequest,
    session: AdoptionSession,
    prepared: Prepared,
    rows: dict[str, NDArray[np.int64]],
    source: str,
) -> Decision:
    """Decide for a scaling, by the model and photos of the train split; refuse labels in another order."""
    given, facts = request.scaling, session.facts
    if facts.is_contract and scaling_decision.expectation(facts) and given is None:
        return Decision(BYTES, "model", ("the model takes bytes, as every model of tledge does",))
    is_known = given is not None or scaling_decision.expectation(facts) is not None
    part = rows["train"]
    count = KNOWN_TRIED if is_known else UNKNOWN_TRIED
    chosen = part[sampling.by_class_in_turn(prepared.label_indices[part], count, 0)]
    images, labels = prepared.images()[chosen], prepared.label_indices[chosen]
    tried = scaling_decision.candidates(facts, given)
    with start_task(request.progress, "scaling", len(tried) * len(images)) as task:
        predictions = {
            scaling.name: session.predict(images, scaling, task.advance).argmax(1) for scaling in tried
        }
    _refuse_other_order(labels, predictions, prepared.labels, source)
    return scaling_decision.decide(facts, given, labels, predictions)


def _refuse_other_order(
    labels: NDArray[np.int64],
    predictions: dict[str, NDArray[np.int64]],
    names: Sequence[str],
    source: str,
) -> None:
    """Raise RecipeError where the labels of a scaling in another order fit better than all as they are."""
    as_given = max(int((predicted == labels).sum()) for predicted in predictions.values())
    found = [
        label_order.find_better(labels, predicted, names, len(predictions))
        for predicted in predictions.values()
    ]
    others = [other for other in found if other and other.right > as_given]
    if others:
        best = max(others, key=lambda other: other.right)
        raise RecipeError(replace(best, right_before=as_given).message(_where(source)))


def _where(source: str) -> str:
    names = {"folders": "the names of the photos' folders", "archive": "labels.txt in the zip"}
    return names.get(source, "--labels")


def _predict(
    session: AdoptionSession, prepared: Prepared, rows: NDArray[np.int64], progress: Progress
) -> NDArray[np.float32]:
    """Predict the rows of a split; raise DataError where the outputs are no probabilities."""
    import numpy as np

    from tledge.adoption.session import TOGETHER

    images, parts = prepared.images(), []
    with start_task(progress, "predict", len(rows)) as task:
        for start in range(0, len(rows), TOGETHER):
            chunk = images[rows[start : start + TOGETHER]]
            parts.append(session.predict(chunk, None, task.advance))
    outputs_of_all = np.concatenate(parts)
    sums = outputs_of_all.sum(1)
    if not (np.isfinite(outputs_of_all).all() and np.abs(sums - 1).max() <= SUM):
        raise DataError("the model's outputs are no probabilities: for some photos they do not sum to 1.")
    return outputs_of_all


def _require_order(
    prepared: Prepared,
    rows: dict[str, NDArray[np.int64]],
    predictions: dict[str, NDArray[np.float32]],
    source: str,
) -> None:
    """Raise RecipeError where the photos that nothing was chosen by show another order of the labels."""
    import numpy as np

    labels = np.concatenate([prepared.label_indices[rows[split]] for split in predictions])
    predicted = np.concatenate([outputs_of.argmax(1) for outputs_of in predictions.values()])
    if other := label_order.find_better(labels, predicted, prepared.labels):
        raise RecipeError(other.message(_where(source)))
