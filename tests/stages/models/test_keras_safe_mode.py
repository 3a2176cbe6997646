"""Keras' own safe mode: what tledge refuses before Keras sees it, Keras refuses as well.

This is the second guard, and it decides the lowest version of Keras that pyproject.toml allows:
`tools/floors.py` runs it there. tledge's own guard is tried in `torture` and in the tests of `keras_file`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # a file without its array is odd

SECRET = np.frombuffer(b"TOPSECRET-0123456789-abcdefgh-XY", np.float32)
"""What a file of the user holds: 32 bytes, as the weights of the model."""

Parts = dict[str, bytes]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """A model of one layer, as the files of its archive."""
    image = keras.Input((4,), name="image")
    network = keras.Model(image, keras.layers.Dense(2, use_bias=False, name="layer")(image))
    network.save(tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def load(parts: Parts, tmp_path: Path) -> Any:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as packed:
        for name, data in parts.items():
            packed.writestr(name, data)
    return keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)


def with_layer(parts: Parts, **facts: Any) -> Parts:
    """Replace the layer in the configuration."""
    raw = json.loads(parts["config.json"])
    layer = next(layer for layer in raw["config"]["layers"] if layer["class_name"] == "Dense")
    layer.update({"module": "keras.layers", "registered_name": None, **facts})
    return parts | {"config.json": json.dumps(raw).encode()}


def with_weights(parts: Parts, change: Callable[[Any, str], None]) -> Parts:
    """Change the dataset of the layer's weights."""
    import h5py

    stream = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(stream, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, entry: names.append(name) if isinstance(entry, h5py.Dataset) else None)
        del file[names[0]]
        change(file, names[0])
    return parts | {"model.weights.h5": stream.getvalue()}


def test_a_good_model_loads(parts: Parts, tmp_path: Path) -> None:
    assert load(parts, tmp_path).count_params() == 8


def test_words_of_a_file_are_not_read(parts: Parts, tmp_path: Path) -> None:
    """CVE-2025-12058: a lookup's vocabulary may be the path of a file."""
    (tmp_path / "secret.txt").write_text("TOPSECRET\nword\n")
    config = {"name": "layer", "vocabulary": str(tmp_path / "secret.txt"), "dtype": "string"}
    with pytest.raises((ValueError, TypeError)):
        loaded = load(with_layer(parts, class_name="StringLookup", config=config), tmp_path)
        pytest.fail(f"read {loaded.get_layer('layer').get_vocabulary()}")


def test_weights_of_another_file_are_not_read(parts: Parts, tmp_path: Path) -> None:
    """CVE-2026-1669: HDF5 may place an array in any file."""
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    outside = [(str(tmp_path / "secret.bin"), 0, SECRET.nbytes)]

    def change(file: Any, name: str) -> None:
        file.create_dataset(name, (4, 2), "f4", external=outside)

    try:
        weights = load(with_weights(parts, change), tmp_path).get_weights()
    except (ValueError, TypeError, OSError):
        return
    assert not np.array_equal(weights[0].ravel(), SECRET)


def test_weights_behind_a_link_are_not_read(parts: Parts, tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = SECRET.reshape(4, 2)

    def change(file: Any, name: str) -> None:
        file[name] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")

    try:
        weights = load(with_weights(parts, change), tmp_path).get_weights()
    except (ValueError, TypeError, KeyError, OSError):
        return
    assert not np.array_equal(weights[0].ravel(), SECRET)


def test_saved_model_of_another_folder_is_not_loaded(parts: Parts, tmp_path: Path) -> None:
    """A layer may name a folder with a program."""
    tf = pytest.importorskip("tensorflow")
    module = tf.Module()
    module.serve = tf.function(lambda x: x[:, :2], input_signature=[tf.TensorSpec((None, 4))])
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serve": module.serve})
    config = {"name": "layer", "filepath": str(tmp_path / "saved"), "call_endpoint": "serve"}
    with pytest.raises((ValueError, TypeError)):
        load(with_layer(parts, class_name="TFSMLayer", config=config), tmp_path)
        pytest.fail("loaded")


def test_code_does_not_run(parts: Parts, tmp_path: Path) -> None:
    import base64
    import marshal

    code = compile(f"open({str(tmp_path / 'ran.txt')!r}, 'w')", "x", "exec")
    function = {
        "class_name": "__lambda__",
        "config": {"code": base64.b64encode(marshal.dumps(code)).decode(), "defaults": None, "closure": None},
    }
    with pytest.raises((ValueError, TypeError)):
        load(with_layer(parts, class_name="Lambda", config={"name": "layer", "function": function}), tmp_path)
    assert not (tmp_path / "ran.txt").exists()
