"""Native code that aborts ends with words and an exit code, and only within the block."""

from __future__ import annotations

import subprocess
import sys

import pytest

ABORT = "import ctypes; from tledge import aborts\n"
NATIVE = "ctypes.CDLL(None).abort()\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize(
    ("code", "ended", "said"),
    [
        (f"with aborts.explained(lambda: 'set less'):\n    {NATIVE}", 1, "tledge: set less"),
        (f"with aborts.explained(lambda: 'set less'):\n    pass\n{NATIVE}", -6, ""),
        (f"with aborts.explained(lambda: 1 / 0):\n    {NATIVE}", -6, "ZeroDivisionError"),
    ],
    ids=["within", "behind", "no words"],
)
def test_abort_is_explained(code: str, ended: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABORT + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == ended, done.stderr
    assert said in done.stderr
