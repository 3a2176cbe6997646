"""The C++ of the microcontroller project, and models that it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_artifacts, fake_integer
from tests.helpers.fake_device_bundle import write_sums
from tests.helpers.microcontroller import MODEL, stand_in
from tests.helpers.paths import ROOT
from tledge.devices import mcu_sources, projects
from tledge.errors import ArtifactError, RecipeError


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for tflite-micro and Vela."""
    stand_in(monkeypatch)


def test_registers_exactly_the_operators() -> None:
    text = mcu_sources.operators_header(["CONV_2D", "PADV2", "RELU6"])
    assert "MicroMutableOpResolver<3>" in text
    assert [
        name for name in ("AddConv2D()", "AddPadV2()", "AddRelu6()") if f"resolver.{name}" not in text
    ] == []


def test_unknown_operator_is_refused() -> None:
    with pytest.raises(ArtifactError, match="FlexRandom"):
        mcu_sources.operators_header(["CONV_2D", "FlexRandom"])


def test_cases_show_different_answers() -> None:
    answers = np.eye(4, dtype=np.uint8)[[2, 2, 2, 1, 2, 0, 3]]
    assert mcu_sources.select_cases(answers) == [0, 3, 5]
    assert mcu_sources.select_cases(answers[:3]) == [0, 1, 2]
    assert mcu_sources.select_cases(answers[:1]) == [0]


def test_answers_of_another_model_are_refused(tmp_path: Path, measured: None) -> None:
    bundle = fake_integer.bundle(tmp_path / "bundle", MODEL)
    path = bundle / "golden" / "tflite-int8.reference.npy"
    answers = np.load(path)
    answers[4, 1] += 1 / 256
    np.save(path, answers)
    write_sums(bundle)
    with pytest.raises(ArtifactError, match="outputs for 1 of 6 golden cases differ"):
        projects.fill("microcontroller", bundle, tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_damaged_artifact_is_refused(tmp_path: Path, measured: None) -> None:
    bundle = fake_integer.bundle(tmp_path / "bundle", MODEL)
    (bundle / "tflite-int8.tflite").write_bytes(MODEL[:-1] + b"!")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        projects.fill("microcontroller", bundle, tmp_path / "project")


def test_float_model_is_refused(tmp_path: Path, measured: None) -> None:
    bundle = fake_integer.bundle(tmp_path / "bundle", fake_artifacts.tflite(size=fake_integer.SIDE))
    with pytest.raises(
        ArtifactError, match=r"has float32 tensors\. Microcontrollers need an integer-only model"
    ):
        projects.fill("microcontroller", bundle, tmp_path / "project")


def test_mixed_variant_is_refused(tmp_path: Path, measured: None) -> None:
    bundle = fake_integer.bundle(tmp_path / "bundle", MODEL, "tflite-mixed")
    with pytest.raises(RecipeError, match="needs one of tflite-int8"):
        projects.fill("microcontroller", bundle, tmp_path / "project")


def test_bundle_without_reference_answers_is_refused(tmp_path: Path, measured: None) -> None:
    bundle = fake_integer.bundle(tmp_path / "bundle", MODEL)
    (bundle / "golden" / "tflite-int8.reference.npy").unlink()
    write_sums(bundle)
    with pytest.raises(ArtifactError, match="has no predictions of tflite-int8 with reference kernels"):
        projects.fill("microcontroller", bundle, tmp_path / "project")


def test_project_is_small() -> None:
    own = [path for path in (ROOT / "export/microcontroller").iterdir() if path.suffix != ".md"]
    assert sum(len(path.read_text().splitlines()) for path in own) < 300


@pytest.mark.parametrize("name", ["a\n#error evil", "a\\", "a??/", "*/ x", "\u2028é"])
def test_comment_ends_with_its_line(name: str) -> None:
    """A backslash at its end, or `??/` for one, would join the next line to it."""
    comment = mcu_sources.c_comment(name)
    assert comment.isascii() and "\n" not in comment and "?" not in comment
    assert not re.search(r"\\(?![0-7]{3})", comment)
