"""What a case is: something done to tledge, and what must hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torture.support.observation import Observation
from torture.support.workspace import Workspace


@dataclass(frozen=True)
class Case:
    """One thing done to tledge: what must hold whatever happens, and how to try it.

    `reduced` cases also run where minutes count, there perhaps with fewer files (`Workspace.count`).
    """

    name: str
    holds: str
    run: Callable[[Workspace], Observation]
    reduced: bool = True
