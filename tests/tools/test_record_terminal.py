"""The recorder of terminals: what it keeps, how it shortens, and the picture that it draws."""

from __future__ import annotations

import re
from collections import defaultdict
from types import SimpleNamespace

from record_terminal import COLUMNS, FRAMES_A_SECOND, HELD, ROWS, Frame, picture, shortened, shown

from tests.helpers.pictures import requests


def frame(at: float, *texts: str) -> Frame:
    lines = [((0, text, "#a5d46a", False),) if text else () for text in texts]
    return Frame(at, tuple([*lines, *[()] * (ROWS - len(lines))]))


def test_screen_is_runs_of_one_style() -> None:
    plain = SimpleNamespace(data=" ", fg="default", bold=False)
    row: dict[int, SimpleNamespace] = defaultdict(lambda: plain)
    for column, letter in enumerate("ok <1>"):
        colour = "green" if column < 2 else "ff0000"
        row[column] = SimpleNamespace(data=letter, fg=colour, bold=column < 2)
    buffer: dict[int, dict[int, SimpleNamespace]] = defaultdict(lambda: defaultdict(lambda: plain))
    buffer[3] = row
    lines = shown(SimpleNamespace(buffer=buffer))
    assert lines[3] == ((0, "ok", "#a5d46a", True), (2, " <1>", "#ff0000", False))
    assert len(lines) == ROWS and set(lines) - {lines[3]} == {()} and COLUMNS == 80


def test_waiting_is_shortened_and_short_commands_are_not() -> None:
    slow = [frame(second, f"{second} %") for second in range(101)]
    fast = [frame(0.5, "typed"), frame(2.0, "done")]
    frames = shortened([slow, fast], seconds=6)
    assert frames[-1].lines == fast[-1].lines and 8 < frames[-1].at < 10
    assert len(frames) <= 6 * FRAMES_A_SECOND + 3
    assert [one.at for one in frames] == sorted(one.at for one in frames)


def test_frames_that_change_nothing_are_left_out() -> None:
    assert len(shortened([[frame(second, "same") for second in range(9)]], seconds=9)) == 1


def test_picture_plays_its_frames_and_fetches_nothing() -> None:
    frames = [frame(0, "$"), frame(1, "$", "<b> & c"), frame(2, "", "end")]
    svg = picture(frames, "A terminal: a & b")
    assert requests(svg) == [] and "<script" not in svg and "&lt;b&gt; &amp; c" in svg
    assert svg.count('<g id="l') == 3 and svg.count("<use ") == 4  # a line that stays is drawn once
    steps = re.findall(r"([\d.]+)%\{transform", svg)
    assert [float(step) for step in steps] == [0.0, round(100 / (2 + HELD), 2), round(200 / (2 + HELD), 2)]
    assert "prefers-reduced-motion:reduce" in svg and "<title>A terminal: a &amp; b</title>" in svg
    assert picture(frames, "A terminal: a & b") == svg
