"""Answers of an artifact that are not Keras': a list, and a contact sheet to look at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import atomic, files
from tledge.run.golden_set import Golden
from tledge.visualization import contact_sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = ("lost", "won", "moved")
"""Right by Keras alone, right by the artifact alone, wrong by both and differently."""


@dataclass(frozen=True)
class Flip:
    """One image that the artifact answers otherwise; `row` is its place in `golden.npz`.

    `image` is the photo's name in its source, `label` what it shows; confidences are in 0..1.
    """

    image: str
    row: int
    kind: str
    label: str
    keras: str
    keras_confidence: float
    artifact: str
    artifact_confidence: float


@dataclass(frozen=True)
class Listing:
    """What `write` lists of an artifact: how many of `images` are of each kind, and every one of them."""

    variant: str
    images: int
    lost: int
    won: int
    moved: int
    flips: tuple[Flip, ...]


def find(golden: Golden, found: NDArray[np.float32], names: Sequence[str]) -> list[Flip]:
    """Where `found`, float32[N, classes], answers otherwise than Keras; what Keras was surest of first."""
    import numpy as np

    keras = golden.probabilities
    before, after = keras.argmax(1), found.argmax(1)
    rows = np.flatnonzero(before != after)
    surest = rows[np.argsort(-keras[rows].max(1), kind="stable")]
    return [
        Flip(
            golden.ids[row],
            row,
            _kind(int(golden.labels[row]), int(before[row]), int(after[row])),
            names[golden.labels[row]],
            names[before[row]],
            round(float(keras[row].max()), 6),
            names[after[row]],
            round(float(found[row].max()), 6),
        )
        for row in surest.tolist()
    ]


def _kind(label: int, before: int, after: int) -> str:
    return "lost" if before == label else "won" if after == label else "moved"


def write(run: Path, variant: str, golden: Golden, found: NDArray[np.float32], names: Sequence[str]) -> str:
    """List and draw in `evidence/` of a run what `variant` answers otherwise than Keras.

    Gives the list's path within the run, "" where there is nothing to list.
    """
    flips = find(golden, found, names)
    if not flips:
        return ""
    path = f"evidence/{variant}-flips.json"
    counts = Counter(one.kind for one in flips)
    by_kind = {kind: counts[kind] for kind in KINDS}
    listing = Listing(variant, len(golden.labels), **by_kind, flips=tuple(flips))
    files.write_json(run / path, asdict(listing))
    with atomic.replacing((run / path).with_suffix(".png")) as made:
        _draw(made, variant, golden, flips, counts)
    return path


def listed(path: Path) -> Listing:
    """The list that `write` left at `path`; raises RunError where it is not there, or damaged."""
    advice = "Run `tledge verify` again."
    return files.read_record(Listing, path, "a verified run", advice)


def _draw(path: Path, variant: str, golden: Golden, flips: list[Flip], counts: Counter[str]) -> None:
    shown = flips[: contact_sheet.MOST]
    title = f"{variant}: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
    if len(shown) < len(flips):
        title += f" (the {len(shown)} that Keras was surest of)"
    before = [f"Keras {_sure(one.keras_confidence)} {one.keras}" for one in shown]
    after = [f"now {_sure(one.artifact_confidence)} {one.artifact}" for one in shown]
    labels = [f"{one.kind}: {one.label}" for one in shown]
    contact_sheet.sheet(golden.images[[one.row for one in shown]], labels, path, title, (before, after))


def _sure(confidence: float) -> str:
    return f"{confidence:.0%}"


def keep_only(run: Path, listed: Iterable[str]) -> None:
    """Remove lists and sheets of earlier verifications; `listed` are those that `write` just gave."""
    kept = {Path(path).stem for path in listed}
    for path in (run / "evidence").glob("*-flips.*"):
        if path.suffix in (".json", ".png") and path.stem not in kept:
            path.unlink()
