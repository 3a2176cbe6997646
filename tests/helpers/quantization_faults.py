"""Runs whose network is built to break in 8 bits."""

from pathlib import Path
from typing import Any

import numpy as np

from tledge.run import golden_set


def rescaled(run: Path, block: str, factors: Any) -> None:
    """Multiply the channels of a depthwise layer's output, and divide the weights that read them.

    What Keras answers stays (nearly: ReLU6 cuts elsewhere); it becomes the run's reference.
    """
    from tledge.models import classifier

    net = classifier.load(run / "model.keras")
    norm, conv = net.get_layer(f"{block}_depthwise_BN"), net.get_layer(f"{block}_conv")
    made = factors(norm.gamma.shape[0]).astype(np.float32)
    norm.gamma.assign(norm.gamma.numpy() * made)
    norm.beta.assign(norm.beta.numpy() * made)
    conv.set_weights([conv.get_weights()[0] / made[None, None, :, None]])
    classifier.save(net, run / "model.keras")
    known = golden_set.load(run / "golden.npz")
    few = known.images[: golden_set.FAULT_IMAGES].astype(np.float32)
    answers = net.predict(known.images.astype(np.float32), verbose=0)
    faults = {one.name: net.predict(one.apply(few), verbose=0) for one in golden_set.FAULTS}
    golden_set.save(
        run / "golden.npz", golden_set.Golden(known.images, known.labels, answers, known.ids, faults)
    )


def thousandfold(channels: int) -> Any:
    """Scales from 1 down to a thousandth, in an order that does not follow the channels'."""
    return np.random.default_rng(0).permutation(np.logspace(-3, 0, channels))
