"""Signals that ask a command to end: by which code, how soon, and what it says."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def attended() -> Iterator[None]:
    """Children take SIGINT and SIGHUP, which shells in the background and nohup let them ignore."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


COMMAND = """
import signal, sys, threading, time
import click
from tledge.cli import main as cli; from tledge._process import signals as interruption

@cli.tledge.command()
def work():
    print("working", flush=True)
    {body}

interruption.GRACE = 1.0
sys.argv = ["tledge", "work"]
cli.main()
"""

ENDING = """
    threading.Thread(target=lambda: (time.sleep(1), print("done", flush=True))).start()
"""
"""The command is done, and Python waits for a thread before it ends."""

STUBBORN = """
    while True:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            pass
"""

WRAPPED = """
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        raise ImportError("half of a library")
"""

THREADED = """
    thread = threading.Thread(target=lambda: time.sleep(600))
    thread.start()
    time.sleep(600)
"""

BROKEN_THREAD = """
    done = threading.Event()
    threading.Thread(target=lambda: done.wait() and 1 / 0).start()
    try:
        time.sleep(600)
    finally:
        done.set()
        time.sleep(0.2)
"""

CLOSED = """
    from tledge._process import native_output as quiet
    with quiet.native_stderr_closed():
        while True:
            try:
                time.sleep(600)
            except KeyboardInterrupt:
                pass
"""


def interrupted(body: str, *signals: int, env: dict[str, str] | None = None) -> tuple[int, str, float]:
    """Exit code, stderr and seconds of a command that gets these signals while it does what `body` says."""
    command = [sys.executable, "-c", COMMAND.format(body=body)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        for number in signals:
            time.sleep(0.2)
            process.send_signal(number)
        try:
            _out, err = process.communicate(timeout=30)
        finally:
            process.kill()  # or the block would wait for one that did not hear
        return process.returncode, err, time.monotonic() - began


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_code_is_that_of_a_shell(number: int, code: int) -> None:
    ended, err, _seconds = interrupted("time.sleep(600)", number)
    assert ended == code
    assert err.strip() == "Interrupted. Start again with: tledge work"


@pytest.mark.parametrize("body", [WRAPPED, THREADED, BROKEN_THREAD])
def test_nothing_else_is_said(body: str) -> None:
    ended, err, seconds = interrupted(body, signal.SIGINT)
    assert (ended, err.strip()) == (130, "Interrupted. Start again with: tledge work")
    assert seconds < 1


@pytest.mark.parametrize("body", [STUBBORN, CLOSED])
def test_who_does_not_listen_is_ended(body: str) -> None:
    ended, err, seconds = interrupted(body, signal.SIGTERM)
    assert (ended, err) == (143, "Interrupted. Start again with: tledge work\n")
    assert 0.9 < seconds < 4


def test_second_interrupt_ends_at_once() -> None:
    ended, err, seconds = interrupted(STUBBORN, signal.SIGINT, signal.SIGINT)
    assert (ended, err) == (130, "Interrupted. Start again with: tledge work\n")
    assert seconds < 1.2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_after_the_work_changes_nothing(number: int) -> None:
    assert interrupted(ENDING, number)[:2] == (0, "")


def test_ignored_signals_stay_ignored() -> None:
    """As with nohup, or in the background of a script."""
    command = COMMAND.format(body="time.sleep(0.5)")
    shell = 'trap \'\' HUP INT; exec "$0" -c "$1"'
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", shell, sys.executable, command], stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for number in (signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
        _out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
