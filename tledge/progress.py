"""Report the progress of long work: the command line draws it, tests and scripts ignore it.

Every stage takes a `Progress` and reports through it; nothing below the command line prints.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")


class Task(Protocol):
    """A piece of work that advances in steps."""

    def advance(self, steps: int = 1, **figures: object) -> None:
        """Advance by `steps`, and show `figures` beside the bar."""


class Progress(Protocol):
    """Receives tasks and lines; whoever calls tledge from Python can pass an object of their own."""

    def start(self, what: str, total: int | None = None) -> Task:
        """Start a task of `total` steps (None: unknown) called `what`, and return it."""

    def finish(self, task: Task) -> None:
        """End a task."""

    def say(self, line: str) -> None:
        """Show one line permanently."""


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
    """Start a task for a block, and end it also where the block raises."""
    task = progress.start(what, total)
    try:
        yield task
    finally:
        progress.finish(task)


def track(progress: Progress, items: Iterable[T], what: str, total: int | None) -> Generator[T]:
    """Yield `items` and advance a task by one step for each."""
    with start_task(progress, what, total) as task:
        for item in items:
            yield item
            task.advance()
