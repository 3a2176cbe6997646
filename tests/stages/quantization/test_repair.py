"""int8 models that are built to break, and what repairs them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.command_line import Cli
from tests.helpers.quantization_faults import rescaled, thousandfold
from tledge._io import files
from tledge.formats.registry import VARIANTS

pytestmark = pytest.mark.slow(minutes=0.7)


def outlier(channels: int) -> Any:
    """One channel that is 300 times larger than the others."""
    return np.where(np.arange(channels) == 3, 1.0, 1 / 300)


def lean(run: Path, agreement: float = 0.9) -> None:
    """Export nothing but fp32 unless asked: what else there was has another reference now."""
    text = (run / "recipe.toml").read_text()
    text = text.replace("int8_agreement = 0.9", f"int8_agreement = {agreement}")
    (run / "recipe.toml").write_text(f'{text}\n[export]\nvariants = ["tflite-fp32"]\n')
    shutil.rmtree(run / "artifacts")


def details(run: Path, variant: str) -> Any:
    return files.read_json(run / "artifacts" / f"{variant}.json", "", "")["details"]


@pytest.mark.parametrize("factors", [thousandfold, outlier])
def test_broken_model_fails_and_is_repaired(own_run: Path, cli: Cli, factors: Any) -> None:
    rescaled(own_run, "block_3", factors)
    lean(own_run)
    done = cli("export", own_run, "--int8", "--quiet")
    assert done.code == 3, done.out
    row = {one["variant"]: one for one in json.loads((own_run / "parity.json").read_text())["rows"]}
    assert row["tflite-fp32"]["verdict"] == "passed"
    done = cli("export", own_run, "--repair", "--quiet")
    assert done.code == 0, done.out
    found = details(own_run, "tflite-int8")
    names = [rung["name"] for rung in found["rungs"]]
    assert names[0] == "as converted" and found["repair"] == names[-1] != names[0]
    assert all(rung["verdict"] == "failed" for rung in found["rungs"][:-1])
    assert any("block_3_depthwise" in layer for layer in found["rungs"][-1]["layers"])
    assert f"{names[-1]} (chosen)" in done.out.replace(" *", "")
    repaired = files.sha256(own_run / "artifacts" / "tflite-int8.tflite")
    assert cli("export", own_run, "--repair", "--force", "--quiet").code == 0
    assert files.sha256(own_run / "artifacts" / "tflite-int8.tflite") == repaired


def test_sound_model_needs_no_remedy(own_run: Path, cli: Cli) -> None:
    lean(own_run)
    done = cli("export", own_run, "--repair", "--quiet")
    assert done.code == 0, done.out
    found = details(own_run, "tflite-int8")
    assert len(found["rungs"]) <= 3
    assert found["held_out_images"] >= 300


def test_layers_in_float_go_by_their_own_name(own_run: Path, cli: Cli) -> None:
    """The broken layer is left in float, and the file says so."""
    rescaled(own_run, "block_3", thousandfold)
    lean(own_run)
    done = cli("export", own_run, "--variant", "tflite-mixed", "--quiet")
    assert done.code == 0, done.out
    assert any(
        "block_3_depthwise" in layer for layer in details(own_run, "tflite-mixed")["rungs"][-1]["layers"]
    )
    found = VARIANTS["tflite-mixed"].format.inspect(own_run / "artifacts" / "tflite-mixed.tflite")
    assert "float32" in found.activations and "DEQUANTIZE" in found.operators
    assert found.weights["int8"] > found.weights.get("float32", 0) / 4


def test_what_integers_cannot_do_ends_under_another_name(own_run: Path, cli: Cli) -> None:
    """Where no integer model may pass, --mixed goes on, and no tflite-int8 is left behind."""
    rescaled(own_run, "block_3", outlier)
    lean(own_run, agreement=1.0)
    assert cli("export", own_run, "--int8", "--quiet").code == 3
    done = cli("export", own_run, "--repair", "--mixed", "--quiet")
    left = sorted(path.stem for path in (own_run / "artifacts").glob("*.json"))
    assert left[0] != "tflite-int8" and len(left) == 2, done.out
    (other,) = set(left) - {"tflite-fp32"}
    taken = details(own_run, other)["rungs"][-1]
    assert other == f"tflite-{taken['mode']}" and taken["verdict"] == "passed"
    assert done.code == 0, done.out


def test_mixed_alone_is_refused(own_run: Path, cli: Cli) -> None:
    done = cli("export", own_run, "--mixed")
    assert done.code == 2 and "--repair" in done.err
