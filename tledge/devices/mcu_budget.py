"""Measure what a model needs on a microcontroller: arena, flash, operators, MACs, Ethos-U estimates."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import errors
from tledge._io import files
from tledge._process import subprocesses
from tledge.config import Parity
from tledge.devices import vela
from tledge.devices.tflite_micro_worker import MicroJob
from tledge.devices.vela import Estimate
from tledge.errors import ArtifactError, MissingError
from tledge.formats.tflite import inspect
from tledge.formats.tflite_operators import operators

if TYPE_CHECKING:
    from numpy.typing import NDArray

KIB = 1024

MEASUREMENT_NOTE = (
    "The arena was measured on a 64-bit machine with tflite-micro's reference kernels and its recording "
    "allocator. A 32-bit microcontroller needs less for pointers; CMSIS-NN kernels may ask for scratch "
    "memory on top. `main.cc` prints what the device used."
)


@dataclass(frozen=True)
class Count:
    """The number of occurrences of an operator, and their MACs together, for one image."""

    name: str
    count: int
    macs: int


@dataclass(frozen=True)
class Budget:
    """The needs of one model.

    `arena_bytes` is the smallest multiple of 16 in which tflite-micro runs it; `flash_bytes` is the size
    of the model alone, without the program. `missing` is the reason why there are no estimates.
    """

    model: str
    sha256: str
    arena_bytes: int
    flash_bytes: int
    macs: int
    operators: tuple[Count, ...]
    estimates: tuple[Estimate, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class MicroRun:
    """A run in tflite-micro: the arena in bytes, and the outputs [N, ...] in the model's own dtype."""

    arena: int
    outputs: NDArray[Any]


def micro_run(path: Path, inputs: NDArray[Any], arena: int = 0) -> MicroRun:
    """Run the `.tflite` at `path` in tflite-micro on inputs [N, ...] of its own dtype.

    An `arena` of 0 searches the smallest that suffices. Raises MissingError without tflite-micro,
    ArtifactError where the model does not run there.
    """
    import numpy as np

    with tempfile.TemporaryDirectory() as scratch:
        job, result, input_file, output_file = (
            Path(scratch) / name for name in ("job", "result", "in.npy", "out.npy")
        )
        np.save(input_file, inputs)
        files.write_json(job, MicroJob(str(path.resolve()), str(input_file), str(output_file), arena))
        command = subprocesses.worker_command("devices.tflite_micro_worker", job, result)
        done = subprocesses.run_with_timeout(command, f"{path.name}: tflite-micro")
        if not result.is_file():
            reason = subprocesses.describe_exit(done.returncode, done.stderr)
            raise ArtifactError(f"{path.name}: tflite-micro {reason}")
        report = json.loads(result.read_text(encoding="utf-8"))
        if "error" in report:
            kind = errors.error_class(report, ArtifactError)
            details = "" if kind is MissingError else f"\n{done.stderr.strip()[-400:]}"
            raise kind(f"{path.name}: {report['error']}{details}")
        return MicroRun(int(report["arena"]), np.load(output_file, allow_pickle=False))


def measure_arena(path: Path) -> int:
    """Return the smallest arena in bytes in which tflite-micro runs the model on an input of zeros.

    Raises MissingError without tflite-micro, ArtifactError where it does not run there.
    """
    import numpy as np

    model_input = inspect(path).inputs[0]
    return micro_run(path, np.zeros((1, *model_input.shape[1:]), model_input.dtype)).arena


def require_integer_only(path: Path) -> None:
    """Raise ArtifactError where the model at `path` has float tensors, which are slow on microcontrollers."""
    facts = inspect(path)
    floats = sorted({*facts.weights, *facts.activations} & {"float32", "float16"})
    if floats:
        raise ArtifactError(
            f"{path.name}: has {' and '.join(floats)} tensors. Microcontrollers need an integer-only model: "
            "export with --int8."
        )


def measure(path: Path, arena: int, configurations: Sequence[str] = tuple(vela.CONFIGURATIONS)) -> Budget:
    """Return the budget of the integer-only model at `path`, given its arena in bytes.

    Raises ArtifactError for a damaged model. Where Vela is missing, the budget says so.
    """
    model = path.read_bytes()
    uses = operators(model, path.name)
    times, macs = Counter(operator.name for operator in uses), Counter[str]()
    for operator in uses:
        macs[operator.name] += operator.macs
    counts = tuple(Count(name, times[name], macs[name]) for name in sorted(times))
    budget = Budget(path.name, files.sha256(path), arena, len(model), sum(macs.values()), counts)
    try:
        estimates = tuple(vela.estimate(model, path.name, name) for name in configurations)
    except MissingError as error:
        return replace(budget, missing=f"Ethos-U was not estimated. {error}")
    return replace(budget, estimates=estimates)


@dataclass(frozen=True)
class Shortfalls:
    """How a model exceeds its limits, which limits cannot be checked here, and its arena if it is known."""

    exceeded: tuple[str, ...]
    unchecked: tuple[str, ...]
    arena_bytes: int | None


def shortfalls(path: Path, limits: Parity, arena: int | None = None) -> Shortfalls:
    """Hold the model at `path` to `limits`; without tflite-micro, by the `arena` that was measured before."""
    over, unknown = [], []
    flash = files.size_of(path)
    if limits.max_flash_kib and flash > limits.max_flash_kib * KIB:
        over.append(f"needs {flash / KIB:.1f} KiB of flash, max_flash_kib allows {limits.max_flash_kib:g}")
    if limits.max_arena_kib:
        try:
            arena = _measured_or_known(path, arena)
            if arena > limits.max_arena_kib * KIB:
                over.append(
                    f"needs an arena of {arena / KIB:.1f} KiB, max_arena_kib allows {limits.max_arena_kib:g}"
                )
        except MissingError as error:
            unknown.append(f"max_arena_kib could not be checked: {error}")
        except ArtifactError as error:
            over.append(str(error))
    return Shortfalls(tuple(over), tuple(unknown), arena)


def _measured_or_known(path: Path, known: int | None) -> int:
    try:
        return measure_arena(path)
    except MissingError:
        if known is None:
            raise
        return known


def as_markdown(budget: Budget, exact: int) -> str:
    """Return the budget as Markdown; the predictions of `exact` golden cases were bit-exact."""
    lines = [
        f"# Microcontroller budget of {budget.model}\n",
        f"- Arena: {budget.arena_bytes} bytes ({budget.arena_bytes / KIB:.1f} KiB)",
        f"- Flash: {budget.flash_bytes} bytes ({budget.flash_bytes / KIB:.1f} KiB), the model alone",
        f"- {budget.macs} MACs for one image",
        f"- tflite-micro's outputs of all {exact} golden cases equal "
        "LiteRT's reference kernels bit for bit\n",
        MEASUREMENT_NOTE + "\n",
        "| operator | times | MACs |",
        "|---|---|---|",
        *(f"| {operator.name} | {operator.count} | {operator.macs} |" for operator in budget.operators),
        "",
        *(_estimates(budget.estimates) if budget.estimates else [budget.missing]),
    ]
    return "\n".join(lines) + "\n"


def _estimates(estimates: Sequence[Estimate]) -> list[str]:
    return [
        "Ethos-U, estimated by the compiler Vela for its own system configurations, not measured:\n",
        "| configuration | SRAM KiB | flash KiB | cycles | MHz | ms | operators left on the CPU |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row.configuration} | {row.sram_bytes / KIB:.1f} | {row.flash_bytes / KIB:.1f} | "
            f"{row.cycles} | {row.clock_mhz:g} | {row.milliseconds:.2f} | {_operators_on_cpu(row.on_cpu)} |"
            for row in estimates
        ),
    ]


def _operators_on_cpu(on_cpu: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in on_cpu.items()) or "none"
