"""Run a bundle on ARM64, emulated: its answers beside this machine's, then its runners' self-tests.

    make device-check BUNDLE=runs/rps/bundle
    python tools/device_check.py export/raspberry_pi --run python classify.py --self-test

The second form runs one command in a folder; `python` is the emulated one, anything else is a
program built for ARM64. Exit codes: 0 all agree, else those of `tledge.errors`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import arm64
import numpy as np
from arm64 import Userland

from tledge.contract import TOLERANCES
from tledge.devices.projects import fill
from tledge.errors import ArtifactError, ParityFailed, TledgeError
from tledge.formats.registry import VARIANTS

ANSWERS = Path(__file__).with_name("answers.py")
CACHE = os.environ.get("TLEDGE_ARM64", ".cache/arm64")
FLOAT = 1e-5
"""Largest difference in a probability for float kernels: another processor adds in another order."""

RUNNERS = {"raspberry_pi": ("python", "classify.py"), "cpp": ("build/classify",)}
"""Device projects that run on an ARM64 Linux board, and what runs each there."""


def allowed(variant: str) -> float:
    """Largest difference in a probability between two processors; integers leave none."""
    mode = VARIANTS[variant].mode
    if mode.integer_only:
        return 0.0
    return FLOAT if mode.gate in ("float", "fp16") else TOLERANCES[mode.gate]


def compare(here: Path, there: Path) -> Iterator[str]:
    """Compare each file of predictions in `here` with the one of its name in `there`, a line each.

    Raises ParityFailed where they differ by more than is allowed, where there are none, and where
    all photos have one answer, which would compare equal whatever is broken.
    """
    files = sorted(here.glob("*.npy"))
    if not files:
        raise ParityFailed(f"{here}: no answers. The bundle needs a .tflite file.")
    for file in files:
        variant, kernels, _ = file.name.split(".")
        own, other = np.load(file), np.load(there / file.name)
        if np.ptp(own, axis=0).max() < 1e-3:
            raise ParityFailed(f"{variant}, {kernels}: answers the same to every photo, which shows nothing.")
        worst, most = float(np.abs(own - other).max()), allowed(variant)
        line = f"{variant}, {kernels} kernels: differs by {worst:.2g} in {len(own)} photos, allowed {most:g}"
        if not worst <= most:
            raise ParityFailed(line)
        yield line


def check_answers(bundle: Path, board: Userland, folder: Path) -> None:
    """Compute the bundle's answers here and on `board`, in `folder`, and compare."""
    here, there = folder / "here", folder / "there"
    for path in (here, there):
        path.mkdir()
    if subprocess.run([sys.executable, ANSWERS, bundle, here], check=False).returncode:
        raise ArtifactError(f"{bundle}: does not run on this machine either; see above.")
    run(board, folder, "python", ANSWERS, bundle, there)
    for line in compare(here, there):
        print(line, flush=True)


def check_runners(bundle: Path, board: Userland, folder: Path) -> None:
    """Fill each runner's project with the bundle, as `tledge bundle` does, and run its self-test."""
    for name, command in RUNNERS.items():
        print(f"{name}: {' '.join(command)} --self-test", flush=True)
        project = fill(name, bundle, folder / name).folder
        if (project / "CMakeLists.txt").is_file():
            board.cmake(project)
        run(board, project, *command, "--self-test")


def run(board: Userland, folder: Path, *command: str | Path) -> None:
    """Run a command on the board, show what it prints, and raise ParityFailed where it does not exit 0."""
    done = board.run(*command, cwd=folder)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        shown = " ".join(map(str, command))
        raise ParityFailed(f"{shown}: exit {done.returncode} on ARM64.\n{done.stderr.strip()[-2000:]}")


def main() -> int:
    """Check what the command line names; gives the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a bundle; with --run any folder")
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="where the ARM64 userland is kept [%(default)s]"
    )
    parser.add_argument(
        "--run", nargs=argparse.REMAINDER, help="the rest of the line: a command to run there"
    )
    given = parser.parse_args()
    try:
        board = arm64.userland(given.cache)
        if given.run:
            run(board, given.folder, *given.run)
            return 0
        with tempfile.TemporaryDirectory() as scratch:
            check_answers(given.folder.absolute(), board, Path(scratch))
            check_runners(given.folder.absolute(), board, Path(scratch))
    except TledgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("device check passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
