"""The float graph, what calibration measures in it, and bias correction, each against a slow twin."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.fake_models import SMALL, calibrate, images, small_net
from numpy.typing import NDArray

from tledge.calibration import Wanted, measure
from tledge.errors import ConversionError
from tledge.float_graph import FloatGraph, Linear
from tledge.quantization import correct_biases, mean_patch, round_weights, shift


def test_rounding_matches_worked_example() -> None:
    kernel = np.array([[1.27, 0.004], [-0.006, -2.54]], np.float32)
    wanted = np.array([[1.27, 0.0], [-0.01, -2.54]], np.float32)
    assert np.allclose(round_weights(kernel, 1), wanted, atol=1e-6)
    assert np.array_equal(round_weights(np.zeros((2, 2), np.float32), 0), np.zeros((2, 2)))


def convolution(kind: str, stride: int, dilation: int, same: bool) -> Linear:
    return Linear("one", kind, 0, 1, 2, 3, (stride, stride), (dilation, dilation), same)


def slow_patch(linear: Linear, taps: int, mean: NDArray[Any]) -> NDArray[Any]:
    """What each tap sees, position by position, on an image padded by hand."""
    (stride, _), (dilation, _), size = linear.strides, linear.dilations, mean.shape[0]
    span = (taps - 1) * dilation + 1
    count = -(-size // stride) if linear.same_padding else (size - span) // stride + 1
    pad = max(0, (count - 1) * stride + span - size) if linear.same_padding else 0
    padded = np.pad(mean, ((pad // 2, pad - pad // 2), (pad // 2, pad - pad // 2), (0, 0)))
    seen = np.zeros((taps, taps, mean.shape[2]))
    for row in range(count):
        for column in range(count):
            window = padded[row * stride :, column * stride :][:span:dilation, :span:dilation]
            seen += window / count**2
    return seen


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(
    ("size", "taps", "stride", "dilation"),
    [(7, 3, 1, 1), (8, 3, 2, 1), (9, 5, 2, 1), (9, 3, 1, 2), (6, 1, 2, 1)],
)
def test_mean_patch_of_every_geometry(size: int, taps: int, stride: int, dilation: int, same: bool) -> None:
    mean = np.random.default_rng(0).normal(3, 1, (size, size, 2)).astype(np.float32)
    linear = convolution("CONV_2D", stride, dilation, same)
    found = mean_patch(linear, (taps, taps), mean)
    assert np.allclose(found, slow_patch(linear, taps, mean))


def test_shift_of_grouped_and_depthwise_kernels() -> None:
    """A depthwise kernel is a grouped one; a group sees only its channels."""
    rng = np.random.default_rng(1)
    mean = rng.normal(2, 1, (5, 5, 4)).astype(np.float32)
    depthwise = rng.normal(size=(1, 3, 3, 4)).astype(np.float32)
    grouped = depthwise[0].transpose(2, 0, 1)[..., None]
    one = shift(convolution("DEPTHWISE_CONV_2D", 1, 1, True), depthwise, mean)
    other = shift(convolution("CONV_2D", 1, 1, True), grouped, mean)
    assert np.allclose(one, other, atol=1e-5) and np.ptp(one) > 0.1


# On a converted network


@pytest.mark.slow
def test_float_graph_is_converted_once(flat: bytes, saved: Path) -> None:
    """Other modes in between do not make int8 convert again."""
    from tledge.formats.frozen import float_tflite

    modes = [float_tflite(saved, mode) for mode in ("fp16", "dynamic", "fp32")]
    assert modes[2] is flat and modes[0] != modes[1]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network, its statistics fitted so that answers differ."""
    from tledge import model

    net = small_net()
    calibrate(net, images(16).astype(np.float32))
    path = tmp_path_factory.mktemp("flat") / "net.keras"
    model.save(net, path)
    return path


@pytest.fixture(scope="module")
def flat(saved: Path) -> bytes:
    """The same as float `.tflite`."""
    from tledge.formats.frozen import float_tflite

    return float_tflite(saved)


def run(data: bytes, batch: NDArray[Any], tensor: int | None = None) -> NDArray[Any]:
    """Outputs (or another tensor) of every image, by LiteRT's builtin kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = Interpreter(
        model_content=data, experimental_op_resolver_type=resolver, experimental_preserve_all_tensors=True
    )
    made.allocate_tensors()
    entry, out = made.get_input_details()[0], made.get_output_details()[0]["index"]
    found = []
    for image in batch:
        made.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
        made.invoke()
        found.append(made.get_tensor(out if tensor is None else tensor)[0].copy())
    return np.array(found)


@pytest.mark.slow
def test_byte_input_gives_the_same(flat: bytes) -> None:
    graph = FloatGraph(flat)
    graph.take_bytes()
    wanted, found = run(flat, images(4)), run(graph.pack(), images(4))
    assert np.array_equal(wanted, found) and np.ptp(wanted, axis=0).max() > 1e-3


@pytest.mark.slow
def test_measured_equals_one_by_one(flat: bytes) -> None:
    graph, batch = FloatGraph(flat), images(9)
    averaged = tuple({one.input for one in graph.linears})
    found = measure(flat, batch, Wanted(graph.activations, averaged))
    for tensor in graph.activations:
        values = run(flat, batch, tensor)
        assert found.ranges[tensor] == (values.min(), values.max())
        assert values.min() == values[list(found.extremes)].min()
        assert values.max() == values[list(found.extremes)].max()
        if tensor in averaged:
            assert np.allclose(found.means[tensor], values.mean(0), atol=1e-5)
    assert len(graph.linears) == 12 and len(found.means) > 5


@pytest.mark.slow
def test_measured_alike_on_any_number_of_cores(flat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    averaged = tuple({one.input for one in FloatGraph(flat).linears})
    found = []
    for cores in (1, 3):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        found.append(measure(flat, images(7), Wanted(averaged=averaged)).means)
    assert all(np.array_equal(found[0][one], found[1][one]) for one in averaged)


@pytest.mark.slow
def test_correction_undoes_the_shift(flat: bytes) -> None:
    """An independent look: round one kernel for real and compare the layer's channel means."""
    batch = images(32) // 8 + 220  # bright: rounding shifts a mean only where the mean is not 0
    graph = FloatGraph(flat)
    means = measure(flat, batch, Wanted(averaged=tuple({one.input for one in graph.linears}))).means
    linear = graph.linears[2]
    kernel = graph.values(linear.weights)
    error = round_weights(kernel, linear.channel_axis) - kernel
    graph.set_values(linear.weights, kernel + error)
    rounded = graph.pack()
    graph.set_bias(linear, graph.bias(linear) - shift(linear, error, means[linear.input]))
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


@pytest.mark.slow
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
        graph.pack(), images(8), Wanted(averaged=tuple({one.input for one in graph.linears}))
    ).means
    before = {one.name: graph.bias(one) for one in graph.linears}
    done = correct_biases(graph, means)
    changes = {one.name: abs(graph.bias(one) - before[one.name]).max() for one in graph.linears}
    assert [one.layer for one in done] == list(changes) and len(changes) == 12
    assert all(np.isclose(changes[one.layer], one.largest, atol=1e-5) for one in done)
    assert np.isfinite(run(graph.pack(), images(2))).all()


@pytest.mark.slow
def test_ranges_are_those_of_the_converters_own(flat: bytes) -> None:
    """TensorFlow's calibrator mixes up tensors that it computes in one place; there ours are within its."""
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    batch, graph = images(12), FloatGraph(flat)
    ours = measure(flat, batch, Wanted(graph.activations)).ranges
    theirs = FloatGraph(Calibrator(flat).calibrate(lambda: ([one[None].astype(np.float32)] for one in batch)))
    equal = 0
    for tensor, (low, high) in ours.items():
        found = theirs.graph.tensors[tensor].quantization
        slack = 1e-5 * (high - low)
        assert found.min[0] <= low + slack and found.max[0] >= high - slack
        equal += abs(found.min[0] - low) <= slack and abs(found.max[0] - high) <= slack
    assert len(ours) - 2 <= equal and len(ours) > 12


@pytest.mark.slow
def test_quantized_graph_answers_alike(flat: bytes) -> None:
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    batch, graph = images(12), FloatGraph(flat)
    graph.set_ranges(measure(flat, batch, Wanted(graph.activations)).ranges)
    made = bytes(mlir_quantize(graph.pack(), input_data_type=tf.uint8, output_data_type=tf.uint8))
    wanted, found = run(flat, batch), run(made, batch) / 256
    assert abs(found - wanted).max() < 0.04 < np.ptp(wanted, axis=0).max()


@pytest.mark.slow
def test_not_a_number_is_refused(flat: bytes) -> None:
    graph = FloatGraph(flat)
    broken = graph.values(graph.linears[0].weights)
    broken[0] = np.nan
    graph.set_values(graph.linears[0].weights, broken)
    with pytest.raises(ConversionError, match="NaN or infinity"):
        measure(graph.pack(), images(2), Wanted(graph.activations))


@pytest.mark.slow
def test_pair_is_rounded_without_loss(tmp_path: Path) -> None:
    """int8 holds the fixed layer of a binary head, -.5 and .5, exactly: nothing to correct there."""
    from dataclasses import replace

    from tledge import model
    from tledge.formats.frozen import float_tflite

    net = model.build(replace(SMALL, loss="binary"), 2)
    model.save(net, tmp_path / "pair.keras")
    graph = FloatGraph(float_tflite(tmp_path / "pair.keras"))
    last = graph.linears[-1]
    kernel = graph.values(last.weights)
    assert kernel.size == 2 and np.array_equal(round_weights(kernel, last.channel_axis), kernel)
