"""What the cases work on: a folder of their own, an environment, one tiny trained and exported run."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torture.support import processes

ROOT = Path(__file__).resolve().parents[2]

RECIPE = """
[recipe]
name = "tiny"
[data]
source = "drawn"
train = {train}
test = 120
size = 48
[data.splits]
validation = {{ from = "train", fraction = 0.2 }}
[model]
backbone = "tiny"
weights = "none"
image_size = 32
[[stage]]
name = "head"
epochs = 2
unfreeze = "none"
restore_best = false
[[stage]]
name = "all"
epochs = {epochs}
unfreeze = "all"
batch_norm = "train"
batch_norm_momentum = 0.9
learning_rate = 4e-3
restore_best = false
[export]
variants = ["tflite-fp32", "tflite-int8"]
[parity]
int8_agreement = 0.5
int8_accuracy = 0.5
max_drop = 0.5
max_class_drop = 1.0
"""
"""Two stages of a tiny network on drawn hands; its gates are wide, for its answers are not what is tried."""


@dataclass(frozen=True)
class Workspace:
    """A folder to work in, how much work to do, and the seed of whatever is chosen by chance."""

    work: Path
    reduced: bool
    seed: int = 0

    def count(self, full: int, reduced: int) -> int:
        """Return how many kills, files or rounds this run tries."""
        return reduced if self.reduced else full

    def rng(self, case: str) -> random.Random:
        """Create a random generator for one case, so that it repeats whatever ran before."""
        return random.Random(f"{self.seed} {case}")

    def folder(self, name: str) -> Path:
        """Create an empty folder for one case."""
        path = self.work / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    @cached_property
    def env(self) -> dict[str, str]:
        """Build the children's environment: this checkout's tledge, caches below `work`, no colours."""
        variables = {
            "KERAS_HOME": str(self.work / "keras"),
            "NO_COLOR": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TLEDGE_CACHE": str(self.work / "cache"),
        }
        return {**os.environ, **variables}

    def recipe(self, folder: Path, *, train: int = 480, epochs: int = 10) -> Path:
        """Write the tiny recipe into `folder`."""
        path = folder / "tiny.toml"
        path.write_text(RECIPE.format(train=train, epochs=epochs), encoding="utf-8")
        return path

    def tledge(
        self,
        *arguments: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
        memory: int | None = None,
        **options: Any,
    ) -> processes.ProcessResult:
        """Run a tledge command to its end, however it ends; see `processes.run`, also for `how`."""
        command = [*processes.TLEDGE, *arguments]
        return processes.run(
            command, {**self.env, **(env or {})}, cwd, timeout=timeout, memory=memory, **options
        )

    def run_successfully(self, *arguments: object, cwd: Path | None = None) -> processes.ProcessResult:
        """Run a tledge command that has to succeed."""
        result = self.tledge(*arguments, cwd=cwd)
        if result.code:
            raise RuntimeError(f"tledge {' '.join(map(str, arguments))}: {result.tail}\n{result.err}")
        return result

    @cached_property
    def run(self) -> Path:
        """Train, export and bundle the tiny run; not to be changed: see `own_run`."""
        folder = self.folder("tiny")
        out = folder / "runs" / "tiny"
        for name, arguments in {
            "train": (self.recipe(folder), "--out", out, "--quiet"),
            "export": (out, "--variant", "onnx-fp32", "--quiet"),
        }.items():
            self.seconds_taken[name] = self.run_successfully(name, *arguments).seconds
        return out

    @cached_property
    def seconds_taken(self) -> dict[str, float]:
        """Return the seconds that the commands took which made `run`."""
        return {}

    def own_run(self, name: str) -> Path:
        """Copy the tiny run, for a case that may damage it."""
        return Path(shutil.copytree(self.run, self.folder(name) / "tiny"))
