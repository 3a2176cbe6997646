"""Parse `.tflite` files with LiteRT's own `flatbuffer_utils`, and name what the schema numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tledge.errors import ArtifactError, MissingError
from tledge.runtime.sessions import check_tflite


@contextmanager
def damage_explained(name: str) -> Iterator[None]:
    """Raise ArtifactError instead of what parsing a damaged file raises; `name` is the file's name.

    Generated readers follow wild offsets into struct, index and type errors.
    """
    try:
        yield
    except (ArtifactError, MissingError):
        raise
    except Exception as error:
        raise ArtifactError(f"{name}: truncated or damaged flatbuffer ({error!r}).") from error


def parse(data: bytes, name: str) -> Any:
    """Parse a `.tflite` file into the schema's `ModelT`, whose buffers refer to `data`.

    Args:
        data: the file's bytes.
        name: the file's name, for messages.

    Raises:
        ArtifactError: not TFLite, truncated or damaged.
        MissingError: LiteRT is not installed.
    """
    check_tflite(data, name)
    try:
        from ai_edge_litert.tools import flatbuffer_utils
    except ImportError as error:
        raise MissingError(f"LiteRT is not installed ({error}): pip install ai-edge-litert") from error
    with damage_explained(name):
        return flatbuffer_utils.convert_bytearray_to_object(data)


def dtype_name(tensor: Any) -> str:
    """Return a tensor's dtype as numpy spells it, such as "float32"."""
    from ai_edge_litert.tools import flatbuffer_utils

    return str(flatbuffer_utils.type_to_name(tensor.type)).lower()


def shape_of(tensor: Any) -> tuple[int, ...]:
    """Return a tensor's shape, () for a scalar."""
    return tuple(int(side) for side in tensor.shape) if tensor.shape is not None else ()


def operator_name(model: Any, operator: Any) -> str:
    """Return an operator's name in the schema, such as "CONV_2D", or its own where it is custom."""
    from ai_edge_litert.tools import flatbuffer_utils

    custom = model.operatorCodes[operator.opcodeIndex].customCode
    if custom:
        return str(custom.decode())
    name = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
    if name is None:
        raise ArtifactError(f"operator code {operator.opcodeIndex} is not in LiteRT's schema.")
    return str(name)
