"""Changing a `.tflite` graph: what no operator computes with can go."""

from copy import deepcopy

import numpy as np

from tests.helpers.fake_graphs import chain, pictures
from tledge.quantization.tflite_graph import FloatGraph
from tledge.runtime.sessions import LiteRTSession


def test_unused_tensors_are_dropped() -> None:
    """What no operator computes with goes, with what it holds; the answers stay to the bit."""
    plain = chain()
    graph = FloatGraph(plain)
    stray = deepcopy(graph.graph.tensors[graph.linears[0].weights])
    stray.name, stray.buffer = "stray", len(graph.model.buffers)
    held = deepcopy(graph.model.buffers[graph.graph.tensors[graph.linears[0].weights].buffer])
    held.data = held.data + np.uint8(1)
    graph.model.buffers.append(held)
    graph.graph.tensors.insert(1, stray)  # in front of others, whose numbers rise
    graph.graph.inputs = [one + (one >= 1) for one in graph.inputs]
    graph.graph.outputs = [int(one) + (int(one) >= 1) for one in graph.graph.outputs]
    for one in graph.graph.operators:
        one.inputs, one.outputs = (
            [int(number) + (int(number) >= 1) for number in port] for port in (one.inputs, one.outputs)
        )
    cluttered = graph.pack()
    assert b"stray" in cluttered
    graph = FloatGraph(cluttered)
    graph.drop_unused()
    tidy = graph.pack()
    assert b"stray" not in tidy and len(tidy) < len(cluttered) - len(held.data) // 2
    answers = [LiteRTSession(one, "chain").run(pictures(3)) for one in (plain, cluttered, tidy)]
    assert np.array_equal(answers[0], answers[1]) and np.array_equal(answers[0], answers[2])
