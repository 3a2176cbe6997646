"""`tledge inspect RUN --quantization`, and the layers that a failed int8 export names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.command_line import Cli, Done
from tests.helpers.quantization_faults import rescaled, thousandfold

from tledge import plots
from tledge.diagnosis import remarks
from tledge.sensitivity import CORRECTED, OUTPUT, ROUNDED, Cost, Layer, Sensitivity



def layer(name: str, **more: Any) -> Layer:
    return Layer(**{"name": name, "kind": "CONV_2D", "low": -1.0, "high": 6.0, "output_db": 40.0,
                    "output_channels": 2.0, **more})  # fmt: skip


def found(*layers: Layer, together: dict[str, Cost] | None = None) -> Sensitivity:
    return Sensitivity(100, 50, 1.0, together or {ROUNDED: Cost(0.02, 0.1)}, layers)


def test_costly_weights_get_a_sentence() -> None:
    costs = {"rounded": Cost(0.067, 0.2), "corrected": Cost(0.008, 0.01), "output": Cost(0.0, 0.01)}
    lines = remarks(found(layer("a"), layer("stem", **costs)), "runs/x")
    wanted = "stem: rounding its weights costs 6.7 points of agreement, 0.8 points with its biases corrected."
    assert lines[0] == wanted and "all weights rounded 2.0 points" in lines[1]
    assert lines[-1].startswith("`tledge export runs/x --repair`") and len(lines) == 3


def test_costly_outputs_tell_their_channels() -> None:
    wide = layer("deep", output=Cost(0.4, 0.5), output_channels=312.4)
    lines = remarks(found(wide, layer("even", output=Cost(0.03, 0.1))), "r")
    assert lines[0] == (
        "deep: outputs in 8 bits (-1 to 6) cost 40.0 points of agreement; "
        "its widest channel is 312 times the middle one."
    )
    assert lines[1] == "even: outputs in 8 bits (-1 to 6) cost 3.0 points of agreement."


def test_corrected_weights_alone_get_a_sentence() -> None:
    lines = remarks(found(layer("a", corrected=Cost(0.05, 0.1))), "r")
    assert lines[0] == "a: rounding its weights costs 5.0 points of agreement, with its biases corrected."


def test_nothing_is_claimed_of_sound_layers() -> None:
    together = {ROUNDED: Cost(0.0, 0.1), CORRECTED: Cost(0.0, 0.1), OUTPUT: Cost(0.03, 0.1)}
    lines = remarks(found(layer("a", output=Cost(0.005, 0.2)), layer("b"), together=together), "r")
    assert lines == (
        "No layer alone costs a point of agreement; a changes answers most.",
        "Together: all weights rounded 0.0 points, all weights rounded and biases corrected 0.0 points, "
        "all outputs in 8 bits 3.0 points.",
    )


def test_three_layers_are_named() -> None:
    lines = remarks(found(*(layer(f"l{n}", output=Cost(n / 10, 0.0)) for n in range(1, 6))), "r")
    assert [line.split(":")[0] for line in lines[:3]] == ["l5", "l4", "l3"] and len(lines) == 5


def test_plot_repeats_and_takes_gaps(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    panels = {
        "points": {"outputs": [0.0, 3.0, 0.5], "weights": [None, 1.0, None]},
        "dB": {"outputs": [9.0, None, 1.0]},
    }
    for name in ("one.png", "two.png"):
        plots.layers(["a", "b", "c"], panels, tmp_path / name, "title")
    made = [(tmp_path / name).read_bytes() for name in ("one.png", "two.png")]
    assert made[0] == made[1] and made[0].startswith(b"\x89PNG")


@pytest.mark.slow
def test_layers_of_a_run(own_run: Path, cli: Cli) -> None:
    done = cli("inspect", own_run, "--quantization", "--quiet")
    assert done.code == 0, done.err
    made = json.loads((own_run / "evidence" / "quantization.json").read_text())
    names = [one["name"] for one in made["found"]["layers"]]
    assert names[0] == "scale" or "stem" in " ".join(names[:3])
    assert any("block_3_depthwise" in name for name in names) and len(set(names)) == len(names)
    assert made["found"]["images"] == 125 and made["found"]["calibration_images"] == 202
    assert (own_run / "evidence" / "quantization.png").read_bytes().startswith(b"\x89PNG")
    assert all(line in done.out.replace("\n", " ") for line in made["remarks"])
    assert "worst" in done.out and "more in" in done.out


@pytest.mark.slow
def test_float_file_must_be_there_unchanged(own_run: Path, cli: Cli) -> None:
    path = own_run / "artifacts" / "tflite-fp32.tflite"
    path.write_bytes(path.read_bytes() + b" ")
    done = cli("inspect", own_run, "--quantization", "--quiet")
    assert done.code == 4 and "changed after it was exported" in done.err
    path.with_suffix(".json").unlink()
    done = cli("inspect", own_run, "--quantization", "--quiet")
    assert done.code == 1 and "--variant tflite-fp32" in done.err


@pytest.mark.slow
def test_failed_export_names_the_planted_layer(own_run: Path, cli: Cli) -> None:
    rescaled(own_run, "block_3", thousandfold)
    done = cli("export", own_run, "--int8", "--quiet")
    assert done.code == 3, done.out
    said = [line for line in done.out.splitlines() if line.startswith("tflite-int8: ")]
    named = [line.split()[1] for line in said if "points of agreement" in line]
    assert named and named[0].startswith("block_3_"), said
    assert any("block_3_depthwise" in line and "widest channel" in line for line in said), said
    told = (own_run / "report.md").read_text(encoding="utf-8").split("## Quantization")[1]
    assert "block\\_3\\_depthwise" in told and "points of agreement" in told
    done = cli("inspect", own_run, "--quantization", "--quiet", "--json")
    layers = json.loads(done.out)["found"]["layers"]
    costly = max(layers, key=lambda one: one["output"]["lost"])
    assert "block_3_depthwise" in costly["name"] and costly["output_channels"] > 10
