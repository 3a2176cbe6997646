"""`tledge init` of a CSV file: columns, paths, splits and encodings are found, and the recipe is accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.helpers.photo_folders import photo
from tledge.data import prepare, splits
from tledge.errors import DataError, MissingError
from tledge.recipe import init_csv, loader
from tledge.recipe.init import recipe_text

COUNT = 24


def table(root: Path, name: str, header: str, rows: Sequence[str], encoding: str = "utf-8") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join((header, *rows)) + "\n").encode(encoding))
    return path


def photos(root: Path, name: str, start: int = 0) -> None:
    for number in range(start, start + COUNT):
        path = root / name.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(number))


def rows(row: str, labels: Sequence[str] = ("rose", "tulip"), start: int = 0) -> list[str]:
    """Rows with {} for the number and {label}."""
    return [
        row.format(number, label=labels[number % 2], flags="1,0" if number % 2 == 0 else "0,1")
        for number in range(start, start + COUNT)
    ]


CASES: Mapping[str, tuple[str, str, str, Mapping[str, object]]] = {
    "plain": ("{}.png", "path,label", "{}.png,{label}", {}),
    "ids": (
        "train/{}.png", "id,breed", "{},{label}",
        {"image": "id", "label": "breed", "folder": "train", "ending": ".png"},
    ),
    "one hot": (
        "{}.png", "filename, rose, tulip", "{}.png,{flags}", {"image": "filename", "label_columns": ["*"]},
    ),
    "one hot and more": (
        "{}.png", "filename,width,rose,tulip", "{}.png,32,{flags}",
        {"image": "filename", "label_columns": ["rose", "tulip"]},
    ),
    "prefixes": (
        "media/upload/1/{}-x.png", "annotation_id,choice,image", "{0},{label},/data/upload/1/{0}-x.png",
        {"image": "image", "label": "choice", "prefixes": {"/data/": "media/"}},
    ),
    "backslashes": (
        "bilder/{}.png", "Datei;Blume", "bilder\\{}.png;{label}", {"image": "Datei", "label": "Blume"},
    ),
    "other name": ("{}.png", "photo,kind", "{}.png,{label}", {"image": "photo", "label": "kind"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_options_are_found_and_accepted(tmp_path: Path, case: str) -> None:
    files, header, row, expected = CASES[case]
    photos(tmp_path, files)
    folder = init_csv.look(table(tmp_path, "t.csv", header, rows(row)))
    assert folder.options == expected
    assert folder.splits == {"train": {"rose": 12, "tulip": 12}}
    made = loader.parse(recipe_text(folder, "flowers"), "flowers.toml")
    assert made.data.source == f"csv:{tmp_path}/t.csv" and made.data.options == expected
    prepared = prepare.prepare_dataset(made.data, 32)
    assert len(prepared.rows) == COUNT
    assert all(len(chosen) for chosen in splits.split(prepared, made.data, 0).values())


def test_column_of_splits(tmp_path: Path) -> None:
    photos(tmp_path, "{}.png")
    lines = [
        f"{line},{'test' if number > 15 else 'train'}" for number, line in enumerate(rows("{}.png,{label}"))
    ]
    folder = init_csv.look(table(tmp_path, "t.csv", "path,label,Split", lines))
    assert folder.options == {"split": "Split"}
    assert folder.splits == {"test": {"rose": 4, "tulip": 4}, "train": {"rose": 8, "tulip": 8}}
    assert loader.parse(recipe_text(folder, "x"), "x.toml").data.splits.test.origin == "test"


def test_column_of_other_parts_is_no_split(tmp_path: Path) -> None:
    photos(tmp_path, "{}.png")
    folder = init_csv.look(table(tmp_path, "t.csv", "path,label,set", rows("{}.png,{label},fold1")))
    assert folder.options == {}


def test_table_for_each_split(tmp_path: Path) -> None:
    for start, split in ((0, "train"), (100, "valid")):
        photos(tmp_path, split + "/{}.png", start)
        table(tmp_path, f"{split}/_classes.csv", "filename, rose, tulip", rows("{}.png,{flags}", start=start))
    path = tmp_path / "{split}" / "_classes.csv"
    assert init_csv.is_table(path) and init_csv.folder_of(path) == tmp_path
    folder = init_csv.look(path)
    assert folder.splits == {"train": {"rose": 12, "tulip": 12}, "valid": {"rose": 12, "tulip": 12}}
    made = loader.parse(recipe_text(folder, "x"), "x.toml")
    assert len(prepare.prepare_dataset(made.data, 32).rows) == 2 * COUNT


@pytest.mark.parametrize(
    ("encoding", "option"), [("utf-8-sig", {}), ("utf-16", {}), ("cp1252", {"encoding": "cp1252"})]
)
def test_encodings(tmp_path: Path, encoding: str, option: Mapping[str, object]) -> None:
    photos(tmp_path, "{}.png")
    labels = ("Rosé", "Blüte")
    folder = init_csv.look(table(tmp_path, "t.csv", "path,label", rows("{}.png,{label}", labels), encoding))
    assert folder.options == option and set(folder.labels) == set(labels)
    assert ("cp1252 is likely" in recipe_text(folder, "x")) == bool(option)


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("a,b", "x,y", "no column of photos among 'a', 'b'"),
        ("path,a,b", "{}.png,{label},z", "no column of labels is recognized among 'a', 'b'"),
        ("path,label", "gone{}.png,{label}", "24 of 24 lines are like line 2: 'gone0.png': no such photo"),
        ("path,label", "{}.png,rose", "only one label, 'rose'"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, header: str, row: str, words: str) -> None:
    photos(tmp_path, "{}.png")
    with pytest.raises(DataError, match=words):
        init_csv.look(table(tmp_path, "t.csv", header, rows(row)))


def test_empty_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    with pytest.raises(DataError, match="no column of photos among none"):
        init_csv.look(tmp_path / "t.csv")


def test_missing_tables(tmp_path: Path) -> None:
    assert not init_csv.is_table(tmp_path / "t.csv") and not init_csv.is_table(tmp_path)
    with pytest.raises(MissingError, match="no CSV file fits"):
        init_csv.look(tmp_path / "{split}.csv")
