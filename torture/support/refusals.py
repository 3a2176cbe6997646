"""Judge the refusal of a bundle, a run or a packed cache."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from torture.support import processes

REFUSAL_CODES = {1, 2, 4}
"""Exit codes of what is refused: a photo or run that cannot be used, what is no bundle, a broken artifact."""

PEAK_MIB = 1500.0
"""MiB that no command may take on what is no whole bundle."""


def selected(reduced: bool, parts: list[Any], rng: random.Random, count: int) -> list[Any]:
    """Return all of them, or `count` chosen at random."""
    return rng.sample(parts, count) if reduced and len(parts) > count else parts


def refusal_fault(subject: str, command: str, result: processes.ProcessResult, allowed: set[int]) -> str:
    """Explain why a command falls short; "" where it ended well."""
    if result.hung:
        return f"{command} {subject}: hung"
    if result.crashed:
        return f"{command} {subject}: crashed, {result.tail}"
    if result.code not in allowed:
        return f"{command} {subject}: {result.tail}, expected one of {sorted(allowed)}"
    if "\x1b" in result.out + result.err:
        return f"{command} {subject}: control characters came through"
    if result.code and not result.err.strip():
        return f"{command} {subject}: exit {result.code} without a word"
    return f"{command} {subject}: {result.peak:.0f} MiB" if result.peak > PEAK_MIB else ""


def escaped_files(folder: Path) -> list[str]:
    """List what was written where nothing should be."""
    paths = [*folder.parent.rglob("*escaped*"), Path("/tmp/tledge-torture-escaped.txt")]
    return [f"written: {path}" for path in paths if path.exists() and path.suffix == ".txt"]
