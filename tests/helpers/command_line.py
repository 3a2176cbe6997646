"""Run the command line in this process."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]
"""The `cli` fixture: takes the arguments of a command."""


def run_main(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Done:
    """Run the command line in this process."""
    from tledge.cli.main import main

    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return Done(int(ended.value.code or 0), captured.out, captured.err)
