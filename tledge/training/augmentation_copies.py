"""Augmentation copies: changed copies of the train images, drawn once and trained on in turns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tledge._io import array_file, atomic, npy
from tledge.errors import RunError
from tledge.models import augmentation
from tledge.progress import Progress, track
from tledge.recipe.definition import Recipe
from tledge.training.batches import Examples

BATCH = 64


def with_copies(examples: Examples, recipe: Recipe, path: Path, progress: Progress) -> Examples:
    """Return the examples with the copies of `[augment] views`, which are read from a file at `path`.

    The first copy is the unchanged image where `keep_photo` is on: on rock-paper-scissors, heads that
    saw the image and two changed copies had 4 points more than heads that saw three changed copies.
    Where layers of the backbone are trained as well, all copies are better changed: see
    recipes/rps.toml. A whole file that exists, as after --resume, is used as it is.
    """
    try:
        copies = array_file.open_array(path)
    except (RunError, OSError, ValueError):  # there is none, or it was cut
        _write(examples, recipe, path, progress)
        copies = array_file.open_array(path)
    return replace(examples, copies=copies)


def _write(examples: Examples, recipe: Recipe, path: Path, progress: Progress) -> None:
    import numpy as np

    count, rows, images = recipe.augment.views, examples.rows, examples.images
    unchanged = 1 if recipe.augment.keep_photo else 0
    augment = augmentation.make_augmenter(recipe.augment, recipe.meta.seed)
    batches = [(copy, start) for copy in range(count) for start in range(0, len(rows), BATCH)]
    with atomic.replacing(path) as unfinished:
        copies = npy.create_array(unfinished, np.uint8, (count, len(rows), *images.shape[1:]))
        for copy, start in track(progress, batches, "augment", len(batches)):
            batch = images[rows[start : start + BATCH]]
            copies[copy, start : start + BATCH] = batch if copy < unchanged else augment(batch)
        copies.flush()
