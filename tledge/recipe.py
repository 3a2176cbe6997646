"""From TOML to a frozen `Recipe`: every key, type, range and name checked before anything runs."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from tledge import tables
from tledge.backbones import BACKBONES
from tledge.dataset import source_options
from tledge.errors import RecipeError
from tledge.formats import VARIANTS
from tledge.sources import SOURCES

T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """Everything that a recipe says, defaults filled in."""

    recipe: tables.About
    data: tables.Data
    model: tables.Model
    augment: tables.Augment
    stage: tuple[tables.Stage, ...]
    export: tables.Export
    parity: tables.Parity
    expect: tables.Expect

    @property
    def synthetic(self) -> bool:
        """True where the photos are drawn and not taken."""
        return SOURCES[self.data.source.partition(":")[0]].synthetic


def load(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe file; `settings` are overrides like "stage.0.epochs=2".

    Raises RecipeError, naming the file, the table, the key, what was expected and the nearest
    known spelling.
    """
    return parse(read_text(path), path.name, settings)


def read_text(path: Path) -> str:
    """The text of a recipe file; raises RecipeError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: the recipe cannot be read ({error}).") from error


def parse(text: str, where: str, settings: Sequence[str] = ()) -> Recipe:
    """A checked recipe from TOML text; `where` names it in messages. Raises RecipeError."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, endless numbers and nesting
        raise RecipeError(f"{where}: not valid TOML: {error}.") from error
    for setting in settings:
        _override(raw, setting)
    try:
        made = _recipe(raw)
        if not made.recipe.name:
            made = replace(made, recipe=replace(made.recipe, name=Path(where).stem))
        _check(made)
    except (RecipeError, ValueError) as error:  # ValueError: a number too long to print
        raise RecipeError(f"{where}: {error}") from None
    return made


def _recipe(raw: dict[str, Any]) -> Recipe:
    known = [one.name for one in fields(Recipe)]
    _refuse_unknown("the recipe", raw, known, "table")
    for name in ("data", "model", "stage"):
        if name not in raw:
            raise RecipeError(f"[{name}] is missing; a recipe has [data], [model] and [[stage]].")
    stages = raw["stage"]
    if not isinstance(stages, list) or not stages:
        raise RecipeError("[[stage]]: expected one table or more, with two brackets.")
    return Recipe(
        recipe=_table(tables.About, raw.get("recipe", {}), "[recipe]"),
        data=_data(raw["data"]),
        model=_table(tables.Model, raw["model"], "[model]"),
        augment=_table(tables.Augment, raw.get("augment", {}), "[augment]"),
        stage=tuple(_stage(one, number) for number, one in enumerate(stages, 1)),
        export=_table(tables.Export, raw.get("export", {}), "[export]"),
        parity=_table(tables.Parity, raw.get("parity", {}), "[parity]"),
        expect=_table(tables.Expect, raw.get("expect", {}), "[expect]"),
    )


def _stage(raw: object, number: int) -> tables.Stage:
    stage = _table(tables.Stage, raw, f"[[stage]] {number}")
    return stage if stage.name else replace(stage, name=f"stage {number}")


def _data(raw: object) -> tables.Data:
    """`[data]`: its own keys are checked here, the others go to the source as options."""
    table = _expect_table(raw, "[data]")
    own = {one.name for one in fields(tables.Data)} - {"options"}
    if "source" not in table:
        raise RecipeError(f"[data] source is missing; one of {', '.join(SOURCES)}.")
    name = str(table["source"]).partition(":")[0]
    if name not in SOURCES:
        raise RecipeError(_unknown("[data] source", "source", name, SOURCES))
    options = {key: value for key, value in table.items() if key not in own}
    _refuse_unknown("[data]", options, [*own, *SOURCES[name].module.OPTIONS], "key")
    plain = {key: table[key] for key in own & set(table) - {"splits"}}
    data = _table(tables.Data, plain, "[data]")
    return replace(data, options=options, splits=_splits(table.get("splits", {})))


def _splits(raw: object) -> tables.Splits:
    table = _expect_table(raw, "[data.splits]")
    known = [one.name for one in fields(tables.Splits)]
    _refuse_unknown("[data.splits]", table, known, "key")
    return tables.Splits(**{name: _take(value, name) for name, value in table.items()})


def _take(raw: object, name: str) -> tables.Take:
    where = f"[data.splits] {name}"
    if isinstance(raw, str):
        return tables.Take(raw)
    if not isinstance(raw, dict):
        raise RecipeError(f"{where}: expected a source split's name or {{ from = NAME, fraction = SHARE }}.")
    _refuse_unknown(where, raw, ["from", "fraction"], "key")
    fraction = raw.get("fraction")
    if not isinstance(raw.get("from"), str) or not _is_share(fraction):
        raise RecipeError(f'{where}: expected from = "NAME" and fraction between 0 and 1, got {raw}.')
    return tables.Take(raw["from"], fraction)


def _is_share(value: object) -> bool:
    return isinstance(value, float) and 0 < value < 1


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
        raise RecipeError(_unknown(where, "value", value, choices))
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
            raise RecipeError(_unknown(where, kind, name, names))


def _unknown(where: str, kind: str, name: object, known: Iterable[str]) -> str:
    """The message for a name that no table has, with the nearest spelling."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{where} has no {kind} {str(name)!r}.{hint} Known: {', '.join(names)}."


def _override(raw: dict[str, Any], setting: str) -> None:
    """Apply "stage.0.epochs=2": a dotted path, and a TOML value or plain text."""
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
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _check(recipe: Recipe) -> None:
    """What no single key shows: names in other tables, and keys that exclude each other."""
    if recipe.recipe.name and not re.fullmatch(r"[\w-]+", recipe.recipe.name):
        raise RecipeError(
            f"[recipe] name: expected letters, digits, - and _ only, got {recipe.recipe.name!r} "
            "(the file's name, where the recipe has none)."
        )
    if not re.fullmatch(r"[\w.+-]+", recipe.recipe.version):
        raise RecipeError("[recipe] version: expected letters, digits, . + - and _ only.")
    source_options(recipe.data)
    _check_model(recipe.model)
    for variant in recipe.export.variants:
        if variant not in VARIANTS:
            raise RecipeError(_unknown("[export] variants", "variant", variant, VARIANTS))
    if recipe.augment.views and replace(recipe.augment, views=0) == tables.Augment(fill=recipe.augment.fill):
        raise RecipeError("[augment] views: there is nothing to draw; no random change is switched on.")
    for stage in recipe.stage:
        if isinstance(stage.unfreeze, int) and stage.unfreeze < 0:
            raise RecipeError(f"[[stage]] {stage.name}: unfreeze is a count of layers, 0 or more.")


def _check_model(model: tables.Model) -> None:
    if model.backbone not in BACKBONES:
        raise RecipeError(_unknown("[model] backbone", "backbone", model.backbone, BACKBONES))
    if model.weights not in ("imagenet", "none") and not model.weights.endswith(".h5"):
        raise RecipeError(
            f'[model] weights: expected "imagenet", "none" or an .h5 file, got {model.weights!r}.'
        )
    backbone = BACKBONES[model.backbone]
    if model.image_size < backbone.min_size:
        raise RecipeError(
            f"[model] image_size: {model.backbone} takes {backbone.min_size} or more, got {model.image_size}."
        )
    if model.weights == "imagenet" and not backbone.pretrained:
        raise RecipeError(f'[model] weights: {model.backbone} has no ImageNet weights; set "none".')
    if model.weights == "imagenet" and backbone.alphas and model.alpha not in backbone.alphas:
        known = ", ".join(f"{alpha:g}" for alpha in backbone.alphas)
        raise RecipeError(f"[model] alpha: ImageNet weights exist for {known}, not {model.alpha:g}.")
