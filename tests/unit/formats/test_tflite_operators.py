"""Operators of a TFLite file and their multiplications."""

from __future__ import annotations

import pytest

from tests.helpers import fake_graphs, fake_integer
from tests.helpers.microcontroller import MODEL
from tledge.errors import ArtifactError
from tledge.formats import tflite_operators


def test_macs_of_worked_example() -> None:
    found = tflite_operators.operators(MODEL, "model")
    assert [one.name for one in found] == [
        "QUANTIZE", "CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX", "QUANTIZE",
    ]  # fmt: skip
    assert {one.name: one.macs for one in found if one.macs} == fake_integer.MACS
    assert fake_integer.MACS == {"CONV_2D": 3456, "DEPTHWISE_CONV_2D": 1152, "FULLY_CONNECTED": 32}


def test_macs_of_pointwise_chain() -> None:
    found = {one.name: one.macs for one in tflite_operators.operators(fake_graphs.chain(), "chain")[1:]}
    assert found == {
        "DEPTHWISE_CONV_2D": 8 * 8 * 8 * 9, "CONV_2D": 8 * 8 * 8 * 8, "MEAN": 0,
        "FULLY_CONNECTED": 32, "SOFTMAX": 0,
    }  # fmt: skip


@pytest.mark.parametrize("damage", [MODEL[:40], MODEL[:200], b"x" * 100])
def test_damaged_model_has_no_operators(damage: bytes) -> None:
    with pytest.raises(ArtifactError, match="model"):
        tflite_operators.operators(damage, "model")
