"""Channels of a small graph that differ a thousandfold, equalized."""

import numpy as np

from tests.helpers.fake_graphs import chain, linear, pictures, rescaled, thousandfold
from tledge.quantization.activation_statistics import TensorSelection, measure
from tledge.quantization.equalization import equalize, scaling_groups
from tledge.quantization.sensitivity import channel_spread
from tledge.quantization.tflite_graph import FloatGraph
from tledge.runtime.sessions import LiteRTSession


def test_groups_end_at_inputs_and_outputs() -> None:
    """The input and the softmax cannot be scaled; what `project` writes is averaged and read by `logits`."""
    groups = scaling_groups(FloatGraph(chain()))
    names = [(len(group.writers), len(group.readers)) for group in groups]
    assert names == [(1, 1)] * 3


def test_equalized_channels_are_alike_and_predictions_stay() -> None:
    model, images = rescaled(chain(), thousandfold()), pictures(40)
    graph = FloatGraph(model)
    tensor = linear(graph, "depthwise").output
    outputs = tuple(layer.output for layer in graph.linears)
    before = measure(model, images, TensorSelection(spread=outputs)).largest
    equalized = equalize(graph, before)
    after = measure(graph.pack(), images, TensorSelection(spread=outputs)).largest
    assert linear(graph, "depthwise").name in equalized
    assert channel_spread(after[tensor]) < channel_spread(before[tensor]) / 3
    predictions = [LiteRTSession(data, "chain").run(images) for data in (model, graph.pack())]
    assert np.allclose(*predictions, atol=1e-4)


def test_even_channels_are_left_alone() -> None:
    graph = FloatGraph(chain())
    even = {layer.output: np.ones(graph.bias(layer).shape, np.float32) for layer in graph.linears}
    for layer in graph.linears:
        graph.set_values(layer.weights, np.ones_like(graph.values(layer.weights)))
    packed = graph.pack()
    assert equalize(graph, even) == [] and graph.pack() == packed
