"""One label in each cell of a table: lists of one are that label, lists of several are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import sources
from tledge.data.sources import csv
from tledge.data.sources.csv_labels import label_in_cell, lists_of_labels


def table(folder: Path, *cells: str) -> str:
    """A table of photos with these cells as labels, quoted where that is necessary."""
    names = [f"{number}.png" for number in range(len(cells))]
    sources.touch(folder, *names)
    quoted = ('"' + cell.replace('"', '""') + '"' for cell in cells)
    lines = ["path,label", *(f"{name},{cell}" for name, cell in zip(names, quoted, strict=True))]
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    return str(folder / "table.csv")


@pytest.mark.parametrize(
    "cell",
    [
        '["daisy"]', '{"choices": ["daisy"]}', '[{"choices": ["daisy"]}]', "['daisy']", '{"label": "daisy"}',
        '{"id": 7, "choices": ["daisy"]}', "('daisy',)",
    ],
)  # fmt: skip
def test_list_of_one_is_that_label(cell: str) -> None:
    assert label_in_cell(cell) == ("daisy", True)


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        ('{"choices": ["daisy", "rose"]}', 2), ('["daisy", "rose", "iris"]', 3), ("['daisy', 'rose']", 2),
        ("['daisy' 'rose']", 2), ('{"labels": ["daisy", "daisy"]}', 2), ('{"a": "daisy", "b": "rose"}', 0),
    ],
)  # fmt: skip
def test_list_of_several_is_refused(cell: str, count: int) -> None:
    if not count:
        assert label_in_cell(cell) == (cell, False)
        return
    with pytest.raises(ValueError, match=f"holds {count} labels .*expected one"):
        label_in_cell(cell)


@pytest.mark.parametrize("cell", ["[]", "{}", '{"choices": []}'])
def test_empty_list_is_refused(cell: str) -> None:
    with pytest.raises(ValueError, match="holds no label"):
        label_in_cell(cell)


@pytest.mark.parametrize(
    "cell", ["daisy", "tench, Tinca tinca", "[unknown]", "(none)", "{x}", "[", "'daisy'", "[1.5]", "[" * 3000]
)
def test_other_text_is_a_label(cell: str) -> None:
    assert label_in_cell(cell) == (cell, False)


@pytest.mark.parametrize(
    ("cells", "lists"),
    [
        (["daisy", "rose", "daisy,rose"], {"daisy,rose"}),
        (["daisy", "rose", "daisy | rose"], {"daisy | rose"}),
        (["daisy", "rose", "{daisy;rose}"], {"{daisy;rose}"}),
        (["daisy", "daisy,rose", "iris,rose", "iris"], {"daisy,rose", "iris,rose"}),
        (["maillot", "maillot, tank suit", "tench, Tinca tinca"], set()),
        (["missile", "projectile, missile"], set()),
        (["Doe, Jo", "Roe, Jo", "Doe, Al"], set()),
        (["a,", ",", "a"], set()),
    ],
)
def test_lists_are_told_from_labels_with_commas(cells: list[str], lists: set[str]) -> None:
    assert set(lists_of_labels(cells)) == lists


def test_lines_with_several_labels_are_quoted(tmp_path: Path) -> None:
    message = sources.fails(csv, path=table(tmp_path, "daisy", "rose", "daisy,rose", '["daisy", "iris"]'))
    assert "table.csv:4: 'daisy,rose' holds 2 labels ('daisy', 'rose')" in message
    assert """write it as a list of one: ["daisy,rose"].""" in message
    assert "table.csv:5: " in message


def test_list_of_one_keeps_its_comma(tmp_path: Path) -> None:
    records = sources.read(csv, path=table(tmp_path, "daisy", "rose", '["daisy,rose"]', "tench, Tinca tinca"))
    assert [record.label for record in records] == ["daisy", "rose", "daisy,rose", "tench, Tinca tinca"]
