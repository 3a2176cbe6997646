"""Check keys of a recipe that exclude or need each other, and names of backbones and variants."""

from __future__ import annotations

import difflib
import math
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

from tledge import config
from tledge.data.sources.options import source_options
from tledge.errors import RecipeError
from tledge.formats.registry import VARIANTS
from tledge.models.backbones import ADOPTED, BACKBONES, split_name
from tledge.recipe.definition import Recipe

LONGEST_NAME = 200
"""Bytes of name and version together: the bundle's file name is made of them."""

FOLDER = "folder:"
"""How `[parity] extra` begins."""


def check(recipe: Recipe) -> None:
    """Check a recipe as a whole: names in other tables, and keys that exclude each other.

    Raises:
        RecipeError: Two keys contradict each other, or a name does not exist.
    """
    if recipe.meta.name and not re.fullmatch(r"[\w-]+", recipe.meta.name):
        raise RecipeError(
            f"[recipe] name: expected letters, digits, - and _ only, got {recipe.meta.name!r} "
            "(without a name, the file's name is used)."
        )
    if not re.fullmatch(r"[\w.+-]+", recipe.meta.version):
        raise RecipeError("[recipe] version: expected letters, digits, . + - and _ only.")
    if len(f"{recipe.meta.name}{recipe.meta.version}".encode()) > LONGEST_NAME:
        raise RecipeError(
            f"[recipe] name: more than {LONGEST_NAME} bytes together with the version; choose a shorter name."
        )
    source_options(recipe.data)
    _check_grouping(recipe.data)
    _check_pixel_range(recipe.data.pixel_range)
    _check_model(recipe.model)
    if recipe.hardware.precision != "float32" and split_name(recipe.model.backbone)[0] == "hub":
        raise RecipeError("[hardware] precision: a hub backbone computes in float32; leave precision out.")
    require_variants(recipe.export.variants, "[export] variants")
    extra_folder(recipe.parity.extra)
    _check_augmentation_copies(recipe.augment, recipe.data.cache)
    for stage in recipe.stage:
        _check_stage(stage, recipe)


def extra_folder(extra: str) -> Path | None:
    """Return the folder that `[parity] extra` names; raise RecipeError where it is set and names none."""
    if not extra:
        return None
    if not extra.startswith(FOLDER) or extra == FOLDER:
        raise RecipeError(f'[parity] extra = "{extra}": expected "{FOLDER}PATH", a folder of photos.')
    return Path(extra.removeprefix(FOLDER)).expanduser()


def _check_pixel_range(pixel_range: tuple[float, ...]) -> None:
    is_range = (
        len(pixel_range) == 2 and all(map(math.isfinite, pixel_range)) and pixel_range[0] < pixel_range[1]
    )
    if pixel_range and not is_range:
        raise RecipeError(
            "[data] pixel_range: expected two numbers, the smaller one first, such as [0, 4095]; got "
            f"{list(pixel_range)}."
        )


def _check_augmentation_copies(augment: config.Augment, cache: bool) -> None:
    if augment.views and augment.is_off:
        raise RecipeError("[augment] views: no augmentation is switched on. Switch one on, or set views = 0.")
    if augment.views == 1 and augment.keep_photo:
        raise RecipeError("[augment] views: expected 0, or 2 or more; the first copy is the unchanged photo.")
    if not augment.views and not augment.keep_photo:
        raise RecipeError("[augment] keep_photo: needs views. Set views = 2 or more, or leave it out.")
    if augment.views and not cache:
        raise RecipeError(
            "[augment] views: keeps copies of every photo on disk, and [data] cache = false keeps none. "
            "Set views = 0, which augments in every epoch, or leave cache out."
        )


def _check_stage(stage: config.Stage, recipe: Recipe) -> None:
    where = f"[[stage]] {stage.name}"
    if isinstance(stage.unfreeze, int) and stage.unfreeze < 0:
        raise RecipeError(f"{where} unfreeze: expected 0 layers or more, got {stage.unfreeze}.")
    decays = stage.schedule in ("exponential", "inverse-time")
    if decays != bool(stage.decay):
        raise RecipeError(f'{where}: decay and schedule = "exponential" or "inverse-time" need each other.')
    if split_name(recipe.model.backbone)[0] == "hub" and stage.batch_norm == "train":
        raise RecipeError(
            f"{where}: batch norm of a hub backbone keeps its stored statistics; leave batch_norm out."
        )
    if stage.quantize_aware:
        _check_quantize_aware(stage, recipe)


def _check_quantize_aware(stage: config.Stage, recipe: Recipe) -> None:
    where = f"[[stage]] {stage.name}: quantize_aware"
    if stage is not recipe.stage[-1] or len(recipe.stage) < 2:
        raise RecipeError(f"{where}: only for the last stage, after one that trains the model it copies.")
    if split_name(recipe.model.backbone)[0] == "hub":
        raise RecipeError(f"{where}: not for SavedModel backbones; choose another backbone.")
    if recipe.hardware.precision != "float32":
        raise RecipeError(f"{where}: needs float32; leave [hardware] precision out.")
    plain = config.Stage()
    for name in ("batch_norm", "batch_norm_momentum", "label_smoothing"):
        if getattr(stage, name) != getattr(plain, name):
            raise RecipeError(
                f"{where}: leave {name} out; it keeps batch norm statistics and learns from no labels."
            )


def _check_grouping(data: config.Data) -> None:
    """Check `[data] group`: a known name, or a regular expression with one group."""
    if data.group == "none":
        return
    parts = (data.splits.train, data.splits.validation, data.splits.test)
    if any(part.is_slice or part.files or part.pattern or part.also for part in parts):
        raise RecipeError(
            "[data] group: slices, unions, files and patterns choose photos exactly, which would cut groups. "
            'Use a fraction or a count of one source split, or set group = "none".'
        )
    if data.group == "near-duplicates":
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about syntax that later Python versions may read differently
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
    if model.backbone == ADOPTED:
        return
    if name not in BACKBONES:
        raise RecipeError(unknown("[model] backbone", "backbone", name, BACKBONES))
    if bool(argument) != (name == "hub") or (":" in model.backbone and not argument):
        raise RecipeError(
            f'[model] backbone: expected "hub:PATH_OR_HANDLE" or a name alone, got {model.backbone!r}.'
        )
    _check_input_range(model, name)
    if model.weights not in ("imagenet", "none") and not model.weights.lower().endswith(".h5"):
        raise RecipeError(
            f'[model] weights: expected "imagenet", "none" or an .h5 file, got {model.weights!r}.'
        )
    backbone = BACKBONES[name]
    if model.alpha != 1.0 and not backbone.takes_alpha:
        raise RecipeError(f"[model] alpha: {name} has only one width; leave alpha out.")
    if model.image_size < backbone.min_size:
        raise RecipeError(
            f"[model] image_size: expected {backbone.min_size} or more for {model.backbone}, "
            f"got {model.image_size}."
        )
    if model.weights == "imagenet" and not backbone.pretrained:
        raise RecipeError(f'[model] weights: {model.backbone} has no ImageNet weights; set "none".')
    if model.weights == "imagenet" and backbone.alphas and model.alpha not in backbone.alphas:
        known = ", ".join(f"{alpha:g}" for alpha in backbone.alphas)
        raise RecipeError(f"[model] alpha: ImageNet weights exist for {known}, not {model.alpha:g}.")


def _check_input_range(model: config.Model, name: str) -> None:
    values = model.input_range
    if values and name != "hub":
        raise RecipeError(f"[model] input_range: only for hub backbones; leave it out for {name}.")
    if values and not (len(values) == 2 and -math.inf < values[0] < values[1] < math.inf):
        raise RecipeError(f"[model] input_range: expected [least, largest], got {list(values)}.")
    if name == "hub" and model.weights != "imagenet":
        raise RecipeError("[model] weights: a hub backbone has its own weights; leave weights out.")


def require_variants(names: Iterable[str], where: str) -> None:
    """Raise RecipeError, with the nearest spelling, if a name is not a variant."""
    for name in names:
        if name not in VARIANTS:
            raise RecipeError(unknown(where, "variant", name, VARIANTS))


def unknown(where: str, kind: str, name: object, known: Iterable[str]) -> str:
    """Return the message for an unknown name, with the nearest known spelling."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{where} has no {kind} {str(name)!r}.{hint} Known: {', '.join(names)}."
