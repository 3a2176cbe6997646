"""Recipes: what is filled in, what is refused and how it is said, and what --set may change."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.paths import ROOT
from tests.helpers.recipe_texts import ANYTHING, FULL, SMALL, TEXT, ends_well
from tledge import config
from tledge._io import resources
from tledge.errors import RecipeError
from tledge.recipe.loader import load, parse

BROKEN = sorted((Path(__file__).parent / "broken_recipes").glob("*.toml"))

SHIPPED = sorted((ROOT / "recipes").glob("**/*.toml"))


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_broken_recipe_is_explained(path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert first.removeprefix("# expect: ") in str(caught.value)
    assert path.name in str(caught.value)


def test_broken_recipes_say_why() -> None:
    assert len(BROKEN) >= 90
    assert all(path.read_text(encoding="utf-8").startswith("# expect: ") for path in BROKEN)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipe_loads(path: Path) -> None:
    assert load(path).meta.name


def test_defaults_are_filled_in() -> None:
    made = parse(SMALL, "small.toml")
    assert (made.meta.version, made.meta.seed) == ("1", 0)
    assert made.data.splits == config.Splits()
    assert made.data.splits.validation == config.SplitPart("train", 0.15)
    assert made.model.image_size == 224
    assert made.augment == config.Augment()
    assert made.export.calibration.images == 200
    assert made.parity == config.Parity()
    assert made.abstain == config.Abstain(give_up=0.05)


def test_full_recipe_is_read() -> None:
    made = parse(FULL, "other.toml")
    assert made.meta == config.Meta("hands", "2.1", 7)
    assert made.data.options == {"size": 64}
    assert made.data.splits.validation == config.SplitPart("train", 0.25)
    assert made.model.head == (64, 32)
    assert made.export.variants == ("tflite-int8",)
    assert made.export.calibration == config.Calibration(50)
    assert made.abstain.give_up == 0
    assert made.expect.test_accuracy == 0.9


def test_stages_keep_their_order() -> None:
    stages = parse(FULL, "other.toml").stage
    assert [stage.name for stage in stages] == ["head", "stage.1"]
    assert [stage.epochs for stage in stages] == [3, 5]
    assert stages[1].unfreeze == "block_15_expand"


def test_whole_number_becomes_float() -> None:
    rate = parse(FULL, "other.toml").stage[1].learning_rate
    assert (rate, type(rate)) == (1.0, float)


def test_recipe_is_frozen() -> None:
    with pytest.raises(AttributeError):
        parse(SMALL, "small.toml").model.alpha = 2.0  # type: ignore[misc]


def test_name_defaults_to_stem(tmp_path: Path) -> None:
    path = tmp_path / "my-hands.toml"
    path.write_text(SMALL)
    assert load(path).meta.name == "my-hands"


def test_stem_must_be_a_name(tmp_path: Path) -> None:
    path = tmp_path / "my hands.toml"
    path.write_text(SMALL)
    with pytest.raises(RecipeError, match="name"):
        load(path)


def test_drawn_photos_are_synthetic() -> None:
    assert parse(SMALL, "small.toml").synthetic
    assert not parse(SMALL.replace('"drawn"', '"folder:photos"'), "small.toml").synthetic


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nothing\.toml: the recipe cannot be read"):
        load(tmp_path / "nothing.toml")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_recipe_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for read in (load, lambda path: resources.find_recipe(str(path))):
        with pytest.raises(RecipeError, match=r"odd\.toml: not a file"):
            read(path)


def test_name_too_long_for_a_file_is_refused() -> None:
    with pytest.raises(RecipeError, match="name too long"):
        resources.find_recipe("a" * 5000)


def test_setting_of_other_bytes_is_refused() -> None:
    with pytest.raises(RecipeError, match="not UTF-8"):
        parse(SMALL, "x.toml", ["recipe.description=\udcff"])


def test_settings_change_numbers() -> None:
    made = parse(FULL, "x.toml", ["stage.0.epochs=9", "recipe.seed = 3", "model.alpha=0.5"])
    assert (made.stage[0].epochs, made.meta.seed, made.model.alpha) == (9, 3, 0.5)
    assert made.stage[1] == parse(FULL, "x.toml").stage[1]


def test_settings_change_text() -> None:
    chosen = ["recipe.name=other", 'recipe.description="two = words"', "stage.1.unfreeze=all"]
    made = parse(FULL, "x.toml", chosen)
    assert (made.meta.name, made.meta.description) == ("other", "two = words")
    assert made.stage[1].unfreeze == "all"


def test_settings_make_tables() -> None:
    made = parse(SMALL, "x.toml", ['export.variants=["onnx-fp32"]', "export.calibration.images=7"])
    assert made.export.variants == ("onnx-fp32",)
    assert made.export.calibration.images == 7


def test_last_setting_wins() -> None:
    assert parse(SMALL, "x.toml", ["recipe.seed=1", "recipe.seed=2"]).meta.seed == 2


def test_settings_are_checked_too() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'epochs'"):
        parse(SMALL, "x.toml", ["stage.0.epoch=2"])
    with pytest.raises(RecipeError, match="expected a whole number, got 'many'"):
        parse(SMALL, "x.toml", ["stage.0.epochs=many"])


@pytest.mark.parametrize(
    ("text", "take"),
    [
        ('"train"', config.SplitPart("train")),
        ('"train[:90%]"', config.SplitPart("train", stop="90%")),
        ('" train[10%:90%] "', config.SplitPart("train", start="10%", stop="90%")),
        ('"train[-50:]"', config.SplitPart("train", start="-50")),
        ('"train[:]"', config.SplitPart("train")),
        ('"a+b[:5]"', config.SplitPart("a", also=(config.SplitPart("b", stop="5"),))),
        ('{from = "train", fraction = 0.25}', config.SplitPart("train", fraction=0.25)),
        ('{from = "train", count = 7}', config.SplitPart("train", count=7)),
        ('{from = "train", files = 0.19}', config.SplitPart("train", files=0.19)),
        ('{from = "train", pattern = "*_val_*"}', config.SplitPart("train", pattern="*_val_*")),
        ('{from = "train[:50%]", count = 7}', config.SplitPart("train", count=7, stop="50%")),
    ],
)
def test_split_forms_are_read(text: str, take: config.SplitPart) -> None:
    made = parse(SMALL, "x.toml", [f"data.splits.validation={text}"]).data.splits
    assert made == config.Splits(validation=take)
    assert take.is_slice == ("[" in text and "[:]" not in text and not take.also)


@pytest.mark.parametrize("group", ["none", "near-duplicates", r"(person\d+)_", "^[^/]+/(?:a|b)/([a-z]+)"])
def test_group_forms_are_read(group: str) -> None:
    assert parse(SMALL, "x.toml", [f"data.group={json.dumps(group)}"]).data.group == group


def test_groups_go_with_shares() -> None:
    chosen = ["data.group=near-duplicates", 'data.splits.test={from="test", count=5}']
    assert parse(SMALL, "x.toml", chosen).data.splits.test.count == 5
    loose = ["data.group=none", "data.splits.train=train[:50%]"]
    assert parse(SMALL, "x.toml", loose).data.splits.train.is_slice


def test_model_keys_are_read() -> None:
    made = parse(SMALL, "x.toml", ["model.loss=binary", "model.head_batch_norm=true"]).model
    assert (made.loss, made.head_batch_norm) == ("binary", True)
    assert (config.Model().loss, config.Model().head_batch_norm) == ("categorical", False)


def test_hub_backbone_is_read() -> None:
    text = SMALL.replace('"tiny"', '"hub:https://example.org/a:b/4"').replace('weights = "none"\n', "")
    made = parse(text, "x.toml", ["model.input_range=[-1, 1]"]).model
    assert (made.backbone, made.input_range) == ("hub:https://example.org/a:b/4", (-1, 1))


@pytest.mark.parametrize("schedule", ["exponential", "inverse-time"])
def test_schedule_with_decay_is_read(schedule: str) -> None:
    stage = parse(SMALL, "x.toml", [f"stage.0.schedule={schedule}", "stage.0.decay=0.5"]).stage[0]
    assert (stage.schedule, stage.decay, stage.class_weights) == (schedule, 0.5, "none")


PIECES = st.lists(st.sampled_from(["train", "[", "]", ":", "9", "-5", "10%", "+", " ", ""]), max_size=9)


@ANYTHING
@given(PIECES)
def test_any_slice_ends_well(pieces: list[str]) -> None:
    ends_well(SMALL, f"data.splits.train={json.dumps(''.join(pieces))}")


@ANYTHING
@given(st.text(r"(a)[]{}*+?|\.^$-1,:<>=!#P", max_size=15))
def test_any_group_ends_well(text: str) -> None:
    ends_well(SMALL, f"data.group={json.dumps(text)}")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stage.0.epochs", "expected TABLE.KEY=VALUE"),
        ("=3", "expected TABLE.KEY=VALUE"),
        ("stage..epochs=3", "expected TABLE.KEY=VALUE"),
        ("stage.1.epochs=3", "'1' is not one of its numbers. Stages count from 0: use stage.0"),
        ("stage.first.epochs=3", "'first' is not one of its numbers"),
        ("stage.².epochs=3", "'²' is not one of its numbers"),
        ("stage.epochs=3", "'stage' is a list. Stages count from 0: use stage.0"),
        ("epochs=3", "unknown key 'epochs'. Did you mean stage.0.epochs?"),
        ("image_size=96", "unknown key 'image_size'. Did you mean model.image_size?"),
        ("data.source.path=x", "'source' is not a table"),
        ("data.source.path.more=x", "no table 'path'"),
    ],
)
def test_bad_setting_is_explained(setting: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(SMALL, "x.toml", [setting])
    assert message in str(caught.value)
    assert setting in str(caught.value)


@ANYTHING
@given(st.integers(0, len(FULL)), st.integers(0, 30), TEXT)
def test_mutated_recipe_ends_well(place: int, cut: int, text: str) -> None:
    ends_well(FULL[:place] + text + FULL[place + cut :])


@ANYTHING
@given(st.permutations(FULL.splitlines()), st.integers(0, 50))
def test_shuffled_recipe_ends_well(lines: list[str], kept: int) -> None:
    ends_well("\n".join(lines[:kept]))


PATHS = st.sampled_from([
    "data", "stage", "stage.0", "stage.0.unfreeze", "stage.0.epochs", "data.source", "data.splits",
    "data.splits.train", "data.size", "model", "model.head", "model.alpha", "model.weights", "export",
    "export.int8", "export.variants", "recipe.name", "augment.flip", "parity.max_drop",
    "data.group", "model.loss", "model.input_range", "model.backbone", "stage.0.decay",
    "stage.0.class_weights",
])  # fmt: skip

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT

VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@ANYTHING
@given(PATHS, VALUES)
def test_any_value_ends_well(path: str, value: object) -> None:
    ends_well(FULL, f"{path}={json.dumps(value).lower()}")


@ANYTHING
@given(st.lists(TEXT, max_size=3))
def test_any_setting_ends_well(overrides: list[str]) -> None:
    ends_well(FULL, *overrides)
