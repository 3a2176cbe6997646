"""Records keep the keys of their JSON files when a field gets another name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.run_records import RUN, SCORE
from tledge._io import files, json_keys
from tledge.run.folder import RunFolder


@dataclass(frozen=True)
class Renamed:
    plain: int
    better: int = field(metadata={json_keys.JSON_KEY: "worse"})


def test_a_renamed_field_keeps_its_key() -> None:
    assert json_keys.to_json(Renamed(1, 2)) == {"plain": 1, "worse": 2}
    assert json_keys.from_keys(Renamed, {"plain": 1, "worse": 2}) == {"plain": 1, "better": 2}
    assert json_keys.from_keys(Renamed, {"unknown": 3}) == {"unknown": 3}


def test_run_json_of_earlier_versions_opens(tmp_path: Path) -> None:
    """The score after the first stage was called `frozen`, and still is in the file."""
    folder = RunFolder(tmp_path)
    files.write_json(folder.run, RUN)
    raw = json.loads(folder.run.read_text(encoding="utf-8"))
    assert raw["frozen"] == raw["validation"]
    assert "first_stage_validation" not in raw
    assert folder.read_run() == RUN
    assert folder.read_run().first_stage_validation == SCORE
