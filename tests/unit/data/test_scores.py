"""What a training says beside its scores, and that it says nothing where all is well."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tledge.data import scores
from tledge.data.inspection import DatasetSummary, Duplicate
from tledge.visualization import plots

FINE = DatasetSummary(20, 0, (1, 1), (1, 1), (1, 1), {}, {}, {}, (), 1.0, (), (), ())
LABELS = np.array([0, 1, 0, 1])
RIGHT = np.eye(2, dtype=np.float32)[LABELS]
NAMES = ("cat", "dog")
TWIN = Duplicate("same bytes", "a.png", "b.png", "train/cat", "test/cat")


def test_nothing_is_said_of_what_is_well() -> None:
    assert scores.remarks(FINE, LABELS, RIGHT, NAMES, 3) == ()
    within = replace(FINE, duplicates=(replace(TWIN, second_place="train/cat"),))
    assert scores.remarks(within, LABELS, RIGHT, NAMES, 3) == ()


@pytest.mark.parametrize(
    ("found", "answers", "epochs", "said"),
    [
        (FINE, RIGHT, 0, "no epoch was trained"),
        (FINE, RIGHT[[1, 1, 1, 1]], 1, "the model predicts dog for every test photo"),
        (replace(FINE, lacking=("test: dog",)), RIGHT, 1, "no photo at all in test: dog"),
        (
            replace(FINE, duplicates=(TWIN,)),
            RIGHT,
            1,
            "duplicate photos are in two splits, a.png (train/cat) and b.png (test/cat): the scores are",
        ),
    ],
)
def test_doubt_is_said(found: DatasetSummary, answers: np.ndarray, epochs: int, said: str) -> None:
    (line,) = scores.remarks(found, LABELS, answers, NAMES, epochs)
    assert said in line


def test_one_class_in_test_may_be_answered_alone() -> None:
    assert scores.remarks(FINE, LABELS * 0, RIGHT[[0, 0, 0, 0]], NAMES, 1) == ()


def test_odd_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    names = ("$\\frac{$", "a$b$", "🌷", "<b>", "\u202eabc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.confusion(np.eye(5, dtype=np.int64), names, tmp_path / "a.png", "$\\title{$")
    assert (tmp_path / "a.png").stat().st_size > 1000
