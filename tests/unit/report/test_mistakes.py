"""The test photos that Keras predicts wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.fake_report import LABELS, Page
from tests.helpers.report_texts import rewritten
from tledge.bundle import run_summary
from tledge.report import mistakes, render
from tledge.run import golden_set
from tledge.run.folder import RunFolder

pytest.importorskip("jinja2")


def read(path: Path) -> mistakes.Mistakes:
    found = mistakes.read(RunFolder(path), run_summary.read(RunFolder(path)))
    assert found
    return found


def test_wrong_predictions_with_path_label_and_prediction(made: Path, page: Page) -> None:
    kept, found = golden_set.load(made / "golden.npz"), read(made)
    wrong = np.flatnonzero(kept.probabilities.argmax(1) != kept.labels)
    assert found.count == len(wrong) and found.images == 200
    assert {one.image for one in (*found.pictures, *found.listed)} == {str(kept.ids[row]) for row in wrong}
    first = found.pictures[0]
    place = [str(name) for name in kept.ids].index(first.image)
    assert first.label == LABELS[kept.labels[place]]
    assert first.prediction == LABELS[kept.probabilities[place].argmax()]
    assert f"{found.count} of 200 predictions are wrong" in page.text and first.image in page.text


def test_the_most_confident_comes_first_at_the_runs_temperature(made: Path) -> None:
    found = read(made)
    sure = [one.confidence for one in (*found.pictures, *found.listed)]
    assert sure == sorted(sure, reverse=True)
    temperature = json.loads((made / "run.json").read_text())["confidence"]["temperature"]
    kept = golden_set.load(made / "golden.npz")
    powers = kept.probabilities.astype(float) ** (1 / temperature)
    scaled = powers.max(1) / powers.sum(1)
    place = [str(name) for name in kept.ids].index(found.pictures[0].image)
    assert found.pictures[0].confidence == pytest.approx(scaled[place], abs=1e-6)


def test_no_diagram_of_few_photos(own: Path) -> None:
    kept = golden_set.load(own / "golden.npz")
    few = render.FEW_IMAGES - 1
    parts = (kept.images[:few], kept.labels[:few], kept.probabilities[:few], kept.ids[:few])
    golden_set.save(own / "golden.npz", golden_set.Golden(*parts, {}))
    for name in ("evidence/tflite-fp32-flips.json", "evidence/onnx-fp32-flips.json"):
        raw = json.loads((own / name).read_text())
        (own / name).write_text(json.dumps({**raw, "flips": []}))
    found = rewritten(own)
    assert found.bins == [] and f"Not drawn: {few} images are too few" in found.text
