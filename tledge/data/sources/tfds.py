"""Read the source `tfds`: any image classification set of TensorFlow Datasets, as encoded bytes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tledge._io import resource_errors
from tledge._process import native_output, optional_imports
from tledge.data.sources import tfrecord_offsets
from tledge.data.sources.base import Reader, Record, Scan, return_bytes
from tledge.errors import DataError, MissingError, RecipeError

RETRIES = 5
"""How often a failed request of a download is sent again: for about six seconds."""

OPTIONS: dict[str, object] = {"name": "", "image": "image", "label": "label"}


def scan(options: Mapping[str, object]) -> Scan:
    """Open the data set; its records are the labelled examples of every split, in the order of the files.

    Raises:
        RecipeError: TensorFlow Datasets does not know the set.
        MissingError: The set is not on this machine and cannot be downloaded.
        DataError: `records()` raises it where the set is not a classification of images.
    """
    builder = _builder(options)
    splits = {name: split.num_examples for name, split in builder.info.splits.items()}
    return Scan(
        fingerprint=lambda: repr((builder.info.full_name, sorted(splits.items()))),
        count=lambda: sum(splits.values()),
        records=lambda: _records(builder, str(options["image"]), str(options["label"])),
        order=lambda: _label_names(builder, str(options["image"]), str(options["label"])),
    )


def _records(builder: Any, image: str, label: str) -> Iterator[Record]:
    import tensorflow_datasets as tfds

    names = _label_names(builder, image, label)
    for split in sorted(builder.info.splits):
        files = _files(builder, split)
        data = builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(
                {image: True, label: True}, decoders={image: tfds.decode.SkipDecoding()}
            ),
            read_config=tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1),
        )
        for example in data.as_numpy_iterator():
            if int(example[label]) < 0:  # how TFDS marks what has no label
                continue
            number = example["tfds_id"].decode().rsplit("__", 1)[-1]
            shard = example["tfds_id"].decode().split("tfrecord-")[-1][:5]
            photo = bytes(example[image])
            yield Record(
                f"{split}/{shard}-{int(number):06d}",
                names[int(example[label])],
                split,
                partial(return_bytes, photo),
                where=partial(tfrecord_offsets.find, files[int(shard)], int(number), photo),
            )


def reader(options: Mapping[str, object]) -> Reader:
    """Return a function that reads a photo from its shard; raises RecipeError unless that is a TFRecord."""
    builder = _builder(options)
    kind = builder.info.file_format.value
    if kind != "tfrecord":
        raise RecipeError(
            f"[data] cache = false: photos of tfds:{builder.info.name} are in {kind} files, and are read one "
            "by one from tfrecord files only. Prepare the set as tfrecord, or leave cache out."
        )
    files = {split: _files(builder, split) for split in builder.info.splits}

    def read(name: str, offset: int, size: int) -> bytes:
        split, _, place = name.rpartition("/")
        return tfrecord_offsets.read(files[split][int(place[:5])], offset, size)

    return read


def _files(builder: Any, split: str) -> list[Path]:
    """Return the shards of a split in their order."""
    return [Path(str(path)) for path in builder.info.splits[split].filepaths]


def _builder(options: Mapping[str, object]) -> Any:
    name = str(options["name"])
    tfds = optional_imports.load("tensorflow_datasets", "train")
    root = resource_errors.expanded(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))
    try:
        builder = tfds.builder(name, data_dir=str(root))
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise RecipeError(f"tfds:{name}: TensorFlow Datasets has no such data set.") from error
    try:
        with _downloads_silenced(), _few_retries():
            builder.download_and_prepare(file_format=None)
    except Exception as error:  # every data set downloads in its own way and fails in its own
        raise MissingError(_missing_message(name, builder, error)) from error
    return builder


def _missing_message(name: str, builder: Any, error: Exception) -> str:
    return (
        f"tfds:{name} is not on this machine and could not be downloaded ({type(error).__name__}). "
        f"Put its prepared files (dataset_info.json, features.json and "
        f"{builder.info.name}-<split>.tfrecord-*) into {builder.data_dir}, "
        "or point TFDS_DATA_DIR at a folder that holds them."
    )


@contextmanager
def _few_retries() -> Iterator[None]:
    """Let a download fail within seconds of losing the network, and without a warning for each retry.

    TensorFlow Datasets retries ten times, twice as long apart each time: more than three minutes. Its
    number of retries is no option of `DownloadConfig`. After a failure the warnings stay off: a set of
    several files is downloaded by several threads, and the first that gives up does not stop the others.
    """
    from tensorflow_datasets.core.download import downloader

    log = logging.getLogger("urllib3.connectionpool")
    before = downloader.MAX_RETRIES, log.level
    downloader.MAX_RETRIES = RETRIES
    log.setLevel(logging.ERROR)
    try:
        yield
        log.setLevel(before[1])
    finally:
        downloader.MAX_RETRIES = before[0]


def _downloads_silenced() -> Any:
    """Move the announcements of downloads from stdout, which belongs to results, and hide progress bars."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    logging.getLogger("absl").setLevel(logging.ERROR)
    return native_output.announcements_redirected()


def _label_names(builder: Any, image: str, label: str) -> list[str]:
    features = builder.info.features
    for key in (image, label):
        if key not in features:
            raise DataError(
                f"tfds:{builder.info.name}: has no feature {key!r}; it has {', '.join(features)}. "
                "Name the right ones with [data] image = and label = ."
            )
    names = getattr(features[label], "names", None)
    if names and getattr(features[label], "shape", ()) != ():
        raise DataError(
            f"tfds:{builder.info.name}: feature {label!r} holds several labels of a photo, expected "
            "one: tledge learns one label per photo. Name another feature with [data] label."
        )
    if not names:
        raise DataError(f"tfds:{builder.info.name}: feature {label!r} has no class names.")
    return list(names)
