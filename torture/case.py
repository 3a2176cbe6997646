"""What a case is: something done to tledge, and what was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ground import Ground


@dataclass(frozen=True)
class Seen:
    """What a case saw; it falls short where `short` says so, or something crashed or hung.

    `kills` were survived, `files` were tried; `peak` is the largest resident set of a process in MiB.
    """

    said: str
    short: tuple[str, ...] = ()
    kills: int = 0
    files: int = 0
    crashes: int = 0
    hangs: int = 0
    peak: float = 0.0

    @property
    def holds(self) -> bool:
        return not (self.short or self.crashes or self.hangs)


class CannotRun(Exception):
    """A case lacks something of this machine (a tool, a right); says what, and how to have it."""


@dataclass(frozen=True)
class Case:
    """One thing done to tledge: what must hold whatever happens, and how to try it.

    `reduced` cases also run where minutes count, there perhaps with fewer files (`Ground.count`).
    """

    name: str
    holds: str
    run: Callable[[Ground], Seen]
    reduced: bool = True
