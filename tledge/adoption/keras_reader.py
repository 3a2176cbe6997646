"""Open somebody else's `.keras` file, in a process of its own: judged as data first, in Keras' safe mode."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from tledge._io import decompression, zip_guard
from tledge.adoption import accepted_classes
from tledge.errors import ArtifactError
from tledge.models import keras_file
from tledge.models.keras_file import CONFIG, MAX_CONFIG, METADATA, WEIGHTS


def read_metadata(content: bytes) -> dict[str, Any]:
    """Return what a `.keras` file says of the Keras that wrote it; empty where it says nothing readable."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = json.loads(decompression.read_member(archive, METADATA, MAX_CONFIG))
    except (ValueError, RecursionError, *zip_guard.DAMAGE):
        return {}
    return found if isinstance(found, dict) else {}


def open_model(content: bytes, where: str) -> Any:
    """Return the Keras model in a `.keras` file, without its optimizer.

    Raises:
        ArtifactError: it is damaged, or names classes that are not accepted.
    """
    try:
        cleaned = _cleaned(content, where)
    except ArtifactError:
        raise
    except (ValueError, RecursionError, *zip_guard.DAMAGE) as error:
        reason = " ".join(str(error).split())[:300] or repr(error)
        raise ArtifactError(f"{where}: damaged or no `.keras` file ({reason}).") from error
    return _load(cleaned, where)


def _cleaned(content: bytes, where: str) -> bytes:
    """Return a `.keras` file with the judged parts alone: no compile settings, nothing besides."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        zip_guard.check(archive.infolist())
        names = {entry.filename for entry in archive.infolist() if not entry.is_dir()}
        if extra := names - {CONFIG, METADATA, WEIGHTS}:
            raise ValueError(f"it holds the file {min(extra)!r} beside {CONFIG}, {METADATA} and {WEIGHTS}")
        config = json.loads(decompression.read_member(archive, CONFIG, MAX_CONFIG))
        if isinstance(config, dict):
            config.pop("compile_config", None)
            for part in (config, config.get("config")):
                if isinstance(part, dict):
                    _forget_compiling(part)
        accepted_classes.require(config, where)
        limit = keras_file.weights_limit(len(content))
        weights = decompression.read_member(archive, WEIGHTS, limit)
        keras_file.judge_weights(io.BytesIO(weights), limit)
        metadata = decompression.read_member(archive, METADATA, MAX_CONFIG)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        parts = ((CONFIG, json.dumps(config).encode()), (METADATA, metadata), (WEIGHTS, weights))
        for name, data in parts:
            archive.writestr(name, data)
    return packed.getvalue()


def _forget_compiling(part: dict[str, Any]) -> None:
    """Remove what compiled nested models say of optimizers and losses."""
    part.pop("compile_config", None)
    layers = part.get("layers")
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, dict):
            _forget_compiling(layer)
            if isinstance(layer.get("config"), dict):
                _forget_compiling(layer["config"])


def _load(content: bytes, where: str) -> Any:
    import keras

    try:
        with tempfile.TemporaryDirectory(prefix="tledge-") as folder:
            path = Path(folder) / "model.keras"
            path.write_bytes(content)
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras, h5py and zipfile each raise classes of their own
        reason = " ".join(str(error).split())[:300]
        raise ArtifactError(f"{where}: Keras does not load it ({reason or repr(error)}).") from error
