"""Recognize a backbone of `keras.applications` by its names, and the scaling that it was made for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tledge.preprocessing.scaling import AROUND_ZERO, BYTES, CAFFE, TORCH, Scaling

MODELS: tuple[tuple[str, Scaling], ...] = (
    (r"mobilenetv3|efficientnet|convnext|regnet", BYTES),
    (r"resnet(50|101|152)v2|mobilenet|inception|xception|nasnet", AROUND_ZERO),
    (r"vgg(16|19)|resnet(50|101|152)", CAFFE),
    (r"densenet(121|169|201)", TORCH),
)
"""Patterns of a model's name and the scaling that `preprocess_input` of this backbone does."""

LAYERS: dict[str, Scaling] = {
    "block_1_expand": AROUND_ZERO,
    "conv_dw_1": AROUND_ZERO,
    "conv2_block1_preact_bn": AROUND_ZERO,
    "block1_sepconv1": AROUND_ZERO,
    "block5_conv3": CAFFE,
}
"""Layers of MobileNetV2, MobileNet, ResNetV2, Xception and VGG, which flat models keep."""


def scaling_of(names: Sequence[str]) -> tuple[str, Scaling] | None:
    """Return the name by which a backbone is recognized, and its scaling; None where none is."""
    for name in names:
        for pattern, scaling in MODELS:
            if re.match(pattern, name.lower()):
                return name, scaling
    return next(((name, LAYERS[name]) for name in names if name in LAYERS), None)
