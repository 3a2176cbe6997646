"""Read and write flatbuffer tables by field number.

Reading is own code because generated readers follow every offset of a file that may be damaged or
malicious; this one checks each offset and names the wrong one. Writing is by field number because no
package ships generated code for the metadata schema, see `tledge.formats.tflite_fields`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tledge.errors import ArtifactError


def damaged(problem: str) -> ArtifactError:
    """Return the error for a TFLite file that is damaged in this way."""
    return ArtifactError(f"damaged TFLite file: {problem}")


def decode_utf8(raw: bytes, name: str) -> str:
    """Decode a text of the file; raise ArtifactError with the text's name where it is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged(f"{name} is not UTF-8: {error}") from error


@dataclass(frozen=True)
class Table:
    """A table to read: at byte `position` of `data`, `path` names it in messages.

    A table at position 0 is absent: all its fields are empty. A table begins with the distance back to
    its layout (int32), which lists for each field how many bytes after the table's beginning it lies
    (uint16, 0 where it is left out), after two sizes of 2 bytes. A text, vector or table that a field
    refers to lies as many bytes after the field as the field says (uint32).
    """

    data: bytes
    position: int
    path: str

    def read(self, code: str, position: int) -> Any:
        """Read one number, by its `struct` code; raise ArtifactError where it lies outside the data."""
        if not 0 <= position <= len(self.data) - struct.calcsize(f"<{code}"):
            raise damaged(f"{self.path} leads to byte {position}, outside its {len(self.data)} bytes")
        return struct.unpack_from(f"<{code}", self.data, position)[0]

    def position_of(self, field: int) -> int:
        """Return the position of a field's value, 0 where the table leaves it out."""
        layout = self.position - self.read("i", self.position) if self.position else 0
        if not self.position or 4 + 2 * field >= self.read("H", layout):
            return 0
        step = int(self.read("H", layout + 4 + 2 * field))
        return self.position + step if step else 0

    def target_of(self, field: int) -> int:
        """Return the position that a reference leads to, 0 where the table leaves it out."""
        position = self.position_of(field)
        return position + int(self.read("I", position)) if position else 0

    def number(self, field: int, code: str) -> int:
        """Return a number, by its `struct` code; 0 where the table leaves it out."""
        position = self.position_of(field)
        return int(self.read(code, position)) if position else 0

    def numbers(self, field: int, code: str) -> list[Any]:
        """Return a vector of 4-byte numbers, by their `struct` code."""
        start, count = self._vector(field, 4)
        return list(struct.unpack_from(f"<{count}{code}", self.data, start)) if count else []

    def raw(self, field: int) -> bytes:
        """Return a vector of bytes."""
        start, count = self._vector(field, 1)
        return self.data[start : start + count]

    def text(self, field: int) -> str:
        """Return a text, "" where the table leaves it out."""
        name = f"{self.path}, field {int(field)} at byte {self.target_of(field)},"
        return decode_utf8(self.raw(field), name)

    def table(self, field: int, name: str) -> Table:
        """Return a table, which is absent where this one leaves it out."""
        return Table(self.data, self.target_of(field), f"{self.path}.{name}")

    def tables(self, field: int, name: str) -> list[Table]:
        """Return a vector of tables."""
        start, _count = self._vector(field, 4)
        return [
            Table(self.data, start + 4 * number + step, f"{self.path}.{name}[{number}]")
            for number, step in enumerate(self.numbers(field, "I"))
        ]

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        """Return the position of a vector's first element, and the number of elements."""
        position = self.target_of(field)
        count = int(self.read("I", position)) if position else 0
        if count:
            self.read("B", position + 3 + count * width)  # the last byte
        return position + 4, count


ABSENT = Table(b"", 0, "")
"""A table that is not there."""


def root_table(data: bytes, identifier: bytes, name: str) -> Table:
    """Return the root table of a flatbuffer; raise ArtifactError where it has another identifier."""
    start, actual = int.from_bytes(data[:4], "little"), data[4:8]
    if actual != identifier or not start:
        raise ArtifactError(f"not a TFLite {name}: bytes 4 to 8 are {actual!r}, not {identifier!r}")
    return Table(data, start, name)


@dataclass(frozen=True)
class UInt8:
    """A value to write as one byte: an enum, or the type of a union."""

    value: int


@dataclass(frozen=True)
class UInt32:
    """A value to write as four bytes."""

    value: int


@dataclass(frozen=True)
class Written:
    """A text, vector or table that the buffer has already, by its distance from the buffer's end."""

    distance: int


NewTable = Mapping[int, object]
"""A table to write: values by field number.

A value is a UInt8 or UInt32, a Written, a str, bytes (a vector of bytes), a list of floats, another
NewTable, or a list of tables (NewTable or Written).
"""


def write_value(builder: Any, value: object) -> int:
    """Write a text, a vector or a table, and return its distance from the buffer's end."""
    if isinstance(value, Written):
        return value.distance
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, bytes):
        builder.Prep(16, len(value))  # schema.fbs: the data of a buffer is aligned to 16
        return int(builder.CreateByteVector(value))
    if isinstance(value, Mapping):
        return _write_table(builder, value)
    assert isinstance(value, Sequence), f"no flatbuffer value: {value!r}"
    return _write_vector(builder, value)


def _write_vector(builder: Any, values: Sequence[object]) -> int:
    is_floats = isinstance(values[0], float)
    items = values if is_floats else [write_value(builder, value) for value in values]
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):  # a flatbuffer grows towards its front
        (builder.PrependFloat32 if is_floats else builder.PrependUOffsetTRelative)(item)
    return int(builder.EndVector())


def _write_table(builder: Any, fields: NewTable) -> int:
    numbers = {field: value for field, value in fields.items() if isinstance(value, UInt8 | UInt32)}
    references = {
        field: write_value(builder, value) for field, value in fields.items() if field not in numbers
    }
    builder.StartObject(max(fields, default=-1) + 1)
    for field, distance in references.items():
        builder.PrependUOffsetTRelativeSlot(field, distance, 0)
    for field, number in numbers.items():
        is_byte = isinstance(number, UInt8)
        (builder.PrependUint8Slot if is_byte else builder.PrependUint32Slot)(field, number.value, 0)
    return int(builder.EndObject())
