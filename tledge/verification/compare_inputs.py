"""The two models of a comparison, and the images that both of them answer.

Only test images count, and only those whose label both models know. Which images there are depends
on what is compared; `shown` takes the first of these that it can have:

1. The prepared test images of a run, B's before A's, where both models take images prepared alike. B's
   come first because A, if it was trained on some of them, only looks better than it is: what is then
   said of B errs on the safe side.
2. The test images that two runs have in common, each prepared for its own model.
3. The few encoded photos that come with both, prepared for each.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tledge import contract
from tledge._io import files
from tledge.bundle import model_files
from tledge.bundle.model_files import Subject
from tledge.bundle.reader import is_bundle, open_bundle
from tledge.contract import InputSpec
from tledge.errors import ArtifactError, DataError, RecipeError
from tledge.preprocessing import image
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder
from tledge.run.golden_set import Golden

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THUMBNAIL = 8
"""Side in pixels of what two preparations of one photo are compared by."""

ALIKE = 1.0
"""Grey levels by which thumbnails of the same photo may differ on average. Measured on 70 photos: 0.7
at the most between 32 and 224 px, 0.2 between 48 and 64; different photos 13 at the least."""

APART = "The photos of each come from its own test split: the other model may have been trained on them."


@dataclass(frozen=True)
class ComparedPhoto:
    """An encoded test photo and the name of its label."""

    data: bytes
    label: str


@dataclass(frozen=True)
class ModelSide:
    """A model: what it takes and gives, its artifacts, and the test images that came with it.

    `golden` holds a run's prepared test images, None for a bundle; `photos` are a few encoded ones.
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
    """The same images as both models take them: `a` and `b` uint8[N, H, W, 3], `labels` N names.

    `origin` says whose images they are, `left_out` how many have a label that only one model
    knows, `few` that they are but the photos of the bundles, `cautions` what makes them less than fair.
    """

    a: NDArray[np.uint8]
    b: NDArray[np.uint8]
    labels: tuple[str, ...]
    origin: str
    few: bool = False
    left_out: int = 0
    cautions: tuple[str, ...] = ()


def open_side(path: Path, scratch: Path) -> ModelSide:
    """The run or bundle at `path`; what must be unpacked is put into the new folder `scratch`.

    Raises RecipeError where it is neither, ArtifactError for a damaged bundle, RunError for a run
    that is damaged or has no artifacts.
    """
    if not path.exists():
        raise RecipeError(f"{path}: no such run or bundle.")
    if not run_folder.is_run(path) and not is_bundle(path):
        raise RecipeError(f"{path}: expected a finished run, or a bundle (folder or zip).")
    scratch.mkdir()
    artifacts = model_files.find(path, scratch).artifacts
    return _of_run(RunFolder(path), artifacts) if run_folder.is_run(path) else _of_bundle(path, artifacts)


def _of_run(folder: RunFolder, artifacts: tuple[Subject, ...]) -> ModelSide:
    run = folder.read_run()
    reference = folder.read_golden()
    return ModelSide(
        folder.path, run.name, run.version, run.labels, run.input, contract.OUTPUT_NAME, run.synthetic,
        artifacts, _photos_of_run(folder, run.labels, reference), reference,
    )  # fmt: skip


def _photos_of_run(
    folder: RunFolder, labels: tuple[str, ...], reference: Golden
) -> tuple[ComparedPhoto, ...]:
    index = folder.photos / "photos.json"
    if not index.is_file():
        return ()
    with files.complete(index, "Train again."):
        return tuple(
            ComparedPhoto(
                (folder.photos / one["photo"]).read_bytes(), labels[int(reference.labels[one["row"]])]
            )
            for one in json.loads(index.read_text(encoding="utf-8"))
        )


def _of_bundle(path: Path, artifacts: tuple[Subject, ...]) -> ModelSide:
    opened = open_bundle(path)
    one = opened.manifest
    photos = tuple(
        ComparedPhoto(opened.files.read(f"golden/{case.photo}"), case.label) for case in one.photos
    )
    return ModelSide(
        path, one.name, one.version, one.labels, one.input, one.output, one.synthetic, artifacts, photos
    )


def choose_images(a: ModelSide, b: ModelSide) -> ImageSet:
    """The images to compare the two on, as the module's text says.

    Raises RecipeError where no label is in both, and where there is no image of such a label.
    """
    if not set(a.labels) & set(b.labels):
        raise RecipeError(
            f"{a.path} and {b.path} have no label in common ({_some(a.labels)}; {_some(b.labels)}): "
            "they answer different questions."
        )
    made = _known(_chosen(a, b), set(a.labels) & set(b.labels))
    if not made.labels:
        raise RecipeError(
            f"{a.path} and {b.path}: there is no test image with a label of both. Name the run folders."
        )
    return made


def _some(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:3]) + (" …" if len(labels) > 3 else "")


def _chosen(a: ModelSide, b: ModelSide) -> ImageSet:
    if a.input == b.input and (b.golden or a.golden):
        return _of_one(b, a) if b.golden else _of_one(a, b)
    pairs = _of_both(a, b)
    return pairs if pairs and len(pairs.labels) > len(a.photos) + len(b.photos) else _of_photos(a, b)


def _known(made: ImageSet, labels: set[str]) -> ImageSet:
    """Without the images whose label only one model knows."""
    rows = [row for row, label in enumerate(made.labels) if label in labels]
    left_out = len(made.labels) - len(rows)
    names = tuple(made.labels[row] for row in rows)
    return replace(made, a=made.a[rows], b=made.b[rows], labels=names, left_out=left_out)


def _of_one(owner: ModelSide, other: ModelSide) -> ImageSet:
    """All test images of the run `owner`."""
    assert owner.golden
    pixels = owner.golden.images
    labels = tuple(owner.labels[label] for label in owner.golden.labels)
    caution = _caution(owner, other)
    origin = f"{len(labels)} test images of {owner.path}"
    return ImageSet(pixels, pixels, labels, origin, cautions=(caution,) if caution else ())


def _caution(owner: ModelSide, other: ModelSide) -> str:
    """What to say where known test images of `other` are not among those of `owner`."""
    assert owner.golden
    used = {_digest(one) for one in owner.golden.images}
    known = list(other.golden.images) if other.golden else [_prepared(one, other) for one in other.photos]
    found = sum(_digest(one) in used for one in known)
    if known and found == len(known):
        return ""
    return (
        f"{found} of the {len(known)} test images known of {other.path} are among these: it may have been "
        "trained on others of them, and would look better than it is."
    )


def _digest(pixels: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(pixels.tobytes()).digest()


def _of_both(a: ModelSide, b: ModelSide) -> ImageSet | None:
    """The test images that two runs have in common, by id and label, where they show the same."""
    import numpy as np

    if not a.golden or not b.golden:
        return None
    where = {name: row for row, name in enumerate(b.golden.ids)}
    pairs = [(row, where[name]) for row, name in enumerate(a.golden.ids) if name in where]
    pairs = [(one, two) for one, two in pairs if _is_same(a, one, b, two)]
    rows = np.array(pairs, int).reshape(-1, 2)
    labels = tuple(a.labels[a.golden.labels[row]] for row in rows[:, 0])
    origin = f"{len(labels)} test images that both runs have, each prepared for its model"
    return ImageSet(a.golden.images[rows[:, 0]], b.golden.images[rows[:, 1]], labels, origin)


def _is_same(a: ModelSide, one: int, b: ModelSide, two: int) -> bool:
    """True where row `one` of A and row `two` of B show one photo: drawn ids repeat across seeds."""
    import numpy as np

    assert a.golden and b.golden
    if a.labels[a.golden.labels[one]] != b.labels[b.golden.labels[two]]:
        return False
    apart = _thumbnail(a.golden.images[one]) - _thumbnail(b.golden.images[two])
    return float(np.abs(apart).mean()) <= ALIKE


def _thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import numpy as np
    from PIL import Image

    small = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def _of_photos(a: ModelSide, b: ModelSide) -> ImageSet:
    """The encoded photos that came with both, each once."""
    import numpy as np

    every = {hashlib.sha256(one.data).hexdigest(): one for one in (*a.photos, *b.photos)}
    photos = list(every.values())
    if not photos:
        raise RecipeError(f"{a.path} and {b.path}: no test photos came with them. Name the run folders.")
    apart = {one.data for one in a.photos} != {one.data for one in b.photos}
    return ImageSet(
        np.stack([_prepared(one, a) for one in photos]),
        np.stack([_prepared(one, b) for one in photos]),
        tuple(one.label for one in photos),
        f"{len(photos)} photos that came with A and B",
        few=True,
        cautions=(APART,) if apart else (),
    )


def _prepared(photo: ComparedPhoto, side: ModelSide) -> NDArray[np.uint8]:
    """The photo as `side` takes it, uint8[H, W, 3]."""
    try:
        return image.preprocess(photo.data, (side.input.height, side.input.width))
    except DataError as error:
        raise ArtifactError(f"{side.path}: a golden photo does not decode ({error}).") from error
