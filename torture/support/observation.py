"""What running a case showed, and the error of a case that cannot run here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Observation:
    """What a case observed; it falls short where there are `shortfalls`, or where something crashed or hung.

    `kills` were survived, `files` were tried; `peak` is the largest resident set of a process in MiB.
    """

    summary: str
    shortfalls: tuple[str, ...] = ()
    kills: int = 0
    files: int = 0
    crashes: int = 0
    hangs: int = 0
    peak: float = 0.0

    @property
    def holds(self) -> bool:
        """Check that nothing fell short."""
        return not (self.shortfalls or self.crashes or self.hangs)


class CannotRun(Exception):
    """This machine lacks something that a case needs; the message names it and how to get it."""
