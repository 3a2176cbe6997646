"""A conversion that someone else made, beside the Keras model of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tests.helpers.command_line import Cli
from tests.helpers.loose_models import onnx_model
from tledge.config import Parity
from tledge.errors import RecipeError
from tledge.preprocessing.scaling import AROUND_ZERO, parse_scaling
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import ParityRow
from tledge.verification.foreign import verify_foreign
from tledge.verification.verify import failure

WEIGHTS = np.array([[30.0, -20.0, -10.0], [-20.0, 30.0, -10.0], [-10.0, -10.0, 40.0]], np.float32)
"""Of red, green and blue for cat, dog and owl: each colour is a class."""

RANGE = {"Image.NominalPixelRange": "Normalized_1_1", "Image.BitmapPixelFormat": "Rgb8"}


def softmax(logits: Any) -> Any:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return (exponentials / exponentials.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose Keras model has a class for each colour, and a middle of 127.5."""
    folder = RunFolder(fake_artifacts.run(tmp_path / "run"))
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (300, 1, 1, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    biased = np.array([0.0, 0.0, 3.0])
    values = colours.mean((1, 2)) / 127.5 - 1
    probabilities = softmax(values @ (WEIGHTS / 10) + biased)
    labels = probabilities.argmax(1)
    ids = tuple(map(str, range(300)))
    golden_set.save(folder.golden, golden_set.Golden(colours, labels, probabilities, ids, {}))
    return folder


def convert(folder: Path, name: str = "model", labels: str = "cat\ndog\nowl\n", **options: Any) -> Path:
    """Write a conversion that takes -1..1, with the bias of the run's model as a first operator."""
    shift = np.linalg.solve((WEIGHTS / 10).T, np.array([0.0, 0.0, 3.0])).tolist()
    given = {"weights": WEIGHTS / 10, "first": [("Add", shift)], "properties": RANGE} | options
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(onnx_model(**given))
    (folder / "labels.txt").write_text(labels)
    return folder / f"{name}.onnx"


def row_of(path: Path, run: RunFolder, **options: Any) -> ParityRow:
    (row,) = verify_foreign(path, run, Parity(), **options).rows
    return row


def test_good_conversion_passes(run: RunFolder, tmp_path: Path) -> None:
    row = row_of(convert(tmp_path / "m"), run)
    assert (row.verdict, row.agreement, row.reasons) == ("passed", 1.0, ())
    assert row.variant == "model" and row.images == 300
    assert any("scaled as -1..1, from its metadata" in line for line in row.remarks)


def test_wrong_scaling_is_named(run: RunFolder, tmp_path: Path) -> None:
    path = convert(tmp_path / "m", properties={"Image.NominalPixelRange": "Normalized_0_1"})
    row = row_of(path, run)
    assert row.verdict == "failed" and not row.structural
    assert "its pixels are scaled as 0..1, and it wants -1..1" in row.reasons[0]
    assert row_of(path, run, scaling=AROUND_ZERO).verdict == "passed"


def test_swapped_channels_are_named(run: RunFolder, tmp_path: Path) -> None:
    row = row_of(convert(tmp_path / "m"), run, scaling=parse_scaling("-1..1,bgr"))
    assert row.verdict == "failed"
    assert "its channels are taken as BGR, and it wants RGB" in row.reasons[0]


def test_unknown_scaling_is_found_by_agreement_and_said(run: RunFolder, tmp_path: Path) -> None:
    row = row_of(convert(tmp_path / "m", properties={}), run)
    assert row.verdict == "passed" and any("does not say how its pixels are scaled" in x for x in row.remarks)


def test_unknown_scaling_of_another_model_asks(run: RunFolder, tmp_path: Path) -> None:
    path = convert(tmp_path / "m", properties={}, weights=np.zeros((3, 3), np.float32), first=())
    with pytest.raises(RecipeError, match="The test images do not show it"):
        row_of(path, run)


def test_permuted_labels_are_named(run: RunFolder, tmp_path: Path) -> None:
    """The outputs are in another order than labels.txt says: an app shows wrong names."""
    order = [1, 2, 0]
    row = row_of(convert(tmp_path / "m", weights=(WEIGHTS / 10)[:, order]), run)
    assert row.verdict == "failed" and any("labels are shuffled" in reason for reason in row.reasons)
    assert (
        row_of(
            convert(tmp_path / "m", labels="dog\nowl\ncat\n", weights=(WEIGHTS / 10)[:, order]), run
        ).verdict
        == "passed"
    )


def test_a_label_too_few_is_named(run: RunFolder, tmp_path: Path) -> None:
    path = convert(tmp_path / "m", labels="cat\ndog\n", weights=(WEIGHTS / 10)[:, :2])
    row = row_of(path, run)
    assert row.structural and "returns 2 values, and the run has 3 labels" in row.reasons[0]
    assert any("2 instead of 3, without owl" in reason for reason in row.reasons)
    report = verify_foreign(path, run, Parity())
    assert failure(report).exit_code == 4


@pytest.mark.parametrize("name", ["model_int8", "pets-quantized", "net.uint8"])
def test_float_under_an_integer_name_is_named(run: RunFolder, tmp_path: Path, name: str) -> None:
    row = row_of(convert(tmp_path / "m", name), run)
    assert row.structural and "a float model under an integer name" in row.reasons[0]


def test_other_name_promises_no_integers(run: RunFolder, tmp_path: Path) -> None:
    assert row_of(convert(tmp_path / "m", "point8"), run).verdict == "passed"


def test_another_size_is_resized_and_said(run: RunFolder, tmp_path: Path) -> None:
    row = row_of(convert(tmp_path / "m", size=(6, 6)), run)
    assert row.agreement == 1.0 and any("resized once more" in line for line in row.remarks)
    assert row_of(convert(tmp_path / "m", size=("H", "W")), run).agreement == 1.0


def test_run_is_left_as_it_was(run: RunFolder, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.is_file()}
    row_of(convert(tmp_path / "m"), run)
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.is_file()} == before


def test_options_that_do_not_fit_are_two(run: RunFolder, tmp_path: Path, cli: Cli) -> None:
    path = convert(tmp_path / "m")
    assert cli("verify", path, "--against", run.path, "--skew").code == 2
    assert "expected a .tflite or .onnx file" in cli("verify", tmp_path, "--against", run.path).err
    assert "go with --against" in cli("verify", run.path, "--scaling", "0..1").err
