"""List the data sources. To add one, write a module like the others and add a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tledge.data.sources import csv, folder, synthetic, tfds, tfrecord
from tledge.data.sources.base import Source


@dataclass(frozen=True)
class SourceEntry:
    """A source, the option that the text after the colon of its name sets, and what it is.

    `check` raises RecipeError for options that cannot be right, before anything is read.
    """

    module: Source
    argument: str
    summary: str
    is_synthetic: bool = False
    check: Callable[[Mapping[str, object]], None] | None = None


SOURCES: dict[str, SourceEntry] = {
    "csv": SourceEntry(csv, "path", "photos listed in a CSV file, with their labels", check=csv.check),
    "drawn": SourceEntry(synthetic, "", "hands drawn by tledge itself; synthetic, no download", True),
    "folder": SourceEntry(
        folder, "path", "photos in folders, by split and label or by label", check=folder.check
    ),
    "tfds": SourceEntry(tfds, "name", "an image classification set of TensorFlow Datasets"),
    "tfrecord": SourceEntry(tfrecord, "pattern", "photos in TFRecord files, as tf.train.Example"),
}
