r"""Backslashes between double quotes: Windows paths and regular expressions are refused with a way out."""

from __future__ import annotations

import time

import pytest

from tests.helpers.recipes import BARE
from tledge.errors import RecipeError
from tledge.recipe import toml_escapes
from tledge.recipe.loader import parse

REST = '[model]\nbackbone = "tiny"\nweights = "none"\n[[stage]]\n'


def source(value: str) -> str:
    return parse(f"[data]\nsource = {value}\n{REST}", "pets.toml").data.source


@pytest.mark.parametrize(
    ("value", "meaning", "instead"),
    [
        (r'"folder:E:\bilder\neu"', r"\b means a backspace", r"'folder:E:\bilder\neu'"),
        (r'"folder:C:\temp"', r"\t means a tab", '"folder:C:/temp"'),
        (r'"csv:photos\ranked.csv"', r"\r means a carriage return", r"'csv:photos\ranked.csv'"),
        (r'"folder:D:\u00e4pfel"', r"\u00e4 is read as an escape", r"'folder:D:\u00e4pfel'"),
        (r'"folder:\\nas\team"', r"\t means a tab", r"'folder:\\nas\team'"),
        (r'"folder:D:\\photos\new"', r"\n means a new line", r"'folder:D:\photos\new'"),
    ],
)
def test_path_that_is_valid_toml_is_refused(value: str, meaning: str, instead: str) -> None:
    with pytest.raises(RecipeError) as caught:
        source(value)
    text = str(caught.value)
    assert f"pets.toml: line 2: in double quotes {meaning}. Use single quotes" in text and instead in text


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        (r'"folder:C:\Users\anna"', r"'folder:C:\Users\anna'"),
        (r'"folder:D:\Photos"', '"folder:D:/Photos"'),
        (r'"folder:D:/photos\"', '"folder:D:/photos/"'),
        (r'"folder:D:\unten"', r"'folder:D:\unten'"),
    ],
)
def test_path_that_is_invalid_toml_is_explained(value: str, instead: str) -> None:
    with pytest.raises(RecipeError) as caught:
        source(value)
    assert "not valid TOML" in str(caught.value) and instead in str(caught.value)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (r"'folder:D:\new'", r"folder:D:\new"),
        (r'"folder:D:\\new"', r"folder:D:\new"),
        (r'"folder:/tab\u0009here"', "folder:/tab\there"),
        (r'"folder:the \"best\""', 'folder:the "best"'),
        ('"""folder:x"""  # not "D:\\new"', "folder:x"),
    ],
)
def test_what_is_meant_stays(value: str, meant: str) -> None:
    assert source(value) == meant


def test_regular_expression_is_explained() -> None:
    with pytest.raises(RecipeError, match=r"Use single quotes: '\^\(\\d\+\)_'\."):
        parse(f'[data]\nsource = "folder:x"\ngroup = "^(\\d+)_"\n{REST}', "pets.toml")


def test_prose_may_have_lines() -> None:
    text = '[data]\nsource = "folder:x"\nlicence = "CC0\\nby Anna"\n'
    assert parse(text + REST, "pets.toml").data.licence == "CC0\nby Anna"


@pytest.mark.parametrize("value", [r'"folder:D:\new"', r'"folder:D:\dew"'])
def test_setting_is_refused_too(value: str) -> None:
    with pytest.raises(RecipeError, match=r"--set data\.source=.*: in double quotes .*Use single quotes"):
        parse(BARE, "pets.toml", [f"data.source={value}"])


@pytest.mark.parametrize("text", ['"""' * 100_000, r'"\" ' * 50_000, '"\\\\"' * 50_000])
def test_endless_text_is_searched_soon(text: str) -> None:
    begun = time.process_time()
    toml_escapes.find_fault(text)
    assert time.process_time() - begun < 5
