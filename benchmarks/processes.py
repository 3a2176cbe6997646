"""Run a process to its end, and measure its time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
"""The folder of this package."""


class BenchmarkError(Exception):
    """A side of a row did not run."""


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds of one repetition, and CPU seconds of all its threads."""

    seconds: float
    cpu: float


@dataclass(frozen=True)
class ProcessResult:
    """A process that ended with code 0: its times, the peak memory of any process in it, its output."""

    timing: Timing
    peak_mib: float
    out: str
    err: str

    def value(self) -> dict[str, Any]:
        """Parse the JSON object in the last line of its output."""
        value: dict[str, Any] = json.loads(self.out.strip().splitlines()[-1])
        return value


def run_process(command: Sequence[str | Path], env: Mapping[str, str]) -> ProcessResult:
    """Run a command to its end; raises BenchmarkError with the end of its stderr where it fails.

    CPU seconds and peak memory include descendants that it waited for (`wait4`, getrusage(2)).
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        child = subprocess.Popen(
            [str(part) for part in command], env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        texts = [_read(file) for file in (out, err)]
    if child.returncode:
        tail = "\n".join(texts[1].strip().splitlines()[-12:])
        raise BenchmarkError(f"{' '.join(map(str, command))} ended with {child.returncode}:\n{tail}")
    timing = Timing(seconds, usage.ru_utime + usage.ru_stime)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return ProcessResult(timing, usage.ru_maxrss / unit, *texts)


def _read(file: Any) -> str:
    file.seek(0)
    return str(file.read())


def worker_command(task: str, *arguments: object) -> list[str]:
    """Build the command that runs a task of `benchmarks.worker`."""
    return [sys.executable, "-m", "benchmarks.worker", task, *map(str, arguments)]


def baseline_command(name: str, *arguments: object) -> list[str]:
    """Build the command that runs a script of `baselines/`, such as "frozen.py", without this package."""
    return [sys.executable, str(FOLDER / "baselines" / name), *map(str, arguments)]
