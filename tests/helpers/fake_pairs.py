"""Two models to compare, made in milliseconds: a class is a colour, and the network weighs the channels."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import fake_artifacts
from tests.helpers.recipes import drawn, tiny_recipe
from tests.helpers.small_run import record
from tledge._io import files
from tledge.bundle import build as stage
from tledge.run import golden_set
from tledge.run.folder import RunFolder

COUNT = 200
"""Test images: two of them are what the default gates allow to lose."""

PHOTOS = 6
LABELS = ("cat", "dog", "owl")
VARIANTS = ("tflite-fp32", "onnx-fp32")

RECIPE = tiny_recipe(drawn(30, 9))

Change = Callable[[Any], Any]


def weights() -> Any:
    """float32[3, 192]: label k is how much there is of channel k."""
    channels = np.arange(fake_artifacts.SIZE**2 * 3) % 3
    return (channels[None] == np.arange(3)[:, None]).astype(np.float32) / 64


def truth(seed: int = 0) -> Any:
    """Labels int64[COUNT], each class as often as the others."""
    return np.random.default_rng(seed).permutation(np.arange(COUNT) % 3)


def pictures(seed: int = 0) -> Any:
    """uint8[COUNT, 8, 8, 3]: every picture of one colour, more or less that of its label."""
    draw = np.random.default_rng(seed)
    colours = draw.integers(0, 100, (COUNT, 3))
    colours[np.arange(COUNT), truth(seed)] = draw.integers(90, 256, COUNT)
    side = fake_artifacts.SIZE
    return np.broadcast_to(colours[:, None, None], (COUNT, side, side, 3)).astype(np.uint8)


def _resized(pixels: Any, size: int) -> Any:
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def run(
    path: Path,
    change: Change = lambda array: array,
    *,
    labels: tuple[str, ...] = LABELS,
    of: tuple[str, ...] = LABELS,
    seed: int = 0,
    wrong: int = 20,
) -> Path:
    """A finished run of the network with `change`d weights; the first `wrong` test images are mislabelled.

    `labels` name the outputs; the images are those whose colour is one `of` these names.
    """
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(fake_artifacts, "weights", lambda: np.asarray(change(weights()), np.float32))
        patched.setattr(fake_artifacts, "LABELS", labels)
        fake_artifacts.run(path)
    _without_server(path)
    names = np.array(LABELS)[truth(seed)]
    names[:wrong] = np.roll(np.array(LABELS), 1)[truth(seed)[:wrong]]
    kept = np.flatnonzero(np.isin(names, of))
    _remember(path, pictures(seed)[kept], [labels.index(name) for name in names[kept]], seed)
    (path / "recipe.toml").write_text(RECIPE)
    (path / "environment.json").write_text("{}")
    return path


def _without_server(path: Path) -> None:
    """A SavedModel would load TensorFlow."""
    (path / "artifacts" / "saved_model.json").unlink()
    report = json.loads((path / "parity.json").read_text())
    report["rows"] = [row for row in report["rows"] if row["variant"] in VARIANTS]
    (path / "parity.json").write_text(json.dumps(report))


def _remember(path: Path, images: Any, labels: list[int], seed: int) -> None:
    """The golden set and the encoded photos, the last of it."""
    ids = tuple(f"test/{seed}-{number}" for number in range(len(images)))
    probabilities = np.full((len(images), len(LABELS)), 1 / len(LABELS), np.float32)
    folder = RunFolder(path)
    golden_set.save(folder.golden, golden_set.Golden(images, np.array(labels), probabilities, ids, {}))
    folder.photos.mkdir(exist_ok=True)
    index = []
    for number in range(PHOTOS):
        row = len(images) - PHOTOS + number
        out = io.BytesIO()
        Image.fromarray(images[row]).save(out, "PNG")
        (folder.photos / f"{number:02d}.png").write_bytes(out.getvalue())
        index.append({"photo": f"{number:02d}.png", "row": row})
    files.write_json(folder.photos / "photos.json", index)


def enlarged(path: Path, size: int = 16) -> Path:
    """The run again for larger images, in LiteRT alone: the same photos, prepared to `size`."""
    folder = RunFolder(path)
    facts = json.loads(folder.run.read_text())
    facts["input"] |= {"height": size, "width": size}
    folder.run.write_text(json.dumps(facts))
    kept = golden_set.load(folder.golden)
    images = np.stack([_resized(one, size) for one in kept.images])
    golden_set.save(folder.golden, golden_set.Golden(images, kept.labels, kept.probabilities, kept.ids, {}))
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(fake_artifacts, "weights", lambda: np.tile(weights(), size**2 // 64))
        (path / "artifacts" / "tflite-fp32.tflite").write_bytes(fake_artifacts.tflite(size))
    record(path, "tflite-fp32")
    (path / "artifacts" / "onnx-fp32.json").unlink()
    verified = json.loads(folder.parity.read_text())
    verified["rows"] = [row for row in verified["rows"] if row["variant"] == "tflite-fp32"]
    verified["rows"][0]["sha256"] = files.sha256(path / "artifacts" / "tflite-fp32.tflite")
    folder.parity.write_text(json.dumps(verified))
    return path


def bundle(run_folder: Path) -> Path:
    """The bundle of a run, made by the bundle stage."""
    return stage.bundle(RunFolder(run_folder)).folder
