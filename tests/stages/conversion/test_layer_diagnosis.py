"""`tledge inspect RUN --quantization`, and the layers that a failed int8 export names."""

import json
from pathlib import Path

from tests.helpers.command_line import Cli
from tests.helpers.quantization_faults import rescaled, thousandfold


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


def test_float_file_must_be_there_unchanged(own_run: Path, cli: Cli) -> None:
    path = own_run / "artifacts" / "tflite-fp32.tflite"
    path.write_bytes(path.read_bytes() + b" ")
    done = cli("inspect", own_run, "--quantization", "--quiet")
    assert done.code == 4 and "changed after it was exported" in done.err
    path.with_suffix(".json").unlink()
    done = cli("inspect", own_run, "--quantization", "--quiet")
    assert done.code == 1 and "--variant tflite-fp32" in done.err


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
