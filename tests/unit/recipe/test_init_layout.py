"""Where `tledge init` finds the labels: in folders, in parts of paths, in names of photos, in archives."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers.photo_folders import photo
from tests.helpers.sources import touch
from tledge.data import prepare, splits
from tledge.data.sources.split_names import role_of
from tledge.errors import DataError, RecipeError
from tledge.recipe import loader
from tledge.recipe.init import as_toml, recipe_text
from tledge.recipe.init_folder import look
from tledge.recipe.init_layout import Layout, find_layout

Names = Mapping[str, int]

ROOT = Path("/p")


def layout(names: Names) -> tuple[str, str]:
    """The folder and the pattern of photos "folder/cat_{}.jpg", so many of each."""
    photos = [name.format(number) for name, count in names.items() for number in range(count)]
    found = find_layout(ROOT, sorted(tuple(name.split("/")) for name in photos))
    return found.root.relative_to(ROOT).as_posix(), found.label_from


@pytest.mark.parametrize(
    ("names", "label_from"),
    [
        ({"train/cat.{}.jpg": 9, "train/dog.{}.jpg": 9, "test1/{}.jpg": 5}, "name:{label}.{number}"),
        ({"train/cat.{}.jpg": 9, "train/dog.{}.jpg": 9}, "name:{label}.{number}"),
        ({"n01440764_{}.JPEG": 9, "n01443537_{}.JPEG": 9}, "name:{label}_{number}"),
        ({"{:04d}_tulip.png": 9, "{:04d}_rose.png": 9}, "name:{number}_{label}"),
        ({"great_pyrenees_{}.jpg": 9, "pug_{}.jpg": 9}, "name:{label}_{number}"),
        ({"wild boar ({}).png": 5, "roe deer ({}).png": 5}, "name:{label} ({number})"),
        ({"rose{}": 5, "tulip{}": 5}, "name:{label}{number}"),
        ({"img_{}_cat.jpg": 5, "img_{}_dog.jpg": 5}, "name:*_{number}_{label}"),
        ({"cat-a{}x.jpg": 5, "dog-a{}x.jpg": 5}, "name:{label}-*"),
        ({"Training/a_{}.jpg": 5, "Training/b_{}.jpg": 5, "valid/a_{}.jpg": 2}, "name:{label}_{number}"),
        ({"train/train/cat.{}.jpg": 5, "train/train/dog.{}.jpg": 5, "test/test/{}.jpg": 5},
         "name:{label}.{number}"),
        ({"images/cat_{}.jpg": 5, "raw/dog_{}.jpg": 5}, "path:**/{label}_{number}"),
    ],
)  # fmt: skip
def test_labels_are_in_names(names: Names, label_from: str) -> None:
    assert layout(names) == (".", label_from)


@pytest.mark.parametrize(
    "names",
    [
        {"train/{}.jpg": 9, "test/{}.jpg": 9},
        {"train/IMG_{}.jpg": 9, "test/IMG_{}.jpg": 5},
        {"IMG_{}.jpg": 9},
        {"1_{}.jpg": 9, "2_{}.jpg": 9},
        {"cat_{}.jpg": 9, "dog_{}.jpg": 1, "eel_{}.jpg": 1},
        {"train/cat_{}.jpg": 4, "train/dog_{}.jpg": 4, "train/{}.jpg": 9},
    ],
)
def test_names_without_labels(names: Names) -> None:
    assert layout(names) == (".", "folder")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"cat/{}.jpg": 4, "dog/{}.jpg": 4}, (".", "folder")),
        ({"train/{}.jpg": 4, "bus/{}.jpg": 4}, (".", "folder")),
        ({"train/cat/{}.jpg": 4, "test_set/cat/{}.jpg": 4}, (".", "folder")),
        ({"PlantVillage/scab/{}.jpg": 4, "PlantVillage/rust/{}.jpg": 4}, ("PlantVillage", "folder")),
        ({"a/b/train/cat/{}.jpg": 4, "a/b/test/cat/{}.jpg": 4}, ("a/b", "folder")),
        ({"images/cat_{}.jpg": 4, "images/dog_{}.jpg": 4}, ("images", "name:{label}_{number}")),
        ({"cat/part1/{}.jpg": 4, "cat/part2/{}.jpg": 4, "dog/part1/{}.jpg": 4}, (".", "path:{label}/*/*")),
        ({"cat/2024-05-01/{}.jpg": 4, "dog/2024-05-01/{}.jpg": 4}, (".", "path:{label}/*/*")),
        ({"fold1/cat/{}.jpg": 4, "fold2/cat/{}.jpg": 4, "fold2/dog/{}.jpg": 4}, (".", "path:*/{label}/*")),
        (
            {"cat/train/{}.jpg": 4, "cat/test/{}.jpg": 4, "dog/train/{}.jpg": 4},
            (".", "path:{label}/{split}/*"),
        ),
        ({"cat/indoor/{}.jpg": 4, "dog/garden/{}.jpg": 4}, (".", "path:{label}/*/*")),
        ({"cat/{}.jpg": 4, "dog/small/{}.jpg": 4, "dog/{}.jpg": 4}, (".", "path:{label}/**")),
        ({"cat/a/b/{}.jpg": 4, "dog/c/d/{}.jpg": 4}, (".", "path:{label}/**")),
        ({"train/cat/a/{}.jpg": 4, "test/cat/b/{}.jpg": 4}, (".", "path:{split}/{label}/**")),
        ({"train/cat/{}.jpg": 4, "train/dog/{}.jpg": 4, "test1/{}.jpg": 4}, (".", "path:{split}/{label}/**")),
        ({"images/cat/{}.jpg": 4, "data/dog/{}.jpg": 4}, (".", "path:*/{label}/**")),
        ({"cat/{}.jpg": 4, "train/dog/{}.jpg": 4}, (".", "folder")),
        ({"train/{}.jpg": 4, "train/dog/{}.jpg": 4}, (".", "folder")),
        ({}, (".", "folder")),
    ],
)
def test_labels_are_in_folders(names: Names, expected: tuple[str, str]) -> None:
    assert layout(names) == expected


@pytest.mark.parametrize(
    "names",
    [
        {"color/scab/{}.jpg": 4, "color/rust/{}.jpg": 4, "grey/scab/{}.jpg": 4, "grey/rust/{}.jpg": 4},
        {"p/color/scab/{}.jpg": 4, "p/grey/scab/{}.jpg": 4, "p/grey/rust/{}.jpg": 4},
    ],
)
def test_two_levels_that_could_be_labels(names: Names) -> None:
    with pytest.raises(DataError, match=r"Did you mean /p/(p/)?color\? Or say where.*'path:\*/\{label\}/\*'"):
        layout(names)


def test_several_data_sets_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"beans, rps each hold splits, as data sets do. Did you mean /p/beans\?"
    ):
        layout({"beans/train/rust/{}.jpg": 4, "beans/test/rust/{}.jpg": 4, "rps/train/rock/{}.jpg": 4})


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train", "train"), ("TRAINING", "train"), ("train_set", "train"), ("Training Images", "train"),
        ("test1", "test"), ("test-2", "test"), ("testset", "test"), ("val", "validation"),
        ("valid_data", "validation"),
        ("trainer", ""), ("tests of cats", ""), ("valley", ""), ("images", ""), ("set", ""), ("cat1", ""),
    ],
)  # fmt: skip
def test_roles(name: str, role: str) -> None:
    assert role_of(name) == role


def drawn(root: Path, *names: str) -> Path:
    """Photos "folder/cat_{}.png", 12 of each."""
    for kind, name in enumerate(names):
        for number in range(12):
            path = root / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(100 * kind + number))
    return root


@pytest.mark.parametrize(
    "names",
    [
        ("train/cat.{}.png", "train/dog.{}.png"),
        ("flowers/{:03d}_rose.png", "flowers/{:03d}_tulip.png"),
        ("cat/day1/{}.png", "dog/day1/{}.png", "dog/day2/{}.png"),
        ("cat/train/{}.png", "dog/train/{}.png", "cat/test/{}.png", "dog/test/{}.png"),
        ("wrapper/cat/{}.png", "wrapper/dog/{}.png"),
    ],
)
def test_recipe_is_accepted(tmp_path: Path, names: tuple[str, ...]) -> None:
    """What init writes can be prepared and split, with the labels and counts that it found."""
    folder = look(drawn(tmp_path / "photos", *names))
    made = loader.parse(recipe_text(folder, "pets"), "pets.toml")
    prepared = prepare.prepare_dataset(made.data, 32)
    assert set(prepared.labels) == set(folder.labels) and len(folder.labels) == 2
    assert len(prepared.rows) == 12 * len(names)
    assert all(len(rows) for rows in splits.split(prepared, made.data, 0).values())


def test_reason_is_written(tmp_path: Path) -> None:
    text = recipe_text(
        look(drawn(tmp_path / "p", "flowers/{:03d}_rose.png", "flowers/{:03d}_tulip.png")), "x"
    )
    assert (
        "# The photos are in 'flowers': there is nothing else in 'p'. The label of '000_rose.png' is" in text
    )
    assert f'source = "folder:{tmp_path}/p/flowers"\nlabel_from = "name:{{number}}_{{label}}"\n' in text


def test_given_pattern_is_taken(tmp_path: Path) -> None:
    root = drawn(
        tmp_path / "p", "color/scab/{}.png", "color/rust/{}.png", "grey/scab/{}.png", "grey/rust/{}.png"
    )
    folder = look(root, "path:*/{label}/*")
    assert folder.splits == {"train": {"rust": 24, "scab": 24}}
    assert folder.options == {"label_from": "path:*/{label}/*"}
    with pytest.raises(RecipeError, match="no placeholder"):
        look(root, "path:{lable}/*")


def test_files_left_out_are_counted(tmp_path: Path) -> None:
    root = drawn(tmp_path / "p", "cat/{}.png", "dog/{}.png")
    touch(root, "cat/.DS_Store", "cat/a.raw", "notes.txt")
    (root / "bird").mkdir()
    assert {reason: group.count for reason, group in look(root).left_out.items()} == {
        "unknown ending": 2, "folder without photos": 1, "hidden": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "module"), [("my photos.zip", "zipfile"), ("p.tar.gz", "tarfile"), ("p.tgz", "tarfile")]
)
def test_archive_is_refused_with_what_to_type(tmp_path: Path, name: str, module: str) -> None:
    path = tmp_path / name
    touch(tmp_path, "x/cat/1.jpg")
    if module == "zipfile":
        zipfile.ZipFile(path, "w").close()
    else:
        tarfile.open(path, "w:gz").close()
    with pytest.raises(DataError, match=re.escape("an archive, expected a folder. Unpack it")) as refused:
        look(path)
    assert f"python -m {module} -e " in str(refused.value)
    assert str(refused.value).count(name.partition(".")[0]) >= 3


def test_missing_archive_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such folder"):
        look(tmp_path / "p.zip")


@pytest.mark.parametrize(
    ("files", "table"),
    [
        (["1.jpg", "2.jpg", "labels.csv"], "labels.csv"),
        (["train/1.jpg", "valid/2.jpg", "train/_classes.csv", "valid/_classes.csv"], "{split}/_classes.csv"),
        (["train/1.jpg", "test/2.jpg", "b.csv", "a.csv"], "a.csv"),
    ],
)
def test_table_beside_the_photos_is_pointed_at(tmp_path: Path, files: list[str], table: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"The labels may be in {tmp_path / table}: tledge init ")):
        look(touch(tmp_path, *files))


def test_split_folders_say_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"split folders without label folders.*label_from = .name:\{label\}_\*."
    ):
        look(touch(tmp_path, *(f"train/{number}.jpg" for number in range(9))))


@pytest.mark.parametrize(
    ("value", "text"),
    [('a"b', '"a\\"b"'), (["*"], '["*"]'), ({"/data/": "m/"}, '{ "/data/" = "m/" }'), ([], "[]")],
)
def test_options_as_toml(value: object, text: str) -> None:
    assert as_toml(value) == text
    assert isinstance(find_layout(ROOT, []), Layout)
