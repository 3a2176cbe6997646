"""What a stored SavedModel may hold, judged before TensorFlow loads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import tensorflow_operators
from tledge.errors import ArtifactError, RecipeError
from tledge.models import saved_model_judgement


@pytest.fixture
def saved() -> Any:
    """A SavedModel of one function that is offered, and the two of the saver, which are not."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    made = SavedModel()
    graph = made.meta_graphs.add()
    add_function(graph, "call", "Conv2D", "ReadVariableOp", "Identity", "IdentityN")
    add_function(graph, "save", "SaveV2", "ShardedFilename")
    add_function(graph, "restore", "RestoreV2", "AssignVariableOp")
    for number, name in enumerate(("save", "restore")):
        call(graph.graph_def.node.add(name=f"saver_{number}"), name)
    graph.object_graph_def.concrete_functions["call"].SetInParent()
    graph.object_graph_def.nodes.add().user_object.SetInParent()
    graph.object_graph_def.nodes.add().function.concrete_functions.append("call")
    return made


def add_function(graph: Any, name: str, *operators: str) -> Any:
    function = graph.graph_def.library.function.add()
    function.signature.name = name
    for number, operator in enumerate(operators):
        function.node_def.add(name=f"node_{number}", op=operator)
    return function


def call(node: Any, name: str) -> None:
    node.op = "PartitionedCall"
    node.attr["f"].func.name = name
    node.attr["config_proto"].s = b"\x82\x01\x00"


def offered(saved: Any) -> Any:
    return saved.meta_graphs[0].graph_def.library.function[0]


def test_network_with_its_saver_passes(saved: Any) -> None:
    node = offered(saved).node_def[0]
    node.attr["padding"].s = b"SAME"
    node.attr["_class"].list.s.append(b"loc:@kernel")
    assert saved_model_judgement.refusal(saved) == ""


def test_operators_that_reach_out_are_refused(saved: Any) -> None:
    """Files, addresses, processes and Python, in the whole registry of TensorFlow."""
    node = offered(saved).node_def[0]
    exceptions = {
        *saved_model_judgement.CALLS,
        *saved_model_judgement.VARIABLES,
        *saved_model_judgement.TRAINING,
    }
    reaching = set(tensorflow_operators.reaching_out()) - exceptions
    assert len(reaching) > 800
    for operator in reaching:
        node.op = operator
        assert f"holds the operator {operator}," in saved_model_judgement.refusal(saved)


def test_exceptions_touch_weights_calls_and_chance_alone() -> None:
    reasons = tensorflow_operators.reaching_out()
    chance = {name for name in saved_model_judgement.TRAINING if name in reasons and "Random" not in name}
    assert chance == {"Einsum", "TruncatedNormal"}  # an equation, and chance
    assert set(saved_model_judgement.TRAINING) <= set(tensorflow_operators.registry())


@pytest.mark.parametrize("operator", sorted(saved_model_judgement.SAVER))
def test_what_is_offered_reads_no_file_of_weights(saved: Any, operator: str) -> None:
    graph = saved.meta_graphs[0]
    graph.graph_def.node.add(name="of the saver", op=operator)
    assert saved_model_judgement.refusal(saved) == ""
    call(offered(saved).node_def.add(name="indirect"), "helper")
    add_function(graph, "helper", operator)
    assert f"holds the operator {operator}," in saved_model_judgement.refusal(saved)


@pytest.mark.parametrize("kind", ["bare", "captured", "object", "concrete"])
def test_every_way_to_offer_the_saver_is_seen(saved: Any, kind: str) -> None:
    objects = saved.meta_graphs[0].object_graph_def
    if kind == "concrete":
        objects.concrete_functions["restore"].SetInParent()
    elif kind == "object":
        objects.nodes.add().function.concrete_functions.append("restore")
    elif kind == "bare":
        objects.nodes.add().bare_concrete_function.concrete_function_name = "restore"
    else:
        objects.nodes.add().captured_tensor.concrete_function = "restore"
    assert "holds the operator RestoreV2," in saved_model_judgement.refusal(saved)


def resource(graph: Any) -> None:
    graph.object_graph_def.nodes.add().resource.device = "CPU"


def asset(graph: Any) -> None:
    graph.asset_file_def.add(filename="../../x\x1b[2J")


def asset_object(graph: Any) -> None:
    graph.object_graph_def.nodes.add().asset.SetInParent()


def registered_class(graph: Any) -> None:
    graph.object_graph_def.nodes.add(registered_name="tf.StaticHashTable").user_object.SetInParent()


def registered_saver(graph: Any) -> None:
    graph.object_graph_def.nodes.add(registered_saver="tf.TPUEmbedding").user_object.SetInParent()


def first_version(graph: Any) -> None:
    graph.ClearField("object_graph_def")


def two_of_one_name(graph: Any) -> None:
    add_function(graph, "call", "Identity")


def missing_function(graph: Any) -> None:
    call(graph.graph_def.library.function[0].node_def.add(), "missing")


def text(graph: Any) -> None:
    graph.graph_def.library.function[0].node_def[0].attr["file"].s = b"/etc/passwd"


def texts(graph: Any) -> None:
    graph.graph_def.library.function[0].node_def[0].attr["padding"].list.s.extend([b"SAME", b"file://x"])


def function_of_arithmetic(graph: Any) -> None:
    graph.graph_def.library.function[0].node_def[0].attr["f"].func.name = "save"


def large_constant(graph: Any) -> None:
    node = graph.graph_def.library.function[0].node_def.add(op="Const")
    node.attr["value"].tensor.float_val.append(1)
    node.attr["value"].tensor.tensor_shape.dim.add(size=1 << 40)


def circle(graph: Any) -> None:
    call(graph.graph_def.library.function[0].node_def.add(), "helper")
    call(add_function(graph, "helper").node_def.add(), "call")


def too_many_calls(graph: Any) -> None:
    names = ["call", *(f"level_{number}" for number in range(30))]
    for caller, callee in zip(names[1:], names, strict=False):
        function = add_function(graph, caller)
        for number in range(2):
            call(function.node_def.add(name=str(number)), callee)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (resource, "an object of the kind resource"),
        (asset, r"brings the file ../../x\\x1b\[2J along"),
        (asset_object, "an object of the kind asset"),
        (registered_class, "an object of the class tf.StaticHashTable"),
        (registered_saver, "an object of the class tf.TPUEmbedding"),
        (first_version, "one of TensorFlow 1"),
        (two_of_one_name, "two functions of one name"),
        (missing_function, "calls a function missing"),
        (text, "Conv2D with an attribute file"),
        (texts, "Conv2D with an attribute padding"),
        (function_of_arithmetic, "Conv2D with an attribute f "),
        (large_constant, "Const with an attribute value"),
        (circle, "calls itself"),
        (too_many_calls, "grows to more than 2000000 operators"),
    ],
)
def test_what_loading_would_run_is_refused(saved: Any, change: Callable[[Any], None], reason: str) -> None:
    import re

    change(saved.meta_graphs[0])
    assert re.search(reason, saved_model_judgement.refusal(saved))


def test_two_graphs_are_refused(saved: Any) -> None:
    saved.meta_graphs.add()
    assert "one of TensorFlow 1" in saved_model_judgement.refusal(saved)


def test_own_artifact_brings_its_labels_and_decodes_photos(saved: Any, tmp_path: Path) -> None:
    offered(saved).node_def.add(op="DecodeJpeg").attr["dct_method"].s = b"INTEGER_ACCURATE"
    saved.meta_graphs[0].asset_file_def.add(filename="labels.txt")
    asset_object(saved.meta_graphs[0])
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    more, assets = saved_model_judgement.PHOTOS, ("labels.txt",)
    saved_model_judgement.require_data(tmp_path, ArtifactError, more=more, assets=assets)
    with pytest.raises(RecipeError, match=r"brings the file labels\.txt along; it is not loaded"):
        saved_model_judgement.require_data(tmp_path, RecipeError)


@pytest.mark.parametrize("place", ["saved_model.pb", "variables/variables.index"])
def test_pipe_in_a_saved_model_does_not_hang(saved: Any, tmp_path: Path, place: str) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    (tmp_path / place).unlink(missing_ok=True)
    os.mkfifo(tmp_path / place)
    with pytest.raises(RecipeError, match="is a pipe"):
        saved_model_judgement.require_data(tmp_path, RecipeError)


def test_damaged_saved_model_is_no_data(saved: Any, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString()[:-3])
    with pytest.raises(ValueError, match="cut or damaged"):
        saved_model_judgement.require_data(tmp_path, RecipeError)
