"""A mapped file that cannot be read ends with words and an exit code, not with a signal."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

CUT_SHORT = """
import faulthandler, sys
from pathlib import Path
from tledge._io import npy
import numpy as np
path = Path(sys.argv[1])
np.save(path, np.zeros(1 << 20, np.uint8))
if len(sys.argv) > 2:
    faulthandler.enable()
mapped = npy.open_mapped(path)
with path.open("r+b") as file:
    file.truncate(1000)
print(mapped[-1])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGBUS"), reason="no such signal")
@pytest.mark.parametrize(
    ("handler", "code", "words"),
    [
        ([], 1, "tledge: a file that is mapped into memory could not be read"),
        (["with faulthandler"], -signal.SIGBUS, "Fatal Python error: Bus error"),
    ],
)
def test_file_cut_short_is_explained(tmp_path: Path, handler: list[str], code: int, words: str) -> None:
    """A handler that whoever imports tledge has set stays."""
    command = [sys.executable, "-c", CUT_SHORT, str(tmp_path / "images.npy"), *handler]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
