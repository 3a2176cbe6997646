"""What an export writes down of its calibration images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.helpers.command_line import Cli
from tledge.conversion import calibration_data
from tledge.run import golden_set


def test_export_writes_the_record(small_run: Path) -> None:
    found = json.loads((small_run / "calibration.json").read_text())
    assert found["count"] == 200 and max(found["classes"].values()) - min(found["classes"].values()) <= 1
    assert found["stability"]["images"] == [100, 100] and found["stability"]["tensors"] > 12
    assert 0 < found["stability"]["largest"] < 1 and len(found["stability"]["worst"]) == 5


def test_export_leaves_test_photos_out(own_run: Path, cli: Cli) -> None:
    known = golden_set.load(own_run / "golden.npz")
    images = known.images.copy()
    images[0] = np.load(own_run / calibration_data.CALIBRATION)[0]
    golden_set.save(own_run / "golden.npz", replace(known, images=images))
    done = cli("export", own_run, "--variant", "tflite-int8")
    noted = json.loads((own_run / "calibration.json").read_text())
    assert noted["count"] == 199 and noted["stability"]["images"] == [100, 99]
    assert [one.split(" is ")[1] for one in noted["disjoint_from"]["left_out"]] == [known.ids[0]]
    assert "1 train photos are test photos too" in " ".join(done.err.split())
