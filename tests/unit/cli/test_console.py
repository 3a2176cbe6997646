"""What reaches the screen: text of others is escaped and is no markup, whoever prints it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tledge.cli import console
from tledge.cli.options import echo

CLI = Path(console.__file__).parent
PRINTS = r"click\.s?echo|(?<![.\w])print\(|\w*Console\(|sys\.std(?:out|err)\.write"
RULING = "\x1b]0;title\x07\u202e[/red][link=file:///x]y[/link]"


def test_table_escapes_and_takes_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=RULING)
    table.add_column(RULING)
    table.add_row(RULING)
    table.add_row(Text(RULING))
    console.print_table(table)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\x07" not in shown and "\u202e" not in shown
    assert shown.count(r"\x1b]0;title\u202e[/red][link=file:///") == 4  # rich itself drops \x07


def test_own_colours_stay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.text import Text

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.open_console().print(Text("passed\x1b", style="green"))
    shown = capsys.readouterr().out
    assert "\x1b[32m" in shown and r"passed\x1b" in shown


def test_lines_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"Run: {RULING}")
    echo(f"Run: {RULING}", err=True)
    shown = capsys.readouterr()
    assert shown.out == shown.err == "Run: \\x1b]0;title\\x07\\u202e[/red][link=file:///x]y[/link]\n"


def test_only_one_place_prints() -> None:
    """Another would print what is not escaped: `echo`, `print_json` and the console are for all."""
    printing = {
        (path.name, found) for path in CLI.glob("*.py") for found in re.findall(PRINTS, path.read_text())
    }
    assert printing == {
        ("options.py", "click.echo"), ("completion.py", "click.echo"), ("console.py", "EscapingConsole("),
    }  # fmt: skip
