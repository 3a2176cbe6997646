"""A bundle opened to predict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.deep_images import png16
from tests.helpers.doubt import FITTED
from tests.helpers.fake_artifacts import bundle
from tests.helpers.fake_device_bundle import change
from tledge.errors import ArtifactError
from tledge.inference import predictor
from tledge.inference.predict import predict
from tledge.inference.predictor import open_predictor


def with_confidence(folder: Path, fitted: dict[str, Any] | None) -> Path:
    """The tiny bundle, its manifest naming this confidence."""
    raw = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(raw | {"confidence": fitted}))
    return folder


def test_bundle_brings_its_confidence(tmp_path: Path) -> None:
    folder = with_confidence(bundle(tmp_path / "bundle"), asdict(FITTED))
    assert open_predictor(folder).confidence == FITTED
    assert open_predictor(folder / "tflite-fp32.tflite").confidence is None
    assert open_predictor(with_confidence(folder, None)).confidence is None


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
