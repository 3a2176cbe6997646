"""A newcomer's path: the commands of the tutorial, as they stand on the page, in a clean environment.

    python tools/newcomer.py PHOTOS [--keras-home DIR] [--work DIR] [--environment VENV]

Nothing is known here but the page: its `sh` blocks run one after the other in one shell, in a copy
of the checkout, with a home folder of their own and PHOTOS as `photos`. With --environment VENV,
which has tledge already, nothing is installed and the page's own settings for a short training are
used for the whole one. Exit code 0 where every command ended with 0.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from pages import Block, blocks

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
NOT_RUN = {
    "tledge preview": "it serves its page until it is stopped",
    "scp": "there is no Raspberry Pi here; what follows runs on this machine instead",
}
"""Beginning of a block that is not run, and why."""
KEPT = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""Beginnings of variables that reach the clean environment: how packages are had from here."""


@dataclass(frozen=True)
class Step:
    """A block and what is run of it; `text` is empty where it is not run, and `remark` says why."""

    block: Block
    text: str
    remark: str = ""


def plan(found: Sequence[Block], environment: Path | None) -> Iterator[Step]:
    """List what is run of the page's `sh` blocks; a shorter training with an `environment`."""
    shells = [block for block in found if block.language == "sh"]
    short = next(block for block in shells if "--set" in block.text)
    settings = " ".join(re.findall(r"--set \S+", short.text))
    for block in shells:
        first = block.commands[0].split()[0]
        if left_out := [why for words, why in NOT_RUN.items() if block.text.startswith(f"{words} ")]:
            yield Step(block, "", left_out[0])
        elif "javac" in block.text and not shutil.which("javac"):
            yield Step(block, "", "no JDK is installed")
        elif environment and first == "make":
            yield Step(block, f"PATH={environment}/bin:$PATH\n", f"{environment} has tledge")
        elif environment and block is short:
            yield Step(block, "", "its settings are used for the next training")
        elif environment and block.commands == ["tledge train mine.toml"]:
            yield Step(block, f"tledge train mine.toml {settings}\n", "with the settings of the short one")
        else:
            yield Step(block, block.text)


def script(steps: Sequence[Step]) -> str:
    """One script that stops at the first failure and names each block as it comes to it."""
    parts = ["set -euo pipefail\n"]
    for step in steps:
        remark = f" ({step.remark})" if step.remark else ""
        parts.append(f"echo\necho '== {step.block}{remark}, after '$SECONDS's'\n")
        parts.append("".join(f"echo '$ {line}'\n" for line in step.text.replace("'", "'\\''").splitlines()))
        parts.append(step.text)
    return "".join([*parts, "echo\necho '== the end, after '$SECONDS's'\n"])


def surroundings(home: Path, keras_home: Path | None) -> dict[str, str]:
    """Make an environment: the system's commands, this Python without its packages, an empty home."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name.upper().startswith(KEPT)}
    path = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    weights = {"KERAS_HOME": str(keras_home)} if keras_home else {}
    return {**kept, **weights, "HOME": str(home), "LANG": "C.UTF-8", "PATH": path}


def checkout(to: Path) -> None:
    """Copy what Git knows of the checkout, and new files that it does not ignore; or an unpacked sdist."""
    for name in names():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def names() -> list[str]:
    """List the files of this checkout, or of an unpacked sdist, by their paths in it."""
    return _listed() if (ROOT / ".git").exists() else _unpacked()


def _listed() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return list(filter(None, listed.split("\0")))


def _unpacked() -> list[str]:
    """List the files of an sdist, without the folders that running it makes and Git ignores."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    ignored = [".git", *(line.rstrip("/") for line in lines if line.endswith("/"))]
    found = []
    for folder, inside, files in os.walk(ROOT):
        inside[:] = [name for name in inside if not any(fnmatch(name, pattern) for pattern in ignored)]
        found += [(Path(folder) / name).relative_to(ROOT).as_posix() for name in files if name != ".git"]
    return found


def walk(steps: Sequence[Step], folder: Path, environment: dict[str, str]) -> int:
    """Run the steps in `folder`; gives the exit code of the first that failed, or 0."""
    command = ["bash", "-c", script(steps)]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def main() -> int:
    """Take the path with the arguments of the command line; gives the exit code."""
    parser = argparse.ArgumentParser(description="Take a newcomer's path through the tutorial.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--keras-home", type=Path, help="offline: a folder with Keras' models/")
    parser.add_argument("--work", type=Path, help="new folder to work in; else one that is removed")
    parser.add_argument("--environment", type=Path, help="virtual environment that has tledge")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = (asked.work or Path(scratch)).resolve()
        folder = work / "tledge"
        folder.mkdir(parents=True)
        if not asked.environment:
            checkout(folder)
        (folder / "photos").symlink_to(asked.photos.resolve())
        shutil.copy2(next(iter(sorted(asked.photos.rglob("*.jpg")))), folder / "photo.jpg")
        steps = list(plan(blocks(PAGE), asked.environment))
        return walk(steps, folder, surroundings(work / "home", asked.keras_home))


if __name__ == "__main__":
    sys.exit(main())
