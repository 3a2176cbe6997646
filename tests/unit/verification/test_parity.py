"""An artifact is held to Keras' doubt."""

from __future__ import annotations

import numpy as np

from tests.helpers.doubt import row
from tledge.contract import AbstentionPolicy
from tledge.run import golden_set
from tledge.verification import parity


def reference(count: int = 100) -> golden_set.Golden:
    """Half of the answers .95 sure, half .7, all right."""
    probabilities = np.array([[0.95, 0.05], [0.7, 0.3]] * (count // 2), np.float32)
    labels = np.zeros(count, np.int64)
    return golden_set.Golden(np.zeros((count, 8, 8, 3), np.uint8), labels, probabilities, ("",) * count, {})


def test_artifact_is_held_to_keras_doubt() -> None:
    known = reference()
    same = parity._with_coverage(
        row("a", None), known.probabilities + 1e-6, known, AbstentionPolicy(1.0, 0.8)
    )
    assert (same.coverage, same.answered_error, same.remarks) == (0.5, 0.0, ())
    earlier = parity._with_coverage(row("a", None), known.probabilities, known, None)
    assert earlier.coverage is None


def test_artifact_that_is_surer_is_remarked() -> None:
    """Planted: agreement is whole, and what Keras is unsure of is now answered."""
    known = reference()
    surer = np.array([[0.96, 0.04], [0.9, 0.1]] * 50, np.float32)
    found = parity._with_coverage(row("a", None), surer, known, AbstentionPolicy(1.0, 0.8))
    assert found.coverage == 1.0 and found.verdict == "passed"
    assert found.remarks == ("coverage at the confidence threshold 100.0%; Keras 50.0%",)
