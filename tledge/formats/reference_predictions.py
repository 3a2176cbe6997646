"""Predict images with the Keras model of a run, in the process that converts it: the model is open there."""

from __future__ import annotations

from pathlib import Path

from tledge._io import atomic, npy
from tledge.formats import keras_freezing
from tledge.formats.jobs import PredictionJob
from tledge.models import classifier

BATCH = 32
"""Images that are predicted at once."""


def write(job: PredictionJob) -> None:
    """Write the probabilities float32[N, classes] of the Keras model for the images of a job."""
    import numpy as np

    keras_freezing.tensorflow()
    model = keras_freezing.keras_model(Path(job.target.model))
    images = npy.read_npy(Path(job.images), "readable images")
    batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    with atomic.replacing(Path(job.target.out)) as partial_file, partial_file.open("wb") as out:
        np.save(out, np.concatenate(list(classifier.predict_batches(model, batches))))
