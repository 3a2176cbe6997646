"""List the commands that reproduce a run."""

from __future__ import annotations

from collections.abc import Iterator

from tledge._process import compute_threads, processors
from tledge._process.signals import quoted
from tledge.bundle.run_summary import Summary
from tledge.formats.registry import VARIANTS
from tledge.run.records import Artifact

FLAGS = {"tflite-int8": "--int8", "tflite-fp16": "--fp16", "tflite-dynamic": "--dynamic"}
"""Flags of `tledge export` that add a variant."""


def commands(summary: Summary) -> tuple[str, ...]:
    """Return the commands to type in a folder with the run's `recipe.toml`."""
    folder = quoted(f"runs/{summary.run.name}")
    settings = [f"--set {quoted(setting)}" for setting in summary.environment.get("settings", ())]
    train = " ".join([*_variables(summary), "tledge train recipe.toml", *settings, f"--out {folder}"])
    if not summary.artifacts:
        return (train,)
    return (train, " ".join([f"tledge export {folder}", *_flags(summary)]), f"tledge report {folder}")


def _variables(summary: Summary) -> Iterator[str]:
    """Yield the environment variables of the training that differ from what tledge sets itself."""
    backend = summary.environment.get("backend", "tensorflow")
    if backend != "tensorflow":
        yield f"KERAS_BACKEND={quoted(backend)}"
    threads = summary.environment.get("threads", {})
    for name in (compute_threads.TENSORFLOW, compute_threads.JAX):
        value = threads.get(name, "")
        if value not in ("", str(processors.in_machine())):
            yield f"{name}={quoted(value)}"


def _flags(summary: Summary) -> Iterator[str]:
    """Yield the options for artifacts that the recipe does not list."""
    in_recipe = summary.recipe.export.variants if summary.recipe else ()
    repaired = [name for name, artifact in summary.artifacts.items() if _is_repaired(artifact)]
    further = [name for name in VARIANTS if name in summary.artifacts and name not in in_recipe]
    if repaired and not (summary.recipe and summary.recipe.export.int8.repair):
        yield "--repair"
        if repaired != ["tflite-int8"]:
            yield "--mixed"
    yield from (FLAGS.get(name, f"--variant {quoted(name)}") for name in further if name not in repaired)


def _is_repaired(artifact: Artifact) -> bool:
    """Check whether quantization repair made it; a plain `tflite-mixed` has no trial with all integers."""
    return any(trial["mode"] == "int8" for trial in artifact.details.get("rungs", ()))
