"""Hide each system package in turn, and run the tests that name it: they have to skip and name it too.

    sudo .venv/bin/python tools/missing_packages.py           # every package; minutes
    sudo .venv/bin/python tools/missing_packages.py cmake     # these alone

A package's files are hidden from one process and its children by an overlay over /usr in a mount namespace of
their own: nothing is removed, and the rest of the machine keeps seeing them. Needs Linux, root and dpkg.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
USERS = {"chromium": ("tests/browser",)}
"""Tests of packages that a helper asks for; those of the others name the package themselves."""

DOCUMENTATION = PurePosixPath("/usr/share/doc")


def files_of(package: str) -> set[str]:
    """Return the files below /usr that a package brings, or, where it has none, those that it depends on.

    libjpeg-dev, for example, only names the package that brings the headers.
    """
    listed = _output("dpkg", "--listfiles", package).splitlines()
    below = [f"/usr{path}" if path.startswith(("/bin/", "/lib/", "/sbin/")) else path for path in listed]
    files = {path for path in below if path.startswith("/usr/") and not Path(path).is_dir()}
    own = {path for path in files if DOCUMENTATION not in PurePosixPath(path).parents}
    if own:
        return own
    needed = _output("dpkg-query", "--show", "--showformat=${Depends}", package)
    names = [part.split()[0] for part in needed.split(",") if part.strip()]
    return {path for name in names for path in files_of(name)}


def hide(files: Iterable[str], folder: Path) -> None:
    """Mark the files as removed in `folder`, which an overlay lays over /usr."""
    for path in files:
        mark = folder / PurePosixPath(path).relative_to("/usr")
        mark.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(mark, 0o20644, os.makedev(0, 0))


def tests_of(package: str) -> list[str]:
    """Return the test files that name the package."""
    paths = sorted((ROOT / "tests" / "devices").glob("test_*.py"))
    named = [str(path.relative_to(ROOT)) for path in paths if f'"{package}"' in path.read_text("utf-8")]
    return [*named, *USERS.get(package, ())]


def run_without(package: str) -> str:
    """Run the tests that need the package without it; return a fault, "" where they skip and name it."""
    with tempfile.TemporaryDirectory() as scratch:
        hidden = Path(scratch, "hidden")
        hidden.mkdir()
        hide(files_of(package), hidden)
        mount = f'mount -t overlay overlay -o "lowerdir={hidden}:/usr" /usr && exec "$@"'
        tests = [sys.executable, "-m", "pytest", "-m", "", "-p", "no:cacheprovider", "-q", *tests_of(package)]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", mount, "sh", *tests],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "TLEDGE_CI"},
            capture_output=True,
            text=True,
            check=False,
        )
    last = done.stdout.strip().rpartition("\n")[2]
    print(f"without {package}: exit {done.returncode}; {last}", flush=True)
    if done.returncode:
        output = (done.stdout + done.stderr)[-4000:]
        return f"without {package}, its tests end with {done.returncode}:\n{output}"
    named = any("SKIPPED" in line and f" {package}" in line for line in done.stdout.splitlines())
    return "" if named else f"without {package}, no skipped test names it."


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Hide what the command line names, else every package; the exit code is 1 where a test fails."""
    from tests.helpers import system_packages

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("packages", nargs="*", default=list(system_packages.all_packages()), help="[all]")
    faults = [fault for package in parser.parse_args().packages if (fault := run_without(package))]
    print("\n".join(faults) or "every missing package is named, and nothing else fails")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
