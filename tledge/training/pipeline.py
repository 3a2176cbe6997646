"""Train a recipe into a run folder: model, history, plots, golden set and `run.json`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import contract
from tledge._io import files
from tledge._process import optional_imports
from tledge.config import Hardware, Stage
from tledge.data import cache_archive, prepare, split_checks, splits
from tledge.data.cache import Prepared
from tledge.data.streaming import OneHot
from tledge.environment import record
from tledge.errors import MissingError, RunError
from tledge.models import classifier
from tledge.progress import SILENT, Progress
from tledge.quantization import layer_rebuilding
from tledge.recipe import source_path
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.run.records import Score, TrainedRun
from tledge.training import (
    accelerators,
    augmentation_copies,
    checkpoint,
    distillation,
    frozen_features,
    multi_host,
    outputs,
    progress_lines,
    resume_guard,
)
from tledge.training import stage as stage_training
from tledge.training.accelerators import Engine
from tledge.training.batches import Examples
from tledge.training.callbacks import Observer
from tledge.training.checkpoint import State
from tledge.training.loggers import registry
from tledge.training.multi_host import ALONE, Hosts
from tledge.training.scoring import score_split
from tledge.training.session import StageInput, TrainingSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingRequest:
    """What `train` was called with."""

    recipe: Recipe
    text: str
    folder: RunFolder
    settings: Sequence[str]
    resume: bool
    force: bool
    cache: Path | None
    hosts: Hosts
    progress: Progress


def train(
    recipe: Recipe,
    text: str,
    out: Path,
    *,
    settings: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    cache: Path | None = None,
    hosts: Hosts = ALONE,
    progress: Progress = SILENT,
) -> TrainedRun | None:
    """Train a recipe into a run folder.

    Args:
        recipe: The checked recipe.
        text: The text of its file; the run folder keeps a copy.
        out: The run folder.
        settings: The `--set` overrides that `recipe` holds already; the run folder keeps them.
        resume: Continue the unfinished run in `out`.
        force: Replace the run in `out`.
        cache: Prepared images that `cache_archive.pack` wrote; without it, the recipe's source is read.
        hosts: The processes that train together. Each calls this within `multi_host.joined`; all but
            the first with an `out` that is thrown away.
        progress: Receives what happens.

    Returns:
        The record in `run.json`; None in all processes but the first.

    Raises:
        RunError: `out` holds a run and neither `resume` nor `force` says what to do with it, or another
            command is writing there.
        MissingError: Images, weights or Keras are not on this machine.
        DataError: Images cannot be used.
    """
    folder = RunFolder(out)
    request = TrainingRequest(recipe, text, folder, settings, resume, force, cache, hosts, progress)
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: a file; --out takes a folder.")
    with folder.alone():
        resume_guard.claim(folder, text, settings, resume=resume, force=force)
        if folder.run.is_file() and not force:
            return resume_guard.finished(folder, progress)
        return _train(request)


def _train(request: TrainingRequest) -> TrainedRun | None:
    """Train into a folder that is ours to write, from its beginning or its checkpoint."""
    started = time.monotonic()
    recipe, folder, hosts = request.recipe, request.folder, request.hosts
    _say_plan(request)
    registry.require(recipe)
    prepared = _prepare(request)
    rows = splits.split(prepared, recipe.data, recipe.meta.seed, request.progress)
    if request.force or not request.resume:  # a run that began may end
        split_checks.require_every_label(prepared, rows, recipe.data)
    counts = {split: len(rows[split]) for split in rows}
    request.progress.say(progress_lines.photos(counts, len(prepared.labels)))
    optional_imports.load("keras", "train")
    optional_imports.load("matplotlib", "train")
    _seed(recipe.meta.seed, recipe.hardware)
    # Several hosts share their devices themselves.
    engine = (
        accelerators.engine(recipe.hardware, request.progress) if hosts.is_alone else Engine(recipe.hardware)
    )
    core = _build(recipe, engine, len(prepared.labels))
    request.progress.say(progress_lines.fact("parameters", f"{core.count_params():,}"))
    request.progress.say(progress_lines.fact("device", accelerators.description(engine)))
    request.progress.say(progress_lines.fact("time", "estimated after the second epoch of each stage"))
    if request.force:
        folder.empty()
    _write_start(request, prepared)
    with registry.observers(recipe, folder, hosts) as observers:
        session = _session(request, prepared, rows, core, engine, observers)
        state = train_stages(session)
        multi_host.leave(hosts, core)
        if not hosts.writes:
            return None
        run = replace(outputs.finish(session, state), seconds=round(time.monotonic() - started, 1))
        files.write_json(folder.run, run)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return run


def _say_plan(request: TrainingRequest) -> None:
    """Say what is trained, and refuse at once where Keras is not installed."""
    for line in progress_lines.plan(request.recipe, request.folder.path):
        request.progress.say(line)
    for module in ("keras", "matplotlib"):
        optional_imports.require_installed(module, "train")


def _prepare(request: TrainingRequest) -> Prepared:
    """Return the prepared images; refuse those that this run, or its other processes, did not begin with."""
    prepared = resume_guard.with_recorded_labels(
        request.folder, _load_images(request), resume=request.resume and not request.force
    )
    resume_guard.require_alike(request.recipe, prepared, request.hosts)
    resume_guard.require_same_photos(request.folder, prepared, resume=request.resume and not request.force)
    splits.require_labels(prepared)
    return prepared


def _load_images(request: TrainingRequest) -> Prepared:
    """Return the prepared images; where they are missing, the message names missing weights as well."""
    recipe, size = request.recipe, request.recipe.model.image_size
    try:
        if request.cache:
            return cache_archive.unpack(request.cache, recipe.data, size, request.progress)
        # Processes on one machine share its caches: the first makes it, the others wait.
        is_shared = not request.hosts.is_alone
        return prepare.prepare_dataset(recipe.data, size, request.progress, wait=is_shared)
    except MissingError as error:
        optional_imports.load("keras", "train")
        try:
            classifier.build(recipe.model, classes=2)
        except MissingError as other:
            raise MissingError(f"{error}\n{other}") from error
        raise


def _seed(seed: int, table: Hardware) -> None:
    """Seed every generator; ask for deterministic kernels, with which Keras compiles nothing."""
    keras = optional_imports.load("keras", "train")
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow" and table.jit_compile != "on":
        tensorflow = optional_imports.load("tensorflow", "train")
        tensorflow.config.experimental.enable_op_determinism()


def _build(recipe: Recipe, engine: Engine, classes: int) -> Any:
    """Return the network, on the devices of `engine`; raise RecipeError for a stage that it cannot train."""
    with engine.building():
        core = classifier.build(recipe.model, classes)
    core = engine.rebuild_in_scope(core)
    for stage in recipe.stage:
        classifier.first_trainable(core, stage)  # a misspelt layer ends here, before anything is written
        if stage.quantize_aware:
            layer_rebuilding.require_known(core)
    return core


def _write_start(request: TrainingRequest, prepared: Prepared) -> None:
    """Write the files that mark a run as begun, and that --resume compares with."""
    recipe, folder, hosts = request.recipe, request.folder, request.hosts
    backend = optional_imports.load("keras", "train").backend.backend()
    facts = {
        **record.of_run(recipe.meta.seed, request.settings, backend),
        "cache": prepared.folder.name,
        "name": recipe.meta.name,
    }
    facts |= {"source": source_path.absolute(recipe)}
    facts |= {} if hosts.is_alone else {"processes": hosts.processes}
    files.write_json(folder.environment, facts)
    files.write_text(folder.recipe, request.text)
    files.write_text(folder.labels, contract.labels_text(prepared.labels))


def _session(
    request: TrainingRequest,
    prepared: Prepared,
    rows: dict[str, NDArray[np.int64]],
    core: Any,
    engine: Engine,
    observers: Sequence[Observer],
) -> TrainingSession:
    """Return the session of a training, with augmentation copies where the recipe asks for them."""
    recipe, folder = request.recipe, request.folder
    one_hot = OneHot(prepared.label_indices, len(prepared.labels))
    examples = {split: Examples(prepared.images(), one_hot, rows[split]) for split in ("train", "validation")}
    if recipe.augment.views:
        path = folder.checkpoints / "views.npy"
        examples["train"] = augmentation_copies.with_copies(examples["train"], recipe, path, request.progress)
    return TrainingSession(
        recipe=recipe,
        folder=folder,
        prepared=prepared,
        rows=rows,
        examples=examples,
        core=core,
        engine=engine,
        hosts=request.hosts,
        observers=observers,
        progress=request.progress,
    )


def train_stages(session: TrainingSession) -> State:
    """Run every stage that is still to run; return the state at the end."""
    state = restore(session)
    for stage in session.recipe.stage[state.stage :]:
        run_stage(session, stage, state)
    return state


def restore(session: TrainingSession) -> State:
    """Return where training stands, with the network as the stages before left it.

    Of a run that goes on, `stage_start` holds the weights that the running stage began with; `fit` takes
    its own from `checkpoint`.
    """
    for path in (session.checkpoint, session.stage_start):
        multi_host.copy_from_first(session.hosts, path)
    state = checkpoint.read_state(session.checkpoint)
    for stage in session.recipe.stage[: state.stage]:
        if not stage.quantize_aware:  # which trains a copy
            classifier.set_trainable(session.core, stage)
    if state.stage:
        session.core.set_weights(checkpoint.load_checkpoint(session.stage_start, None))
    return state


def run_stage(session: TrainingSession, stage: Stage, state: State) -> None:
    """Train one stage, and write the checkpoint that the next one begins with."""
    inputs = _stage_input(session, stage)
    with multi_host.replicated(session.hosts, inputs.network) as network:
        stage_training.fit(
            network,
            stage,
            state,
            inputs.train,
            inputs.validation,
            seed=session.seed,
            checkpoint=session.checkpoint,
            progress=session.progress,
            engine=session.engine,
            hosts=session.hosts,
            observers=session.observers,
        )
    if inputs.distillation:
        inputs.distillation.save(session.folder)
    if state.first_stage_validation is None and session.hosts.writes:
        state.first_stage_validation = _score_validation(session)
    state.begin_stage(state.stage + 1)
    for path in (session.stage_start, session.checkpoint):
        checkpoint.save_checkpoint(path, None, state, session.core.get_weights())


def _stage_input(session: TrainingSession, stage: Stage) -> StageInput:
    """Return what a stage trains: the network or its trainable part, or a copy of it in 8 bits."""
    if stage.quantize_aware:
        _say_stage(session, stage, "a copy learns to predict in 8 bits")
        train, validation = session.examples["train"], session.examples["validation"]
        setup = distillation.set_up_distillation(
            session.recipe, stage, session.core, train, session.engine, session.progress
        )
        return StageInput(stage, setup.network, train, validation, setup)
    frozen = classifier.set_trainable(session.core, stage)
    _say_stage(session, stage, f"{frozen} backbone layers frozen")
    return frozen_features.stage_input(session, stage)


def _say_stage(session: TrainingSession, stage: Stage, how: str) -> None:
    stages = session.recipe.stage
    number = next(number for number, other in enumerate(stages) if other is stage)
    session.progress.say(progress_lines.stage_line(stages, number, how))


def _score_validation(session: TrainingSession) -> Score:
    network = session.engine.plain(session.core)
    return score_split(network, session.prepared, session.rows["validation"], session.progress)
