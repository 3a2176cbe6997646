"""Mutate what people write by hand with hypothesis, and give it to tledge.

    python -m torture.workers.recipe_fuzzer EXAMPLES SEED RESULT

Every property counts its examples. The result is JSON: examples by property, and what went wrong,
each with the smallest example that hypothesis found.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import types
import typing
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tledge import config, contract
from tledge.data.sources import csv as csv_source
from tledge.errors import DataError, MissingError, RecipeError, TledgeError
from tledge.recipe.definition import Recipe
from tledge.recipe.loader import load, parse
from tledge.training.multi_host import Hosts

NAME = "fuzz.toml"
LONGEST = 1000
"""Characters of a message; a person reads it."""

SLOW = 5.0
"""Seconds that no example may take, not even beside another process."""

FULL = """\
[recipe]
name = "hands"
version = "2.1"
seed = 7
[data]
source = "drawn"
size = 64
group = "near-duplicates"
[data.splits]
validation = { from = "train", fraction = 0.25 }
test = "test"
[model]
backbone = "mobilenetv2"
alpha = 0.35
head = [64, 32]
[augment]
flip = "horizontal"
rotation = 0.1
[hardware]
precision = "float32"
halve_batch = true
[log]
tensorboard = true
[[stage]]
name = "head"
epochs = 3
[[stage]]
name = "tune"
unfreeze = "block_15_expand"
learning_rate = 1
schedule = "cosine"
[export]
variants = ["tflite-int8"]
[export.calibration]
images = 50
[export.int8]
repair = true
[parity]
max_drop = 0.05
[abstain]
give_up = 0
[expect]
test_accuracy = 0.9
"""
LINES = FULL.splitlines()
NASTY = (
    "nan", "-inf", "+inf", "1e400", "-0.0", "9" * 400, "9" * 5000, "0x" + "f" * 5000, "-9223372036854775809",
    "1_000", "0b1", "1979-05-27", "07:32:00", "1979-05-27T07:32:00+23:59", "0000-00-00", "true", "false",
    '""', '"' + "x" * 70_000 + '"', '"\\u0000"', '"\\ud800"', '"\\U0010ffff"', "'''\n'''", '"""\n"""', '"..',
    "[]", "[[[]]]", "[" * 600 + "]" * 600, "[1, 'a', {}]", "{}", "{ a = 1, a = 2 }", "{ from = 'train' }",
    "{ a = " * 300 + "1" + " }" * 300, "{ " + ".".join("a" * 5000) + " = 1 }", "[nan]", "[[1, 2], [3]]",
    "\\", "#", "=", "\0", "\ufeff", "\x1b[31m", "🌷", "'a' 'b'", "1 2", "1.", ".5", "+", "--1", "0777",
)  # fmt: skip
STRANGE = (
    "[data.data]", "[[data]]", "[stage]", "[[stage]]", "[", "[]", "[[]]", "[.]", "[a..b]", "[recipe.name]",
    "data = 1", "stage = []", "stage = [1]", "data.splits.train.from = 1", '"" = 1', "'a.b' = 2", "a.b.c = 3",
    "[" + ".".join("a" * 3000) + "]", "[[stage.more]]", "[export.calibration.images]", "x" * 20_000 + " = 1",
    "\n" * 2000, "# " + "c" * 50_000, "\t= 1", "seed", "seed =", "= 7", "seed = 7 seed = 8", "\r", "\x00",
)  # fmt: skip
TEXT = st.text(max_size=200) | st.text("abeflnrtx0195_-+.=[]{}#,:\"'\\ \n\t²é🌷\0", max_size=80)


def assert_ends_well(make: Callable[[], object], *starts: str, kinds: tuple[type[TledgeError], ...]) -> None:
    """Assert that this gives a value, or an error of these kinds that begins so, soon and in few words."""
    began = time.monotonic()
    try:
        make()
    except kinds as error:
        text = str(error)
        assert text.startswith(starts), f"does not begin with its place: {text[:200]!r}"
        assert len(text) <= LONGEST, f"a message of {len(text)} characters: {text[:200]!r}"
    seconds = time.monotonic() - began
    assert seconds < SLOW, f"took {seconds:.1f} s"


def assert_recipe_ends_well(make: Callable[[], Recipe]) -> None:
    """Assert that this gives a recipe whose numbers are within their limits, or a RecipeError."""

    def checked() -> None:
        recipe = make()
        for field in fields(Recipe):
            value = getattr(recipe, field.name)
            for table in value if isinstance(value, tuple) else (value,):
                assert_within_limits(table)

    assert_ends_well(checked, f"{NAME}: ", "--set ", str(Path(tempfile.gettempdir())), kinds=(RecipeError,))


def assert_within_limits(table: Any) -> None:
    """Assert that every value of a table has the type and the range that its field says."""
    hints = typing.get_type_hints(type(table))
    for field in fields(table):
        value, low, high = getattr(table, field.name), field.metadata.get("low"), field.metadata.get("high")
        assert is_kind(value, hints[field.name]), f"{field.name} = {value!r} is no {hints[field.name]}"
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                assert isfinite(number) or low is high is None, f"{field.name} = {number!r}"
                assert low is None or number >= low, f"{field.name} = {number!r}"
                assert high is None or number <= high, f"{field.name} = {number!r}"
        if is_dataclass(value):
            assert_within_limits(value)


def is_kind(value: object, hint: Any) -> bool:
    """Check whether a value has the type of an annotation, where the annotation names plain types."""
    if isinstance(hint, types.UnionType):
        return any(is_kind(value, member) for member in hint.__args__)
    if hint in (int, float):
        return type(value) is hint
    return isinstance(value, typing.get_origin(hint) or hint)


@given(TEXT | st.binary(max_size=300))
def any_text(written: str | bytes) -> None:
    """Load any text or bytes as a recipe's file."""
    data = written.encode("utf-8", "surrogatepass") if isinstance(written, str) else written
    assert_recipe_ends_well(lambda: load_bytes(data))


def load_bytes(data: bytes) -> Recipe:
    """Load a recipe from a file with these bytes."""
    path = Path(tempfile.gettempdir()) / NAME
    path.write_bytes(data)
    return load(path)


CHANGES = st.tuples(
    st.sampled_from(["value", "line", "drop", "twice", "swap", "cut", "text", "key"]),
    st.integers(0, len(LINES) - 1),
    st.sampled_from(NASTY),
    st.sampled_from(STRANGE),
    st.integers(0, len(LINES) - 1),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp037", "crlf", "cr", "cut")


@given(st.lists(CHANGES, min_size=1, max_size=4), st.sampled_from(ENCODINGS))
def changed(changes: list[tuple[str, int, str, str, int]], encoding: str) -> None:
    """Change lines and values of a good recipe, write it in some encoding, and load it."""
    lines = list(LINES)
    for change in changes:
        change_line(lines, *change)
    text = "\n".join(lines)
    if encoding in ("crlf", "cr"):
        data = text.replace("\n", {"crlf": "\r\n", "cr": "\r"}[encoding]).encode()
    elif encoding == "cut":
        data = text.encode()[: -1 - changes[0][4]]
    else:
        data = text.encode(encoding, "replace")
    assert_recipe_ends_well(lambda: load_bytes(data))


def change_line(lines: list[str], kind: str, at: int, nasty: str, strange: str, other: int) -> None:
    """Change one line in place."""
    at, other = at % max(1, len(lines)), other % max(1, len(lines))
    if not lines:
        lines.append(strange)
    elif kind == "value":
        lines[at] = f"{lines[at].partition('=')[0]}= {nasty}"
    elif kind == "key":
        lines[at] = f"{nasty} = {lines[at].partition('=')[2]}"
    elif kind == "line":
        lines.insert(at, strange)
    elif kind == "text":
        lines[at] = lines[at][: other % 9] + nasty[:40] + lines[at][other % 9 :]
    elif kind == "drop":
        del lines[at]
    elif kind == "twice":
        lines.insert(other, lines[at])
    elif kind == "swap":
        lines[at], lines[other] = lines[other], lines[at]
    else:
        del lines[at + 1 :]


PATHS = st.sampled_from([
    "data", "stage", "stage.0", "stage.0.unfreeze", "stage.0.epochs", "stage.1.learning_rate", "data.source",
    "data.splits", "data.splits.train", "data.splits.train.fraction", "data.size", "model", "model.head",
    "model.alpha", "model.weights", "model.loss", "model.backbone", "model.input_range", "export",
    "export.int8", "export.variants", "recipe.name", "recipe.version", "augment.flip", "parity.max_drop",
    "parity.max_arena_kib", "data.group", "stage.0.decay", "stage.9.epochs", "stage.-1.name", "a.b.c",
    "log", "log.tensorboard", "hardware.precision", ".".join("a" * 3000), "", ".", "stage.0.",
])  # fmt: skip
VALUES = st.sampled_from(NASTY) | TEXT | st.integers().map(str) | st.floats().map(repr)


@given(st.lists(st.tuples(PATHS | TEXT, st.sampled_from(["=", " = ", ""]), VALUES), max_size=3))
def settings_ending_well(chosen: list[tuple[str, str, str]]) -> None:
    """Parse any `--set`."""
    assert_recipe_ends_well(lambda: parse(FULL, NAME, ["".join(parts) for parts in chosen]))


KEYS = [
    (where, field, typing.get_type_hints(cls)[field.name])
    for where, cls in (
        ("recipe", config.Meta), ("data", config.Data), ("model", config.Model), ("augment", config.Augment),
        ("stage.0", config.Stage), ("hardware", config.Hardware), ("log", config.Log),
        ("export", config.Export), ("export.int8", config.Int8), ("export.calibration", config.Calibration),
        ("parity", config.Parity), ("abstain", config.Abstain), ("expect", config.Expect),
    )
    for field in fields(cls)
    if field.name not in ("options",)
]  # fmt: skip
"""Every key of every table, with its field and its type."""

KINDS = {
    bool: "true",
    int: "7",
    float: "0.5",
    str: '"word"',
    dict: "{ a = 1 }",
    list: "[{}]",
    object: "07:32:00",
}


@given(st.sampled_from(KEYS), st.sampled_from(sorted(KINDS, key=str)), st.booleans())
def wrong_kinds(key: tuple[str, Any, Any], kind: type, is_beyond: bool) -> None:
    """Refuse a value of a wrong type, or beyond its key's limit, by table and key."""
    where, field, hint = key
    limit = field.metadata.get("high")
    if is_beyond and limit is not None:
        value = repr(limit + 1 if hint is int else limit * 1.5 + 1)
    elif is_wrong(hint, kind):
        value = KINDS[kind]
    else:
        return
    try:
        parse(FULL, NAME, [f"{where}.{field.name}={value}"])
    except RecipeError as error:
        words = where.replace("stage.0", "stage").split(".")
        assert all(word in str(error) for word in (*words, field.name)), f"names no key: {error}"
    else:
        raise AssertionError(f"{where}.{field.name} = {value} was taken")


def is_wrong(hint: Any, kind: type) -> bool:
    """Check whether a value of this type is one that a key of that annotation must refuse."""
    allowed = {float: {int, float}, int: {int}, bool: {bool}, str: {str}, str | int: {str, int}}
    if is_dataclass(hint):
        return kind is not dict
    return kind not in allowed.get(hint, {list} if kind is not list else set())


CELLS = st.sampled_from(
    ["path", "label", "a.png", "b.png", "..", "/", "", " ", '"', "rose", "\0", "x" * 5000, "é"]
)
TABLES = st.lists(st.lists(CELLS | TEXT, max_size=4).map(",".join), max_size=6).map("\n".join)


@given(
    TABLES | st.just("path,label\na.png,x\n"), st.sampled_from([",", ";", "\t", "", '"', "ab", "\n", "\0"])
)
def csv_tables(text: str, delimiter: str) -> None:
    """Read any CSV file of photos."""
    path = Path(tempfile.gettempdir()) / "photos.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    options = {**csv_source.OPTIONS, "path": str(path), "delimiter": delimiter}
    kinds = (DataError, MissingError, RecipeError)
    try:
        scan = csv_source.scan(options)
        assert scan.fingerprint() and scan.count() == len(list(scan.records()))
    except kinds as error:
        assert str(error).startswith((str(path), "[data] delimiter"))


@given(TEXT | st.sampled_from(["h:1", "h:0", ":1", "h:", "[::1]:80", "h:99999", "h:²", "h: 1", "h:1_0"]),
       st.integers(-3, 5), st.integers(-3, 5))  # fmt: skip
def coordinators(address: str, processes: int, process: int) -> None:
    """Parse any `--coordinator`, `--processes` and `--process`."""
    assert_ends_well(lambda: Hosts(address, processes, process), "--", kinds=(RecipeError,))


@given(TEXT)
def label_lists(text: str) -> None:
    """Parse any `labels.txt`; what is written of its names gives them again."""
    names = contract.parse_labels(text)
    if all(names):
        assert contract.parse_labels(contract.labels_text(names)) == names


PROPERTIES: dict[Callable[..., None], int] = {
    any_text: 25, changed: 35, settings_ending_well: 20, wrong_kinds: 5, csv_tables: 10, coordinators: 3,
    label_lists: 2,
}  # fmt: skip
"""What is tried, and its share of the examples in percent."""


def describe(error: BaseException) -> str:
    """Describe what went wrong, and hypothesis' example of it; of several, each."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(member) for member in error.exceptions)
    notes = " ".join(getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {str(error)[:300]} {notes[:600]}"


def try_properties(examples: int, rng: int) -> dict[str, Any]:
    """Try every property on its share of the examples."""
    counts: Counter[str] = Counter()
    failed: dict[str, str] = {}
    warnings.simplefilter("error")  # a user would read them
    for wanted, share in PROPERTIES.items():
        name, inner = wanted.__name__, wanted.hypothesis.inner_test  # type: ignore[attr-defined]

        def counted(
            *arguments: Any, name: str = name, inner: Callable[..., None] = inner, **keywords: Any
        ) -> None:
            counts[name] += 1
            inner(*arguments, **keywords)

        wanted.hypothesis.inner_test = counted  # type: ignore[attr-defined]
        limits = settings(
            max_examples=max(1, examples * share // 100),
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        try:
            limits(seed(rng)(wanted))()
        except BaseException as error:
            failed[name] = describe(error)
    return {"examples": dict(counts), "failed": failed}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        tempfile.tempdir = scratch
        outcome = try_properties(int(sys.argv[1]), int(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(outcome), encoding="utf-8")
