"""How the refusal of a bundle, a run or a packed cache is judged."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from torture.support import processes

EXPECTED = {1, 2, 4}
"""Exit codes of what is refused: a photo or run that cannot be used, what is no bundle, a broken artifact."""

PEAK = 1500.0
"""MiB that no command may take on what is no whole bundle."""


def ordered(reduced: bool, parts: list[Any], chance: random.Random, count: int) -> list[Any]:
    """All of them, or `count` that chance picks."""
    return chance.sample(parts, count) if reduced and len(parts) > count else parts


def judge(what: str, command: str, ended: processes.ProcessResult, allowed: set[int]) -> str:
    """Why an ended command falls short; "" where it ended well."""
    if ended.hung:
        return f"{command} {what}: hung"
    if ended.crashed:
        return f"{command} {what}: crashed, {ended.tail}"
    if ended.code not in allowed:
        return f"{command} {what}: {ended.tail}, expected one of {sorted(allowed)}"
    if "\x1b" in ended.out + ended.err:
        return f"{command} {what}: control characters came through"
    if ended.code and not ended.err.strip():
        return f"{command} {what}: exit {ended.code} without a word"
    return f"{command} {what}: {ended.peak:.0f} MiB" if ended.peak > PEAK else ""


def outside(folder: Path) -> list[str]:
    """What was written where nothing should be."""
    places = [*folder.parent.rglob("*escaped*"), Path("/tmp/tledge-torture-escaped.txt")]
    return [f"written: {one}" for one in places if one.exists() and one.suffix == ".txt"]
