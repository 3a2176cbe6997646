"""Repair candidates of a small graph, with a quantizer that only remembers its models."""

import numpy as np
import pytest

from tests.helpers.fake_graphs import chain, pictures
from tledge.quantization.activation_statistics import TensorSelection, measure
from tledge.quantization.repair_candidates import (
    INTEGER_PIPELINES,
    AdjustedGraphs,
    IntegerPipeline,
    RepairInputs,
    integer_candidates,
    with_bytes,
)
from tledge.quantization.tflite_graph import FloatGraph
from tledge.runtime.sessions import LiteRTSession


@pytest.fixture(scope="module")
def inputs() -> RepairInputs:
    """A float model, its statistics, and a quantizer that leaves models as they are."""
    model, images = chain(), pictures(40, 1)
    graph = FloatGraph(model)
    statistics = measure(model, images, TensorSelection(graph.activations, graph.linear_inputs))
    return RepairInputs(model, images, statistics, lambda float_model, _in_float: float_model)


@pytest.fixture(scope="module")
def in_order(inputs: RepairInputs) -> dict[str, bytes]:
    return {candidate.name: candidate.data for candidate in integer_candidates(inputs)}


def test_integer_candidates_are_all_different(in_order: dict[str, bytes]) -> None:
    assert next(iter(in_order)) == "as converted" and len(in_order) == len(INTEGER_PIPELINES) == 7
    assert len(set(in_order.values())) == 7


def test_candidates_do_not_depend_on_their_order(inputs: RepairInputs, in_order: dict[str, bytes]) -> None:
    graphs = AdjustedGraphs(inputs)
    backwards = [pipeline.run(graphs) for pipeline in reversed(INTEGER_PIPELINES)]
    assert {candidate.name: candidate.data for candidate in backwards} == in_order


@pytest.mark.parametrize("pipeline", INTEGER_PIPELINES, ids=lambda pipeline: str(pipeline.name))
def test_a_candidate_alone_is_the_same(
    pipeline: IntegerPipeline, inputs: RepairInputs, in_order: dict[str, bytes]
) -> None:
    assert pipeline.run(AdjustedGraphs(inputs)).data == in_order[pipeline.name]


def test_adjusted_graphs_are_computed_when_asked_for(inputs: RepairInputs) -> None:
    graphs = AdjustedGraphs(inputs)
    INTEGER_PIPELINES[0].run(graphs)
    assert "equalized" not in vars(graphs) and "bias_corrected" not in vars(graphs)


def test_byte_input_gives_the_same_predictions() -> None:
    images = pictures(3)
    predictions = [LiteRTSession(model, "chain").run(images) for model in (chain(), with_bytes(chain()))]
    assert np.array_equal(*predictions)
