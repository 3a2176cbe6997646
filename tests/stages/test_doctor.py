"""Every format is opened and made with what doctor says that it needs, and with no less."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.blocking import block
from tests.helpers.installed_packages import EVERYTHING
from tests.helpers.paths import ROOT
from tledge.formats.registry import VARIANTS

ALONE = """
import json, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.helpers.blocking import Blocker
sys.meta_path.insert(0, Blocker({blocked!r}))
from tledge.formats.registry import VARIANTS
"""


def run_alone(blocked: set[str], code: str) -> None:
    """Run code in a process where these packages are not installed."""
    head = ALONE.format(root=str(ROOT), blocked=sorted(blocked))
    done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


FORMATS_NEED = {name for one in VARIANTS.values() for name in one.to_convert.modules} | {"onnxruntime"}

OTHERS = EVERYTHING - FORMATS_NEED - {"h5py"}  # Keras asks for h5py


@pytest.mark.slow(minutes=1)
@pytest.mark.parametrize("name", ["saved_model", "tflite-int8", "onnx-fp32"])
def test_opening_takes_no_more_than_it_says(small_run: Path, name: str) -> None:
    variant = VARIANTS[name]
    path = small_run / "artifacts" / variant.filename
    for needs, use in (
        (variant.format.to_open, f"open(Path({str(path)!r}), 'xnnpack')"),
        (variant.format.to_inspect, f"inspect(Path({str(path)!r}))"),
    ):
        asked_for = {"flatbuffers", "h5py", *(["keras"] if "tensorflow" in needs.modules else [])}
        run_alone(EVERYTHING - asked_for - set(needs.modules), f"VARIANTS[{name!r}].format.{use}\n")


CONVERT = """
from tledge.formats.jobs import job_from_json
job = job_from_json(json.loads(Path({job!r}).read_text()))
VARIANTS[{name!r}].format.convert(job)
"""


def job(run: Path, name: str, out: Path) -> Path:
    """The export's own job for a variant, to be written below `out`."""
    raw = json.loads(
        (run / "logs" / f"{'tflite-int8' if name == 'onnx-int8' else name}.job.json").read_text()
    )
    raw.pop("variant")
    raw["target"] |= {"out": str(out / VARIANTS[name].filename), "mode": VARIANTS[name].mode_name}
    if VARIANTS[name].mode.calibrated:
        raw["uncorrected"] = None
    path = out / "job.json"
    path.write_text(json.dumps(raw))
    return path


@pytest.mark.slow(minutes=1)
@pytest.mark.parametrize("name", ["saved_model", "tflite-int8", "onnx-fp32", "onnx-int8"])
def test_making_takes_no_more_than_it_says(small_run: Path, name: str, tmp_path: Path) -> None:
    needed = set(VARIANTS[name].to_convert.modules) | {"flatbuffers"}  # TensorFlow asks for it
    path = job(small_run, name, tmp_path)
    run_alone((FORMATS_NEED | OTHERS) - needed, CONVERT.format(job=str(path), name=name))
    assert (tmp_path / VARIANTS[name].filename).exists()


@pytest.mark.parametrize(
    ("name", "module"),
    [
        (name, one)
        for name in ("saved_model", "tflite-int8", "onnx-int8")
        for one in VARIANTS[name].to_convert.modules
    ],
)
def test_making_takes_all_that_it_says(
    own_run: Path, name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tledge.errors import TledgeError
    from tledge.formats.jobs import job_from_json

    raw = json.loads(job(own_run, name, tmp_path).read_text())
    model = shutil.copy(own_run / "model.keras", tmp_path / "other.keras")  # in no process' memory
    raw["target"]["model"] = str(model)
    block(monkeypatch, {module})
    with pytest.raises((TledgeError, ImportError), match=module):
        VARIANTS[name].format.convert(job_from_json(raw))
