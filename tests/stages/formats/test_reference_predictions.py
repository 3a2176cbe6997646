"""What the worker predicts with the Keras model is what training recorded."""

from pathlib import Path

import numpy as np

from tledge.formats import reference_predictions
from tledge.formats.jobs import ConversionTarget, PredictionJob
from tledge.run import golden_set


def test_predictions_are_those_of_the_golden_set(small_run: Path, tmp_path: Path) -> None:
    golden = golden_set.load(small_run / "golden.npz")
    np.save(tmp_path / "images.npy", golden.images)
    target = ConversionTarget(str(small_run / "model.keras"), str(tmp_path / "out.npy"), "", "", "", "", ())
    reference_predictions.write(PredictionJob(target, str(tmp_path / "images.npy")))
    found = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(found, golden.probabilities, atol=1e-5)
