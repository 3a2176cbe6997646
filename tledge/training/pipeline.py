"""The training stage: recipe → run folder with model, history, plots, golden set and `run.json`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import contract
from tledge._io import atomic, files, npy
from tledge._process import optional_imports
from tledge.config import Hardware, Stage
from tledge.data import cache as data_cache
from tledge.data import cache_archive, inspection, prepare, splits
from tledge.data.streaming import OneHot
from tledge.errors import MissingError, RunError
from tledge.models import augmentation, classifier
from tledge.progress import SILENT, Progress, track
from tledge.quantization import layer_rebuilding
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.run.records import TrainedRun
from tledge.training import (
    accelerators,
    callbacks,
    distillation,
    frozen_features,
    multi_host,
)
from tledge.training import batches as training_batches
from tledge.training import checkpoint as training_checkpoint
from tledge.training import stage as training_stage
from tledge.training.accelerators import Engine
from tledge.training.loggers import registry
from tledge.training.multi_host import ALONE, Hosts
from tledge.training.outputs import environment, finish
from tledge.training.resume_guard import claim, finished, require_alike, require_same_photos
from tledge.training.scoring import score_split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    """Train `recipe` (whose file holds `text`) into the run folder `out`.

    The photos come from `cache`, which `parcel.pack` wrote, or else from the recipe's source. Several
    `hosts` call this within `distribution.joined`, all but the first with an `out` that is thrown
    away: they give None once the weights are trained.

    Raises RunError where `out` already holds a run and neither `resume` nor `force` says what to
    do with it or another command is writing there, MissingError where data, weights or Keras are not
    here, DataError for bad photos.
    """
    folder = RunFolder(out)
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: a file; --out takes a folder.")
    with folder.alone():
        claim(folder, text, settings, resume=resume, force=force)
        if folder.run.is_file() and not force:
            return finished(folder, progress)
        return _train(
            recipe, text, folder,
            settings=settings, resume=resume, force=force, cache=cache, hosts=hosts, progress=progress,
        )  # fmt: skip


def _train(
    recipe: Recipe,
    text: str,
    folder: RunFolder,
    *,
    settings: Sequence[str],
    resume: bool,
    force: bool,
    cache: Path | None,
    hosts: Hosts,
    progress: Progress,
) -> TrainedRun | None:
    """Train into a folder that is ours to write, from its beginning or its checkpoint."""
    started = time.monotonic()
    registry.require(recipe)
    optional_imports.load("keras", "train")
    optional_imports.load("matplotlib", "train")
    prepared = _prepared(recipe, cache, hosts, progress)
    require_alike(recipe, prepared, hosts)
    require_same_photos(folder, prepared, resume=resume and not force)
    splits.require_labels(prepared)
    rows = splits.split(prepared, recipe.data, recipe.meta.seed)
    _seed(recipe.meta.seed, recipe.hardware)
    # Several hosts share their devices themselves.
    engine = accelerators.engine(recipe.hardware, progress) if hosts.is_alone else Engine(recipe.hardware)
    with engine.building():
        core = classifier.build(recipe.model, len(prepared.labels))
    core = engine.rebuild_in_scope(core)
    for stage in recipe.stage:
        classifier.first_trainable(core, stage)  # a misspelt layer ends here, before anything is written
        if stage.quantize_aware:
            layer_rebuilding.require_known(core)
    if force:
        folder.empty()
    facts = {**environment(recipe.meta.seed, settings), "cache": prepared.folder.name}
    facts |= {} if hosts.is_alone else {"processes": hosts.processes}
    files.write_json(folder.environment, facts)
    files.write_text(folder.recipe, text)
    files.write_text(folder.labels, contract.labels_text(prepared.labels))
    with registry.observers(recipe, folder, hosts) as observers:
        state = _stages(recipe, core, prepared, rows, folder, hosts, progress, engine, observers)
        multi_host.leave(hosts, core)
        if not hosts.writes:
            return None
        found = inspection.write_evidence(folder, prepared, rows, recipe.meta.seed, progress)
        run = finish(recipe, engine.plain(core), prepared, rows, found, state, folder, progress)
        run = replace(run, seconds=round(time.monotonic() - started, 1))
        files.write_json(folder.run, run)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return run


def _prepared(recipe: Recipe, cache: Path | None, hosts: Hosts, progress: Progress) -> data_cache.Prepared:
    """The prepared photos; where they cannot be had, the message names missing weights as well."""
    try:
        if cache:
            return cache_archive.unpack(cache, recipe.data, recipe.model.image_size, progress)
        # Processes on one machine share its caches: the first makes it, the others wait.
        return prepare.prepare_dataset(
            recipe.data, recipe.model.image_size, progress, wait=not hosts.is_alone
        )
    except MissingError as error:
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


def _stages(
    recipe: Recipe,
    core: Any,
    prepared: data_cache.Prepared,
    rows: dict[str, NDArray[np.int64]],
    folder: RunFolder,
    hosts: Hosts,
    progress: Progress,
    engine: accelerators.Engine,
    observers: Sequence[callbacks.Observer],
) -> training_checkpoint.State:
    """Run every stage that is still to run, going on from the checkpoint where there is one."""
    parts = {name: _examples(prepared, rows[name]) for name in ("train", "validation")}
    if recipe.augment.views:
        path = folder.checkpoints / "views.npy"
        parts["train"] = _with_views(parts["train"], recipe, path, progress)
    checkpoint, begin = folder.checkpoints / "state.npz", folder.checkpoints / "stage.npz"
    for path in (checkpoint, begin):
        multi_host.copy_from_first(hosts, path)
    state = training_checkpoint.read_state(checkpoint)
    for stage in (one for one in recipe.stage[: state.stage] if not one.quantize_aware):
        classifier.set_trainable(core, stage)  # as an uninterrupted run left it
    if state.stage:
        core.set_weights(training_checkpoint.load_checkpoint(begin, None))
    for number in range(state.stage, len(recipe.stage)):
        stage = recipe.stage[number]
        lesson = _lesson(recipe, stage, core, parts["train"], engine, progress)
        if lesson:
            whole, train, validation = lesson.network, parts["train"], parts["validation"]
        else:
            count = classifier.set_trainable(core, stage)
            progress.say(f"stage {stage.name}: {count} backbone layers frozen, up to {stage.epochs} epochs")
            whole, train, validation = frozen_features.stage_input(
                recipe, stage, core, prepared, parts, folder, progress, hosts
            )
        with multi_host.replicated(hosts, whole) as network:
            training_stage.fit(
                network, stage, state, train, validation,
                seed=recipe.meta.seed, checkpoint=checkpoint, progress=progress, engine=engine, hosts=hosts,
                observers=observers,
            )  # fmt: skip
        if lesson:
            lesson.save(folder)
        if state.first_stage_validation is None and hosts.writes:
            state.first_stage_validation = score_split(
                engine.plain(core), prepared, rows["validation"], progress
            )
        state.stage, state.epoch, state.best, state.wait = number + 1, 0, None, 0
        state.stopped, state.accumulate = False, 1
        for path in (begin, checkpoint):
            training_checkpoint.save_checkpoint(path, None, state, core.get_weights())
    return state


def _lesson(
    recipe: Recipe,
    stage: Stage,
    core: Any,
    examples: training_batches.Examples,
    engine: Engine,
    progress: Progress,
) -> distillation.DistillationSetup | None:
    """What a quantize-aware stage trains; None for other stages."""
    if not stage.quantize_aware:
        return None
    progress.say(f"stage {stage.name}: a copy learns to answer in 8 bits, up to {stage.epochs} epochs")
    return distillation.set_up_distillation(recipe, stage, core, examples, engine, progress)


def _examples(prepared: data_cache.Prepared, rows: NDArray[np.int64]) -> training_batches.Examples:
    one_hot = OneHot(prepared.label_indices, len(prepared.labels))
    return training_batches.Examples(prepared.images(), one_hot, rows)


def _with_views(
    examples: training_batches.Examples, recipe: Recipe, path: Path, progress: Progress
) -> training_batches.Examples:
    """Write the train split as it is and changed views of it into a memory-mapped file beside the checkpoint.

    What is classified later is not changed either: on rock-paper-scissors heads that saw the photos and
    two changed views had 4 points more than heads that saw three changed views. Where layers of the
    backbone learn as well and `keep_photo` is off, all views are changed: see recipes/rps.toml.
    """
    import numpy as np

    count, images = recipe.augment.views, examples.images
    changed = count if not recipe.augment.keep_photo else count - 1
    shape = (count, len(examples.rows), *images.shape[1:])
    if not path.is_file():
        draw = augmentation.make_augmenter(recipe.augment, recipe.meta.seed)
        batches = [(view, start) for view in range(count) for start in range(0, len(examples.rows), 64)]
        with atomic.replacing(path) as made:
            out = npy.array(made, np.uint8, shape)
            for view, start in track(progress, batches, "augment", len(batches)):
                taken = images[examples.rows[start : start + 64]]
                out[view, start : start + 64] = draw(taken) if view >= count - changed else taken
            out.flush()
    return replace(examples, views=np.load(path, mmap_mode="r"))
