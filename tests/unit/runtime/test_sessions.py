"""Sessions: which files and kernel families they take, and how ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tledge.bundle import model_files
from tledge.cli import listing
from tledge.errors import ArtifactError, RecipeError
from tledge.inference.predictor import InputChoices, open_predictor
from tledge.preprocessing.scaling import BYTES
from tledge.runtime.sessions import LiteRTSession, OnnxSession, open_session


def test_session_asks_for_exact_products() -> None:
    pytest.importorskip("onnxruntime")
    from tests.helpers.onnx_graphs import graph

    session = OnnxSession(graph().SerializeToString(), "net")._session
    assert session.get_session_options().get_session_config_entry("session.x64quantprecision") == "1"


def test_other_files_are_refused(tmp_path: Path) -> None:
    """The name decides before anything is read: a photo in the place of the model."""
    with pytest.raises(ArtifactError, match=r"not a \.tflite or \.onnx model\. Is the order MODEL PHOTO"):
        open_session(tmp_path / "photo.jpg")


def test_unknown_kernel_family_is_refused() -> None:
    with pytest.raises(RecipeError, match="Expected one of xnnpack, builtin, reference"):
        LiteRTSession(fake_artifacts.tflite(), "m.tflite", "gpu")


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin", "reference"])
def test_every_kernel_family_predicts(kernels: str, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(fake_artifacts.tflite())
    session = open_session(path, kernels)
    assert (session.kernels, session.image_size, session.classes) == (kernels, (8, 8), 3)
    assert session.run(fake_artifacts.pixels()).shape == (5, 3)


@pytest.mark.parametrize("name", ["M.TFLITE", "m.TfLite", "m.Tflite"])
def test_ending_in_any_case_opens(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(fake_artifacts.tflite())
    assert open_session(path).classes == 3
    assert [subject.variant for subject in model_files.find(path, tmp_path).artifacts] == [path.stem]
    assert listing.inspect(path)["format"] == "tflite"
    assert open_predictor(path, choices=InputChoices(BYTES)).variant == path.stem


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ArtifactError, match=r"takes images \(8, 8, 3\), got \(9, 9, 3\)"):
        LiteRTSession(fake_artifacts.tflite(), "m.tflite").run(np.zeros((1, 9, 9, 3), np.uint8))
