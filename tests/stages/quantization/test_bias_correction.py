"""Bias correction of a trained network, layer by layer."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.helpers.fake_models import SMALL, images
from tests.helpers.float_graphs import run
from tledge.quantization.activation_statistics import TensorSelection, measure
from tledge.quantization.bias_correction import correct_biases, mean_shift, round_weights
from tledge.quantization.tflite_graph import FloatGraph, Linear


def test_correction_undoes_the_shift(flat: bytes) -> None:
    """An independent look: round one kernel for real and compare the layer's channel means."""
    batch = images(32) // 8 + 220  # bright: rounding shifts a mean only where the mean is not 0
    graph = FloatGraph(flat)
    means = measure(flat, batch, TensorSelection(averaged=tuple({one.input for one in graph.linears}))).means
    linear = graph.linears[2]
    kernel = graph.values(linear.weights)
    error = round_weights(kernel, linear.channel_axis) - kernel
    graph.set_values(linear.weights, kernel + error)
    rounded = graph.pack()
    graph.set_bias(linear, graph.bias(linear) - mean_shift(linear, error, means[linear.input]))
    wanted, before, after = (before_activation(data, batch, linear) for data in (flat, rounded, graph.pack()))
    assert abs(before - wanted).max() > 1e-4
    assert abs(after - wanted).max() < abs(before - wanted).max() / 20


def before_activation(data: bytes, batch: NDArray[Any], linear: Linear) -> NDArray[Any]:
    """Channel means of a layer's outputs with its fused activation taken off."""
    graph = FloatGraph(data)
    for operator in graph.graph.operators:
        if int(operator.outputs[0]) == linear.output:
            operator.builtinOptions.fusedActivationFunction = 0
    return run(graph.pack(), batch, linear.output).mean((0, 1, 2))


def test_every_layer_is_corrected_alone(flat: bytes) -> None:
    """Layers that share a bias tensor get one each, and the graph still runs."""
    graph = FloatGraph(flat)
    biases = {id(one): int(one.inputs[2]) for one in graph.graph.operators if len(one.inputs) > 2}
    first = {graph.values(bias).shape: bias for bias in reversed(biases.values()) if bias >= 0}
    for operator in graph.graph.operators:  # plant: one tensor for all layers of a width
        if biases.get(id(operator), -1) >= 0:
            shared = first[graph.values(operator.inputs[2]).shape]
            operator.inputs = [*operator.inputs[:2], shared]
    assert len({one.bias for one in graph.linears}) < len(graph.linears) - 2
    means = measure(
        graph.pack(), images(8), TensorSelection(averaged=tuple({one.input for one in graph.linears}))
    ).means
    before = {one.name: graph.bias(one) for one in graph.linears}
    done = correct_biases(graph, means)
    changes = {one.name: abs(graph.bias(one) - before[one.name]).max() for one in graph.linears}
    assert [one.layer for one in done] == list(changes) and len(changes) == 12
    assert all(np.isclose(changes[one.layer], one.largest, atol=1e-5) for one in done)
    assert np.isfinite(run(graph.pack(), images(2))).all()


def test_pair_is_rounded_without_loss(tmp_path: Path) -> None:
    """int8 holds the fixed layer of a binary head, -.5 and .5, exactly: nothing to correct there."""
    from dataclasses import replace

    from tledge.formats.keras_freezing import float_tflite
    from tledge.models import classifier

    net = classifier.build(replace(SMALL, loss="binary"), 2)
    classifier.save(net, tmp_path / "pair.keras")
    graph = FloatGraph(float_tflite(tmp_path / "pair.keras"))
    last = graph.linears[-1]
    kernel = graph.values(last.weights)
    assert kernel.size == 2 and np.array_equal(round_weights(kernel, last.channel_axis), kernel)
