"""The training stage: recipe → run folder with model, history, plots, golden set and `run.json`."""

from __future__ import annotations

import csv
import io
import math
import os
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import __version__, contract, progress
from tledge._process import silence
from tledge.config import Hardware, Stage
from tledge.contract import InputSpec
from tledge.data import cache as data_cache
from tledge.data import cache_archive, inspection, prepare, splits
from tledge.data.streaming import Images, OneHot, in_batches
from tledge.environment import machine, packages
from tledge.errors import MissingError, RecipeError, RunError
from tledge.metrics import abstention, statistics
from tledge.models import classifier
from tledge.quantization import quantization_aware
from tledge.recipe.loader import Recipe
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder, Score, TrainedRun
from tledge.training import (
    accelerators,
    distillation,
    frozen_features,
    golden_set_writer,
    multi_host,
    scoring,
)
from tledge.training import batches as training_batches
from tledge.training import stage as training_stage
from tledge.training.accelerators import Engine
from tledge.training.loggers import registry, tensorboard
from tledge.training.multi_host import ALONE, Hosts
from tledge.visualization import plots

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
    watch: progress.Progress = progress.SILENT,
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
        _claim(folder, text, settings, resume=resume, force=force)
        if folder.run.is_file() and not force:
            return _finished(folder, watch)
        return _train(
            recipe, text, folder,
            settings=settings, resume=resume, force=force, cache=cache, hosts=hosts, watch=watch,
        )  # fmt: skip


def _finished(folder: RunFolder, watch: progress.Progress) -> TrainedRun:
    """A run that was killed after its last file was written, or that is resumed for nothing."""
    watch.say(f"{folder.path}: this training has finished already")
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return folder.read_run()


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
    watch: progress.Progress,
) -> TrainedRun | None:
    """Train into a folder that is ours to write, from its beginning or its checkpoint."""
    started = time.monotonic()
    registry.require(recipe)
    silence.load("keras", "train")
    silence.load("matplotlib", "train")
    prepared = _prepared(recipe, cache, hosts, watch)
    _require_alike(recipe, prepared, hosts)
    _require_same_photos(folder, prepared, resume=resume and not force)
    splits.require_labels(prepared)
    rows = splits.split(prepared, recipe.data, recipe.recipe.seed)
    _seed(recipe.recipe.seed, recipe.hardware)
    # Several hosts share their devices themselves.
    engine = accelerators.engine(recipe.hardware, watch) if hosts.is_alone else Engine(recipe.hardware)
    with engine.building():
        core = classifier.build(recipe.model, len(prepared.labels))
    core = engine.here(core)
    for stage in recipe.stage:
        classifier.first_trainable(core, stage)  # a misspelt layer ends here, before anything is written
        if stage.quantize_aware:
            quantization_aware.require_known(core)
    if force:
        folder.empty()
    facts = {**environment(recipe.recipe.seed, settings), "cache": prepared.folder.name}
    facts |= {} if hosts.is_alone else {"processes": hosts.processes}
    run_folder.write_json(folder.environment, facts)
    run_folder.write_text(folder.recipe, text)
    run_folder.write_text(folder.labels, contract.labels_text(prepared.labels))
    with registry.observers(recipe, folder, hosts) as observers:
        state = _stages(recipe, core, prepared, rows, folder, hosts, watch, engine, observers)
        multi_host.leave(hosts, core)
        if not hosts.writes:
            return None
        found = inspection.keep(folder, prepared, rows, recipe.recipe.seed, watch)
        run = _finish(recipe, engine.plain(core), prepared, rows, found, state, folder, watch)
        run = replace(run, seconds=round(time.monotonic() - started, 1))
        run_folder.write_json(folder.run, run)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return run


def _require_alike(recipe: Recipe, prepared: data_cache.Prepared, hosts: Hosts) -> None:
    """Refuse several processes that would not do the same, and batches that they cannot share."""
    if hosts.is_alone:
        return
    photos = run_folder.sha256(
        prepared.folder / "index.json"
    )  # the key would tell copied files by their times
    for what, value in (("tledge", __version__), ("recipe or --set", recipe), ("photos", photos)):
        multi_host.require_same(hosts, repr(value).encode(), f"another {what}")
    multi_host.require_batches(hosts, recipe.stage)
    if recipe.stage[-1].quantize_aware:
        raise RecipeError(
            "[[stage]] quantize_aware: trains in one process. Leave the stage out, or train on one host."
        )
    if recipe.hardware.halve_batch:
        raise RecipeError(
            "[hardware] halve_batch: several processes cannot begin a stage again together. "
            "Leave it out, and set a batch_size that fits."
        )


def _prepared(
    recipe: Recipe, cache: Path | None, hosts: Hosts, watch: progress.Progress
) -> data_cache.Prepared:
    """The prepared photos; where they cannot be had, the message names missing weights as well."""
    try:
        if cache:
            return cache_archive.unpack(cache, recipe.data, recipe.model.image_size, watch)
        # Processes on one machine share its caches: the first makes it, the others wait.
        return data_cache.prepare(recipe.data, recipe.model.image_size, watch, wait=not hosts.is_alone)
    except MissingError as error:
        try:
            classifier.build(recipe.model, classes=2)
        except MissingError as other:
            raise MissingError(f"{error}\n{other}") from error
        raise


def _claim(folder: RunFolder, text: str, settings: Sequence[str], *, resume: bool, force: bool) -> None:
    """Make sure the folder is ours to write: new, to be resumed, or to be replaced."""
    # A killed command may leave temporary names, which begin with a dot.
    if all(one.name.startswith(".") for one in folder.path.iterdir()):
        return
    if force:
        is_run = folder.recipe.is_file() and folder.environment.is_file()
        if not is_run or Path.cwd().resolve().is_relative_to(folder.path.resolve()):
            raise RunError(f"{folder.path}: not a run folder of its own, so --force does not empty it.")
        return
    if folder.run.is_file() and not resume:
        raise RunError(
            f"{folder.path}: holds a finished run. Train into another folder with --out, "
            "or replace it with --force."
        )
    if not resume:
        raise RunError(
            f"{folder.path}: holds an unfinished run. Go on with --resume, or start over with --force."
        )
    asked = run_folder.read_json(folder.environment, "an unfinished run", "Start over with --force.")
    known = folder.recipe.read_text(encoding="utf-8") if folder.recipe.is_file() else text
    if known != text or asked.get("settings") != list(settings):
        raise RunError(f"{folder.path}: was begun with another recipe or --set. Start over with --force.")


def _require_same_photos(folder: RunFolder, prepared: data_cache.Prepared, *, resume: bool) -> None:
    """Refuse to go on with a run whose photos have changed since it was begun."""
    if not resume or not folder.environment.is_file():
        return
    begun = run_folder.read_json(folder.environment, "an unfinished run", "Start over with --force.").get(
        "cache"
    )
    if begun != prepared.folder.name:
        raise RunError(
            f"{folder.path}: the photos are not those that this run was begun with. Start over with --force."
        )


def _seed(seed: int, table: Hardware) -> None:
    """Seed every generator; ask for deterministic kernels, with which Keras compiles nothing."""
    keras = silence.load("keras", "train")
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow" and table.jit_compile != "on":
        tensorflow = silence.load("tensorflow", "train")
        tensorflow.config.experimental.enable_op_determinism()


def environment(seed: int, settings: Sequence[str]) -> dict[str, Any]:
    """Versions, machine and settings that a repetition would want to know."""
    named = ("keras", "tensorflow", "jax", "numpy", "Pillow", "ai-edge-litert", "tf2onnx", "onnx")
    made_with = packages.made_with()
    return {
        "tledge": made_with["tledge"],
        "seed": seed,
        "settings": list(settings),
        "backend": silence.load("keras", "train").backend.backend(),
        "python": made_with["python"],
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": machine.versions(named),
        "installed": made_with["packages"],
    }


def _stages(
    recipe: Recipe,
    core: Any,
    prepared: data_cache.Prepared,
    rows: dict[str, NDArray[np.int64]],
    folder: RunFolder,
    hosts: Hosts,
    watch: progress.Progress,
    engine: accelerators.Engine,
    observers: Sequence[training_stage.Observer],
) -> training_stage.State:
    """Run every stage that is still to run, going on from the checkpoint where there is one."""
    parts = {name: _examples(prepared, rows[name]) for name in ("train", "validation")}
    if recipe.augment.views:
        path = folder.checkpoints / "views.npy"
        parts["train"] = _with_views(parts["train"], recipe, path, watch)
    checkpoint, begin = folder.checkpoints / "state.npz", folder.checkpoints / "stage.npz"
    for path in (checkpoint, begin):
        multi_host.copy_from_first(hosts, path)
    state = training_stage.read_state(checkpoint)
    for stage in (one for one in recipe.stage[: state.stage] if not one.quantize_aware):
        classifier.set_trainable(core, stage)  # as an uninterrupted run left it
    if state.stage:
        core.set_weights(training_stage.load_checkpoint(begin, None))
    for number in range(state.stage, len(recipe.stage)):
        stage = recipe.stage[number]
        lesson = _lesson(recipe, stage, core, parts["train"], engine, watch)
        if lesson:
            whole, train, validation = lesson.network, parts["train"], parts["validation"]
        else:
            count = classifier.set_trainable(core, stage)
            watch.say(f"stage {stage.name}: {count} backbone layers frozen, up to {stage.epochs} epochs")
            whole, train, validation = frozen_features.stage_input(
                recipe, stage, core, prepared, parts, folder, watch, hosts
            )
        with multi_host.replicated(hosts, whole) as network:
            training_stage.fit(
                network, stage, state, train, validation,
                seed=recipe.recipe.seed, checkpoint=checkpoint, watch=watch, engine=engine, hosts=hosts,
                observers=observers,
            )  # fmt: skip
        if lesson:
            lesson.save(folder)
        if state.frozen is None and hosts.writes:
            state.frozen = asdict(_score_split(engine.plain(core), prepared, rows["validation"], watch))
        state.stage, state.epoch, state.best, state.wait = number + 1, 0, None, 0
        state.stopped, state.accumulate = False, 1
        for path in (begin, checkpoint):
            training_stage.save_checkpoint(path, None, state, core.get_weights())
    return state


def _lesson(
    recipe: Recipe,
    stage: Stage,
    core: Any,
    examples: training_batches.Examples,
    engine: Engine,
    watch: progress.Progress,
) -> distillation.Lesson | None:
    """What a quantize-aware stage trains; None for other stages."""
    if not stage.quantize_aware:
        return None
    watch.say(f"stage {stage.name}: a copy learns to answer in 8 bits, up to {stage.epochs} epochs")
    return distillation.lesson(recipe, stage, core, examples, engine, watch)


def _examples(prepared: data_cache.Prepared, rows: NDArray[np.int64]) -> training_batches.Examples:
    one_hot = OneHot(prepared.label_indices(), len(prepared.labels))
    return training_batches.Examples(prepared.images(), one_hot, rows)


def _with_views(
    examples: training_batches.Examples, recipe: Recipe, path: Path, watch: progress.Progress
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
        draw = classifier.view_maker(recipe.augment, recipe.recipe.seed)
        batches = [(view, start) for view in range(count) for start in range(0, len(examples.rows), 64)]
        with run_folder.replacing(path) as made:
            out = prepare.array(made, np.uint8, shape)
            for view, start in progress.track(watch, batches, "augment", len(batches)):
                taken = images[examples.rows[start : start + 64]]
                out[view, start : start + 64] = draw(taken) if view >= count - changed else taken
            out.flush()
    return replace(examples, views=np.load(path, mmap_mode="r"))


def predict(
    core: Any, images: Images, rows: NDArray[np.int64], watch: progress.Progress = progress.SILENT
) -> NDArray[np.float32]:
    """Keras' probabilities float32[rows, classes] of these rows of images uint8[N, H, W, 3]."""
    import numpy as np

    batches = in_batches(images, rows, 32)
    parts = progress.track(watch, classifier.answers(core, batches), "score", math.ceil(len(rows) / 32))
    return np.concatenate(list(parts))


def score(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
    """Accuracy with its 95 % Wilson interval, and top-5 where there are more than 5 classes."""
    import numpy as np

    right = int((probabilities.argmax(1) == labels).sum())
    low, high = statistics.wilson(right, len(labels))
    top5 = None
    if probabilities.shape[1] > 5:
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
        top5 = float((best == labels[:, None]).any(1).mean())
    return Score(len(labels), right / len(labels), low, high, top5)


def _score_split(
    core: Any, prepared: data_cache.Prepared, rows: NDArray[np.int64], watch: progress.Progress
) -> Score:
    probabilities = predict(core, prepared.images(), rows, watch)
    return score(probabilities, prepared.label_indices()[rows])


def _finish(
    recipe: Recipe,
    core: Any,
    prepared: data_cache.Prepared,
    rows: dict[str, NDArray[np.int64]],
    found: inspection.Inventory,
    state: training_stage.State,
    folder: RunFolder,
    watch: progress.Progress,
) -> TrainedRun:
    """Write model, history, golden set and plots; gives the value of `run.json`."""
    classifier.save(core, folder.model)
    run_folder.write_text(folder.history, _csv(state.history))
    known, pixels = prepared.label_indices(), prepared.images()
    seen = predict(core, pixels, rows["validation"], watch), known[rows["validation"]]
    labels = known[rows["test"]]
    probabilities = predict(core, pixels, rows["test"], watch)
    fitted = abstention.fit(*seen, recipe.abstain.give_up)
    risk = {"validation": abstention.risk_coverage(*seen, fitted.temperature)}
    risk["test"] = abstention.risk_coverage(probabilities, labels, fitted.temperature)
    run_folder.write_json(folder.risk, {split: asdict(one) for split, one in risk.items()})
    golden_set_writer.write(folder, prepared, rows["test"], probabilities, core, recipe.recipe.seed)
    title = recipe.recipe.name + (" (synthetic photos)" if recipe.synthetic else "")
    with run_folder.replacing(folder.path / "curves.png") as path:
        plots.curves(state.history, path, title)
    with run_folder.replacing(folder.path / "confusion.png") as path:
        counts = statistics.confusion(labels, probabilities.argmax(1), len(prepared.labels))
        plots.confusion(counts, prepared.labels, path, f"{title}, test split")
    if recipe.log.tensorboard:
        tensorboard.write(folder, recipe, core, prepared, rows["train"], state.history)
    assert state.frozen is not None
    return TrainedRun(
        name=recipe.recipe.name,
        version=recipe.recipe.version,
        seed=recipe.recipe.seed,
        description=recipe.recipe.description,
        synthetic=recipe.synthetic,
        labels=prepared.labels,
        input=InputSpec(recipe.model.image_size, recipe.model.image_size),
        backbone=recipe.model.backbone,
        parameters=int(core.count_params()),
        train_images=len(rows["train"]),
        validation=score(*seen),
        test=score(probabilities, labels),
        frozen=Score(**state.frozen),
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
