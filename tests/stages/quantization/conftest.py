"""The small network as a float graph, converted once."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.fake_models import calibrate, images, small_net


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network, its statistics fitted so that answers differ."""
    from tledge.models import classifier

    net = small_net()
    calibrate(net, images(16).astype(np.float32))
    path = tmp_path_factory.mktemp("flat") / "net.keras"
    classifier.save(net, path)
    return path


@pytest.fixture(scope="session")
def flat(saved: Path) -> bytes:
    """The same as float `.tflite`."""
    from tledge.formats.keras_freezing import float_tflite

    return float_tflite(saved)
