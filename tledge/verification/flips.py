"""List the predictions of an artifact that differ from Keras', and draw a contact sheet of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import atomic, files
from tledge.contract import AbstentionPolicy
from tledge.metrics.abstention import confidences
from tledge.run.golden_set import Golden
from tledge.visualization import contact_sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = ("lost", "won", "moved")
"""The kinds in files: regression (only Keras is right), fix (only the artifact is right), and still wrong
(both are wrong, and differently)."""


KIND_WORDS = {
    "lost": ("regression", "regressions"),
    "won": ("fix", "fixes"),
    "moved": ("still wrong", "still wrong"),
}
"""Each kind for a reader: of one image, and of several."""


@dataclass(frozen=True)
class Flip:
    """One image for which the artifact predicts another class than Keras.

    `image` is its name in the data source, `row` its row in `golden.npz`, `kind` one of `KINDS`, `label` the
    true one; `keras` and `artifact` are the predicted labels. Confidences are in 0..1, at the run's
    temperature where one was fitted.
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
    """The list that `write` leaves of an artifact: how many of `images` are of each kind, and each flip."""

    variant: str
    images: int
    lost: int
    won: int
    moved: int
    flips: tuple[Flip, ...]


def find(
    golden: Golden,
    predictions: NDArray[np.float32],
    names: Sequence[str],
    policy: AbstentionPolicy | None = None,
) -> list[Flip]:
    """Find where predictions float32[N, classes] have another class than Keras'.

    Sorted by Keras' confidence, the highest first.
    """
    import numpy as np

    classes_keras, classes_artifact = golden.probabilities.argmax(1), predictions.argmax(1)
    keras, artifact = confidences(golden.probabilities, policy), confidences(predictions, policy)
    rows = np.flatnonzero(classes_keras != classes_artifact)
    by_confidence = rows[np.argsort(-keras[rows].max(1), kind="stable")]
    return [
        Flip(
            golden.ids[row],
            row,
            _kind(int(golden.labels[row]), int(classes_keras[row]), int(classes_artifact[row])),
            names[golden.labels[row]],
            names[classes_keras[row]],
            round(float(keras[row].max()), 6),
            names[classes_artifact[row]],
            round(float(artifact[row].max()), 6),
        )
        for row in by_confidence.tolist()
    ]


def _kind(label: int, keras: int, artifact: int) -> str:
    return "lost" if keras == label else "won" if artifact == label else "moved"


def write(
    run: Path,
    variant: str,
    golden: Golden,
    predictions: NDArray[np.float32],
    names: Sequence[str],
    policy: AbstentionPolicy | None = None,
) -> str:
    """Write the flips of `variant` as a list and a contact sheet into `evidence/` of a run.

    Returns the list's path within the run, "" where there is nothing to list.
    """
    flips = find(golden, predictions, names, policy)
    if not flips:
        return ""
    path = f"evidence/{variant}-flips.json"
    counts = Counter(flip.kind for flip in flips)
    by_kind = {kind: counts[kind] for kind in KINDS}
    listing = Listing(variant, len(golden.labels), **by_kind, flips=tuple(flips))
    files.write_json(run / path, asdict(listing))
    with atomic.replacing((run / path).with_suffix(".png")) as unfinished:
        _draw(unfinished, variant, golden, flips, counts)
    return path


def read_listing(path: Path) -> Listing:
    """Read the list that `write` left at `path`; raise RunError where it is missing or damaged."""
    advice = "Run `tledge verify` again."
    return files.read_record(Listing, path, "a verified run", advice)


def _draw(path: Path, variant: str, golden: Golden, flips: list[Flip], counts: Counter[str]) -> None:
    drawn = flips[: contact_sheet.MAX_IMAGES]
    title = f"{variant}: " + ", ".join(
        f"{counts[kind]} {KIND_WORDS[kind][counts[kind] != 1]}" for kind in KINDS
    )
    if len(drawn) < len(flips):
        title += f" (the {len(drawn)} that Keras was most confident of)"
    keras_lines = [f"Keras {flip.keras_confidence:.0%} {flip.keras}" for flip in drawn]
    artifact_lines = [f"now {flip.artifact_confidence:.0%} {flip.artifact}" for flip in drawn]
    labels = [f"{KIND_WORDS[flip.kind][0]}: {flip.label}" for flip in drawn]
    images = golden.images[[flip.row for flip in drawn]]
    contact_sheet.sheet(images, labels, path, title, (keras_lines, artifact_lines))


def keep_only(run: Path, lists: Iterable[str]) -> None:
    """Remove lists and sheets of earlier verifications; `lists` are the paths that `write` just returned."""
    kept = {Path(path).stem for path in lists}
    for path in (run / "evidence").glob("*-flips.*"):
        if path.suffix in (".json", ".png") and path.stem not in kept:
            path.unlink()
