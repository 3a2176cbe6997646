"""Read the names, pixel scaling and labels inside a TFLite image classifier.

A flatbuffer `ModelMetadata` (identifier `M001`) lies in a buffer of the model, named by the metadata
entry `TFLITE_METADATA`. A zip archive after the model's last byte holds the files that it refers to,
such as `labels.txt`, one label a line.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from tledge._io import decompression, zip_guard
from tledge.formats.flatbuffer_tables import (
    ABSENT,
    Table,
    damaged,
    decode_utf8,
    root_table,
)
from tledge.formats.tflite_fields import (
    COLOR_SPACES,
    CONTENT_TYPES,
    IMAGE,
    NORMALIZATION,
    TENSOR_AXIS_LABELS,
    BufferField,
    EntryField,
    FileField,
    ImageField,
    ModelField,
    ModelMetadataField,
    NormalizationField,
    StatsField,
    SubGraphMetadataField,
    TensorMetadataField,
    UnionField,
)

MAX_LABELS = 1 << 24
"""Bytes of a labels file; a larger one is refused before it is unpacked."""

ENTRY_NAME, LABELS_FILE, LABELS_FILES = "TFLITE_METADATA", "labels.txt", ("labels.txt", "labelmap.txt")
MODEL_IDENTIFIER, METADATA_IDENTIFIER = b"TFL3", b"M001"


def read_metadata(model: bytes) -> dict[str, object]:
    """Return the metadata of a TFLite model, `{}` without any.

    Args:
        model: a `.tflite` file, made here or by another tool.

    Returns:
        `name`, `description`, `version`, `min_parser_version` (`str`, empty where
        absent); `labels` (`list[str]`, or `None` where no labels file is named or packed);
        `input` and `output` (`dict`, empty where absent) for the first tensor of each:
        `name`, `description` (`str`), `content`, `color_space` (`str` or `None`),
        `mean`, `std`, `min`, `max` (`list[float]`), `files` (`list[str]`).

    Raises:
        ArtifactError: `model` is not TFLite or damaged; the message says where.

    Source: `metadata_schema.fbs`. The labels are the first associated file of an output, a
    subgraph or the model with type TENSOR_AXIS_LABELS, else one called labels.txt or labelmap.txt.
    """
    model = bytes(model)
    raw = _metadata_buffer(root_table(model, MODEL_IDENTIFIER, "model"))
    if raw is None:
        return {}
    root = root_table(raw, METADATA_IDENTIFIER, "metadata")
    graphs = root.tables(ModelMetadataField.SUBGRAPHS, "subgraph_metadata")
    return {
        "name": root.text(ModelMetadataField.NAME),
        "description": root.text(ModelMetadataField.DESCRIPTION),
        "version": root.text(ModelMetadataField.VERSION),
        "min_parser_version": root.text(ModelMetadataField.MIN_PARSER_VERSION),
        "labels": _labels(model, root, graphs),
        "input": _first_tensor(graphs, SubGraphMetadataField.INPUTS, "input_tensor_metadata"),
        "output": _first_tensor(graphs, SubGraphMetadataField.OUTPUTS, "output_tensor_metadata"),
    }


def metadata_entries(root: Table) -> list[Table]:
    """Return the entries of a model's metadata that are called `TFLITE_METADATA`."""
    entries = root.tables(ModelField.METADATA, "metadata")
    return [entry for entry in entries if entry.text(EntryField.NAME) == ENTRY_NAME]


def _metadata_buffer(root: Table) -> bytes | None:
    for entry in metadata_entries(root)[:1]:
        number, buffers = entry.number(EntryField.BUFFER, "I"), root.tables(ModelField.BUFFERS, "buffers")
        if number >= len(buffers):
            raise damaged(f"{ENTRY_NAME} is in buffer {number} of {len(buffers)}")
        return buffers[number].raw(BufferField.DATA)
    return None


def _first_tensor(graphs: Sequence[Table], field: int, name: str) -> dict[str, object]:
    tensors = graphs[0].tables(field, name) if graphs else []
    return _tensor_facts(tensors[0]) if tensors else {}


def _tensor_facts(tensor: Table) -> dict[str, object]:
    content = tensor.table(TensorMetadataField.CONTENT, "content")
    stats = tensor.table(TensorMetadataField.STATS, "stats")
    kind = content.number(UnionField.TYPE, "B")
    properties = content.table(UnionField.VALUE, "content_properties")
    color_space = _name_of(COLOR_SPACES, properties.number(ImageField.COLOR_SPACE, "B"))
    normalization = _normalization(tensor)
    files = tensor.tables(TensorMetadataField.ASSOCIATED_FILES, "associated_files")
    return {
        "name": tensor.text(TensorMetadataField.NAME),
        "description": tensor.text(TensorMetadataField.DESCRIPTION),
        "content": _name_of(CONTENT_TYPES, kind),
        "color_space": color_space if kind == IMAGE else None,
        "mean": normalization.numbers(NormalizationField.MEAN, "f"),
        "std": normalization.numbers(NormalizationField.STD, "f"),
        "min": stats.numbers(StatsField.MIN, "f"),
        "max": stats.numbers(StatsField.MAX, "f"),
        "files": [file.text(FileField.NAME) for file in files],
    }


def _normalization(tensor: Table) -> Table:
    """Return the options of the tensor's normalization; absent where it has none."""
    units = tensor.tables(TensorMetadataField.PROCESS_UNITS, "process_units")
    by_type = {unit.number(UnionField.TYPE, "B"): unit for unit in units}
    return by_type.get(NORMALIZATION, ABSENT).table(UnionField.VALUE, "options")


def _name_of(names: Sequence[str | None], number: int) -> str | None:
    return names[number] if number < len(names) else f"type {number}"


# Read labels: associated files of the metadata name them, the zip archive holds them.


def _labels(model: bytes, root: Table, graphs: Sequence[Table]) -> list[str] | None:
    files = _associated_files(root, graphs)
    named_by_type = [
        file.text(FileField.NAME) for file in files if file.number(FileField.TYPE, "B") == TENSOR_AXIS_LABELS
    ]
    archive = open_archive(model)
    names = [file.text(FileField.NAME) for file in files] + (archive.namelist() if archive else [])
    for name in (named_by_type + [name for name in names if name.lower() in LABELS_FILES])[:1]:
        text = decode_utf8(_unzip(archive, name), f"labels file {name!r}").removeprefix("\ufeff")
        lines = text.removesuffix("\n").split("\n") if text else []
        return [line.removesuffix("\r") for line in lines]
    return None


def _associated_files(root: Table, graphs: Sequence[Table]) -> list[Table]:
    """Return the associated files of outputs, subgraphs and model, in this order."""
    files: list[Table] = []
    for graph in graphs:
        for output in graph.tables(SubGraphMetadataField.OUTPUTS, "output_tensor_metadata"):
            files += output.tables(TensorMetadataField.ASSOCIATED_FILES, "associated_files")
        files += graph.tables(SubGraphMetadataField.ASSOCIATED_FILES, "associated_files")
    return files + root.tables(ModelMetadataField.ASSOCIATED_FILES, "associated_files")


def open_archive(model: bytes) -> zipfile.ZipFile | None:
    """Open the zip archive behind a model, None where there is none."""
    try:
        return zipfile.ZipFile(io.BytesIO(model))
    except zip_guard.DAMAGE:
        return None


def _unzip(archive: zipfile.ZipFile | None, name: str) -> bytes:
    if archive is None or name not in archive.namelist():
        raise damaged(f"no zip archive with the labels file {name!r} at the end of the file")
    info = archive.getinfo(name)
    place = f"labels file {name!r} at byte {info.header_offset}"
    if info.file_size > MAX_LABELS:
        raise damaged(f"{place} is larger than {MAX_LABELS} bytes")
    try:
        return decompression.read_member(archive, name, MAX_LABELS)
    except zip_guard.DAMAGE as error:
        raise damaged(f"{place} does not unpack: {error}") from error
