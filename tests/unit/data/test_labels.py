"""The rule for labels: which spellings are one, which are refused, and the order of the classes."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.photo_folders import photo
from tledge import contract
from tledge._io import files
from tledge.config import Data, SplitPart, Splits
from tledge.data import cache, cache_archive, inspection, labels, prepare, splits
from tledge.data.labels import class_list
from tledge.data.sources import folder as folder_source
from tledge.errors import DataError, MissingError, RecipeError
from tledge.run.folder import RunFolder
from tledge.training import resume_guard
from tledge.training.batches import Examples

pytestmark = pytest.mark.usefixtures("cache_root")

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Rosé") for form in ("NFC", "NFD"))


def folder_of(root: Path, *places: str, each: int = 4) -> Path:
    """A folder of photos: so many in each of these places below it."""
    for number, place in enumerate(places):
        (root / place).mkdir(parents=True)
        for index in range(each):
            (root / place / f"{index}.png").write_bytes(photo(100 * number + index))
    return root


def prepared(root: Path, **keys: object) -> cache.Prepared:
    return prepare.prepare_dataset(Data(source=f"folder:{root}", **keys), 16)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spelling",
    [DECOMPOSED, f"{COMPOSED} ", f"\u00a0{COMPOSED}", f"\u200b {DECOMPOSED}\u200b", f"\ufeff{COMPOSED}\t"],
)
def test_spellings_are_one_label_with_a_remark(spelling: str) -> None:
    classes = class_list([COMPOSED, spelling, "iris"])
    assert classes.names == (COMPOSED, "iris")
    assert classes.spellings == {spelling: COMPOSED}
    assert len(classes.merged) == 1 and repr(spelling) in classes.merged[0]


def test_remark_shows_the_difference() -> None:
    assert class_list([COMPOSED, DECOMPOSED]).merged == (
        f"'{DECOMPOSED}' (NFD) and '{COMPOSED}' (NFC) are one label, '{COMPOSED}'",
    )


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ("Daisy", "daisy", "upper and lower case"),
        ("ÉPICÉA", "épicéa", "upper and lower case"),
        ("golden retriever", "golden\u00a0retriever", r"'golden\\xa0retriever'"),
        ("golden retriever", "golden  retriever", "'golden  retriever'"),
        ("sunflower", "sun\u00adflower", r"'sun\\xadflower'"),
        ("sunflower", "sun\u200bflower", r"'sun\\u200bflower'"),
        ("heart \u2764", "heart \u2764\ufe0f", "cannot be seen"),
    ],
)
def test_labels_that_look_alike_are_refused(first: str, second: str, difference: str) -> None:
    with pytest.raises(DataError, match=difference):
        class_list([first, second, "iris"])


@pytest.mark.parametrize(
    "names",
    [("straße", "strasse"), ("می‌خواهم", "iris"), ("m2", "m²"), ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"), ("tench, Tinca tinca", "tench")],
)
def test_labels_that_differ_visibly_stay(names: tuple[str, ...]) -> None:
    assert set(class_list(names).names) == set(names)


def test_case_tells_listed_labels_apart() -> None:
    assert class_list(["a", "A"], ["A", "a"], "recipe").names == ("A", "a")
    with pytest.raises(DataError, match="cannot be seen"):
        class_list(["a b", "a\u00a0b"], ["a b", "a\u00a0b"], "recipe")


@pytest.mark.parametrize("listed", [["a", "a"], ["a", "b", "a "], ["a", ""], ["a", "b\nc"], ["a", "\u200b"]])
def test_useless_list_is_refused(listed: list[str]) -> None:
    with pytest.raises(DataError):
        class_list(["a"], listed, "recipe")


@pytest.mark.parametrize(
    ("found", "order"),
    [
        (["1", "10", "11", "2"], ("1", "2", "10", "11")),
        (["img12", "img9", "img100a", "img100"], ("img9", "img12", "img100", "img100a")),
        (["7", "007", "07"], ("007", "07", "7")),
        (["a-1", "a1", "B", "a"], ("B", "a", "a-1", "a1")),
        (["2" * 400, "1" * 401], ("2" * 400, "1" * 401)),
    ],
)
def test_numbers_are_ordered_by_size(found: list[str], order: tuple[str, ...]) -> None:
    assert class_list(found).names == order


@given(st.sets(st.text("abcXYZ -_é"), min_size=1))
def test_natural_order_without_digits_is_alphabetical(found: set[str]) -> None:
    assert sorted(found, key=labels.natural_key) == sorted(found)


def test_listed_labels_keep_their_order_and_unused_ones() -> None:
    classes = class_list(["scissors", "paper"], ["rock", "paper", "scissors"], "source")
    assert (classes.names, classes.origin) == (("rock", "paper", "scissors"), "source")


def test_numbers_are_indices_of_listed_labels() -> None:
    classes = class_list(["0", "2"], ["rock", "paper", "scissors"], "recipe")
    assert classes.spellings == {"0": "rock", "2": "scissors"}
    with pytest.raises(DataError, match="'0', '3': photos have these labels"):
        class_list(["0", "3"], ["rock", "paper", "scissors"], "recipe")


def test_missing_label_is_named() -> None:
    with pytest.raises(DataError, match=r"'lily': photos have this label, .* does not list it"):
        class_list(["lily", "iris"], ["iris", "rose"], "recipe")


def test_run_keeps_labels_that_the_rule_would_merge() -> None:
    classes = labels.recorded_classes([COMPOSED, DECOMPOSED, "iris"], [DECOMPOSED, "iris", COMPOSED])
    assert (classes.names, classes.spellings) == ((DECOMPOSED, "iris", COMPOSED), {})
    assert labels.recorded_classes([COMPOSED], [DECOMPOSED]).spellings == {COMPOSED: DECOMPOSED}
    with pytest.raises(DataError, match="the run does not list"):
        labels.recorded_classes(["rose"], ["iris"])


def test_models_are_compared_by_the_rule() -> None:
    assert labels.comparable([f"{DECOMPOSED} ", "iris"]) == (COMPOSED, "iris")
    assert labels.comparable([DECOMPOSED, COMPOSED]) == (DECOMPOSED, COMPOSED)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbfdaisy\r\nrose\r\n", ("daisy", "rose")),
        ("daisy\nrose\n".encode("utf-16"), ("daisy", "rose")),
        (b"0 daisy\n1 rose", ("daisy", "rose")),
        (b"1\trose\n0\tdaisy\n\n", ("daisy", "rose")),
        (b"0: oak tree\n1: elm\n", ("oak tree", "elm")),
        (b"1 cent\n2 cent\n", ("1 cent", "2 cent")),
        (b"0 euro\n1 euro\n", ("0 euro", "1 euro")),
        (b"0 daisy\nrose\n", ("0 daisy", "rose")),
        (DECOMPOSED.encode() + b" \n7\n", (COMPOSED, "7")),
        (b"0\n1\n2\n", ("0", "1", "2")),
        (b"", ()),
    ],
)
def test_labels_files_of_other_tools_are_read(content: bytes, expected: tuple[str, ...]) -> None:
    assert labels.parse_labels_file(content) == expected


def test_split_sides_are_one_label(tmp_path: Path) -> None:
    made = prepared(folder_of(tmp_path, f"train/{DECOMPOSED}", "train/iris", f"test/{COMPOSED}", "test/iris"))
    assert made.labels == (COMPOSED, "iris")
    assert {row.label for row in made.rows} == {COMPOSED, "iris"}
    assert made.label_indices.tolist() == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4 or set(
        made.label_indices
    ) == {0, 1}


def test_alike_labels_are_refused_before_photos_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare.image, "preprocess_with_facts", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="'Iris' and 'iris'"):
        prepared(folder_of(tmp_path, "Iris", "iris", "rose"))


def test_order_is_no_part_of_the_cache(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", "10", "9", "x")
    natural, chosen = prepared(root), prepared(root, labels=("x", "unused", "10", "9"))
    assert natural.folder == chosen.folder
    assert (natural.labels, natural.origin) == (("9", "10", "x"), "natural")
    assert (chosen.labels, chosen.origin) == (("x", "unused", "10", "9"), "recipe")
    assert [chosen.labels[index] for index in chosen.label_indices] == [row.label for row in natural.rows]


def test_labels_file_gives_the_order(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", "iris", "rose")
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbf0 rose\r\n1 lily\r\n2 iris\r\n")
    assert prepared(root, labels_file=str(tmp_path / "classes.txt")).labels == ("rose", "lily", "iris")
    with pytest.raises(MissingError, match=r"none\.txt: no such file"):
        prepared(root, labels_file=str(tmp_path / "none.txt"))
    with pytest.raises(RecipeError, match="both are set"):
        prepared(root, labels_file="classes.txt", labels=("iris", "rose"))


def test_packed_cache_has_the_order_of_the_recipe(tmp_path: Path) -> None:
    data = Data(source=f"folder:{folder_of(tmp_path / 'photos', 'iris', 'rose')}", labels=("rose", "iris"))
    cache_archive.pack(prepare.prepare_dataset(data, 16), data, 16, tmp_path / "cache.zip")
    assert cache_archive.unpack(tmp_path / "cache.zip", data, 16).labels == ("rose", "iris")


def test_unused_label_is_no_fault(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "train/iris", "train/rose", "test/iris", "test/rose")
    made = prepared(root, labels=("lily", "rose", "iris"))
    rows = splits.split(made, Data(source="folder:"), seed=1)
    summary = inspection.summarize(made, rows)
    assert (summary.unused_labels, summary.lacking, summary.imbalance) == (("lily",), (), 1.0)
    assert any(line.startswith("no photo at all of lily: kept") for line in inspection.problems(summary))
    assert splits.counts(made, rows)["train"]["lily"] == 0
    assert inspection.as_json(made, rows, summary)["label_order"] == "recipe"


def test_order_does_not_change_a_split(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", "10", "9", "x", each=9)
    data = Data(
        source=f"folder:{root}",
        splits=Splits(validation=SplitPart("train", count=7), test=SplitPart("train", 0.3)),
    )
    natural, other = (prepared(root, labels=order) for order in ((), ("x", "unused", "9", "10")))
    assert natural.label_indices.tolist() != other.label_indices.tolist()
    first, second = (splits.split(made, data, seed=3) for made in (natural, other))
    assert {name: rows.tolist() for name, rows in first.items()} == {
        name: rows.tolist() for name, rows in second.items()
    }


def test_unused_label_does_not_weigh() -> None:
    import numpy as np

    one_hot = np.eye(3, dtype=np.float32)[[0, 0, 0, 2]]
    weights = Examples(np.zeros((4, 2, 2, 3), np.uint8), one_hot, np.arange(4)).class_weights()
    assert weights[[0, 2]].tolist() == pytest.approx([4 / 6, 2.0])


def test_one_used_label_is_too_few(tmp_path: Path) -> None:
    made = prepared(folder_of(tmp_path, "iris"), labels=("iris", "rose"))
    with pytest.raises(DataError, match="all photos have one label, 'iris'"):
        splits.require_labels(made)


def test_run_keeps_its_order(tmp_path: Path) -> None:
    """A run that an earlier tledge began has its labels in alphabetical order, and goes on with it."""
    now = prepared(folder_of(tmp_path / "photos", "10", "9", DECOMPOSED))
    folder = RunFolder(tmp_path / "run")
    before = ("10", "9", DECOMPOSED)
    files.write_text(folder.labels, contract.labels_text(before))
    begun = resume_guard.with_recorded_labels(folder, now, resume=True)
    assert (begun.labels, begun.label_indices.tolist()) == (before, [0] * 4 + [1] * 4 + [2] * 4)
    assert resume_guard.with_recorded_labels(folder, now, resume=False) is now
    assert now.label_indices.tolist() == [1] * 4 + [0] * 4 + [2] * 4
    opened = cache.with_recorded_labels(cache.open_cache(now.folder), before)
    assert opened.label_indices.tolist() == begun.label_indices.tolist()


def test_order_of_the_source_is_used_with_an_earlier_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder_of(tmp_path / "photos", "rock", "paper")
    assert prepared(root).labels == ("paper", "rock")
    scan = folder_source.scan
    monkeypatch.setattr(
        folder_source, "scan", lambda given: replace(scan(given), order=lambda: ("rock", "paper"))
    )
    assert (prepared(root).labels, prepared(root).origin) == (("rock", "paper"), "source")
