"""From TOML to a frozen `Recipe`: every key, type, range and name checked before anything runs."""

from __future__ import annotations

import difflib
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from tledge import config
from tledge.data.cache import source_options
from tledge.data.sources.registry import SOURCES
from tledge.errors import RecipeError
from tledge.formats.registry import VARIANTS
from tledge.models.backbones import BACKBONES, split_name
from tledge.recipe import toml_reader
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder

T = TypeVar("T")

MOST_STAGES = 100

LONGEST_NAME = 200
"""Bytes of name and version together: they make the name of the bundle's file."""


@dataclass(frozen=True)
class Recipe:
    """Everything that a recipe says, defaults filled in."""

    recipe: config.About
    data: config.Data
    model: config.Model
    augment: config.Augment
    stage: tuple[config.Stage, ...]
    hardware: config.Hardware
    log: config.Log
    export: config.Export
    parity: config.Parity
    abstain: config.Abstain
    expect: config.Expect

    @property
    def synthetic(self) -> bool:
        """True where the photos are drawn and not taken."""
        return SOURCES[self.data.source.partition(":")[0]].synthetic


def load(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe file; `settings` are overrides like "stage.0.epochs=2".

    Raises RecipeError, naming the file, the table, the key, what was expected and the nearest
    known spelling.
    """
    return parse(toml_reader.read_text(path), path.name, settings)


def of_run(folder: RunFolder) -> Recipe:
    """The recipe that a run was made with, its `--set` included; raises RunError where there is none."""
    asked = run_folder.read_json(folder.environment, "a finished run", "Run `tledge train` first.")
    return load(folder.recipe, asked.get("settings", []))


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
        if not made.recipe.name:
            made = replace(made, recipe=replace(made.recipe, name=Path(where).stem))
        _check(made)
    except RecipeError as error:
        raise RecipeError(f"{where}: {toml_reader.cut(str(error))}") from None
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
    if len(stages) > MOST_STAGES:
        raise RecipeError(f"[[stage]]: {len(stages)} of them, at most {MOST_STAGES} are taken.")
    return Recipe(
        recipe=_table(config.About, raw.get("recipe", {}), "[recipe]"),
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
        raise RecipeError(_unknown("[data] source", "source", name, SOURCES))
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


def _take(raw: object, name: str) -> config.Take:
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


def _slice(text: str, where: str) -> config.Take:
    """A source split's name, or a slice of one as TensorFlow Datasets writes it: "train[:90%]"."""
    found = re.fullmatch(r"([^\[\]]+)(?:\[(-?\d{1,12}%?)?:(-?\d{1,12}%?)?\])?", text.strip())
    if not found:
        raise RecipeError(f'{where}: expected a split such as "train" or "train[10%:90%]", got {text!r}.')
    bounds = [bound or "" for bound in found.groups()[1:]]
    for bound in bounds:
        if bound.endswith("%") and abs(int(bound[:-1])) > 100:
            raise RecipeError(f"{where}: {bound} of a split does not exist, in {text!r}.")
    return config.Take(found[1].strip(), start=bounds[0], stop=bounds[1])


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


def _check(recipe: Recipe) -> None:
    """What no single key shows: names in other tables, and keys that exclude each other."""
    if recipe.recipe.name and not re.fullmatch(r"[\w-]+", recipe.recipe.name):
        raise RecipeError(
            f"[recipe] name: expected letters, digits, - and _ only, got {recipe.recipe.name!r} "
            "(the file's name, where the recipe has none)."
        )
    if not re.fullmatch(r"[\w.+-]+", recipe.recipe.version):
        raise RecipeError("[recipe] version: expected letters, digits, . + - and _ only.")
    if len(f"{recipe.recipe.name}{recipe.recipe.version}".encode()) > LONGEST_NAME:
        raise RecipeError(
            f"[recipe] name: with the version more than {LONGEST_NAME} bytes; take a shorter one."
        )
    source_options(recipe.data)
    _check_grouping(recipe.data)
    _check_model(recipe.model)
    if recipe.hardware.precision != "float32" and split_name(recipe.model.backbone)[0] == "hub":
        raise RecipeError("[hardware] precision: a hub backbone computes in float32; leave precision out.")
    require_variants(recipe.export.variants, "[export] variants")
    _check_views(recipe.augment, recipe.data.cache)
    for stage in recipe.stage:
        _check_stage(stage, recipe)


def _check_views(augment: config.Augment, cache: bool) -> None:
    if augment.views and augment.is_off:
        raise RecipeError("[augment] views: there is nothing to draw; no random change is switched on.")
    if augment.views == 1 and augment.keep_photo:
        raise RecipeError("[augment] views: the first is the photo as it is, so expected 0, or 2 and more.")
    if not augment.views and not augment.keep_photo:
        raise RecipeError("[augment] keep_photo: there are no views. Set views = 2 or more, or leave it out.")
    if augment.views and not cache:
        raise RecipeError(
            "[augment] views: keeps copies of every photo on the disk, and [data] cache = false keeps none. "
            "Set views = 0, which draws anew in every epoch, or leave cache out."
        )


def _check_stage(stage: config.Stage, recipe: Recipe) -> None:
    where = f"[[stage]] {stage.name}"
    if isinstance(stage.unfreeze, int) and stage.unfreeze < 0:
        raise RecipeError(f"{where}: unfreeze is a count of layers, 0 or more.")
    decays = stage.schedule in ("exponential", "inverse-time")
    if decays != bool(stage.decay):
        raise RecipeError(
            f'{where}: decay goes with schedule = "exponential" or "inverse-time", and they need it.'
        )
    if split_name(recipe.model.backbone)[0] == "hub" and stage.batch_norm == "train":
        raise RecipeError(
            f"{where}: batch norm of a hub backbone keeps its stored statistics; leave batch_norm out."
        )
    if stage.quantize_aware:
        _check_quantize_aware(stage, recipe)


def _check_quantize_aware(stage: config.Stage, recipe: Recipe) -> None:
    where = f"[[stage]] {stage.name}: quantize_aware"
    if stage is not recipe.stage[-1] or len(recipe.stage) < 2:
        raise RecipeError(f"{where} is for the last stage, behind one whose network it learns from.")
    if split_name(recipe.model.backbone)[0] == "hub":
        raise RecipeError(f"{where}: a SavedModel cannot be built again in integers; take another backbone.")
    if recipe.hardware.precision != "float32":
        raise RecipeError(f"{where}: rounding is told from float32; leave [hardware] precision out.")
    plain = config.Stage()
    for name in ("batch_norm", "batch_norm_momentum", "label_smoothing"):
        if getattr(stage, name) != getattr(plain, name):
            raise RecipeError(
                f"{where}: goes without {name}: statistics stay, and labels are not learned from."
            )


def _check_grouping(data: config.Data) -> None:
    """A grouping that is none of the names is a regular expression with one group."""
    if data.group == "none":
        return
    takes = (data.splits.train, data.splits.validation, data.splits.test)
    if any(take.is_slice or take.files or take.pattern or take.also for take in takes):
        raise RecipeError(
            "[data] group: slices, unions, files and patterns say exactly which photos to take, so groups "
            'would be cut. Take a fraction or a count of one source split, or set group = "none".'
        )
    if data.group == "near-duplicates":
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of spellings that a later Python may read otherwise
            groups = re.compile(data.group).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise RecipeError(f"[data] group: not a regular expression ({error}).") from None
    if groups != 1:
        raise RecipeError(
            '[data] group: expected "none", "near-duplicates" or a regular expression with one group in '
            f"parentheses, such as (person\\d+)_, got {data.group!r}."
        )


def _check_model(model: config.Model) -> None:
    name, argument = split_name(model.backbone)
    if name not in BACKBONES:
        raise RecipeError(_unknown("[model] backbone", "backbone", name, BACKBONES))
    if bool(argument) != (name == "hub") or (":" in model.backbone and not argument):
        raise RecipeError(
            f'[model] backbone: expected "hub:PATH_OR_HANDLE" or a name alone, got {model.backbone!r}.'
        )
    _check_input_range(model, name)
    if model.weights not in ("imagenet", "none") and not model.weights.endswith(".h5"):
        raise RecipeError(
            f'[model] weights: expected "imagenet", "none" or an .h5 file, got {model.weights!r}.'
        )
    backbone = BACKBONES[name]
    if model.alpha != 1.0 and not backbone.takes_alpha:
        raise RecipeError(f"[model] alpha: {name} has one width only; leave alpha out.")
    if model.image_size < backbone.min_size:
        raise RecipeError(
            f"[model] image_size: {model.backbone} takes {backbone.min_size} or more, got {model.image_size}."
        )
    if model.weights == "imagenet" and not backbone.pretrained:
        raise RecipeError(f'[model] weights: {model.backbone} has no ImageNet weights; set "none".')
    if model.weights == "imagenet" and backbone.alphas and model.alpha not in backbone.alphas:
        known = ", ".join(f"{alpha:g}" for alpha in backbone.alphas)
        raise RecipeError(f"[model] alpha: ImageNet weights exist for {known}, not {model.alpha:g}.")


def _check_input_range(model: config.Model, name: str) -> None:
    values = model.input_range
    if values and name != "hub":
        raise RecipeError(f"[model] input_range: {name} knows its own; only hub backbones take it.")
    if values and not (len(values) == 2 and -math.inf < values[0] < values[1] < math.inf):
        raise RecipeError(f"[model] input_range: expected [least, largest], got {list(values)}.")
    if name == "hub" and model.weights != "imagenet":
        raise RecipeError("[model] weights: a hub backbone brings its own; leave weights out.")


def require_variants(names: Iterable[str], where: str) -> None:
    """Raise RecipeError, with the nearest spelling, where a name is no variant's."""
    for name in names:
        if name not in VARIANTS:
            raise RecipeError(_unknown(where, "variant", name, VARIANTS))


def with_repair(recipe: Recipe, integer_only: bool) -> Recipe:
    """The same recipe with `[export.int8] repair = true`, and floats allowed or not."""
    int8 = replace(recipe.export.int8, repair=True, integer_only=integer_only)
    return replace(recipe, export=replace(recipe.export, int8=int8))
