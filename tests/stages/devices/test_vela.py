"""Estimates of Vela for a trained bundle."""

from __future__ import annotations

import pytest

from tests.helpers import fake_graphs
from tests.helpers.microcontroller import MODEL, needs_vela
from tledge.devices import vela
from tledge.errors import ArtifactError


@needs_vela
def test_vela_leaves_floats_on_cpu() -> None:
    """It ends with 0 there too."""
    integers = vela.estimate(MODEL, "model", "ethos-u55-128")
    floats = vela.estimate(fake_graphs.chain(), "chain", "ethos-u55-128")
    assert integers.on_cpu == {} and integers.cycles > 0 and integers.clock_mhz == 500
    assert floats.on_cpu == {
        "CONV_2D": 2,
        "DEPTHWISE_CONV_2D": 1,
        "FULLY_CONNECTED": 1,
        "MEAN": 1,
        "SOFTMAX": 1,
    }


@needs_vela
def test_vela_refuses_other_files() -> None:
    with pytest.raises(ArtifactError, match="Vela does not compile it"):
        vela.estimate(b"no model" * 20, "model", "ethos-u55-128")
