"""TOML within limits: endless files, keys, numbers and nesting are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given

from tests.helpers.recipe_texts import ANYTHING, FULL, SMALL, TEXT, ends_well
from tledge.errors import RecipeError
from tledge.recipe.loader import load, parse


def test_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.toml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(RecipeError, match=r"photo\.toml: not UTF-8"):
        load(tmp_path / "photo.toml")


def test_mark_of_windows_is_read_over(tmp_path: Path) -> None:
    path = tmp_path / "notepad.toml"
    path.write_bytes(b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode())
    assert load(path) == parse(FULL, "notepad.toml")


def test_endless_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.touch()
    os.truncate(path, 1 << 34)
    with pytest.raises(RecipeError, match=r"large\.toml: more than"):
        load(path)


@pytest.mark.parametrize("name", ["a", '"a"', "'a.b'"])
def test_endless_key_is_refused(name: str) -> None:
    """`tomllib` takes the square of its names in time and memory."""
    chain = " . ".join([name] * 100_000)
    with pytest.raises(RecipeError, match="more than 64 names"):
        parse(f"{SMALL}{chain} = 1", "x.toml")
    with pytest.raises(RecipeError, match=r"x\.toml: \[data\] source"):
        parse(SMALL, "x.toml", [f"data.source={{{chain} = 1}}"])


def test_deep_key_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"x\.toml: \[data.a.*nested deeper than 16"):
        parse(SMALL, "x.toml", ["data." + "a." * 40_000 + "a=1"])


@pytest.mark.parametrize(
    "setting", ["recipe.seed", "parity.max_arena_kib", "stage.0.learning_rate", "data.size", "model.head"]
)
@pytest.mark.parametrize("number", ["9" * 400, "-9223372036854775809", "0x" + "f" * 5000])
def test_number_beyond_64_bits_is_refused(setting: str, number: str) -> None:
    value = f"[{number}]" if setting == "model.head" else number
    with pytest.raises(RecipeError, match="a whole number beyond 64 bits") as caught:
        parse(SMALL, "x.toml", [f"{setting}={value}"])
    assert setting.rpartition(".")[2] in str(caught.value)


def test_long_value_is_quoted_from_both_ends() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(SMALL, "x.toml", ["model.backbone=" + "y" * 1_000_000])
    assert len(str(caught.value)) < 700
    assert "[model] backbone" in str(caught.value) and "mobilenetv2" in str(caught.value)


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000], ids=["decimal", "hexadecimal"])
def test_endless_number_is_refused(number: str) -> None:
    with pytest.raises(RecipeError, match=r"^(x\.toml|--set)"):
        parse(SMALL.replace("epochs = 1", f"epochs = {number}"), "x.toml")
    with pytest.raises(RecipeError, match=r"^(x\.toml|--set)"):
        parse(SMALL, "x.toml", [f"stage.0.epochs={number}"])


def test_endless_nesting_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"x\.toml"):
        parse("data = " + "[" * 5000 + "]" * 5000, "x.toml")


@ANYTHING
@given(TEXT)
def test_any_text_ends_well(text: str) -> None:
    ends_well(text)
    ends_well(f"{SMALL}{text}")
