"""Tables as other tools write them: paths of photos, columns of labels, encodings and delimiters."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers.photo_folders import photo
from tests.helpers.sources import fails, options, prepared, read, touch
from tledge.config import Data
from tledge.data.sources import csv
from tledge.data.sources.options import source_options, stored_options
from tledge.errors import MissingError, RecipeError

Found = list[tuple[str, str]]


def table(root: Path, *lines: str, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def found(path: Path | str, **chosen: object) -> Found:
    return [(one.id, one.label) for one in read(csv, path=str(path), **chosen)]


@pytest.mark.parametrize(
    ("files", "cells", "chosen", "ids"),
    [
        (["train/a.jpg", "train/b.jpg"], ["a", "b"], {"folder": "train", "ending": ".jpg"}, None),
        (["a.PNG", "b.png"], ["a.PNG", "b"], {"ending": ".png"}, None),
        (["p/q/a.jpg", "p/q/b.jpg"], ["q/a.jpg", "q/b.jpg"], {"folder": "p"}, None),
        (["m/a.jpg", "m/b.jpg"], ["/data/a.jpg", "/data/b.jpg"], {"prefixes": {"/data/": "m/"}}, None),
        (["m/1.jpg", "n/2.jpg"], ["s3://x/1.jpg", "s3://x/y/2.jpg"],
         {"prefixes": {"s3://x/": "m/", "s3://x/y/": "n/"}}, None),
        (["p/a.jpg", "p/b.jpg"], ["p\\a.jpg", "p\\b.jpg"], {}, None),
        (["a b.jpg", "c/d e.jpg"], ["a%20b.jpg", "c/d%20e.jpg"], {}, None),
        (["x/p/1.jpg", "x/p/2.jpg"], ["D:\\fotos\\p\\1.jpg", "D:\\fotos\\p\\2.jpg"],
         {"prefixes": {"D:/fotos/": "x/"}}, None),
        (["a/1.jpg", "a/2.jpg"], ["1", "2"], {"folder": "./a", "ending": ".jpg"}, ["./a/1.jpg", "./a/2.jpg"]),
    ],
)  # fmt: skip
def test_paths_lead_to_photos(
    tmp_path: Path, files: list[str], cells: list[str], chosen: Mapping[str, object], ids: list[str] | None
) -> None:
    touch(tmp_path, *files)
    path = table(
        tmp_path, "path,label", *(f"{cell},{label}" for cell, label in zip(cells, "xy", strict=True))
    )
    assert found(path, **chosen) == list(zip(ids or files, "xy", strict=True))


def test_photos_in_a_folder_elsewhere(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg")
    path = table(tmp_path, "path,label", "1,x", "2,y", name="annotations/t.csv")
    assert found(path, folder="../images", ending=".jpg") == [
        ("../images/1.jpg", "x"),
        ("../images/2.jpg", "y"),
    ]
    assert found(path, folder=str(tmp_path / "images"), ending=".jpg")[0] == (f"{tmp_path}/images/1.jpg", "x")


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not allowed there")
def test_a_name_with_a_backslash_is_kept(tmp_path: Path) -> None:
    touch(tmp_path, "a\\b.jpg", "a/b.jpg", "c%20.jpg", "c .jpg")
    path = table(tmp_path, "path,label", "a\\b.jpg,x", "c%20.jpg,y")
    assert found(path) == [("a\\b.jpg", "x"), ("c%20.jpg", "y")]


PROPOSALS = {
    'folder = "train", ending = ".jpg"': (["train/{}.jpg"], "{}"),
    'folder = "a/b"': (["a/b/{}.png"], "{}.png"),
    'ending = ".jpeg"': (["{}.jpeg"], "{}"),
    'prefixes = { "/data/" = "media/" }': (["media/upload/1/{}-x.jpg"], "/data/upload/1/{}-x.jpg"),
    'prefixes = { "/data/local-files/?d=" = "" }': (["photos/{}.jpg"], "/data/local-files/?d=photos/{}.jpg"),
    'prefixes = { "C:/Users/me/" = "" }': (["fotos/{}.jpg"], "C:\\Users\\me\\fotos\\{}.jpg"),
    'ending = ".png", prefixes = { "gs://b/" = "img/" }': (["img/{}.png"], "gs://b/{}"),
}


@pytest.mark.parametrize("setting", PROPOSALS)
def test_options_are_proposed_and_help(tmp_path: Path, setting: str) -> None:
    files, cell = PROPOSALS[setting]
    for number in range(10, 22):
        touch(tmp_path, *(file.format(number) for file in files))
    path = table(tmp_path, "path,label", *(f"{cell.format(number)},{number % 2}" for number in range(10, 22)))
    first, advice = fails(csv, path=str(path)).split("\n")
    assert "12 of 12 lines are like line 2" in first
    assert advice == f"They are found with [data] {setting}."
    chosen = tomllib.loads(re.sub(r", (?=[a-z]+ = )", "\n", setting))
    assert len(found(path, **chosen)) == 12


def test_no_option_is_proposed_for_other_photos(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.jpg")
    path = table(tmp_path, "path,label", *(f"other{number},x" for number in range(9)))
    assert "They are found" not in fails(csv, path=str(path))


ONE_HOT = ["filename, beagle, husky", "a.jpg,1,0", "b.jpg,0,1"]


@pytest.mark.parametrize(
    ("lines", "label_columns"),
    [
        (ONE_HOT, ["*"]),
        (ONE_HOT, ["beagle", "husky"]),
        (["husky,filename,beagle", "FALSE,a.jpg,TRUE", "True,b.jpg,"], ["*"]),
        (["filename,beagle,husky,width", "a.jpg,1.0,0.0,64", "b.jpg,0.0,1.0,32"], ["beagle", "husky"]),
    ],
)
def test_a_column_for_each_label(tmp_path: Path, lines: list[str], label_columns: list[str]) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    made = found(table(tmp_path, *lines), image="filename", label_columns=label_columns)
    assert made == [("a.jpg", "beagle"), ("b.jpg", "husky")]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.jpg,0,0", "'a.jpg': no column with 1, expected one label. Remove the row."),
        ("a.jpg,1,1", "'a.jpg': 2 columns ('beagle', 'husky') with 1, expected one label"),
        ("a.jpg,0.7,0.3", "'0.7' in column 'beagle': expected 1 or 0."),
    ],
)
def test_rows_of_no_single_label(tmp_path: Path, row: str, words: str) -> None:
    touch(tmp_path, "a.jpg")
    path = table(tmp_path, ONE_HOT[0], row)
    assert words in fails(csv, path=str(path), image="filename", label_columns=["*"])


def test_a_split_column_is_no_label(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    path = table(tmp_path, "path,ant,bee,part", "a.jpg,1,0,train", "b.jpg,0,1,test")
    made = read(csv, path=str(path), label_columns=["*"], split="part")
    assert [(one.label, one.split) for one in made] == [("ant", "train"), ("bee", "test")]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("id,breed", 'Perhaps image = "id".'),
        ("path,breed,fold", 'Perhaps label = "breed".'),
        ("path,ant,bee", 'set label_columns = ["*"]'),
        ("path,Class Name,x", 'Perhaps label = "Class Name".'),
    ],
)
def test_likely_columns_are_named(tmp_path: Path, header: str, words: str) -> None:
    assert words in fails(csv, path=str(table(tmp_path, header)))


def test_unknown_label_column(tmp_path: Path) -> None:
    message = fails(csv, path=str(table(tmp_path, "path,ant,bee")), label_columns=["ant", "be"])
    assert "no column 'be'; the columns are 'path', 'ant', 'bee'" in message


@pytest.mark.parametrize(
    "name", ["{split}/_classes.csv", "{split}.csv", "labels_{split}.csv", "{split}/{split}.csv"]
)
def test_a_table_for_each_split(tmp_path: Path, name: str) -> None:
    for split, label in (("train", "x"), ("valid", "y"), ("test", "x")):
        path = table(tmp_path, "path,label", f"{split}1.jpg,{label}", name=name.format(split=split))
        touch(path.parent, f"{split}1.jpg")
    made = read(csv, path=str(tmp_path / name))
    assert [(one.split, one.label) for one in made] == [("test", "x"), ("train", "x"), ("valid", "y")]
    reader = csv.reader(options(csv, path=str(tmp_path / name)))
    assert [reader(one.id, 0, 0) for one in made] == [b"test1.jpg", b"train1.jpg", b"valid1.jpg"]


def test_a_photo_in_two_tables_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    for split in ("test", "train"):
        table(tmp_path, "path,label", "a.jpg,x", name=f"{split}.csv")
    message = fails(csv, path=str(tmp_path / "{split}.csv"))
    assert f"'a.jpg' with label 'x' was listed before, on line 2 of {tmp_path}/test.csv" in message


def test_no_table_for_any_split(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no CSV file fits"):
        csv.scan(options(csv, path=str(tmp_path / "{split}.csv")))


def test_tables_of_splits_are_prepared(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "test")):
        table(tmp_path, "path,label", "0.png,x", "1.png,y", name=f"{split}/t.csv")
        for image in range(2):
            (tmp_path / split / f"{image}.png").write_bytes(photo(10 * number + image))
    made = prepared(f"csv:{tmp_path}/{{split}}/t.csv")
    assert {row.id for row in made.rows} == {"train/0.png", "train/1.png", "test/0.png", "test/1.png"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_encodings_and_delimiters_are_recognized(tmp_path: Path, encoding: str, mark: str) -> None:
    touch(tmp_path, "grün.jpg", "b.jpg")
    path = table(tmp_path, f"path{mark}label", f"grün.jpg{mark}Äpfel", f"b.jpg{mark}猫", encoding=encoding)
    assert found(path) == [("grün.jpg", "Äpfel"), ("b.jpg", "猫")]


@pytest.mark.parametrize(("mark", "delimiter"), [(";", ","), ("\t", ","), (";", ";")])
def test_line_of_excel_is_understood(tmp_path: Path, mark: str, delimiter: str) -> None:
    touch(tmp_path, "a.jpg")
    path = table(tmp_path, f"sep={mark}", f"path{mark}label", f"a.jpg{mark}x")
    assert found(path, delimiter=delimiter) == [("a.jpg", "x")]
    table(tmp_path, f"sep={mark}", f"path{mark}label", f"b.jpg{mark}x")
    assert f"{path}:3: 'b.jpg'" in fails(csv, path=str(path), delimiter=delimiter)


def test_a_comma_in_a_header_is_the_delimiter(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    assert found(table(tmp_path, "path,label,a;b", "a.jpg,x;y,z")) == [("a.jpg", "x;y")]


@pytest.mark.parametrize(
    ("encoding", "label"),
    [("cp1252", "Äpfel"), ("cp1251", "кот"), ("shift_jis", "猫"), ("mac_roman", "Rosé")],
)
def test_other_encodings_are_told(tmp_path: Path, encoding: str, label: str) -> None:
    touch(tmp_path, "a.jpg")
    path = table(tmp_path, "path,label", f"a.jpg,{label}", encoding=encoding)
    assert '[data] encoding = "cp1252" is usual on Windows' in fails(csv, path=str(path))
    assert found(path, encoding=encoding) == [("a.jpg", label)]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"encoding": "cp12521"}, "no encoding 'cp12521'. Did you mean 'cp1252'?"),
        ({"encoding": "rot13"}, "no encoding 'rot13'"),
        ({"prefixes": {"": "x"}}, "prefixes: expected what paths begin with"),
        ({"prefixes": {"/data/": 1}}, "prefixes: expected what paths begin with"),
        ({"label_columns": [1]}, "label_columns: expected a list of columns"),
        ({"label_columns": ["*"], "label": "class"}, "label_columns: stands instead of label"),
        ({"split": "part", "path": "{split}.csv"}, "{split} in the path names the splits"),
        ({"delimiter": "::"}, "expected one character"),
    ],
)
def test_options_are_checked_with_the_recipe(chosen: dict[str, object], words: str) -> None:
    source = f"csv:{chosen.pop('path', 't.csv')}"
    with pytest.raises(RecipeError, match=re.escape(words)):
        source_options(Data(source=source, options=chosen))


def test_newer_options_leave_the_cache_as_it_is() -> None:
    before = {"path": "x", "image": "path", "label": "label", "split": "", "delimiter": ","}
    assert stored_options("csv", options(csv, path="x")) == before
    assert stored_options("csv", options(csv, path="x", ending=".jpg")) == {**before, "ending": ".jpg"}
