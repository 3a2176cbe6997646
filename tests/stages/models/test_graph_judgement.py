"""The list of operators that a graph of others may hold, beside TensorFlow's own registry of all of them."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import tensorflow_operators
from tledge.errors import RecipeError, RunError
from tledge.models import classifier, graph_judgement
from tledge.models.graph_operators import KINDS, OPERATORS, WORDS
from torture.inputs import hostile_graphs

REACHING_OUT = """
Abort AudioSummary CheckNumerics Copy CopyHost CustomAggregator DebugIdentity DebugIdentityV2 DebugIdentityV3
DebugNanCount DebugNumericSummary DecodeProtoV2 DestroyTemporaryVariable EagerPyFunc EncodeProto
FixedLengthRecordReader ImmutableConst LoadAndRemapMatrix LookupTableImport
MatchingFiles MergeV2Checkpoints MlirPassthroughOp PartitionedCall Print PrintV2 PyFunc PyFuncStateless
ReadFile ReaderRead Restore RestoreSlice RestoreV2 Save SaveSlices SaveV2 ShardedFilename
StatefulPartitionedCall
StatelessIf StatelessWhile SymbolicGradient TFRecordReader TensorArrayV3 VarHandleOp While WholeFileReader
WriteAudioSummary WriteFile WriteGraphSummary XlaCustomCall XlaCustomCallV2 XlaLaunch
"""
"""Operators that touch files, addresses, processes, Python or functions; some exist in some versions only."""


def graph_of(operator: str, **attributes: Any) -> Any:
    from tensorflow.core.framework.graph_pb2 import GraphDef

    graph = GraphDef()
    node = graph.node.add(name="node", op=operator)
    for name, value in attributes.items():
        node.attr[name].CopyFrom(value)
    return graph


def text_of(graph: Any) -> str:
    return base64.b64encode(zlib.compress(graph.SerializeToString())).decode()


def value(**fields: Any) -> Any:
    from tensorflow.core.framework.attr_value_pb2 import AttrValue

    return AttrValue(**fields)


def test_every_operator_outside_the_list_is_refused() -> None:
    registry = tensorflow_operators.registry()
    refused = [name for name in registry if graph_judgement.refusal(graph_of(name))]
    assert len(registry) > 1000 and set(registry) - set(refused) == set(OPERATORS) & set(registry)
    assert set(OPERATORS) <= set(registry)


def test_operators_that_reach_out_are_refused() -> None:
    """Named by hand, and those that the registry itself tells by state, text, functions and handles."""
    registry = tensorflow_operators.registry()
    named = [name for name in REACHING_OUT.split() if name in registry]
    told = [name for name, reasons in tensorflow_operators.reaching_out().items() if reasons]
    assert len(named) >= 40 and len(told) > 800
    for name in {*named, *told}:
        assert f"holds the operator {name}," in graph_judgement.refusal(graph_of(name)), name


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_of_the_list_is_arithmetic(name: str) -> None:
    """It keeps no state, takes and returns numbers, and has the attributes that the list gives it."""
    definition = tensorflow_operators.registry()[name]
    assert not tensorflow_operators.reasons(definition)
    attributes = {one.name: one for one in definition.attr}
    assert set(OPERATORS[name]) == set(attributes)
    for one in attributes.values():
        kind = one.type.partition("(")[0]
        expected = {"int": "i", "float": "f", "bool": "b", "string": "s"}.get(kind, kind)
        assert expected == KINDS[one.name] or (name, one.name) == ("IdentityN", "T")
        if one.type == "string":
            assert WORDS[one.name] & set(one.allowed_values.list.s), one.name


def test_attributes_that_are_not_expected_are_refused() -> None:
    from tensorflow.core.framework.types_pb2 import DT_FLOAT, DT_RESOURCE, DT_STRING

    good = {"T": value(type=DT_FLOAT)}
    assert graph_judgement.refusal(graph_of("Relu", **good)) == ""
    for name, bad in {
        "T": value(type=DT_STRING), "memory_region_name": value(s=b"/etc/passwd"), "_class": value(s=b"x"),
        "f": value(),
    }.items():  # fmt: skip
        assert f"an attribute {name} that" in graph_judgement.refusal(graph_of("Relu", **{**good, name: bad}))
    assert "attribute T " in graph_judgement.refusal(graph_of("Relu", T=value(type=DT_RESOURCE)))
    assert "attribute T " in graph_judgement.refusal(graph_of("Relu", T=value(i=1)))
    mode = {"mode": value(s=b"REFLECT")}
    assert graph_judgement.refusal(graph_of("MirrorPad", **good, **mode)) == ""
    mode = {"mode": value(s=b"/etc/passwd")}
    assert "attribute mode " in graph_judgement.refusal(graph_of("MirrorPad", **good, **mode))
    strides = value()
    strides.list.s.append(b"/etc/passwd")
    assert "attribute strides " in graph_judgement.refusal(graph_of("Conv2D", **good, strides=strides))


def test_devices_functions_and_names_are_refused() -> None:
    graph = graph_of("Relu")
    graph.node[0].device = "/job:worker/task:0"
    assert "to a device" in graph_judgement.refusal(graph)
    graph = graph_of("Relu")
    graph.library.function.add()
    assert "functions of its own" in graph_judgement.refusal(graph)
    assert "\x1b" not in graph_judgement.refusal(graph_of("\x1b[2JReadFile" * 20))
    assert len(graph_judgement.refusal(graph_of("x" * 10_000))) < 200


def test_constants_are_bounded() -> None:
    graph = graph_of("Const", dtype=value(type=1))
    tensor = graph.node[0].attr["value"].tensor
    tensor.dtype = 1
    tensor.float_val.append(0)
    for _ in range(2):
        tensor.tensor_shape.dim.add(size=2_000)
    assert graph_judgement.refusal(graph) == ""
    tensor.tensor_shape.dim.add(size=1_000)
    assert "constants of" in graph_judgement.refusal(graph)


def test_text_of_a_graph_is_bounded() -> None:
    assert graph_judgement.read_graph(text_of(graph_of("Relu"))).node[0].op == "Relu"
    packed = zlib.compress(bytes(graph_judgement.MAX_GRAPH + 1))
    for text, words in {
        base64.b64encode(packed).decode(): "unpacks to more than",
        base64.b64encode(b"no zlib").decode(): "does not unpack",
        base64.b64encode(zlib.compress(b"no graph")).decode(): "is damaged",
        "no base64!": "",
    }.items():
        with pytest.raises(RecipeError, match=f"{words}.*refused"):
            graph_judgement.read_graph(text)


@pytest.mark.parametrize(
    ("batch", "side", "fits"), [(None, 100, True), (None, 100_000, False), (64, 10_000, True)]
)
def test_tensors_are_bounded(batch: int | None, side: int, fits: bool) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as made:
        image = tf.compat.v1.placeholder(tf.float32, (batch, 3), "image")
        tf.fill((side, side), 1.0)
    if fits:
        graph_judgement.require_size(made, image)
    else:
        with pytest.raises(RecipeError, match=r"makes \(100000, 100000\) of an image"):
            graph_judgement.require_size(made, image)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("reads", "holds the operator ImmutableConst"),
        ("sends", "holds the operator DebugIdentity"),
        ("runs Python", "holds the operator PyFuncStateless"),
        ("unpacks", "unpacks to more than"),
    ],
)
def test_keras_file_with_such_a_graph_is_refused(harm: str, words: str, tmp_path: Path) -> None:
    """One sentence names the file and the operator, and nothing was read or written."""
    operators = {
        "reads": [hostile_graphs.reading(tmp_path / "secret")],
        "sends": [hostile_graphs.sending(f"file://{tmp_path}/stolen")],
        "runs Python": [hostile_graphs.running_python()],
        "unpacks": [],
    }[harm]
    is_bomb = harm == "unpacks"
    text = hostile_graphs.bomb_text(128 << 20) if is_bomb else hostile_graphs.graph_text(*operators)
    (tmp_path / "model.keras").write_bytes(hostile_graphs.keras_file(text))
    with pytest.raises(RunError, match=rf"model\.keras: the saved layer's graph {words}.*it is refused\.$"):
        classifier.load(tmp_path / "model.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_keras_file_with_a_harmless_graph_loads(tmp_path: Path) -> None:
    """So it is the operators that the files of the test before are refused for."""
    (tmp_path / "model.keras").write_bytes(hostile_graphs.keras_file(hostile_graphs.graph_text()))
    assert classifier.load(tmp_path / "model.keras").output_shape == (None, hostile_graphs.CLASSES)


def test_layer_that_memory_cannot_hold_is_refused(tmp_path: Path) -> None:
    text = hostile_graphs.graph_text()
    (tmp_path / "model.keras").write_bytes(hostile_graphs.keras_file(text, units=2_000_000_000))
    with pytest.raises(RunError, match=r"model\.keras: Keras does not load it"):
        classifier.load(tmp_path / "model.keras")
