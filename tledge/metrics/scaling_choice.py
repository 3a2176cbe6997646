"""Choose the scaling of a model's input by the labels of photos, or refuse to choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge.metrics.statistics import mcnemar, wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_P = 0.01
"""Largest corrected p at which one candidate is better than another beyond doubt."""

MIN_IMAGES = 30
"""Fewer photos never choose: they often come from one session, and the test assumes independent ones."""


@dataclass(frozen=True)
class CandidateScore:
    """How many of `images` one candidate predicts right, with the 95 % Wilson interval of the share.

    `equal_to` names the first candidate with the same prediction for every image, "" for the first itself.
    """

    name: str
    right: int
    images: int
    low: float
    high: float
    equal_to: str = ""

    @property
    def accuracy(self) -> float:
        """The share of right predictions, 0..1."""
        return self.right / self.images


@dataclass(frozen=True)
class Choice:
    """The candidate that the photos choose, None if they do not, with the scores of all.

    Attributes:
        chosen: The name of the first of the best candidates, or None.
        scores: One for each candidate, the most accurate first.
        p: The corrected p of the closest comparison: best candidate against another one, or against
            predicting one class for every image.
        reason: Why none was chosen; "" otherwise.
    """

    chosen: str | None
    scores: tuple[CandidateScore, ...]
    p: float
    reason: str = ""

    @property
    def equals(self) -> tuple[str, ...]:
        """The candidates whose predictions are those of the chosen one: these photos tell no difference."""
        return tuple(score.name for score in self.scores if self.chosen and score.equal_to == self.chosen)


def choose(labels: NDArray[np.int64], predictions: Mapping[str, NDArray[np.int64]]) -> Choice:
    """Choose the candidate that is better than every other one beyond doubt.

    Candidates with the same predictions count as one. The most accurate one is compared with each other
    one, and with predicting the most frequent label for every image, by the exact McNemar test. Each p is
    multiplied by the number of pairs of candidates (Bonferroni), because the best one is picked after
    looking at all of them.

    Args:
        labels: The class of each image, int64[N].
        predictions: What each candidate predicts for the images, int64[N]; at least one candidate.

    Raises:
        ValueError: there are no images or no candidates.
    """
    import numpy as np

    if not len(labels) or not predictions:
        raise ValueError("no images or no candidates to choose by")
    equal_to = _equal_predictions(predictions)
    right = {name: np.asarray(predicted == labels) for name, predicted in predictions.items()}
    ranked = sorted(predictions, key=lambda name: -int(right[name].sum()))
    scores = tuple(_score(name, right[name], equal_to[name]) for name in ranked)
    distinct = [name for name in ranked if not equal_to[name]]
    best, others = distinct[0], distinct[1:]
    constant = labels == np.bincount(labels).argmax()
    count = len(distinct) + 1
    p = max(_p_better(right[best], other) for other in (constant, *(right[name] for name in others)))
    p = min(1.0, p * count * (count - 1) / 2)
    reason = _doubt(len(labels), p, scores)
    return Choice(None if reason else best, scores, p, reason)


def _equal_predictions(predictions: Mapping[str, NDArray[np.int64]]) -> dict[str, str]:
    """Return for each candidate the first one with its predictions, "" for the first itself."""
    first: dict[bytes, str] = {}
    equal_to = {}
    for name, predicted in predictions.items():
        earlier = first.setdefault(predicted.tobytes(), name)
        equal_to[name] = "" if earlier == name else earlier
    return equal_to


def _score(name: str, right: NDArray[np.bool_], equal_to: str) -> CandidateScore:
    count = int(right.sum())
    return CandidateScore(name, count, len(right), *wilson(count, len(right)), equal_to)


def _p_better(best: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Compute McNemar's p, 1 where the other one is as accurate or better."""
    regressions, fixes = int((other & ~best).sum()), int((best & ~other).sum())
    return mcnemar(regressions, fixes) if fixes > regressions else 1.0


def _doubt(images: int, p: float, scores: tuple[CandidateScore, ...]) -> str:
    """Return why the scores choose none; "" where the best one is beyond doubt."""
    if images < MIN_IMAGES:
        return f"{images} labelled photos are too few to choose a scaling by; it takes at least {MIN_IMAGES}"
    if p >= MAX_P:
        best = scores[0]
        return (
            f"{images} labelled photos do not show which scaling is right: the best, {best.name}, predicts "
            f"{best.right} of them right, which is not beyond doubt better than the next or than one class "
            f"for all (p = {p:.2g}, must be below {MAX_P})"
        )
    return ""
