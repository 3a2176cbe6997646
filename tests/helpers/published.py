"""What is published: the sdist, and the wheel made of it, by the build backend of `pyproject.toml`."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

from tests.helpers.paths import ROOT


def sdist(folder: Path) -> Path:
    """Build the sdist of this checkout and unpack it below `folder`; gives the unpacked folder."""
    _install_backend(folder)
    _build(folder, "sdist", ROOT)
    (archive,) = folder.glob("tledge-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def wheel(unpacked: Path) -> Path:
    """Build the wheel of an unpacked sdist."""
    _build(unpacked.parent, "wheel", unpacked)
    (built,) = unpacked.parent.glob("tledge-*.whl")
    return built


def _install_backend(folder: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    target = ["--target", str(folder / "backend"), *project["build-system"]["requires"]]
    subprocess.run([*pip, *target], check=True)


def _build(folder: Path, what: str, source: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", what, "--directory", str(folder)]
    paths = {**os.environ, "PYTHONPATH": str(folder / "backend")}
    subprocess.run(command, cwd=source, env=paths, check=True, capture_output=True)
