"""The commands that make a run again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tledge.bundle.run_summary import Summary
from tledge.formats.registry import VARIANTS
from tledge.run.records import Artifact

FLAGS = {"tflite-int8": "--int8", "tflite-fp16": "--fp16", "tflite-dynamic": "--dynamic"}
"""Flags of `tledge export` that add a variant."""


def commands(known: Summary) -> tuple[str, ...]:
    """What to type, in a folder with the run's `recipe.toml`."""
    folder = f"runs/{known.run.name}"
    settings = [f"--set {shlex.quote(one)}" for one in known.environment.get("settings", ())]
    backend = known.environment.get("backend", "tensorflow")
    prefix = [] if backend == "tensorflow" else [f"KERAS_BACKEND={backend}"]
    train = " ".join([*prefix, "tledge train recipe.toml", *settings, f"--out {folder}"])
    if not known.artifacts:
        return (train,)
    return (train, " ".join([f"tledge export {folder}", *_flags(known)]), f"tledge report {folder}")


def _flags(known: Summary) -> Iterator[str]:
    """What the artifacts here take beyond the recipe's own."""
    asked = known.recipe.export.variants if known.recipe else ()
    repaired = [name for name, one in known.artifacts.items() if _is_repaired(one)]
    wanted = [name for name in VARIANTS if name in known.artifacts and name not in asked]
    if repaired and not (known.recipe and known.recipe.export.int8.repair):
        yield "--repair"
        if repaired != ["tflite-int8"]:
            yield "--mixed"
    yield from (FLAGS.get(name, f"--variant {name}") for name in wanted if name not in repaired)


def _is_repaired(artifact: Artifact) -> bool:
    """Whether the ladder made it; the variant `tflite-mixed`, asked for by name, begins without integers."""
    return any(rung["mode"] == "int8" for rung in artifact.details.get("rungs", ()))
