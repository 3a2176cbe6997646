"""Open the two models of a comparison, and choose the images that both of them predict.

Only test images are used, and only those with a label that both models have. `ImageKind` lists which
images these can be, in the order of preference; `choose_images` takes the first kind that is available.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from tledge import contract
from tledge._io import files
from tledge.bundle import model_files
from tledge.bundle.model_files import Subject
from tledge.bundle.reader import is_bundle, open_bundle
from tledge.contract import InputSpec
from tledge.data import labels as label_rule
from tledge.errors import ArtifactError, DataError, RecipeError
from tledge.preprocessing import image
from tledge.run.folder import RunFolder, is_run
from tledge.run.golden_set import Golden

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THUMBNAIL = 8
"""Side in pixels of the thumbnails that tell whether two prepared images show the same photo."""

MAX_THUMBNAIL_DIFFERENCE = 1.0
"""Grey levels by which thumbnails of the same photo may differ on average. Measured on 70 photos: at most
0.7 between 32 and 224 px, 0.2 between 48 and 64; different photos differ by at least 13."""

SEPARATE_SPLITS = (
    "The photos of each model are from its own test split: the other model may have been trained on them."
)


class ImageKind(Enum):
    """Which images two models are compared on, the preferred kind first.

    Both models take equal images in the first two kinds. B's test set is preferred to A's: if A was trained
    on some of these images, it only looks better than it is, so the verdict on B errs on the safe side.
    """

    TEST_SET_OF_B = "the preprocessed test images of run B"
    TEST_SET_OF_A = "the preprocessed test images of run A, where B is a bundle"
    COMMON_TEST_IMAGES = "the test images that both runs have, each preprocessed for its own model"
    BUNDLED_PHOTOS = "the few encoded photos that come with both, preprocessed for each"


@dataclass(frozen=True)
class ComparedPhoto:
    """An encoded test photo and the name of its label."""

    data: bytes
    label: str


@dataclass(frozen=True)
class ModelSide:
    """One of the two models: its contract, its artifacts, and the test images that come with it.

    `golden` holds the preprocessed test images of a run, None for a bundle; `photos` are a few encoded ones.
    """

    path: Path
    name: str
    version: str
    labels: tuple[str, ...]
    input: InputSpec
    output: str
    synthetic: bool
    artifacts: tuple[Subject, ...]
    photos: tuple[ComparedPhoto, ...]
    golden: Golden | None = None


@dataclass(frozen=True)
class ImageSet:
    """The same images as each model takes them.

    Attributes:
        kind: Which images these are.
        a: The images for model A, uint8[N, H, W, 3].
        b: The images for model B, uint8[N, H, W, 3].
        labels: The N label names.
        origin: Whose images they are, for a sentence.
        left_out: How many images were left out because only one model has their label.
        cautions: What makes the comparison less than fair.
    """

    kind: ImageKind
    a: NDArray[np.uint8]
    b: NDArray[np.uint8]
    labels: tuple[str, ...]
    origin: str
    left_out: int = 0
    cautions: tuple[str, ...] = ()

    @property
    def few(self) -> bool:
        """True for the photos of the bundles: too few for a reliable verdict."""
        return self.kind is ImageKind.BUNDLED_PHOTOS


def open_side(path: Path, scratch: Path) -> ModelSide:
    """Open the run or bundle at `path`; what must be unpacked is put into the new folder `scratch`.

    Raises RecipeError where it is neither, ArtifactError for a damaged bundle, RunError for a run
    that is damaged or has no artifacts.
    """
    if not path.exists():
        raise RecipeError(f"{path}: no such run or bundle.")
    if not is_run(path) and not is_bundle(path):
        raise RecipeError(f"{path}: expected a finished run, or a bundle (folder or zip).{_advice(path)}")
    scratch.mkdir()
    artifacts = model_files.find(path, scratch).artifacts
    return _open_run(RunFolder(path), artifacts) if is_run(path) else _open_bundle(path, artifacts)


def _advice(path: Path) -> str:
    """Return what compares a single file, or nothing."""
    if files.ending(path) not in (".tflite", ".onnx"):
        return ""
    return f" A single file is compared with Keras by: tledge verify {path} --against RUN"


def _open_run(folder: RunFolder, artifacts: tuple[Subject, ...]) -> ModelSide:
    run = folder.read_run()
    reference = folder.read_golden()
    labels = label_rule.comparable(run.labels)
    return ModelSide(
        folder.path, run.name, run.version, labels, run.input, contract.OUTPUT_NAME, run.synthetic,
        artifacts, _run_photos(folder, labels, reference), reference,
    )  # fmt: skip


def _run_photos(folder: RunFolder, labels: tuple[str, ...], reference: Golden) -> tuple[ComparedPhoto, ...]:
    index = folder.photos / "photos.json"
    if not index.is_file():
        return ()
    with files.complete(index, "Train again."):
        return tuple(
            ComparedPhoto(
                folder.member(f"golden/{photo['photo']}").read_bytes(),
                labels[int(reference.labels[photo["row"]])],
            )
            for photo in json.loads(index.read_text(encoding="utf-8"))
        )


def _open_bundle(path: Path, artifacts: tuple[Subject, ...]) -> ModelSide:
    bundle = open_bundle(path)
    manifest = bundle.manifest
    labels = label_rule.comparable(manifest.labels)
    by_rule = dict(zip(manifest.labels, labels, strict=True))
    photos = tuple(
        ComparedPhoto(bundle.files.read(f"golden/{case.photo}"), by_rule.get(case.label, case.label))
        for case in manifest.photos
    )
    return ModelSide(
        path, manifest.name, manifest.version, labels, manifest.input, manifest.output,
        manifest.synthetic, artifacts, photos,
    )  # fmt: skip


def choose_images(a: ModelSide, b: ModelSide) -> ImageSet:
    """Choose the images to compare two models on: the first kind of `ImageKind` that is available.

    Raises RecipeError where the models have no label in common, and where no image has such a label.
    """
    labels = set(a.labels) & set(b.labels)
    if not labels:
        raise RecipeError(
            f"{a.path} and {b.path} have no label in common ({_first_few(a.labels)}; "
            f"{_first_few(b.labels)}): they classify different things."
        )
    images = _keep_labels(_available_images(a, b), labels)
    if not images.labels:
        raise RecipeError(
            f"{a.path} and {b.path}: no test image has a label that both models have. Name the run folders."
        )
    return images


def _first_few(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:3]) + (" …" if len(labels) > 3 else "")


def _available_images(a: ModelSide, b: ModelSide) -> ImageSet:
    """Return the images of the first kind that is available.

    Two runs of different input have common test images; they count only where they outnumber the photos
    of both models.
    """
    if a.input == b.input and b.golden:
        return _test_set(ImageKind.TEST_SET_OF_B, b, a)
    if a.input == b.input and a.golden:
        return _test_set(ImageKind.TEST_SET_OF_A, a, b)
    rows = _common_rows(a, b)
    if len(rows) > len(a.photos) + len(b.photos):
        return _common_test_images(a, b, rows)
    return _bundled_photos(a, b)


def _keep_labels(images: ImageSet, labels: set[str]) -> ImageSet:
    """Leave out the images whose label only one model has."""
    rows = [row for row, label in enumerate(images.labels) if label in labels]
    return replace(
        images, a=images.a[rows], b=images.b[rows], labels=tuple(images.labels[row] for row in rows),
        left_out=len(images.labels) - len(rows),
    )  # fmt: skip


def _test_set(kind: ImageKind, owner: ModelSide, other: ModelSide) -> ImageSet:
    """Take all test images of the run `owner` for both models."""
    assert owner.golden
    pixels = owner.golden.images
    labels = tuple(owner.labels[label] for label in owner.golden.labels)
    caution = _unshared_caution(owner, other)
    origin = f"{len(labels)} test images of {owner.path}"
    return ImageSet(kind, pixels, pixels, labels, origin, cautions=(caution,) if caution else ())


def _unshared_caution(owner: ModelSide, other: ModelSide) -> str:
    """Warn where known test images of `other` are not among those of `owner`; return "" otherwise."""
    assert owner.golden
    used = {_digest(pixels) for pixels in owner.golden.images}
    known = list(other.golden.images) if other.golden else [_prepare(photo, other) for photo in other.photos]
    shared = sum(_digest(pixels) in used for pixels in known)
    if known and shared == len(known):
        return ""
    return (
        f"{shared} of the {len(known)} test images known of {other.path} are among these: it may have been "
        "trained on others of them, and would look better than it is."
    )


def _digest(pixels: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(pixels.tobytes()).digest()


def _common_rows(a: ModelSide, b: ModelSide) -> list[tuple[int, int]]:
    """Pair the rows of two golden sets that have the same id and label and show the same photo."""
    if not a.golden or not b.golden:
        return []
    rows_b = {image_id: row for row, image_id in enumerate(b.golden.ids)}
    pairs = [(row, rows_b[name]) for row, name in enumerate(a.golden.ids) if name in rows_b]
    return [(row_a, row_b) for row_a, row_b in pairs if _is_same_photo(a, row_a, b, row_b)]


def _common_test_images(a: ModelSide, b: ModelSide, rows: list[tuple[int, int]]) -> ImageSet:
    """Take the paired rows, each side in its own preprocessing."""
    assert a.golden and b.golden
    rows_a, rows_b = (list(column) for column in zip(*rows, strict=True))
    labels = tuple(a.labels[a.golden.labels[row]] for row in rows_a)
    origin = f"{len(labels)} test images that both runs have, each preprocessed for its model"
    kind = ImageKind.COMMON_TEST_IMAGES
    return ImageSet(kind, a.golden.images[rows_a], b.golden.images[rows_b], labels, origin)


def _is_same_photo(a: ModelSide, row_a: int, b: ModelSide, row_b: int) -> bool:
    """Compare label and thumbnail: ids of synthetic photos repeat across seeds."""
    import numpy as np

    assert a.golden and b.golden
    if a.labels[a.golden.labels[row_a]] != b.labels[b.golden.labels[row_b]]:
        return False
    difference = _thumbnail(a.golden.images[row_a]) - _thumbnail(b.golden.images[row_b])
    return float(np.abs(difference).mean()) <= MAX_THUMBNAIL_DIFFERENCE


def _thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import numpy as np
    from PIL import Image

    small = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def _bundled_photos(a: ModelSide, b: ModelSide) -> ImageSet:
    """Take the encoded photos that come with both models, each once."""
    import numpy as np

    photos = list(
        {hashlib.sha256(photo.data).hexdigest(): photo for photo in (*a.photos, *b.photos)}.values()
    )
    if not photos:
        raise RecipeError(f"{a.path} and {b.path}: no test photos came with them. Name the run folders.")
    differ = {photo.data for photo in a.photos} != {photo.data for photo in b.photos}
    return ImageSet(
        ImageKind.BUNDLED_PHOTOS,
        np.stack([_prepare(photo, a) for photo in photos]),
        np.stack([_prepare(photo, b) for photo in photos]),
        tuple(photo.label for photo in photos),
        f"{len(photos)} photos that came with A and B",
        cautions=(SEPARATE_SPLITS,) if differ else (),
    )


def _prepare(photo: ComparedPhoto, side: ModelSide) -> NDArray[np.uint8]:
    """Preprocess the photo for one model: uint8[H, W, 3]."""
    try:
        return image.preprocess(photo.data, (side.input.height, side.input.width), side.input.pixel_range)
    except DataError as error:
        raise ArtifactError(f"{side.path}: a golden photo does not decode ({error}).") from error
