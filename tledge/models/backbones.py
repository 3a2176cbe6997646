"""List the backbones. To add one, add a row to `BACKBONES`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tledge import config
from tledge.models import saved_model_layer

Build = Callable[[Any, config.Model, str | None], Any]
Values = float | tuple[float, float, float]


@dataclass(frozen=True)
class Backbone:
    """A convolutional base: `build(inputs, table, weights)` returns its last feature map.

    `scale` and `offset` map bytes 0..255 to the range that the base was trained on, x * scale + offset:
    one number, or one each for red, green and blue. `bgr` says that its first kernel was trained on
    blue, green, red; the kernel is turned to RGB when weights are loaded, so that nothing is reordered
    on a device. `alphas` lists the width multipliers that have ImageNet weights, and `takes_alpha` says
    whether there are other widths. `min_size` is the smallest input side that Keras builds it for.
    `licence` is the SPDX licence of its ImageNet weights as Keras' documentation of
    `keras.applications` gave it in Keras 2; "" where it gave none.
    """

    build: Build
    summary: str
    scale: Values = 1 / 127.5
    offset: Values = -1.0
    alphas: tuple[float, ...] = ()
    default_size: int = 224
    pretrained: bool = True
    takes_alpha: bool = False
    min_size: int = 32
    bgr: bool = False
    licence: str = ""


ADOPTED = "adopted"
"""Backbone in the recipe of a run whose model was trained elsewhere: nothing is built, nothing trains."""


def split_name(text: str) -> tuple[str, str]:
    """Split `[model] backbone` into a row's name and its argument: "hub:PATH" is ("hub", "PATH")."""
    name, _, argument = text.partition(":")
    return name, argument


def _application(name: str, *, takes_alpha: bool = False, **fixed: Any) -> Build:
    """Return the builder of a base of `keras.applications`; Keras picks its weights by alpha and size."""

    def build(inputs: Any, table: config.Model, weights: str | None) -> Any:
        import keras

        options = {**fixed, "alpha": table.alpha} if takes_alpha else fixed
        base = getattr(keras.applications, name)(
            input_tensor=inputs,
            input_shape=tuple(inputs.shape[1:]),
            weights=weights,
            include_top=False,
            **options,
        )
        _switch_off_dropout(base)
        _fix_names(base)
        return base.output

    return build


def _switch_off_dropout(model: Any) -> None:
    """Switch off dropouts inside a base (EfficientNet's skipped blocks): the head has its own.

    A frozen base then has the same features for an image every time, as with `training=False`.
    """
    for layer in model.layers:
        if hasattr(layer, "seed_generator"):
            layer.rate = 0.0


def _fix_names(model: Any) -> None:
    """Rename layers and operations that Keras numbered: it counts all of a process, we those of a base."""
    seen: Counter[str] = Counter()
    for layer in model.operations[1:]:
        words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
        plain = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
        if re.fullmatch(rf"{plain}(_\d+)?", layer.name):
            layer.name = plain if not seen[plain] else f"{plain}_{seen[plain]}"
            seen[plain] += 1


def _tiny(inputs: Any, table: config.Model, weights: str | None) -> Any:
    """Build six depthwise-separable blocks, for microcontrollers and for tests; no weights exist."""
    del weights
    x = _block(inputs, "stem", max(8, int(16 * table.alpha)), 2, depthwise=False)
    for number, (width, strides) in enumerate([(24, 2), (32, 2), (48, 1), (64, 2), (96, 1)], 1):
        x = _block(x, f"block_{number}", max(8, int(width * table.alpha)), strides, depthwise=True)
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


def _hub(inputs: Any, table: config.Model, weights: str | None) -> Any:
    """Build the feature vector (or map) of a TensorFlow Hub module or any SavedModel folder."""
    del weights
    return saved_model_layer.build(split_name(table.backbone)[1], inputs)


# Means and deviations of ImageNet as Keras' `imagenet_utils.preprocess_input` has them: "caffe"
# takes BGR less its mean, "torch" divides by 255 and normalizes. Here in RGB order.
CAFFE: dict[str, Any] = {"scale": 1.0, "offset": (-123.68, -116.779, -103.939), "bgr": True}
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCH: dict[str, Any] = {
    "scale": tuple(1 / 255 / deviation for deviation in _DEVIATION),
    "offset": tuple(-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)),
}
_BARE = {"include_preprocessing": False}
_V1, _V2, _V3 = (0.25, 0.5, 0.75, 1.0), (0.35, 0.5, 0.75, 1.0, 1.3, 1.4), (0.75, 1.0)

BACKBONES: dict[str, Backbone] = {
    "mobilenet": Backbone(
        _application("MobileNet", takes_alpha=True),
        "MobileNet v1",
        alphas=_V1,
        takes_alpha=True,
        licence="Apache-2.0",
    ),
    "mobilenetv2": Backbone(
        _application("MobileNetV2", takes_alpha=True),
        "MobileNet v2",
        alphas=_V2,
        takes_alpha=True,
        licence="Apache-2.0",
    ),
    "mobilenetv3small": Backbone(
        _application("MobileNetV3Small", takes_alpha=True, **_BARE),
        "MobileNet v3 Small",
        alphas=_V3,
        takes_alpha=True,
    ),
    "mobilenetv3large": Backbone(
        _application("MobileNetV3Large", takes_alpha=True, **_BARE),
        "MobileNet v3 Large",
        alphas=_V3,
        takes_alpha=True,
    ),
    "efficientnetv2b0": Backbone(_application("EfficientNetV2B0", **_BARE), "EfficientNet v2 B0", **TORCH),
    "efficientnetv2b1": Backbone(
        _application("EfficientNetV2B1", **_BARE), "EfficientNet v2 B1", default_size=240, **TORCH
    ),
    "efficientnetv2b2": Backbone(
        _application("EfficientNetV2B2", **_BARE), "EfficientNet v2 B2", default_size=260, **TORCH
    ),
    "efficientnetv2b3": Backbone(
        _application("EfficientNetV2B3", **_BARE), "EfficientNet v2 B3", default_size=300, **TORCH
    ),
    "xception": Backbone(_application("Xception"), "Xception", default_size=299, min_size=71, licence="MIT"),
    "inceptionv3": Backbone(
        _application("InceptionV3"), "Inception v3", default_size=299, min_size=75, licence="Apache-2.0"
    ),
    "vgg16": Backbone(_application("VGG16"), "VGG 16", licence="CC-BY-4.0", **CAFFE),
    "vgg19": Backbone(_application("VGG19"), "VGG 19", licence="CC-BY-4.0", **CAFFE),
    "resnet50": Backbone(_application("ResNet50"), "ResNet 50", licence="MIT", **CAFFE),
    "resnet50v2": Backbone(_application("ResNet50V2"), "ResNet 50 v2"),
    "densenet121": Backbone(_application("DenseNet121"), "DenseNet 121", licence="BSD-3-Clause", **TORCH),
    "hub": Backbone(_hub, "hub:PATH_OR_HANDLE, a feature vector of TensorFlow Hub or a SavedModel"),
    "tiny": Backbone(
        _tiny,
        "tledge's own small base, trained from scratch",
        default_size=96,
        pretrained=False,
        takes_alpha=True,
    ),
}
