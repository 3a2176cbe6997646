"""Read and write a run folder: the names of its files, its lock, and the records in its JSON files.

Only one command at a time writes into a run folder (`RunFolder.alone`); it first cleans up after killed ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from tledge._io import atomic, file_guard, folder_guard, lockfile, resource_errors, zip_guard
from tledge._io.files import read_json, read_record, sha256
from tledge.errors import ResourceError, RunError
from tledge.run import golden_set
from tledge.run.golden_set import Golden
from tledge.run.read_once import ReadOnce
from tledge.run.records import Artifact, ParityReport, RiskCoverage, TrainedRun

P = ParamSpec("P")
T = TypeVar("T")


LOCK = ".lock"
"""Name of the lock file in a run folder, which names the command that writes there."""

USERS_OWN = frozenset({"feedback"})
"""Members that a user may let lead elsewhere; who writes there has to look."""

UNCORRECTED = "uncorrected"
"""Key in an artifact's details: the same conversion without bias correction, kept for comparison."""


FILES = {
    "recipe.toml": "exact copy of the recipe",
    "environment.json": "versions, machine and settings used for training",
    "run.json": "the trained model: labels, sizes, scores",
    "history.csv": "one line for each epoch",
    "tensorboard": "for TensorBoard: figures of every epoch, augmented images, confusion matrix, graph",
    "curves.png": "loss and accuracy over the epochs",
    "confusion.png": "confusion matrix of the test split",
    "model.keras": "the trained model",
    "quantize_aware.keras": "its quantization-aware copy, if a stage trained one",
    "quantize_aware.json": "the ranges with which this copy was trained",
    "adopted": "the model as it was adopted, if tledge did not train it",
    "labels.txt": "one label a line, in the order of the output",
    "golden.npz": "the golden set: preprocessed test images and the predictions of Keras",
    "golden": "encoded test images that go into bundles",
    "checkpoints": "checkpoints that `--resume` continues from, until training has finished",
    "artifacts": "converted models, each with a JSON file that says how it was made",
    "logs": "output of the converters",
    "calibration.json": "the images on which int8 ranges were measured, and how stable the ranges are",
    "evidence": "images for calibration and selection; independent images with Keras' predictions; "
    "predictions that differ; accuracy cost of int8 and of `--skew`; figures of `--stress`",
    "parity.json": "every artifact compared with Keras",
    "report.html": "everything on one page",
    "report.md": "the same as Markdown, for a repository",
    "classes.csv": "recall and precision of every class, where the report lists the worst of many",
    "bench.json": "latency and memory measured by `tledge bench`",
    "bench.png": "accuracy against latency",
    "bundle": "the files you ship",
    "feedback": "images saved in `tledge preview`, by the label that a person chose",
    "<name>-<version>.zip": "the bundle as one file",
    ".lock": "names the command that is writing here",
}
"""Everything that a run folder may contain, by name; device projects have folders of their own names."""


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
        self.adopted = path / "adopted"
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
        self.class_table = path / "classes.csv"
        self.once = ReadOnce()
        self._is_plain = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder's lock for a block, so that no other command writes; create the folder if missing.

        First clean up what killed commands left. A thread that already holds the lock continues.

        Raises:
            RunError: another command holds the lock, or a link or pipe lies in the run; the message names it.
            ResourceError: nothing can be written here.
        """
        created = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(resource_errors.refused(error, self.path)) from error
        try:
            refusal = f"{self.path}: another command is writing into this folder"
            with lockfile.hold(self.path / LOCK, refusal) as first:
                if first:
                    self.require_plain()
                    self._remove_leftovers()
                yield
        finally:
            for folder in created:
                with suppress(OSError):  # it is not empty
                    folder.rmdir()

    def _remove_leftovers(self) -> None:
        parts = (self.artifacts, self.checkpoints, self.data.parent, self.logs, self.tensorboard)
        for folder in (self.path, *parts):
            atomic.remove_leftovers(folder)

    def require_plain(self) -> None:
        """Raise RunError for a link, pipe or device in the place of a member, or below one.

        What commands delete, move, write and ship stays in the run then. Files of other names, such as
        device projects, are not looked at: their tools make links, and no command goes there.
        """
        with os.scandir(self.path) as listing:
            names = sorted(item.name for item in listing)
        for name in names:
            if self._is_member(name):
                folder_guard.require_plain(self.path / name, self.path)

    def _require_plain_once(self) -> None:
        """Look for links and pipes before the first record is read."""
        if not self._is_plain and self.path.is_dir():
            self.require_plain()
            self._is_plain = True

    def _is_member(self, name: str) -> bool:
        return (name in FILES and name not in USERS_OWN) or atomic.UNFINISHED in name

    def member(self, name: str) -> Path:
        """Return the path of a file or folder that a record in this run names.

        Raises RunError where it leads out of the run, or through a link.
        """
        if name and not zip_guard.is_plain(name):
            raise RunError(f"{self.path}: a record names {name[:200]!r}, which is no file of this run.")
        path = self.path / name
        file_guard.require_no_link(path, self.path)
        return path

    def empty(self) -> None:
        """Remove everything but the lock: `run.json` first and the recipe last, in case of a kill in "
        "between."""
        order = {self.run: -1, self.recipe: 1, self.environment: 1}
        for path in sorted(self.path.iterdir(), key=lambda path: order.get(path, 0)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()

    def read_run(self) -> TrainedRun:
        """Read `run.json`; raise RunError if training has not finished here, or as `require_plain` does."""
        self._require_plain_once()
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

        self._require_plain_once()
        paths = sorted(self.artifacts.glob("*.json"))
        return [self.once.get(path, "artifact", partial(read, path)) for path in paths]

    def read_parity(self) -> ParityReport:
        """Read `parity.json`; raise RunError if nothing was verified here."""
        self._require_plain_once()
        advice = "Run `tledge verify` first."
        return self.once.get(
            self.parity,
            "parity",
            lambda: read_record(ParityReport, self.parity, "a verified run", advice, "Verify again."),
        )

    def read_golden(self) -> Golden:
        """Read `golden.npz`, which may hold 512 MiB; raise RunError if it is missing or damaged."""
        self._require_plain_once()
        return self.once.get(self.golden, "golden", lambda: golden_set.load(self.golden))

    def read_environment(self) -> Mapping[str, Any]:
        """Read `environment.json`; raise RunError if training has not started here."""
        advice = "Run `tledge train` first."
        return self.once.get(
            self.environment, "environment", lambda: read_json(self.environment, "a finished run", advice)
        )

    def sha256(self, path: Path) -> str:
        """Hash a file or folder of the run; read it only once for each of its states."""
        file_guard.require_no_link(path, self.path)
        return self.once.get(path, "sha256", lambda: sha256(path))

    def read_risk(self) -> dict[str, RiskCoverage]:
        """Read `risk_coverage.json`, by split; empty for a run of an earlier version."""
        if not self.risk.is_file():
            return {}
        return read_record(dict[str, RiskCoverage], self.risk, "risk and coverage", "Train again.")


def newest_run(root: Path) -> RunFolder:
    """Find the finished run below `root` that ended last; raise RunError if there is none."""
    records = sorted(root.glob("*/run.json"), key=lambda path: (path.stat().st_mtime_ns, path))
    if not records:
        raise RunError(f"{root}: no finished run here. Run `tledge train RECIPE`, or name a run folder.")
    return RunFolder(records[-1].parent)


def alone(stage: Callable[Concatenate[RunFolder, P], T]) -> Callable[Concatenate[RunFolder, P], T]:
    """Decorate a stage so that it holds the lock of its run folder; see `RunFolder.alone`."""

    @wraps(stage)
    def guarded(folder: RunFolder, /, *arguments: P.args, **options: P.kwargs) -> T:
        with folder.alone():
            return stage(folder, *arguments, **options)

    return guarded


def is_run(path: Path) -> bool:
    """Tell whether `path` is the folder of a finished run; reading it tells what is wrong with `run.json`."""
    return os.path.lexists(path / "run.json")
