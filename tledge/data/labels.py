"""Decide the labels of a data set: how they are spelled, which are one, and the class index of each.

The rule is the same for every source, for all parts of a split and for labels files:

1. A label is its text in Unicode form NFC, without blanks and invisible characters around it. Two spellings
   that this makes equal are one label.
2. Two labels that still look alike are refused: they differ only in the kind of blanks, in invisible
   characters or in upper and lower case. Those that differ in case are two labels where the recipe or
   the source lists both.
3. The order is that of `[data] labels` or `labels_file`, else the source's own, else natural order: "2" comes
   before "10". A label that is listed keeps its class index, even if no photo has it.

A run keeps the labels that it recorded, in their order, whatever this rule says.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tledge._io.encoding import CONTROL
from tledge.errors import DataError

INVISIBLE = "\u00ad\u180e\u200b\u2060\u2800\u3164\ufeff\uffa0"
"""Characters without a glyph that are removed around a label; joiners and marks of direction are meant."""

_IGNORED = re.compile(f"[{INVISIBLE}\u034f\u061c\u115f\u1160\u200c-\u200f\u2061-\u2064\ufe00-\ufe0f]")
"""Characters whose presence cannot be seen anywhere in a label."""

SHOWN = 3
"""Pairs of labels that one message shows."""


@dataclass(frozen=True)
class ClassList:
    """The labels by class index.

    `spellings` maps a label of the source to its name, where that is another text. `origin` is "recipe",
    "source" or "natural": what the order is that of. `merged` describes spellings that became one label.
    """

    names: tuple[str, ...]
    spellings: Mapping[str, str]
    origin: str = "natural"
    merged: tuple[str, ...] = ()


def normalized(label: str) -> str:
    """Return a label in form NFC, without blanks and invisible characters around it."""
    text = unicodedata.normalize("NFC", label)
    stripped = ""
    while stripped != text:  # blanks may stand inside of invisible characters
        stripped, text = text, text.strip().strip(INVISIBLE)
    return text


def natural_key(label: str) -> tuple[str, str]:
    """Return what to sort labels by: alphabetical, but with whole numbers by their size."""

    def counted(digits: re.Match[str]) -> str:
        number = digits[0].lstrip("0")
        return f"{len(number):03d}{number}"

    return re.sub("[0-9]+", counted, label), label


def spelled(label: str) -> str:
    """Quote a label so that its difference to one that looks alike is visible."""
    composed, decomposed = (unicodedata.normalize(form, label) for form in ("NFC", "NFD"))
    if composed == decomposed:
        return repr(label)
    form = "NFC" if label == composed else "NFD" if label == decomposed else "neither NFC nor NFD"
    return f"{label!r} ({form})"


def class_list(found: Iterable[str], listed: Sequence[str] = (), origin: str = "natural") -> ClassList:
    """Return the classes of a data set by the rule of this module.

    Args:
        found: The labels of the photos, as the source spells them.
        listed: All labels in the order of their class indices, where the recipe or the source gives one.
        origin: Which of them gives it: "recipe" or "source".

    Raises:
        DataError: Labels look alike, a photo's label is not listed, or one is blank.
    """
    spellings = sorted(set(found))
    names = tuple(map(normalized, listed))
    if unusable := [name for name in names if not name or CONTROL.search(name)]:
        raise DataError(f"[data] labels: {unusable[0]!r} is blank or has control characters. Rename it.")
    refuse_alike(names, is_listed=True)
    by_spelling = _names_of(spellings, names)
    if not names:
        names = tuple(sorted(set(by_spelling.values()), key=natural_key))
        refuse_alike(names, is_listed=False)
        origin = "natural"
    changed = {spelling: name for spelling, name in by_spelling.items() if spelling != name}
    return ClassList(names, changed, origin, tuple(_merged(by_spelling)))


def recorded_classes(found: Iterable[str], recorded: Sequence[str]) -> ClassList:
    """Return the classes that a run recorded, for the photos that it was trained on.

    Raises:
        DataError: A photo has a label that the run has not.
    """
    names = tuple(recorded)
    known = {normalized(name): name for name in names} | {name: name for name in names}
    by_spelling = {label: known.get(label, known.get(normalized(label), "")) for label in found}
    others = [label for label, name in by_spelling.items() if not name]
    by_spelling |= _names_of(others, names, "the run")
    changed = {spelling: name for spelling, name in by_spelling.items() if spelling != name}
    return ClassList(names, changed, "run")


def _names_of(
    spellings: Sequence[str], names: tuple[str, ...], where: str = "[data] labels or labels_file"
) -> dict[str, str]:
    """Return the name of each spelling; where names are listed, numbers may be their indices."""
    by_spelling = {spelling: normalized(spelling) for spelling in spellings}
    if blank := [spelling for spelling, name in by_spelling.items() if not name]:
        raise DataError(f"the label {blank[0]!r} is blank. Rename it.")
    if not names:
        return by_spelling
    known = set(names)
    unknown = sorted({name for name in by_spelling.values() if name not in known}, key=natural_key)
    if not unknown:
        return by_spelling
    are_all_unknown = len(unknown) == len(set(by_spelling.values()))
    if are_all_unknown and all(_is_index(name, len(names)) for name in unknown):
        return {spelling: names[int(name)] for spelling, name in by_spelling.items()}
    raise DataError(
        f"{_listed(unknown)}: photos have {'this label' if len(unknown) == 1 else 'these labels'}, "
        f"{where} does not list {'it' if len(unknown) == 1 else 'them'}. "
        f"It lists {_listed(names)}. Add what is missing, or rename the photos' labels."
    )


def _is_index(name: str, count: int) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10 and int(name) < count


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)
    return ", ".join(map(repr, names[:SHOWN])) + more


def _merged(by_spelling: Mapping[str, str]) -> Iterable[str]:
    together: dict[str, list[str]] = {}
    for spelling, name in by_spelling.items():
        together.setdefault(name, []).append(spelling)
    for name, spellings in together.items():
        if len(spellings) > 1:
            yield f"{' and '.join(map(spelled, spellings))} are one label, {name!r}"


def refuse_alike(names: Sequence[str], *, is_listed: bool) -> None:
    """Raise DataError where two labels look alike; where both are listed, case may differ."""
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"[data] labels: {_listed(repeated)} is listed more than once.")
    if pairs := _pairs(names, _seen):
        what = "only in blanks or in characters that cannot be seen"
        raise DataError(_refusal(pairs, what, "Spell them alike."))
    if not is_listed and (pairs := _pairs(names, lambda name: _seen(name).lower())):
        advice = "Spell them alike or, if they are two classes, list all labels in [data] labels."
        raise DataError(_refusal(pairs, "only in upper and lower case", advice))


def alike_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of labels that a person cannot tell apart, equal ones too, of a list that is fixed."""
    return _pairs(names, lambda name: _seen(normalized(name)))


def _seen(name: str) -> str:
    """Return what a person sees of a label: blanks of one kind, without invisible characters."""
    return unicodedata.normalize("NFC", " ".join(_IGNORED.sub("", name).split()))


def _pairs(names: Sequence[str], key: Callable[[str], str]) -> list[tuple[str, str]]:
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        if (seen := key(name)) in first:
            pairs.append((first[seen], name))
        first.setdefault(seen, name)
    return pairs


def _refusal(pairs: list[tuple[str, str]], what: str, advice: str) -> str:
    quoted = "; ".join(f"{spelled(first)} and {spelled(second)}" for first, second in pairs[:SHOWN])
    more = f" and {len(pairs) - SHOWN} more pairs" * (len(pairs) > SHOWN)
    return f"labels differ {what}: {quoted}{more}. {advice}"


def comparable(names: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of a model by the rule, so that those of two models can be compared.

    A model whose labels the rule would merge keeps them as they are: each is a class of its own.
    """
    by_rule = tuple(map(normalized, names))
    return by_rule if len(set(by_rule)) == len(set(names)) else tuple(names)


_NUMBERED = re.compile(r"([0-9]+)[ \t:,]+(.*\S.*)")


def parse_labels_file(content: bytes) -> tuple[str, ...]:
    """Return the labels of a labels file that any tool wrote: one a line, in the order of the classes.

    A byte order mark and blanks around labels are ignored. Where every line begins with the number of its
    class, counted from 0, as Teachable Machine writes it ("0 daisy"), the numbers give the order and are no
    part of the labels.

    Raises:
        UnicodeDecodeError: The file is neither UTF-8 nor, with a byte order mark, UTF-16.
    """
    is_wide = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    text = content.decode("utf-16" if is_wide else "utf-8-sig")
    lines = re.split("\r\n|\r|\n", text)
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(map(normalized, _without_numbers(lines)))


def _without_numbers(lines: list[str]) -> list[str]:
    matches = [_NUMBERED.fullmatch(line.strip()) for line in lines if line.strip()]
    by_number = {int(match[1]): match[2] for match in matches if match}
    is_numbered = len(by_number) == len(matches) and sorted(by_number) == list(range(len(by_number)))
    if not is_numbered or len(set(by_number.values())) < len(by_number):
        return lines
    return [by_number[number] for number in range(len(by_number))]
