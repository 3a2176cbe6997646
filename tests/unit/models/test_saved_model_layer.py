"""Names and order of nodes of a SavedModel."""

from types import SimpleNamespace

from tledge.models import saved_model_layer


def test_weight_names_are_plain_and_unique() -> None:
    found = saved_model_layer._weight_names(
        ["Conv1/kernel:0", "Conv1/kernel:0", "bn.x/γ:0", ":0", "Conv1/kernel_2"]
    )
    assert found == ["Conv1_kernel", "Conv1_kernel_2", "bn_x_γ", "weight", "Conv1_kernel_2_2"]


def test_nodes_come_behind_what_they_need() -> None:
    needs = {"out": ["sum:1", "^check"], "sum": ["b", "a", "a:1"], "a": [], "b": ["a"], "check": [], "c": []}
    nodes = {name: SimpleNamespace(input=given) for name, given in needs.items()}
    assert saved_model_layer._in_order(nodes, "out") == ["a", "b", "sum", "out"]
