"""A network with one of every layer that quantization-aware training rebuilds, and images for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.helpers.fake_models import calibrate


def every_layer() -> Any:
    """Build a network with one of every layer that can be rebuilt, 12 pixels wide, for three classes."""
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
    calibrate(net, light_and_dark().astype(np.float32))
    last = net.layers[-2]
    logits = predict(keras.Model(image, last.output), light_and_dark())
    kernel, bias = last.get_weights()
    factor = 2 / logits.std(0)
    last.set_weights([kernel * factor, (bias - logits.mean(0)) * factor])
    return net


def light_and_dark() -> NDArray[np.uint8]:
    """Make images of different lightness: uint8[24, 12, 12, 3]."""
    rng = np.random.default_rng(0)
    light = rng.random((24, 1, 1, 3))
    return (rng.integers(0, 256, (24, 12, 12, 3)) * light).astype(np.uint8)


def predict(net: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(net.predict_on_batch(pixels.astype(np.float32)))
