"""Install each extra alone, with the pinned versions, and import what it promises.

Run by `make extras`; it downloads some gigabytes. The `gpu` extra is only resolved, not
installed: it pulls CUDA libraries that are of no use without such a card.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
IMPORTS = {
    "": "tledge, ai_edge_litert.interpreter, PIL, rich",
    "train": "tledge, keras, tensorflow, tensorflow_datasets, matplotlib, jinja2",
    "export": "tledge, tensorflow, tf2onnx, onnx, onnxruntime, jinja2",
    "jax": "tledge, jax, keras, h5py, matplotlib, jinja2",
    "heic": "tledge, pillow_heif",
    "hub": "tledge, tensorflow_hub",
    "microcontroller": "tledge, tflite_micro, ethosu.vela.vela",
}


def install(python: Path, extra: str, *options: str) -> None:
    what = f"{ROOT}[{extra}]" if extra else str(ROOT)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *options, "-c", str(ROOT / "constraints.txt"), what], check=True)


def main() -> None:
    for extra, imports in IMPORTS.items():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            python = Path(folder) / "bin" / "python"
            install(python, extra)
            backend = "import os; os.environ['KERAS_BACKEND'] = 'jax'; " if extra == "jax" else ""
            subprocess.run([str(python), "-c", f"{backend}import {imports}"], check=True)
            subprocess.run([str(python), "-m", "tledge", "--version"], check=True)
            print(f"{extra or 'default'}: installs alone, imports {imports}", flush=True)
            if not extra:
                install(python, "gpu", "--dry-run")
                print("gpu: resolves", flush=True)


if __name__ == "__main__":
    main()
