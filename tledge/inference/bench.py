"""Measure latency and memory of each artifact on this machine, next to its accuracy.

Every configuration (artifact, kernel family, threads) runs alone, one after the other, each in its own
process; `tledge.inference.bench_worker` defines the figures.
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
from tledge.bundle import model_files
from tledge.bundle.model_files import Subject
from tledge.environment import machine
from tledge.environment.machine import Machine
from tledge.errors import ArtifactError, MissingError, RecipeError, TledgeError
from tledge.formats.input_preprocessing import read_input, with_choices
from tledge.formats.registry import FORMATS
from tledge.inference.bench_worker import RANDOM_IMAGES, SEED, MeasurementJob, Reading
from tledge.progress import SILENT, Progress, start_task
from tledge.runtime import sandbox
from tledge.runtime.latency import Minimum

WARM_UP = Minimum(queries=10, seconds=0.5)
"""Queries that are not measured: caches fill, threads start, the clock frequency rises."""

QUICK = Minimum(queries=100, seconds=1.0)
"""Time for a configuration; the p99 is then at least the second largest of 100 latencies."""

OFFICIAL = Minimum(queries=1024, seconds=60.0)
"""The minimum for a single stream in MLPerf Mobile's rules."""

KERNELS = ("xnnpack", "reference")
ONNX_KERNELS = "onnxruntime-cpu"
MAX_THREADS = 1024

MEASURED, SKIPPED, FAILED = "measured", "skipped", "failed"

CAUTION = (
    "These figures are valid for this machine only. A phone differs from a desktop: other cores, "
    "other kernels, less memory, and heat. Measure on the device that will run the model."
)
ONE_THREAD = "LiteRT's reference kernels use one thread, so they were measured with one thread."
NO_XNNPACK = "{}: XNNPACK computes no int16 activations, so LiteRT's built-in kernels were measured."
SERVER = "a server format that no device runtime opens; measure it in TensorFlow Serving."
SYNTHETIC = "The accuracy is on synthetic photos, drawn by tledge."
OTHER_KERNELS = (
    "The accuracy is from verification, found with {}: the other kernels above may differ by a few photos."
)


@dataclass(frozen=True)
class Measure:
    """One configuration of one artifact: times in ms, memory in MiB, accuracy in 0..1.

    Figures are None where it was not measured, and `reason` tells why; `status` is "measured", "skipped" or
    "failed". `accuracy` is from verification, with the kernel family `accuracy_kernels`; `sha256` identifies
    the file.
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

    `official` is True where `minimum` is MLPerf's; `remarks` are what a reader of these rows should know,
    `note` the limits of all such figures.
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
    """An artifact, a kernel family and a number of threads; `skip` tells why it is not measured."""

    subject: Subject
    kernels: str
    threads: int | None
    skip: str = ""


def default_threads(cores: int) -> list[int]:
    """Return 1, 2, 4 … below `cores`, and `cores` itself."""
    powers = [1 << bit for bit in range(cores.bit_length())]
    return sorted({*(count for count in powers if count < cores), cores})


def parse_threads(text: str) -> list[int]:
    """Parse a list of thread counts such as `1,4`: sorted, each once; raise RecipeError otherwise."""
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
    image_size: tuple[int, int] | None = None,
    progress: Progress = SILENT,
) -> BenchReport:
    """Measure the artifacts of a bundle, a run or a loose file.

    An artifact that cannot be measured gets a row with the reason.

    Args:
        path: A bundle (folder or zip), a run folder, or a `.tflite` or `.onnx` file.
        threads: Numbers of threads; `default_threads` of this machine without any.
        kernels: LiteRT's kernel families: "xnnpack", "builtin", "reference".
        variants: The artifacts to measure; all without any.
        official: Measure as long as MLPerf Mobile's rules say.
        image_size: Height and width for a loose file that takes images of any size.
        progress: Receives the progress.

    Returns:
        A row for each configuration.

    Raises:
        RecipeError: there is no such variant, or nothing to measure at `path`.
        ArtifactError: the bundle is damaged as a whole.
    """
    minimum = OFFICIAL if official else QUICK
    this_machine = machine.current_machine()
    counts = list(threads) or default_threads(this_machine.cores)
    with tempfile.TemporaryDirectory(prefix="tledge-bench-") as scratch:
        subjects = model_files.find(path, Path(scratch))
        plan = [
            configuration
            for subject in model_files.chosen(subjects.artifacts, variants)
            for configuration in _configurations(subject, kernels, counts)
        ]
        drawn = subjects.images or _draw_input(path, image_size, Path(scratch))
        images = str(drawn or "")
        rows = list(_measure_all(plan, images, minimum, Path(scratch), progress))
    remarks = ((SYNTHETIC,) if subjects.synthetic else ()) + _remarks(rows, counts, kernels, this_machine)
    return BenchReport(subjects.name, str(path), this_machine, official, minimum, tuple(rows), remarks)


def _draw_input(path: Path, image_size: tuple[int, int] | None, scratch: Path) -> Path | None:
    """Write random values as a loose file takes them: its layout, its channels, floats unless it takes bytes.

    Latency does not depend on how pixels are scaled. Returns None where the file takes RGB bytes, or does not
    tell what it takes; the measurement then says what is wrong. Raises RecipeError where it takes any size.
    """
    import numpy as np

    try:
        taken = read_input(FORMATS[files.ending(path)[1:]].inspect(path), path.name)
    except (ArtifactError, MissingError):
        return None
    taken = with_choices(taken, None, image_size, path.name)
    if taken.size is None:
        raise RecipeError(f"{path}: takes images of any size. Add --image-size.")
    if (taken.dtype, taken.channels, taken.layout) == ("uint8", 3, "NHWC"):
        return None
    pixels = (*taken.size, taken.channels) if taken.layout == "NHWC" else (taken.channels, *taken.size)
    values = np.random.default_rng(SEED).integers(0, 256, (RANDOM_IMAGES, *pixels))
    drawn = values.astype(np.uint8) if taken.dtype == "uint8" else (values / 255).astype(np.float32)
    np.save(scratch / "input.npy", drawn)
    return scratch / "input.npy"


def _configurations(
    subject: Subject, kernels: Sequence[str], threads: Sequence[int]
) -> Iterator[_Configuration]:
    """List every kernel family and thread count that makes a difference to this artifact; at least one."""
    suffix = files.ending(subject.path)
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
    """Return `kernels`, with "builtin" instead of "xnnpack" where LiteRT would silently use it."""
    try:
        has_int16 = "int16" in FORMATS["tflite"].inspect(file).activations
    except ArtifactError:  # the row's measurement will tell what is wrong with it
        has_int16 = False
    return list(dict.fromkeys("builtin" if has_int16 and name == "xnnpack" else name for name in kernels))


def _measure_all(
    plan: Sequence[_Configuration], images: str, minimum: Minimum, scratch: Path, progress: Progress
) -> Iterator[Measure]:
    if minimum == OFFICIAL:
        progress.say(f"configurations: {len(plan)}, each at least {minimum.seconds:g} s")
    with start_task(progress, "bench", len(plan)) as task:
        for configuration in plan:
            row = _row(configuration, images, minimum, scratch)
            yield row
            figures = {"p50_ms": row.p50_ms} if row.p50_ms else {}
            task.advance(1, variant=row.variant, **figures)


def _row(configuration: _Configuration, images: str, minimum: Minimum, scratch: Path) -> Measure:
    subject, kernels, threads = configuration.subject, configuration.kernels, configuration.threads
    figures: dict[str, Any] = {}
    status = MEASURED
    try:
        if configuration.skip:
            raise MissingError(configuration.skip)
        if subject.fault:
            raise ArtifactError(subject.fault)
        job = MeasurementJob(str(subject.file), images, kernels, threads or 1, WARM_UP, minimum)
        figures = asdict(_measure_in_worker(job, scratch))
    except MissingError as error:
        status, figures = SKIPPED, {"reason": str(error)}
    except TledgeError as error:
        status, figures = FAILED, {"reason": f"{error} {_limit(subject, kernels)}".rstrip()}
    return Measure(
        subject.variant, subject.path, subject.bytes, kernels, threads, status,
        subject.accuracy, subject.accuracy_kernels, subject.verdict, **figures, sha256=subject.sha256,
    )  # fmt: skip


def _limit(subject: Subject, kernels: str) -> str:
    """Return the limit of a kernel family that an int8 model may have met; "" where none is known."""
    try:
        (output,) = FORMATS["tflite"].inspect(subject.file).outputs if kernels == "reference" else ()
    except (ArtifactError, ValueError):
        return ""
    return sandbox.known_limit(kernels, output.shape[-1]) if output.dtype in ("int8", "uint8") else ""


def worker_command(job: Path, result: Path) -> list[str]:
    """Return the command that starts the measuring process."""
    return subprocesses.worker_command("inference.bench_worker", job, result)


def _measure_in_worker(job: MeasurementJob, scratch: Path) -> Reading:
    """Measure in another process; raise its error, and ArtifactError where it crashed."""
    job_path, result_path = scratch / "job.json", scratch / "result.json"
    result_path.unlink(missing_ok=True)
    files.write_json(job_path, job)
    process = subprocess.run(
        worker_command(job_path, result_path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False, text=True, errors="replace",
        env=subprocesses.child_environment(),
    )  # fmt: skip
    ending = subprocesses.describe_exit(process.returncode, process.stdout)
    crashed = f"{Path(job.model).name}: the measuring process {ending}"
    if not result_path.is_file():
        raise ArtifactError(crashed)
    result = json.loads(result_path.read_text(encoding="utf-8"))
    if "error" in result:
        raise errors.error_class(result, ArtifactError)(result["error"])
    if process.returncode:
        raise ArtifactError(crashed)
    return from_json(Reading, result["reading"])


def _remarks(
    rows: Sequence[Measure], threads: Sequence[int], kernels: Sequence[str], this_machine: Machine
) -> tuple[str, ...]:
    replaced = [row.variant for row in rows if row.kernels == "builtin" and "builtin" not in kernels]
    remarks = [NO_XNNPACK.format(name) for name in dict.fromkeys(replaced)]
    if any(row.kernels == "reference" for row in rows) and any(count > 1 for count in threads):
        remarks.append(ONE_THREAD)
    with_accuracy = [row for row in rows if row.status == MEASURED and row.accuracy is not None]
    others = sorted({row.accuracy_kernels for row in with_accuracy if row.kernels != row.accuracy_kernels})
    if others:
        remarks.append(OTHER_KERNELS.format(", ".join(others)))
    remarks += [this_machine.busy] if this_machine.busy else []
    unverified = {row.variant: row.verdict for row in rows if row.verdict not in ("", "passed")}
    remarks += [
        f"{name}: verification was inconclusive."
        if verdict == "undecided"
        else f"{name} did not pass verification ({verdict})."
        for name, verdict in unverified.items()
    ]
    return tuple(remarks)
