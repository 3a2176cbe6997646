"""Small made-up data sets in the layouts that the sources read, for tests without a network.

A class is a colour and a shape on a noisy grey ground, so that a tiny network learns it. The same
arguments give the same photos. `splits` maps a split to its number of photos, labels in turn.
"""

from __future__ import annotations

import colorsys
import contextlib
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tledge._process import optional_imports

SIZE = (48, 40)
"""Width and height of a photo where nothing else is asked for."""

TFDS_SETS = {
    "beans": ("0.1.0", ("train", "validation", "test")),
    "stanford_dogs": ("0.2.0", ("train", "test")),
    "tf_flowers": ("3.0.1", ("train",)),
    "oxford_iiit_pet": ("4.0.0", ("train", "test")),
}
"""Version and splits of real sets that `tfds_set` can stand in for."""


class Example(NamedTuple):
    """A made-up photo: `index` is its label's, `number` counts within its split."""

    split: str
    label: str
    index: int
    number: int
    photo: bytes


def photo(
    index: int, seed: int | Sequence[int] = 0, size: tuple[int, int] = SIZE, kind: str = "JPEG"
) -> bytes:
    """An encoded RGB photo of class `index`, `size` being (width, height), `kind` Pillow's format."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, (int(rng.integers(60, 190)),) * 3)
    _draw_shape(image, index, rng)
    pixels = np.asarray(image, np.float32) + rng.normal(0, 10, (size[1], size[0], 3))
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, kind)
    return out.getvalue()


def _draw_shape(image: Image.Image, index: int, rng: np.random.Generator) -> None:
    hue = index * 0.618034 % 1  # the golden ratio keeps any number of hues apart
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.9, 0.95))
    radius = min(image.size) * float(rng.uniform(0.28, 0.4))
    x, y = (side / 2 + float(rng.uniform(-0.1, 0.1)) * side for side in image.size)
    box = (x - radius, y - radius, x + radius, y + radius)
    pen = ImageDraw.Draw(image)
    if index % 4 == 0:
        pen.ellipse(box, fill=(red, green, blue))
    elif index % 4 == 1:
        pen.rectangle(box, fill=(red, green, blue))
    else:
        pen.regular_polygon((x, y, radius), 3, rotation=index % 4 * 90, fill=(red, green, blue))


def examples(
    splits: Mapping[str, int], labels: Sequence[str], size: tuple[int, int] = SIZE, seed: int = 0
) -> Iterator[Example]:
    """All photos of all splits; no two are drawn alike."""
    for part, (split, total) in enumerate(splits.items()):
        for number in range(total):
            index = number % len(labels)
            yield Example(split, labels[index], index, number, photo(index, (seed, part, number), size))


def photos(
    root: Path, splits: Mapping[str, int], labels: Sequence[str], size: tuple[int, int] = SIZE, seed: int = 0
) -> Path:
    """Write `root/<split>/<label>/<number>.jpg`, without a split folder for the split ""; gives `root`."""
    for one in examples(splits, labels, size, seed):
        path = root / one.split / one.label / f"{one.number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.photo)
    return root


def csv_file(
    path: Path,
    splits: Mapping[str, int],
    labels: Sequence[str],
    columns: tuple[str, str, str] = ("path", "label", "split"),
    delimiter: str = ",",
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """Write a CSV file and, into `photos` beside it, what it lists; `columns` of path, label, split."""
    (path.parent / "photos").mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, delimiter=delimiter)
        table.writerow(columns)
        for one in examples(splits, labels, size, seed):
            name = f"photos/{one.split}-{one.number:04d}.jpg"
            (path.parent / name).write_bytes(one.photo)
            table.writerow((name, one.label, one.split))
    return path


def tfrecords(
    root: Path,
    files: Mapping[str, int],
    labels: Sequence[str],
    image: str = "image",
    label: str = "class",
    named: bool = False,
    compression: str = "",
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> str:
    """Write `root/<file>.tfrec` with so many records each; gives the pattern that matches them.

    The label is the index in `labels`, or with `named` the name itself.
    """
    for file in files:
        (root / f"{file}.tfrec").parent.mkdir(parents=True, exist_ok=True)
    tf = optional_imports.load("tensorflow", "train")
    with contextlib.ExitStack() as stack:
        writers = {
            file: stack.enter_context(tf.io.TFRecordWriter(str(root / f"{file}.tfrec"), compression))
            for file in files
        }
        for one in examples(files, labels, size, seed):
            writers[one.split].write(example({image: one.photo, label: one.label if named else one.index}))
    return str(root / "*.tfrec")


def example(features: Mapping[str, bytes | str | int | float | list[int]]) -> bytes:
    """A serialized `tf.train.Example`, each feature of the kind of its value."""
    made = optional_imports.load("tensorflow", "train").train.Example()
    for name, value in features.items():
        feature = made.features.feature[name]
        if isinstance(value, (bytes, str)):
            feature.bytes_list.value.append(value.encode() if isinstance(value, str) else value)
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.extend(value if isinstance(value, list) else [value])
    return bytes(made.SerializeToString())


def tfds_set(
    root: Path,
    name: str,
    version: str,
    splits: Mapping[str, int],
    labels: Sequence[str] = (),
    extra: Mapping[str, tuple[Any, object]] | None = None,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """Write a prepared set in TFDS's own layout below `root`, for `TFDS_DATA_DIR`; gives `root`.

    A set that TFDS knows gets all features of the real one, those besides image and label with
    made-up values, and `labels` are some of its class names (none: all of them); where TFDS reads
    the class names from the data, as for stanford_dogs, `labels` are the first of them. Another
    set has image, label and `extra`: a TFDS feature and its one value by name.
    """
    tfds = optional_imports.load("tensorflow_datasets", "train")
    tfds.disable_progress_bar()
    features, values = _known_features(tfds, root, name, version, labels)
    if not features:
        features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=list(labels))}
    for key, (feature, value) in (extra or {}).items():
        features[key], values[key] = feature, value
    chosen = labels or features["label"].names
    made: dict[str, list[tuple[int, dict[str, object]]]] = {split: [] for split in splits}
    for one in examples(splits, chosen, size, seed):
        row = {**values, "image": io.BytesIO(one.photo), "label": one.label}
        made[one.split].append((one.number, row))
    with contextlib.redirect_stdout(io.StringIO()):
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version=version,
            features=tfds.features.FeaturesDict(features),
            split_datasets=made,
            data_dir=str(root),
            file_format="tfrecord",
        )
    return root


def _known_features(
    tfds: Any, root: Path, name: str, version: str, labels: Sequence[str]
) -> tuple[dict[str, Any], dict[str, object]]:
    """Features of a set that TFDS knows, and values for those that nobody looks at."""
    try:
        builder = tfds.builder(name, data_dir=str(root))
    except tfds.core.DatasetNotFoundError:
        return {}, {}
    if str(builder.version) != version:
        raise ValueError(f"{name} has version {builder.version}, not {version}: it would be downloaded")
    features = dict(builder.info.features)
    label = features["label"]
    if not label.names or label.names[0] == "0":
        spare = [f"label-{number:03d}" for number in range(len(labels), label.num_classes)]
        features["label"] = tfds.features.ClassLabel(names=[*labels, *spare])
    unknown = set(labels) - set(features["label"].names)
    if unknown:
        raise ValueError(f"{name} has no labels {sorted(unknown)}, only {features['label'].names}")
    rest = {key: feature for key, feature in features.items() if key not in ("image", "label")}
    return features, {key: _value(tfds, feature) for key, feature in rest.items()}


def _value(tfds: Any, feature: Any) -> object:
    """Any value that a feature of TFDS takes."""
    kinds = tfds.features
    if isinstance(feature, kinds.Sequence):
        return []
    if isinstance(feature, kinds.Image):
        return np.zeros([side or 4 for side in feature.shape], np.uint8)
    if isinstance(feature, kinds.BBoxFeature):
        return kinds.BBox(0.0, 0.0, 1.0, 1.0)
    return 0 if isinstance(feature, kinds.ClassLabel) else "made up"
