"""Install the oldest versions that pyproject.toml allows, and open hostile files with them.

    python tools/floors.py [--keep FOLDER] [NAME==VERSION ...]

Run by `make floors`; it downloads about a gigabyte. A new environment gets the lowest version of each package
that pyproject.toml names for the extras in `EXTRAS`, and what these need in the newest version that fits.
In it run the tests and the torture cases that open hostile files. NAME==VERSION takes another version of a
package, to see that an older one falls short. Ends with 1 where something fails.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

EXTRAS = ("train", "export", "heic", "hub", "sign")
"""What opens files of others: photos, models, bundles, signatures."""

TOOLS = ("pytest", "hypothesis")
"""What the tests need, in the versions of constraints.txt."""

TESTS = (
    "tests/unit/_io",
    "tests/unit/bundle/test_hostile_bundles.py",
    "tests/unit/bundle/test_reader.py",
    "tests/unit/bundle/test_signing.py",
    "tests/unit/data/test_prepare_damage.py",
    "tests/unit/formats",
    "tests/unit/inference",
    "tests/unit/models",
    "tests/unit/preprocessing",
    "tests/unit/runtime",
    "tests/stages/models/test_keras_safe_mode.py",
)
"""Tests that open hostile files without training."""

LEFT_OUT = ("tests/unit/bundle/test_signing.py::test_device_project_keeps_the_signature",)
"""Tests among them that need another extra."""

TORTURE = ("photos", "bundles", "models")
"""Groups of torture that open hostile files, reduced."""


def floors(changes: Sequence[str] = ()) -> dict[str, str]:
    """Return the lowest version of each package that the extras name; `changes` replace some."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"]]
    for extra in EXTRAS:
        lines += project["optional-dependencies"][extra]
    lowest = dict(found for line in lines if (found := lowest_version(line)))
    return lowest | dict(change.lower().split("==") for change in changes)


def lowest_version(requirement: str) -> tuple[str, str] | None:
    """Return name and lowest version of a requirement; None where it names no lowest version."""
    found = re.match(r"([\w.-]+)[^;]*?>=\s*([\w.]+)", requirement)
    return (found[1].lower(), found[2]) if found else None


def pinned(names: Sequence[str]) -> list[str]:
    """Return the lines of constraints.txt for packages."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.partition("==")[0].lower() in names]


def install(folder: Path, lowest: dict[str, str]) -> Path:
    """Make an environment of the lowest versions with this checkout in it; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    constraints = folder / "floors.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in lowest.items()))
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)  # older ones take minutes to find what fits
    what = ["--editable", f"{ROOT}[{','.join(EXTRAS)}]", *pinned(TOOLS)]
    subprocess.run([*pip, "--constraint", str(constraints), *what], check=True)
    return python


def check(python: Path) -> bool:
    """Run the tests and the torture cases; tell whether all hold."""
    # Warnings of old versions are no errors here.
    options = ["-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "-m", ""]
    options += [f"--deselect={test}" for test in LEFT_OUT]
    commands = (
        [str(python), "-m", "pytest", *options, *TESTS],
        [str(python), "-m", "torture", "--reduced", "--only", ",".join(TORTURE)],
    )
    return all([subprocess.run(command, cwd=ROOT, check=False).returncode == 0 for command in commands])


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, check and print the versions; 1 where something fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="the environment, which then stays")
    parser.add_argument("changes", nargs="*", metavar="NAME==VERSION", help="instead of the lowest version")
    args = parser.parse_args(arguments)
    lowest = floors(args.changes)
    with tempfile.TemporaryDirectory() as scratch:
        python = install(args.keep or Path(scratch), lowest)
        print(
            "lowest versions:", ", ".join(f"{name} {version}" for name, version in lowest.items()), flush=True
        )
        holds = check(python)
    print("hold" if holds else "FALL SHORT", flush=True)
    return int(not holds)


if __name__ == "__main__":
    sys.exit(main())
