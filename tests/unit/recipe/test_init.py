"""A first recipe: what is seen in a folder of photos, what follows from it, and that it is TOML."""

from __future__ import annotations

import os
import re
import sys
import tomllib
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.paths import ROOT
from tledge.data import prepare, splits
from tledge.data.sources.options import source_options
from tledge.errors import DataError, RecipeError
from tledge.preprocessing import image
from tledge.recipe import definition, init, init_folder, loader
from tledge.recipe.init import quoted, recipe_text
from tledge.recipe.init_folder import Folder, default_name, look

Layout = Mapping[str, Mapping[str, int]]

TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # all of Unicode but lone surrogates


def save(path: Path, size: tuple[int, int] = (40, 30), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(path, **options)
    return path


def fill(root: Path, counts: Mapping[str, int], size: tuple[int, int] = (40, 30)) -> Path:
    """Photos in folders: {"train/daisy": 5}."""
    for folder, count in counts.items():
        for number in range(count):
            save(root / folder / f"{number}.png", size)
    return root


def labelled(root: Path) -> Path:
    return fill(root / "pets", {"cat": 5, "dog": 6})


def seen(splits: Layout, **changed: Any) -> Folder:
    """A folder as `look` gives it, of any number of photos."""
    labels = tuple(sorted({label for counts in splits.values() for label in counts}))
    made = Folder(Path("/photos/pets"), "split/label", splits, labels, 400, 300, 10, ())
    return replace(made, **changed)


def per_split(**counts: int) -> Folder:
    """Two labels with so many photos each in each split."""
    return seen({split: {"cat": count, "dog": count} for split, count in counts.items()})


def unsplit(count: int, **changed: Any) -> Folder:
    """Two labels with so many photos each, without split folders."""
    return seen({"train": {"cat": count, "dog": count}}, layout="label", **changed)


def read(folder: Folder) -> definition.Recipe:
    return loader.parse(recipe_text(folder, "pets"), "pets.toml")


def comments(folder: Folder) -> str:
    """All comments of the recipe on one line."""
    lines = recipe_text(folder, "pets").splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


def test_labels_are_ordered_naturally_and_spellings_counted_together(tmp_path: Path) -> None:
    rose = [unicodedata.normalize(form, "rosé") for form in ("NFC", "NFD")]
    found = look(fill(tmp_path, {"10": 4, "9": 4, rose[0]: 4, rose[1]: 5}))
    assert (found.labels, found.splits["train"][rose[0]]) == (("9", "10", rose[0]), 9)
    assert len(found.merged) == 1


def test_labels_are_counted(tmp_path: Path) -> None:
    found = look(labelled(tmp_path))
    assert (found.layout, found.labels) == ("label", ("cat", "dog"))
    assert found.splits == {"train": {"cat": 5, "dog": 6}}
    assert (found.median_side, found.min_side, found.headers, found.unreadable) == (30, 30, 11, ())
    assert found.path == (tmp_path / "pets").resolve()


def test_splits_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, {"Train/cat": 4, "Train/dog": 5, "VAL/cat": 2, "VAL/dog": 1})
    found = look(tmp_path)
    assert found.layout == "split/label"
    assert found.splits == {"Train": {"cat": 4, "dog": 5}, "VAL": {"cat": 2, "dog": 1}}


def test_sides_are_short_sides(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 4}, (500, 200))
    fill(tmp_path, {"b": 4}, (90, 700))
    save(tmp_path / "b" / "4.png", (210, 220))
    found = look(tmp_path)
    assert (found.median_side, found.min_side) == (200, 90)


def test_orientation_changes_no_side(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in ("a", "b"):
        for number in range(4):
            save(tmp_path / label / f"{number}.jpg", (60, 20), exif=exif)
    assert look(tmp_path).median_side == 20


def test_only_headers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_ignored: object) -> None:
        raise AssertionError("a photo was decoded")

    monkeypatch.setattr(image, "preprocess_with_facts", refuse)
    assert look(labelled(tmp_path)).unreadable == ()


def test_damaged_photos_are_listed(tmp_path: Path) -> None:
    root = labelled(tmp_path)
    (root / "cat" / "empty.jpg").write_bytes(b"")
    (root / "dog" / "page.jpg").write_bytes(b"<html>not found</html>")
    (root / "dog" / "cut.png").write_bytes(save(tmp_path / "whole.png").read_bytes()[:20])
    found = look(root)
    assert [line.partition(":")[0] for line in found.unreadable] == [
        "cat/empty.jpg", "dog/cut.png", "dog/page.jpg",
    ]  # fmt: skip
    assert "empty" in found.unreadable[0]
    assert "HTML" in found.unreadable[2]
    assert (found.headers, found.min_side) == (14, 30)


def test_too_large_photo_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = labelled(tmp_path)
    save(root / "cat" / "huge.png", (200, 100))
    monkeypatch.setattr(image, "MAX_PIXELS", 10_000)
    assert ["too large" in line for line in look(root).unreadable] == [True]


def test_photo_that_vanishes_is_listed(tmp_path: Path) -> None:
    assert init_folder._short_side(tmp_path / "gone.png") == "cannot be read (No such file or directory)"


def test_first_heic_photo_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first one on Pillow knows the format, and headers are enough."""
    heif = pytest.importorskip("pillow_heif")
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    root = labelled(tmp_path)
    photo = root / "cat" / "phone.heic"
    heif.from_pillow(Image.new("RGB", (64, 48), (9, 99, 9))).save(photo)
    assert init_folder._short_side(photo) == 48
    test_only_headers_are_read(tmp_path, monkeypatch)
    assert look(root).headers == 12


def test_odd_metadata_warns_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Image.open

    def warn(*given: Any, **options: Any) -> Image.Image:
        warnings.warn("Corrupt EXIF data", UserWarning, stacklevel=1)
        return opened(*given, **options)

    monkeypatch.setattr(Image, "open", warn)
    assert look(labelled(tmp_path)).unreadable == ()


def test_many_photos_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = labelled(tmp_path)
    read: list[str] = []
    monkeypatch.setattr(init_folder, "HEADERS", 6)
    monkeypatch.setattr(init_folder, "_short_side", lambda path: read.append(path.name) or 77)
    assert (look(root).headers, look(root).median_side) == (6, 77)
    assert sorted(read[:6]) == sorted(read[6:])
    assert sum(look(root).splits["train"].values()) == 11


def test_hidden_files_are_no_photos(tmp_path: Path) -> None:
    root = labelled(tmp_path)
    save(root / ".thumbnails" / "0.png")
    save(root / "cat" / "._0.png")
    assert look(root).splits == {"train": {"cat": 5, "dog": 6}}


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere: no such folder.*<split>/<label>/photo"):
        look(tmp_path / "nowhere")


def test_photo_instead_of_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such folder"):
        look(save(tmp_path / "photo.png"))


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(RecipeError, match="no such folder"):
        look(tmp_path / "loop")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "no photos"),
        ({".": 5}, "depth"),
        ({"cat": 5, "train/dog": 5}, "depth"),
        ({"a/b/c/d": 5}, "only one label, 'd'"),
        ({"cat": 9}, "only one label, 'cat'"),
        ({"train/cat": 9, "test/cat": 3}, "only one label"),
        ({"train": 9, "Test": 9}, "split folders without label folders"),
        ({"train": 9}, "split folders without label folders"),
        ({"cat": 3, "dog": 9}, "'cat' has 3"),
        ({"train/cat": 9, "train/dog": 9, "test/Dog": 9}, "only in upper and lower case: 'Dog' and 'dog'"),
        ({"train/cat": 9, "train/dog": 9, "fold2/dog": 9}, "unknown split 'fold2'. Known: train, "),
        ({"val/cat": 9, "val/dog": 9, "test/cat": 9}, "no train folder among test, val"),
        ({"train/cat": 9, "train/dog": 9, "val/cat": 4, "valid/cat": 4}, "'val' and 'valid' both mean"),
    ],
)
def test_unusable_folder_is_refused(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as refused:
        look(fill(tmp_path, counts))
    assert str(tmp_path.resolve()) in str(refused.value)


def test_four_photos_are_enough(tmp_path: Path) -> None:
    assert look(fill(tmp_path, {"cat": 4, "dog": 4})).labels == ("cat", "dog")


@pytest.mark.parametrize(
    "counts",
    [{"train": 4, "bus": 4}, {"train/train": 4, "train/test": 4}, {"TEST/a": 1, "Train/a": 4, "Train/b": 4}],
)
def test_labels_may_be_named_like_splits(tmp_path: Path, counts: dict[str, int]) -> None:
    found = look(fill(tmp_path, counts))
    assert sum(sum(split.values()) for split in found.splits.values()) == sum(counts.values())
    assert len(found.labels) == 2


def test_many_poor_labels_are_summed_up(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a' has 1, 'b' has 1, 'c' has 1 and 2 more labels\."):
        look(fill(tmp_path, dict.fromkeys("abcde", 1)))


def test_folder_of_damage_is_refused(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(4):
            (tmp_path / label / f"{number}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of 8 photos can be read. cat/0.jpg: empty"):
        look(tmp_path)


@pytest.mark.parametrize(
    ("names", "validation", "test"),
    [
        (("train", "validation", "test"), ("validation", None), ("test", None)),
        (("TRAINING", "Valid", "Holdout"), ("Valid", None), ("Holdout", None)),
        (("training", "dev", "testing"), ("dev", None), ("testing", None)),
        (("train", "test"), ("train", 0.15), ("test", None)),
        (("Train", "val"), ("Train", 0.15), ("val", None)),
        (("train",), ("train", 0.18), ("train", 0.2)),
    ],
)
def test_split_folders_give_splits(
    names: tuple[str, ...], validation: tuple[str, float | None], test: tuple[str, float | None]
) -> None:
    made = read(per_split(**dict.fromkeys(names, 200))).data.splits
    assert (made.train.origin, made.train.fraction) == (names[0], None)
    assert (made.validation.origin, made.validation.fraction) == validation
    assert (made.test.origin, made.test.fraction) == test


def test_large_train_gives_tenth() -> None:
    assert read(per_split(train=2500, test=50)).data.splits.validation.fraction == 0.15
    assert read(per_split(train=2501, test=50)).data.splits.validation.fraction == 0.1


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        (per_split(train=400, validation=99, test=99), "Your three folders, unchanged."),
        (per_split(train=400, test=99), "taken from the train folder: 15% of each label, about 120."),
        (per_split(train=400, val=99), 'Your folder "val" is the only one kept apart, so it becomes test'),
        (unsplit(400), "Test, scored once at the end, gets 20% of each label, about 160; validation, "
         "measured while training, 15%, about 120. About 520 are left to train on."),
    ],
)  # fmt: skip
def test_splits_are_explained(folder: Folder, words: str) -> None:
    assert words in comments(folder)


def test_small_test_split_is_noted() -> None:
    assert "NOTE: 98 test photos are few: each is 1.0% of the score" in comments(per_split(train=99, test=49))
    assert "few to test on" not in comments(per_split(train=99, test=50))
    assert "test photos are few" in comments(unsplit(200))
    assert "few to test on" not in comments(unsplit(250))


def test_untested_label_is_noted() -> None:
    folder = seen({"train": {"cat": 400, "dog": 400}, "test": {"cat": 200}})
    assert 'no test photo of "dog"' in comments(folder)
    assert "no test photo" not in comments(per_split(train=400, test=200))


@pytest.mark.parametrize(
    ("folder", "group", "words"),
    [
        (unsplit(500_000), "near-duplicates", "Photos of one scene stay in one split."),
        (unsplit(500_001), "none", "among 1,000,002 photos would take hours"),
        (unsplit(100, alike=("dog",)), "none", 'Most photos of "dog" are near-duplicates of each other'),
        (per_split(train=200, test=99), "near-duplicates", "Photos of one scene stay in one split."),
        (per_split(train=200, val=99, test=99), "none", "so no groups are needed"),
    ],
)
def test_scenes_stay_together(folder: Folder, group: str, words: str) -> None:
    assert read(folder).data.group == group
    assert words in comments(folder)


def test_damaged_photos_are_noted() -> None:
    bad = tuple(f"cat/{number}.jpg: empty" for number in range(5))
    text = comments(unsplit(100, headers=205, unreadable=bad))
    assert 'NOTE: 5 of 205 photos looked at cannot be read: "cat/0.jpg: empty",' in text
    assert '"cat/2.jpg: empty" and 2 more.' in text
    assert "cannot be read" not in comments(unsplit(100))
    assert read(unsplit(100, headers=205, unreadable=bad)).data.on_bad == "stop"


@pytest.mark.parametrize(
    ("side", "size", "words"),
    [
        (224, 224, "enough for 224"),
        (204, 224, "224 is the largest size"),
        (203, 192, "192 is the largest size"),
        (160, 160, "160 is the largest size"),
        (145, 128, "128 is the largest size"),
        (96, 96, "96 is the largest size"),
        (95, 96, "enlarged to 96"),
        (1, 96, "enlarged to 96"),
    ],
)
def test_size_fits_photos(side: int, size: int, words: str) -> None:
    folder = unsplit(100, median_side=side, min_side=1)
    assert read(folder).model.image_size == size
    assert words in comments(folder)
    assert f"a short side of {side} pixels or more, the smallest 1." in comments(folder)


@pytest.mark.parametrize(
    ("each", "alpha", "views", "head", "tune"),
    [
        (20, 0.35, 6, 20, 25),
        (340, 0.35, 6, 10, 16),
        (749, 0.35, 6, 7, 9),
        (750, 0.35, 4, 7, 9),
        (2499, 0.35, 4, 5, 6),
        (2500, 1.0, 0, 5, 6),
        (9000, 1.0, 0, 4, 5),
    ],
)
def test_photos_set_the_schedule(each: int, alpha: float, views: int, head: int, tune: int) -> None:
    made = read(per_split(train=each, validation=90, test=90))
    assert (made.model.alpha, made.augment.views) == (alpha, views)
    assert [stage.epochs for stage in made.stage] == [head, tune]


def test_share_is_not_trained_on() -> None:
    """5500 photos, of which 10 % go to validation: 4950 are left, below what widens the network."""
    assert read(per_split(train=2750, test=90)).model.alpha == 0.35
    assert read(per_split(train=2750, test=90, validation=90)).model.alpha == 1.0


def test_stages_follow_the_measured_recipe() -> None:
    made, measured = read(unsplit(400)), loader.load(ROOT / "recipes" / "rps.toml")
    for own, known in zip(made.stage, measured.stage, strict=True):
        assert replace(own, epochs=known.epochs) == known
    assert replace(made.model, image_size=224) == measured.model


def test_rare_label_is_weighed() -> None:
    even = seen({"train": {"cat": 300, "dog": 100}, "test": {"cat": 90, "dog": 90}})
    uneven = seen({"train": {"cat": 301, "dog": 100}, "test": {"cat": 90, "dog": 90}})
    assert [stage.class_weights for stage in read(even).stage] == ["none", "none"]
    assert [stage.class_weights for stage in read(uneven).stage] == ["balanced", "balanced"]
    assert '"cat" has 301 photos in train, "dog" 100.' in comments(uneven)
    assert "class_weights" not in recipe_text(even, "pets")


def test_advice_fits() -> None:
    small = seen({"train": {"cat": 200, "dog": 300}, "test": {"cat": 90, "dog": 90}})
    assert "set alpha = 1.0" in comments(small)
    assert 'The label with the fewest is "cat": 200 in train.' in comments(small)
    large = comments(per_split(train=9000, test=900))
    assert "set alpha = 1.0" not in large
    assert "The fewest" not in large


def test_luck_needs_few_photos() -> None:
    assert "partly luck" in comments(per_split(train=999, validation=499, test=900))
    assert "partly luck" not in comments(per_split(train=999, validation=500, test=900))


def test_header_says_what_was_found() -> None:
    text = recipe_text(per_split(test=50, train=1200), "pets")
    rows = re.findall(r'^#   "(.+)$', text, re.MULTILINE)
    assert rows == [
        'train"       2,400 photos, 1,200 of each label', 'test"        100 photos, 50 of each label'
    ]  # fmt: skip
    assert text.startswith('# A start for photos of 2 labels: "cat", "dog".\n')
    for command in ("data pets.toml", "train pets.toml", "export runs/pets --int8"):
        assert f"#   tledge {command} " in text


def test_many_labels_are_cut_short() -> None:
    counts = {f"label{number:02d}": 50 for number in range(30)}
    assert '"label07" and 22 more.' in comments(seen({"train": counts, "test": counts}))


def test_name_and_seed_are_kept() -> None:
    made = loader.parse(recipe_text(unsplit(100), "other-name", seed=7), "x.toml").meta
    assert (made.name, made.seed) == ("other-name", 7)


def test_same_folder_same_text(tmp_path: Path) -> None:
    root = labelled(tmp_path)
    text = recipe_text(look(root), "pets")
    assert text == recipe_text(look(root / ".." / "pets"), "pets")
    save(root / "dog" / "another.png")
    assert text != recipe_text(look(root), "pets")


def test_lines_are_short() -> None:
    for folder in (unsplit(100), unsplit(20_000), per_split(train=50, val=9), per_split(train=9, test=9)):
        assert max(map(len, recipe_text(folder, "pets").splitlines())) <= 110


def test_every_reason_can_be_given() -> None:
    """Each sentence is chosen for some folder, and no other is asked for."""
    uneven = seen({"train": {"cat": 900, "dog": 100}, "test": {"cat": 9}}, unreadable=("x: empty",))
    folders = [
        uneven, unsplit(100, alike=("cat",)), unsplit(100), unsplit(200),
        unsplit(600_000, median_side=120), unsplit(99, median_side=9),
        per_split(train=99, val=9), per_split(train=99, val=9, test=9),
    ]  # fmt: skip
    plans = [init._plan(folder) for folder in folders]
    given = [init._reason_keys(plan, init._choices(plan)).values() for plan in plans]
    assert {word for lists in given for words in lists for word in words} == set(init.REASONS)


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not allowed there")
@pytest.mark.parametrize(
    "name", ['quote"d', "back\\slash", "two words", "#hash", "new\nline", "tab\there", "DEL\x7f", "{brace}",
             "Blüten 🌼", "\u202eright to left", "100 %", "'''", '"""', "a:b", "~", "$HOME"],
)  # fmt: skip
def test_odd_folder_names_survive(tmp_path: Path, name: str) -> None:
    root = fill(tmp_path / name, {"train/" + name: 5, "train/b": 5, "test/" + name: 2})
    (root / "train" / "b" / (name + ".png")).write_bytes(b"")
    text = recipe_text(look(root), default_name(root))
    made = loader.parse(text, "pets.toml")
    assert made.data.source == f"folder:{root.resolve().as_posix()}"
    assert source_options(made.data)["path"] == root.resolve().as_posix()
    assert "NOTE: 1 of 13 photos" in text


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_name_of_other_bytes(tmp_path: Path) -> None:
    """A label that is no UTF-8 is shown with a question mark; such a path cannot be written."""
    odd = os.fsdecode(b"caf\xe9")
    root = fill(tmp_path / "pets", {odd: 5, "tea": 5})
    assert loader.parse(recipe_text(look(root), "pets"), "x.toml").meta.name == "pets"
    assert '"caf?"' in recipe_text(look(root), "pets")
    with pytest.raises(DataError, match=r"caf\\udce9.*not UTF-8"):
        recipe_text(look(root.rename(tmp_path / odd)), "pets")


@given(TEXT)
def test_quoted_reads_back(text: str) -> None:
    written = quoted(text)
    assert tomllib.loads(f"key = {written}  # {written}") == {"key": text}
    assert len(written.splitlines()) == 1
    assert written.isprintable()


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_surrogates_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="not UTF-8"):
        quoted(text)


@given(label=TEXT, reason=TEXT)
def test_any_name_stays_in_its_comment(label: str, reason: str) -> None:
    """Nothing in a name ends a comment: the recipe means the same as with a plain name."""
    plain = seen({"train": {"cat": 900, "z": 100}, "test": {"z": 9}}, unreadable=("x: empty",))
    odd = seen({"train": {label: 900, "": 100}, "test": {"": 9}}, unreadable=(reason,))
    if label:
        assert tomllib.loads(recipe_text(odd, "pets")) == tomllib.loads(recipe_text(plain, "pets"))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("flowers", "flowers"),
        ("my photos (2)", "my-photos-2"),
        ("Blu\u0308ten", "Bl\u00fcten"),
        ("...", "photos"),
        ("a.b", "a-b"),
        ("under_score-", "under_score"),
    ],
)
def test_default_name(tmp_path: Path, folder: str, name: str) -> None:
    assert default_name(tmp_path / folder) == name


def test_default_name_of_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path / "pets")
    assert default_name(Path(".")) == "pets"
    assert default_name(Path("/")) == "photos"


@given(TEXT.filter(lambda text: not set(text) & {"/", "\0"}))
def test_default_name_is_a_name(text: str) -> None:
    assert re.fullmatch(r"[\w-]+", default_name(Path("/nowhere") / f"x{text}"))


def test_recipe_fits_its_folder(tmp_path: Path) -> None:
    """The splits that the recipe asks for can be made, and hold about as many as it says."""
    for number in range(80):
        path = tmp_path / "pets" / f"label{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number * 37 % 256, number * 91 % 256, number * 53 % 256)).save(path)
    made = read(look(tmp_path / "pets"))
    prepared = prepare.prepare_dataset(made.data, made.model.image_size)
    rows = splits.split(prepared, made.data, made.meta.seed)
    planned = init._plan(look(tmp_path / "pets")).sizes
    for name, wanted in planned.items():
        assert abs(len(rows[name]) - wanted) <= 6, (name, len(rows[name]), wanted)
