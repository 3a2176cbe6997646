"""Collect images beyond the test split, and let Keras predict them, where the test images are too few.

None of them is a test or train image, or repeats one. See `tledge.metrics.independent_evidence` for what they
decide.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import npy
from tledge.config import Parity
from tledge.conversion import calibration_data
from tledge.conversion.worker_client import Conversion, Converter
from tledge.data import cache, duplicates, photo_folder, splits
from tledge.errors import RunError, TledgeError
from tledge.formats.jobs import ConversionTarget, PredictionJob
from tledge.formats.registry import VARIANTS
from tledge.metrics import parity_gates
from tledge.progress import SILENT, Progress
from tledge.quantization import calibration_set, selection_images
from tledge.recipe.checks import extra_folder
from tledge.recipe.definition import Recipe
from tledge.run import golden_set, independent_images
from tledge.run.folder import RunFolder
from tledge.run.independent_images import EXTRA, VALIDATION, IndependentImages
from tledge.run.records import TrainedRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JOB = "reference"
"""Name of the job that predicts with Keras, and of its log."""

MAX_IMAGES = 1000
"""Independent images that are kept at most: more would confirm nothing that these do not."""

MAX_COMPARED = 5000
"""Images up to which near-duplicates are searched; among more, only equal ones."""


@dataclass(frozen=True)
class Collected:
    """Images uint8[M, H, W, 3] beyond the test split, and where each comes from."""

    images: NDArray[np.uint8]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """What Keras still has to predict: the images, and the altered copies of the test images."""

    collected: Collected
    copies: NDArray[np.uint8]
    golden_sha256: str


def needed_test_images(variants: Sequence[str], golden: golden_set.Golden, limits: Parity) -> int:
    """Count the test images from which on the gates of all these variants are decided by them alone."""
    accuracy = float((golden.probabilities.argmax(1) == golden.labels).mean())
    gates = {VARIANTS[name].mode.gate for name in variants}
    return max((parity_gates.needed_test_images(accuracy, gate, limits) for gate in gates), default=0)


def request(
    folder: RunFolder, recipe: Recipe, run: TrainedRun, variants: Sequence[str], progress: Progress = SILENT
) -> Request | None:
    """Collect what Keras has to predict; None where nothing is needed, or the run has it already."""
    golden = folder.read_golden()
    if len(golden.images) >= needed_test_images(variants, golden, recipe.parity):
        if recipe.parity.extra:
            progress.say(f"{len(golden.images)} test images decide alone: other photos are not needed")
        return None
    try:
        prepared = calibration_data.open_photos(recipe, run, progress)
    except TledgeError as error:  # the test images alone have to do
        progress.say(f"warning: no validation images verify. {error}")
        return None
    extra = _extra_images(folder, recipe, run, [row.sha256 for row in prepared.rows], progress)
    collected = collect(recipe, run, golden, extra, prepared, progress)
    copies = selection_images.changed_copies(golden.images)
    made = Request(collected, copies, golden_set.fingerprint(golden))
    return None if _is_there(folder, made) else made


def _is_there(folder: RunFolder, made: Request) -> bool:
    """Tell whether the run has Keras' predictions for the same images."""
    known = _kept(folder)
    wanted = (made.golden_sha256, made.collected.sources, independent_images.sha256_of(made.copies))
    if known is None or (known.golden_sha256, known.sources, known.copies_sha256) != wanted:
        return False
    found, images = independent_images.sha256_of(known.images), made.collected.images
    return found == independent_images.sha256_of(images)


def collect(
    recipe: Recipe,
    run: TrainedRun,
    golden: golden_set.Golden,
    extra: NDArray[np.uint8],
    prepared: cache.Prepared,
    progress: Progress = SILENT,
) -> Collected:
    """Choose the validation images and the user's own that repeat no other image."""
    import numpy as np

    rows = splits.split(prepared, recipe.data, run.seed)
    images = prepared.images()
    validation = images[rows["validation"]]
    candidates = np.concatenate([validation, extra]) if len(extra) else validation
    sources = [VALIDATION] * len(validation) + [EXTRA] * len(extra)
    known = np.concatenate([golden.images, images[rows["train"]]])
    repeats = _repeats(known, candidates, progress)
    _tell_repeats(repeats, sources, progress)
    kept = [place for place in range(len(candidates)) if place not in repeats][:MAX_IMAGES]
    return Collected(candidates[kept], tuple(sources[place] for place in kept))


def _extra_images(
    folder: RunFolder, recipe: Recipe, run: TrainedRun, known: Sequence[str], progress: Progress
) -> NDArray[np.uint8]:
    """Read the photos of `[parity] extra`, or return those of the last export where none is named now.

    `known` are the hashes of the data set's own photos.
    """
    size = (run.input.height, run.input.width)
    root = extra_folder(recipe.parity.extra)
    if root is None:
        return _extra_images_before(folder, size)
    photos = photo_folder.prepare_photos(
        root, size, run.input.pixel_range, exclude=set(known), progress=progress
    )
    if photos.known:
        progress.say(f"warning: {root}: photos of the data set do not count: {', '.join(photos.known[:5])}")
    for sentence in (*photos.unreadable, *photos.left_out):
        progress.say(f"warning: {root}: {sentence}")
    return photos.images


def _extra_images_before(folder: RunFolder, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the user's photos that the run keeps from an earlier export."""
    import numpy as np

    before = _kept(folder)
    if before is None or before.golden_sha256 != golden_set.fingerprint(folder.read_golden()):
        return np.zeros((0, *size, 3), np.uint8)
    return before.images[[source == EXTRA for source in before.sources]]


def _kept(folder: RunFolder) -> IndependentImages | None:
    """Read the file of the run; None where it is missing or damaged, and is made anew."""
    path = folder.path / independent_images.NAME
    try:
        return independent_images.load(path) if path.is_file() else None
    except RunError:
        return None


def _repeats(known: NDArray[np.uint8], candidates: NDArray[np.uint8], progress: Progress) -> set[int]:
    """Return the places of candidates that repeat a known image, or an earlier candidate."""
    import numpy as np

    images = np.concatenate([known, candidates])
    hashes = [calibration_set.pixel_sha256(image) for image in images]
    if len(images) <= MAX_COMPARED:
        seconds = [pair.second for pair in duplicates.find_duplicates(images, hashes, progress=progress)]
    else:
        first = {digest: place for place, digest in reversed(list(enumerate(hashes)))}
        seconds = [place for place, digest in enumerate(hashes) if first[digest] != place]
    return {place - len(known) for place in seconds if place >= len(known)}


def _tell_repeats(repeats: set[int], sources: Sequence[str], progress: Progress) -> None:
    extra = sum(sources[place] == EXTRA for place in repeats)
    if extra:
        progress.say(
            f"warning: photos that repeat one of the data set, or each other, do not count: {extra} of "
            f"{sources.count(EXTRA)}"
        )


def predict(converter: Converter, folder: RunFolder, made: Request, timeout: int) -> None:
    """Let Keras predict in the converter's process, and write the file of the run."""
    import numpy as np

    images = np.concatenate([made.collected.images, made.copies])
    with tempfile.TemporaryDirectory(prefix="tledge-") as scratch:
        source, out = Path(scratch) / "images.npy", Path(scratch) / "probabilities.npy"
        np.save(source, images)
        target = ConversionTarget(str(folder.model.resolve()), str(out), "", "", "", "", ())
        job = PredictionJob(target, str(source))
        converter.convert(Conversion(JOB, job, folder.logs / f"{JOB}.log", timeout))
        probabilities = npy.read_npy(out, "probabilities of Keras")
    count = len(made.collected.images)
    copies = probabilities[count:].reshape(len(selection_images.CHANGES), -1, probabilities.shape[1])
    independent_images.save(
        folder.path / independent_images.NAME,
        IndependentImages(
            made.collected.images, made.collected.sources, probabilities[:count], copies,
            independent_images.sha256_of(made.copies), made.golden_sha256,
        ),
    )  # fmt: skip
