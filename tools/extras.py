"""Install each extra alone, with the pinned versions, import what it promises, and ask `tledge doctor`.

Run by `make extras`; it downloads some gigabytes. The `gpu` extra is only resolved, not
installed: it pulls CUDA libraries that are of no use without such a card. `python tools/extras.py
default export all` does only these.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
IMPORTS = {
    "": "tledge.api, ai_edge_litert.interpreter, PIL, rich",
    "train": "tledge, keras, tensorflow, tensorflow_datasets, matplotlib, jinja2",
    "export": "tledge, tensorflow, tf2onnx, onnx, onnxruntime, jinja2",
    "jax": "tledge, jax, keras, h5py, matplotlib, jinja2",
    "heic": "tledge, pillow_heif",
    "hub": "tledge, tensorflow_hub",
    "sign": "tledge.bundle.signing, cryptography, jinja2",
    "docs": "tledge, sphinx, furo, myst_parser",
    "microcontroller": "tledge, tflite_micro, ethosu.vela.vela",
    "all": "tledge, tensorflow, tensorflow_datasets, tf2onnx, pillow_heif, tensorflow_hub, tflite_micro",
}
LITERT, KERAS, EVERY = {"tflite"}, {"tflite", "saved_model"}, {"tflite", "saved_model", "onnx"}
NOTHING: set[str] = set()
TENSORFLOW = {"train with TensorFlow", "photos of TensorFlow Datasets"}
HEIC, HUB = {"HEIC photos"}, {"backbones of TensorFlow Hub"}
SIGN = {"sign bundles, check signatures"}
BOARDS = {"arena on microcontrollers", "estimates for Ethos-U"}
DOCTOR = {
    "": (NOTHING, LITERT, NOTHING),
    "train": (KERAS, KERAS, TENSORFLOW),
    "export": (EVERY, EVERY, NOTHING),
    "jax": (NOTHING, LITERT, {"train with JAX"}),
    "heic": (NOTHING, LITERT, HEIC),
    "hub": (KERAS, KERAS, HUB),  # it asks for tf_keras, and that for TensorFlow
    "microcontroller": (NOTHING, LITERT, BOARDS),
    "sign": (NOTHING, LITERT, SIGN),
    "all": (EVERY, EVERY, TENSORFLOW | HEIC | HUB | BOARDS | SIGN),
}
"""What `tledge doctor` has to find with an extra: formats that can be made, and opened, and other tasks."""


def install(python: Path, extra: str, *options: str) -> None:
    """Install tledge with an extra, at the pinned versions."""
    what = f"{ROOT}[{extra}]" if extra else str(ROOT)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *options, "-c", str(ROOT / "constraints.txt"), what], check=True)


def examine(python: Path, extra: str, elsewhere: str) -> None:
    """Run `tledge doctor` where no checkout can be imported, and compare with what has to be there."""
    command = [str(python), "-m", "tledge", "doctor", "--json", "--quiet"]
    done = subprocess.run(command, cwd=elsewhere, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    rows = found["variants"]
    made, opened = (
        {row["variant"].split("-")[0] for row in rows if row[key]["possible"]} for key in ("made", "opened")
    )
    able = {name for name, one in found["tasks"].items() if one["possible"]}
    assert (made, opened, able) == DOCTOR[extra], (extra, made, opened, able)
    every = [row[key] for row in rows for key in ("made", "opened", "inspected")]
    for one in (*every, *found["tasks"].values()):
        assert one["possible"] != one["command"].startswith("pip install "), (extra, one)
    assert len(found["packages"]) > 4, "constraints.txt is not in the wheel"
    other = [one["name"] for one in found["packages"] if one["version"] != one["tested"]]
    assert other == [], f"not in the tested version: {other}"


def main(wanted: list[str]) -> None:
    """Check the extras that are named, or all."""
    for extra, imports in IMPORTS.items():
        if wanted and (extra or "default") not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            python = Path(folder) / "bin" / "python"
            install(python, extra)
            backend = "import os; os.environ['KERAS_BACKEND'] = 'jax'; " if extra == "jax" else ""
            subprocess.run([str(python), "-c", f"{backend}import {imports}"], cwd=folder, check=True)
            subprocess.run([str(python), "-m", "tledge", "--version"], cwd=folder, check=True)
            examine(python, extra, folder)
            print(f"{extra or 'default'}: installs alone, imports {imports}; doctor is right", flush=True)
            if not extra:
                install(python, "gpu", "--dry-run")
                print("gpu: resolves", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
