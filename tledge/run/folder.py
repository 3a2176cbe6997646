"""The run folder: names of its files, the frozen values in them, atomic writes, SHA-256.

One command at a time writes into a run folder (`RunFolder.alone`); it puts right what killed ones left.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from tledge._io import atomic, encoding, json_schema, lockfile, resource_errors
from tledge.contract import Confidence, InputSpec
from tledge.errors import ResourceError, RunError

P = ParamSpec("P")
T = TypeVar("T")

replacing = atomic.replacing
"""How every file and folder of a run is written."""

LOCK = ".lock"
"""In a run folder: who is writing there."""

UNCORRECTED = "uncorrected"
"""Key in an artifact's details: the same conversion without bias correction, kept as evidence."""


@dataclass(frozen=True)
class Score:
    """Accuracy on a split with its 95 % Wilson interval; `top5` where there are over 5 classes."""

    images: int
    accuracy: float
    low: float
    high: float
    top5: float | None = None


@dataclass(frozen=True)
class TrainedRun:
    """`run.json`: what training made."""

    name: str
    version: str
    seed: int
    description: str
    synthetic: bool
    labels: tuple[str, ...]
    input: InputSpec
    backbone: str
    parameters: int
    train_images: int
    validation: Score
    test: Score
    frozen: Score
    """Validation score at the end of the first stage, to show what the later ones brought."""
    seconds: float
    cache: str
    """Folder of the prepared photos; calibration images come from its train split."""
    skipped: tuple[str, ...] = ()
    expected: float = 0.0
    halved: dict[str, int] = field(default_factory=dict)
    """Images at a time in the stages whose batch did not fit into memory, by stage."""
    confidence: Confidence | None = None
    """Temperature and threshold of "unsure"; runs of earlier versions have none."""
    remarks: tuple[str, ...] = ()
    """What the scores do not show, a line each: see `tledge.training.scoring`."""


@dataclass(frozen=True)
class Risk:
    """Answering at `threshold` and above: the share of photos answered, and of these the share wrong."""

    threshold: float
    coverage: float
    error: float


@dataclass(frozen=True)
class RiskCoverage:
    """Error among the answered as fewer photos of a split are answered.

    `aurc` is the area under that curve, the mean error over all coverages (Geifman, Uziel and
    El-Yaniv 2019); 0 where nothing is wrong.
    """

    aurc: float
    rows: tuple[Risk, ...]


@dataclass(frozen=True)
class Artifact:
    """`artifacts/<variant>.json`: one converted model and how it came about.

    `made_with` holds the versions of `tledge`, `python` and `packages`; files of earlier versions have none.
    """

    variant: str
    path: str
    sha256: str
    bytes: int
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)
    made_with: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ParityRow:
    """One artifact against Keras; shares in 0..1, `reasons` say what failed or is undecided.

    Of its answers that differ, `lost` were right, `won` are right now, `moved` are wrong as before.
    """

    variant: str
    path: str
    sha256: str
    bytes: int
    verdict: str
    images: int = 0
    accuracy: float | None = None
    accuracy_change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    mcnemar_p: float | None = None
    agreement: float | None = None
    agreement_low: float | None = None
    agreement_high: float | None = None
    max_abs_dp: float | None = None
    kernels: str = ""
    gate: str = ""
    structural: bool = False
    """True where the verdict is about the file itself and not about its answers."""
    reasons: tuple[str, ...] = ()
    without_bias_correction: dict[str, float] | None = None
    images_needed: int | None = None
    """Images that it would take to decide, where the verdict is "undecided"."""
    ece: float | None = None
    """Expected calibration error: the mean distance of confidence from accuracy."""
    lost: int | None = None
    won: int | None = None
    moved: int | None = None
    flips: str = ""
    """The list of answers that differ, in the run folder; a contact sheet `.png` lies beside it."""
    worst_class: str = ""
    """Of the classes with 20 images or more the one whose recall changed for the worst."""
    worst_class_change: float | None = None
    recall: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    """By class: images, Keras' recall, the artifact's recall."""
    coverage: float | None = None
    """Share of the images that it answers, being sure enough; `answered_error` is wrong among these."""
    answered_error: float | None = None
    remarks: tuple[str, ...] = ()
    """What is worth knowing and decides nothing."""


@dataclass(frozen=True)
class Reference:
    """What Keras scored on the images that the artifacts were compared on."""

    accuracy: float
    images: int
    ece: float | None = None
    coverage: float | None = None
    answered_error: float | None = None


@dataclass(frozen=True)
class ParityReport:
    """`parity.json`: every artifact against the Keras model."""

    passed: bool
    reference: Reference
    rows: tuple[ParityRow, ...]


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
    """Names of what lies in a run folder; reads and writes its values."""

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
            atomic.sweep(folder)

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
        raw = read_json(self.run, "a finished run", "Run `tledge train` first.")
        with complete(self.run, "Train again."):
            raw["input"] = InputSpec(**raw["input"])
            if raw.get("confidence") is not None:
                raw["confidence"] = Confidence(**raw["confidence"])
            for name in ("validation", "test", "frozen"):
                raw[name] = Score(**raw[name])
            return _typed(TrainedRun(**_tuples(raw, "labels", "skipped", "remarks")))

    def read_artifacts(self) -> list[Artifact]:
        """Every artifact that was exported here, by variant name."""
        return [_artifact(path) for path in sorted(self.artifacts.glob("*.json"))]

    def read_parity(self) -> ParityReport:
        """Read `parity.json`; raises RunError where nothing was verified here."""
        raw = read_json(self.parity, "a verified run", "Run `tledge verify` first.")
        with complete(self.parity, "Verify again."):
            rows = tuple(_parity_row(row) for row in raw["rows"])
            return _typed(ParityReport(raw["passed"], Reference(**raw["reference"]), rows))

    def read_risk(self) -> dict[str, RiskCoverage]:
        """Read `risk_coverage.json`, by split; empty for a run of an earlier version."""
        if not self.risk.is_file():
            return {}
        raw = read_json(self.risk, "risk and coverage", "Train again.")
        with complete(self.risk, "Train again."):
            return {
                split: _typed(RiskCoverage(one["aurc"], tuple(Risk(**row) for row in one["rows"])))
                for split, one in raw.items()
            }


def _parity_row(raw: dict[str, Any]) -> ParityRow:
    recall = {name: tuple(figures) for name, figures in raw.get("recall", {}).items()}
    return ParityRow(**_tuples({**raw, "recall": recall}, "reasons", "remarks"))


def _artifact(path: Path) -> Artifact:
    raw = read_json(path, "an artifact", "Export again.")
    with complete(path, "Export again."):
        return _typed(Artifact(**raw))


def _typed(value: T) -> T:
    json_schema.typed(value)
    return value


@contextmanager
def complete(path: Path, advice: str) -> Iterator[None]:
    """Turn a missing or unknown field of the JSON file at `path` into a RunError with advice."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: incomplete, or of another tledge ({error!r}). {advice}") from error


def _tuples(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: tuple(value) if key in names else value for key, value in raw.items()}


def read_json(path: Path, what: str, advice: str) -> dict[str, Any]:
    """The object in a JSON file of a run; raises RunError with `what` was expected, and advice."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path.parent}: not {what}, {path.name} is missing. {advice}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged ({error}). {advice}") from error
    if not isinstance(raw, dict):
        raise RunError(f"{path}: expected a JSON object. {advice}")
    return raw


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


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under its final name at once; raises RunError where a folder has that name."""
    if os.path.isdir(path):  # Path's own raises for what is no possible path
        raise RunError(f"{path}: a folder stands where a file is to be written. Move it, or name another.")
    with replacing(path) as made:
        made.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a frozen dataclass or a plain object as JSON under its final name at once."""
    fields = value if isinstance(value, (dict, list)) else asdict(value)
    write_text(path, encoding.as_json(fields) + "\n")


def sha256(path: Path) -> str:
    """SHA-256 of a file, or of a folder: of its files' names and hashes, in order of name."""
    digest = hashlib.sha256()
    if path.is_dir():
        for child in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{child.relative_to(path).as_posix()}\0{sha256(child)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_dir():
        return sum(child.stat().st_size for child in path.rglob("*") if child.is_file())
    return path.stat().st_size


def canonical_zip(source: Path, target: Path, rewrite: Callable[[str, bytes], bytes] | None = None) -> None:
    """Zip a folder, or re-zip a zip, with sorted names and fixed times, so equal content is equal bytes.

    `rewrite(name, data)` may change a member on its way.
    """
    import zipfile

    change = rewrite or (lambda _name, data: data)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in _members(source):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, also where made on Windows
            entry.external_attr = 0o644 << 16
            out.writestr(entry, change(name, data))


def _members(source: Path) -> Iterator[tuple[str, bytes]]:
    import zipfile

    if source.is_dir():
        files = {p.relative_to(source).as_posix(): p for p in source.rglob("*") if p.is_file()}
        for name in sorted(files):
            yield name, files[name].read_bytes()
        return
    with zipfile.ZipFile(source) as packed:
        for name in sorted(packed.namelist()):
            yield name, packed.read(name)
