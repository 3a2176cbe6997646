"""Run tflite-micro in its own process: `python -m tledge.devices.tflite_micro_worker JOB.json RESULT.json`.

A failed check in tflite-micro aborts the process, so it runs in no other process. The arena is the
block of memory from which an interpreter allocates all tensors and its own structures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import errors
from tledge._io import files
from tledge._io.json_records import from_json
from tledge.errors import ArtifactError, MissingError, TledgeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALIGNMENT = 16
"""Alignment of tensors in tflite-micro, in bytes; also the step between arena sizes."""

MAX_ARENA = 1 << 26
"""An arena of 64 MiB is larger than any microcontroller's memory."""


@dataclass(frozen=True)
class MicroJob:
    """A model, an `.npy` of inputs [N, ...] in the model's own dtype, and the `.npy` for its outputs.

    `arena` is the size in bytes to run with; 0 searches for the smallest that suffices.
    """

    model: str
    inputs: str
    outputs: str
    arena: int = 0


def work(job: MicroJob) -> int:
    """Run the job, write the outputs [N, ...] as an `.npy`, and return the arena in bytes.

    Raises MissingError without tflite-micro, ArtifactError where the model does not run in the arena.
    """
    import numpy as np

    interpreter = _interpreters(Path(job.model).read_bytes())
    arena = job.arena or smallest(lambda size: interpreter(size) is not None)
    started = interpreter(arena)
    if started is None:
        raise ArtifactError(f"does not start in tflite-micro in an arena of {arena} bytes.")
    inputs = np.load(job.inputs, allow_pickle=False)
    np.save(job.outputs, np.stack([_invoke(started, values) for values in inputs]))
    return arena


def smallest(suffices: Callable[[int], bool]) -> int:
    """Return the smallest multiple of 16 for which `suffices(size)`, given that all larger ones suffice.

    Raises ArtifactError where even 64 MiB do not suffice.
    """
    low, high = 0, MAX_ARENA // ALIGNMENT
    if not suffices(MAX_ARENA):
        raise ArtifactError(f"does not start in tflite-micro in any arena up to {MAX_ARENA >> 20} MiB.")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle * ALIGNMENT) else (middle, high)
    return high * ALIGNMENT


def _interpreters(model: bytes) -> Callable[[int], Any]:
    """Return a function from an arena's size in bytes to an interpreter; None if the arena is too small."""
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise MissingError(
            f"tflite-micro is not installed ({error}): pip install 'tledge[microcontroller]'"
        ) from error

    def interpreter(arena: int) -> Any:
        try:
            return runtime.Interpreter.from_bytes(model, arena_size=arena)
        except RuntimeError:  # its only exception; the reason is on stderr
            return None

    return interpreter


def _invoke(interpreter: Any, values: NDArray[Any]) -> NDArray[np.uint8]:
    try:
        interpreter.set_input(values[None], 0)
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        raise ArtifactError(f"starts in tflite-micro but does not run ({error}).") from error
    output: NDArray[np.uint8] = interpreter.get_output(0)[0].copy()
    return output


def main(job_path: str, result_path: str) -> int:
    """Run the job; return 0 on success, else 1 with the reason in the result file."""
    job = from_json(MicroJob, json.loads(Path(job_path).read_text(encoding="utf-8")))
    try:
        result: dict[str, Any] = {"arena": work(job)}
    except TledgeError as error:
        result = errors.error_to_json(error)
    files.write_json(Path(result_path), result)
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
