"""Random changes of images in training: Keras' augmentation layers, and tledge's own resize jitter.

Resize jitter re-samples images at random, so that a network has seen other resizing than that of
preprocessing. Prepared images have their size already, so each is scaled down a little and back: both
ways by one of three kernels, down with or without antialiasing, shifted by a part of a pixel. Nearest,
area and bilinear resizing without antialiasing are special cases. Scaling one axis is a matrix, so that
every backend computes it with fixed shapes, each image by its own factor.
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
"""Share of the images that are re-sampled; the others stay as preprocessing made them."""

KERNELS = ("nearest", "bilinear", "bicubic")


def random_resize_layer(extent: float, seed: int) -> Any:
    """Return a Keras layer float32[N, H, W, 3] in 0..255 → the same shape; it acts only in training.

    An image is scaled down by a random factor from 1 to 1 + `extent`.
    """
    return _layer_class()(extent=extent, seed=seed)


def resampling_matrix(side: int, coarse: Any, down: Any, up: Any, smooth: Any, shift: Any) -> Any:
    """Return the matrices float32[N, side, side] that scale `side` pixels to `coarse` and back.

    Rows sum to 1. Per image [N]: `coarse` is a whole number of pixels 1..side, `down` and `up` are
    indices of `KERNELS`, `smooth` says whether the kernel is as wide as a coarse pixel (antialiasing),
    and `shift` moves the coarse pixels by part of a fine one. Positions beyond the edge are the edge.
    """
    from keras import ops

    pixels = ops.arange(side, dtype="float32")
    factor = (side / coarse)[:, None]
    positions = ops.clip((pixels + 0.5) * factor - 0.5 + shift[:, None], 0.0, side - 1.0)
    radius = ops.where(smooth[:, None], factor, 1.0)[..., None]
    shrink = _weights(down, (positions[..., None] - pixels) / radius)
    back = ops.clip((pixels + 0.5) / factor - 0.5, 0.0, side - 1.0)
    back = ops.minimum(back, coarse[:, None] - 1.0)
    is_used = ops.cast(pixels < coarse[:, None], "float32")[:, None, :]
    return ops.matmul(
        _with_rows_of_1(_weights(up, back[..., None] - pixels) * is_used), _with_rows_of_1(shrink)
    )


def _with_rows_of_1(weights: Any) -> Any:
    from keras import ops

    return weights / ops.sum(weights, -1, keepdims=True)


def _weights(kind: Any, distance: Any) -> Any:
    """Return weights [N, rows, columns] of pixels at a signed distance, by the kernel [N] of each image.

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
    """Return the layer's class, which is made once Keras can be imported."""
    keras = optional_imports.load("keras", "train")
    from keras import ops, random

    @keras.saving.register_keras_serializable(package="tledge")
    class ResizeJitter(keras.layers.Layer):  # type: ignore[misc, name-defined]
        """Scale half of the images down by up to 1 + `extent` and back; see the module."""

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
            resampled = ops.einsum("nij,njwc->niwc", rows, images)
            resampled = ops.clip(ops.einsum("nij,nhjc->nhic", columns, resampled), 0.0, 255.0)
            is_chosen = self._uniform(count, 0.0, 1.0) < SHARE
            return ops.where(is_chosen[:, None, None, None], resampled, images)

        def _matrix(self, side: int, factor: Any, down: Any, up: Any, smooth: Any) -> Any:
            coarse = ops.maximum(ops.round(side / factor), 1.0)
            shift = self._uniform((ops.shape(factor)[0],), -0.5, 0.5)
            return resampling_matrix(side, coarse, down, up, smooth, shift)

        def _uniform(self, shape: Any, low: float, high: float) -> Any:
            return random.uniform(shape, low, high, seed=self.seed_generator)

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "extent": self.extent, "seed": self.seed}

    return ResizeJitter


def augmentation_layers(table: Augment, seed: int) -> list[Any]:
    """Return Keras layers float32[N, H, W, 3] in 0..255 → the same shape, in a fixed order, seeded."""
    from keras import layers

    pixel_range = {"value_range": (0, 255)}
    fill = {"fill_mode": table.fill}
    rows: list[tuple[Any, str, Any, dict[str, Any]]] = [
        (table.flip != "none", "RandomFlip", table.flip, {}),
        (table.rotation, "RandomRotation", table.rotation, fill),
        (table.zoom, "RandomZoom", table.zoom, fill),
        (table.translation, "RandomTranslation", table.translation, fill),
        (table.perspective, "RandomPerspective", 1.0, {"scale": table.perspective}),
        (table.brightness, "RandomBrightness", table.brightness, pixel_range),
        (table.contrast, "RandomContrast", table.contrast, pixel_range),
        (table.saturation, "RandomSaturation", (0.5 - table.saturation, 0.5 + table.saturation), pixel_range),
        (table.hue, "RandomHue", table.hue, pixel_range),
        (table.grayscale, "RandomGrayscale", table.grayscale, {}),
        (table.erasing, "RandomErasing", table.erasing, pixel_range),
    ]
    chosen = []
    for number, (is_chosen, name, factor, options) in enumerate(rows):
        if is_chosen:
            chosen.append(_random_layer(layers, name, factor, options, seed + number))
    if table.resize_jitter:  # last: a device resizes the camera's image
        chosen.append(random_resize_layer(table.resize_jitter, seed + len(rows)))
    return chosen


def make_augmenter(table: Augment, seed: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """Return a function that makes augmentation copies of a batch uint8[N, H, W, 3], new ones each time."""
    import keras
    import numpy as np

    layers = keras.Sequential(augmentation_layers(table, seed))

    def augment(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        changed = keras.ops.convert_to_numpy(layers(images.astype(np.float32), training=True))
        return np.asarray(np.clip(np.round(changed), 0, 255), np.uint8)

    return augment


def _random_layer(layers: Any, name: str, factor: Any, options: dict[str, Any], seed: int) -> Any:
    factors = (factor, factor) if name == "RandomTranslation" else (factor,)
    return getattr(layers, name)(*factors, seed=seed, **options)


def with_augmentation(model: Any, table: Augment, seed: int) -> Any:
    """Return a model with augmentation in front, to train; `model` itself stays as it is."""
    import keras

    layers = augmentation_layers(table, seed)
    if not layers:
        return model
    inputs = keras.Input(model.input_shape[1:], dtype="float32")
    x = inputs
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, model(x), name="augmented")
