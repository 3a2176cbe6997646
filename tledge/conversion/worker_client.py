"""Run conversion jobs in a worker process: send a job, get its result or an explained failure."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tledge import errors
from tledge._io import files
from tledge._io.json_records import from_json
from tledge._process import subprocesses
from tledge.errors import ConversionError, RecipeError
from tledge.formats.jobs import Job, WrittenArtifact, job_to_json

COMMAND = tuple(subprocesses.worker_command("formats.worker"))
"""The command line of the worker."""


@dataclass(frozen=True)
class Conversion:
    """A conversion to do.

    Args:
        variant: name of the variant.
        job: what its converter gets.
        log: path of the log; files of the job and of its result are written beside it.
        timeout: seconds that it may take.
    """

    variant: str
    job: Job
    log: Path
    timeout: int


class Converter:
    """A process `python -m tledge.formats.worker`; a context manager that ends it.

    The temporary files of the process lie in a folder that is removed with it, because a process that is
    killed cannot remove them.

    Args:
        memory_mib: limit of its address space; 0 for none.

    Raises:
        RecipeError: this system has no such limit.
    """

    def __init__(self, memory_mib: int = 0) -> None:
        if memory_mib and sys.platform != "linux":
            raise RecipeError("[export] memory_mib: only Linux can limit a process' memory. Remove the key.")
        # Converting does not use a GPU; TensorFlow would reserve its memory.
        hidden = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._scratch = tempfile.TemporaryDirectory(prefix="tledge-", ignore_cleanup_errors=True)
        scratch = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._scratch.name)
        with subprocesses.ignore_interrupts():
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**subprocesses.child_environment(), **hidden, **scratch},
            )
        if memory_mib:
            _limit_memory(self._process.pid, memory_mib << 20)

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
        self._scratch.cleanup()

    def kill(self) -> None:
        """Kill the process, also in the middle of a job."""
        self._process.kill()

    def convert(self, conversion: Conversion) -> WrittenArtifact:
        """Do one conversion, and return what the converter reports on the artifact.

        Raises:
            ConversionError: the converter fails, crashes or takes too long.
            TledgeError: what the format's `convert` raises.
        """
        log, job = conversion.log, conversion.log.with_suffix(".job.json")
        result_path = log.with_suffix(".result.json")
        log.parent.mkdir(parents=True, exist_ok=True)
        Path(conversion.job.target.out).parent.mkdir(parents=True, exist_ok=True)
        result_path.unlink(missing_ok=True)
        log.write_bytes(b"")
        files.write_json(job, {"variant": conversion.variant, **job_to_json(conversion.job)})
        reply = self._send([str(job.resolve()), str(result_path.resolve()), str(log.resolve())], conversion)
        if not (reply or result_path.is_file()):
            raise ConversionError(_crash_message(conversion, self._process.wait()))
        result = json.loads(result_path.read_text(encoding="utf-8") if result_path.is_file() else reply)
        if "error" in result:
            failure = errors.error_class(result, ConversionError)
            raise failure(f"{conversion.variant}: {result['error']} Log: {log}")
        return from_json(WrittenArtifact, result)

    def _send(self, line: list[str], conversion: Conversion) -> bytes:
        """Send a job and wait for the reply; return b"" where the process ended first."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(conversion.timeout):
                self._process.kill()
                raise ConversionError(
                    f"{conversion.variant}: the conversion took more than {conversion.timeout} s and was "
                    f"stopped. Increase [export] timeout, or read the log: {conversion.log}"
                )
        return self._process.stdout.readline()


def _limit_memory(process: int, size: int) -> None:
    """Limit the address space of a process, in bytes."""
    import resource

    resource.prlimit(process, resource.RLIMIT_AS, (size, size))


def _crash_message(conversion: Conversion, code: int) -> str:
    log = conversion.log.read_text(encoding="utf-8", errors="replace")
    return (
        f"{conversion.variant}: the converter {subprocesses.describe_exit(code, log)}\nLog: {conversion.log}"
    )
