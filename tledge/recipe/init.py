"""A first recipe for a folder of photos: sensible choices, and beside each why it was made.

`look` counts the photos and reads their headers; `recipe_text` turns what it saw into a recipe.
The schedule is that of `recipes/rps.toml`, its length by the number of photos.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import statistics
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from tledge.config import SplitPart, Stage
from tledge.data.sources import folder as source
from tledge.errors import DataError, MissingError
from tledge.preprocessing import image as preprocessing_image
from tledge.preprocessing.pillow_open import open_image, pillow_warnings_ignored
from tledge.recipe.init_template import COMMANDS, REASONS, TEMPLATE

ROLES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "holdout"),
}
"""Names of split folders, in any case of letters."""

LAYOUTS = "<split>/<label>/photo.jpg or <label>/photo.jpg"
FEWEST = 4
"""Train photos a label needs, so that some are left when shares were taken."""
HEADERS = 5000
"""Photos whose headers are read; of more, a sample of so many."""
MANY = 5000
"""Train photos from which the larger choices pay."""
GROUPED = 20_000
"""Photos up to which near-duplicates are sought; the time grows with their square."""
DECIDING = 100
"""Test photos that show a drop of 1 %, the most that the int8 gates allow."""
SIZES = (224, 192, 160, 128, 96)
"""Input sizes that MobileNetV2 has ImageNet weights for."""
ENLARGED = 1.1
"""How much photos may be enlarged for the size that a backbone was made for."""
VIEW_SECONDS = 0.012
"""What drawing one view takes on a CPU core."""


@dataclass(frozen=True)
class Folder:
    """A folder of photos as found.

    `layout` is "split/label" or "label", `splits` counts photos by split folder and label (one
    split "train" where there are no split folders, as the source calls it), the sides are short
    sides in pixels, and `unreadable` are lines "name: reason" of the `headers` that were read.
    """

    path: Path
    layout: str
    splits: Mapping[str, Mapping[str, int]]
    labels: tuple[str, ...]
    median_side: int
    min_side: int
    headers: int
    unreadable: tuple[str, ...]


def look(root: Path) -> Folder:
    """Count the photos of a folder and read their headers, of a sample where they are many.

    Raises MissingError where there is no such folder, and DataError where its photos do not lie
    as `LAYOUTS` says, have a single label, or where a label has fewer than `FEWEST` in train.
    """
    root = _real(root)
    if not root.is_dir():
        raise MissingError(f"{root}: no such folder. Expected a folder of photos, as {LAYOUTS}.")
    records = list(source.scan({"path": str(root)}).records())
    splits: dict[str, dict[str, int]] = {}
    for (split, label), count in sorted(Counter((one.split, one.label) for one in records).items()):
        splits.setdefault(split, {})[label] = count
    layout = "split/label" if records[0].id.count("/") == 2 else "label"
    labels = tuple(sorted({record.label for record in records}))
    _check(root, layout, splits, labels)
    names = [record.id for record in records]
    if len(names) > HEADERS:
        names = sorted(random.Random(0).sample(names, HEADERS))
    sides, unreadable = _headers(root, names)
    if not sides:
        raise DataError(f"{root}: none of {len(unreadable):,} photos can be read. {unreadable[0]}.")
    read = len(sides) + len(unreadable)
    middle = int(statistics.median(sides))
    return Folder(root, layout, splits, labels, middle, min(sides), read, tuple(unreadable))


def _real(root: Path) -> Path:
    return Path(os.path.realpath(root))  # unlike Path.resolve, a link to itself is merely not there


def default_name(root: Path) -> str:
    """The folder's name as a recipe's name: letters, digits, - and _; "photos" where none is left."""
    composed = unicodedata.normalize("NFC", _real(root).name)
    return re.sub(r"[^\w-]+", "-", composed).strip("-") or "photos"


def _check(root: Path, layout: str, splits: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> None:
    if layout == "label" and all(map(_role, labels)):
        raise DataError(f"{root}: {', '.join(labels)}: a split and no label. Expected {LAYOUTS}.")
    folder = _roles(root, splits)["train"]
    if len(labels) < 2:
        raise DataError(f"{root}: one label only, {labels[0]!r}. Expected two or more, as {LAYOUTS}.")
    train = splits[folder]
    few = [f"{label!r} has {train.get(label, 0)}" for label in labels if train.get(label, 0) < FEWEST]
    if few:
        more = f" and {len(few) - 3} labels more" * (len(few) > 3)
        raise DataError(
            f"{root}: every label needs {FEWEST} photos or more in {folder}; {', '.join(few[:3])}{more}. Add "
            "photos, write the label alike in every split, or take its folder away."
        )


def _role(name: str) -> str:
    """ "train", "validation" or "test" for a split folder's name, "" for any other."""
    return next((role for role, known in ROLES.items() if name.lower() in known), "")


def _roles(root: Path, splits: Mapping[str, object]) -> dict[str, str]:
    """Split folder by role; raises DataError for an unknown name, one too many, or no train."""
    known = "; ".join(", ".join(names) for names in ROLES.values())
    roles: dict[str, str] = {}
    for name in splits:
        role = _role(name)
        if not role:
            raise DataError(f"{root}: {name!r} is no known name of a split: {known}. Expected {LAYOUTS}.")
        if role in roles:
            raise DataError(f"{root}: {roles[role]!r} and {name!r} both mean {role}. Keep one of them.")
        roles[role] = name
    if "train" not in roles:
        raise DataError(f"{root}: no train folder among {', '.join(splits)}. Names of splits: {known}.")
    return {role: roles[role] for role in ROLES if role in roles}


def _headers(root: Path, names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the short sides of the photos, and "name: reason" of those that cannot be read."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        sides = list(pool.map(_short_side, (root / name for name in names)))
    bad = [f"{name}: {side}" for name, side in zip(names, sides, strict=True) if isinstance(side, str)]
    return [side for side in sides if isinstance(side, int)], bad


def _short_side(path: Path) -> int | str:
    """Return the short side in pixels, or why the photo cannot be read."""
    from PIL import Image

    heif = ("HEIF",) if "HEIF" in Image.OPEN else ()  # from the first HEIC photo on
    try:
        with path.open("rb") as file, pillow_warnings_ignored():
            image = open_image(file, (*preprocessing_image.FORMATS, *heif))
            if image.width * image.height <= preprocessing_image.MAX_PIXELS:
                return min(image.size)
    except Exception:  # damaged headers raise all kinds of errors; `preprocess_with_facts` says what is wrong
        pass
    try:
        facts = preprocessing_image.preprocess_with_facts(preprocessing_image.read_photo(path), (1, 1))[1]
        return min(facts.width, facts.height)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (DataError, MissingError) as error:
        return str(error).partition(": ")[2].rstrip(".")


@dataclass(frozen=True)
class _Plan:
    """The split folders by role, the splits to make, and about how many photos each will hold."""

    folder: Folder
    roles: Mapping[str, str]
    takes: Mapping[str, SplitPart]
    sizes: Mapping[str, int]

    @property
    def total(self) -> int:
        """All photos."""
        return sum(sum(counts.values()) for counts in self.folder.splits.values())

    @property
    def is_shared(self) -> bool:
        """True where a split is a share, so that photos of one scene could part."""
        return any(take.fraction for take in self.takes.values())

    @property
    def untested(self) -> list[str]:
        """Labels that the test split's folder lacks."""
        tested = self.folder.splits[self.takes["test"].origin]
        return [label for label in self.folder.labels if label not in tested]

    @property
    def labels(self) -> list[tuple[int, str]]:
        """Photos in the train folder and label, the fewest first."""
        return sorted((count, label) for label, count in self.folder.splits[self.roles["train"]].items())


def _plan(folder: Folder) -> _Plan:
    roles = _roles(folder.path, folder.splits)
    takes = {role: SplitPart(name) for role, name in roles.items()}
    if "test" not in roles:
        takes["test"] = takes.get("validation", SplitPart(roles["train"], 0.2))
    if len(roles) < 3:
        whole = sum(folder.splits[roles["train"]].values())
        takes["validation"] = SplitPart(roles["train"], 0.15 if whole <= MANY else 0.1)
    wholes = {role: sum(folder.splits[take.origin].values()) for role, take in takes.items()}
    sizes = {role: round(wholes[role] * (take.fraction or 1)) for role, take in takes.items()}
    sizes["train"] -= sum(sizes[role] for role, take in takes.items() if take.fraction)
    return _Plan(folder, roles, takes, sizes)


def recipe_text(folder: Folder, name: str, file: str = "", seed: int = 0) -> str:
    """The recipe as commented TOML, the same for the same folder; `name` is letters, digits, - and _.

    `file` is what the commands in its header call it, `name`.toml where it is not given.

    Raises DataError where the folder's path is no Unicode text, which TOML cannot hold.
    """
    plan = _plan(folder)
    values = {"name": quoted(name), "seed": seed, **_choices(plan)}
    figures = _figures(plan) | values
    reasons = {
        place: _note(" ".join(REASONS[word].format(**figures) for word in words))
        for place, words in _words(plan, values).items()
    }
    takes = {role: _taken(take) for role, take in plan.takes.items()}
    return TEMPLATE.format(
        **{**values, **reasons, **takes, "header": _header(plan, name, file or f"{name}.toml")}
    )


def _header(plan: _Plan, name: str, file: str) -> str:
    folder = plan.folder
    rows = [f"#   {_shown(split):<14}{_described(folder.splits[split])}" for split in plan.roles.values()]
    if folder.layout == "label":
        rows = [f"#   a folder for each label: {_described(folder.splits['train'])}"]
    found = f"A start for photos of {len(folder.labels)} labels: {_listed(folder.labels, 8)}."
    return "\n".join([_note(found), "#", *rows]) + COMMANDS.format(name=name, file=shlex.quote(file))


def _described(counts: Mapping[str, int]) -> str:
    low, high = min(counts.values()), max(counts.values())
    each = f"{low:,} of each label" if low == high else f"{low:,} to {high:,} of a label"
    return f"{sum(counts.values()):,} photos, {each}"


def _choices(plan: _Plan) -> dict[str, object]:
    """What goes into the recipe beside names and splits, as it is written there."""
    train = plan.sizes["train"]
    (least, _small), (most, _large) = plan.labels[0], plan.labels[-1]
    return {
        "source": quoted(f"folder:{plan.folder.path.as_posix()}"),
        "group": "near-duplicates" if plan.is_shared and plan.total <= GROUPED else "none",
        "alpha": 0.35 if train < MANY else 1.0,
        "size": next((size for size in SIZES if size <= ENLARGED * plan.folder.median_side), SIZES[-1]),
        "views": 6 if train < 1500 else 4 if train < MANY else 0,
        "head": _epochs(4000, train, 4, 20),
        "tune": _epochs(8000, train, 5, 25),
        "weights": '\nclass_weights = "balanced"' if most > 3 * least else "",
    }


def _epochs(shown: int, train: int, low: int, high: int) -> int:
    """Four passes over `train` photos, and as many more as show about `shown`, within limits."""
    return min(high, max(low, round(shown / max(1, train)) + 4))


def _figures(plan: _Plan) -> dict[str, object]:
    """What the reasons speak of."""
    folder, train = plan.folder, plan.sizes["train"]
    (least, small), (most, large) = plan.labels[0], plan.labels[-1]
    return {
        "plan": plan,
        "folder": folder,
        "sizes": plan.sizes,
        "share": plan.takes["validation"].fraction or 0.0,
        "one": 1 / max(1, plan.sizes["test"]),
        "held_out": _shown(plan.takes["test"].origin),
        "untested": _listed(plan.untested, 3),
        "bad": len(folder.unreadable),
        "unreadable": _listed(folder.unreadable, 3),
        "drawing": _time(train * VIEW_SECONDS),
        "steps": ceil(train / Stage.batch_size),
        "least": least,
        "small": _shown(small),
        "most": most,
        "large": _shown(large),
    }


def _words(plan: _Plan, values: Mapping[str, object]) -> dict[str, list[str]]:
    """Which of the `REASONS` stand at which place of the template."""
    side, uneven = plan.folder.median_side, plan.labels[0][0] < plan.labels[-1][0]
    group = "near-duplicates" if values["group"] != "none" else "too many" if plan.is_shared else "folders"
    return {
        "why_group": [f"group {group}"],
        "why_on_bad": ["on bad", *["on bad seen"] * bool(plan.folder.unreadable)],
        "why_splits": [
            f"splits {' '.join(plan.roles)}",
            *["few to test"] * (plan.sizes["test"] < DECIDING),
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


def _taken(take: SplitPart) -> str:
    if take.fraction is None:
        return quoted(take.origin)
    return f"{{ from = {quoted(take.origin)}, fraction = {take.fraction} }}"


def quoted(text: str) -> str:
    """A TOML basic string: what does not print is escaped, other letters stay as they are.

    Raises DataError for lone surrogates: names of bytes that are no UTF-8, which TOML cannot hold.
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


def _shown(text: str) -> str:
    """A name for a comment: quoted, and on one line whatever it holds."""
    return quoted(text.encode(errors="replace").decode())


def _listed(names: Sequence[str], limit: int) -> str:
    more = f" and {len(names) - limit:,} more" * (len(names) > limit)
    return ", ".join(map(_shown, names[:limit])) + more


def _time(seconds: float) -> str:
    return f"{ceil(seconds)} s" if seconds < 100 else f"{ceil(seconds / 60)} min"


def _note(text: str) -> str:
    """A comment in lines of at most 100 letters; words stay whole."""
    wrapper = textwrap.TextWrapper(98, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for part in text.split("\n") for line in wrapper.wrap(part))
