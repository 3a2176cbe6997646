"""Statistics of a small graph's tensors, compared with those of all values at once."""

import numpy as np
import pytest

from tests.helpers.fake_graphs import CHANNELS, chain, linear, pictures
from tledge.errors import ConversionError
from tledge.quantization.activation_statistics import (
    TensorSelection,
    interpreter,
    mean_outputs,
    measure,
)
from tledge.quantization.tflite_graph import FloatGraph


@pytest.fixture(scope="module")
def graph() -> FloatGraph:
    return FloatGraph(chain())


def test_statistics_are_those_of_all_values(graph: FloatGraph) -> None:
    tensor, images = linear(graph, "project").output, pictures(7)
    runtime = interpreter(graph.pack())
    values = []
    for image in images:
        runtime.set_tensor(runtime.get_input_details()[0]["index"], image[None].astype(np.float32))
        runtime.invoke()
        values.append(runtime.get_tensor(tensor)[0])
    measured = measure(graph.pack(), images, TensorSelection((tensor,), (tensor,), (tensor,), (tensor,)))
    assert measured.images == 7
    assert measured.ranges[tensor] == (np.min(values), np.max(values))
    assert np.allclose(measured.means[tensor], np.mean(values, axis=0), atol=1e-4)
    assert np.array_equal(measured.largest[tensor], np.abs(values).max((0, 1, 2)))
    assert np.array_equal(measured.spans[tensor][:, 1], [image.max() for image in values])
    assert measured.largest[tensor].shape == (CHANNELS,)


def test_extremes_hold_the_whole_range(graph: FloatGraph) -> None:
    tensors, images = graph.activations, pictures(9)
    measured = measure(graph.pack(), images, TensorSelection(tensors))
    few = images[list(measured.extremes)]
    assert measure(graph.pack(), few, TensorSelection(tensors)).ranges == measured.ranges


def test_mean_outputs_are_by_name(graph: FloatGraph) -> None:
    layer, images = linear(graph, "first"), pictures(5)
    means = mean_outputs(graph.pack(), images, [layer.name, "no such tensor"])
    all_means = measure(graph.pack(), images, TensorSelection(averaged=(layer.output,))).means
    assert list(means) == [layer.name]
    assert np.allclose(means[layer.name], all_means[layer.output].mean((0, 1)), atol=1e-5)


def test_broken_weights_are_refused(graph: FloatGraph) -> None:
    broken = graph.copy()
    layer = linear(broken, "first")
    broken.set_values(layer.weights, np.full_like(broken.values(layer.weights), np.nan))
    with pytest.raises(ConversionError, match="hold NaN or infinity"):
        measure(broken.pack(), pictures(2), TensorSelection(broken.activations))
