"""Check what a caller passes to the Python API.

Each function takes a value and the name of its parameter, and returns the value in one form. It raises
RecipeError for a wrong one, which names the parameter, what was expected and what came instead.
"""

from __future__ import annotations

import difflib
import json
import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import IOBase
from pathlib import Path, PurePath
from typing import NoReturn, SupportsIndex, TypeVar

from tledge.errors import RecipeError
from tledge.progress import Progress

T = TypeVar("T")

A_PATH = "a path (str or Path), a Run or an Exported"
SINGLE = (str, bytes, bytearray, memoryview)
"""Types of one value that Python would iterate letter by letter, or byte by byte."""


def path(value: object, name: str) -> Path:
    """Return a path that is neither empty nor impossible."""
    if not isinstance(value, (str, os.PathLike)):
        _refuse(name, A_PATH, value)
    try:
        text = os.fspath(value)
    except Exception as error:
        raise RecipeError(f"{name}: expected {A_PATH}; its __fspath__ fails ({error!r}).") from error
    if not isinstance(text, str):
        _refuse(name, A_PATH, text)
    if not text:
        raise RecipeError(f"{name}: expected {A_PATH}, got an empty text.")
    if "\0" in text or not _is_encodable(text):
        raise RecipeError(f"{name}: {text[:80]!r} holds characters that no path can have.")
    return Path(text)


def optional_path(value: object, name: str) -> Path | None:
    """Return a path, or None for None."""
    return None if value is None else path(value, name)


def optional_name(value: object, name: str) -> str | None:
    """Return a name that is not empty, or None for None."""
    return None if value is None else _name(value, name)


def names(value: object, name: str) -> tuple[str, ...]:
    """Return the names in an iterable; a single text is one name."""
    if isinstance(value, str):
        return (_name(value, name),)
    if not isinstance(value, Iterable) or isinstance(value, SINGLE):
        _refuse(name, 'names in a list, such as ["tflite-int8"]', value)
    return tuple(_name(item, name) for item in value)


def some_names(value: object, name: str) -> tuple[str, ...]:
    """Return the names in an iterable, of which there is at least one."""
    found = names(value, name)
    if not found:
        raise RecipeError(f"{name}: names nothing. Name at least one, or leave {name} out for the default.")
    return found


def one_of(value: object, name: str, choices: Sequence[str]) -> str:
    """Return one of a few names."""
    if isinstance(value, str) and value in choices:
        return str(value)
    close = difflib.get_close_matches(value, choices, 1) if isinstance(value, str) else []
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise RecipeError(f"{name}: expected one of {', '.join(choices)}; got {_shown(value)}.{hint}")


def flag(value: object, name: str) -> bool:
    """Return True or False; a text such as "no" would count as True."""
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):  # numpy's too
        return bool(value)
    _refuse(name, "True or False", value)


def count(value: SupportsIndex, name: str) -> int:
    """Return a whole number of at least 1."""
    expected = "a whole number of at least 1"
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        _refuse(name, expected, value)
    try:
        number = operator.index(value)
    except TypeError:  # numpy's bool, and arrays of several numbers
        _refuse(name, expected, value)
    if number < 1:
        _refuse(name, expected, value)
    return number


def progress(value: Progress, name: str) -> Progress:
    """Return an object that has the methods of `tledge.progress.Progress`."""
    missing = [method for method in ("start", "finish", "say") if not callable(getattr(value, method, None))]
    if missing or isinstance(value, type):
        _refuse(name, "a tledge.progress.Progress, with methods start, finish and say", value)
    return value


def several(value: Iterable[T], name: str, advice: str) -> Iterable[T]:
    """Return an iterable that is not one value itself; `advice` says how to pass a single value."""
    is_single = isinstance(value, (*SINGLE, Mapping, os.PathLike, IOBase))
    is_image = getattr(value, "ndim", 1) in (0, 2, 3)  # an array of one photo
    if is_single or is_image or not isinstance(value, Iterable):
        raise RecipeError(f"{name}: expected a list or another iterable; got {_shown(value)}. {advice}")
    return value


def settings(value: Mapping[str, object] | Iterable[str]) -> tuple[str, ...]:
    """Write settings as --set takes them: a mapping by key, or lines `KEY=VALUE`."""
    if isinstance(value, Mapping):
        return tuple(_setting_lines(value))
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable) or isinstance(value, SINGLE):
        _refuse("settings", 'keys and values, such as {"stage.0.epochs": 2}', value)
    lines = tuple(value)
    for line in lines:
        if not isinstance(line, str):
            _refuse("settings", 'lines such as "stage.0.epochs=2", or a mapping', line)
    return lines


def _setting_lines(table: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if not isinstance(key, str) or not key:
            _refuse("settings", 'keys such as "stage.0.epochs"', key)
        if len(prefix) > 200:
            raise RecipeError("settings: nested deeper than any recipe.")
        if isinstance(value, Mapping):
            yield from _setting_lines(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={_setting_text(value, prefix + key)}"


def _setting_text(value: object, key: str) -> str:
    """Write a value; numbers, booleans and lists are the same in JSON and TOML."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(_plain(value, key), ensure_ascii=False)
    except (ValueError, RecursionError) as error:  # endless, or a number of thousands of digits
        raise RecipeError(f"settings: {key}: cannot be written as TOML ({error}).") from error


def _plain(value: object, key: str) -> object:
    """Turn numpy's numbers and arrays, paths and tuples into what JSON has."""
    if isinstance(value, PurePath):
        return str(value)
    if type(value).__module__ == "numpy" and callable(tolist := getattr(value, "tolist", None)):
        value = tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item, key) for item in value]
    if not isinstance(value, (str, bool, int, float)):
        _refuse(f"settings: {key}", "text, a number, True, False, a path or a list of these", value)
    return value


def _name(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        _refuse(name, 'a name, such as "tflite-int8"', value)
    return str(value)


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _refuse(name: str, expected: str, value: object) -> NoReturn:
    raise RecipeError(f"{name}: expected {expected}; got {_shown(value)}.")


def _shown(value: object) -> str:
    """Show a short value itself, and of any other its type."""
    kind = type(value).__name__
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        text = f"{value!r}" if not isinstance(value, int) or abs(value) < 10**20 else "a huge number"
        return text if len(text) <= 60 else f"{text[:60]}… ({kind})"
    return f"{kind}"
