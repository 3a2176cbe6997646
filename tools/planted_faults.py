"""Plant each fault of a list in a copy of the package, and see that the tests named beside it fail.

    python tools/planted_faults.py [--slow] [--table FILE] [NAME ...]

The list is tools/planted_faults.toml. First the named tests must pass on the copy as it is; then every
fault is planted alone. Prints a line for each; ends with 1 where a fault is not caught, or cannot be planted
any more. With --slow also the faults that only a training shows; `make test` runs the others.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import working_copy

TABLE = working_copy.ROOT / "tools" / "planted_faults.toml"
PRELOADED = ("numpy", "PIL.Image", "pytest")
"""What tests import beside tledge: loaded once, and not for every fault."""

TESTS_PASSED, TESTS_FAILED = 0, 1
PYTEST_ENDED = 100
"""Added to the exit code of pytest: an error before pytest ends must not look like a failed test."""


@dataclass(frozen=True)
class Fault:
    """A change that must not go unnoticed: its text before and after in a file, and the tests that fail."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    slow: bool = False

    def planted(self, text: str) -> str:
        """Return a file's text with the fault; raise ValueError where it cannot be planted."""
        count = text.count(self.before)
        if count != 1:
            raise ValueError(f"{self.name}: its text stands {count} times in {self.file}, expected once")
        return text.replace(self.before, self.after)


def read_faults(table: Path = TABLE) -> list[Fault]:
    """Return the faults of a list."""
    entries = tomllib.loads(table.read_text(encoding="utf-8"))["fault"]
    return [Fault(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


@contextmanager
def changed(path: Path, fault: Fault) -> Iterator[None]:
    """Hold a fault in a file of the copy during the block."""
    text = path.read_text(encoding="utf-8")
    path.write_text(fault.planted(text), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def run_tests(folder: Path, tests: Sequence[str]) -> int:
    """Run tests in a copy, in a process of their own that has the libraries already; return the exit code."""
    process = multiprocessing.get_context("fork").Process(target=_run_tests, args=(folder, tests))
    process.start()
    process.join()
    return (process.exitcode or 0) - PYTEST_ENDED


def _run_tests(folder: Path, tests: Sequence[str]) -> None:
    import pytest

    log = os.open(folder / "tests.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)  # for processes that tests start
    sys.dont_write_bytecode = True  # two faults of one length in one second would share it
    plugins = ("-p", "no:xdist", "-p", "no:cacheprovider")
    code = pytest.main([*plugins, "-x", "-q", "-m", "", "--rootdir", str(folder), *tests])
    sys.stdout.flush()
    os._exit(PYTEST_ENDED + code)


def judge(folder: Path, fault: Fault) -> str:
    """Plant a fault and return why it does not count as caught; empty where its tests failed."""
    try:
        with changed(folder / fault.file, fault):
            code = run_tests(folder, fault.tests)
    except ValueError as error:
        return str(error)
    if code == TESTS_FAILED:
        return ""
    if code == TESTS_PASSED:
        return "NOT CAUGHT: its tests passed"
    return f"its tests did not run (exit code {code})\n{(folder / 'tests.log').read_text()}"


def plant_all(faults: Sequence[Fault], folder: Path) -> int:
    """Judge every fault in a copy of the repository, a line for each; return how many are not caught."""
    working_copy.copy(folder)
    tests = sorted({test for fault in faults for test in fault.tests})
    if run_tests(folder, tests) != TESTS_PASSED:
        print((folder / "tests.log").read_text(), "the tests must pass before a fault is planted", sep="\n")
        return len(faults)
    missed = 0
    for fault in faults:
        started = time.monotonic()
        reason = judge(folder, fault)
        missed += bool(reason)
        print(f"{fault.name:64} {reason or 'caught'}  {time.monotonic() - started:.1f} s", flush=True)
    return missed


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant the faults that are named, or all fast ones; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--slow", action="store_true", help="also faults that only a training shows")
    parser.add_argument("--table", type=Path, default=TABLE)
    chosen = parser.parse_args(arguments)
    faults = [
        fault
        for fault in read_faults(chosen.table)
        if (fault.name in chosen.names if chosen.names else chosen.slow or not fault.slow)
    ]
    for name in PRELOADED:
        __import__(name)
    with tempfile.TemporaryDirectory() as folder:
        missed = plant_all(faults, Path(folder) / "copy")
    print(f"{len(faults) - missed} of {len(faults)} faults caught")
    return 1 if missed or not faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
