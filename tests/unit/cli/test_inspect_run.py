"""`tledge inspect RUN`: what a run says of its doubt."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.command_line import Cli
from tests.helpers.doubt import risky
from tests.helpers.fake_artifacts import run


def test_inspect_shows_a_run(cli: Cli, tmp_path: Path) -> None:
    done = cli("inspect", risky(tmp_path / "run"))
    assert done.code == 0
    assert "62.0%, coverage 95.0%, selective accuracy 99.0% (validation)" in done.out
    assert done.out.splitlines()[-1].split() == ["90.0%", "0.7500", "0.4%"] * 2


def test_inspect_gives_a_run_as_json(cli: Cli, tmp_path: Path) -> None:
    found = json.loads(cli("inspect", risky(tmp_path / "run"), "--json").out)
    assert found["confidence"]["threshold"] == 0.62
    assert found["risk_coverage"]["test"]["rows"][1]["error"] == 0.004


def test_inspect_shows_an_earlier_run(cli: Cli, tmp_path: Path) -> None:
    done = cli("inspect", run(tmp_path / "run"))
    assert done.code == 0 and "validation" in done.out and "unsure" not in done.out
