"""A model file that is read once, so that the bytes that were checked are the bytes that are opened."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tledge._io import file_guard
from tledge.errors import ArtifactError


@dataclass(frozen=True)
class ModelFile:
    """The content of a `.tflite` or `.onnx` file.

    A file on disk can be exchanged between two reads. Whoever hashes, inspects or tries a model and
    opens it afterwards reads it once with `read_model` and passes this value on.

    Attributes:
        name: The file's name for error messages; its suffix selects the runtime.
        content: The bytes of the file.
    """

    name: str
    content: bytes

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the content in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()


MAX_BYTES = (1 << 31) - 1
"""Bytes of a model file: the formats of TFLite (FlatBuffers) and ONNX (Protocol Buffers) hold no more."""

ModelSource = Path | ModelFile
"""A path that is still to be read, or a file that was read already."""


def read_model(source: ModelSource) -> ModelFile:
    """Read the file at a path; return a file that was read already as it is.

    Raises:
        ArtifactError: it is no regular file, or larger than a model can be.
        OSError: the file cannot be read.
    """
    if isinstance(source, ModelFile):
        return source
    return ModelFile(
        source.name, file_guard.read_bytes(source, follow=True, limit=MAX_BYTES, error=ArtifactError)
    )
