"""A bundle opened to predict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.command_line import Cli
from tests.helpers.deep_images import png16
from tests.helpers.doubt import FITTED, risky
from tests.helpers.fake_artifacts import bundle
from tests.helpers.fake_device_bundle import change
from tledge._process import optional_imports
from tledge.errors import ArtifactError, MissingError, RecipeError
from tledge.inference import predictor
from tledge.inference.predict import predict
from tledge.inference.predictor import InputChoices, open_predictor
from tledge.preprocessing.scaling import BYTES


def with_confidence(folder: Path, fitted: dict[str, Any] | None) -> Path:
    """The tiny bundle, its manifest naming this confidence."""
    raw = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(raw | {"confidence": fitted}))
    return folder


def test_bundle_brings_its_confidence(tmp_path: Path) -> None:
    folder = with_confidence(bundle(tmp_path / "bundle"), asdict(FITTED))
    assert open_predictor(folder).confidence == FITTED
    assert open_predictor(folder / "tflite-fp32.tflite", choices=InputChoices(BYTES)).confidence is None
    assert open_predictor(with_confidence(folder, None)).confidence is None


class Keras:
    """In the place of the process that holds a run's Keras model."""

    kernels = "keras"

    def __init__(self, path: Path) -> None:
        assert path.name == "model.keras"

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.array([0.64, 0.04, 0.32], np.float32), (len(images), 1))


def test_run_without_bundle_predicts_with_keras(
    cli: Cli, shared_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "KerasSession", Keras)
    monkeypatch.setattr(optional_imports, "_is_installed", lambda _name: True)
    folder, photo = risky(tmp_path / "a run"), next((shared_bundle / "golden").glob("*.png"))
    done = cli("predict", folder, photo, "--top", 1)
    assert done.code == 0 and "51.1%" in done.out
    assert done.err.count("has no bundle yet: its Keras model predicts") == 1
    assert f"Type: tledge export '{folder}'" in done.err


def test_run_without_bundle_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_imports, "_is_installed", lambda name: name != "tensorflow")
    folder = risky(tmp_path / "run")
    with pytest.raises(MissingError, match=r"needs tensorflow, not installed here\. Type: tledge export"):
        open_predictor(folder)
    with pytest.raises(RecipeError, match="--variant chooses within a bundle, and this run has none yet"):
        open_predictor(folder, "tflite-int8")


@pytest.mark.parametrize(
    "edit",
    [lambda raw: raw["labels"].pop(), lambda raw: raw["labels"].append("x"),
     lambda raw: raw["input"].update(height=99)],
)  # fmt: skip
def test_manifest_of_another_model_is_refused(edit: Callable[[dict[str, Any]], Any], bundle: Path) -> None:
    change(bundle, edit)
    with pytest.raises(ArtifactError, match=r"manifest\.json does not match the model"):
        open_predictor(bundle)


def test_large_file_is_not_read(bundle: Path) -> None:
    with (bundle / "tflite-int8.tflite").open("r+b") as file:
        file.truncate(1 << 36)  # of nothing: it takes no room
    with pytest.raises(ArtifactError, match="too large, 65536 MiB; at most 512 are read"):
        open_predictor(bundle)


def test_answers_that_are_no_numbers_are_told(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = open_predictor(shared_bundle)
    photo = next((shared_bundle / "golden").glob("*.png"))
    for found, words_ in ((np.full((1, 3), np.nan), "are not numbers"), (np.zeros((1, 4)), "expected")):
        monkeypatch.setattr(predictor.session, "run", lambda _images, found=found: found.astype(np.float32))
        with pytest.raises(ArtifactError, match=words_):
            list(predict(predictor, [photo], 3))


def test_labels_of_windows_are_read(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"ant\r\nbee\r\n")
    assert predictor._neighbour_labels(tmp_path / "m.tflite", 2) == ("ant", "bee")
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbf0 ant\r\n1 bee\r\n")  # Teachable Machine's, edited
    assert predictor._neighbour_labels(tmp_path / "m.tflite", 2) == ("ant", "bee")
    (tmp_path / "labels.txt").write_bytes(b"a\n" * (1 << 20))
    with pytest.raises(ArtifactError, match=r"labels\.txt: too large"):
        predictor._neighbour_labels(tmp_path / "m.tflite", 2)


def test_range_of_the_bundle_prepares_deep_photos(bundle: Path) -> None:
    deep = png16(np.arange(64, dtype=np.uint16).reshape(8, 8) * 60)
    (refused,) = predict(open_predictor(bundle), [deep], 1)
    assert "Set [data] pixel_range = [0, 4095]" in refused.error
    change(bundle, lambda raw: raw["input"].update(pixel_range=[0, 4095]))
    opened = open_predictor(bundle)
    (answer,) = predict(opened, [deep], 1)
    assert opened.pixel_range == (0, 4095) and not answer.error and answer.best
