"""The measuring stage: how long each artifact takes here, and how much memory, beside its accuracy.

Every configuration (artifact, kernels, threads) runs alone, one after the other, each in a process
of its own; `tledge.benchmark.worker` says what the figures mean.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tledge import errors
from tledge._io import files
from tledge._io.json_records import from_json
from tledge._process import subprocesses
from tledge.benchmark.worker import MeasurementJob, Reading
from tledge.bundle import model_files
from tledge.bundle.model_files import Subject
from tledge.environment import machine
from tledge.environment.machine import Machine
from tledge.errors import ArtifactError, MissingError, RecipeError, TledgeError
from tledge.formats.registry import FORMATS
from tledge.progress import SILENT, Progress, start_task
from tledge.runtime.latency import Minimum

WARM_UP = Minimum(queries=10, seconds=0.5)
"""Queries before those that count: caches fill, threads start, the clock goes up."""

QUICK = Minimum(queries=100, seconds=1.0)
"""Seconds a configuration; the p99 is then the second largest of 100 latencies or better."""

OFFICIAL = Minimum(queries=1024, seconds=60.0)
"""The least that MLPerf Mobile's rules accept of a single stream."""

KERNELS = ("xnnpack", "reference")
ONNX_KERNELS = "onnxruntime-cpu"
MAX_THREADS = 1024

MEASURED, SKIPPED, FAILED = "measured", "skipped", "failed"

CAUTION = (
    "These figures hold for this machine alone. A desktop says little about a phone: other cores, "
    "other kernels, less memory, and heat. Measure on the device that will run it."
)
ONE_THREAD = "LiteRT's reference kernels use one thread, so they were measured with one."
NO_XNNPACK = "{}: XNNPACK computes no int16 activations, so LiteRT's built-in kernels were measured."
SERVER = "a server format that no device runtime opens; TensorFlow Serving measures it under its own load."
SYNTHETIC = "Accuracy is on synthetic photos, drawn by tledge."
OTHER_KERNELS = (
    "Accuracy is verification's, found with {}: the other kernels above may differ by a few photos."
)


@dataclass(frozen=True)
class Measure:
    """One configuration of one artifact: times in ms, memory in MiB, accuracy in 0..1.

    Figures are None where it was not measured, and `reason` says why; `status` is "measured",
    "skipped" or "failed". `accuracy` is verification's, found with `accuracy_kernels`; `sha256` is
    the file's, to know it again.
    """

    variant: str
    path: str
    bytes: int
    kernels: str
    threads: int | None
    status: str
    accuracy: float | None
    accuracy_kernels: str
    verdict: str
    load_ms: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    images_per_second: float | None = None
    queries: int = 0
    seconds: float = 0.0
    peak_mib: float | None = None
    model_mib: float | None = None
    reason: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class BenchReport:
    """`bench.json`: what was measured, on which machine, for how long.

    `official` says that `minimum` is MLPerf's; `remarks` are what a reader of these rows should
    know, `note` how far any such figures reach.
    """

    name: str
    model: str
    machine: Machine
    official: bool
    minimum: Minimum
    rows: tuple[Measure, ...]
    remarks: tuple[str, ...]
    note: str = CAUTION


@dataclass(frozen=True)
class _Configuration:
    subject: Subject
    kernels: str
    threads: int | None
    skip: str = ""


def default_threads(cores: int) -> list[int]:
    """1, 2, 4 … below `cores`, and `cores` itself."""
    powers = [1 << bit for bit in range(cores.bit_length())]
    return sorted({*(count for count in powers if count < cores), cores})


def parse_threads(text: str) -> list[int]:
    """Thread counts of a list such as `1,4`, in order, each once; raises RecipeError."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = [0]
    if not all(1 <= count <= MAX_THREADS for count in counts):
        raise RecipeError(f"--threads {text}: expected whole numbers from 1 to {MAX_THREADS}, such as 1,4.")
    return sorted(set(counts))


def bench(
    path: Path,
    *,
    threads: Sequence[int] = (),
    kernels: Sequence[str] = KERNELS,
    variants: Sequence[str] = (),
    official: bool = False,
    progress: Progress = SILENT,
) -> BenchReport:
    """Measure the artifacts of a bundle, a run or a loose file; `threads` default to all cores' steps.

    What cannot be measured gets a row with the reason. Raises RecipeError for a variant that is
    not there and for a path with nothing to measure, ArtifactError for a damaged bundle.
    """
    minimum = OFFICIAL if official else QUICK
    here = machine.current_machine()
    counts = list(threads) or default_threads(here.cores)
    with tempfile.TemporaryDirectory(prefix="tledge-bench-") as scratch:
        found = model_files.find(path, Path(scratch))
        wanted = model_files.chosen(found.artifacts, variants)
        plan = [one for subject in wanted for one in _configurations(subject, kernels, counts)]
        images = str(found.images or "")
        rows = list(_measured(plan, images, minimum, Path(scratch), progress))
    remarks = ((SYNTHETIC,) if found.synthetic else ()) + _remarks(rows, counts, kernels, here)
    return BenchReport(found.name, str(path), here, official, minimum, tuple(rows), remarks)


def _configurations(
    subject: Subject, kernels: Sequence[str], threads: Sequence[int]
) -> Iterator[_Configuration]:
    """Every kernel and thread count that makes a difference to this artifact; at least one."""
    suffix = Path(subject.path).suffix
    if suffix not in model_files.DEVICE_SUFFIXES:
        yield _Configuration(subject, "", None, SERVER)
    elif subject.fault:
        yield _Configuration(subject, "", None)
    elif suffix == ".onnx":
        yield from (_Configuration(subject, ONNX_KERNELS, count) for count in threads)
    else:
        for name in _kernels(subject.file, kernels):
            counts = [1] if name == "reference" else threads
            yield from (_Configuration(subject, name, count) for count in counts)


def _kernels(file: Path, kernels: Sequence[str]) -> list[str]:
    """`kernels`, with built-in in the place of XNNPACK where that would quietly be used instead."""
    try:
        wide = "int16" in FORMATS["tflite"].inspect(file).activations
    except ArtifactError:  # opening it will say what is wrong with it
        wide = False
    return list(dict.fromkeys("builtin" if wide and name == "xnnpack" else name for name in kernels))


def _measured(
    plan: Sequence[_Configuration], images: str, minimum: Minimum, scratch: Path, progress: Progress
) -> Iterator[Measure]:
    if minimum == OFFICIAL:
        progress.say(f"configurations: {len(plan)}, each at least {minimum.seconds:g} s")
    with start_task(progress, "bench", len(plan)) as task:
        for one in plan:
            row = _row(one, images, minimum, scratch)
            yield row
            figures = {"p50_ms": row.p50_ms} if row.p50_ms else {}
            task.advance(1, variant=row.variant, **figures)


def _row(one: _Configuration, images: str, minimum: Minimum, scratch: Path) -> Measure:
    subject = one.subject
    facts: dict[str, Any] = {}
    status = MEASURED
    try:
        if one.skip:
            raise MissingError(one.skip)
        if subject.fault:
            raise ArtifactError(subject.fault)
        job = MeasurementJob(str(subject.file), images, one.kernels, one.threads or 1, WARM_UP, minimum)
        facts = asdict(_apart(job, scratch))
    except MissingError as error:
        status, facts = SKIPPED, {"reason": str(error)}
    except TledgeError as error:
        status, facts = FAILED, {"reason": str(error)}
    return Measure(
        subject.variant, subject.path, subject.bytes, one.kernels, one.threads, status,
        subject.accuracy, subject.accuracy_kernels, subject.verdict, **facts, sha256=subject.sha256,
    )  # fmt: skip


def worker_command(job: Path, result: Path) -> list[str]:
    """How the measuring process is started."""
    return subprocesses.worker_command("benchmark.worker", job, result)


def _apart(job: MeasurementJob, scratch: Path) -> Reading:
    """Measure in another process; raises what it raised, and ArtifactError where it crashed."""
    job_path, result_path = scratch / "job.json", scratch / "result.json"
    result_path.unlink(missing_ok=True)
    files.write_json(job_path, job)
    done = subprocess.run(
        worker_command(job_path, result_path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False, text=True, errors="replace",
        env=subprocesses.child_environment(),
    )  # fmt: skip
    ending = subprocesses.describe_exit(done.returncode, done.stdout)
    crashed = f"{Path(job.model).name}: the measuring process {ending}"
    if not result_path.is_file():
        raise ArtifactError(crashed)
    result = json.loads(result_path.read_text(encoding="utf-8"))
    if "error" in result:
        raise errors.error_class(result, ArtifactError)(result["error"])
    if done.returncode:
        raise ArtifactError(crashed)
    return from_json(Reading, result["reading"])


def _remarks(
    rows: Sequence[Measure], threads: Sequence[int], kernels: Sequence[str], here: Machine
) -> tuple[str, ...]:
    wide = [row.variant for row in rows if row.kernels == "builtin"] if "builtin" not in kernels else []
    found = [NO_XNNPACK.format(name) for name in dict.fromkeys(wide)]
    if any(row.kernels == "reference" for row in rows) and any(count > 1 for count in threads):
        found.append(ONE_THREAD)
    known = [row for row in rows if row.status == MEASURED and row.accuracy is not None]
    others = sorted({row.accuracy_kernels for row in known if row.kernels != row.accuracy_kernels})
    if others:
        found.append(OTHER_KERNELS.format(", ".join(others)))
    found += [here.busy] if here.busy else []
    unproven = {row.variant: row.verdict for row in rows if row.verdict not in ("", "passed")}
    found += [f"{name} did not pass verification ({verdict})." for name, verdict in unproven.items()]
    return tuple(found)
