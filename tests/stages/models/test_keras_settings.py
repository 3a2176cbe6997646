"""A machine's `keras.json` changes no model: the same seed gives the same weights and the same shapes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STRANGE = {"backend": "torch", "image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}

BUILD = """
import hashlib
from tledge._process import optional_imports
from tledge.config import Model
from tledge.models import classifier
keras = optional_imports.load("keras", "train")
keras.utils.set_random_seed(1)
net = classifier.build(Model(backbone="mobilenetv2", alpha=0.35, weights="none", image_size=32), 3)
print(keras.backend.backend(), keras.config.epsilon(), net.input_shape, net.compute_dtype)
print(hashlib.sha256(b"".join(weight.tobytes() for weight in net.get_weights())).hexdigest())
"""


def built(home: Path) -> str:
    """What a model is, built with the Keras settings in the folder `home`."""
    env = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", BUILD], env=env | {"KERAS_HOME": str(home)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


def test_settings_of_a_machine_change_no_model(tmp_path: Path) -> None:
    plain, strange = tmp_path / "plain", tmp_path / "strange"
    plain.mkdir()
    strange.mkdir()
    (strange / "keras.json").write_text(json.dumps(STRANGE), encoding="utf-8")
    assert built(plain) == built(strange) != ""
