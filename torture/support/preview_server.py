"""Run a preview server as users start it, and send raw bytes to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from torture.support import processes
from torture.support.observation import Observation
from torture.support.workspace import Workspace

SECRET = b"what nobody may see"

MEMORY_LIMIT = 700
"""MiB that a server may take at its peak, photos of 100 megapixels aside."""


@dataclass
class PreviewServer:
    """A running server: its process, where it listens, and where it writes."""

    process: subprocess.Popen[bytes]
    url: str
    key: str
    feedback: Path
    log: Path

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def send(
        self, data: bytes, body: bytes = b"", *, wait: float = 30, finish: bool = True, to: str = "127.0.0.1"
    ) -> bytes:
        """Send bytes as they are; return all that comes until the server closes, or for `wait` seconds."""
        with socket.create_connection((to, self.port), timeout=wait) as connection:
            try:
                connection.sendall(data)
                connection.sendall(body)
                if finish:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:  # it answered, and closed before all was said
                pass
            return _receive_all(connection)

    def head(
        self,
        path: str = "/",
        length: int | None = None,
        host: str = "",
        headers: Sequence[str] = (),
        key: str | None = None,
    ) -> str:
        """Build the lines of a request with the server's own key, another one, or none ("")."""
        key = self.key if key is None else key
        lines = [
            f"{'GET' if length is None else 'POST'} {path} HTTP/1.1",
            f"Host: {host or self.host}",
            *([f"Authorization: Bearer {key}"] if key else []),
            *headers,
            "Connection: close",
            *([] if length is None else [f"Content-Length: {length}"]),
        ]
        return "\r\n".join([*lines, "", ""])

    def request(
        self,
        path: str = "/",
        body: bytes | None = None,
        host: str = "",
        headers: Sequence[str] = (),
        *,
        key: str | None = None,
        wait: float = 30,
    ) -> tuple[int, bytes]:
        """Send one whole request; return status (0 for no reply) and all bytes of the reply."""
        head = self.head(path, None if body is None else len(body), host, headers, key)
        answer = self.send(head.encode("utf-8", "surrogateescape"), body or b"", wait=wait)
        return status(answer), answer

    def is_healthy(self) -> bool:
        """Check that it runs and serves its page within two seconds."""
        began = time.monotonic()
        return self.process.poll() is None and self.request()[0] == 200 and time.monotonic() - began < 2

    def status_figure(self, name: str) -> int:
        """Read a figure of the kernel's about the process: `VmHWM`, `VmRSS` in KiB, or `Threads`."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith(f"{name}:")).split()[1])

    @property
    def peak(self) -> float:
        """Return its largest resident set so far, in MiB."""
        return self.status_figure("VmHWM") / 1024

    @property
    def stderr(self) -> str:
        """Read what it wrote to stderr."""
        return self.log.read_text(errors="replace")

    def faults(self) -> tuple[str, ...]:
        """List what must not be after any attack."""
        faults = []
        if processes.TRACEBACK in self.stderr or "Exception" in self.stderr:
            faults.append(f"it wrote of an error: {self.stderr.strip().splitlines()[-1]}")
        if not self.is_healthy():
            faults.append("it does not answer a good client any more")
        return tuple(faults)


def status(answer: bytes) -> int:
    """Parse the status of a reply, 0 where it is none."""
    parts = answer[:20].split(b" ")
    return int(parts[1]) if parts[0].startswith(b"HTTP/") and len(parts) > 1 and parts[1].isdigit() else 0


def _receive_all(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts)


@contextmanager
def running_server(
    workspace: Workspace, bundle: Path, name: str, *options: object
) -> Iterator[PreviewServer]:
    """Serve a bundle or run until the block ends; the feedback folder is empty."""
    folder = workspace.folder(f"served-{name}")
    began = start(workspace, bundle, folder, *options)
    try:
        yield began
    finally:
        stop(began)


def start(
    workspace: Workspace, bundle: Path, folder: Path, *options: object, browser: bool = False
) -> PreviewServer:
    """Start a server, which may open a browser; raise RuntimeError where it does not come up."""
    log, feedback = folder / "stderr.txt", folder / "feedback"
    command = [
        *processes.TLEDGE,
        "preview",
        bundle,
        *([] if browser else ["--no-browser"]),
        "--json",
        "--feedback",
        feedback,
        *options,
    ]
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as of what a shell runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("wb") as err:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err,
            env={**workspace.env, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    text, out = b"", process.stdout
    assert out
    while not text.rstrip().endswith(b"}") and (line := out.readline()):
        text += line
    if not text:
        raise RuntimeError(f"no server: {log.read_text()}")
    url = json.loads(text)["url"]
    key = urlsplit(url).fragment.removeprefix("key=")
    return PreviewServer(process, url, key, feedback, log)


def stop(server: PreviewServer, with_signal: int = signal.SIGINT) -> int:
    """End a server; return its exit code."""
    os.killpg(server.process.pid, with_signal) if server.process.poll() is None else None
    try:
        return server.process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(server.process.pid, signal.SIGKILL)
        return server.process.wait()
    finally:
        if server.process.stdout:
            server.process.stdout.close()


def feedback_files(server: PreviewServer) -> list[Path]:
    """List the files that the server wrote into its feedback folder."""
    return [path for path in server.feedback.rglob("*") if path.is_file()]


def observe_server(
    server: PreviewServer,
    summary: str,
    faults: Iterable[str],
    requests: int,
    *,
    most: float = MEMORY_LIMIT,
    may_keep: bool = False,
) -> Observation:
    """Build the observation, once it is known that the server is as well as before."""
    shortfalls = [*faults, *server.faults()]
    if server.peak > most:
        shortfalls.append(f"{server.peak:.0f} MiB at the peak, more than {most:.0f}")
    if not may_keep and server.feedback.exists():
        shortfalls.append(f"it wrote {feedback_files(server)}")
    crashes = int(server.process.poll() is not None)
    summary = (
        f"{summary}; peak {server.peak:.0f} MiB, {server.status_figure('Threads')} threads left"
        if not crashes
        else summary
    )
    return Observation(summary, tuple(shortfalls), files=requests, crashes=crashes, peak=server.peak)
