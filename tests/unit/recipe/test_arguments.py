"""Every wrong call of the public API is refused in words, and what can be meant is taken."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tledge
from tests.helpers import fake_pairs
from tests.helpers.recipes import drawn, tiny_recipe
from tests.helpers.small_run import SMALL
from tledge import api
from tledge._io import resource_errors
from tledge.errors import RecipeError, TledgeError
from tledge.recipe import arguments, loader

WRONG: dict[str, Callable[[], object]] = {
    "None": lambda: None,
    "a whole number": lambda: 7,
    "minus one": lambda: -1,
    "a float": lambda: 0.5,
    "NaN": lambda: float("nan"),
    "True": lambda: True,
    "bytes": lambda: b"x",
    "no text": lambda: "",
    "NUL": lambda: "a\0b",
    "a surrogate": lambda: "\ud800",
    "a list of numbers": lambda: [1, 2],
    "a list of None": lambda: [None],
    "nothing": lambda: [],
    "a mapping": lambda: {1: 2},
    "an object": object,
    "an array": lambda: np.zeros(3),
    "a function": lambda: len,
    "a class": lambda: int,
    "a set": lambda: {1.5},
    "a generator": lambda: (number for number in (1, 2)),
    "a complex number": lambda: 1j,
}
"""What nobody should pass, by name; made anew for every call."""

ACCEPTED = {
    **{name: ["None"] for name in ("key", "out", "cache", "run", "sign", "scaling", "labels")},
    "load.image_size": ["None", "a list of numbers"],
    "adopt.image_size": ["None", "a whole number"],
    "variant": ["None", "NUL", "a surrogate"],
    "export.variants": ["None", "NUL", "a surrogate"],
    "compare.variants": ["nothing", "NUL", "a surrogate"],
    **{name: ["True"] for name in ("resume", "force", "unverified")},
    "top": ["a whole number"],
    "settings": ["nothing", "no text", "NUL", "a surrogate"],
    "photo": ["a list of numbers", "a list of None", "nothing"],
    "export.photos": ["None"],
    "verify.photos": ["None"],
    "Classifier.predict_all.photos": [
        "a list of numbers",
        "a list of None",
        "nothing",
        "a set",
        "a generator",
        "an array",
    ],
}
"""What a parameter takes of it: its default, a value of its type, and names and lines that are judged later.
Each of several photos gets an answer, which says where it is none."""

CALLS = {
    "load": {"model": "bundle"},
    "train": {"recipe": "recipe"},
    "adopt": {"model": "photo", "photos": "photo"},
    "export": {"run": "run"},
    "verify": {"model": "bundle"},
    "compare": {"a": "run", "b": "run"},
    "Classifier": {},
    "Classifier.predict": {"photo": "photo"},
    "Classifier.predict_all": {"photos": "photos"},
}
"""Every function of the API, and what it is called with beside one wrong value."""


class Reached(TledgeError):
    """The checks are over, and work would begin."""


def callables() -> Iterator[tuple[str, Callable[..., object]]]:
    """Functions, classes that are no records, and their public methods, of all that the API names."""
    for name in tledge.__all__:
        value = getattr(tledge, name)
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value) and not is_dataclass(value) and not issubclass(value, Exception):
            yield name, value
            for method in vars(value):
                if not method.startswith("_") and inspect.isfunction(getattr(value, method)):
                    yield f"{name}.{method}", getattr(value, method)


PARAMETERS = [
    (name, parameter)
    for name, function in callables()
    for parameter in inspect.signature(function).parameters
    if parameter != "self"
]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory, shared_bundle: Path) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("arguments")
    (folder / "tiny.toml").write_text(tiny_recipe(drawn(30, 9)))
    photo = sorted((shared_bundle / "golden").glob("*.png"))[0]
    files = {"bundle": shared_bundle, "run": fake_pairs.run(folder / "run"), "recipe": folder / "tiny.toml"}
    return {**files, "photo": photo, "photos": [photo], "model": tledge.load(shared_bundle)}


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """No work is done: it is enough that it would begin."""

    def stop(*_arguments: object, **_options: object) -> None:
        raise Reached

    for module, name in (
        (api.pipeline, "train"), (api, "export_run"), (api, "verify_bundle"), (api.compare_models, "compare"),
        (api, "open_predictor"), (api.adoption, "adopt"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, stop)


def refusal(values: dict[str, object], name: str, parameter: str, wrong: object) -> TledgeError | None:
    """The error of a call with one wrong value; None where it is taken."""
    passed = {key: values[kind] for key, kind in CALLS[name].items()} | {parameter: wrong}
    if name.startswith("Classifier."):
        passed["self"] = values["model"]
    try:
        answer = dict(callables())[name](**passed)
        if name == "Classifier.predict_all":
            list(answer)  # type: ignore[call-overload]
    except Reached:
        return None
    except TledgeError as error:
        return error
    return None


def test_every_function_is_called() -> None:
    assert set(dict(callables())) == set(CALLS)
    assert len(PARAMETERS) * len(WRONG) >= 104


@pytest.mark.usefixtures("reached")
@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_wrong_value_is_refused_by_name(values: dict[str, object], name: str, parameter: str) -> None:
    photo = "(expected|pixels: expected|1 bytes: not an image)"
    words = photo if parameter == "photo" else f"({parameter}|{name}): "
    for kind, make in WRONG.items():
        error = refusal(values, name, parameter, make())
        is_refused = bool(error and re.match(words, str(error)))
        is_wanted = kind not in ACCEPTED.get(f"{name}.{parameter}", ACCEPTED.get(parameter, []))
        assert is_refused == is_wanted, f"{name}({parameter}={kind}): {error}"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("photo.jpg", "got 'photo.jpg'. For a single photo use predict"),
        (b"photo", "For a single photo"),
        (Path("photo.jpg"), "For a single photo"),
        (np.zeros((4, 4, 3), np.uint8), "got ndarray. For a single photo"),
    ],
)
def test_single_photo_is_not_taken_apart(values: dict[str, Any], wrong: Any, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        values["model"].predict_all(wrong)


def test_photos_that_are_none_get_an_answer(values: dict[str, Any]) -> None:
    bad, missing, good = values["model"].predict_all(
        iter([None, "none.jpg", values["photo"]]), top=np.int64(1)
    )
    assert "got None" in bad.error and missing.error == "none.jpg: no such file."
    assert missing.image == "none.jpg" and len(good.predictions) == 1


def test_unknown_kernels_are_named(values: dict[str, Any]) -> None:
    for call in (tledge.load, tledge.verify):
        with pytest.raises(RecipeError, match=r"kernels: expected one of xnnpack.*Did you mean 'xnnpack'"):
            call(values["bundle"], kernels="xnnpak")


def test_export_of_no_variant_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="variants: names nothing"):
        tledge.export(values["run"], [])
    with pytest.raises(RecipeError, match="variants has no variant 'tflite-int9'"):
        tledge.export(values["run"], "tflite-int9")


def test_settings_are_read_back() -> None:
    asked = {
        "stage.0.epochs": 2,
        "stage.0.learning_rate": 1e-3,
        "stage.0.nesterov": True,
        "model.head": [8, 4],
    }
    lines = arguments.settings({**asked, "model.backbone": "tiny"})
    made = loader.parse(SMALL, "small.toml", lines)
    assert (made.stage[0].epochs, made.stage[0].learning_rate, made.stage[0].nesterov) == (2, 1e-3, True)
    assert made.model.head == (8, 4) and made.model.backbone == "tiny"
    assert arguments.settings("a.b=1") == arguments.settings(["a.b=1"]) == ("a.b=1",)


def test_settings_take_what_is_meant(tmp_path: Path) -> None:
    asked = {
        "stage.0": {"epochs": np.int64(2), "learning_rate": np.float64(1e-3)},
        "model.head": np.array([8, 4]),
        "model.weights": tmp_path / "3.h5",
        "stage.0.nesterov": np.bool_(True),
    }
    made = loader.parse(SMALL, "small.toml", arguments.settings(asked))
    assert (made.stage[0].epochs, made.stage[0].learning_rate, made.stage[0].nesterov) == (2, 1e-3, True)
    assert made.model.head == (8, 4) and made.model.weights == str(tmp_path / "3.h5")


@pytest.mark.parametrize(
    "value", [None, b"x", object(), {1, 2}, [None], np.array([1j]), [[[object()]]], {3: 4}]
)
def test_setting_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(RecipeError, match=r"^settings: .*(expected|cannot be written)"):
        arguments.settings({"stage.0.epochs": value})


def test_endless_settings_are_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    nested: dict[str, object] = {}
    nested["a"] = nested
    for value in (endless, nested, 10**5000):
        with pytest.raises(RecipeError, match=r"^settings: "):
            arguments.settings({"a": value})


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner)
)


@settings(max_examples=20, deadline=None)
@given(VALUES)
def test_any_value_is_taken_or_refused(value: Any) -> None:
    """Nothing but a RecipeError leaves a check, whatever it is given."""
    checks: list[Callable[[Any, str], object]] = [
        arguments.path, arguments.optional_path, arguments.optional_name, arguments.names,
        arguments.some_names, arguments.flag, arguments.count, arguments.progress,
        lambda value, _: arguments.settings(value),
        lambda value, _: arguments.settings({"a": value}), lambda value, _: arguments.several(value, "a", ""),
        lambda value, name: arguments.one_of(value, name, ["a"]),
    ]  # fmt: skip
    for check in checks:
        try:
            check(value, "value")
        except RecipeError as error:
            assert 8 < len(str(error)) < 400


class Nowhere:
    """Says that it is a path."""

    def __fspath__(self) -> str:
        raise OSError("gone")


class Bytes:
    """A path of bytes, which Python allows."""

    def __fspath__(self) -> bytes:
        return b"x"


@pytest.mark.parametrize("wrong", [Nowhere(), Bytes()])
def test_path_that_is_none_is_refused(values: dict[str, Any], wrong: Any) -> None:
    with pytest.raises(RecipeError, match=r"^model: expected a path"):
        tledge.load(wrong)
    with pytest.raises(TledgeError, match="which is no path"):
        values["model"].predict(wrong)


@pytest.mark.parametrize("model", ["x" * 5000, "tiny.toml/below", "none"])
def test_place_that_cannot_be_is_explained(values: dict[str, Any], model: str) -> None:
    home = Path(str(values["recipe"])).parent
    for call in (tledge.load, tledge.verify, lambda path: tledge.compare(path, path), tledge.export):
        with pytest.raises(TledgeError, match=r"\.$|\. "):
            call(home / model)


def test_error_of_the_system_is_one_of_ours() -> None:
    @resource_errors.system_errors_explained
    def refused() -> None:
        raise NotADirectoryError(20, "Not a directory", "a/b")

    with pytest.raises(TledgeError, match=r"^a/b: Not a directory\.$"):
        refused()
