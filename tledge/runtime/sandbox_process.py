"""The process of a sandbox: start it, send it a request, and explain how it ended.

A message, in both directions, is a line of JSON followed by as many bytes as its key `bytes` says.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, Thread, Timer
from typing import IO, Any

from tledge import errors
from tledge._process import limited_child, subprocesses
from tledge._process.limited_child import Limits
from tledge.errors import ArtifactError

LAST_LINES = 20
"""Lines of the process' messages that are kept, to tell why it ended."""


@dataclass(frozen=True)
class Worker:
    """What works on a model in the process.

    Attributes:
        name: The runtime and, of LiteRT, its kernel family.
        advice: A sentence: what to do where it crashes.
        limit: A sentence about a limit that is known and that the model may meet.
    """

    name: str
    advice: str = "Get the file again if it may be damaged."
    limit: str = ""


class CrashError(ArtifactError):
    """The process that worked on a model ended, or was ended because it took too long.

    The model need not be at fault. `ending` says how it ended, without the model's name and advice.
    """

    def __init__(self, name: str, ending: str, advice: str) -> None:
        super().__init__(f"{name}: {ending} {advice}")
        self.ending = ending


class SandboxProcess:
    """A process that opens and runs models.

    Attributes:
        limits: What it may use.
        closed: Numbers of sessions that are not needed any more; the next request closes them.
    """

    def __init__(self, module: str, limits: Limits) -> None:
        """Start `tledge.<module>`; it ends with this process."""
        self.limits = limits
        self.closed: deque[int] = deque()
        self._lock, self._messages = Lock(), deque[bytes](maxlen=LAST_LINES)
        with subprocesses.ignore_interrupts():
            self._child = limited_child.start(module, limits=limits)
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self._requests, self._replies = self._child.stdin, self._child.stdout
        self._reader = Thread(target=self._messages.extend, args=(self._child.stderr,), daemon=True)
        self._reader.start()
        with suppress(ImportError):
            import numpy  # noqa: F401  this process needs it next; meanwhile the other one starts

    @property
    def has_ended(self) -> bool:
        """Whether the process runs no more."""
        return self._child.poll() is not None

    def ask(
        self, request: Mapping[str, object], content: bytes, timeout: float, name: str, by: Worker
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request with its content; return the reply with its content.

        Args:
            request: What JSON takes.
            content: Bytes that follow it.
            timeout: Seconds after which the process is ended.
            name: The model's name for error messages.
            by: What works on the model in the process.

        Raises:
            CrashError: the process ended or took too long.
            TledgeError: what the process raised.
        """
        with self._lock:
            closed = [self.closed.popleft() for _ in range(len(self.closed))]
            watch = Timer(timeout, self._child.kill)
            watch.daemon = True
            watch.start()
            try:
                send(self._requests, {**request, "close": closed}, content)
                message = receive(self._replies)
            except (OSError, ValueError):  # it ended while it was sent something, or before; or was closed
                message = None
            except BaseException:  # Ctrl-C: the rest of its reply would be taken for the next one
                self.close()
                raise
            finally:
                late = not watch.is_alive()
                watch.cancel()
            if message is None:
                raise self._failure(name, by, timeout if late else None)
        reply, content = message
        if "error" in reply:
            raise errors.error_class(reply, ArtifactError)(reply["error"])
        return reply, content

    def close(self) -> None:
        """End the process."""
        self._child.kill()
        self._child.wait()
        self._reader.join()
        for stream in (self._requests, self._replies, self._child.stderr):
            with suppress(OSError):  # what was not sent yet
                stream.close()  # type: ignore[union-attr]

    def _failure(self, name: str, by: Worker, timeout: float | None) -> CrashError:
        """Return what ended the process."""
        with suppress(OSError, ValueError):  # what was not sent yet, or closed before
            self._requests.close()
        code = self._child.wait()
        self.close()
        if timeout is not None:
            return CrashError(name, f"{by.name} did not finish within {timeout:g} s.", by.advice)
        output = b"".join(self._messages).decode("utf-8", "replace")
        ending = f"{by.name} {subprocesses.describe_exit(code, output)}"
        return CrashError(name, f"{ending} {by.limit}".rstrip(), by.advice)


def send(stream: IO[bytes], message: Mapping[str, object], content: bytes) -> None:
    """Write a message and its content."""
    stream.write(json.dumps({**message, "bytes": len(content)}).encode() + b"\n")
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Read a message and its content; return None where the stream ends before."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    message: dict[str, Any] = json.loads(line)
    size = message.get("bytes", 0)
    content = stream.read(size)
    return (message, content) if len(content) == size else None
