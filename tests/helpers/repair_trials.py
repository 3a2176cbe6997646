"""Repair candidates and their predictions, for choosing among them without a model."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tledge.config import Parity
from tledge.quantization import repair
from tledge.quantization.repair import SelectionSet
from tledge.quantization.repair_candidates import QuantizationCandidate

LABELS = np.arange(400) % 2

RIGHT = np.eye(2, dtype=np.float32)[LABELS]


def wrong(count: int) -> NDArray[np.float32]:
    """Return predictions of which `count` are not those of the float model."""
    predictions = RIGHT.copy()
    predictions[:count] = predictions[:count, ::-1]
    return predictions


def candidates(*counts: int) -> Iterator[QuantizationCandidate]:
    """Make candidates that are wrong on so many images, one by one."""
    for count in counts:
        yield QuantizationCandidate(f"{count} wrong", "int8", str(count).encode())


def stand_in(monkeypatch: pytest.MonkeyPatch) -> SelectionSet:
    """Let a candidate's data be the number of its wrong predictions; returns what it is tried on."""
    monkeypatch.setattr(repair, "with_bytes", lambda model: model)
    monkeypatch.setattr(repair, "run_on_all_cores", lambda data, _name, _images: wrong(int(data)))
    monkeypatch.setattr(repair, "_milliseconds", lambda _candidate, _images: 1.0)
    images = np.zeros((len(LABELS), 2, 2, 3), np.uint8)
    limits = Parity(int8_agreement=0.98, max_drop=1, max_class_drop=1)
    return SelectionSet(images, LABELS, ("no", "yes"), limits, images[:0])
