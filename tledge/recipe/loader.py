"""Read a frozen `Recipe` from TOML: check every key, type, range and name before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from tledge import config
from tledge.data.sources.registry import SOURCES
from tledge.errors import RecipeError
from tledge.models.backbones import ADOPTED
from tledge.recipe import settings as settings_reader
from tledge.recipe import source_path, toml_escapes, toml_reader
from tledge.recipe.checks import check, unknown
from tledge.recipe.definition import Recipe, table_name
from tledge.run.folder import RunFolder

T = TypeVar("T")

MOST_STAGES = 100


def load(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe file.

    Args:
        path: The TOML file.
        settings: Overrides such as "stage.0.epochs=2".

    Raises:
        RecipeError: The recipe is not valid. The message names the file, the table, the key, what was
            expected and the nearest known spelling.
    """
    return source_path.found_from(parse(toml_reader.read_text(path), path.name, settings), path.parent)


def of_run(folder: RunFolder) -> Recipe:
    """Load the recipe that a run was made with, its `--set` included; raise RunError if there is none."""
    facts = folder.read_environment()
    recipe = parse(text_of_run(folder), folder.recipe.name, facts.get("settings", []))
    return source_path.with_recorded(recipe, facts.get("source", ""))


def text_of_run(folder: RunFolder) -> str:
    """Read the recipe file that a run keeps; raises RecipeError where it cannot be read."""
    return folder.once.get(folder.recipe, "text", lambda: toml_reader.read_text(folder.recipe))


def parse(text: str, where: str, settings: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe from TOML text; `where` names it in messages. Raises RecipeError."""
    try:
        raw = toml_reader.loads(text)
    except ValueError as error:  # TOMLDecodeError, endless numbers and nesting
        hint = toml_escapes.find_fault(text)
        more = f" {hint[0].upper()}{hint[1:]}" if hint else ""
        raise RecipeError(f"{where}: not valid TOML: {toml_reader.cut(str(error))}.{more}") from error
    if fault := toml_escapes.find_fault(text):
        raise RecipeError(f"{where}: {fault}")
    for setting in settings:
        try:
            settings_reader.apply(raw, setting)
        except RecipeError as error:
            raise RecipeError(toml_reader.cut(str(error))) from None
    try:
        toml_reader.refuse_endless(raw)
        recipe = _build_recipe(raw)
        if not recipe.meta.name:
            recipe = replace(recipe, meta=replace(recipe.meta, name=Path(where).stem))
        check(recipe)
    except RecipeError as error:
        raise RecipeError(f"{where}: {toml_reader.cut(str(error))}") from None
    return recipe


def _build_recipe(raw: dict[str, Any]) -> Recipe:
    _refuse_unknown_tables(raw)
    is_adopted = isinstance(raw.get("model"), dict) and raw["model"].get("backbone") == ADOPTED
    for name in ("data", "model", *(() if is_adopted else ("stage",))):
        if name not in raw:
            raise RecipeError(f"[{name}] is missing; a recipe has [data], [model] and [[stage]].")
    stages = raw.get("stage", [])
    if not isinstance(stages, list) or bool(stages) == is_adopted:
        if is_adopted:
            raise RecipeError("[[stage]]: an adopted model is not trained. Leave the stages out.")
        raise RecipeError("[[stage]]: expected one table or more, with two brackets.")
    if len(stages) > MOST_STAGES:
        raise RecipeError(f"[[stage]]: expected at most {MOST_STAGES} tables, got {len(stages)}.")
    return Recipe(
        meta=_build_table(config.Meta, raw.get("recipe", {}), "[recipe]"),
        data=_build_data(raw["data"]),
        model=_build_table(config.Model, raw["model"], "[model]"),
        augment=_build_table(config.Augment, raw.get("augment", {}), "[augment]"),
        stage=tuple(_build_stage(table, number) for number, table in enumerate(stages)),
        hardware=_build_table(config.Hardware, raw.get("hardware", {}), "[hardware]"),
        log=_build_table(config.Log, raw.get("log", {}), "[log]"),
        export=_build_table(config.Export, raw.get("export", {}), "[export]"),
        parity=_build_table(config.Parity, raw.get("parity", {}), "[parity]"),
        abstain=_build_table(config.Abstain, raw.get("abstain", {}), "[abstain]"),
        expect=_build_table(config.Expect, raw.get("expect", {}), "[expect]"),
    )


def _refuse_unknown_tables(raw: Mapping[str, Any]) -> None:
    known = [table_name(field.name) for field in fields(Recipe)]
    for name in raw:
        if name not in known and (hint := settings_reader.missing_table(name)):
            raise RecipeError(f"unknown key {name!r} outside of any table.{hint}")
    _refuse_unknown("the recipe", raw, known, "table")


def _build_stage(raw: object, number: int) -> config.Stage:
    """Build a `[[stage]]`; without a name it is called as `--set` calls it."""
    key = f"stage.{number}"
    stage = _build_table(config.Stage, raw, key)
    return stage if stage.name else replace(stage, name=key)


def _build_data(raw: object) -> config.Data:
    """Build `[data]`: check its own keys here; the others are options of the source."""
    table = _expect_table(raw, "[data]")
    own = {field.name for field in fields(config.Data)} - {"options"}
    if "source" not in table:
        raise RecipeError(f"[data] source is missing; one of {', '.join(SOURCES)}.")
    name = str(table["source"]).partition(":")[0]
    if name not in SOURCES:
        raise RecipeError(unknown("[data] source", "source", name, SOURCES))
    options = {key: value for key, value in table.items() if key not in own}
    _refuse_unknown("[data]", options, [*own, *SOURCES[name].module.OPTIONS], "key")
    plain = {key: table[key] for key in own & set(table) - {"splits"}}
    data = _build_table(config.Data, plain, "[data]")
    return replace(data, options=options, splits=_build_splits(table.get("splits", {})))


def _build_splits(raw: object) -> config.Splits:
    table = _expect_table(raw, "[data.splits]")
    known = [field.name for field in fields(config.Splits)]
    _refuse_unknown("[data.splits]", table, known, "key")
    return config.Splits(**{name: _build_split_part(value, name) for name, value in table.items()})


def _build_split_part(raw: object, name: str) -> config.SplitPart:
    where = f"[data.splits] {name}"
    if isinstance(raw, str):
        first, *others = [_parse_slice(part, where) for part in raw.split("+")]
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
        raise RecipeError(f"{where}: expected one source split in from, got {raw['from']!r}.")
    return replace(_parse_slice(raw["from"], where), **{kinds[0]: raw[kinds[0]]})


def _parse_slice(text: str, where: str) -> config.SplitPart:
    """Parse a source split, or a slice of one as TensorFlow Datasets writes it: "train[:90%]"."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[(-?\d{1,12}%?)?:(-?\d{1,12}%?)?\])?", text.strip())
    if not match:
        raise RecipeError(f'{where}: expected a split such as "train" or "train[10%:90%]", got {text!r}.')
    bounds = [bound or "" for bound in match.groups()[1:]]
    for bound in bounds:
        if bound.endswith("%") and abs(int(bound[:-1])) > 100:
            raise RecipeError(f"{where}: expected at most 100%, got {bound} in {text!r}.")
    return config.SplitPart(match[1].strip(), start=bounds[0], stop=bounds[1])


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
"""Ways to choose a part of a source split: a check of the value, and its description in messages."""


def _expect_table(raw: object, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise RecipeError(f"{where}: expected a table, got {raw!r}.")
    return raw


def _build_table(cls: type[T], raw: object, where: str) -> T:
    """Build a frozen table from a TOML table, and check each value against its field."""
    table = _expect_table(raw, where)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    _refuse_unknown(where, table, known, "key")
    hints = get_type_hints(cls)
    values = {
        name: _check_value(value, known[name], hints[name], f"{where} {name}")
        for name, value in table.items()
    }
    return cls(**values)


def _check_value(value: Any, field: Field[Any], hint: Any, where: str) -> Any:
    if field.default is not MISSING and hasattr(field.default, "__dataclass_fields__"):
        return _build_table(hint, value, f"{where.replace('] ', '.')}]")
    if str(hint).startswith("tuple"):
        return _check_list(value, field, hint, where)
    if not _has_type(value, hint):
        raise RecipeError(f"{where}: expected {_type_name(hint)}, got {value!r}.")
    _check_range(value, field, where)
    return float(value) if hint is float else value


def _check_list(value: Any, field: Field[Any], hint: Any, where: str) -> tuple[Any, ...]:
    item = hint.__args__[0]
    if not isinstance(value, list) or not all(_has_type(entry, item) for entry in value):
        raise RecipeError(f"{where}: expected a list, each {_type_name(item)}, got {value!r}.")
    for entry in value:
        _check_range(entry, field, where)
    return tuple(value)


def _has_type(value: object, hint: Any) -> bool:
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


def with_repair(recipe: Recipe, integer_only: bool) -> Recipe:
    """Return the recipe with `[export.int8] repair = true`, and mixed precision allowed or not."""
    int8 = replace(recipe.export.int8, repair=True, integer_only=integer_only)
    return replace(recipe, export=replace(recipe.export, int8=int8))


def without_repair(recipe: Recipe) -> Recipe:
    """Return the recipe with `[export.int8] repair = false`."""
    int8 = replace(recipe.export.int8, repair=False)
    return replace(recipe, export=replace(recipe.export, int8=int8))


def with_photos(recipe: Recipe, photos: Path) -> Recipe:
    """Return the recipe with `[parity] extra` set to a folder of photos."""
    return replace(recipe, parity=replace(recipe.parity, extra=f"folder:{photos.absolute()}"))
