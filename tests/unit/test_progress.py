"""The progress seam: one step an item, and a task that always ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tledge.progress import SILENT, Task, start_task, track


class Recorder:
    """A `Progress`, and its own task, that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def start(self, what: str, total: int | None = None) -> Recorder:
        self.events.append(f"start {what} of {total}")
        return self

    def advance(self, steps: int = 1, **figures: object) -> None:
        self.events.append(f"advance {steps}")

    def finish(self, task: Task) -> None:
        assert task is self
        self.events.append("finish")

    def say(self, line: str) -> None:
        self.events.append(line)


def breaking(items: int) -> Iterator[int]:
    yield from range(items)
    raise RuntimeError("no more")


def test_track_advances_once_each() -> None:
    progress = Recorder()
    assert list(track(progress, "abc", "letters", 3)) == ["a", "b", "c"]
    assert progress.events == ["start letters of 3", *["advance 1"] * 3, "finish"]


def test_track_of_nothing_ends() -> None:
    progress = Recorder()
    assert list(track(progress, [], "nothing", None)) == []
    assert progress.events == ["start nothing of None", "finish"]


def test_failing_source_ends_task() -> None:
    progress = Recorder()
    with pytest.raises(RuntimeError, match="no more"):
        list(track(progress, breaking(2), "items", 5))
    assert progress.events == ["start items of 5", "advance 1", "advance 1", "finish"]


def test_stopping_early_ends_task() -> None:
    progress = Recorder()
    with closing(track(progress, range(9), "items", 9)) as items:
        assert next(items) == 0
    assert progress.events == ["start items of 9", "finish"]


def test_failing_block_ends_task() -> None:
    progress = Recorder()
    with pytest.raises(RuntimeError, match="broken"), start_task(progress, "block") as task:
        task.advance(2)
        raise RuntimeError("broken")
    assert progress.events == ["start block of None", "advance 2", "finish"]


def test_silent_progress_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    SILENT.say("a line")
    assert list(track(SILENT, range(3), "quiet", 3)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
