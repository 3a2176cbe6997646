"""Write predictions for `tledge predict`: as a line, as JSON, as a line of a CSV table, and in sum."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io.encoding import one_line
from tledge.visualization.text_format import percent

if TYPE_CHECKING:
    from tledge.contract import AbstentionPolicy
    from tledge.inference.predict import Answer, Prediction

MOST_LABELS = 8
"""Labels that the summary counts one by one."""


def line(answer: Answer, policy: AbstentionPolicy | None, raw: bool) -> str:
    """Return the line for one photo: its best predictions, marked where they are unsure, or its error."""
    best = "  ".join(_prediction_text(guess, raw) for guess in answer.predictions)
    if answer.abstained and policy:
        best = f"? {best}  (unsure: below {percent(policy.threshold)})"
    error = answer.error.removeprefix(f"{answer.image}: ")
    return one_line(f"{answer.image}: {error or best}")


def _prediction_text(guess: Prediction, raw: bool) -> str:
    before = f" (raw {percent(guess.raw_probability)})" if raw else ""
    return f"{guess.label} {percent(guess.confidence)}{before}"


def as_json(answer: Answer, calibrated: bool, raw: bool) -> dict[str, Any]:
    """Return an answer for --json; `error` and `calibrated` are there only where something is amiss."""
    facts: dict[str, Any] = {
        "image": answer.image,
        "predictions": [_prediction_as_json(guess, raw) for guess in answer.predictions],
        "abstained": answer.abstained,
    }
    if not calibrated:
        facts["calibrated"] = False
    return facts | ({"error": answer.error} if answer.error else {})


def _prediction_as_json(guess: Prediction, raw: bool) -> dict[str, Any]:
    """Return a prediction for --json: `probability` is `confidence`, under the name of earlier versions."""
    facts = {"label": guess.label, "confidence": guess.confidence, "probability": guess.probability}
    return facts | ({"raw_probability": guess.raw_probability} if raw else {})


def csv_header(count: int, raw: bool) -> str:
    """Return the names of the columns for the `count` best predictions."""
    columns = [
        f"{name}{'' if place == 1 else f'_{place}'}"
        for place in range(1, count + 1)
        for name in ("label", "confidence", *(("raw_probability",) if raw else ()))
    ]
    width = 3 if raw else 2
    return _csv(["image", *columns[:width], "certainty", *columns[width:], "error"])


def csv_line(answer: Answer, policy: AbstentionPolicy | None, count: int, raw: bool) -> str:
    """Return the line of one photo: `certainty` is empty where no threshold is set."""
    cells = [
        cell
        for guess in answer.predictions
        for cell in (
            guess.label,
            f"{guess.confidence:.6f}",
            *((f"{guess.raw_probability:.6f}",) if raw else ()),
        )
    ]
    width = 3 if raw else 2
    cells += [""] * (width * count - len(cells))
    certainty = "unsure" if answer.abstained else "sure"
    known = policy is not None and policy.threshold and not answer.error
    return _csv([answer.image, *cells[:width], certainty if known else "", *cells[width:], answer.error])


def _csv(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(map(one_line, cells))
    return text.getvalue()


def caption(answer: Answer) -> str:
    """Return what stands below the copy of a photo."""
    text = one_line(_prediction_text(answer.best, False))
    return f"unsure, perhaps {text}" if answer.abstained else text


def summary(
    answers: Sequence[Answer], policy: AbstentionPolicy | None, seconds: float, saved: Path | None
) -> str:
    """Return the line at the end: photos, time, how many of each label, unsure and unreadable."""
    labels = Counter(answer.best.label for answer in answers if not answer.error)
    counts = [f"{label} {count}" for label, count in labels.most_common(MOST_LABELS)]
    if len(labels) > MOST_LABELS:
        rest = labels.total() - sum(count for _label, count in labels.most_common(MOST_LABELS))
        counts.append(f"{len(labels) - MOST_LABELS} other labels {rest}")
    remarks = []
    if policy and policy.threshold:
        remarks.append(f"{sum(answer.abstained for answer in answers)} unsure")
    if unread := sum(bool(answer.error) for answer in answers):
        remarks.append(f"{unread} unreadable")
    if saved and labels:
        remarks.append(f"copies in {saved}")
    parts = [", ".join(part) for part in (counts, remarks) if part]
    return one_line(f"{len(answers)} photos in {seconds:.1f} s: {'; '.join(parts)}")
