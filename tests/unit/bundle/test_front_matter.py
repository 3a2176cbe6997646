"""The front matter of a model card, read as Hugging Face reads it: YAML with the keys that it knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.run_records import RUN
from tledge.bundle import front_matter
from tledge.bundle.run_summary import Summary
from tledge.run.records import ParityRow

yaml = pytest.importorskip("yaml")

KNOWN = {
    "license", "license_name", "license_link", "language", "library_name", "tags", "datasets", "metrics",
    "base_model", "pipeline_tag", "model-index", "thumbnail",
}  # fmt: skip

ROWS = (
    ParityRow("tflite-fp32", "a", "b", 1, "passed", accuracy=0.875),
    ParityRow("tflite-int8", "a", "b", 1, "undecided", accuracy=0.861, provisional=True),
    ParityRow("onnx-fp32", "a", "b", 1, "passed", accuracy=0.875),
)


def parsed(name: str = "flowers", rows: tuple[ParityRow, ...] = ROWS) -> dict[str, Any]:
    text = front_matter.text(Summary(replace(RUN, name=name)), rows)
    start, inner, end = text.split("---\n")
    assert start == end == ""
    found = yaml.safe_load(inner)
    assert isinstance(found, dict) and set(found) <= KNOWN
    return found


def test_keys_that_a_model_page_shows() -> None:
    found = parsed()
    assert found["pipeline_tag"] == "image-classification" and found["library_name"] == "litert"
    assert found["metrics"] == ["accuracy"] and found["license"] == "unknown"
    assert {"image-classification", "litert", "onnx", "quantized"} <= set(found["tags"])
    assert parsed(rows=ROWS[2:])["library_name"] == "onnx"


def test_figures_are_those_of_artifacts_that_passed() -> None:
    (model,) = parsed()["model-index"]
    (result,) = model["results"]
    assert model["name"] == "flowers" and result["task"]["type"] == "image-classification"
    assert {"type", "name", "split"} <= set(result["dataset"])
    shown = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert shown == {
        "Accuracy, Keras model": round(RUN.test.accuracy, 4),
        "Accuracy, tflite-fp32": 0.875,
        "Accuracy, onnx-fp32": 0.875,
    }
    assert {metric["type"] for metric in result["metrics"]} == {"accuracy"}


@settings(max_examples=30)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_name_is_markup(name: str) -> None:
    assert parsed(name)["model-index"][0]["name"] == name


@pytest.mark.parametrize(
    "name", ["yes", "null", "1.5", "a: b", "- x", "---", "# x", "'", "0x1f", "x\x7f\x85"]
)
def test_words_that_yaml_reads_as_something_else(name: str) -> None:
    assert parsed(name)["model-index"][0]["name"] == name
