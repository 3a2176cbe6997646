"""Equalization: no other answers where it is exact, even channels, hands off what it cannot scale."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tledge.quantization.activation_statistics import TensorSelection, interpreter, measure
from tledge.quantization.equalization import equalize, scaling_groups
from tledge.quantization.tflite_graph import FloatGraph


def network(activation: str) -> Any:
    """Linear tensors that meet in an addition, an activation between two layers, one logit layer."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", name="first")(layers.Rescaling(1 / 127.5, -1)(inputs))
    y = layers.Conv2D(12, 1, name="expand")(x)
    y = layers.Activation(activation)(y)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y)
    y = layers.Activation(activation)(y)
    y = layers.Conv2D(8, 1, name="project")(y)
    x = layers.Conv2D(10, 1, name="last")(layers.Add()([x, y]))
    logits = layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x))
    net = keras.Model(inputs, layers.Softmax()(logits))
    for layer in net.layers:  # channels of very different size
        if layer.get_weights():
            kernel, bias = layer.get_weights()
            axis = 2 if layer.name == "depthwise" else kernel.ndim - 1
            shape = [-1 if number == axis else 1 for number in range(kernel.ndim)]
            spread = np.logspace(-1, 0.5, kernel.shape[axis]).astype(np.float32)
            layer.set_weights([kernel * spread.reshape(shape), bias + 0.1 * spread])
    return net


def flat(net: Any, tmp_path: Path) -> FloatGraph:
    from tledge.formats.keras_freezing import float_tflite

    net.save(tmp_path / "net.keras")
    return FloatGraph(float_tflite(tmp_path / "net.keras"))


def answers(graph: FloatGraph, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    made = interpreter(graph.pack())
    found = []
    for image in images:
        made.set_tensor(made.get_input_details()[0]["index"], image[None].astype(np.float32))
        made.invoke()
        found.append(made.get_tensor(made.get_output_details()[0]["index"])[0].copy())
    return np.array(found)


def spreads(graph: FloatGraph, images: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
    outputs = tuple(one.output for one in graph.linears)
    return dict(measure(graph.pack(), images, TensorSelection(spread=outputs)).largest)


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)


def test_exact_and_even(images: NDArray[np.uint8], tmp_path: Path) -> None:
    graph = flat(network("relu"), tmp_path)
    wanted, before = answers(graph, images), spreads(graph, images)
    done = equalize(graph, before)
    after = spreads(graph, images)
    assert np.allclose(answers(graph, images), wanted, atol=1e-5) and np.ptp(wanted, axis=0).max() > 1e-3
    assert len(done) == 5  # first and project share a stream; expand, depthwise and last have their own
    expand = next(one for one in graph.linears if "expand" in one.name)
    ratio = [float(one[expand.output].max() / one[expand.output].min()) for one in (before, after)]
    assert ratio[0] > 8 and ratio[1] == pytest.approx(1, rel=0.01)  # read by a depthwise layer alone
    for one in graph.linears[:-1]:
        assert after[one.output].max() <= before[one.output].max() * 1.01


def test_addition_scales_both_sides_alike(tmp_path: Path) -> None:
    graph = flat(network("relu"), tmp_path)
    found = next(one for one in scaling_groups(graph) if len(one.writers) == 2)
    kernels = sorted(graph.values(one.weights).shape for one in found.writers)
    assert kernels == [(8, 1, 1, 12), (8, 3, 3, 3)]  # project and first
    assert len(found.readers) == 2


def test_bounded_activation_is_kept_off(tmp_path: Path) -> None:
    """A sigmoid of half is not half a sigmoid."""
    graph = flat(network("sigmoid"), tmp_path)
    names = [one.name for stream in scaling_groups(graph) for one in stream.writers]
    assert not any("expand" in name or "depthwise" in name for name in names) and names


def test_probabilities_are_kept_off(tmp_path: Path) -> None:
    graph = flat(network("relu"), tmp_path)
    assert not any("logits" in one.name for stream in scaling_groups(graph) for one in stream.writers)


def test_relu6_is_cut_where_calibration_was(images: NDArray[np.uint8], tmp_path: Path) -> None:
    """The same answers on what was measured; a channel is never brought above 6."""
    graph = flat(network("relu6"), tmp_path)
    wanted, before = answers(graph, images), spreads(graph, images)
    assert equalize(graph, before)
    assert np.allclose(answers(graph, images), wanted, atol=1e-4)
