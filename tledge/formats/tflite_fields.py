"""Field numbers of the tables in a `.tflite` file, as far as metadata needs them.

They are places in the tables of TensorFlow Lite's public schemas: `schema.fbs` for the model, and
`metadata_schema.fbs` for the metadata in it. `ai_edge_litert.schema_py_generated` has only the first. A
union takes two fields, its type and its value; types of a union are counted from 1, members of an enum
from 0.
"""

from __future__ import annotations

from enum import IntEnum


class ModelField(IntEnum):
    """`Model` of schema.fbs; all but the version are references."""

    VERSION = 0
    OPERATOR_CODES = 1
    SUBGRAPHS = 2
    DESCRIPTION = 3
    BUFFERS = 4
    METADATA_BUFFER = 5
    METADATA = 6
    SIGNATURE_DEFS = 7
    EXTERNAL_BUFFER_GROUPS = 8
    EXTERNAL_BUFFERS = 9


class SubGraphField(IntEnum):
    """`SubGraph` of schema.fbs."""

    TENSORS = 0
    INPUTS = 1
    OUTPUTS = 2


class TensorField(IntEnum):
    """`Tensor` of schema.fbs."""

    SHAPE = 0


class BufferField(IntEnum):
    """`Buffer` of schema.fbs; an offset above 1 says that the data lie behind the flatbuffer."""

    DATA = 0
    OFFSET = 1


class EntryField(IntEnum):
    """`Metadata` of schema.fbs: the name of an entry, and the number of the buffer that holds it."""

    NAME = 0
    BUFFER = 1


class ModelMetadataField(IntEnum):
    """`ModelMetadata` of metadata_schema.fbs."""

    NAME = 0
    DESCRIPTION = 1
    VERSION = 2
    SUBGRAPHS = 3
    ASSOCIATED_FILES = 6
    MIN_PARSER_VERSION = 7


class SubGraphMetadataField(IntEnum):
    """`SubGraphMetadata` of metadata_schema.fbs."""

    INPUTS = 2
    OUTPUTS = 3
    ASSOCIATED_FILES = 4


class TensorMetadataField(IntEnum):
    """`TensorMetadata` of metadata_schema.fbs."""

    NAME = 0
    DESCRIPTION = 1
    CONTENT = 3
    PROCESS_UNITS = 4
    STATS = 5
    ASSOCIATED_FILES = 6


class UnionField(IntEnum):
    """`Content` and `ProcessUnit` of metadata_schema.fbs, which hold nothing but a union."""

    TYPE = 0
    VALUE = 1


class ImageField(IntEnum):
    """`ImageProperties` of metadata_schema.fbs."""

    COLOR_SPACE = 0


class NormalizationField(IntEnum):
    """`NormalizationOptions` of metadata_schema.fbs."""

    MEAN = 0
    STD = 1


class StatsField(IntEnum):
    """`Stats` of metadata_schema.fbs."""

    MAX = 0
    MIN = 1


class FileField(IntEnum):
    """`AssociatedFile` of metadata_schema.fbs."""

    NAME = 0
    DESCRIPTION = 1
    TYPE = 2


CONTENT_TYPES = (None, "feature", "image", "bounding_box", "audio")
"""Names of the union `ContentProperties`, by type."""

FEATURE, IMAGE = 1, 2
"""Types of the union `ContentProperties`."""

NORMALIZATION = 1
"""Type of `NormalizationOptions` in the union `ProcessUnitOptions`."""

COLOR_SPACES = (None, "RGB", "grayscale")
"""Names of the enum `ColorSpaceType`."""

RGB = 1
"""Member of the enum `ColorSpaceType`."""

TENSOR_AXIS_LABELS = 2
"""Member of the enum `AssociatedFileType`."""
