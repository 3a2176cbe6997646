"""Name the likely cause where an artifact's predictions differ from Keras'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tledge.metrics.parity_gates import CONSTANT_TOLERANCE
from tledge.run import golden_set
from tledge.run.golden_set import Golden

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def likely_causes(reference: Golden, found: NDArray[np.float32], names: tuple[str, ...]) -> tuple[str, ...]:
    """What most likely went wrong with an artifact whose answers `found` do not fit."""
    import numpy as np

    if not np.isfinite(found).all():
        return ("its answers are not numbers: the weights were dropped, or calibration saw NaN",)
    if (np.ptp(found, axis=0) < CONSTANT_TOLERANCE).all():
        return ("it answers the same to every image: weights dropped, or its input is crushed",)
    fault = _nearest_fault(reference, found)
    if fault:
        return (fault,)
    renamed = _renaming(reference.probabilities.argmax(1), found.argmax(1), names)
    return (renamed,) if renamed else ()


def _nearest_fault(reference: Golden, found: NDArray[np.float32]) -> str | None:
    """The known fault whose answers by Keras are far nearer than Keras' right ones."""
    import numpy as np

    best: tuple[float, str] | None = None
    for fault in golden_set.FAULTS:
        expected = reference.faults.get(fault.name)
        if expected is None or not len(expected):
            continue
        own = found[: len(expected)]
        right = float(np.abs(own - reference.probabilities[: len(expected)]).mean())
        wrong = float(np.abs(own - expected).mean())
        if wrong < right / 3 and (best is None or wrong < best[0]):
            best = (wrong, fault.message)
    return best[1] if best else None


def _renaming(before: NDArray[np.int64], after: NDArray[np.int64], names: tuple[str, ...]) -> str | None:
    """A message where the answers are Keras' under other names: the labels are shuffled."""
    import numpy as np

    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (before, after), 1)
    seen = counts.sum(1) > 0
    target = counts.argmax(1)
    moved = [index for index in np.flatnonzero(seen) if target[index] != index]
    is_one_to_one = len(set(target[seen].tolist())) == int(seen.sum())
    if not moved or not is_one_to_one or counts.max(1).sum() < 0.9 * len(before):
        return None
    pairs = ", ".join(f"{names[index]} → {names[target[index]]}" for index in moved[:5])
    return f"labels are shuffled: it answers {pairs}"
