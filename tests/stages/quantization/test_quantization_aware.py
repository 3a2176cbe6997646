"""The network in 8 bits: rounded kernels, gradients, the plain one's steps, the integers in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.fake_models import calibrate, images, small_net
from tledge.errors import RecipeError, RunError
from tledge.quantization import layer_rebuilding, quantization_aware
from tledge.quantization.bias_correction import round_weights


def every_step() -> Any:
    """A net with one of everything that is built again, 12 pixels wide, for three classes."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    image = x = keras.Input((12, 12, 3), name="image")
    x = layers.Rescaling([1 / 60, 1 / 70, 1 / 80], [-2.0, -1.5, -1.8])(x)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, use_bias=False)(x)))
    x = layers.SeparableConv2D(8, 3, padding="same", depth_multiplier=2)(x)
    x = side = layers.BatchNormalization()(x)
    x = layers.Activation("silu")(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x))
    x = layers.Activation("hard_silu")(layers.Conv2D(8, 1, activation="silu")(x))
    x = layers.Activation("relu")(layers.Add()([side, x]))
    x = layers.ReLU(6.0)(layers.BatchNormalization(scale=False)(layers.ZeroPadding2D()(x)))
    x = layers.Concatenate()([layers.MaxPooling2D()(x), layers.AveragePooling2D(2)(x)])
    gate = layers.ReLU(6.0)(layers.Conv2D(16, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x)) + 3.0)
    x = layers.GlobalAveragePooling2D()(x * (gate * (1 / 6)))
    x = layers.Dropout(0.3)(layers.Dense(6, "relu")(x))
    net = keras.Model(image, layers.Softmax()(layers.Dense(3)(x)))
    calibrate(net, noise().astype(np.float32))
    last = net.layers[-2]
    logits = answers(keras.Model(image, last.output), noise())
    kernel, bias = last.get_weights()
    factor = 2 / logits.std(0)
    last.set_weights([kernel * factor, (bias - logits.mean(0)) * factor])
    return net


def noise() -> NDArray[np.uint8]:
    """Images of different lightness: uint8[24, 12, 12, 3]."""
    rng = np.random.default_rng(0)
    light = rng.random((24, 1, 1, 3))
    return (rng.integers(0, 256, (24, 12, 12, 3)) * light).astype(np.uint8)


def answers(net: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(net.predict_on_batch(pixels.astype(np.float32)))


@pytest.fixture(scope="module")
def net() -> Any:
    return every_step()


@pytest.fixture(scope="module")
def ranges(net: Any) -> dict[str, quantization_aware.Range]:
    return quantization_aware.measure(net, [noise()[:10], noise()[10:]])


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


def test_steps_make_the_whole(net: Any) -> None:
    """Without rounding and ranges the steps answer as the layers do."""
    plain = layer_rebuilding.rebuild(net, quantization_aware.RangeRecorder())
    assert np.ptp(answers(net, noise()), axis=0).min() > 0.2
    assert np.abs(answers(plain, noise()) - answers(net, noise())).max() < 1e-4


def test_twin_shares_the_variables() -> None:
    net = small_net()
    twin = quantization_aware.build(net, quantization_aware.measure(net, [images()]))
    assert {id(one) for one in twin.weights} == {id(one) for one in net.weights}


def test_ranges_are_what_was_seen(ranges: dict[str, quantization_aware.Range], net: Any) -> None:
    import keras

    assert ranges["input"] == (0, 255)
    assert {span for name, span in ranges.items() if name.endswith("/sigmoid")} == {(0, 255 / 256)}
    hidden = keras.Model(net.input, net.layers[-4].output)
    found = answers(hidden, noise())
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

    plain = answers(net, noise())
    twin = answers(quantization_aware.build(net, ranges), noise()) - plain
    integers = run_on_all_cores(file, "net", noise()) - plain
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
    assert np.abs(run_on_all_cores(made, "net", noise()) - answers(net, noise())).mean() > 0.02


def test_unknown_layer_is_named() -> None:
    import keras

    image = keras.Input((8, 8, 3))
    for layer in (
        keras.layers.LeakyReLU(name="odd"),
        keras.layers.Conv2D(3, 1, activation="gelu", name="odd"),
    ):
        net = keras.Model(image, keras.layers.Flatten()(layer(image)))
        with pytest.raises(RecipeError, match=r"layer odd is .* cannot be trained as integers"):
            layer_rebuilding.require_known(net)
    layer_rebuilding.require_known(small_net())


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
