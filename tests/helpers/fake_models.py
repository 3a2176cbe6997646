"""Stand-ins for weights that cannot be downloaded here, with statistics that fit their input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tledge.config import Model

SMALL = Model(backbone="tiny", weights="none", image_size=32)


def small_net() -> Any:
    """The smallest network that tledge builds, for three classes, always with the same weights."""
    import keras

    from tledge.models import classifier

    keras.utils.set_random_seed(0)
    return classifier.build(SMALL, 3)


def images(count: int = 16) -> NDArray[np.uint8]:
    """Noise for it: uint8[count, 32, 32, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


def feature_vector(folder: Path, *, size: int, features: int) -> Path:
    """A SavedModel like one of TensorFlow Hub: float32[N, size, size, 3] in 0..1 → float32[N, features]."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    net = keras.Sequential(
        [
            keras.Input((size, size, 3)),
            layers.Conv2D(12, 5, strides=4, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.Conv2D(features, 1, activation="relu"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    calibrate(net, np.random.default_rng(0).random((16, size, size, 3)).astype(np.float32))
    net.export(str(folder), verbose=False)
    return folder


def calibrate(net: Any, images: NDArray[np.float32], rounds: int = 6) -> None:
    """Move batch-norm statistics to what `images` bring, so that untrained features differ."""
    for layer in net.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.3
    for _ in range(rounds):
        net(images, training=True)
