"""What does not go together in a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.device_training import TWO_STAGES
from tests.helpers.recipe_texts import SMALL
from tests.helpers.recipes import BARE
from tledge.config import Hardware
from tledge.errors import RecipeError
from tledge.recipe import loader
from tledge.recipe.checks import extra_folder
from tledge.recipe.loader import parse


def test_views_need_a_cache() -> None:
    text = '[data]\nsource = "drawn"\ncache = false\n[augment]\nflip = "horizontal"\n[model]\n[[stage]]\n'
    assert loader.parse(text, "r.toml").data.cache is False
    with pytest.raises(RecipeError, match=r"views: keeps copies .* cache = false"):
        loader.parse(text.replace("[model]", "views = 2\n[model]"), "r.toml")


def test_hardware_is_set_from_outside() -> None:
    made = loader.parse(TWO_STAGES, "a.toml", ["hardware.precision=bfloat16", "hardware.halve_batch=true"])
    assert made.hardware == Hardware(precision="bfloat16", halve_batch=True)
    assert loader.parse(TWO_STAGES, "a.toml").hardware == Hardware()


@pytest.mark.parametrize("setting", ["precision=float8", "devices=two", "jit_compile=true", "batch=3"])
def test_wrong_hardware_is_refused(setting: str) -> None:
    with pytest.raises(RecipeError, match=r"\[hardware\]"):
        loader.parse(TWO_STAGES, "a.toml", [f"hardware.{setting}"])


def test_hub_takes_no_mixed_precision() -> None:
    hub = ["model.backbone=hub:net", "model.weights=imagenet", "stage.1.batch_norm=inference"]
    loader.parse(TWO_STAGES, "a.toml", hub)
    with pytest.raises(RecipeError, match="a hub backbone computes in float32"):
        loader.parse(TWO_STAGES, "a.toml", [*hub, "hardware.precision=bfloat16"])


def test_views_of_nothing_are_refused() -> None:
    with pytest.raises(RecipeError, match="no augmentation is switched on"):
        loader.parse(BARE, "views.toml", ["augment.views=3"])


def test_one_view_is_no_augmentation() -> None:
    with pytest.raises(RecipeError, match="expected 0, or 2 or more"):
        loader.parse(BARE, "views.toml", ["augment.views=1", "augment.rotation=0.1"])
    only_changed = ["augment.views=1", "augment.rotation=0.1", "augment.keep_photo=false"]
    assert loader.parse(BARE, "views.toml", only_changed).augment.views == 1


def test_photo_is_kept_among_views_only() -> None:
    with pytest.raises(RecipeError, match="keep_photo: needs views"):
        loader.parse(BARE, "views.toml", ["augment.rotation=0.1", "augment.keep_photo=false"])


def test_too_many_stages_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"\[\[stage\]\]: expected at most 100 tables, got 5001"):
        parse(SMALL + "[[stage]]\n" * 5000, "x.toml")


def test_name_too_long_for_the_bundle_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"\[recipe\] name: .*200 bytes"):
        parse(SMALL, "x.toml", ["recipe.name=" + "é" * 100])


@pytest.mark.parametrize("group", ["(" * 5000 + ")" * 5000, "(a{99999999999})", "(?P<a>x)(?P<a>y)", "(*)"])
def test_impossible_group_is_refused(group: str) -> None:
    with pytest.raises(RecipeError, match=r"\[data\] group"):
        parse(SMALL, "x.toml", [f"data.group={json.dumps(group)}"])


@pytest.mark.parametrize("extra", ["more", "folder:", "csv:more"])
def test_extra_photos_that_name_no_folder_are_refused(extra: str) -> None:
    with pytest.raises(RecipeError, match=r'\[parity\] extra = .*: expected "folder:PATH"'):
        parse(SMALL, "x.toml", [f"parity.extra={extra}"])


def test_extra_photos_are_a_folder() -> None:
    assert (extra_folder("folder:more"), extra_folder("")) == (Path("more"), None)
