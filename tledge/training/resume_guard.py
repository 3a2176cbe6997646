"""Decide whether a run folder may be written: new, to be resumed, or to be replaced."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tledge._io import files
from tledge._version import __version__
from tledge.data import cache as data_cache
from tledge.errors import RecipeError, RunError
from tledge.progress import Progress
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.run.records import TrainedRun
from tledge.training import (
    multi_host,
)
from tledge.training.multi_host import Hosts


def finished(folder: RunFolder, progress: Progress) -> TrainedRun:
    """A run that was killed after its last file was written, or that is resumed for nothing."""
    progress.say(f"{folder.path}: this training has finished already")
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return folder.read_run()


def require_alike(recipe: Recipe, prepared: data_cache.Prepared, hosts: Hosts) -> None:
    """Refuse several processes that would not do the same, and batches that they cannot share."""
    if hosts.is_alone:
        return
    photos = files.sha256(prepared.folder / "index.json")  # the key would tell copied files by their times
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


def claim(folder: RunFolder, text: str, settings: Sequence[str], *, resume: bool, force: bool) -> None:
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
    asked = files.read_json(folder.environment, "an unfinished run", "Start over with --force.")
    known = folder.recipe.read_text(encoding="utf-8") if folder.recipe.is_file() else text
    if known != text or asked.get("settings") != list(settings):
        raise RunError(f"{folder.path}: was begun with another recipe or --set. Start over with --force.")


def require_same_photos(folder: RunFolder, prepared: data_cache.Prepared, *, resume: bool) -> None:
    """Refuse to go on with a run whose photos have changed since it was begun."""
    if not resume or not folder.environment.is_file():
        return
    begun = files.read_json(folder.environment, "an unfinished run", "Start over with --force.").get("cache")
    if begun != prepared.folder.name:
        raise RunError(
            f"{folder.path}: the photos are not those that this run was begun with. Start over with --force."
        )
