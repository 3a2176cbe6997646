"""Check how commands ended, and sum up several of them."""

from __future__ import annotations

from collections.abc import Sequence

from torture.support import processes
from torture.support.observation import Observation


def command_faults(
    result: processes.ProcessResult, code: int, words: Sequence[str], least: str = ""
) -> list[str]:
    """List what falls short of this exit code, these words in stderr, and no traceback."""
    found_faults = []
    if result.hung:
        found_faults.append("hung")
    if result.code != code:
        found_faults.append(f"exit {result.code} instead of {code}")
    if result.crashed:
        found_faults.append("traceback or crash")
    found_faults += [f"does not say {word!r}" for word in words if word not in result.err]
    return [f"{least}{fault}: {result.tail}" for fault in found_faults]


def observe(
    results: Sequence[processes.ProcessResult], summary: str, shortfalls: Sequence[str]
) -> Observation:
    """Build a case's observation; crashes and hangs are counted from the results."""
    return Observation(
        summary,
        tuple(shortfalls[:10]),
        files=len(results),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max((result.peak for result in results), default=0.0),
    )
