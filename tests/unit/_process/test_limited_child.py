"""A child that opens a file of others: what it may use is limited, and it cannot get more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tledge._process import limited_child, subprocesses
from tledge._process.limited_child import Limits

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has none of these limits")

ENTER = "from tledge._process import limited_child as child; child.enter()\n"


def started(monkeypatch: pytest.MonkeyPatch, code: str, limits: Limits, **variables: str) -> tuple[int, str]:
    """The exit code of a child that runs this code, and what it printed."""
    monkeypatch.setattr(subprocesses, "worker_command", lambda *_given: [sys.executable, "-c", code])
    process = limited_child.start("any", limits=limits, environment=variables)
    out, _err = process.communicate()
    return process.returncode, out.decode()


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    code = ENTER + "try:\n    bytearray(3 << 30)\nexcept MemoryError:\n    print('limited')"
    assert started(monkeypatch, code, Limits(2 << 30)) == (0, "limited\n")


def test_files_and_core_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    code = ENTER + (
        "import resource, tempfile\nprint(resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
        "try:\n    tempfile.TemporaryFile(buffering=0).write(b'x')\nexcept OSError:\n    print('limited')"
    )
    assert started(monkeypatch, code, Limits(2 << 30, written=0)) == (0, "0\nlimited\n")
    assert started(monkeypatch, code, Limits(2 << 30)) == (0, "0\n")


def test_computing_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    code, _out = started(monkeypatch, ENTER + "while True: pass", Limits(2 << 30, seconds=1))
    assert code < 0


def test_limits_are_never_raised() -> None:
    code = (
        "import resource\nfrom tledge._process.limited_child import Limits, apply\n"
        "apply(Limits(1 << 30))\napply(Limits(2 << 30))\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0] >> 20)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1024\n"


def test_environment_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    code = ENTER + "import os; print(os.environ['EXTRA'])"
    assert started(monkeypatch, code, Limits(2 << 30), EXTRA="1") == (0, "1\n")


def test_without_limits_it_enters_too() -> None:
    done = subprocess.run([sys.executable, "-c", ENTER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such filter")
def test_sockets_are_refused_also_in_threads_and_children(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = (
        "import socket\ntry:\n    socket.socket()\nexcept PermissionError:\n"
        "    print('refused', flush=True)\n"
    )
    code = (
        ENTER
        + attempt
        + (
            f"import subprocess, sys, threading\nattempt = {attempt!r}\n"
            "thread = threading.Thread(target=exec, args=(attempt,))\nthread.start()\nthread.join()\n"
            "subprocess.run([sys.executable, '-c', attempt])\nopen('/dev/null').close()"
        )
    )
    assert started(monkeypatch, code, Limits(2 << 30)) == (0, "refused\n" * 3)
    assert started(monkeypatch, attempt, Limits(2 << 30)) == (0, "")
