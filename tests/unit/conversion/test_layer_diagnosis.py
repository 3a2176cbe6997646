"""What is said of layers that cost most in 8 bits."""

from typing import Any

from tledge._io.json_records import to_json
from tledge.conversion.layer_diagnosis import Diagnosis, remarks
from tledge.quantization.sensitivity import CORRECTED, OUTPUT, ROUNDED, Cost, Layer, Sensitivity


def layer(name: str, **more: Any) -> Layer:
    return Layer(**{"name": name, "kind": "CONV_2D", "low": -1.0, "high": 6.0, "output_db": 40.0,
                    "output_channels": 2.0, **more})  # fmt: skip


def found(*layers: Layer, together: dict[str, Cost] | None = None) -> Sensitivity:
    return Sensitivity(100, 50, 1.0, together or {ROUNDED: Cost(0.02, 0.1)}, layers)


def test_costly_weights_get_a_sentence() -> None:
    costs = {"rounded": Cost(0.067, 0.2), "corrected": Cost(0.008, 0.01), "output": Cost(0.0, 0.01)}
    lines = remarks(found(layer("a"), layer("stem", **costs)), "runs/x")
    wanted = "stem: rounding its weights costs 6.7 points of agreement, 0.8 points with bias correction."
    assert lines[0] == wanted and "all weights rounded 2.0 points" in lines[1]
    assert lines[-1].startswith("`tledge export runs/x --repair`") and len(lines) == 3


def test_costly_outputs_tell_their_channels() -> None:
    wide = layer("deep", output=Cost(0.4, 0.5), output_channels=312.4)
    lines = remarks(found(wide, layer("even", output=Cost(0.03, 0.1))), "r")
    assert lines[0] == (
        "deep: outputs in 8 bits (-1 to 6) cost 40.0 points of agreement; "
        "its widest channel is 312 times as wide as the median channel."
    )
    assert lines[1] == "even: outputs in 8 bits (-1 to 6) cost 3.0 points of agreement."


def test_corrected_weights_alone_get_a_sentence() -> None:
    lines = remarks(found(layer("a", corrected=Cost(0.05, 0.1))), "r")
    assert lines[0] == "a: rounding its weights costs 5.0 points of agreement, with bias correction."


def test_nothing_is_claimed_of_sound_layers() -> None:
    together = {ROUNDED: Cost(0.0, 0.1), CORRECTED: Cost(0.0, 0.1), OUTPUT: Cost(0.03, 0.1)}
    lines = remarks(found(layer("a", output=Cost(0.005, 0.2)), layer("b"), together=together), "r")
    assert lines == (
        "No layer alone costs a point of agreement; a changes predictions most.",
        "Together: all weights rounded 0.0 points, all weights rounded, with bias correction 0.0 points, "
        "all outputs in 8 bits 3.0 points.",
    )


def test_three_layers_are_named() -> None:
    lines = remarks(found(*(layer(f"l{n}", output=Cost(n / 10, 0.0)) for n in range(1, 6))), "r")
    assert [line.split(":")[0] for line in lines[:3]] == ["l5", "l4", "l3"] and len(lines) == 5


def test_record_keeps_its_keys() -> None:
    """The report, and runs of earlier versions, have them."""
    fields = to_json(Diagnosis("run", "artifacts/tflite-fp32.tflite", "0" * 64, found(layer("a")), ("line",)))
    assert list(fields) == ["run", "model", "sha256", "found", "remarks"]
    assert fields["found"]["layers"][0]["name"] == "a"
