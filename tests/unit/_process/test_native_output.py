"""Native code that aborts ends with words and an exit code, and may be kept from writing to stderr."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tledge._process import native_output
from tledge._process.native_output import native_stderr_closed

ABORT = "import ctypes; from tledge._process import native_output as aborts\n"

NATIVE = "ctypes.CDLL(None).abort()\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize(
    ("code", "ended", "said"),
    [
        (f"with aborts.exit_message_on_abort(lambda: 'set less'):\n    {NATIVE}", 1, "tledge: set less"),
        (f"with aborts.exit_message_on_abort(lambda: 'set less'):\n    pass\n{NATIVE}", -6, ""),
        (f"with aborts.exit_message_on_abort(lambda: 1 / 0):\n    {NATIVE}", -6, "ZeroDivisionError"),
    ],
    ids=["within", "behind", "no words"],
)
def test_abort_is_explained(code: str, ended: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABORT + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == ended, done.stderr
    assert said in done.stderr


def place() -> tuple[int, int]:
    found = os.fstat(2)
    return found.st_dev, found.st_ino


def test_overlapping_blocks_give_stderr_back() -> None:
    """As of two threads: the first to begin ends first."""
    before, one, other = place(), native_stderr_closed(), native_stderr_closed()
    one.__enter__()
    closed = place()
    other.__enter__()
    one.__exit__(None, None, None)
    assert place() == closed != before
    other.__exit__(None, None, None)
    assert place() == before


@pytest.mark.parametrize("shown", [True, False])
def test_announcements_of_downloads(shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """They never reach stdout, and under --quiet not stderr."""
    with native_output.downloads_announced(shown), native_output.announcements_redirected():
        print("Downloading data from somewhere")
    captured = capsys.readouterr()
    assert captured.out == "" and ("Downloading" in captured.err) is shown
