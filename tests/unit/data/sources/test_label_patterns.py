"""Patterns that find labels in names: what they match, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.photo_folders import data_of
from tests.helpers.sources import fails, read, touch
from tledge.data.sources import folder
from tledge.data.sources.label_patterns import parse, without_ending
from tledge.data.sources.options import source_options, stored_options, with_defaults
from tledge.errors import RecipeError


@pytest.mark.parametrize(
    ("pattern", "path", "label"),
    [
        ("name:{label}.*", "train/cat.0.jpg", "cat"),
        ("name:{label}_*", "n01440764_18.JPEG", "n01440764"),
        ("name:*_{label}", "0003_tulip.png", "tulip"),
        ("name:{label}_{number}", "great_pyrenees_173.jpg", "great_pyrenees"),
        ("name:{label}{number}", "a/b/rose12.webp", "rose"),
        ("name:{label}{number}", "7up12.webp", "7up"),
        ("name:{label} ({number})", "wild boar (3).png", "wild boar"),
        ("name:{label}-*", "猫-写真-1.jpg", "猫-写真"),
        ("name:IMG_*__{label}", "IMG_2020_01__{x}.jpg", "{x}"),
        ("name:{label}", "cat.jpg", "cat"),
        ("name:{label}_{number}", "scan_001", "scan"),
        ("path:{label}/*/*", "cat/part1/1.jpg", "cat"),
        ("path:*/{label}/*", "fold1/cat/1.jpg", "cat"),
        ("path:{label}/**", "cat/a/b/c/1.jpg", "cat"),
        ("path:**/{label}/*", "a/b/cat/1.jpg", "cat"),
        ("path:{split}/{label}/**", "test/cat/part/1.jpg", "cat"),
    ],
)
def test_labels_are_found(pattern: str, path: str, label: str) -> None:
    made = parse(pattern)
    assert made
    found = made.match(path.split("/"))
    assert found and found[1] == label


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("name:{label}.*", "test1/1.jpg"),
        ("name:{label}_{number}", "cat_x.jpg"),
        ("name: {label}_*", "cat_1.jpg"),
        ("name:{label}_*", " _1.jpg"),
        ("path:{label}/*/*", "cat/1.jpg"),
        ("path:{label}/*", "cat/part/1.jpg"),
    ],
)
def test_other_names_do_not_fit(pattern: str, path: str) -> None:
    made = parse(pattern)
    assert made and made.match(path.split("/")) is None


@pytest.mark.parametrize(
    ("pattern", "path", "split"),
    [
        ("name:{label}_*", "cat_1.jpg", "train"),
        ("name:{label}_*", "valid/cat_1.jpg", "valid"),
        ("name:{label}_*", "test/deep/cat_1.jpg", "test"),
        ("path:*/{label}_*", "anything/cat_1.jpg", "train"),
        ("path:{label}/{split}/*", "cat/test/1.jpg", "test"),
    ],
)
def test_splits_are_found(pattern: str, path: str, split: str) -> None:
    made = parse(pattern)
    assert made
    found = made.match(path.split("/"))
    assert found and found[0] == split


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'expected "folder", "name:PATTERN"'),
        ("name", 'expected "folder", "name:PATTERN"'),
        ("{label}_*", 'expected "folder", "name:PATTERN"'),
        ("names:{label}_*", "Did you mean 'name'?"),
        ("name:{lable}_*", "no placeholder {lable} in 'name:{lable}_*'"),
        ("name:{lable}_*", "Known: {label}, {number}, *. Did you mean 'label'?"),
        ("name:{split}_{label}", "no placeholder {split}"),
        ("name:*_*", "with {label} once"),
        ("name:{label}_{label}", "with {label} once"),
        ("name:{label}/*", 'a name holds no "/"; use "path:{label}/*"'),
        ("name:{label", "a brace without its other half"),
        ("name:label}", "a brace without its other half"),
        ("path:{split}/{split}/{label}", "with {label} once"),
        ("name:{label}" + "_*" * 8, "more than 8 wildcards"),
    ],
)  # fmt: skip
def test_bad_patterns_are_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        parse(text)


def test_folder_is_the_default() -> None:
    assert parse("folder") is None
    assert folder.OPTIONS["label_from"] == "folder"


def test_pattern_is_checked_with_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no placeholder \{labl\}"):
        source_options(replace(data_of(tmp_path), options={"label_from": "name:{labl}"}))


@pytest.mark.parametrize(
    ("name", "stem"), [("a.b.JPG", "a.b"), ("cat.0", "cat.0"), ("x", "x"), ("a.xyz", "a.xyz"), ("b.jp2", "b")]
)
def test_endings_of_images_do_not_count(name: str, stem: str) -> None:
    assert without_ending(name) == stem


def test_folder_reads_labels_from_names(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg", "test1/2.jpg", "train/x.txt")
    options = {"path": str(tmp_path), "label_from": "name:{label}.*"}
    found = [(one.id, one.split, one.label) for one in read(folder, **options)]
    assert found == [("train/cat.0.jpg", "train", "cat"), ("train/dog.0.jpg", "train", "dog")]
    scan = folder.scan(options)
    assert scan.count() == 2
    assert scan.left_out()["no label"].examples == ("test1/1.jpg", "test1/2.jpg")


def test_folder_without_a_fitting_name(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/2.jpg")
    message = fails(folder, path=str(tmp_path), label_from="name:{label}_*")
    assert (
        "no photo fits [data] label_from = 'name:{label}_*'; 2 photos are there: a/1.jpg, a/2.jpg." in message
    )


def test_unused_options_leave_the_cache_as_it_is() -> None:
    """A recipe without the newer options finds the cache that was made before they came."""
    plain = {"path": "x", "label_from": "folder"}
    assert stored_options("folder", plain) == {"path": "x"}
    assert with_defaults("folder", {"path": "x"}) == plain
    changed = {"path": "x", "label_from": "name:{label}_*"}
    assert stored_options("folder", changed) == with_defaults("folder", changed) == changed
