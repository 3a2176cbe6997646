"""Networks rebuilt from the operators that the converter makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.fake_models import small_net
from tests.helpers.rebuilt_network import every_layer, light_and_dark, predict
from tledge.errors import RecipeError
from tledge.quantization import layer_rebuilding, quantization_aware


def test_steps_make_the_whole() -> None:
    """Without rounding and ranges the rebuilt network predicts as the layers do."""
    net = every_layer()
    plain = layer_rebuilding.rebuild(net, quantization_aware.RangeRecorder())
    assert np.ptp(predict(net, light_and_dark()), axis=0).min() > 0.2
    assert np.abs(predict(plain, light_and_dark()) - predict(net, light_and_dark())).max() < 1e-4


def test_layers_are_fused_as_in_the_drawing() -> None:
    import keras
    from keras import layers

    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, name="conv")(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    branch = layers.Conv2D(4, 1, name="read_twice")(x)
    x = layers.Add(name="add")([layers.ReLU(name="one_reader")(branch), branch])
    x = layers.ReLU(6.0, name="relu6")(x)
    x = layers.BatchNormalization(name="alone")(layers.MaxPooling2D(name="pool")(x))
    folded, fused = layer_rebuilding._fusion(keras.Model(image, x))
    assert folded == {"norm"}
    assert fused == {"conv", "norm", "add"}


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
