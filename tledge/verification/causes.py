"""Name the likely cause where an artifact's predictions differ from Keras'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tledge.metrics.parity_gates import CONSTANT_TOLERANCE
from tledge.run import golden_set
from tledge.run.golden_set import Golden

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def likely_causes(
    reference: Golden, predictions: NDArray[np.float32], names: tuple[str, ...]
) -> tuple[str, ...]:
    """Name the most likely cause of predictions float32[N, classes] that do not match the golden set.

    Returns one sentence, or none where no known cause fits.
    """
    import numpy as np

    if not np.isfinite(predictions).all():
        return ("its predictions are not numbers: the weights were dropped, or calibration saw NaN",)
    if (np.ptp(predictions, axis=0) < CONSTANT_TOLERANCE).all():
        return (
            "it predicts the same for every image: weights were dropped, or the input scaling collapses "
            "all values",
        )
    fault = _known_fault(reference, predictions)
    if fault:
        return (fault,)
    shuffled = _shuffled_labels(reference.probabilities.argmax(1), predictions.argmax(1), names)
    return (shuffled,) if shuffled else ()


def _known_fault(reference: Golden, predictions: NDArray[np.float32]) -> str | None:
    """Return the message of the known preprocessing fault that the predictions match best.

    The predictions must be three times nearer to Keras' with the fault than to Keras' without it.
    """
    import numpy as np

    nearest: tuple[float, str] | None = None
    for fault in golden_set.FAULTS:
        with_fault = reference.faults.get(fault.name)
        if with_fault is None or not len(with_fault):
            continue
        own = predictions[: len(with_fault)]
        to_keras = float(np.abs(own - reference.probabilities[: len(with_fault)]).mean())
        to_fault = float(np.abs(own - with_fault).mean())
        if to_fault < to_keras / 3 and (nearest is None or to_fault < nearest[0]):
            nearest = (to_fault, fault.message)
    return nearest[1] if nearest else None


def _shuffled_labels(
    keras: NDArray[np.int64], artifact: NDArray[np.int64], names: tuple[str, ...]
) -> str | None:
    """Return a message where 90 % of the predicted classes int64[N] are Keras' in another order of labels."""
    import numpy as np

    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (keras, artifact), 1)
    occurs = counts.sum(1) > 0
    target = counts.argmax(1)
    moved = [index for index in np.flatnonzero(occurs) if target[index] != index]
    is_one_to_one = len(set(target[occurs].tolist())) == int(occurs.sum())
    if not moved or not is_one_to_one or counts.max(1).sum() < 0.9 * len(keras):
        return None
    pairs = ", ".join(f"{names[index]} → {names[target[index]]}" for index in moved[:5])
    return f"labels are shuffled: it predicts {pairs}"
