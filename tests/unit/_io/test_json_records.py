"""Dataclasses become JSON and are read from it; what is missing, unknown or of another type is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.run_records import RUN, SCORE
from tledge._io import files
from tledge._io.json_records import from_json, stored_as, to_json
from tledge.config import Stage
from tledge.contract import InputSpec
from tledge.run.folder import RunFolder
from tledge.run.records import ParityReport, ParityRow, Reference, Score


@dataclass(frozen=True)
class Part:
    name: str
    size: float = 1.0


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    main: Part | None
    spans: dict[str, tuple[int, float]]
    is_new: bool = field(metadata=stored_as("fresh"))
    options: Mapping[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


WHOLE = Whole((Part("a"), Part("b", 2.5)), None, {"x": (1, 0.5)}, True, {"any": [1, "b"]}, [{"epoch": 1}])
RAW: dict[str, Any] = to_json(WHOLE)


def test_what_is_written_is_read() -> None:
    assert from_json(Whole, json.loads(json.dumps(RAW))) == WHOLE


def test_key_in_json_may_differ_from_the_name() -> None:
    assert RAW["fresh"] is True and "is_new" not in RAW


def test_fields_with_defaults_may_be_missing() -> None:
    assert from_json(Part, {"name": "a"}) == Part("a", 1.0)


def test_null_is_read_where_it_is_allowed() -> None:
    assert from_json(Whole, {**RAW, "main": {"name": "c"}}).main == Part("c")
    with pytest.raises(ValueError, match=r"^name is None, expected str$"):
        from_json(Part, {"name": None})


def test_whole_numbers_are_floats_too() -> None:
    assert from_json(Part, {"name": "a", "size": 2}).size == 2


def test_union_takes_the_first_that_fits() -> None:
    assert from_json(Stage, {"unfreeze": 30}).unfreeze == 30
    assert from_json(Stage, {"unfreeze": "all"}).unfreeze == "all"
    with pytest.raises(ValueError, match=r"^unfreeze is \[\], expected int$"):
        from_json(Stage, {"unfreeze": []})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": [{"size": 1.0}]}, r"^run\.parts\[0\]\.name is missing$"),
        ({"parts": [{"name": "a", "colour": 1}]}, r"^'run\.parts\[0\]\.colour' is unknown$"),
        ({"parts": {"name": "a"}}, r"^run\.parts is \{'name': 'a'\}, expected a list$"),
        ({"parts": "ab"}, r"^run\.parts is 'ab', expected a list$"),
        ({"main": []}, r"^run\.main is \[\], expected an object$"),
        ({"spans": {"x": [1]}}, r"^run\.spans\.x is \[1\], expected 2 values$"),
        ({"spans": {"x": ["1", 0.5]}}, r"^run\.spans\.x\[0\] is '1', expected int$"),
        ({"spans": []}, r"^run\.spans is \[\], expected an object$"),
        ({"fresh": 1}, r"^run\.fresh is 1, expected bool$"),
        ({"is_new": True}, r"^'run\.is_new' is unknown$"),
    ],
)
def test_first_fault_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(Whole, {**RAW, **change}, "run")


def test_anything_but_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^it is \[\], expected an object$"):
        from_json(Part, [])


@pytest.mark.parametrize("images", ["1", True, None, 1.5])
def test_numbers_are_no_text_and_no_booleans(images: object) -> None:
    raw = {"images": images, "accuracy": 0.5, "low": 0.4, "high": 0.6}
    with pytest.raises(ValueError, match=r"^images is .*, expected int$"):
        from_json(Score, raw)


def test_records_of_a_run_are_read() -> None:
    row = ParityRow("a", "b", "c", 1, "passed", recall={"x": (1, 0.5, 0.5)}, reasons=("a",))
    report = ParityReport(True, Reference(0.5, 36), (row,))
    assert from_json(ParityReport, to_json(report)) == report
    assert from_json(InputSpec, to_json(InputSpec(8, 8))) == InputSpec(8, 8)


def test_run_json_of_earlier_versions_opens(tmp_path: Path) -> None:
    """The score after the first stage was called `frozen`, and still is in the file."""
    folder = RunFolder(tmp_path)
    files.write_json(folder.run, RUN)
    raw = json.loads(folder.run.read_text(encoding="utf-8"))
    assert raw["frozen"] == raw["validation"]
    assert "first_stage_validation" not in raw
    assert folder.read_run() == RUN
    assert folder.read_run().first_stage_validation == SCORE
