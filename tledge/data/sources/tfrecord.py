"""Read the source `tfrecord`: TFRecord files whose records are `tf.train.Example` with an encoded photo."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from tledge._io import resource_errors
from tledge._process import optional_imports
from tledge.data.labels import normalized
from tledge.data.sources import tfrecord_offsets
from tledge.data.sources.base import Reader, Record, Scan, file_stamps, return_bytes
from tledge.errors import DataError, MissingError, RecipeError

OPTIONS: dict[str, object] = {
    "pattern": "",
    "image": "image",
    "label": "class",
    "labels": [],
    "compression": "",
}
"""`image`: bytes feature of the photo; `label`: feature of an index or a name; `labels`: names by index.

The recipe's `[data] labels` or `labels_file` sets `labels`.
"""

_COMPRESSIONS = ("", "GZIP", "ZLIB")
_FRAME = 16  # bytes around a record: its length and two checksums


@dataclass(frozen=True)
class _Options:
    """The checked options, and the files: name below the fixed part of the pattern, and path."""

    files: tuple[tuple[str, Path], ...]
    image: str
    label: str
    names: tuple[str, ...]
    compression: str


def scan(options: Mapping[str, object]) -> Scan:
    """Find the files; their records come in the order of the sorted files, all in split "train".

    Without `labels`, a label that is an index becomes a number with leading zeros, so that text
    sorts as numbers do. A first pass over the files, which also counts the records, finds the highest one.

    Raises:
        RecipeError: `labels` or `compression` cannot be used.
        MissingError: No file matches the pattern, or TensorFlow is not installed.
        DataError: `count()` and `records()` raise it, with file and record, for damage and wrong features.
    """
    checked = _check_options(options)
    survey = cache(partial(_survey, checked))
    return Scan(
        fingerprint=lambda: repr(file_stamps(checked.files)),
        count=lambda: survey().records,
        records=lambda: _records(checked, 0 if checked.names else len(str(survey().highest_label))),
        labels=lambda: survey().names,
        order=lambda: checked.names,
    )


def _records(checked: _Options, width: int) -> Iterator[Record]:
    for name, path in checked.files:
        for number, example in enumerate(_examples(path, checked.compression)):
            where = f"{path}, record {number}"
            photo = _value(example, checked.image, "image", ("bytes_list",), where)
            label = _label_name(_label(example, checked, where), checked.names, width, where)
            where_photo = partial(tfrecord_offsets.find, path, number, photo)
            yield Record(
                f"{name}/{number:06d}", label, "train", partial(return_bytes, photo), name, where_photo
            )


def reader(options: Mapping[str, object]) -> Reader:
    """Return a function that reads a photo from its file; raises RecipeError where files are compressed."""
    checked = _check_options(options)
    if checked.compression:
        raise RecipeError(
            f"[data] cache = false: photos in files of compression {checked.compression!r} cannot be read "
            "one by one. Write the files without compression, or leave cache out."
        )
    paths = dict(checked.files)
    return lambda name, offset, size: tfrecord_offsets.read(paths[name.rpartition("/")[0]], offset, size)


def _check_options(options: Mapping[str, object]) -> _Options:
    names, compression = options["labels"], str(options["compression"])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise RecipeError(f"[data] labels: expected a list of names, got {names!r}.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RecipeError(f"[data] labels: {', '.join(map(repr, repeated))} is listed more than once.")
    if compression not in _COMPRESSIONS:
        raise RecipeError(f"[data] compression = {compression!r}: expected one of {_COMPRESSIONS}.")
    files = tuple(_files(str(options["pattern"])))
    return _Options(files, str(options["image"]), str(options["label"]), tuple(names), compression)


def _files(pattern: str) -> Iterator[tuple[str, Path]]:
    path = resource_errors.expanded(pattern)
    if path.is_file():  # a name may hold brackets that mean themselves
        yield path.name, path
        return
    root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    matching = {Path(match) for match in glob.glob(str(path), recursive=True) if Path(match).is_file()}
    if not matching:
        raise MissingError(
            f"{pattern}: no file matches. Expected a pattern of TFRecord files: "
            '[data] source = "tfrecord:flowers/*.tfrec".'
        )
    for file in sorted(matching):
        yield file.relative_to(root).as_posix(), file


@dataclass(frozen=True)
class _Survey:
    """What a first pass over the files finds: of labels that are indices the highest, of others all."""

    records: int
    highest_label: int
    names: frozenset[str]


def _survey(checked: _Options) -> _Survey:
    records = highest = 0
    names = set()
    for _name, path in checked.files:
        for number, example in enumerate(_examples(path, checked.compression)):
            label = _label(example, checked, f"{path}, record {number}")
            if isinstance(label, int):
                highest = max(highest, label)
            else:
                names.add(label)
            records += 1
    return _Survey(records, highest, frozenset(names))


def _examples(path: Path, compression: str) -> Iterator[Any]:
    tf = optional_imports.load("tensorflow", "train")
    decode_error = optional_imports.load("google.protobuf.message", "train").DecodeError
    for number, payload in enumerate(_payloads(path, compression)):
        try:
            yield tf.train.Example.FromString(payload)
        except decode_error as error:
            raise DataError(f"{path}, record {number}: expected a tf.train.Example ({error}).") from error


def _payloads(path: Path, compression: str) -> Iterator[bytes]:
    """Yield the records of a file; raises DataError where it ends too early or is damaged."""
    tf = optional_imports.load("tensorflow", "train")
    size = 0
    try:
        for payload in tf.data.TFRecordDataset(str(path), compression).as_numpy_iterator():
            size += len(payload) + _FRAME
            yield payload
    except tf.errors.DataLossError as error:
        reason = error.message.split("}}")[-1].split("[Op:")[0].strip()
        raise DataError(_damage_message(path, compression, reason)) from error
    # TensorFlow takes a file that breaks off within a record's header for one that ends before it.
    if not size or (not compression and size != path.stat().st_size):
        raise DataError(_damage_message(path, compression, f"{size} bytes of whole records"))


def _damage_message(path: Path, compression: str, reason: str) -> str:
    return (
        f"{path}: truncated, damaged or not a TFRecord file with [data] compression = "
        f"{compression!r} ({reason}). Get it again, or set the right one of {_COMPRESSIONS}."
    )


def _label(example: Any, checked: _Options, where: str) -> int | str:
    value = _value(example, checked.label, "label", ("int64_list", "bytes_list"), where)
    if isinstance(value, int):
        return value
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: feature {checked.label!r} is {value!r}, expected UTF-8 text.") from error


def _value(example: Any, name: str, key: str, kinds: tuple[str, ...], where: str) -> Any:
    """Return the one value of a feature, which must be of one of these kinds."""
    features = example.features.feature
    if name not in features:
        raise DataError(
            f"{where}: has no feature {name!r}; it has {', '.join(sorted(features)) or 'none'}. "
            f"Name the right one with [data] {key}."
        )
    kind = features[name].WhichOneof("kind")
    values: Any = getattr(features[name], kind).value if kind else ()
    if kind not in kinds or len(values) != 1:
        raise DataError(
            f"{where}: feature {name!r} has {len(values)} values of {kind}, expected one of "
            f"{' or '.join(kinds)}. Name the right one with [data] {key}."
        )
    return values[0]


def _label_name(value: int | str, names: tuple[str, ...], width: int, where: str) -> str:
    if isinstance(value, str):
        if not value:
            raise DataError(f"{where}: the label is empty, expected a name. Remove the record.")
        if names and normalized(value) not in map(normalized, names):
            raise DataError(f"{where}: label {value!r} is not in [data] labels. Add it there.")
        return value
    if value < 0 or (names and value >= len(names)):
        expected = (
            f"from 0 to {len(names) - 1}, as [data] labels has {len(names)} names" if names else "from 0"
        )
        raise DataError(
            f"{where}: label {value}, expected an index {expected}. "
            "Set labels to the names of all indices, in their order, or remove the record."
        )
    return names[value] if names else f"{value:0{width}d}"
