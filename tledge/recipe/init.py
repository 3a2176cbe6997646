"""Write a first recipe for a folder of photos: sensible choices, with a comment that gives the reason.

`init_folder.look` counts the photos and reads their headers; `recipe_text` turns the result into a recipe.
The schedule is that of `recipes/rps.toml`; its length depends on the number of photos.
"""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from tledge.config import SplitPart, Stage
from tledge.errors import DataError
from tledge.recipe import init_evidence
from tledge.recipe.init_evidence import Evidence
from tledge.recipe.init_folder import Folder, roles_of
from tledge.recipe.init_template import COMMANDS, REASONS, TEMPLATE

MANY = 5000
"""Train photos from which on larger models are chosen."""
GROUPED = 1_000_000
"""Photos up to which near-duplicates are searched; more of them take hours."""
SIZES = (224, 192, 160, 128, 96)
"""Input sizes that MobileNetV2 has ImageNet weights for."""
ENLARGED = 1.1
"""Factor by which photos may be enlarged to an input size."""
VIEW_SECONDS = 0.012
"""Seconds to make one augmentation copy on a CPU core."""


@dataclass(frozen=True)
class _Plan:
    """The split folders by role, the splits to make, and about how many photos each will have."""

    folder: Folder
    roles: Mapping[str, str]
    parts: Mapping[str, SplitPart]
    sizes: Mapping[str, int]

    @property
    def total(self) -> int:
        """Number of all photos."""
        return sum(sum(counts.values()) for counts in self.folder.splits.values())

    @property
    def is_shared(self) -> bool:
        """Whether a split is a share of a folder, so that photos of one scene could be separated."""
        return any(part.fraction for part in self.parts.values())

    @property
    def untested(self) -> list[str]:
        """Labels without a photo in the test split's folder."""
        tested = self.folder.splits[self.parts["test"].origin]
        return [label for label in self.folder.labels if label not in tested]

    @property
    def labels(self) -> list[tuple[int, str]]:
        """Number of photos in the train folder and label, the fewest first."""
        return sorted((count, label) for label, count in self.folder.splits[self.roles["train"]].items())


def _plan(folder: Folder) -> _Plan:
    roles = roles_of(folder.path, folder.splits)
    parts = {role: SplitPart(name) for role, name in roles.items()}
    if "test" not in roles:
        parts["test"] = parts.get("validation", SplitPart(roles["train"], init_evidence.TEST))
    if len(roles) < 3:
        total = sum(folder.splits[roles["train"]].values())
        test = sum(folder.splits[parts["test"].origin].values()) * (parts["test"].fraction or 1)
        share = init_evidence.validation_share(total, int(test)) if total <= MANY else 0.1
        parts["validation"] = SplitPart(roles["train"], share)
    wholes = {role: sum(folder.splits[part.origin].values()) for role, part in parts.items()}
    sizes = {role: round(wholes[role] * (part.fraction or 1)) for role, part in parts.items()}
    sizes["train"] -= sum(sizes[role] for role, part in parts.items() if part.fraction)
    return _Plan(folder, roles, parts, sizes)


def evidence(folder: Folder) -> Evidence:
    """Return how many photos the recipe's splits leave to compare int8 with Keras."""
    plan = _plan(folder)
    fractions = {role: part.fraction for role, part in plan.parts.items()}
    return init_evidence.evidence(plan.sizes, len(folder.labels), fractions)


def split_sizes(folder: Folder) -> Mapping[str, int]:
    """Return about how many photos each split of the recipe has."""
    return _plan(folder).sizes


def beside_recipe(folder: Folder, recipe: Path) -> Folder:
    """Return a folder whose `source` is a relative path where it lies beside or below the recipe."""
    name, _, path = _source(folder).partition(":")
    home = os.path.abspath(recipe.parent)
    for base in (home, os.path.realpath(home)):
        if path.startswith(f"{Path(base).as_posix().rstrip('/')}/"):
            relative = Path(path).relative_to(base).as_posix()
            return replace(folder, source=f"{name}:{'./' * relative.startswith('~')}{relative}")
    return folder


def _source(folder: Folder) -> str:
    return folder.source or f"folder:{folder.path.as_posix()}"


def recipe_text(folder: Folder, name: str, file: str = "", seed: int = 0) -> str:
    """Write the recipe as commented TOML; the same folder gives the same text.

    Args:
        folder: What `look` found.
        name: Name of the recipe: letters, digits, - and _.
        file: File name in the commands of the header; `name`.toml if empty.
        seed: Seed of the recipe.

    Raises:
        DataError: The folder's path is not Unicode text, which TOML requires.
    """
    plan = _plan(folder)
    values = {"name": quoted(name), "seed": seed, **_choices(plan)}
    figures = _figures(plan) | values
    reasons = {
        field: _comment(" ".join(REASONS[key].format(**figures) for key in keys))
        for field, keys in _reason_keys(plan, values).items()
    }
    parts = {role: _split_as_toml(part) for role, part in plan.parts.items()}
    why_source = _comment(plan.folder.why_source.replace("\n", " ")) + "\n" * bool(plan.folder.why_source)
    return TEMPLATE.format(
        **{
            **values,
            **reasons,
            **parts,
            "why_source": why_source,
            "header": _header(plan, name, file or f"{name}.toml"),
        }
    )


def data_tables(folder: Folder, labels: Sequence[str] = ()) -> str:
    """Write the tables [data] and [data.splits] alone, with the choices of `recipe_text` and no comments.

    Args:
        folder: What `look` found.
        labels: All labels in the order of the model's outputs; the order of the source if empty.

    Raises:
        DataError: The folder's path is not Unicode text, which TOML requires.
    """
    plan = _plan(folder)
    values = _choices(plan)
    lines = ["[data]", f"source = {values['source']}{values['options']}", f'group = "{values["group"]}"']
    if labels:
        lines.append(f"labels = {as_toml(list(labels))}")
    lines += ["", "[data.splits]"]
    lines += [f"{role} = {_split_as_toml(plan.parts[role])}" for role in ("train", "validation", "test")]
    return "\n".join(lines) + "\n"


def _header(plan: _Plan, name: str, file: str) -> str:
    folder = plan.folder
    rows = [
        f"#   {_quoted_line(split):<14}{_counts_in_words(folder.splits[split])}"
        for split in plan.roles.values()
    ]
    if folder.layout == "label":
        rows = [f"#   a folder for each label: {_counts_in_words(folder.splits['train'])}"]
    first_line = f"A start for photos of {len(folder.labels)} labels: {_listed(folder.labels, 8)}."
    return "\n".join([_comment(first_line), "#", *rows]) + COMMANDS.format(name=name, file=shlex.quote(file))


def _counts_in_words(counts: Mapping[str, int]) -> str:
    low, high = min(counts.values()), max(counts.values())
    each = f"{low:,} of each label" if low == high else f"{low:,} to {high:,} of a label"
    return f"{sum(counts.values()):,} photos, {each}"


def _choices(plan: _Plan) -> dict[str, object]:
    """Choose the values of the recipe other than names and splits."""
    train = plan.sizes["train"]
    (least, _small), (most, _large) = plan.labels[0], plan.labels[-1]
    return {
        "source": quoted(_source(plan.folder)),
        "options": "".join(f"\n{key} = {as_toml(value)}" for key, value in plan.folder.options.items()),
        "group": "near-duplicates" if plan.is_shared and _can_group(plan) else "none",
        "alpha": 0.35 if train < MANY else 1.0,
        "size": next((size for size in SIZES if size <= ENLARGED * plan.folder.median_side), SIZES[-1]),
        "views": 6 if train < 1500 else 4 if train < MANY else 0,
        "head": _epochs(4000, train, 4, 20),
        "tune": _epochs(8000, train, 5, 25),
        "larger": (plan.parts["validation"].fraction or 0) > init_evidence.VALIDATION,
        "weights": '\nclass_weights = "balanced"' if most > 3 * least else "",
    }


def _can_group(plan: _Plan) -> bool:
    """Check that near-duplicates are found in time, and do not keep a label in one split."""
    return plan.total <= GROUPED and not plan.folder.alike


def _epochs(photos: int, train: int, low: int, high: int) -> int:
    """Return four epochs, plus those that see about `photos` photos in total, within limits."""
    return min(high, max(low, round(photos / max(1, train)) + 4))


def _figures(plan: _Plan) -> dict[str, object]:
    """Return the figures that the reasons quote."""
    folder, train = plan.folder, plan.sizes["train"]
    (least, small), (most, large) = plan.labels[0], plan.labels[-1]
    return {
        "plan": plan,
        "folder": folder,
        "sizes": plan.sizes,
        "share": plan.parts["validation"].fraction or 0.0,
        "needed": init_evidence.test_photos_needed(),
        "evidence": plan.sizes["test"] + plan.sizes["validation"],
        "one": 1 / max(1, plan.sizes["test"]),
        "held_out": _quoted_line(plan.parts["test"].origin),
        "alike": _listed(plan.folder.alike, 3),
        "untested": _listed(plan.untested, 3),
        "bad": len(folder.unreadable),
        "unreadable": _listed(folder.unreadable, 3),
        "drawing": _time(train * VIEW_SECONDS),
        "steps": ceil(train / Stage.batch_size),
        "least": least,
        "small": _quoted_line(small),
        "most": most,
        "large": _quoted_line(large),
    }


def _reason_keys(plan: _Plan, values: Mapping[str, object]) -> dict[str, list[str]]:
    """Return, for each field of the template, the keys of its `REASONS`."""
    side, uneven = plan.folder.median_side, plan.labels[0][0] < plan.labels[-1][0]
    group = "alike" if plan.folder.alike else "too many"
    group = "near-duplicates" if values["group"] != "none" else group if plan.is_shared else "folders"
    return {
        "why_group": [f"group {group}"],
        "why_on_bad": ["on bad", *["on bad seen"] * bool(plan.folder.unreadable)],
        "why_splits": [
            f"splits {' '.join(plan.roles)}",
            *["few to test"] * (plan.sizes["test"] < init_evidence.test_photos_needed()),
            *["more validation"] * (values["larger"] is True),
            *["untested"] * bool(plan.untested),
        ],
        "why_alpha": [f"alpha {values['alpha']}"],
        "why_size": [
            "size",
            "size enough" if side >= SIZES[0] else "size least" if side < SIZES[-1] else "size below",
        ],
        "why_views": ["views kept" if values["views"] else "views fresh"],
        "why_head": ["head", *["weights"] * bool(values["weights"])],
        "why_last": ["last", *["luck"] * (plan.sizes["validation"] < 1000)],
        "why_tune": ["tune"],
        "why_nothing_else": [
            *["wider"] * (values["alpha"] != 1.0),
            "photos",
            *["fewest"] * uneven,
            "defaults",
        ],
    }


def _split_as_toml(part: SplitPart) -> str:
    if part.fraction is None:
        return quoted(part.origin)
    return f"{{ from = {quoted(part.origin)}, fraction = {part.fraction} }}"


def as_toml(value: object) -> str:
    """Write an option as TOML: text, or a list or table of texts.

    Raises:
        DataError: A text is not Unicode.
    """
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{as_toml(key)} = {as_toml(item)}" for key, item in value.items()) + " }"
    return quoted(str(value))


def quoted(text: str) -> str:
    """Quote text as a TOML basic string; escape characters that do not print.

    Raises:
        DataError: The text has lone surrogates: a name with bytes that are not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{text!a}: this name is not UTF-8. Rename the folder.") from error
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


def _quoted_line(text: str) -> str:
    """Quote a name for a comment, on one line in any case."""
    return quoted(text.encode(errors="replace").decode())


def _listed(names: Sequence[str], limit: int) -> str:
    more = f" and {len(names) - limit:,} more" * (len(names) > limit)
    return ", ".join(map(_quoted_line, names[:limit])) + more


def _time(seconds: float) -> str:
    return f"{ceil(seconds)} s" if seconds < 100 else f"{ceil(seconds / 60)} min"


def _comment(text: str) -> str:
    """Wrap text into comment lines of at most 100 characters, without breaking words."""
    wrapper = textwrap.TextWrapper(98, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for part in text.split("\n") for line in wrapper.wrap(part))
