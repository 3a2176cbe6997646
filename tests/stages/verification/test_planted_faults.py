"""Faults planted in a good run: each must be caught by `verify`, with the cause in its message."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.command_line import Cli
from tests.helpers.conversions import converted
from tests.helpers.small_run import record


def keep(keras_model: Any) -> None:
    """Change nothing."""


def swap_channels(keras_model: Any) -> None:
    stem = keras_model.get_layer("stem_conv")
    stem.set_weights([stem.get_weights()[0][:, :, ::-1, :]])


def scale_twice(keras_model: Any) -> None:
    """x / 127.5 - 1 of what already is x / 127.5 - 1."""
    layer = keras_model.get_layer("scale")
    layer.scale, layer.offset = 1 / 127.5**2, -1 / 127.5 - 1


def permute_logits(keras_model: Any) -> None:
    layer = keras_model.get_layer("logits")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel[:, [1, 2, 0]], bias[[1, 2, 0]]])


def zero_conv(keras_model: Any) -> None:
    layer = keras_model.get_layer("block_2_conv")
    layer.set_weights([np.zeros_like(layer.get_weights()[0])])


def test_unharmed_run_passes(own_run: Path, cli: Cli) -> None:
    done = cli("verify", own_run)
    assert done.code == 0, done.out + done.err
    assert "passed" in done.out and "failed" not in done.out


@pytest.mark.parametrize("variant", ["tflite-fp32", "tflite-int8", "onnx-fp32"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap_channels, "the colour channels are swapped"),
        (scale_twice, "scaled twice"),
        (permute_logits, "labels are shuffled"),
    ],
)
def test_wrong_answers_name_cause(
    own_run: Path, cli: Cli, variant: str, change: Callable[[Any], None], message: str
) -> None:
    converted(own_run, variant, change)
    done = cli("verify", own_run)
    assert done.code == 3, done.out
    assert f"{variant}: " in done.out and message in done.out


@pytest.mark.parametrize("variant", ["tflite-fp32", "tflite-int8", "onnx-fp32", "saved_model"])
def test_zeroed_conv_is_named(own_run: Path, cli: Cli, variant: str) -> None:
    converted(own_run, variant, zero_conv)
    done = cli("verify", own_run)
    assert done.code == 4
    assert "all weights of" in done.out and "are zero" in done.out


@pytest.mark.parametrize("variant", ["tflite-int8", "onnx-fp32", "saved_model"])
def test_shuffled_label_list(own_run: Path, cli: Cli, variant: str) -> None:
    converted(own_run, variant, keep, labels=("rock", "paper", "scissors"))
    done = cli("verify", own_run)
    assert done.code == 4
    assert "labels differ from labels.txt" in done.out


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("name", ["tflite-int8.tflite", "tflite-fp32.tflite", "onnx-fp32.onnx"])
def test_truncated_file(own_run: Path, cli: Cli, name: str, share: float) -> None:
    path = own_run / "artifacts" / name
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    record(own_run, path.stem)
    done = cli("verify", own_run)
    assert done.code == 4, done.out
    assert f"{path.stem}: " in done.out


def test_float_under_int8_name(own_run: Path, cli: Cli) -> None:
    fp32 = own_run / "artifacts" / "tflite-fp32.tflite"
    (own_run / "artifacts" / "tflite-int8.tflite").write_bytes(fp32.read_bytes())
    record(own_run, "tflite-int8")
    done = cli("verify", own_run)
    assert done.code == 4
    assert "a float model under an integer name" in done.out


def test_empty_calibration_is_caught(own_run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from tledge.quantization.activation_statistics import TensorStatistics

    nothing = TensorStatistics(0, {}, {}, ())
    monkeypatch.setattr("tledge.formats.tflite_conversion.measure", lambda *_rest: nothing)
    converted(own_run, "tflite-int8", keep)
    done = cli("verify", own_run)
    assert done.code == 4
    assert "empty calibration set" in done.out


def test_empty_calibration_is_refused(own_run: Path, cli: Cli) -> None:
    recipe = own_run / "recipe.toml"
    recipe.write_text(recipe.read_text() + "\n[export.calibration]\nimages = 0\n")
    done = cli("export", own_run, "--int8", "--quiet")
    assert done.code == 1
    assert "the calibration set is empty" in done.err


def test_calibration_on_scaled_images(own_run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from tledge.quantization.activation_statistics import measure

    def scaled(model: bytes, images: Any, *which: Any) -> Any:
        return measure(model, images / np.float32(255), *which)

    monkeypatch.setattr("tledge.formats.tflite_conversion.measure", scaled)
    converted(own_run, "tflite-int8", keep)
    done = cli("verify", own_run)
    assert done.code == 4
    assert "calibrated on images scaled to 0..1" in done.out


def test_augmentation_left_in_graph(own_run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from tledge.formats import saved_model
    from tledge.formats.jobs import ConversionTarget, UncalibratedJob
    from tledge.models import classifier

    tf = saved_model.tensorflow()
    core = classifier.load(own_run / "model.keras")

    class Leaky(tf.Module):  # type: ignore[misc]
        input_shape = (None, 48, 48, 3)

        def __init__(self) -> None:
            super().__init__()
            self.core = core

        def __call__(self, images: Any, training: bool) -> Any:
            return self.core(tf.image.random_flip_left_right(images), training=False)

    monkeypatch.setattr(saved_model, "keras_model", lambda path: Leaky())
    labels = ("paper", "rock", "scissors")
    target = ConversionTarget("", str(own_run / "artifacts" / "saved_model"), "", "s", "1", "", labels)
    saved_model.convert(UncalibratedJob(target))
    record(own_run, "saved_model")
    done = cli("verify", own_run)
    assert done.code == 4
    assert "augmentation was left in the graph" in done.out


def test_dropped_weights_are_caught(own_run: Path, cli: Cli) -> None:
    from tledge.formats.saved_model import tensorflow
    from tledge.models import classifier

    tf = tensorflow()
    core = classifier.load(own_run / "model.keras")
    spec = tf.TensorSpec((1, 48, 48, 3), tf.uint8, name="image")
    function = tf.function(lambda image: core(tf.cast(image, tf.float32), training=False))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(spec)], core)
    (own_run / "artifacts" / "tflite-fp32.tflite").write_bytes(converter.convert())
    record(own_run, "tflite-fp32")
    done = cli("verify", own_run)
    assert done.code == 4
    assert "the weights were dropped" in done.out


def test_changed_file_is_named(own_run: Path, cli: Cli) -> None:
    path = own_run / "artifacts" / "tflite-fp32.tflite"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)
    done = cli("verify", own_run)
    assert done.code == 4
    assert "the file changed after it was exported" in done.out


def test_missing_file_is_named(own_run: Path, cli: Cli) -> None:
    (own_run / "artifacts" / "onnx-fp32.onnx").unlink()
    done = cli("verify", own_run)
    assert done.code == 4
    assert "onnx-fp32.onnx is missing" in done.out
