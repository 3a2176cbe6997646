"""Start a process of tledge's own that opens a file of somebody else, with limits on what it may use.

The process sets its limits itself, before it reads anything of the file: `start` hands them over, and the
worker calls `enter` first. On Windows there are none of these limits; a crash still ends only the child.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tledge._process import no_network, subprocesses
from tledge.errors import TledgeError

LIMITS = "TLEDGE_LIMITS"
"""Environment variable with the limits of a child, as JSON."""


@dataclass(frozen=True)
class Limits:
    """What a child may use: bytes of address space, seconds of computing, bytes of each file it writes.

    It never writes a core file, and on Linux opens no sockets. None is no limit.
    """

    memory: int
    seconds: int | None = None
    written: int | None = None


def start(
    module: str,
    *arguments: object,
    limits: Limits,
    environment: dict[str, str] | None = None,
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start `tledge.<module>` with pipes for its three streams; see `enter` for when it ends.

    Args:
        module: a module whose `main` calls `enter` before it does anything else.
        arguments: its arguments.
        limits: what it may use.
        environment: variables in addition to those of this process.
        stderr: where its messages go; a pipe that nobody reads would fill up.
    """
    pipe = subprocess.PIPE
    return subprocess.Popen(
        subprocesses.worker_command(module, *arguments),
        stdin=pipe, stdout=pipe, stderr=stderr,
        env={**subprocesses.child_environment(), **(environment or {}), LIMITS: json.dumps(asdict(limits))},
    )  # fmt: skip


def receive(
    process: subprocess.Popen[bytes], timeout: float, limit: int, failure: Callable[[str], TledgeError]
) -> dict[str, Any]:
    """Return the next line of a child, an object of JSON.

    Args:
        process: the child.
        timeout: seconds until the line has to end; the child is killed then.
        limit: bytes of the line, checked as they arrive.
        failure: makes the error that is raised where no such line comes, from what the child does instead.
    """
    assert process.stdout is not None
    line, deadline = b"", time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if len(line) > limit or not selector.select(max(0.0, deadline - time.monotonic())):
                process.kill()
                raise failure(f"does not reply within {timeout:g} s")
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                raise failure(f"ended ({process.wait()})")
            line += part
    reply: dict[str, Any] = json.loads(line)
    return reply


def enter(*, by_thread: bool = True) -> None:
    """Take over the limits that `start` passed, in the child, and end together with its parent.

    With `by_thread` it ends already with the parent's thread that started it, where the system can.
    """
    subprocesses.end_with_parent(by_thread=by_thread)
    if limits := os.environ.get(LIMITS):
        apply(Limits(**json.loads(limits)))
        no_network.forbid_network()


def apply(limits: Limits) -> None:
    """Limit this process; a limit that it has already is never raised. No effect on Windows."""
    with suppress(ImportError):
        import resource

        _lower(resource.RLIMIT_CORE, 0)
        _lower(resource.RLIMIT_AS, limits.memory)
        if limits.seconds is not None:
            _lower(resource.RLIMIT_CPU, limits.seconds)
        if limits.written is not None:
            _lower(resource.RLIMIT_FSIZE, limits.written)


def _lower(kind: int, limit: int) -> None:
    import resource

    with suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(kind)
        lowest = min(value for value in (limit, soft, hard) if value != resource.RLIM_INFINITY)
        resource.setrlimit(kind, (lowest, hard))


@contextmanager
def memory(more: int) -> Iterator[None]:
    """Limit this process, for a block, to `more` bytes of address space than it has; on Linux only.

    What is allocated beyond that raises MemoryError, or the error of the library that asked for it.
    """
    before = _limit_memory(more)
    try:
        yield
    finally:
        if before is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_AS, before)


def _limit_memory(more: int) -> tuple[int, int] | None:
    """Lower the limit of address space; return the one before, None where it stays as it is."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        before = resource.getrlimit(resource.RLIMIT_AS)
        wanted = pages * resource.getpagesize() + more
        if before[0] != resource.RLIM_INFINITY and before[0] <= wanted:
            return None
        resource.setrlimit(resource.RLIMIT_AS, (wanted, before[1]))
        return before
    except (ImportError, OSError, ValueError):
        return None
