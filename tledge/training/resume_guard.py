"""Decide whether a run folder may be written: new, to be resumed, or to be replaced."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tledge import contract
from tledge._io import files
from tledge._version import __version__
from tledge.data import cache as data_cache
from tledge.errors import RecipeError, RunError
from tledge.progress import Progress
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.run.records import TrainedRun
from tledge.training import multi_host
from tledge.training.multi_host import Hosts


def finished(folder: RunFolder, progress: Progress) -> TrainedRun:
    """Return a run that is complete: it was killed after its last file, or --resume has nothing to do."""
    progress.say(f"{folder.path}: this training has finished already")
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return folder.read_run()


def require_alike(recipe: Recipe, prepared: data_cache.Prepared, hosts: Hosts) -> None:
    """Refuse several processes that differ, and recipes that several processes cannot train.

    Raises:
        RunError: The processes have other versions of tledge, recipes or photos.
        RecipeError: They cannot share a batch, or the recipe needs a single process.
    """
    if hosts.is_alone:
        return
    # Not the folder's name: it depends on file times, which copying changes.
    photos = files.sha256(prepared.folder / "index.json")
    labels = "order of the labels", prepared.labels
    for name, value in (("tledge", __version__), ("recipe or --set", recipe), ("photos", photos), labels):
        multi_host.require_same(hosts, repr(value).encode(), f"another {name}")
    multi_host.require_batches(hosts, recipe.stage)
    if recipe.stage[-1].quantize_aware:
        raise RecipeError(
            "[[stage]] quantize_aware: trains in one process. Leave the stage out, or train on one host."
        )
    if recipe.hardware.halve_batch:
        raise RecipeError(
            "[hardware] halve_batch: several processes cannot restart a stage together. "
            "Leave it out, and set a batch_size that fits."
        )


def claim(folder: RunFolder, text: str, settings: Sequence[str], *, resume: bool, force: bool) -> None:
    """Make sure that the folder may be written: it is new, to be resumed, or to be replaced.

    Args:
        folder: The run folder.
        text: The text of the recipe's file.
        settings: The --set overrides.
        resume: Continue the unfinished run that is there.
        force: Replace the run that is there.

    Raises:
        RunError: It holds a run and neither `resume` nor `force` is given, or another recipe's run.
    """
    # A killed command may leave temporary names, which begin with a dot.
    if all(path.name.startswith(".") for path in folder.path.iterdir()):
        return
    if force:
        is_run = folder.recipe.is_file() and folder.environment.is_file()
        if not is_run or Path.cwd().resolve().is_relative_to(folder.path.resolve()):
            raise RunError(
                f"{folder.path}: not a run folder, so --force does not empty it. Choose another --out."
            )
        return
    if folder.run.is_file() and not resume:
        raise RunError(
            f"{folder.path}: holds a finished run. Train into another folder with --out, "
            "or replace it with --force."
        )
    if not resume:
        raise RunError(
            f"{folder.path}: holds an unfinished run. Continue it with --resume, or start over with --force."
        )
    begun = files.read_json(folder.environment, "an unfinished run", "Start over with --force.")
    begun_text = folder.recipe.read_text(encoding="utf-8") if folder.recipe.is_file() else text
    if begun_text != text or begun.get("settings") != list(settings):
        raise RunError(
            f"{folder.path}: the recipe or the --set values differ from those that this run was started "
            "with. Start over with --force."
        )


def with_recorded_labels(
    folder: RunFolder, prepared: data_cache.Prepared, *, resume: bool
) -> data_cache.Prepared:
    """Keep the labels of a run that is resumed, and their order: another order would shuffle its outputs."""
    if not resume or not folder.labels.is_file():
        return prepared
    recorded = contract.parse_labels(folder.labels.read_text(encoding="utf-8"))
    if recorded == prepared.labels:
        return prepared
    return data_cache.with_recorded_labels(data_cache.open_cache(prepared.folder), recorded)


def require_same_photos(folder: RunFolder, prepared: data_cache.Prepared, *, resume: bool) -> None:
    """Raise RunError where a run is resumed whose photos have changed since it was started."""
    if not resume or not folder.environment.is_file():
        return
    begun = files.read_json(folder.environment, "an unfinished run", "Start over with --force.").get("cache")
    if begun != prepared.folder.name:
        raise RunError(
            f"{folder.path}: the photos differ from those that this run was started with. "
            "Start over with --force."
        )
