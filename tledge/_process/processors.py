"""Count the processors that tledge may use at once."""

from __future__ import annotations

import os

from tledge.errors import RecipeError

VARIABLE = "TLEDGE_PROCESSORS"
"""Environment variable that lowers the count, where other programs need processors too."""


def in_machine() -> int:
    """Count the processors of the machine, also where this process may use fewer."""
    return os.cpu_count() or 1


def available() -> int:
    """Count the processors that the system lets this process use: in a container, maybe not all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else in_machine()


def usable() -> int:
    """Count the threads, or processes, that work at once: `TLEDGE_PROCESSORS`, else `available()`.

    Raises:
        RecipeError: `TLEDGE_PROCESSORS` is not a whole number from 1.
    """
    asked = os.environ.get(VARIABLE, "")
    if not asked:
        return available()
    if not (asked.isascii() and asked.isdigit() and int(asked)):
        raise RecipeError(f"{VARIABLE}={asked!r}: expected a whole number from 1. Correct or unset it.")
    return int(asked)
