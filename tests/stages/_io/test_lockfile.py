"""A run that another command holds is refused by all commands that write into it."""

from __future__ import annotations

from pathlib import Path

import pytest

import tledge
from tests.helpers.command_line import Cli
from tests.helpers.lock_holder import held
from tledge.errors import RunError


def test_taken_run_is_refused_by_all_that_write(own_run: Path, cli: Cli) -> None:
    writing = ["export", "verify", "bundle", "bench", "report"]
    with held(own_run / ".lock") as other:
        for command in writing:
            done = cli(command, own_run)
            assert done.code == 1 and f"process {other.pid} on" in done.err, command
        for call in (tledge.export, tledge.verify):
            with pytest.raises(RunError, match="another command is writing into this folder"):
                call(own_run)
        assert cli("bundle", own_run / "bundle", "--target", "microcontroller").code == 1
        assert cli("inspect", own_run).code == 0
        assert cli("predict", own_run, own_run / "golden" / "00.jpg").code == 0
    assert cli("report", own_run).code == 0
    assert not (own_run / ".lock").exists()
