"""What a model takes of a microcontroller: arena, flash, operators, MACs, and Ethos-U estimates."""

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

HOST = (
    "The arena was measured on a 64-bit machine with tflite-micro's reference kernels and its recording "
    "allocator. A 32-bit microcontroller needs less for pointers; CMSIS-NN kernels may ask for scratch "
    "memory on top. `main.cc` prints what the device used."
)


@dataclass(frozen=True)
class Count:
    """How often an operator occurs, and the MACs of all of these together, for one image."""

    name: str
    count: int
    macs: int


@dataclass(frozen=True)
class Budget:
    """The needs of one model.

    `arena_bytes` is the least multiple of 16 in which tflite-micro runs it; `flash_bytes` is the
    model's file alone, the program comes on top. `missing` says why estimates are not there.
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
    """What tflite-micro did: the arena in bytes, and its answers [N, ...] in the model's own dtype."""

    arena: int
    answers: NDArray[Any]


def micro_run(path: Path, inputs: NDArray[Any], arena: int = 0) -> MicroRun:
    """Run the `.tflite` at `path` in tflite-micro on inputs [N, ...] of its own dtype.

    With `arena` 0 in the smallest that serves. Raises MissingError without tflite-micro,
    ArtifactError where the model does not run there.
    """
    import numpy as np

    with tempfile.TemporaryDirectory() as scratch:
        job, result, given, answers = (
            Path(scratch) / name for name in ("job", "result", "in.npy", "out.npy")
        )
        np.save(given, inputs)
        files.write_json(job, MicroJob(str(path.resolve()), str(given), str(answers), arena))
        command = subprocesses.worker_command("devices.tflite_micro_worker", job, result)
        done = subprocesses.run_with_timeout(command, f"{path.name}: tflite-micro")
        if not result.is_file():
            ended = subprocesses.describe_exit(done.returncode, done.stderr)
            raise ArtifactError(f"{path.name}: tflite-micro {ended}")
        told = json.loads(result.read_text(encoding="utf-8"))
        if "error" in told:
            kind = errors.error_class(told, ArtifactError)
            last = "" if kind is MissingError else f"\n{done.stderr.strip()[-400:]}"
            raise kind(f"{path.name}: {told['error']}{last}")
        return MicroRun(int(told["arena"]), np.load(answers, allow_pickle=False))


def measure_arena(path: Path) -> int:
    """The smallest arena in bytes in which tflite-micro runs the model at `path` on one input of zeros.

    Raises MissingError without tflite-micro, ArtifactError where it does not run there.
    """
    import numpy as np

    taken = inspect(path).inputs[0]
    return micro_run(path, np.zeros((1, *taken.shape[1:]), taken.dtype)).arena


def integer_only(path: Path) -> None:
    """Raises ArtifactError where the model at `path` holds floats: no microcontroller should run these."""
    found = inspect(path)
    floats = sorted({*found.weights, *found.activations} & {"float32", "float16"})
    if floats:
        raise ArtifactError(
            f"{path.name}: holds {' and '.join(floats)} tensors. A microcontroller takes integers only: "
            "export with --int8."
        )


def measure(path: Path, arena: int, configurations: Sequence[str] = tuple(vela.CONFIGURATIONS)) -> Budget:
    """The budget of the integer model at `path`, whose arena in bytes is known.

    Raises ArtifactError for a damaged model. Where Vela is missing, the budget says so.
    """
    model = path.read_bytes()
    found = operators(model, path.name)
    times, macs = Counter(one.name for one in found), Counter[str]()
    for one in found:
        macs[one.name] += one.macs
    counts = tuple(Count(name, times[name], macs[name]) for name in sorted(times))
    made = Budget(path.name, files.sha256(path), arena, len(model), sum(macs.values()), counts)
    try:
        estimates = tuple(vela.estimate(model, path.name, one) for one in configurations)
    except MissingError as error:
        return replace(made, missing=f"Ethos-U was not estimated. {error}")
    return replace(made, estimates=estimates)


def shortfalls(path: Path, limits: Parity) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What of the model at `path` exceeds `limits`, and what of them cannot be told here."""
    over, unknown = [], []
    flash = files.size_of(path)
    if limits.max_flash_kib and flash > limits.max_flash_kib * KIB:
        over.append(f"takes {flash / KIB:.1f} KiB of flash, max_flash_kib allows {limits.max_flash_kib:g}")
    if limits.max_arena_kib:
        try:
            arena = measure_arena(path)
            if arena > limits.max_arena_kib * KIB:
                over.append(
                    f"takes an arena of {arena / KIB:.1f} KiB, max_arena_kib allows {limits.max_arena_kib:g}"
                )
        except MissingError as error:
            unknown.append(f"max_arena_kib could not be checked: {error}")
        except ArtifactError as error:
            over.append(str(error))
    return tuple(over), tuple(unknown)


def as_markdown(budget: Budget, exact: int) -> str:
    """The budget to read; `exact` golden cases were answered bit for bit as expected."""
    lines = [
        f"# What {budget.model} takes of a microcontroller\n",
        f"- Arena: {budget.arena_bytes} bytes ({budget.arena_bytes / KIB:.1f} KiB)",
        f"- Flash: {budget.flash_bytes} bytes ({budget.flash_bytes / KIB:.1f} KiB), the model alone",
        f"- {budget.macs} MACs for one image",
        f"- tflite-micro answers all {exact} golden cases bit for bit as LiteRT's reference kernels do\n",
        HOST + "\n",
        "| operator | times | MACs |",
        "|---|---|---|",
        *(f"| {one.name} | {one.count} | {one.macs} |" for one in budget.operators),
        "",
        *(_estimates(budget.estimates) if budget.estimates else [budget.missing]),
    ]
    return "\n".join(lines) + "\n"


def _estimates(found: Sequence[Estimate]) -> list[str]:
    return [
        "Ethos-U by Vela: a compiler's estimates for its own system configurations, measured on no device:\n",
        "| configuration | SRAM KiB | flash KiB | cycles | MHz | ms | operators left on the CPU |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {one.configuration} | {one.sram_bytes / KIB:.1f} | {one.flash_bytes / KIB:.1f} | "
            f"{one.cycles} | {one.clock_mhz:g} | {one.milliseconds:.2f} | {_left(one.on_cpu)} |"
            for one in found
        ),
    ]


def _left(on_cpu: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in on_cpu.items()) or "none"
