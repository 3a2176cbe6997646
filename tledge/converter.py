"""A process that converts, seen from the one that exports: jobs in, details or a named failure out."""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tledge import children, errors, runs
from tledge.errors import ConversionError
from tledge.formats.base import Job

COMMAND = (sys.executable, "-m", "tledge.formats")
"""What does the jobs."""


@dataclass(frozen=True)
class Conversion:
    """One job, where its log goes, and the seconds that it may take."""

    variant: str
    job: Job
    log: Path
    timeout: int


class Converter:
    """Runs `python -m tledge.formats`; a context manager that ends the process."""

    def __init__(self) -> None:
        # No GPU: converting has no use for one, and would take its memory.
        hidden = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        with children.deaf_to_interrupts():
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**children.environment(), **hidden},
            )

    def __enter__(self) -> Converter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.kill()
        self._process.communicate()

    def kill(self) -> None:
        """End the process at once, with what it has in hand."""
        self._process.kill()

    def convert(self, conversion: Conversion) -> dict[str, Any]:
        """Do one conversion; gives the format's details.

        Raises ConversionError where the converter fails, crashes or takes too long, and what the
        format itself raises.
        """
        log, job = conversion.log, conversion.log.with_suffix(".job.json")
        result_path = log.with_suffix(".result.json")
        log.parent.mkdir(parents=True, exist_ok=True)
        Path(conversion.job.out).parent.mkdir(parents=True, exist_ok=True)
        result_path.unlink(missing_ok=True)
        log.write_bytes(b"")
        runs.write_json(job, {"variant": conversion.variant, **asdict(conversion.job)})
        self._ask([str(job.resolve()), str(result_path.resolve()), str(log.resolve())], conversion)
        if not result_path.is_file():
            raise ConversionError(_crash(conversion, self._process.wait()))
        result = json.loads(result_path.read_text(encoding="utf-8"))
        if "error" in result:
            failure = errors.kind_of(result, ConversionError)
            raise failure(f"{conversion.variant}: {result['error']} Log: {log}")
        details: dict[str, Any] = result["details"]
        return details

    def _ask(self, line: list[str], conversion: Conversion) -> None:
        """Hand over a job and wait for its answer, or for the end of the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            if not waiting.select(conversion.timeout):
                self._process.kill()
                raise ConversionError(
                    f"{conversion.variant}: the conversion took more than {conversion.timeout} s and was "
                    f"stopped. Raise [export] timeout, or read its log: {conversion.log}"
                )
        self._process.stdout.readline()


def _crash(conversion: Conversion, code: int) -> str:
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    tail = conversion.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-4:]
    return f"{conversion.variant}: the converter crashed ({name}). Log: {conversion.log}, its end:\n" + (
        "\n".join(tail)
    )
