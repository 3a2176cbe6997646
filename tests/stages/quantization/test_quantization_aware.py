"""The network in 8 bits: rounded kernels, gradients, ranges, the integers in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.fake_models import images, small_net
from tests.helpers.rebuilt_network import every_layer, light_and_dark, predict
from tledge.errors import RunError
from tledge.quantization import quantization_aware
from tledge.quantization.bias_correction import round_weights


@pytest.fixture(scope="module")
def net() -> Any:
    return every_layer()


@pytest.fixture(scope="module")
def ranges(net: Any) -> dict[str, quantization_aware.Range]:
    return quantization_aware.measure(net, [light_and_dark()[:10], light_and_dark()[10:]])


@pytest.fixture(scope="module")
def file(
    net: Any, ranges: dict[str, quantization_aware.Range], tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    """The integers that the converter makes of it."""
    from tledge.formats import keras_freezing
    from tledge.models import classifier

    folder = tmp_path_factory.mktemp("file")
    classifier.save(net, folder / "net.keras")
    quantization_aware.save_ranges(folder / "ranges.json", ranges)
    return keras_freezing.quantize_aware_tflite(folder / "net.keras", folder / "ranges.json")


@pytest.mark.parametrize(
    ("kind", "shape", "axis"),
    [("Conv2D", (3, 3, 4, 5), 3), ("Dense", (7, 5), 1), ("DepthwiseConv2D", (3, 3, 4, 2), 2)],
)
def test_rounded_as_the_folded_kernel_is(kind: str, shape: tuple[int, ...], axis: int) -> None:
    """Rounded and then scaled by batch norm's factors, negative ones too, is scaled and then rounded."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=shape).astype(np.float32)
    channels = shape[2] * shape[3] if kind == "DepthwiseConv2D" else shape[-1]
    factors = (rng.normal(size=channels) * 3).astype(np.float32)
    wide = factors.reshape(shape[2:] if kind == "DepthwiseConv2D" else (-1,))
    folded = (kernel * wide).reshape(*shape[:2], -1) if kind == "DepthwiseConv2D" else kernel * wide
    wanted = round_weights(folded, -1).reshape(shape)
    found = np.asarray(quantization_aware.round_kernel(kernel, kind)) * wide
    assert np.abs(found - wanted).max() < 1e-5 < np.abs(kernel * wide - wanted).max()


def test_gradients_pass_rounding_and_range() -> None:
    import tensorflow as tf

    kernel = tf.Variable(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))
    values = tf.Variable([-1.0, 0.3, 0.7, 2.0])
    with tf.GradientTape() as tape:
        made = tf.reduce_sum(quantization_aware.round_kernel(kernel, "Dense") * 2.0)
        made += tf.reduce_sum(quantization_aware._fake_quantize_with_gradient(values, 0.0, 1.0))
    of_kernel, of_values = tape.gradient(made, [kernel, values])
    assert np.array_equal(of_kernel, np.full((5, 3), 2.0))
    assert of_values.numpy().tolist() == [0, 1, 1, 0]


def test_twin_shares_the_variables() -> None:
    net = small_net()
    twin = quantization_aware.build(net, quantization_aware.measure(net, [images()]))
    assert {id(one) for one in twin.weights} == {id(one) for one in net.weights}


def test_ranges_are_what_was_seen(ranges: dict[str, quantization_aware.Range], net: Any) -> None:
    import keras

    assert ranges["input"] == (0, 255)
    assert {span for name, span in ranges.items() if name.endswith("/sigmoid")} == {(0, 255 / 256)}
    hidden = keras.Model(net.input, net.layers[-4].output)
    found = predict(hidden, light_and_dark())
    assert ranges[net.layers[-4].name] == pytest.approx((0, found.max()), rel=1e-5)
    assert all(low <= 0 <= high and low < high for low, high in ranges.values())


def test_dead_tensor_has_a_range() -> None:
    net = small_net()
    net.get_layer("logits").set_weights([np.zeros((96, 3)), np.zeros(3)])
    assert quantization_aware.measure(net, [images()])["logits"] == (0.0, 1.0)


def test_file_holds_integers_only(file: bytes, tmp_path: Path) -> None:
    from tledge.formats import tflite

    (tmp_path / "net.tflite").write_bytes(file)
    found = tflite.inspect(tmp_path / "net.tflite")
    assert not {"float32", "float16"} & {*found.weights, *found.activations}
    taken, given = found.inputs[0], found.outputs[0]
    assert (taken.dtype, taken.scale, taken.zero_point) == ("uint8", 1, 0)
    assert (given.dtype, given.scale) == ("uint8", 1 / 256)
    assert {"LOGISTIC", "HARD_SWISH"} < {*found.operators}


def test_file_answers_as_the_twin(file: bytes, net: Any, ranges: dict[str, quantization_aware.Range]) -> None:
    """What training sees is mostly what the device does: their errors go together."""
    from tledge.runtime.session_pool import run_on_all_cores

    plain = predict(net, light_and_dark())
    twin = predict(quantization_aware.build(net, ranges), light_and_dark()) - plain
    integers = run_on_all_cores(file, "net", light_and_dark()) - plain
    assert np.corrcoef(twin.ravel(), integers.ravel())[0, 1] > 0.3
    assert 0.002 < np.abs(integers).mean() < 0.016


def test_wide_range_is_seen_in_the_file(
    net: Any, ranges: dict[str, quantization_aware.Range], tmp_path: Path
) -> None:
    """A range hundred times too wide leaves hardly a level: the file takes ranges from the graph."""
    from tledge.formats import keras_freezing
    from tledge.models import classifier
    from tledge.runtime.session_pool import run_on_all_cores

    name = next(one for one in ranges if one.startswith("conv2d"))
    classifier.save(net, tmp_path / "net.keras")
    quantization_aware.save_ranges(tmp_path / "ranges.json", {**ranges, name: (-5000.0, 5000.0)})
    made = keras_freezing.quantize_aware_tflite(tmp_path / "net.keras", tmp_path / "ranges.json")
    assert (
        np.abs(run_on_all_cores(made, "net", light_and_dark()) - predict(net, light_and_dark())).mean() > 0.02
    )


def test_ranges_of_another_network_are_refused(ranges: dict[str, quantization_aware.Range]) -> None:
    with pytest.raises(RunError, match="no range is stored for tensor scale/scaled"):
        quantization_aware.build(small_net(), ranges)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": ["b", 1]}'])
def test_damaged_ranges_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(RunError, match="cannot read the activation ranges"):
        quantization_aware.load_ranges(tmp_path / "r.json")


def test_ranges_are_read_as_written(ranges: dict[str, quantization_aware.Range], tmp_path: Path) -> None:
    quantization_aware.save_ranges(tmp_path / "r.json", ranges)
    assert quantization_aware.load_ranges(tmp_path / "r.json") == ranges
