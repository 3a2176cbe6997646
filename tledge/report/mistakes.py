"""List the test photos that Keras predicts wrongly, with their path, label and prediction."""

from __future__ import annotations

from dataclasses import dataclass

from tledge.bundle.run_summary import Summary
from tledge.metrics import abstention
from tledge.report import images
from tledge.run.folder import RunFolder

MOST_PICTURES = 24
"""Wrong predictions that are shown with their photo."""

MOST_LISTED = 200
"""Wrong predictions that are listed."""


@dataclass(frozen=True)
class Mistake:
    """A test photo that was predicted wrongly; `confidence` is that of the wrong prediction.

    `uri` is the photo as a data URI, "" where only the text is listed.
    """

    uri: str
    image: str
    label: str
    prediction: str
    confidence: float


@dataclass(frozen=True)
class Mistakes:
    """The `count` wrong predictions of `images`: the most confident ones, first with photos, then as text."""

    images: int
    count: int
    pictures: tuple[Mistake, ...]
    listed: tuple[Mistake, ...]


def read(folder: RunFolder, summary: Summary) -> Mistakes | None:
    """Read Keras' wrong predictions, the most confident first; None without a golden set."""
    import numpy as np

    if not folder.golden.is_file():
        return None
    reference, names = folder.read_golden(), summary.run.labels
    predicted = reference.probabilities.argmax(1)
    sure = abstention.confidences(reference.probabilities, summary.run.confidence).max(1)
    wrong = np.flatnonzero(predicted != reference.labels)
    rows = wrong[np.argsort(-sure[wrong], kind="stable")][:MOST_LISTED].tolist()

    def mistake(row: int, pictured: bool) -> Mistake:
        uri = images.photo(reference.images[row]) if pictured else ""
        label, prediction = names[int(reference.labels[row])], names[int(predicted[row])]
        return Mistake(uri, str(reference.ids[row]), label, prediction, float(sure[row]))

    return Mistakes(
        images=len(predicted),
        count=len(wrong),
        pictures=tuple(mistake(row, True) for row in rows[:MOST_PICTURES]),
        listed=tuple(mistake(row, False) for row in rows[MOST_PICTURES:]),
    )
