"""Names, pixel scaling and class labels inside a TFLite image classifier.

A flatbuffer ``ModelMetadata`` (identifier ``M001``) lies in a buffer of the model, named by the
metadata entry ``TFLITE_METADATA``; a zip archive after the model's last byte holds the files it
refers to, here ``labels.txt``, one class per line. Field numbers are places in the tables of the
public ``metadata_schema.fbs`` and, for the model, ``schema.fbs`` of TensorFlow Lite; a union takes
two, the first for its type.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tledge._io import zip_guard
from tledge.errors import ArtifactError

MAX_LABELS = 1 << 24
"""Bytes of a labels file; a larger one is refused before it is unpacked."""

_ENTRY, _LABELS_FILE, _LABEL_NAMES = "TFLITE_METADATA", "labels.txt", ("labels.txt", "labelmap.txt")
_MODEL_ID, _METADATA_ID = b"TFL3", b"M001"

# Model fields (schema.fbs); all but the version are references.
_VERSION, _SUBGRAPHS, _BUFFERS, _METADATA, _MODEL_FIELDS = 0, 2, 4, 6, 10

# Unions and enums (metadata_schema.fbs), in order from 0.
_CONTENTS = (None, "feature", "image", "bounding_box", "audio")
_COLORS = (None, "RGB", "grayscale")
_FEATURE, _IMAGE, _RGB, _NORMALIZATION, _AXIS_LABELS = 1, 2, 1, 1, 2

# The block put before a model: its length is a multiple of _ALIGN, so nothing in the model loses
# its alignment; _MARK and that length follow the file identifier, where no reader looks.
_ALIGN, _MARK = 64, b"TLEP"


def write_metadata(
    model: bytes, *, name: str, description: str, version: str, labels: Sequence[str]
) -> bytes:
    """Return ``model`` with metadata and ``labels.txt``, as an image classifier.

    The input is described as an RGB image of values 0 to 255 taken as they are (mean 0, std 1),
    the output as probabilities labelled by ``labels``: what MediaPipe's ImageClassifier asks for.

    The model is not packed anew: a new root table goes before it, referring to the tables of the
    old one, whose bytes stay as they were, at the alignment they had. Metadata and zip archive
    already there are replaced. Equal arguments give equal bytes, and so does writing twice.

    Args:
        model: a ``.tflite`` file with one input and one output.
        name, description, version: of the model, shown to users.
        labels: class names (``str``), in the order of the output's last axis.

    Raises:
        ArtifactError: ``model`` is not TFLite, is damaged, has other than one input and one
            output, keeps data outside its flatbuffer (above 2 GB), or has other than
            ``len(labels)`` classes; or a text holds what the format cannot.

    Source: ``metadata_schema.fbs``; "Adding metadata to TensorFlow Lite models" (tensorflow.org).
    """
    _utf8(name + description + version, "name, description or version")
    encoded = [_utf8(label, f"label {i}", "\n\r\0") for i, label in enumerate(labels)]
    body = _strip(bytes(model))
    root = _root(body, _MODEL_ID, "model")
    _check_model(root, len(labels))
    made = _prepend(body, root, _build_metadata(name, description, version))
    return _with_labels(made, b"".join(line + b"\n" for line in encoded))


def read_metadata(model: bytes) -> dict[str, object]:
    """Return what the metadata of a TFLite model says, ``{}`` without any.

    Args:
        model: a ``.tflite`` file, made here or elsewhere.

    Returns:
        ``name``, ``description``, ``version``, ``min_parser_version`` (``str``, empty where
        absent); ``labels`` (``list[str]``, or ``None`` where no labels file is named or packed);
        ``input`` and ``output`` (``dict``, empty where absent) for the first tensor of each:
        ``name``, ``description`` (``str``), ``content``, ``color_space`` (``str`` or ``None``),
        ``mean``, ``std``, ``min``, ``max`` (``list[float]``), ``files`` (``list[str]``).

    Raises:
        ArtifactError: ``model`` is not TFLite or damaged; the message says where.

    Source: ``metadata_schema.fbs``. The labels are the first associated file of an output, a
    subgraph or the model with type TENSOR_AXIS_LABELS, else one called labels.txt or labelmap.txt.
    """
    model = bytes(model)
    raw = _find_metadata(_root(model, _MODEL_ID, "model"))
    if raw is None:
        return {}
    root = _root(raw, _METADATA_ID, "metadata")
    graphs = root.tables(3, "subgraph_metadata")
    return {
        "name": root.text(0),
        "description": root.text(1),
        "version": root.text(2),
        "min_parser_version": root.text(7),
        "labels": _labels(model, root, graphs),
        "input": _first_tensor(graphs, 2, "input_tensor_metadata"),
        "output": _first_tensor(graphs, 3, "output_tensor_metadata"),
    }


# Reading. Generated readers trust every offset; this one checks each and says which is wrong.
@dataclass(frozen=True)
class _Table:
    """The table at byte ``pos`` of ``data``, called ``what``; one at 0 is absent and empty."""

    data: bytes
    pos: int
    what: str

    def read(self, code: str, at: int) -> Any:
        if not 0 <= at <= len(self.data) - struct.calcsize(f"<{code}"):
            raise _damaged(f"{self.what} leads to byte {at}, outside its {len(self.data)} bytes")
        return struct.unpack_from(f"<{code}", self.data, at)[0]

    def at(self, field: int) -> int:
        """Position of a field's value, 0 where the table leaves it out."""
        layout = self.pos - self.read("i", self.pos) if self.pos else 0
        if not self.pos or 4 + 2 * field >= self.read("H", layout):
            return 0
        step = int(self.read("H", layout + 4 + 2 * field))
        return self.pos + step if step else 0

    def number(self, field: int, code: str) -> int:
        at = self.at(field)
        return int(self.read(code, at)) if at else 0

    def target(self, field: int) -> int:
        """Position that a reference leads to, 0 where the table leaves it out."""
        at = self.at(field)
        return at + int(self.read("I", at)) if at else 0

    def table(self, field: int, what: str) -> _Table:
        return _Table(self.data, self.target(field), f"{self.what}.{what}")

    def vector(self, field: int, width: int) -> tuple[int, int]:
        """Position of the first element, and how many there are."""
        at = self.target(field)
        count = int(self.read("I", at)) if at else 0
        if count:
            self.read("B", at + 3 + count * width)
        return at + 4, count

    def values(self, field: int, code: str) -> list[Any]:
        start, count = self.vector(field, 4)
        return list(struct.unpack_from(f"<{count}{code}", self.data, start)) if count else []

    def raw(self, field: int) -> bytes:
        start, count = self.vector(field, 1)
        return self.data[start : start + count]

    def text(self, field: int) -> str:
        return _decode(self.raw(field), f"{self.what}, field {field} at byte {self.target(field)},")

    def tables(self, field: int, what: str) -> list[_Table]:
        start, _ = self.vector(field, 4)
        steps = enumerate(self.values(field, "I"))
        return [_Table(self.data, start + 4 * i + step, f"{self.what}.{what}[{i}]") for i, step in steps]


_ABSENT = _Table(b"", 0, "")


def _damaged(what: str) -> ArtifactError:
    return ArtifactError(f"damaged TFLite file: {what}")


def _root(data: bytes, identifier: bytes, what: str) -> _Table:
    start, found = int.from_bytes(data[:4], "little"), data[4:8]
    if found != identifier or not start:
        raise ArtifactError(f"not a TFLite {what}: bytes 4 to 8 are {found!r}, not {identifier!r}")
    return _Table(data, start, what)


def _decode(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(f"{what} is not UTF-8: {error}") from error


def _entries(root: _Table) -> list[_Table]:
    return [entry for entry in root.tables(_METADATA, "metadata") if entry.text(0) == _ENTRY]


def _find_metadata(root: _Table) -> bytes | None:
    for entry in _entries(root)[:1]:
        index, buffers = entry.number(1, "I"), root.tables(_BUFFERS, "buffers")
        if index >= len(buffers):
            raise _damaged(f"{_ENTRY} is in buffer {index} of {len(buffers)}")
        return buffers[index].raw(0)
    return None


def _first_tensor(graphs: Sequence[_Table], field: int, what: str) -> dict[str, object]:
    for tensor in (graphs[0].tables(field, what) if graphs else [])[:1]:
        content, stats = tensor.table(3, "content"), tensor.table(5, "stats")
        kind, properties = content.number(0, "B"), content.table(1, "content_properties")
        units = {unit.number(0, "B"): unit for unit in tensor.tables(4, "process_units")}
        scaling = units.get(_NORMALIZATION, _ABSENT).table(1, "options")
        return {
            "name": tensor.text(0),
            "description": tensor.text(1),
            "content": _name(_CONTENTS, kind),
            "color_space": _name(_COLORS, properties.number(0, "B")) if kind == _IMAGE else None,
            "mean": scaling.values(0, "f"),
            "std": scaling.values(1, "f"),
            "min": stats.values(1, "f"),
            "max": stats.values(0, "f"),
            "files": [file.text(0) for file in tensor.tables(6, "associated_files")],
        }
    return {}


def _name(names: Sequence[str | None], number: int) -> str | None:
    return names[number] if number < len(names) else f"type {number}"


# Labels: named by the associated files of the metadata, kept in the zip archive.
def _labels(model: bytes, root: _Table, graphs: Sequence[_Table]) -> list[str] | None:
    owners = [o for g in graphs for o in (*g.tables(3, "output_tensor_metadata"), g)]
    files = [f for o in owners for f in o.tables(4 if o in graphs else 6, "associated_files")]
    files += root.tables(6, "associated_files")
    typed = [file.text(0) for file in files if file.number(2, "B") == _AXIS_LABELS]
    archive = _archive(model)
    names = [file.text(0) for file in files] + (archive.namelist() if archive else [])
    for name in (typed + [name for name in names if name.lower() in _LABEL_NAMES])[:1]:
        text = _decode(_unzip(archive, name), f"labels file {name!r}")
        lines = text.removesuffix("\n").split("\n") if text else []
        return [line.removesuffix("\r") for line in lines]
    return None


def _archive(model: bytes) -> zipfile.ZipFile | None:
    try:
        return zipfile.ZipFile(io.BytesIO(model))
    except zip_guard.DAMAGE:
        return None


def _unzip(archive: zipfile.ZipFile | None, name: str) -> bytes:
    if archive is None or name not in archive.namelist():
        raise _damaged(f"no zip archive with the labels file {name!r} at the end of the file")
    info = archive.getinfo(name)
    where = f"labels file {name!r} at byte {info.header_offset}"
    if info.file_size > MAX_LABELS:
        raise _damaged(f"{where} is larger than {MAX_LABELS} bytes")
    try:
        return archive.read(info)
    except zip_guard.DAMAGE as error:
        raise _damaged(f"{where} does not unpack: {error}") from error


def _with_labels(model: bytes, lines: bytes) -> bytes:
    info = zipfile.ZipInfo(_LABELS_FILE, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, 0o644 << 16
    stream = io.BytesIO(model)
    stream.seek(len(model))
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(info, lines, zipfile.ZIP_STORED)
    return stream.getvalue()


def _utf8(text: str, what: str, barred: str = "") -> bytes:
    if any(mark in text for mark in barred):
        raise ArtifactError(f"{what} ({text!r}) holds a line break or a zero byte")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArtifactError(f"{what} ({text!r}) cannot be written as UTF-8") from error


# Writing. A table is a mapping from field number to value; a plain number is an enum of one byte.


class _U32(int):
    """A number of four bytes."""


class _Ref(int):
    """Something written already, by its distance from the end."""


def _strip(model: bytes) -> bytes:
    """The model without its zip archive and the block that this module put before it."""
    archive = _archive(model)
    starts = [info.header_offset for info in archive.infolist()] if archive else []
    if starts and model.startswith(b"PK\3\4", min(starts)):
        model = model[: min(starts)]
    if model[8:12] == _MARK:
        start = int.from_bytes(model[12:16], "little")
        model = model[start:] if model[start + 4 : start + 8] == _MODEL_ID else model
    return model + bytes(-len(model) % _ALIGN)


def _check_model(root: _Table, classes: int) -> None:
    graph = (root.tables(_SUBGRAPHS, "subgraphs") or [_ABSENT])[0]
    inputs, outputs = graph.values(1, "i"), graph.values(2, "i")
    tensors = graph.tables(0, "tensors")
    if len(inputs) != 1 or len(outputs) != 1:
        found = f"{len(inputs)} inputs and {len(outputs)} outputs"
        raise ArtifactError(f"an image classifier has one input and one output, not {found}")
    if not 0 <= outputs[0] < len(tensors):
        raise _damaged(f"the output is tensor {outputs[0]} of {len(tensors)}")
    shape = tensors[outputs[0]].values(0, "i")
    if not classes or (shape and shape[-1] > 0 and shape[-1] != classes):
        raise ArtifactError(f"{classes} labels for an output of shape {shape}")
    if any(root.at(field) for field in range(_MODEL_FIELDS, _MODEL_FIELDS + 32)):
        raise ArtifactError("the model has fields of a TFLite schema newer than is known here")
    if any(buffer.number(1, "Q") > 1 for buffer in root.tables(_BUFFERS, "buffers")):
        raise ArtifactError("the model keeps buffers outside its flatbuffer; they cannot be moved")


def _prepend(body: bytes, root: _Table, metadata: bytes) -> bytes:
    """``body`` behind a new root table that adds ``metadata`` to the old one.

    A flatbuffer grows towards its front and refers only forwards: ``body`` serves as the part of
    a new one that is written already.
    """
    old, end = _entries(root), len(body)
    targets = {field: root.target(field) for field in range(_VERSION + 1, _MODEL_FIELDS)}
    fields: dict[int, object] = {field: _Ref(end - at) for field, at in targets.items() if at}
    buffers: list[object] = [_Ref(end - table.pos) for table in root.tables(_BUFFERS, "buffers")]
    slot = old[0].number(1, "I") if old else 0
    slot = slot if 0 < slot < len(buffers) else len(buffers)
    buffers[slot : slot + 1] = [{0: metadata}]
    kept = [table for table in root.tables(_METADATA, "metadata") if table not in old]
    entries = [*(_Ref(end - table.pos) for table in kept), {0: _ENTRY, 1: _U32(slot)}]
    version = _U32(root.number(_VERSION, "I"))
    return _build({**fields, _VERSION: version, _BUFFERS: buffers, _METADATA: entries}, body)


def _build(fields: Mapping[int, object], body: bytes) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(0)
    builder.head = 65536
    builder.Bytes = bytearray(builder.head) + body
    model = _put(builder, fields)
    builder.Prep(_ALIGN, 16)
    builder.PrependUint32(builder.Offset() + 16 - len(body))
    builder.PrependUint32(int.from_bytes(_MARK, "little"))
    builder.Finish(model, _MODEL_ID)
    return bytes(builder.Output())


def _build_metadata(name: str, description: str, version: str) -> bytes:
    import flatbuffers

    image: dict[int, object] = {0: "image", 1: "RGB image, values 0 to 255."}
    image |= {3: {0: _IMAGE, 1: {0: _RGB}}, 4: [{0: _NORMALIZATION, 1: {0: [0.0], 1: [1.0]}}]}
    image |= {5: {0: [255.0], 1: [0.0]}}
    labels = {0: _LABELS_FILE, 1: "Names of the classes, one per line.", 2: _AXIS_LABELS}
    scores: dict[int, object] = {0: "probabilities", 1: "Probability of each class."}
    scores |= {3: {0: _FEATURE, 1: {}}, 5: {0: [1.0], 1: [0.0]}, 6: [labels]}
    graphs = [{2: [image], 3: [scores]}]
    builder = flatbuffers.Builder(1024)
    model = {0: name, 1: description, 2: version, 3: graphs, 7: "1.0.0"}  # no newer fields
    builder.Finish(_put(builder, model), _METADATA_ID)
    return bytes(builder.Output())


def _put(builder: Any, value: Any) -> int:
    if isinstance(value, _Ref):
        return value
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, bytes):
        builder.Prep(16, len(value))  # schema.fbs: buffer data is aligned to 16
        return int(builder.CreateByteVector(value))
    return _put_table(builder, value) if isinstance(value, Mapping) else _put_list(builder, value)


def _put_list(builder: Any, values: Sequence[object]) -> int:
    floats = isinstance(values[0], float)
    items = values if floats else [_put(builder, value) for value in values]
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        (builder.PrependFloat32 if floats else builder.PrependUOffsetTRelative)(item)
    return int(builder.EndVector())


def _put_table(builder: Any, fields: Mapping[int, object]) -> int:
    scalars = {i: value for i, value in fields.items() if type(value) in (int, _U32)}
    refs = {i: _put(builder, value) for i, value in fields.items() if i not in scalars}
    builder.StartObject(max(fields, default=-1) + 1)
    for i, ref in refs.items():
        builder.PrependUOffsetTRelativeSlot(i, ref, 0)
    for i, value in scalars.items():
        wide = isinstance(value, _U32)
        (builder.PrependUint32Slot if wide else builder.PrependUint8Slot)(i, value, 0)
    return int(builder.EndObject())
