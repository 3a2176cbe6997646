"""The run folder: names of its files, the frozen values in them, atomic writes, SHA-256.

One command at a time writes into a run folder (`RunFolder.alone`); it puts right what killed ones left.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from tledge._io import atomic, lockfile, resource_errors
from tledge._io.files import read_json, read_record, sha256
from tledge.errors import ResourceError, RunError
from tledge.run import golden_set
from tledge.run.golden_set import Golden
from tledge.run.read_once import ReadOnce
from tledge.run.records import Artifact, ParityReport, RiskCoverage, TrainedRun

P = ParamSpec("P")
T = TypeVar("T")


LOCK = ".lock"
"""In a run folder: who is writing there."""

UNCORRECTED = "uncorrected"
"""Key in an artifact's details: the same conversion without bias correction, kept as evidence."""


FILES = {
    "recipe.toml": "exact copy of what was asked",
    "environment.json": "versions, machine and settings that it was trained with",
    "run.json": "what training made, and what it scored",
    "history.csv": "a line for each epoch",
    "tensorboard": "for TensorBoard: figures of every epoch, augmented photos, confusion matrix, graph",
    "curves.png": "loss and accuracy over the epochs",
    "confusion.png": "which label was taken for which, on the test split",
    "model.keras": "the trained model",
    "quantize_aware.keras": "its copy that learned to answer in 8 bits, where a stage made one",
    "quantize_aware.json": "the ranges that this copy was trained with",
    "labels.txt": "one name a line, in the order of the output",
    "golden.npz": "the golden set: prepared test photos and what Keras answered to them",
    "golden": "encoded test photos that go into bundles",
    "checkpoints": "what `--resume` goes on from, until training has finished",
    "artifacts": "converted models, and a JSON file beside each that says how it came about",
    "logs": "what converters said",
    "calibration.json": "the photos that int8 ranges were measured on, and how steady the ranges are",
    "evidence": "photos to calibrate and choose by; answers that differ; what 8 bits and `--skew` cost",
    "parity.json": "every artifact against Keras",
    "report.html": "all of it in one page, to look at",
    "report.md": "the same facts, for a repository",
    "bench.json": "what `tledge bench` measured",
    "bench.png": "accuracy against latency",
    "bundle": "what leaves the house, as a folder",
    "feedback": "pictures that `tledge preview` kept, by the label that a person gave them",
    "<name>-<version>.zip": "the bundle as one file",
    ".lock": "who is writing here, while a command does",
}
"""What may lie in a run folder, by name; device projects stand beside these under their own names."""


class RunFolder:
    """Name what lies in a run folder, and read its values: each once, for all stages that are handed this."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.toml"
        self.environment = path / "environment.json"
        self.run = path / "run.json"
        self.history = path / "history.csv"
        self.model = path / "model.keras"
        self.student = path / "quantize_aware.keras"
        self.student_ranges = path / "quantize_aware.json"
        self.labels = path / "labels.txt"
        self.golden = path / "golden.npz"
        self.photos = path / "golden"
        self.tensorboard = path / "tensorboard"
        self.checkpoints = path / "checkpoints"
        self.artifacts = path / "artifacts"
        self.logs = path / "logs"
        self.calibration = path / "calibration.json"
        self.parity = path / "parity.json"
        self.bundle = path / "bundle"
        self.risk = path / "evidence" / "risk_coverage.json"
        self.data = path / "evidence" / "photos.json"
        self.samples = path / "evidence" / "photos.npz"
        self.quantization = path / "evidence" / "quantization.json"
        self.culprits = path / "evidence" / "culprits.json"
        self.bench = path / "bench.json"
        self.report = path / "report.html"
        self.report_text = path / "report.md"
        self.once = ReadOnce()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only command that writes here for a block; the folder is made where it is missing.

        What killed commands left is put right first. A thread that is alone here already goes on. Raises
        RunError naming the other command's process, ResourceError where nothing can be written.
        """
        new = [one for one in (self.path, *self.path.parents) if not one.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(resource_errors.refused(error, self.path)) from error
        try:
            refusal = f"{self.path}: another command is writing into this folder"
            with lockfile.hold(self.path / LOCK, refusal) as first:
                if first:
                    self._sweep()
                yield
        finally:
            for one in new:
                with suppress(OSError):  # something was written
                    one.rmdir()

    def _sweep(self) -> None:
        parts = (self.artifacts, self.checkpoints, self.data.parent, self.logs, self.tensorboard)
        for folder in (self.path, *parts):
            atomic.remove_leftovers(folder)

    def empty(self) -> None:
        """Remove all that lies here but the lock; what says that it is a run last, as a kill may come."""
        last = {self.run: -1, self.recipe: 1, self.environment: 1}
        for one in sorted(self.path.iterdir(), key=lambda path: last.get(path, 0)):
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one)
            elif one.name != LOCK:
                one.unlink()

    def read_run(self) -> TrainedRun:
        """Read `run.json`; raises RunError where training has not finished here."""
        return self.once.get(
            self.run,
            "run",
            lambda: read_record(
                TrainedRun, self.run, "a finished run", "Run `tledge train` first.", "Train again."
            ),
        )

    def read_artifacts(self) -> list[Artifact]:
        """Read every artifact that was exported here, by variant name."""

        def read(path: Path) -> Artifact:
            return read_record(Artifact, path, "an artifact", "Export again.")

        paths = sorted(self.artifacts.glob("*.json"))
        return [self.once.get(path, "artifact", partial(read, path)) for path in paths]

    def read_parity(self) -> ParityReport:
        """Read `parity.json`; raises RunError where nothing was verified here."""
        advice = "Run `tledge verify` first."
        return self.once.get(
            self.parity,
            "parity",
            lambda: read_record(ParityReport, self.parity, "a verified run", advice, "Verify again."),
        )

    def read_golden(self) -> Golden:
        """Read `golden.npz`, which may hold 512 MiB; raises RunError where it is missing or damaged."""
        return self.once.get(self.golden, "golden", lambda: golden_set.load(self.golden))

    def read_environment(self) -> Mapping[str, Any]:
        """Read `environment.json`; raises RunError where training has not begun here."""
        advice = "Run `tledge train` first."
        return self.once.get(
            self.environment, "environment", lambda: read_json(self.environment, "a finished run", advice)
        )

    def sha256(self, path: Path) -> str:
        """Hash a file or folder of the run, each state of it once."""
        return self.once.get(path, "sha256", lambda: sha256(path))

    def read_risk(self) -> dict[str, RiskCoverage]:
        """Read `risk_coverage.json`, by split; empty for a run of an earlier version."""
        if not self.risk.is_file():
            return {}
        return read_record(dict[str, RiskCoverage], self.risk, "risk and coverage", "Train again.")


def newest_run(root: Path) -> RunFolder:
    """The finished run below `root` that ended last; raises RunError where there is none."""
    found = sorted(root.glob("*/run.json"), key=lambda path: (path.stat().st_mtime_ns, path))
    if not found:
        raise RunError(f"{root}: no finished run here. Run `tledge train RECIPE`, or name a run folder.")
    return RunFolder(found[-1].parent)


def alone(stage: Callable[Concatenate[RunFolder, P], T]) -> Callable[Concatenate[RunFolder, P], T]:
    """Let a stage run as the only command that writes into its run folder; see `RunFolder.alone`."""

    @wraps(stage)
    def guarded(folder: RunFolder, /, *arguments: P.args, **options: P.kwargs) -> T:
        with folder.alone():
            return stage(folder, *arguments, **options)

    return guarded


def is_run(path: Path) -> bool:
    """True for the folder of a finished run."""
    return (path / "run.json").is_file()
