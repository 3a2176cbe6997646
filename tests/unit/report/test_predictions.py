"""What the report says of answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.fake_report import Page, contradictions
from tests.helpers.report_texts import rewritten
from tests.helpers.reports import change
from tledge.run import golden_set

pytest.importorskip("jinja2")


def test_reliability_is_that_of_the_golden_set(made: Path, page: Page) -> None:
    kept = golden_set.load(made / "golden.npz")
    sure, right = kept.probabilities.max(1), kept.probabilities.argmax(1) == kept.labels
    assert sum(images for images, _accuracy, _confidence in page.bins) == len(sure) == 200
    images, accuracy, confidence = page.bins[-1]
    top = sure > 14 / 15
    assert (images, accuracy) == (top.sum(), pytest.approx(right[top].mean()))
    assert confidence == pytest.approx(sure[top].mean(), abs=1e-6)


def test_many_classes_make_a_heat_map(own: Path) -> None:
    names = [f"breed {number}" for number in range(30)]
    kept = golden_set.load(own / "golden.npz")
    shares = np.full((200, 30), 0.01, np.float32)
    shares[np.arange(200), np.arange(200) % 29] = 0.71
    labels = np.arange(200) % 30
    golden_set.save(own / "golden.npz", golden_set.Golden(kept.images, labels, shares, kept.ids, {}))
    change(own / "run.json", lambda raw: raw.update(labels=names))
    (own / "parity.json").unlink()
    found = rewritten(own)
    (heat,) = [one for one in found.named("img") if one.get("class") == "heat"]
    assert heat["src"].startswith("data:image/png") and "30 classes" in heat["alt"]
    assert "predicted as breed" in found.text
    assert contradictions(own) == []
    assert [text for name, _value, text in found.figures if name == "answers.class.breed 29.precision"] == []


def test_many_classes_list_the_worst(own: Path) -> None:
    """51 classes: the page has the 50 with the lowest recall, the file all."""
    names = [f"breed {number:02d}" for number in range(51)]
    kept = golden_set.load(own / "golden.npz")
    labels = np.arange(200) % 51
    shares = np.full((200, 51), 0.001, np.float32)
    shares[np.arange(200), np.where(labels == 7, 8, labels)] = 0.95
    golden_set.save(own / "golden.npz", golden_set.Golden(kept.images, labels, shares, kept.ids, {}))
    change(own / "run.json", lambda raw: raw.update(labels=names))
    (own / "parity.json").unlink()
    page = rewritten(own)
    assert "50 of 51 classes with the lowest recall" in page.text
    text = (own / "report.md").read_text(encoding="utf-8")
    assert "50 of 51 classes with the lowest recall; `classes.csv` has all." in text
    rows = (own / "classes.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "label,images,recall,low,high,predicted,precision" and len(rows) == 52
    assert rows[1].startswith("breed 07,4,0.0,") and not contradictions(own)
