"""A line of progress fits any terminal, and is plain text in a pipe."""

from __future__ import annotations

import time

import pytest

from tests.helpers.terminal import terminal
from tledge.cli import console
from tledge.cli.progress_bar import Line, figure_texts, parts

FIGURES = ("epoch 12/20", "loss 0.691", "acc 0.812", "img/s 1124")
TRAINING = Line("fine-tune", 40, 1200, 35.2, 221, FIGURES)


@pytest.mark.parametrize(
    ("width", "bar", "tail"),
    [
        (100, 16, "   40/1,200  4 min left  epoch 12/20  loss 0.691  acc 0.812  img/s 1124"),
        (80, 8, "   40/1,200  4 min left  epoch 12/20  loss 0.691  acc 0.812"),
        (60, 11, "   40/1,200  4 min left  epoch 12/20"),
        (34, 0, "   40/1,200  4 min left"),
    ],
)
def test_figures_that_do_not_fit_are_left_out(width: int, bar: int, tail: str) -> None:
    name, full, empty, shown = parts(TRAINING, width)
    assert (shown, len(full + empty)) == (tail, bar)
    assert len(f"{name}  {full}{empty}  {shown}") <= width + 4


def test_full_and_empty_differ_without_colour() -> None:
    _name, full, empty, _tail = parts(Line("head", 6, 12, 1.0, 1.0), 80)
    assert (set(full), set(empty), len(full)) == ({"━"}, {"─"}, len(empty))


def test_bar_without_total_moves() -> None:
    shown = {"".join(parts(Line("loading", 0, None, 0.3 * step, None), 80)[1:3]) for step in range(9)}
    assert len(shown) > 5 and {len(bar) for bar in shown} == {24}


def test_figures_have_no_exponent() -> None:
    assert figure_texts({"images_s": 1123.9, "accuracy": 0.8123, "epoch": "3/20"}) == (
        "img/s 1124", "acc 0.812", "epoch 3/20",
    )  # fmt: skip


def run_tasks() -> None:
    with console.progress_shown(quiet=False) as progress:
        assert isinstance(progress, console.RichProgress)
        progress.say("Training a model of many words that do not all fit on one line of a narrow terminal")
        for name, total in (("fine-tune", 1200), ("check the cache of the photos", None)):
            task = progress.start(name, total)
            task.advance(7, epoch="12/20", loss=0.5, accuracy=0.81, images_s=1234.5)
            progress._bars.refresh()  # as happens ten times a second
            progress.finish(task)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_bars_fit_the_terminal(width: int) -> None:
    with terminal(width) as screen:
        run_tasks()
    assert max(map(len, screen.lines)) <= width
    assert "fine-tune" in screen.text and "7/1,200" in screen.text and "epoch 12/20" in screen.text


def test_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    run_tasks()
    shown = capsys.readouterr()
    assert shown.out == "" and "\x1b" not in shown.err and "\r" not in shown.err
    assert "narrow terminal\n" in shown.err


def test_library_that_loads_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the process' own stderr is closed, as it is for native code."""
    from tledge._process import optional_imports

    def slow(_module: str) -> object:
        time.sleep(0.15)
        return object()

    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr(optional_imports.importlib, "import_module", slow)
    monkeypatch.delitem(optional_imports.sys.modules, "keras", raising=False)
    with terminal(80) as screen, console.progress_shown(quiet=False):
        optional_imports.load("keras", "train")
    assert screen.text.count("loading TensorFlow") > 1


@pytest.mark.parametrize(("seconds", "is_shown"), [(0.15, True), (0.0, False)])
def test_only_slow_work_is_shown(seconds: float, is_shown: bool) -> None:
    with terminal(80) as screen, console.shown_if_slow("open the model", quiet=False, after=0.05):
        time.sleep(seconds)
    assert ("open the model" in screen.text) == is_shown


def test_slow_work_is_not_shown_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with console.shown_if_slow("open the model", quiet=False, after=0.0):
        time.sleep(0.02)
    assert capsys.readouterr() == ("", "")
