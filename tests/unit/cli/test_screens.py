"""What every command shows, on terminals of 60, 80 and 120 columns: nothing breaks inside a word.

Commands that take long show recorded reports. What a terminal shows is compared, word by word, with what a
pipe gets; so a word that is cut or broken is found.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import recorded_reports as recorded
from tests.helpers.fake_data import photos
from tests.helpers.recipes import drawn, tiny_recipe
from tests.helpers.run_records import RUN
from tests.helpers.terminal import Screen, terminal
from tledge.cli import bench, compare, console, doctor, tables
from tledge.cli.main import main, tledge
from tledge.cli.options import echo, print_next_step
from tledge.cli.terminal import cells
from tledge.config import Model, Stage
from tledge.contract import AbstentionPolicy
from tledge.inference import answer_text
from tledge.run.records import Risk, RiskCoverage
from tledge.training import progress_lines

WIDTHS = (60, 80, 120)

Show = Callable[[], None]


def command(*words: str) -> Show:
    """Return what runs a command of the command line."""

    def run() -> None:
        with pytest.raises(SystemExit):
            main(words)

    return run


def helps() -> None:
    for name in ("", *tledge.commands):
        command(*([name] if name else []), "--help")()


def lists() -> None:
    for what in ("recipes", "keys", "runs", "variants", "backbones", "sources", "targets"):
        command("list", what)()
    command("list")()


def init_and_data() -> None:
    command("init", "photos", "--force")()
    command("data", "tiny.toml", "--quiet")()


def trained() -> None:
    stage = Stage(name="fine-tune", epochs=100)
    figures = {"loss": 12.34567, "accuracy": 0.8123, "val_loss": 0.5, "val_accuracy": 1.0}
    with console.progress_shown(quiet=False) as progress:
        progress.say(progress_lines.fact("model", progress_lines.network(Model(alpha=0.35))))
        progress.say(progress_lines.header(stage))
        progress.say(progress_lines.row(stage, 100, figures, is_best=True))
    console.print_rows(console.training_rows(RUN))
    curve = RiskCoverage(0.1, (Risk(0.5118, 1.0, 0.148),) * 3)
    console.print_table(tables.risk_table({"validation": curve, "test": curve}))


def verdicts() -> None:
    for wide in (False, True):
        console.print_fitting(lambda out, wide=wide: tables.parity_table(recorded.VERDICTS, out, wide))
    for line in (
        *tables.differences(recorded.VERDICTS, Path("runs/mine")),
        *tables.reasons(recorded.VERDICTS),
    ):
        echo(line)
    print_next_step("tledge export runs/a-run-with-a-rather-long-name --int8 --repair")


def predicted() -> None:
    policy = AbstentionPolicy(1.87, 0.568, 120, 0.95, 0.01)
    for answer in recorded.ANSWERS:
        echo(answer_text.line(answer, policy, raw=True))
    echo(answer_text.summary(recorded.ANSWERS, policy, 1.25, Path("annotated copies")))


def examined() -> None:
    doctor._show_machine(recorded.CHECKUP)
    doctor._show_abilities(recorded.CHECKUP)


SCREENS: dict[str, Show] = {
    "help": helps,
    "list": lists,
    "init and data": init_and_data,
    "train": trained,
    "verdicts": verdicts,
    "predict": predicted,
    "doctor": examined,
    "compare": lambda: compare._show(recorded.COMPARED, "tledge's defaults"),
    "bench": lambda: bench._show(recorded.BENCHED),
    "error": command("train", "nothing.toml"),
}


@pytest.fixture(autouse=True)
def project(somewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos and a recipe in the current folder, and no width or colour from outside."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    photos(somewhere / "photos", {"": 36}, ("cat", "dog"))
    (somewhere / "tiny.toml").write_text(tiny_recipe(drawn()))


def shown(show: Show, width: int) -> Screen:
    with terminal(width) as screen:
        show()
    return screen


def words(text: str) -> set[str]:
    """Return the words of a screen but those about columns that only a narrow one hides."""
    return set(re.sub(r"Columns hidden[^.]*\.", "", text).split()) - {"\\"}


@pytest.mark.parametrize("name", SCREENS)
def test_nothing_breaks_inside_a_word(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    SCREENS[name]()
    piped = "".join(capfd.readouterr())
    assert "\x1b" not in piped and "\r" not in piped
    for width in WIDTHS:
        screen = shown(SCREENS[name], width)
        assert [line for line in screen.lines if cells(line) > width and " " in line.strip()] == []
        assert words(screen.text) - words(piped) == set(), f"{width} columns\n{screen.text}"
    monkeypatch.setenv("NO_COLOR", "1")
    plain = shown(SCREENS[name], 80)
    assert not plain.has_colour
