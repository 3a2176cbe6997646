"""The Raspberry Pi project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tledge._io import resources

PROJECT = resources.folder("export") / "raspberry_pi"

SOURCE = (PROJECT / "classify.py").read_text(encoding="utf-8")


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As its user does: from elsewhere, without tledge."""
    code = f"import sys; sys.modules['tledge'] = None; sys.argv[1:] = {list(arguments)!r}\n"
    code += f"import runpy; runpy.run_path({str(project / 'classify.py')!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd="/", capture_output=True, text=True, check=False
    )
