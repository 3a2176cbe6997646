"""int8 models that are built to break, and what repairs them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Done

from tledge import golden, runs

pytestmark = pytest.mark.slow
Cli = Callable[..., Done]


def rescaled(run: Path, block: str, factors: Any) -> None:
    """Multiply the channels of a depthwise layer's output, and divide the weights that read them.

    What Keras answers stays (nearly: ReLU6 cuts elsewhere); it becomes the run's reference.
    """
    from tledge import model

    net = model.load(run / "model.keras")
    norm, conv = net.get_layer(f"{block}_depthwise_BN"), net.get_layer(f"{block}_conv")
    made = factors(norm.gamma.shape[0]).astype(np.float32)
    norm.gamma.assign(norm.gamma.numpy() * made)
    norm.beta.assign(norm.beta.numpy() * made)
    conv.set_weights([conv.get_weights()[0] / made[None, None, :, None]])
    model.save(net, run / "model.keras")
    known = golden.load(run / "golden.npz")
    few = known.images[: golden.FAULT_IMAGES].astype(np.float32)
    answers = net.predict(known.images.astype(np.float32), verbose=0)
    faults = {one.name: net.predict(one.apply(few), verbose=0) for one in golden.FAULTS}
    golden.save(run / "golden.npz", golden.Golden(known.images, known.labels, answers, known.ids, faults))


def thousandfold(channels: int) -> Any:
    """Scales from 1 down to a thousandth, in an order that does not follow the channels'."""
    return np.random.default_rng(0).permutation(np.logspace(-3, 0, channels))


def outlier(channels: int) -> Any:
    """One channel that is 300 times larger than the others."""
    return np.where(np.arange(channels) == 3, 1.0, 1 / 300)


@pytest.mark.parametrize("factors", [thousandfold, outlier])
def test_broken_model_fails_and_is_repaired(own_run: Path, cli: Cli, factors: Any) -> None:
    rescaled(own_run, "block_3", factors)
    done = cli("export", own_run, "--int8", "--quiet")
    assert done.code == 3, done.out
    row = {one["variant"]: one for one in json.loads((own_run / "parity.json").read_text())["rows"]}
    assert row["tflite-fp32"]["verdict"] == "passed"
    done = cli("export", own_run, "--repair", "--quiet")
    assert done.code == 0, done.out
    details = runs.read_json(own_run / "artifacts" / "tflite-int8.json", "", "")["details"]
    names = [rung["name"] for rung in details["rungs"]]
    assert names[0] == "as converted" and details["repair"] == names[-1] != names[0]
    assert all(rung["verdict"] == "failed" for rung in details["rungs"][:-1])
    assert any("block_3_depthwise" in layer for layer in details["rungs"][-1]["layers"])
    assert f"{names[-1]} (taken)" in done.out


def test_sound_model_needs_no_remedy(own_run: Path, cli: Cli) -> None:
    done = cli("export", own_run, "--repair", "--quiet")
    assert done.code == 0, done.out
    details = runs.read_json(own_run / "artifacts" / "tflite-int8.json", "", "")["details"]
    assert len(details["rungs"]) <= 3
    assert details["held_out_images"] >= 300


def test_repair_repeats_byte_for_byte(own_run: Path, cli: Cli) -> None:
    rescaled(own_run, "block_3", thousandfold)
    found = []
    for _ in range(2):
        assert cli("export", own_run, "--repair", "--quiet").code == 0
        found.append(runs.sha256(own_run / "artifacts" / "tflite-int8.tflite"))
    assert found[0] == found[1]
