"""Field numbers beside the generated code of the model's schema."""

from __future__ import annotations

import inspect
import re
from enum import IntEnum

import pytest

from tledge.formats import tflite_fields
from tledge.formats.tflite_fields import BufferField, EntryField, ModelField, SubGraphField, TensorField

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


@pytest.mark.parametrize(
    ("fields", "table"),
    [
        (ModelField, "Model"),
        (SubGraphField, "SubGraph"),
        (TensorField, "Tensor"),
        (BufferField, "Buffer"),
        (EntryField, "Metadata"),
    ],
)
def test_numbers_are_those_of_the_schema(fields: type[IntEnum], table: str) -> None:
    """Generated code adds each field by its number: `builder.PrependUint32Slot(0, version, 0)`."""
    for field in fields:
        name = "".join(part.capitalize() for part in field.name.split("_"))
        source = inspect.getsource(getattr(schema, f"{table}Add{name}"))
        numbers = re.findall(r"Slot\((\d+),", source)
        assert numbers == [str(int(field))], (table, name)


def test_all_fields_of_a_model_are_known() -> None:
    """A root table is written anew: a field that is not known here would be lost."""
    count = re.findall(r"StartObject\((\d+)\)", inspect.getsource(schema.ModelStart))
    assert count == [str(len(ModelField))]


def test_union_types_count_from_one() -> None:
    assert tflite_fields.CONTENT_TYPES[tflite_fields.IMAGE] == "image"
    assert tflite_fields.CONTENT_TYPES[tflite_fields.FEATURE] == "feature"
    assert tflite_fields.COLOR_SPACES[tflite_fields.RGB] == "RGB"
