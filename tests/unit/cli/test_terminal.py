"""Lines that are wider than the terminal break between words."""

from __future__ import annotations

import pytest

from tests.helpers.terminal import terminal
from tledge.cli.options import echo, print_next_step
from tledge.cli.terminal import fit, wrap


@pytest.mark.parametrize(
    ("line", "width", "parts"),
    [
        ("short", 20, ["short"]),
        ("Not in the bundle: tflite-int8", 20, ["Not in the bundle:", "tflite-int8"]),
        ("  indented words go on", 16, ["  indented words", "  go on"]),
        ("  photos      117 train, 27 test", 36, ["  photos      117 train, 27 test"]),
        ("  photos   117 train, 27 test", 28, ["  photos   117 train, 27", "  test"]),
        ("  photos   117 train, 27 test", 32, ["  photos   117 train, 27 test"]),
        ("  at most  117 train, 27 validation", 33, ["  at most  117 train, 27", "           validation"]),
        ("see /a/very/long/path/run.json there", 20, ["see", "/a/very/long/path/run.json", "there"]),
        ("日本語の 札", 10, ["日本語の", "札"]),
    ],
)  # fmt: skip
def test_lines_break_between_words(line: str, width: int, parts: list[str]) -> None:
    assert wrap(line, width) == parts


def test_broken_command_is_still_one_command() -> None:
    line = "Next: tledge train mine.toml --set stage.0.epochs=2"
    assert wrap(line, 40) == ["Next: tledge train mine.toml --set \\", "      stage.0.epochs=2"]


def test_no_text_changes_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    line = "words " * 60
    assert fit(line, None) == line
    echo(line)
    assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_echo_fits_the_terminal(width: int) -> None:
    with terminal(width) as screen:
        echo("inconclusive: agrees with Keras on 36 of 36 images; confirming 98% needs 50 images. " * 3)
        echo("An error that tells a lot of words about what is wrong, and what to type now. " * 2, err=True)
        print_next_step("tledge export runs/a-run-with-a-name --int8 --repair --mixed --unverified --wide")
    assert max(map(len, screen.lines)) <= width
    assert screen.text.replace("\\\n", "").replace("\n", " ").count("inconclusive: agrees") == 3
