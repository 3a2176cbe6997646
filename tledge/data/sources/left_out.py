"""Count the files and folders that a source leaves out, by reason, with examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EXAMPLES = 3
"""Names that are kept of each reason."""

HIDDEN, SYSTEM, ENDING = "hidden", "made by the system", "unknown ending"
NOT_AN_IMAGE, NO_LABEL = "not an image", "no label"
EMPTY_FOLDER, UNREADABLE = "folder without photos", "cannot be read"


@dataclass(frozen=True)
class LeftOut:
    """How many files or folders were left out for one reason, and the first few of them."""

    count: int
    examples: tuple[str, ...]


@dataclass
class LeftOutCounter:
    """Collect what is left out while a source is walked."""

    _counts: dict[str, int] = field(default_factory=dict)
    _examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one file or folder."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        if self._counts[reason] <= EXAMPLES:
            self._examples.setdefault(reason, []).append(name)

    def by_reason(self) -> dict[str, LeftOut]:
        """Return what was counted, the most frequent reason first."""
        reasons = sorted(self._counts, key=lambda reason: (-self._counts[reason], reason))
        return {reason: LeftOut(self._counts[reason], tuple(self._examples[reason])) for reason in reasons}


def sentences(left_out: Mapping[str, LeftOut]) -> list[str]:
    """Return a line for each reason: "left out, hidden: 2 (.DS_Store, a/._1.jpg)"."""
    return [f"left out, {reason}: {_counted(group)}" for reason, group in left_out.items()]


def _counted(group: LeftOut) -> str:
    more = ", …" if group.count > len(group.examples) else ""
    return f"{group.count} ({', '.join(group.examples)}{more})"
