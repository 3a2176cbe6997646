"""A model of tledge's own, alone in a folder, adopted: nothing about it changes."""

from __future__ import annotations

import filecmp
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.command_line import Cli
from tledge.run.folder import RunFolder


@pytest.fixture(scope="module")
def photos(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos of the small run as files: some for training, all test photos."""
    folder = tmp_path_factory.mktemp("photos")
    golden, run = RunFolder(small_run).read_golden(), RunFolder(small_run).read_run()
    for number, (image, label) in enumerate(zip(golden.images, golden.labels, strict=True)):
        path = folder / ("test" if number % 2 else "train") / run.labels[label] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def test_own_model_is_adopted_unchanged(cli: Cli, small_run: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copy(small_run / "model.keras", tmp_path / "alone.keras")
    out, described = tmp_path / "small", RunFolder(small_run).read_run().description
    done = cli(
        "adopt", tmp_path / "alone.keras", "--photos", photos, "--out", out, "--json", "--quiet",
        "--set", f"recipe.description={described}",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert filecmp.cmp(small_run / "model.keras", out / "model.keras", shallow=False)
    assert filecmp.cmp(small_run / "model.keras", out / "adopted" / "alone.keras", shallow=False)
    run, before = json.loads(done.out), RunFolder(small_run).read_golden()
    assert run["origin"]["scaling_from"] == "model" and "cannot know" in run["remarks"][0]
    of_image = {image.tobytes(): row for image, row in zip(before.images, before.probabilities, strict=True)}
    golden = RunFolder(out).read_golden()
    expected = np.stack([of_image[image.tobytes()] for image in golden.images])
    np.testing.assert_allclose(golden.probabilities, expected, atol=1e-6)
    assert cli("export", out, "--variant", "tflite-fp32", "--quiet").code in (0, 6)
    assert filecmp.cmp(
        small_run / "artifacts/tflite-fp32.tflite", out / "artifacts/tflite-fp32.tflite", shallow=False
    )


def test_refusals_leave_nothing(cli: Cli, small_run: Path, photos: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    names = RunFolder(small_run).read_run().labels
    labels.write_text("\n".join([*names[1:], names[0]]))
    out = tmp_path / "runs" / "mine"
    done = cli(
        "adopt", small_run / "model.keras", "--photos", photos, "--labels", labels, "--out", out, "--quiet"
    )
    assert done.code == 2 and f"in the order {', '.join(names)} on" in done.err
    assert not out.exists()
