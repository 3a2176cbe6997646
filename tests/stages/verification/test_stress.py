"""A real run under stress: int8 that passes on clean images is held to what Keras predicts for bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli

pytestmark = pytest.mark.slow(minutes=0.5)


def test_int8_fails_where_the_gate_asks_for_all(cli: Cli, own_run: Path) -> None:
    """The gates of the small recipe are wide; here no prediction may change under any corruption."""
    recipe = own_run / "recipe.toml"
    recipe.write_text(recipe.read_text() + "stress_agreement = 1.0\nstress_drop = 1.0\n")
    assert cli("verify", own_run).code == 0
    done = cli("verify", own_run, "--stress", "--json")
    assert done.code == 3, done.err
    report = json.loads(done.out)
    assert len(report["stress"]["rows"]) == 27 * len(report["rows"])
    rows = {row["variant"]: row for row in report["rows"]}
    worst = {verdict["variant"]: verdict for verdict in report["stress"]["verdicts"]}["tflite-int8"]
    assert rows["tflite-int8"]["reasons"][-1].startswith(f"under {worst['worst']}: agrees with Keras on ")
    assert {name: row["verdict"] for name, row in rows.items() if name != "tflite-int8"} == {
        name: "passed" for name in rows if name != "tflite-int8"
    }
    bundled = cli("bundle", own_run)
    assert "Not in the bundle: tflite-int8 (failed): under" in bundled.out
