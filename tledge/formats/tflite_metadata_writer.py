"""Write names, pixel scaling and labels into a TFLite image classifier.

`write_metadata` makes a file of this layout, which `tledge.formats.tflite_metadata` reads:

    byte    content
    0       position of the new root table (uint32)
    4       "TFL3", the identifier of a model
    8       "TLEP", the mark of this module, where no reader looks
    12      L, the length of this part (uint32), a multiple of 64
    16      the metadata, its entry, and the new root table, which refers to the tables of the old model
    L       the old model, byte for byte: its own root position and "TFL3" come first
            zeros up to a multiple of 64
            the zip archive with labels.txt

The model is not packed anew with the generated `ModelT` (nor with `ai_edge_litert.tools.flatbuffer_utils`,
which calls it): that would move every weight and drop fields that this version of the schema lacks. Here
the bytes of the converter stay as they are, at the alignment that they had.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from tledge.errors import ArtifactError
from tledge.formats.flatbuffer_tables import (
    ABSENT,
    NewTable,
    Table,
    UInt8,
    UInt32,
    Written,
    damaged,
    root_table,
    write_value,
)
from tledge.formats.tflite_fields import (
    FEATURE,
    IMAGE,
    NORMALIZATION,
    RGB,
    TENSOR_AXIS_LABELS,
    BufferField,
    EntryField,
    FileField,
    ImageField,
    ModelField,
    ModelMetadataField,
    NormalizationField,
    StatsField,
    SubGraphField,
    SubGraphMetadataField,
    TensorField,
    TensorMetadataField,
    UnionField,
)
from tledge.formats.tflite_metadata import (
    ENTRY_NAME,
    LABELS_FILE,
    METADATA_IDENTIFIER,
    MODEL_IDENTIFIER,
    metadata_entries,
    open_archive,
)

ALIGNMENT, MARK = 64, b"TLEP"
"""Of the part before the old model: what its length is a multiple of, and its mark."""

TEXTS = (ModelMetadataField.NAME, ModelMetadataField.DESCRIPTION, ModelMetadataField.VERSION)
"""Fields of the texts that are shown to users."""

SPARE_BYTES = 65536
"""Bytes before the old model that a builder begins with; it takes more where they do not suffice."""


def write_metadata(
    model: bytes,
    *,
    name: str,
    description: str,
    version: str,
    labels: Sequence[str],
    mean: float = 0.0,
    std: float = 1.0,
) -> bytes:
    """Return `model` with metadata and `labels.txt`, as an image classifier.

    The input is described as an RGB image of values 0 to 255 taken as they are (mean 0, std 1) by default,
    the output as probabilities labelled by `labels`: MediaPipe's ImageClassifier requires this.
    Metadata and zip archive of the model are replaced. Equal arguments give equal bytes, and so does
    writing twice.

    Args:
        model: a `.tflite` file with one input and one output.
        name: name of the model, shown to users, as are `description` and `version`.
        description: one sentence on the model.
        version: version of the model.
        labels: label of each class, in the order of the output's last axis.
        mean: what is subtracted from a byte before the model takes it.
        std: what the difference is divided by.

    Returns:
        The bytes of a `.tflite` file.

    Raises:
        ArtifactError: `model` is not TFLite, is damaged, has other than one input and one
            output, keeps data outside its flatbuffer (above 2 GB), or has other than
            `len(labels)` classes; or a text cannot be stored.

    Source: `metadata_schema.fbs`; "Adding metadata to TensorFlow Lite models" (tensorflow.org).
    """
    _encode_utf8(name + description + version, "name, description or version")
    encoded = [_encode_utf8(label, f"label {i}", "\n\r\0") for i, label in enumerate(labels)]
    body = _without_metadata_part(bytes(model))
    root = root_table(body, MODEL_IDENTIFIER, "model")
    _require_classifier(root, len(labels))
    described = _prepend_root(body, root, _metadata_flatbuffer((name, description, version), mean, std))
    return _append_labels(described, b"".join(line + b"\n" for line in encoded))


def _encode_utf8(text: str, name: str, forbidden: str = "") -> bytes:
    if any(character in text for character in forbidden):
        raise ArtifactError(f"{name} ({text!r}) holds a line break or a zero byte")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArtifactError(f"{name} ({text!r}) cannot be written as UTF-8") from error


def _without_metadata_part(model: bytes) -> bytes:
    """Return the model without its zip archive and the part that `write_metadata` put before it."""
    archive = open_archive(model)
    starts = [info.header_offset for info in archive.infolist()] if archive else []
    if starts and model.startswith(b"PK\3\4", min(starts)):
        model = model[: min(starts)]
    if model[8:12] == MARK:
        start = int.from_bytes(model[12:16], "little")
        model = model[start:] if model[start + 4 : start + 8] == MODEL_IDENTIFIER else model
    return model + bytes(-len(model) % ALIGNMENT)


def _require_classifier(root: Table, classes: int) -> None:
    """Raise ArtifactError where the model is not a classifier of so many classes, or cannot be moved."""
    graph = (root.tables(ModelField.SUBGRAPHS, "subgraphs") or [ABSENT])[0]
    inputs, outputs = graph.numbers(SubGraphField.INPUTS, "i"), graph.numbers(SubGraphField.OUTPUTS, "i")
    tensors = graph.tables(SubGraphField.TENSORS, "tensors")
    if len(inputs) != 1 or len(outputs) != 1:
        counts = f"{len(inputs)} inputs and {len(outputs)} outputs"
        raise ArtifactError(f"an image classifier has one input and one output, not {counts}")
    if not 0 <= outputs[0] < len(tensors):
        raise damaged(f"the output is tensor {outputs[0]} of {len(tensors)}")
    shape = tensors[outputs[0]].numbers(TensorField.SHAPE, "i")
    if not classes or (shape and shape[-1] > 0 and shape[-1] != classes):
        raise ArtifactError(f"{classes} labels for an output of shape {shape}")
    if any(root.position_of(field) for field in range(len(ModelField), len(ModelField) + 32)):
        raise ArtifactError("the model has fields of a TFLite schema newer than is known here")
    buffers = root.tables(ModelField.BUFFERS, "buffers")
    if any(buffer.number(BufferField.OFFSET, "Q") > 1 for buffer in buffers):
        raise ArtifactError("the model keeps buffers outside its flatbuffer; they cannot be moved")


def _prepend_root(body: bytes, root: Table, metadata: bytes) -> bytes:
    """Return `body` behind a new root table, which adds `metadata` to what the old one refers to."""
    end = len(body)
    references = {field: root.target_of(field) for field in ModelField if field != ModelField.VERSION}
    fields: dict[int, object] = {
        field: Written(end - target) for field, target in references.items() if target
    }
    old_entries = metadata_entries(root)
    buffers: list[object] = [
        Written(end - buffer.position) for buffer in root.tables(ModelField.BUFFERS, "buffers")
    ]
    number = old_entries[0].number(EntryField.BUFFER, "I") if old_entries else 0
    number = number if 0 < number < len(buffers) else len(buffers)
    buffers[number : number + 1] = [{BufferField.DATA: metadata}]
    kept = [entry for entry in root.tables(ModelField.METADATA, "metadata") if entry not in old_entries]
    entries: list[object] = [Written(end - entry.position) for entry in kept]
    entries.append({EntryField.NAME: ENTRY_NAME, EntryField.BUFFER: UInt32(number)})
    fields[ModelField.VERSION] = UInt32(root.number(ModelField.VERSION, "I"))
    fields[ModelField.BUFFERS] = buffers
    fields[ModelField.METADATA] = entries
    return _model_flatbuffer(fields, body)


def _model_flatbuffer(fields: NewTable, body: bytes) -> bytes:
    """Return a model with this root table, whose other tables `body` holds already.

    A flatbuffer grows towards its front, and refers only to what lies behind: a builder that begins
    with `body` as its last bytes can refer to everything in it.
    """
    import flatbuffers

    builder = flatbuffers.Builder(0)
    builder.head = SPARE_BYTES
    builder.Bytes = bytearray(SPARE_BYTES) + body
    root = write_value(builder, fields)
    builder.Prep(ALIGNMENT, 16)  # for the bytes 0 to 16 of the layout in the module's docstring
    builder.PrependUint32(builder.Offset() + 16 - len(body))
    builder.PrependUint32(int.from_bytes(MARK, "little"))
    builder.Finish(root, MODEL_IDENTIFIER)
    return bytes(builder.Output())


def _metadata_flatbuffer(texts: tuple[str, str, str], mean: float, std: float) -> bytes:
    """Return the flatbuffer `ModelMetadata` of an image classifier."""
    import flatbuffers

    graph = {
        SubGraphMetadataField.INPUTS: [_image_metadata(mean, std)],
        SubGraphMetadataField.OUTPUTS: [_probabilities_metadata()],
    }
    metadata: NewTable = {
        **dict(zip(TEXTS, texts, strict=True)),
        ModelMetadataField.SUBGRAPHS: [graph],
        ModelMetadataField.MIN_PARSER_VERSION: "1.0.0",  # no newer fields are used
    }
    builder = flatbuffers.Builder(1024)
    builder.Finish(write_value(builder, metadata), METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _image_metadata(mean: float, std: float) -> NewTable:
    content = {UnionField.TYPE: UInt8(IMAGE), UnionField.VALUE: {ImageField.COLOR_SPACE: UInt8(RGB)}}
    scaling = {NormalizationField.MEAN: [mean], NormalizationField.STD: [std]}
    return {
        TensorMetadataField.NAME: "image",
        TensorMetadataField.DESCRIPTION: "RGB image, values 0 to 255.",
        TensorMetadataField.CONTENT: content,
        TensorMetadataField.PROCESS_UNITS: [
            {UnionField.TYPE: UInt8(NORMALIZATION), UnionField.VALUE: scaling}
        ],
        TensorMetadataField.STATS: {
            StatsField.MAX: [(255.0 - mean) / std],
            StatsField.MIN: [(0.0 - mean) / std],
        },
    }


def _probabilities_metadata() -> NewTable:
    labels_file = {
        FileField.NAME: LABELS_FILE,
        FileField.DESCRIPTION: "Names of the classes, one per line.",
        FileField.TYPE: UInt8(TENSOR_AXIS_LABELS),
    }
    return {
        TensorMetadataField.NAME: "probabilities",
        TensorMetadataField.DESCRIPTION: "Probability of each class.",
        TensorMetadataField.CONTENT: {UnionField.TYPE: UInt8(FEATURE), UnionField.VALUE: {}},
        TensorMetadataField.STATS: {StatsField.MAX: [1.0], StatsField.MIN: [0.0]},
        TensorMetadataField.ASSOCIATED_FILES: [labels_file],
    }


def _append_labels(model: bytes, lines: bytes) -> bytes:
    """Return the model with a zip archive behind it that holds `labels.txt`."""
    info = zipfile.ZipInfo(LABELS_FILE, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, 0o644 << 16
    stream = io.BytesIO(model)
    stream.seek(len(model))
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(info, lines, zipfile.ZIP_STORED)
    return stream.getvalue()
