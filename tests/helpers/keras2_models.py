"""Write models with Keras 2, and what it predicts with them: `python -m tests.helpers.keras2_models FOLDER`.

The weights are random and large, so that predictions differ from image to image.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

SIDE, IMAGES = 32, 100


def images() -> np.ndarray:
    """Draw images uint8[100, 32, 32, 3], a different colour for each."""
    draw = np.random.default_rng(5)
    colours = draw.integers(0, 256, (IMAGES, 1, 1, 3))
    return (0.7 * colours + 0.3 * draw.integers(0, 256, (IMAGES, SIDE, SIDE, 3))).astype(np.uint8)


def _base(keras: Any) -> Any:
    """Build a model with the layers of MobileNet, under names that occur twice in the whole."""
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(image)
    x = layers.Conv2D(8, 3, strides=2, use_bias=False, name="Conv1")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="bn_Conv1")(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.Add()([x, layers.Conv2D(8, 1, name="dense")(x)])
    return keras.Model(image, x, name="model1")


def models(keras: Any) -> dict[str, tuple[Any, bool]]:
    """Return models by file name, and whether they take -1..1 instead of bytes."""
    layers = keras.layers
    hidden = layers.Dense(6, "relu", name="dense")
    last = layers.Dense(3, "softmax", use_bias=False, name="last")
    machine = keras.Sequential(
        [keras.Sequential([_base(keras), layers.GlobalAveragePooling2D()]), keras.Sequential([hidden, last])],
        name="teachable",
    )
    machine.build((None, SIDE, SIDE, 3))
    image = keras.Input((SIDE, SIDE, 3))
    pooled = layers.GlobalMaxPooling2D()(_base(keras)((image / 127.5) - 1.0))
    operations = keras.Model(image, layers.Dense(3, "softmax")(pooled))
    sequence = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 255.0), keras.Sequential([_base(keras)]),
         layers.GlobalMaxPooling2D(), layers.Dense(3, "softmax")]
    )  # fmt: skip
    return {
        "teachable.h5": (machine, True),
        "operations.h5": (operations, False),
        "sequence.h5": (sequence, False),
        "saved_model": (sequence, False),
    }


def main(folder: Path) -> None:
    """Write every model, and its probabilities beside it as `.npy`."""
    import tf_keras as keras

    draw = np.random.default_rng(2)
    pixels = images().astype(np.float32)
    for name, (model, is_scaled) in models(keras).items():
        model.set_weights([_random(draw, weights) for weights in model.get_weights()])
        model.save(folder / name)
        probabilities = model.predict(pixels / 127.5 - 1 if is_scaled else pixels, verbose=0)
        np.save(folder / f"{name}.npy", probabilities)


def _random(draw: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """Return random weights; positive ones where they may be variances."""
    values = draw.normal(0, 0.6, weights.shape)
    return np.abs(values) + 0.5 if weights.ndim == 1 else values


if __name__ == "__main__":
    main(Path(sys.argv[1]))
