"""Write the golden set of a run, and the encoded photos that go with it into a bundle."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import atomic, file_guard, files
from tledge.data import cache, sampling
from tledge.preprocessing import encodings, image
from tledge.run import golden_set
from tledge.run.folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PHOTOS = 12
"""Encoded test photos that are kept."""


@dataclass(frozen=True)
class GoldenPhoto:
    """An encoded photo in `golden/`, and the row of the golden set that holds its pixels."""

    name: str
    row: int
    data: bytes


def write(
    folder: RunFolder,
    prepared: cache.Prepared,
    rows: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    core: Any,
    seed: int,
) -> None:
    """Write `golden.npz`, and some encoded photos with Keras' predictions into `golden/`.

    `photos.json` names photos by their row of the golden set, `encodings.json` the copies of some in
    other encodings.

    Args:
        folder: The run folder.
        prepared: The prepared images.
        rows: The rows int64[N] of the test split.
        probabilities: Keras' probabilities float32[N, classes] of these rows.
        core: The network, which predicts the other encodings and the faulty inputs.
        seed: The recipe's seed.
    """
    import numpy as np

    image_bytes = int(np.prod(prepared.images().shape[1:]))
    labels = prepared.label_indices[rows]
    kept = sampling.by_class_in_turn(labels, golden_set.MAX_BYTES // image_bytes, seed)
    images = prepared.images()[rows[kept]]
    golden = golden_set.Golden(
        images,
        labels[kept],
        probabilities[kept],
        tuple(prepared.rows[row].id for row in rows[kept].tolist()),
        _predict_faults(core, images),
    )
    with atomic.replacing(folder.golden) as path:
        golden_set.save(path, golden)
    photos = _originals(prepared, rows[kept])
    photos += _images_as_png(golden, {photo.row for photo in photos}, len(photos), seed)
    _write_photos(folder, photos, golden, core)


def _predict_faults(core: Any, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Return what the network predicts for wrongly fed images, by the name of the fault."""
    import numpy as np

    some = images[: golden_set.FAULT_IMAGES].astype(np.float32)
    return {fault.name: np.asarray(core.predict_on_batch(fault.apply(some))) for fault in golden_set.FAULTS}


def _originals(prepared: cache.Prepared, rows: NDArray[np.int64]) -> list[GoldenPhoto]:
    """Return encoded photos of these rows, as many as the cache has kept, up to `PHOTOS`."""
    positions = {row: position for position, row in enumerate(rows.tolist())}
    photos = []
    for number, row in enumerate(sampling.pick_originals(prepared, rows, PHOTOS)):
        original = prepared.folder / "originals" / prepared.rows[row].original
        photos.append(
            GoldenPhoto(f"{number:02d}{original.suffix}", positions[row], file_guard.read_bytes(original))
        )
    return photos


def _images_as_png(golden: golden_set.Golden, used: set[int], count: int, seed: int) -> list[GoldenPhoto]:
    """Return prepared images where too few originals are in the test split: preprocessing keeps them."""
    from PIL import Image

    rows = sampling.by_class_in_turn(golden.labels, 2 * PHOTOS, seed).tolist()
    unused = [row for row in rows if row not in used][: PHOTOS - count]
    photos = []
    for number, row in enumerate(unused, count):
        encoded = io.BytesIO()
        Image.fromarray(golden.images[row]).save(encoded, "PNG")
        photos.append(GoldenPhoto(f"{number:02d}.png", row, encoded.getvalue()))
    return photos


def _write_photos(folder: RunFolder, photos: list[GoldenPhoto], golden: golden_set.Golden, core: Any) -> None:
    with atomic.replacing(folder.photos) as path:
        path.mkdir()
        for photo in photos:
            (path / photo.name).write_bytes(photo.data)
        files.write_json(path / "photos.json", [{"photo": photo.name, "row": photo.row} for photo in photos])
        files.write_json(path / "encodings.json", _write_encodings(path, photos, golden, core))


def _write_encodings(
    path: Path, photos: list[GoldenPhoto], golden: golden_set.Golden, core: Any
) -> list[dict[str, Any]]:
    """Write a copy in every other encoding, one photo after the other; return them with predictions."""
    import numpy as np

    copies = []
    for number, kind in enumerate(encodings.KINDS):
        photo = photos[number % len(photos)]
        suffix, data = encodings.encode(photo.data, kind)
        name = f"{len(photos) + number:02d}{suffix}"
        (path / name).write_bytes(data)
        pixels = image.preprocess(data, golden.images.shape[1:3])
        probabilities = np.asarray(core.predict_on_batch(pixels[None].astype(np.float32)))[0]
        label = int(golden.labels[photo.row])
        copies.append({"photo": name, "encoding": kind, "label": label, "keras": probabilities.tolist()})
    return copies
