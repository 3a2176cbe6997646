"""What a row is, how its two sides are timed, and when it reaches what is wanted.

A ratio is always the baseline's seconds over tledge's: above 1 tledge is faster. Both sides of a
row run on the same machine in the same command, in turns where they run more than once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes import Timing
from benchmarks.workspace import Workspace


@dataclass(frozen=True)
class Measurement:
    """Both sides of a row, a Timing for each repetition.

    `conditions` are what must hold beside the ratio, by what they say; `facts` go to the report.
    """

    baseline: tuple[Timing, ...]
    tledge: tuple[Timing, ...]
    conditions: dict[str, bool] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One comparison: the same work by a plain baseline and by tledge.

    `wanted` is the least ratio that tledge should reach, None where the ratio is only reported;
    `once` says why the row is not repeated, empty where it is.
    """

    name: str
    topic: str
    work: str
    baseline: str
    wanted: float | None
    measure: Callable[[Workspace], Measurement]
    once: str = ""


@dataclass(frozen=True)
class Result:
    """A measured row as it goes to JSON; `low` and `high` are the extremes of the repetitions' ratios."""

    name: str
    work: str
    baseline: str
    verdict: str
    wanted: float | None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    repeats: int = 0
    once: str = ""
    conditions: dict[str, bool] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def judge(row: Row, measured: Measurement, *, small: bool) -> Result:
    """Compute a row's medians, ratio and verdict; a small run is never judged."""
    sides = {"baseline": measured.baseline, "tledge": measured.tledge}
    seconds = {name: statistics.median(timing.seconds for timing in side) for name, side in sides.items()}
    cpu = {name: statistics.median(timing.cpu for timing in side) for name, side in sides.items()}
    pairs = zip(measured.baseline, measured.tledge, strict=True)
    ratios = [plain.seconds / ours.seconds for plain, ours in pairs]
    ratio = seconds["baseline"] / seconds["tledge"]
    return Result(
        name=row.name,
        work=row.work,
        baseline=row.baseline,
        verdict="not judged" if small else verdict(ratio, row.wanted, measured.conditions),
        wanted=row.wanted,
        ratio=ratio,
        low=min(ratios),
        high=max(ratios),
        seconds=seconds,
        cpu=cpu,
        repeats=len(ratios),
        once=row.once,
        conditions=measured.conditions,
        facts=measured.facts,
    )


def verdict(ratio: float, wanted: float | None, conditions: Mapping[str, bool]) -> str:
    """Decide between `reached`, `missed`, and `reported` where nothing is wanted."""
    if wanted is None and not conditions:
        return "reported"
    reached = (wanted is None or ratio >= wanted) and all(conditions.values())
    return "reached" if reached else "missed"


def time_call(work: Callable[[], object]) -> Timing:
    """Time one call in this process."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return Timing(time.perf_counter() - started, time.process_time() - cpu)


def alternate(
    baseline: Callable[[], Timing], tledge: Callable[[], Timing], repeats: int
) -> tuple[tuple[Timing, ...], tuple[Timing, ...]]:
    """Alternate between both; where they are repeated, each runs once before as a warm-up."""
    if repeats > 1:
        baseline()
        tledge()
    pairs = [(baseline(), tledge()) for _ in range(repeats)]
    return tuple(side for side, _ in pairs), tuple(side for _, side in pairs)


def measurement_from_json(value: Mapping[str, Any], **conditions_and_facts: Any) -> Measurement:
    """Read what a task of `benchmarks.worker` printed; the keywords are its conditions and facts."""
    sides = {name: tuple(Timing(*figures) for figures in value[name]) for name in ("baseline", "tledge")}
    return Measurement(**sides, **conditions_and_facts)
