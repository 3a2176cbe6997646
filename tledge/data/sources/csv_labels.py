"""Find the one label in a table's cell, and refuse cells that hold several.

The rule:

- A cell in brackets that is JSON, or a list of quoted names as Python writes it, stands for the names in it:
  `["daisy"]` and `{"choices": ["daisy"]}` are the label daisy, `["daisy", "rose"]` is refused.
- Any other cell is a label as it is, also with commas in it: "tench, Tinca tinca". It is refused only where
  it looks like a list of labels: divided at `,`, `;` or `|`, each part is a label of other rows or a part of
  another list, and at least one part is a label of other rows.
- Where that is wrong, the cell's label is written as a list of one: `["daisy,rose"]` is the label daisy,rose.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tledge.data.labels import normalized

_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_QUOTED = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*(?:,|(?=['"])|$)""")
_SEPARATORS = ",;|"

LONGEST = 10_000
"""Characters of a cell that is read as a list; a longer one is a label, however unlikely."""


def label_in_cell(cell: str) -> tuple[str, bool]:
    """Return the label in a cell, and whether the cell says that it is one label, as a list of one does.

    Raises:
        ValueError: It holds no label, or several; the message is the rest of a sentence.
    """
    names = _names(cell) if len(cell) <= LONGEST else None
    if names is None:
        return cell, False
    if len(names) != 1:
        raise ValueError(_refusal(cell, names))
    return names[0], True


def _names(cell: str) -> list[str] | None:
    """Return the names in a cell that is a list; None where it is plain text."""
    if _BRACKETS.get(cell[:1]) != cell[-1:]:
        return None
    try:
        return list(_leaves(json.loads(cell)))
    except (ValueError, RecursionError):
        return _quoted_names(cell[1:-1])


def _leaves(value: Any) -> Iterable[str]:
    """Yield the names in JSON; raises ValueError where it is something else than a list of names."""
    if isinstance(value, dict) and len(value) > 1:
        value = value.get("choices", value.get("labels"))
    if isinstance(value, (list, dict)):
        for item in value if isinstance(value, list) else value.values():
            yield from _leaves(item)
    elif isinstance(value, (str, int)) and str(value).strip():
        yield str(value).strip()
    else:
        raise ValueError("no list of names")


def _quoted_names(text: str) -> list[str] | None:
    """Return the names in a list of quoted names, divided by commas or by blanks."""
    names, place = [], 0
    while place < len(text):
        match = _QUOTED.match(text, place)
        if match is None:
            return None
        names.append(match[1] or match[2] or "")
        place = match.end()
    return names or None


def lists_of_labels(found: Iterable[str]) -> dict[str, list[str]]:
    """Find the labels that are lists of other labels, each with its parts."""
    labels = set(found)
    divided = {label: parts for label in labels if len(parts := _parts(label)) > 1}
    if not divided:
        return {}
    alone = set(map(normalized, labels - divided.keys()))
    occurrences = Counter(part for parts in divided.values() for part in set(parts))
    return {
        label: parts
        for label, parts in divided.items()
        if any(part in alone for part in parts)
        and all(part in alone or occurrences[part] > 1 for part in parts)
    }


def _parts(label: str) -> list[str]:
    """Divide a cell at the first kind of separator that it has; no parts where one is blank."""
    inner = label[1:-1] if _BRACKETS.get(label[:1]) == label[-1:] else label
    separator = next((mark for mark in _SEPARATORS if mark in inner), None)
    parts = [normalized(part) for part in inner.split(separator)] if separator else []
    return parts if all(parts) else []


def list_refusal(label: str, parts: list[str]) -> str:
    """Say, as the rest of a sentence, that a label is a list of labels, and how it can be one label."""
    advice = f"If it is one label, write it as a list of one: {json.dumps([label], ensure_ascii=False)}."
    return f"{_refusal(label, parts)} {advice}"


def _refusal(cell: str, names: list[str]) -> str:
    shown = cell if len(cell) <= 60 else f"{cell[:60]}…"
    if not names:
        return f"{shown!r} holds no label. Fill it in or remove the row."
    listed = ", ".join(map(repr, names[:3])) + " and more" * (len(names) > 3)
    return (
        f"{shown!r} holds {len(names)} labels ({listed}), expected one: tledge learns one label per photo. "
        "Keep the right one, or remove the row."
    )
