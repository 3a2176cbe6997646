"""Overrides of `--set`, and keys that stand outside of their table."""

import pytest

from tledge.errors import RecipeError
from tledge.recipe.loader import parse
from tledge.recipe.settings import apply, missing_table

STAGES = {"stage": [{"name": "head"}, {"name": "fine-tune"}]}


@pytest.mark.parametrize(
    "setting", ["stage.head.epochs=3", "stage.first.epochs=3", "stage.2.epochs=3", "stage.epochs=3"]
)
def test_stages_are_numbered(setting: str) -> None:
    with pytest.raises(RecipeError, match=r"use stage\.0 \(head\) or stage\.1 \(fine-tune\)\."):
        apply({"stage": [dict(stage) for stage in STAGES["stage"]]}, setting)


def test_many_stages_are_not_all_listed() -> None:
    with pytest.raises(RecipeError, match=r"or stage\.3 up to stage\.99\."):
        apply({"stage": [{} for _ in range(100)]}, "stage.head.epochs=1")


@pytest.mark.parametrize(
    ("key", "place"),
    [("epochs", "stage.0.epochs"), ("alpha", "model.alpha"), ("variants", "export.variants"),
     ("version", "recipe.version"), ("source", "data.source")],
)  # fmt: skip
def test_key_without_its_table(key: str, place: str) -> None:
    assert missing_table(key) == f" Did you mean {place}?"
    with pytest.raises(RecipeError, match=f"--set {key}=1: unknown key '{key}'. Did you mean {place}?"):
        apply({}, f"{key}=1")
    with pytest.raises(RecipeError, match=f"x.toml: unknown key '{key}' outside of any table. Did you mean"):
        parse(f"{key} = 1\n[data]", "x.toml")


def test_tables_and_unknown_names_have_no_hint() -> None:
    assert not missing_table("data") and not missing_table("recipe") and not missing_table("epoch_count")
