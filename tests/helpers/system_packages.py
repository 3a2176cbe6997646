"""Which packages of the system (Debian's names) a test needs, and whether what it needs of them is here.

A test names them by `@pytest.mark.system_packages("cmake", …)`. Where one lacks, the test is skipped with
the package to install; with `TLEDGE_CI` set it fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

PROGRAMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "chromium": (("chromium", "google-chrome"),),
    "cmake": (("cmake",),),
    "g++": (("g++",),),
    "g++-aarch64-linux-gnu": (("aarch64-linux-gnu-g++",),),
    "make": (("make",),),
    "openjdk-17-jdk-headless": (("javac",), ("java",)),
}
"""Programs of each package: of every group, one has to be on the path."""

LIBRARIES = {
    "libjpeg-dev": "JPEG",
    "libpng-dev": "PNG",
    "libssl-dev": "OpenSSL",
    "nlohmann-json3-dev": "nlohmann_json",
}
"""Packages of libraries, and the name by which CMake finds each."""

PROJECT = ROOT / "export" / "cpp" / "CMakeLists.txt"

PROBE = """\
cmake_minimum_required(VERSION 3.16)
project(probe LANGUAGES CXX)
"""


def require(*packages: str) -> None:
    """Skip the test where a package is not here, or fail it in CI; the reason names what to install."""
    missing = [package for package in packages if not is_here(package)]
    if not missing:
        return
    names = " ".join(missing)
    reason = f"not installed: {names}. On Debian: sudo apt-get install {names}"
    if "TLEDGE_CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def is_here(package: str) -> bool:
    """Return whether the programs of a package are on the path, or CMake finds its library and headers."""
    if package in LIBRARIES:
        return LIBRARIES[package] in found_by_cmake()
    return all(any(map(shutil.which, group)) for group in PROGRAMS[package])


@cache
def found_by_cmake() -> frozenset[str]:
    """Return which libraries the C++ project's own `find_package` lines find; none without a C++ compiler."""
    lines = [line.replace("REQUIRED", "QUIET") for line in find_package_lines()]
    names = [line.partition("(")[2].split()[0] for line in lines]
    told = [f'message(STATUS "found {name}: ${{{name}_FOUND}}")' for name in names]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "CMakeLists.txt").write_text("\n".join([PROBE, *lines, *told, ""]), encoding="utf-8")
        output = _output(["cmake", "-S", folder, "-B", f"{folder}/build"])
    return frozenset(re.findall(r"^-- found (\w+): (?:1|TRUE)$", output, re.MULTILINE))


def find_package_lines() -> list[str]:
    """Return the lines of the C++ project's CMakeLists.txt that look for libraries."""
    return re.findall(r"^find_package\(.*\)$", PROJECT.read_text(encoding="utf-8"), re.MULTILINE)


def all_packages() -> Iterable[str]:
    """Return the name of every package that a test may require."""
    return sorted((*PROGRAMS, *LIBRARIES))


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""
