"""Real photos and real ImageNet weights: a short rock-paper-scissors run, and what is missing offline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
HEAD_ONLY = ("--set", "stage.0.epochs=2", "--set", "stage.1.epochs=0", "--set", "augment.views=1")


def tledge(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tledge", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def places(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment that points TFDS and Keras at local copies."""
    home = tmp_path_factory.mktemp("keras")
    (home / "models").symlink_to(real_data / "keras" / "models")
    return {"TFDS_DATA_DIR": str(real_data / "tfds"), "KERAS_HOME": str(home)}


@pytest.fixture(scope="module")
def rps(places: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rock-paper-scissors, the head alone for two epochs, exported as int8."""
    folder = tmp_path_factory.mktemp("rps")
    done = tledge(folder, "train", "rps", "--quiet", *HEAD_ONLY, **places)
    assert done.returncode == 0, done.stderr
    done = tledge(folder, "export", "--int8", "--quiet", **places)
    assert done.returncode in (0, 3), done.stderr
    return folder / "runs" / "rps"


def test_head_learns_real_hands(rps: Path) -> None:
    run = json.loads((rps / "run.json").read_text())
    assert run["test"]["images"] == 372 and run["train_images"] + run["validation"]["images"] == 2520
    assert run["test"]["accuracy"] > 0.85


def test_validation_holds_whole_groups(rps: Path) -> None:
    from tledge.data import cache, near_duplicates, splits
    from tledge.recipe import loader

    run = json.loads((rps / "run.json").read_text())
    made = loader.load(rps / "recipe.toml")
    prepared = cache.open_cache(Path(run["cache"]))
    rows = splits.split(prepared, made.data, made.meta.seed)
    groups = near_duplicates.groups_of(prepared)
    train, validation = (set(groups[rows[name]].tolist()) for name in ("train", "validation"))
    assert len(validation) >= 3 and not train & validation


def test_real_artifacts_agree(rps: Path) -> None:
    rows = {row["variant"]: row for row in json.loads((rps / "parity.json").read_text())["rows"]}
    for variant in ("saved_model", "tflite-fp32", "onnx-fp32"):
        assert rows[variant]["verdict"] == "passed", rows[variant]
        assert rows[variant]["agreement"] == 1 and rows[variant]["max_abs_dp"] <= 1e-4
    int8 = rows["tflite-int8"]
    assert not int8["structural"], int8["reasons"]
    assert int8["agreement"] > int8["without_bias_correction"]["agreement"]
    assert int8["agreement"] >= 0.97


def test_missing_data_names_files(places: dict[str, str], tmp_path: Path) -> None:
    empty = {
        "TFDS_DATA_DIR": str(tmp_path / "tfds"), "KERAS_HOME": str(tmp_path / "keras"),
        "TF_CPP_MIN_LOG_LEVEL": "3",  # JAX sets 1 where an earlier test loads it
    }  # fmt: skip
    done = tledge(tmp_path, "train", "rps", "--quiet", TLEDGE_CACHE=str(tmp_path / "cache"), **empty)
    assert done.returncode == 5, done.stderr
    # Tledge's own sentences alone, one for the photos and one for the weights.
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines[:1]] == ["tledge"] and len(lines) == 2, done.stderr
    assert lines[1].startswith("ImageNet weights are not on this machine"), done.stderr
    assert "rock_paper_scissors-<split>.tfrecord" in done.stderr
    assert str(tmp_path / "tfds" / "rock_paper_scissors" / "3.0.0") in done.stderr
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5" in done.stderr
    assert str(tmp_path / "keras" / "models") in done.stderr
    assert not (tmp_path / "runs").exists()
