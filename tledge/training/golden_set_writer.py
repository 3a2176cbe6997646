"""The golden set of a run, and the encoded photos that go with it into a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import atomic, files
from tledge.data import cache, sampling
from tledge.preprocessing import encodings, image
from tledge.run import golden_set
from tledge.run.folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PHOTOS = 12
"""Encoded test photos that are kept."""


def write(
    folder: RunFolder,
    prepared: cache.Prepared,
    rows: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    core: Any,
    run_seed: int,
) -> None:
    """Write `golden.npz`, and into `golden/` some encoded photos with what Keras answers.

    `rows` are those of the test split and `probabilities` float32[rows, classes] their answers;
    `core` answers to the rest. `photos.json` names photos by their row of the golden set,
    `encodings.json` the copies of some in other encodings.
    """
    import numpy as np

    one = int(np.prod(prepared.images().shape[1:]))
    labels = prepared.label_indices[rows]
    kept = sampling.by_class_in_turn(labels, golden_set.MAX_BYTES // one, run_seed)
    images = prepared.images()[rows[kept]]
    few = images[: golden_set.FAULT_IMAGES].astype(np.float32)
    made = golden_set.Golden(
        images,
        labels[kept],
        probabilities[kept],
        tuple(prepared.rows[row].id for row in rows[kept].tolist()),
        {fault.name: np.asarray(core.predict_on_batch(fault.apply(few))) for fault in golden_set.FAULTS},
    )
    with atomic.replacing(folder.golden) as path:
        golden_set.save(path, made)
    place = {row: number for number, row in enumerate(rows[kept].tolist())}
    with atomic.replacing(folder.photos) as path:
        path.mkdir()
        index: list[dict[str, Any]] = []
        for row in sampling.pick_originals(prepared, rows[kept], PHOTOS):
            name = f"{len(index):02d}{Path(prepared.rows[row].original).suffix}"
            shutil.copyfile(prepared.folder / "originals" / prepared.rows[row].original, path / name)
            index.append({"photo": name, "row": place[row]})
        _fill_up(path, index, made, run_seed)
        files.write_json(path / "photos.json", index)
        files.write_json(path / "encodings.json", _encodings(path, index, made, core))


def _fill_up(path: Path, index: list[dict[str, Any]], made: golden_set.Golden, seed: int) -> None:
    """Where too few originals fell into the test split, add prepared images: they prepare to themselves."""
    from PIL import Image

    used = {entry["row"] for entry in index}
    others = [n for n in sampling.by_class_in_turn(made.labels, 2 * PHOTOS, seed).tolist() if n not in used]
    for row in others[: PHOTOS - len(index)]:
        name = f"{len(index):02d}.png"
        Image.fromarray(made.images[row]).save(path / name)
        index.append({"photo": name, "row": row})


def _encodings(
    path: Path, index: list[dict[str, Any]], made: golden_set.Golden, core: Any
) -> list[dict[str, Any]]:
    """Write a copy in every other encoding, of one photo after the other, and note Keras' answers."""
    import numpy as np

    found = []
    for number, kind in enumerate(encodings.KINDS):
        source = index[number % len(index)]
        suffix, data = encodings.encode((path / source["photo"]).read_bytes(), kind)
        name = f"{len(index) + number:02d}{suffix}"
        (path / name).write_bytes(data)
        pixels = image.preprocess(data, made.images.shape[1:3])
        answer = np.asarray(core.predict_on_batch(pixels[None].astype(np.float32)))[0]
        label = int(made.labels[source["row"]])
        found.append({"photo": name, "encoding": kind, "label": label, "keras": answer.tolist()})
    return found
