"""The table of backbones. To add one, add a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Backbone:
    """A convolutional base: `build(inputs, alpha, weights)` gives its last feature map.

    `scale` and `offset` map bytes 0..255 to what the base was trained on: x * scale + offset.
    `alphas` lists the width multipliers that have ImageNet weights; empty where there is none.
    """

    build: Callable[[Any, float, str | None], Any]
    scale: float
    offset: float
    alphas: tuple[float, ...]
    default_size: int
    pretrained: bool
    summary: str
    min_size: int = 32
    """Smallest input side that Keras builds it for."""


def _application(name: str, takes_alpha: bool) -> Callable[[Any, float, str | None], Any]:
    """A base of `keras.applications`; Keras picks its weight file by alpha and input size."""

    def build(inputs: Any, alpha: float, weights: str | None) -> Any:
        import keras

        options = {"alpha": alpha} if takes_alpha else {}
        return getattr(keras.applications, name)(
            input_tensor=inputs,
            input_shape=tuple(inputs.shape[1:]),
            weights=weights,
            include_top=False,
            **options,
        ).output

    return build


def _tiny(inputs: Any, alpha: float, weights: str | None) -> Any:
    """Six depthwise-separable blocks, for microcontrollers and for tests; no weights exist."""
    del weights
    x = _block(inputs, "stem", max(8, int(16 * alpha)), 2, depthwise=False)
    for number, (width, strides) in enumerate([(24, 2), (32, 2), (48, 1), (64, 2), (96, 1)], 1):
        x = _block(x, f"block_{number}", max(8, int(width * alpha)), strides, depthwise=True)
    return x


def _block(x: Any, name: str, width: int, strides: int, *, depthwise: bool) -> Any:
    from keras import layers

    if depthwise:
        x = layers.DepthwiseConv2D(3, strides, "same", use_bias=False, name=f"{name}_depthwise")(x)
        x = layers.BatchNormalization(name=f"{name}_depthwise_BN")(x)
        x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    kernel, step = (1, 1) if depthwise else (3, strides)
    x = layers.Conv2D(width, kernel, step, "same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_conv_BN")(x)
    return layers.ReLU(6.0, name=f"{name}_conv_relu")(x)


BACKBONES: dict[str, Backbone] = {
    "mobilenet": Backbone(
        _application("MobileNet", True), 1 / 127.5, -1.0, (0.25, 0.5, 0.75, 1.0), 224, True, "MobileNet v1"
    ),
    "mobilenetv2": Backbone(
        _application("MobileNetV2", True),
        1 / 127.5,
        -1.0,
        (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
        224,
        True,
        "MobileNet v2",
    ),
    "xception": Backbone(
        _application("Xception", False), 1 / 127.5, -1.0, (), 299, True, "Xception", min_size=71
    ),
    "tiny": Backbone(_tiny, 1 / 127.5, -1.0, (), 96, False, "tledge's own small base, trained from scratch"),
}
