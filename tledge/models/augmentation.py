"""Random re-sampling while training, so that a network has seen resizing other than the contract's.

Prepared images have their size already, so each is scaled down a little and back: both ways by one of
three kernels, down with or without antialiasing, a part of a pixel off. Nearest, area and bilinear
resizing without antialiasing come out as special cases. Scaling one axis is a matrix, so that every
backend computes it with fixed shapes, each image by its own factor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from tledge._process import optional_imports
from tledge.config import Augment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHARE = 0.5
"""Of the images that are re-sampled: the others stay as the contract prepares them."""

KERNELS = ("nearest", "bilinear", "bicubic")


def random_resize_layer(extent: float, seed: int) -> Any:
    """A Keras layer float32[N, H, W, 3] in 0..255 → the same; acts while training only.

    The factor that an image is scaled down by is drawn from 1 to 1 + `extent`.
    """
    return _layer_class()(extent=extent, seed=seed)


def matrix(side: int, coarse: Any, down: Any, up: Any, smooth: Any, shift: Any) -> Any:
    """What scales `side` pixels to `coarse` and back: float32[N, side, side], rows sum to 1.

    Per image [N]: `coarse` is a whole number of pixels 1..side, `down` and `up` count `KERNELS`,
    `smooth` says whether the kernel is as wide as a coarse pixel (antialiasing), and `shift` moves the
    coarse pixels by part of a fine one. Places beyond the edge are the edge.
    """
    from keras import ops

    pixels = ops.arange(side, dtype="float32")
    factor = (side / coarse)[:, None]
    places = ops.clip((pixels + 0.5) * factor - 0.5 + shift[:, None], 0.0, side - 1.0)
    reach = ops.where(smooth[:, None], factor, 1.0)[..., None]
    shrink = _weights(down, (places[..., None] - pixels) / reach)
    back = ops.clip((pixels + 0.5) / factor - 0.5, 0.0, side - 1.0)
    back = ops.minimum(back, coarse[:, None] - 1.0)
    there = ops.cast(pixels < coarse[:, None], "float32")[:, None, :]
    return ops.matmul(_normal(_weights(up, back[..., None] - pixels) * there), _normal(shrink))


def _normal(weights: Any) -> Any:
    from keras import ops

    return weights / ops.sum(weights, -1, keepdims=True)


def _weights(kind: Any, distance: Any) -> Any:
    """The weights [N, rows, columns] of pixels at a signed distance, by the kernel [N] of each image.

    A box, a triangle, and the cubic of Keys (1981) with a = -1/2, as Pillow's BICUBIC.
    """
    from keras import ops

    far = ops.abs(distance)
    box = ops.cast(ops.logical_and(distance >= -0.5, distance < 0.5), "float32")
    triangle = ops.maximum(1.0 - far, 0.0)
    near = (1.5 * far - 2.5) * far * far + 1.0
    tail = ((2.5 - 0.5 * far) * far - 4.0) * far + 2.0
    cubic = ops.where(far < 1.0, near, ops.where(far < 2.0, tail, 0.0))
    chosen = kind[:, None, None]
    return ops.where(chosen == 0, box, ops.where(chosen == 1, triangle, cubic))


@cache
def _layer_class() -> Any:
    """The layer's class, made once: at import time there is no Keras to make it from."""
    keras = optional_imports.load("keras", "train")
    from keras import ops, random

    @keras.saving.register_keras_serializable(package="tledge")
    class ResizeJitter(keras.layers.Layer):  # type: ignore[misc, name-defined]
        """Scales half of the images down by up to 1 + `extent` and back; see the module."""

        def __init__(self, *, extent: float, seed: int, **options: Any) -> None:
            super().__init__(**options)
            self.extent, self.seed = extent, seed
            self.seed_generator = random.SeedGenerator(seed)

        def call(self, images: Any, training: bool | None = None) -> Any:
            if not training:
                return images
            count = (ops.shape(images)[0],)
            factor = self._uniform(count, 1.0, 1.0 + self.extent)
            down, up = (random.randint(count, 0, len(KERNELS), seed=self.seed_generator) for _ in range(2))
            smooth = self._uniform(count, 0.0, 1.0) < 0.5
            rows, columns = (self._matrix(side, factor, down, up, smooth) for side in images.shape[1:3])
            made = ops.einsum("nij,njwc->niwc", rows, images)
            made = ops.clip(ops.einsum("nij,nhjc->nhic", columns, made), 0.0, 255.0)
            is_drawn = self._uniform(count, 0.0, 1.0) < SHARE
            return ops.where(is_drawn[:, None, None, None], made, images)

        def _matrix(self, side: int, factor: Any, down: Any, up: Any, smooth: Any) -> Any:
            coarse = ops.maximum(ops.round(side / factor), 1.0)
            shift = self._uniform((ops.shape(factor)[0],), -0.5, 0.5)
            return matrix(side, coarse, down, up, smooth, shift)

        def _uniform(self, shape: Any, low: float, high: float) -> Any:
            return random.uniform(shape, low, high, seed=self.seed_generator)

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "extent": self.extent, "seed": self.seed}

    return ResizeJitter


def augmentation(table: Augment, seed: int) -> list[Any]:
    """Keras layers float32[N, H, W, 3] in 0..255 → the same, in a fixed order, seeded."""
    from keras import layers

    span = {"value_range": (0, 255)}
    move = {"fill_mode": table.fill}
    rows: list[tuple[Any, str, Any, dict[str, Any]]] = [
        (table.flip != "none", "RandomFlip", table.flip, {}),
        (table.rotation, "RandomRotation", table.rotation, move),
        (table.zoom, "RandomZoom", table.zoom, move),
        (table.translation, "RandomTranslation", table.translation, move),
        (table.perspective, "RandomPerspective", 1.0, {"scale": table.perspective}),
        (table.brightness, "RandomBrightness", table.brightness, span),
        (table.contrast, "RandomContrast", table.contrast, span),
        (table.saturation, "RandomSaturation", (0.5 - table.saturation, 0.5 + table.saturation), span),
        (table.hue, "RandomHue", table.hue, span),
        (table.grayscale, "RandomGrayscale", table.grayscale, {}),
        (table.erasing, "RandomErasing", table.erasing, span),
    ]
    made = []
    for number, (wanted, name, factor, options) in enumerate(rows):
        if wanted:
            made.append(_random_layer(layers, name, factor, options, seed + number))
    if table.resize_jitter:  # last: a device resizes what the camera saw
        made.append(random_resize_layer(table.resize_jitter, seed + len(rows)))
    return made


def make_augmenter(table: Augment, seed: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """A function that draws changed views of a batch uint8[N, H, W, 3], others at each call."""
    import keras
    import numpy as np

    layers = keras.Sequential(augmentation(table, seed))

    def draw(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        drawn = keras.ops.convert_to_numpy(layers(images.astype(np.float32), training=True))
        return np.asarray(np.clip(np.round(drawn), 0, 255), np.uint8)

    return draw


def _random_layer(layers: Any, name: str, factor: Any, options: dict[str, Any], seed: int) -> Any:
    both = (factor, factor) if name == "RandomTranslation" else (factor,)
    return getattr(layers, name)(*both, seed=seed, **options)


def with_augmentation(model: Any, table: Augment, seed: int) -> Any:
    """The model to train: augmentation before the model. The model itself stays clean."""
    import keras

    extra = augmentation(table, seed)
    if not extra:
        return model
    inputs = keras.Input(model.input_shape[1:], dtype="float32")
    x = inputs
    for layer in extra:
        x = layer(x)
    return keras.Model(inputs, model(x), name="augmented")
