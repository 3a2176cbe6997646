"""The seam between a stage that takes time and whoever watches it.

Stages report through a `Progress`; the command line draws it, tests and scripts ignore it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")


class Task(Protocol):
    """One thing that advances in steps."""

    def advance(self, steps: int = 1, **figures: object) -> None:
        """Move on by `steps`, showing `figures` beside the bar."""


class Progress(Protocol):
    """Shows tasks, and lines that should stay."""

    def start(self, what: str, total: int | None = None) -> Task:
        """Open a task of `total` steps (None: unknown) and return it."""

    def finish(self, task: Task) -> None:
        """Close a task."""

    def say(self, line: str) -> None:
        """Print one line that stays."""


class _SilentTask:
    def advance(self, steps: int = 1, **figures: object) -> None:
        del steps, figures


class Silent:
    """A `Progress` that shows nothing."""

    def start(self, what: str, total: int | None = None) -> Task:
        del what, total
        return _SilentTask()

    def finish(self, task: Task) -> None:
        del task

    def say(self, line: str) -> None:
        del line


SILENT = Silent()


@contextmanager
def start_task(progress: Progress, what: str, total: int | None = None) -> Iterator[Task]:
    """Open a task and close it again whatever happens."""
    opened = progress.start(what, total)
    try:
        yield opened
    finally:
        progress.finish(opened)


def track(progress: Progress, items: Iterable[T], what: str, total: int | None) -> Generator[T]:
    """Yield `items`, advancing a task by one for each."""
    with start_task(progress, what, total) as opened:
        for item in items:
            yield item
            opened.advance()
