"""What calibration measures in the float graph, against a slow twin and the converter itself."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.fake_models import images
from tests.helpers.float_graphs import run
from tledge._process import processors
from tledge.errors import ConversionError
from tledge.quantization.activation_statistics import TensorSelection, measure
from tledge.quantization.tflite_graph import FloatGraph


def test_float_graph_is_converted_once(flat: bytes, saved: Path) -> None:
    """Other modes in between do not make int8 convert again."""
    from tledge.formats.keras_freezing import float_tflite

    modes = [float_tflite(saved, mode) for mode in ("fp16", "dynamic", "fp32")]
    assert modes[2] is flat and modes[0] != modes[1]


def test_byte_input_gives_the_same(flat: bytes) -> None:
    graph = FloatGraph(flat)
    graph.take_bytes()
    wanted, found = run(flat, images(4)), run(graph.pack(), images(4))
    assert np.array_equal(wanted, found) and np.ptp(wanted, axis=0).max() > 1e-3


def test_measured_equals_one_by_one(flat: bytes) -> None:
    graph, batch = FloatGraph(flat), images(9)
    averaged = tuple({one.input for one in graph.linears})
    found = measure(flat, batch, TensorSelection(graph.activations, averaged))
    for tensor in graph.activations:
        values = run(flat, batch, tensor)
        assert found.ranges[tensor] == (values.min(), values.max())
        assert values.min() == values[list(found.extremes)].min()
        assert values.max() == values[list(found.extremes)].max()
        if tensor in averaged:
            assert np.allclose(found.means[tensor], values.mean(0), atol=1e-5)
    assert len(graph.linears) == 12 and len(found.means) > 5


def test_measured_alike_on_any_number_of_cores(flat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    averaged = tuple({one.input for one in FloatGraph(flat).linears})
    found = []
    for cores in (1, 3):
        monkeypatch.setenv(processors.VARIABLE, str(cores))
        found.append(measure(flat, images(7), TensorSelection(averaged=averaged)).means)
    assert all(np.array_equal(found[0][one], found[1][one]) for one in averaged)


def test_ranges_are_those_of_the_converters_own(flat: bytes) -> None:
    """TensorFlow's calibrator mixes up tensors that it computes in one place; there ours are within its."""
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    batch, graph = images(12), FloatGraph(flat)
    ours = measure(flat, batch, TensorSelection(graph.activations)).ranges
    theirs = FloatGraph(Calibrator(flat).calibrate(lambda: ([one[None].astype(np.float32)] for one in batch)))
    equal = 0
    for tensor, (low, high) in ours.items():
        found = theirs.graph.tensors[tensor].quantization
        slack = 1e-5 * (high - low)
        assert found.min[0] <= low + slack and found.max[0] >= high - slack
        equal += abs(found.min[0] - low) <= slack and abs(found.max[0] - high) <= slack
    assert len(ours) - 2 <= equal and len(ours) > 12


def test_quantized_graph_answers_alike(flat: bytes) -> None:
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    batch, graph = images(12), FloatGraph(flat)
    graph.set_ranges(measure(flat, batch, TensorSelection(graph.activations)).ranges)
    made = bytes(mlir_quantize(graph.pack(), input_data_type=tf.uint8, output_data_type=tf.uint8))
    wanted, found = run(flat, batch), run(made, batch) / 256
    assert abs(found - wanted).max() < 0.04 < np.ptp(wanted, axis=0).max()


def test_not_a_number_is_refused(flat: bytes) -> None:
    graph = FloatGraph(flat)
    broken = graph.values(graph.linears[0].weights)
    broken[0] = np.nan
    graph.set_values(graph.linears[0].weights, broken)
    with pytest.raises(ConversionError, match="NaN or infinity"):
        measure(graph.pack(), images(2), TensorSelection(graph.activations))
