"""Processes that tledge starts: they end with the one that started them, not by Ctrl-C, and in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tledge._process import subprocesses
from tledge.errors import ArtifactError

WORKER = """
import sys, time
from tledge._process import subprocesses as children
if sys.argv[1] == "asking":
    children._ends_by_kernel = lambda: False
children.end_with_parent()
print("working", flush=True)
time.sleep(600)
"""

STARTER = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background of a shell ignores it
from tledge._process import subprocesses as children
with children.ignore_interrupts():
    worker = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]],
                              env=children.child_environment(), stdout=subprocess.PIPE)
worker.stdout.readline()
print(worker.pid, flush=True)
time.sleep(600)
"""


def ends(process: int, within: float) -> bool:
    """Whether a process ends in time; one that nobody has waited for yet counts as ended."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("way", ["told", "asking"])
def test_worker_ends_with_its_starter(way: str) -> None:
    command = [sys.executable, "-c", STARTER, WORKER, way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as starter:
        assert starter.stdout is not None
        worker = int(starter.stdout.readline())
        os.killpg(starter.pid, signal.SIGINT)  # as a terminal does
        starter.wait(60)
        assert ends(worker, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_worker_never_sees_an_interrupt() -> None:
    with subprocesses.ignore_interrupts():
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, "told"],
            stdout=subprocess.PIPE,
            env=subprocesses.child_environment(),
        )
    with worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        worker.send_signal(signal.SIGINT)
        assert not ends(worker.pid, 0.3)
        worker.kill()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_starter_that_ended_first() -> None:
    """It was gone before the kernel could be asked."""
    env = {**os.environ, subprocesses.PARENT: "1"}
    command = [sys.executable, "-c", WORKER, "told"]
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=30)
    assert done.returncode == 1 and not done.stdout


def test_process_that_nobody_started_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(subprocesses.PARENT, raising=False)
    monkeypatch.setattr(os, "_exit", lambda _code: pytest.fail("ended"))
    subprocesses.end_with_parent()


@pytest.mark.parametrize("module", ["tledge.formats.worker", "tledge.inference.bench_worker"])
def test_workers_know_of_this(module: str) -> None:
    """Their starter is gone, and they wait neither for jobs nor do one."""
    command = [sys.executable, "-m", module, "job.json", "result.json"]
    env = {**os.environ, subprocesses.PARENT: "1"}
    done = subprocess.run(command, env=env, input=b"", capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("code", "said", "words"),
    [
        (-9, "", "was killed (SIGKILL), usually because memory ran out. Close other programs"),
        (-signal.SIGABRT, "terminate called: 'std::bad_alloc'", "ran out of memory (SIGABRT)"),
        (1, "Traceback\n  line\nMemoryError", "ran out of memory (exit code 1)"),
        (-signal.SIGSEGV, "one\ntwo", "crashed (SIGSEGV). Its last output:\none\ntwo"),
        (-signal.SIGABRT, "F00 failed: x\n    @     0x7f1a  f()\n    @ 0x1 g()", "output: F00 failed: x"),
        (3, "only", "failed (exit code 3). Its last output: only"),
        (-64, "", "crashed (SIGRTMAX)"),
    ],
)  # fmt: skip
def test_ending_says_how_and_why(code: int, said: str, words: str) -> None:
    assert words in subprocesses.describe_exit(code, said)


def test_long_process_is_stopped() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(ArtifactError, match=r"net\.tflite: Vela took more than 0\.2 s and was stopped"):
        subprocesses.run_with_timeout(command, "net.tflite: Vela", 0.2)


def test_warnings_in_workers_are_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("OTHER", "kept")
    env = subprocesses.child_environment()
    assert "PYTHONWARNINGS" not in env and env["OTHER"] == "kept"
