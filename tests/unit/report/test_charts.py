"""Where lines, ticks and words of a chart stand."""

from __future__ import annotations

import itertools

import pytest

from tledge.metrics.statistics import Bin
from tledge.report import charts

LOSSES = ([1.0, 0.5, None, 0.25], [1.2, 0.6, 0.7, 0.5])


def drawn(stages: list[str], first: list[float | None], **limits: float) -> charts.Chart:
    return charts.epochs_chart("Loss", stages, [("train", "first", first)], **limits)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.93, 1.0, [0.92, 0.94, 0.96, 0.98, 1.0]),
        (0.0, 0.0, [0.0, 0.2]),
        (1.0, 1.0, [0.8, 1.0]),
        (1, 14, [0, 5, 10, 15]),
        (0.0, 2300.0, [0, 500, 1000, 1500, 2000, 2500]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == expected


def test_strokes_end_with_a_stage_and_skip_gaps() -> None:
    (line,) = drawn(["a", "a", "a", "b"], [1.0, 0.5, None, 0.25], low=0.0).lines
    assert [len(stroke.split()) for stroke in line.strokes] == [2, 1]
    assert line.values == (1.0, 0.5, None, 0.25) and len(line.dots) == 3


def test_higher_is_further_up_and_later_further_right() -> None:
    (line,) = drawn(["a"] * 3, [0.1, 0.5, 0.9]).lines
    xs, ys = zip(*line.dots, strict=True)
    assert list(xs) == sorted(xs) and list(ys) == sorted(ys, reverse=True)
    assert xs[0] > charts.LEFT and xs[-1] < charts.WIDTH - charts.RIGHT
    assert all(charts.TOP <= y <= charts.HEIGHT - charts.BOTTOM for y in ys)


def test_equal_values_still_have_an_axis() -> None:
    chart = drawn(["a", "a"], [1.0, 1.0], high=1.0)
    assert len(chart.y_ticks) >= 2
    assert all(0 < y < charts.HEIGHT for _x, y in chart.lines[0].dots)


def test_one_epoch_is_a_dot() -> None:
    chart = drawn(["only"], [0.4])
    assert len(chart.lines[0].dots) == 1 and [one.text for one in chart.x_ticks] == ["1"]


def test_nothing_known_is_no_error() -> None:
    chart = drawn(["a", "a"], [None, None])
    assert chart.lines[0].dots == () and chart.alt == "Loss over 2 epochs: . Stages: a."


def test_stage_names_do_not_meet() -> None:
    stages = [name for name in ("first stage of many", "second", "third stage") for _ in range(4)]
    chart = drawn(stages, [0.5] * 12)
    assert [one.text for one in chart.marks] == ["first stage of many", "second", "third stage"]
    for one, two in itertools.combinations(chart.marks, 2):
        assert one.row != two.row or one.place + charts.CHARACTER_WIDTH * len(one.text) <= two.place


def test_long_stage_name_is_cut() -> None:
    (mark,) = drawn(["a stage with a name that never ends"] * 2, [1.0, 0.5]).marks
    assert len(mark.text) == charts.MAX_NAME_LENGTH and mark.text.endswith("…")


def test_many_epochs_have_no_dots() -> None:
    assert drawn(["a"] * 41, [0.5] * 41).lines[0].dots == ()
    assert drawn(["a"] * 40, [0.5] * 40).lines[0].dots != ()


def test_words_tell_what_lines_show() -> None:
    chart = charts.epochs_chart(
        "Loss", ["a", "a", "b", "b"], [("train", "first", LOSSES[0]), ("validation", "second", LOSSES[1])]
    )
    assert chart.alt == (
        "Loss over 4 epochs: train from 1.0000 to 0.2500; validation from 1.2000 to 0.5000. Stages: a, b."
    )


def test_reliability_bars() -> None:
    bins = (Bin(0.4, 0.6, 10, 0.5, 0.4), Bin(0.8, 1.0, 30, 0.95, 1.0))
    made = charts.reliability(bins, 0.0625)
    low, top = made.bars
    assert top.height == charts.SIDE and top.y == 10
    assert low.height == pytest.approx(0.4 * charts.SIDE) and low.share_height == pytest.approx(
        charts.STRIP / 3, abs=0.01
    )
    assert low.x < top.x < charts.EDGE + charts.SIDE
    assert "30 predictions have one above 80.0%: 100.0%" in made.alt and "error 0.062" in made.alt
