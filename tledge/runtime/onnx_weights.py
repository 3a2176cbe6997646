"""Refuse ONNX files whose tensors are in other files, before a library reads them.

A tensor may say that its values are in another file (`external_data`). ONNX Runtime opens that file, also
when it is given bytes: then a model of somebody else predicts with what stands in a file of the current
folder, or in this process' memory. tledge's own models never do that.

The file is judged by a walk over its protobuf fields, because a device has no `onnx`. What the walk cannot
follow is refused as well, so that no parser finds a tensor that the walk did not see.
"""

from __future__ import annotations

from collections.abc import Iterator

from tledge.errors import ArtifactError

MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto",
        22: "SparseTensorProto", 23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}  # fmt: skip
"""The fields, by number, through which each message of ONNX reaches tensors."""

EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""Fields of a TensorProto: where its values are in another file, and whether they are."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf; the others mark groups, which ONNX has none of."""

Field = tuple[int, int, int, int]
"""Number and wire type of a field, and where its content begins and ends; of a varint, 0 and its value."""


def refuse_external_data(model: bytes, name: str) -> None:
    """Raise ArtifactError where a tensor's values are in another file, or where the file is damaged.

    Args:
        model: The content of the `.onnx` file.
        name: Its name for error messages.

    Raises:
        ArtifactError: a tensor of the graph, of a subgraph, of an attribute or of a function is in another
            file, or the content is no ONNX file.
    """
    waiting = [("ModelProto", 0, len(model))]
    try:
        while waiting:
            message, start, end = waiting.pop()
            for number, wire_type, begins, ends in _fields(model, start, end):
                if message == "TensorProto" and _is_external(number, wire_type, ends):
                    raise ArtifactError(
                        f"{name}: weights of this model are in another file, which tledge does not open. "
                        "Save the model with its weights inside (onnx.save without save_as_external_data)."
                    )
                if wire_type == BYTES and (inner := MESSAGES[message].get(number)):
                    waiting.append((inner, begins, ends))
    except (ValueError, IndexError) as error:
        raise ArtifactError(f"{name}: not a readable ONNX file ({error}).") from error


def _is_external(number: int, wire_type: int, value: int) -> bool:
    """Tell whether a field of a TensorProto places its values elsewhere; 0 is the default, in this file."""
    return number == EXTERNAL_DATA or (number == DATA_LOCATION and (wire_type != VARINT or value != 0))


def _fields(model: bytes, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message between two positions; raise ValueError where it is damaged."""
    position = start
    while position < end:
        key, position = _varint(model, position)
        if key >> 32:  # a parser that keeps 32 bits of it would find another field
            raise ValueError(f"no field at byte {position}")
        number, wire_type = key >> 3, key & 7
        begins = position
        if wire_type == VARINT:
            value, position = _varint(model, position)
            field = (number, wire_type, 0, value)
        else:
            begins, position = _content(model, position, wire_type)
            field = (number, wire_type, begins, position)
        if position > end:
            raise ValueError(f"the field at byte {begins} is longer than what holds it")
        yield field


def _content(model: bytes, position: int, wire_type: int) -> tuple[int, int]:
    """Return where the content of a field begins and ends."""
    if wire_type == BYTES:
        length, position = _varint(model, position)
        return position, position + length
    if wire_type in (FIXED64, FIXED32):
        return position, position + (8 if wire_type == FIXED64 else 4)
    raise ValueError(f"no field at byte {position}")


def _varint(model: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, in 7 bits per byte, and the position behind it."""
    value = shift = 0
    while True:
        byte = model[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError(f"no number at byte {position}")
