"""Real artifacts take and return what the page says of them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.paths import ROOT
from tledge.formats.jobs import CalibratedJob, ConversionTarget
from tledge.formats.registry import VARIANTS
from tledge.run.folder import RunFolder

PAGE = (ROOT / "docs" / "explanation" / "preprocessing.md").read_text(encoding="utf-8")


def test_artifacts_take_and_return_what_the_page_says(small_run: Path, tmp_path: Path) -> None:
    """Those of an ordinary export, and the one that takes no bytes."""
    claimed = {row[0]: row[1:] for row in re.findall(r"^\| `([\w-]+)` \| `(\w+)` \| `(\w+)` \|$", PAGE, re.M)}
    files = {one.variant: small_run / one.path for one in RunFolder(small_run).read_artifacts()}
    files["tflite-int16x8"] = wide(small_run, tmp_path)
    assert {"saved_model", "onnx-fp32", "tflite-fp32", "tflite-int8"} < set(files)
    for name, path in files.items():
        structure = VARIANTS[name].format.inspect(path)
        found = structure.inputs[0].dtype, structure.outputs[0].dtype
        assert found == claimed[name], name


def wide(run: Path, folder: Path) -> Path:
    """The `tflite-int16x8` of a run."""
    chosen = VARIANTS["tflite-int16x8"]
    out, labels = folder / chosen.filename, RunFolder(run).read_run().labels
    target = ConversionTarget(str(run / "model.keras"), str(out), chosen.mode_name, "small", "1", "", labels)
    chosen.format.convert(CalibratedJob(target, str(run / "evidence" / "calibration.npy")))
    return out
