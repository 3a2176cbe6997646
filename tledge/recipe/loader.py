"""From TOML to a frozen `Recipe`: every key, type, range and name checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from tledge import config
from tledge.data.sources.registry import SOURCES
from tledge.errors import RecipeError
from tledge.recipe import toml_reader
from tledge.recipe.checks import check, unknown
from tledge.recipe.definition import Recipe, table_name
from tledge.run.folder import RunFolder

T = TypeVar("T")

MOST_STAGES = 100


def load(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe file; `settings` are overrides like "stage.0.epochs=2".

    Raises RecipeError, naming the file, the table, the key, what was expected and the nearest
    known spelling.
    """
    return parse(toml_reader.read_text(path), path.name, settings)


def of_run(folder: RunFolder) -> Recipe:
    """The recipe that a run was made with, its `--set` included; raises RunError where there is none."""
    settings = folder.read_environment().get("settings", [])
    return parse(text_of_run(folder), folder.recipe.name, settings)


def text_of_run(folder: RunFolder) -> str:
    """Read the recipe file that a run keeps; raises RecipeError where it cannot be read."""
    return folder.once.get(folder.recipe, "text", lambda: toml_reader.read_text(folder.recipe))


def parse(text: str, where: str, settings: Sequence[str] = ()) -> Recipe:
    """A checked recipe from TOML text; `where` names it in messages. Raises RecipeError."""
    try:
        raw = toml_reader.loads(text)
    except ValueError as error:  # TOMLDecodeError, endless numbers and nesting
        raise RecipeError(f"{where}: not valid TOML: {toml_reader.cut(str(error))}.") from error
    for setting in settings:
        try:
            _override(raw, setting)
        except RecipeError as error:
            raise RecipeError(toml_reader.cut(str(error))) from None
    try:
        toml_reader.refuse_endless(raw)
        made = _recipe(raw)
        if not made.meta.name:
            made = replace(made, meta=replace(made.meta, name=Path(where).stem))
        check(made)
    except RecipeError as error:
        raise RecipeError(f"{where}: {toml_reader.cut(str(error))}") from None
    return made


def _recipe(raw: dict[str, Any]) -> Recipe:
    known = [table_name(field.name) for field in fields(Recipe)]
    _refuse_unknown("the recipe", raw, known, "table")
    for name in ("data", "model", "stage"):
        if name not in raw:
            raise RecipeError(f"[{name}] is missing; a recipe has [data], [model] and [[stage]].")
    stages = raw["stage"]
    if not isinstance(stages, list) or not stages:
        raise RecipeError("[[stage]]: expected one table or more, with two brackets.")
    if len(stages) > MOST_STAGES:
        raise RecipeError(f"[[stage]]: {len(stages)} of them, at most {MOST_STAGES} are taken.")
    return Recipe(
        meta=_table(config.Meta, raw.get("recipe", {}), "[recipe]"),
        data=_data(raw["data"]),
        model=_table(config.Model, raw["model"], "[model]"),
        augment=_table(config.Augment, raw.get("augment", {}), "[augment]"),
        stage=tuple(_stage(one, number) for number, one in enumerate(stages, 1)),
        hardware=_table(config.Hardware, raw.get("hardware", {}), "[hardware]"),
        log=_table(config.Log, raw.get("log", {}), "[log]"),
        export=_table(config.Export, raw.get("export", {}), "[export]"),
        parity=_table(config.Parity, raw.get("parity", {}), "[parity]"),
        abstain=_table(config.Abstain, raw.get("abstain", {}), "[abstain]"),
        expect=_table(config.Expect, raw.get("expect", {}), "[expect]"),
    )


def _stage(raw: object, number: int) -> config.Stage:
    stage = _table(config.Stage, raw, f"[[stage]] {number}")
    return stage if stage.name else replace(stage, name=f"stage {number}")


def _data(raw: object) -> config.Data:
    """`[data]`: its own keys are checked here, the others go to the source as options."""
    table = _expect_table(raw, "[data]")
    own = {one.name for one in fields(config.Data)} - {"options"}
    if "source" not in table:
        raise RecipeError(f"[data] source is missing; one of {', '.join(SOURCES)}.")
    name = str(table["source"]).partition(":")[0]
    if name not in SOURCES:
        raise RecipeError(unknown("[data] source", "source", name, SOURCES))
    options = {key: value for key, value in table.items() if key not in own}
    _refuse_unknown("[data]", options, [*own, *SOURCES[name].module.OPTIONS], "key")
    plain = {key: table[key] for key in own & set(table) - {"splits"}}
    data = _table(config.Data, plain, "[data]")
    return replace(data, options=options, splits=_splits(table.get("splits", {})))


def _splits(raw: object) -> config.Splits:
    table = _expect_table(raw, "[data.splits]")
    known = [one.name for one in fields(config.Splits)]
    _refuse_unknown("[data.splits]", table, known, "key")
    return config.Splits(**{name: _take(value, name) for name, value in table.items()})


def _take(raw: object, name: str) -> config.SplitPart:
    where = f"[data.splits] {name}"
    if isinstance(raw, str):
        first, *others = [_slice(part, where) for part in raw.split("+")]
        return replace(first, also=tuple(others))
    if not isinstance(raw, dict):
        raise RecipeError(
            f'{where}: expected a source split such as "train" or "train[:90%]", or {{ from = NAME }} '
            f"with one of {', '.join(SHARES)}; got {raw!r}."
        )
    _refuse_unknown(where, raw, ["from", *SHARES], "key")
    kinds = [kind for kind in SHARES if kind in raw]
    if not isinstance(raw.get("from"), str) or len(kinds) != 1:
        raise RecipeError(f'{where}: expected from = "NAME" and one of {", ".join(SHARES)}, got {raw}.')
    is_fine, expected = SHARES[kinds[0]]
    if not is_fine(raw[kinds[0]]):
        raise RecipeError(f"{where} {kinds[0]}: expected {expected}, got {raw[kinds[0]]!r}.")
    if "+" in raw["from"]:
        raise RecipeError(f"{where}: a share is taken from one source split, not from {raw['from']!r}.")
    return replace(_slice(raw["from"], where), **{kinds[0]: raw[kinds[0]]})


def _slice(text: str, where: str) -> config.SplitPart:
    """A source split's name, or a slice of one as TensorFlow Datasets writes it: "train[:90%]"."""
    found = re.fullmatch(r"([^\[\]]+)(?:\[(-?\d{1,12}%?)?:(-?\d{1,12}%?)?\])?", text.strip())
    if not found:
        raise RecipeError(f'{where}: expected a split such as "train" or "train[10%:90%]", got {text!r}.')
    bounds = [bound or "" for bound in found.groups()[1:]]
    for bound in bounds:
        if bound.endswith("%") and abs(int(bound[:-1])) > 100:
            raise RecipeError(f"{where}: {bound} of a split does not exist, in {text!r}.")
    return config.SplitPart(found[1].strip(), start=bounds[0], stop=bounds[1])


def _is_share(value: object) -> bool:
    return isinstance(value, float) and 0 < value < 1


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


SHARES: dict[str, tuple[Callable[[object], bool], str]] = {
    "fraction": (_is_share, "a share between 0 and 1"),
    "count": (_is_count, "a whole number above 0"),
    "files": (_is_share, "a share of the files between 0 and 1"),
    "pattern": (lambda value: isinstance(value, str) and bool(value), "a glob for ids, such as *_val_*"),
}
"""Ways to take a part of a source split: what each accepts, and how that is put in words."""


def _expect_table(raw: object, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise RecipeError(f"{where}: expected a table, got {raw!r}.")
    return raw


def _table(cls: type[T], raw: object, where: str) -> T:
    """A frozen table from a TOML table, each value checked against its field."""
    table = _expect_table(raw, where)
    known = {one.name: one for one in fields(cls)}  # type: ignore[arg-type]
    _refuse_unknown(where, table, known, "key")
    hints = get_type_hints(cls)
    values = {
        name: _value(value, known[name], hints[name], f"{where} {name}") for name, value in table.items()
    }
    return cls(**values)


def _value(value: Any, field: Field[Any], hint: Any, where: str) -> Any:
    if field.default is not MISSING and hasattr(field.default, "__dataclass_fields__"):
        return _table(hint, value, f"{where.replace('] ', '.')}]")
    if str(hint).startswith("tuple"):
        return _list(value, field, hint, where)
    if not _fits(value, hint):
        raise RecipeError(f"{where}: expected {_type_name(hint)}, got {value!r}.")
    _check_range(value, field, where)
    return float(value) if hint is float else value


def _list(value: Any, field: Field[Any], hint: Any, where: str) -> tuple[Any, ...]:
    item = hint.__args__[0]
    if not isinstance(value, list) or not all(_fits(one, item) for one in value):
        raise RecipeError(f"{where}: expected a list, each {_type_name(item)}, got {value!r}.")
    for one in value:
        _check_range(one, field, where)
    return tuple(value)


def _fits(value: object, hint: Any) -> bool:
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, (int, float))
    return isinstance(value, hint)


def _type_name(hint: Any) -> str:
    names = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
    return names.get(hint, "text in quotes or a whole number")


def _check_range(value: Any, field: Field[Any], where: str) -> None:
    low, high, choices = (field.metadata.get(name) for name in ("low", "high", "choices"))
    if choices and value not in choices:
        raise RecipeError(unknown(where, "value", value, choices))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    if (low is not None and not value >= low) or (high is not None and not value <= high):  # NaN too
        limits = {"at least": low, "at most": high}
        wanted = " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if limit is not None)
        raise RecipeError(f"{where}: expected {wanted}, got {value}.")


def _refuse_unknown(where: str, table: Mapping[str, Any], known: Iterable[str], kind: str) -> None:
    names = sorted(known)
    for name in table:
        if name not in names:
            raise RecipeError(unknown(where, kind, name, names))


def _override(raw: dict[str, Any], setting: str) -> None:
    """Apply "stage.0.epochs=2": a dotted path, and a TOML value or plain text."""
    if not toml_reader.is_text(setting):
        raise RecipeError(f"--set {setting!r}: not UTF-8.")
    path, equals, text = setting.partition("=")
    names = path.strip().split(".")
    if not equals or not all(names):
        raise RecipeError(f"--set {setting}: expected TABLE.KEY=VALUE, such as stage.0.epochs=2.")
    place: Any = raw
    for name in names[:-1]:
        place = _step(place, name, setting)
    if not isinstance(place, dict):
        raise RecipeError(f"--set {setting}: {names[-2]!r} is not a table.")
    place[names[-1]] = _toml_value(text.strip())


def _step(place: Any, name: str, setting: str) -> Any:
    if isinstance(place, list):
        if not name.isdecimal() or int(name) >= len(place):
            raise RecipeError(f"--set {setting}: {name!r} is no number from 0 to {len(place) - 1}.")
        return place[int(name)]
    if isinstance(place, dict):
        return place.setdefault(name, {})
    raise RecipeError(f"--set {setting}: there is no table {name!r}.")


def _toml_value(text: str) -> Any:
    try:
        return toml_reader.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def with_repair(recipe: Recipe, integer_only: bool) -> Recipe:
    """The same recipe with `[export.int8] repair = true`, and floats allowed or not."""
    int8 = replace(recipe.export.int8, repair=True, integer_only=integer_only)
    return replace(recipe, export=replace(recipe.export, int8=int8))
