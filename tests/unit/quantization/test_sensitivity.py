"""What 8 bits cost a layer: noise against worked examples, and planted layers that must come out first."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.fake_graphs import chain, linear, outlier, pictures, rescaled, thousandfold
from tledge.errors import DataError
from tledge.quantization import range_rules
from tledge.quantization.activation_statistics import TensorSelection, measure
from tledge.quantization.sensitivity import (  # fmt: skip
    CORRECTED,
    EVERYWHERE,
    OUTPUT,
    ROUNDED,
    Cost,
    Layer,
    Sensitivity,
    channel_spread,
    decibels,
    measure_sensitivity,
    short_names,
    weight_noise,
)
from tledge.quantization.tflite_graph import FloatGraph
from tledge.runtime.sessions import LiteRTSession


def answers(model: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return LiteRTSession(model, "chain").run(images)


@pytest.fixture(scope="module")
def model() -> bytes:
    return chain()


@pytest.fixture(scope="module")
def sound(model: bytes) -> Sensitivity:
    return measure_sensitivity(model, pictures(40, 1), pictures(200, 2))


# Noise


@pytest.mark.parametrize("bits", [4, 6, 8, 10])
def test_a_bit_is_six_decibels(bits: int) -> None:
    """Uniform values over the whole range: 20 log10(2) = 6.02 dB a bit."""
    values = np.random.default_rng(0).uniform(-1, 1, 200_000).astype(np.float32)
    step = 2 / 2**bits
    kept = ((np.floor(values / step) + 0.5) * step).astype(np.float32)
    assert decibels(values, kept) == pytest.approx(6.02 * bits, abs=0.05)


def test_eight_bits_of_a_range() -> None:
    """255 steps over the range that uniform values fill: 20 log10(255) = 48.13 dB."""
    values = np.random.default_rng(0).uniform(-1, 1, 200_000).astype(np.float32)
    assert decibels(values, range_rules.fake_quantize(values, (-1, 1))) == pytest.approx(48.13, abs=0.1)


def test_noise_of_a_worked_example() -> None:
    values, kept = np.array([3, 4], np.float32), np.array([3, 3], np.float32)
    assert decibels(values, kept) == pytest.approx(10 * np.log10(25))
    assert decibels(values, values) is None
    assert decibels(0 * values, 0 * values) is None


def test_worst_channel_of_weights() -> None:
    """A channel on its levels loses nothing; one with a large tap loses the small ones."""
    exact, poor, fair = [1.27, 0.64, -0.32], [1.27, 0.004, 0.004], [1.27, 1.001, -0.5]
    found = weight_noise(np.array([exact, poor, fair], np.float32), 0)
    assert found["worst_channel_db"] == pytest.approx(10 * np.log10(1.27**2 / (2 * 0.004**2)), abs=0.01)
    assert found["weights_db"] is not None and found["weights_db"] > found["worst_channel_db"]
    assert found["channels"] == 1


def test_spread_leaves_unused_channels_out() -> None:
    assert channel_spread(np.array([1, 2, 300], np.float32)) == 150
    assert channel_spread(np.array([1, 1, 1, 5, 1e-9, 0], np.float32)) == 5
    assert channel_spread(np.zeros(3, np.float32)) == 1


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["net_1/a_1/Relu6;net_1/bn_1/add;net_1/a_conv_1/convolution;;net_1/pad_1/Pad", "net_1/b_1/Add"],
         ["a_conv", "b"]),
        (["net/conv_1/convolution", "net/conv/convolution"], ["conv_1", "conv"]),
        (["one_1/a_1/mul", "two_1/a_1/mul"], ["one_1/a_1/mul", "two_1/a_1/mul"]),
        (["net/a/mul", "net/a/add", "Answer:0"], ["a/mul", "a/add", "Answer:0"]),
    ],
)  # fmt: skip
def test_short_names_stay_different(names: list[str], wanted: list[str]) -> None:
    assert short_names(names) == wanted


# One layer of a graph


def test_output_is_seen_in_8_bits(model: bytes) -> None:
    graph, images = FloatGraph(model), pictures(6)
    graph.fake_quantize(int(graph.graph.outputs[0]), 0.0, 0.5)
    wanted = range_rules.fake_quantize(answers(model, images), (0.0, 0.5))
    assert np.allclose(answers(graph.pack(), images), wanted, atol=1e-6)
    assert len(np.unique(wanted)) > 8 and wanted.max() == pytest.approx(0.5)


def test_only_readers_see_8_bits(model: bytes) -> None:
    graph = FloatGraph(model)
    place, last = linear(graph, "project").output, linear(graph, "logits").output
    span = measure(model, pictures(9), TensorSelection((place,))).ranges[place]
    graph.fake_quantize(place, *span)
    seen = len(graph.graph.tensors) - 1
    found = measure(graph.pack(), pictures(9), TensorSelection((place,), sampled=(place, seen, last)))
    wanted = range_rules.fake_quantize(found.samples[place], span)
    assert found.ranges[place] == span
    assert np.allclose(found.samples[seen], wanted, atol=1e-5)
    assert len(np.unique(found.samples[seen])) <= 256 < len(np.unique(found.samples[place]))


def test_copy_leaves_the_graph(model: bytes) -> None:
    graph = FloatGraph(model)
    other = graph.copy()
    other.fake_quantize(graph.linears[0].output, 0.0, 1.0)
    other.set_bias(other.linears[0], 0 * other.bias(other.linears[0]))
    assert graph.pack() == FloatGraph(model).pack() != other.pack()


def test_byte_input_costs_the_same(model: bytes, sound: Sensitivity) -> None:
    """The artifact has a cast in front, the converter's float file has none."""
    graph = FloatGraph(model)
    graph.take_bytes()
    found = measure_sensitivity(graph.pack(), pictures(40, 1), pictures(200, 2))
    assert found.layers == sound.layers and found.together == sound.together


def test_every_layer_is_there_in_order(sound: Sensitivity) -> None:
    names = ["first", "depthwise", "project", "pool", "logits", "answer"]
    assert [one.name for one in sound.layers] == names
    weighted = [one.name for one in sound.layers if one.rounded and one.corrected and one.weights_db]
    assert weighted == ["first", "depthwise", "project", "logits"]
    assert all(one.output and one.output_db and one.output_db > 20 for one in sound.layers)
    assert (sound.images, sound.calibration_images) == (200, 40)
    assert set(sound.together) == {ROUNDED, CORRECTED, OUTPUT}


def test_costs_are_those_of_a_slow_twin(model: bytes, sound: Sensitivity) -> None:
    from tledge.quantization.bias_correction import round_weights

    graph, images = FloatGraph(model), pictures(200, 2)
    one = linear(graph, "project")
    graph.set_values(one.weights, round_weights(graph.values(one.weights), 0))
    before, after = answers(model, images), answers(graph.pack(), images)
    wanted = Cost(
        float((before.argmax(1) != after.argmax(1)).mean()), float(np.abs(before - after).max(1).mean())
    )
    assert sound.layers[2].rounded == wanted and wanted.moved > 0


# Planted faults


@pytest.mark.parametrize("factors", [thousandfold, outlier])
def test_planted_layer_comes_first(
    model: bytes, sound: Sensitivity, factors: Callable[[], NDArray[np.float32]]
) -> None:
    """Outputs of `depthwise` share one scale; weights of `project` undo its channels' sizes."""
    broken, images = rescaled(model, factors()), pictures(200, 2)
    assert np.allclose(answers(broken, images), answers(model, images), atol=1e-4)
    found = measure_sensitivity(broken, pictures(40, 1), images)
    layers = {one.name: one for one in found.layers}
    assert {one.name for one in found.by_cost[:2]} == {"depthwise", "project"}
    by_output = max(
        found.layers, key=lambda one: (one.output.lost, one.output.moved) if one.output else (0, 0)
    )
    assert by_output is layers["depthwise"]
    assert layers["depthwise"].output_channels > 10 * sound.layers[1].output_channels
    assert found.by_cost[0].cost[0] > 0.05 + sound.by_cost[0].cost[0]


def test_correction_undoes_a_bias(sound: Sensitivity) -> None:
    """Pixels have a large mean, so rounding the first layer shifts its channels."""
    first = sound.layers[0]
    assert first.rounded and first.corrected and first.corrected.moved < first.rounded.moved


def test_cheaper_question_gets_the_same_answer(model: bytes, sound: Sensitivity) -> None:
    found = measure_sensitivity(model, pictures(40, 1), pictures(200, 2), kinds=(ROUNDED,))
    assert [one.rounded for one in found.layers] == [one.rounded for one in sound.layers]
    assert all(one.output is None and one.corrected is None for one in found.layers)
    assert found.layers[3].cost == (0.0, 0.0) and EVERYWHERE not in found.together


def test_no_images_are_refused(model: bytes) -> None:
    with pytest.raises(DataError, match="no held-out images"):
        measure_sensitivity(model, pictures(4), pictures(0))


def layer(name: str, **more: Any) -> Layer:
    return Layer(**{"name": name, "kind": "CONV_2D", "low": 0.0, "high": 6.0, "output_db": 40.0,
                    "output_channels": 2.0, **more})  # fmt: skip


def test_order_is_by_lost_answers_then_by_moved() -> None:
    layers = (
        layer("a", output=Cost(0.0, 0.3)),
        layer("b", rounded=Cost(0.1, 0.01), output=Cost(0.0, 0.0)),
        layer("c", output=Cost(0.0, 0.4)),
        layer("d"),
    )
    found = Sensitivity(9, 9, 0.0, {}, layers)
    assert [one.name for one in found.by_cost] == ["b", "c", "a", "d"]
