"""ONNX files whose weights are in other files: refused by a walk that sees every place of a tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tledge.errors import ArtifactError
from tledge.formats import onnx as onnx_format
from tledge.runtime.model_file import ModelFile
from tledge.runtime.onnx_weights import MESSAGES, refuse_external_data
from tledge.runtime.sessions import OnnxSession
from torture.inputs import onnx_external

library = pytest.importorskip("onnx")


def test_walk_knows_every_place_of_a_tensor() -> None:
    """A newer ONNX may gain a field that holds tensors: this names it."""
    reached, waiting = {}, [library.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.name not in reached:
            reached[message.name] = {field.number: field.message_type for field in message.fields}
            waiting += [inner for inner in reached[message.name].values() if inner is not None]

    def holds_tensors(message: Any, above: tuple[str, ...] = ()) -> bool:
        if message is None or message.name in above:
            return False
        inside = message.fields_by_name.values()
        return message.name == "TensorProto" or any(
            holds_tensors(field.message_type, (*above, message.name)) for field in inside
        )

    expected = {
        name: {number: inner.name for number, inner in fields.items() if holds_tensors(inner)}
        for name, fields in reached.items()
    }
    assert {name: fields for name, fields in expected.items() if fields or name == "TensorProto"} == MESSAGES


def test_field_numbers_are_those_of_onnx() -> None:
    fields = library.TensorProto.DESCRIPTOR.fields_by_name
    assert (fields["external_data"].number, fields["data_location"].number) == (13, 14)


@pytest.mark.parametrize("place", sorted(onnx_external.PLACES))
def test_weights_elsewhere_are_refused(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file that they name is there, below the current folder."""
    models, secret = onnx_external.external_models(fake_artifacts.onnx())
    (tmp_path / onnx_external.SECRET).write_bytes(secret)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match=r"m\.onnx: weights of this model are in another file"):
        OnnxSession(models[place], "m.onnx")
    with pytest.raises(ArtifactError, match=r"m\.onnx: weights of this model are in another file"):
        onnx_format.inspect(ModelFile("m.onnx", models[place]))


def test_weights_inside_are_taken() -> None:
    refuse_external_data(fake_artifacts.onnx(), "m.onnx")
    assert OnnxSession(fake_artifacts.onnx(), "m.onnx").run(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 3)


def test_parts_of_one_tensor_are_one() -> None:
    """Protobuf joins what a file gives twice: weights inside, and elsewhere that they are not."""
    tensor = library.TensorProto(data_location=library.TensorProto.EXTERNAL)
    attribute = library.AttributeProto(name="value", type=library.AttributeProto.TENSOR)
    twice = attribute.SerializeToString() + library.AttributeProto(t=tensor).SerializeToString()
    node = library.NodeProto(op_type="Constant").SerializeToString() + b"\x2a" + bytes([len(twice)]) + twice
    graph = b"\x0a" + bytes([len(node)]) + node
    with pytest.raises(ArtifactError, match="in another file"):
        refuse_external_data(b"\x3a" + bytes([len(graph)]) + graph, "m.onnx")


def in_tensor(content: bytes) -> bytes:
    """A model with one tensor of these bytes."""
    graph = b"\x2a" + bytes([len(content)]) + content
    return b"\x3a" + bytes([len(graph)]) + graph


@pytest.mark.parametrize(
    "content", [b"\x70\x01", b"\xf0\x00\x01", b"\x70\x80\x01", b"\x72\x01\x01", b"\x6a\x00"]
)
def test_no_spelling_of_the_field_passes(content: bytes) -> None:
    """Longer numbers than needed, another wire type, an entry without content."""
    with pytest.raises(ArtifactError, match="in another file"):
        refuse_external_data(in_tensor(content), "m.onnx")


def test_default_location_passes() -> None:
    refuse_external_data(in_tensor(b"\x70\x00"), "m.onnx")


@pytest.mark.parametrize(
    "content",
    [
        b"\x73\x70\x01\x74",  # a group
        b"\xf0\x80\x80\x80\x10\x01",  # a key of more than 32 bits, of which a parser may keep 32
        b"\x4a\x7f",  # longer than what holds it
        b"\x08" + b"\xff" * 11,  # a number of more than 64 bits
        b"\x08",  # cut
    ],
)
def test_what_cannot_be_followed_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="not a readable ONNX file"):
        refuse_external_data(in_tensor(content), "m.onnx")


def test_deep_graphs_end() -> None:
    """Graphs within graphs, deeper than Python's stack; the whole walk is linear."""
    graph = b""
    for _ in range(3000):
        for key in (b"\x32", b"\x2a", b"\x0a"):  # the graph of an attribute of a node of a graph
            graph = key + _length(graph) + graph
    refuse_external_data(b"\x3a" + _length(graph) + graph, "m.onnx")


def _length(content: bytes) -> bytes:
    number, out = len(content), bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def test_runtime_takes_no_other_format() -> None:
    session = OnnxSession(fake_artifacts.onnx(), "m.onnx")._session
    assert session.get_session_options().get_session_config_entry("session.load_model_format") == "ONNX"
