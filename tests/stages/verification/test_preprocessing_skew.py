"""What photos prepared otherwise cost the small run."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.command_line import Cli


def test_small_run_is_measured(own_run: Path, cli: Cli) -> None:
    done = cli("verify", own_run, "--skew", "--json", "--quiet")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found == json.loads((own_run / "evidence" / "skew.json").read_text())
    assert (found["variant"], found["images"], found["kernels"]) == ("tflite-int8", 300, "xnnpack")
    rows = {row["preparation"]: row for row in found["rows"]}
    assert rows["reference"]["max_difference"] == 0 and rows["reference"]["agreement"] == 1
    assert rows["nearest"]["mean_difference"] > rows["area"]["mean_difference"] > 0
    parity = json.loads((own_run / "parity.json").read_text())["rows"]
    assert found["accuracy"] == next(row["accuracy"] for row in parity if row["variant"] == "tflite-int8")
    done = cli("verify", own_run / "bundle", "--skew", "--quiet")
    assert done.code == 0 and "12 golden photos" in done.out
