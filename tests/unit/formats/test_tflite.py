"""Inspection of a `.tflite` file: what is found in it, and that damage is an ArtifactError."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import fake_artifacts
from tests.helpers.microcontroller import MODEL
from tledge.errors import ArtifactError
from tledge.formats import tflite
from tledge.formats.base import Port, Structure


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.tflite"


def inspected(path: Path, data: bytes) -> Structure:
    path.write_bytes(data)
    return tflite.inspect(path)


def test_float_model(path: Path) -> None:
    structure = inspected(path, fake_artifacts.tflite())
    side = fake_artifacts.SIZE
    assert structure.inputs == (Port("t0[1, 8, 8, 3]", "float32", (1, side, side, 3)),)
    assert structure.weights == {"float32": 3 * side * side * 3 * 4}
    assert (structure.activations, structure.operators) == (("float32",), ("FULLY_CONNECTED",))
    assert (structure.zeroed, structure.labels, structure.metadata) == ((), None, {})


def test_integer_model_has_scales(path: Path) -> None:
    structure = inspected(path, MODEL)
    assert structure.inputs[0].dtype == "uint8" and structure.inputs[0].scale > 0
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "QUANTIZE"} <= set(structure.operators)
    assert "int8" in structure.weights and "int8" in structure.activations


def test_kernel_of_zeros_is_named(path: Path) -> None:
    data = fake_artifacts.tflite()
    weights = fake_artifacts.weights().tobytes()
    assert inspected(path, data.replace(weights, bytes(len(weights)))).zeroed == ("t1[3, 192]",)


@pytest.mark.parametrize("size", [0, 40, 100, 300])
def test_truncated_file_is_refused(path: Path, size: int) -> None:
    with pytest.raises(ArtifactError, match=r"net\.tflite"):
        inspected(path, MODEL[:size])


def test_flipped_bytes_raise_nothing_but_artifact_errors(path: Path) -> None:
    """A damaged or malicious file must not end the process with another error."""
    data = fake_artifacts.tflite()
    start = data.index(fake_artifacts.weights().tobytes())
    places = [*range(0, start, 5), *range(start + 3 * 192 * 4, len(data), 5)]
    refused = 0
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 0xFF
        try:
            inspected(path, bytes(broken))
        except ArtifactError:
            refused += 1
    assert refused > len(places) // 10
