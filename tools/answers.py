"""Answers of a bundle's TFLite files to its golden pixels, computed by the machine that runs this.

python answers.py BUNDLE OUT    writes OUT/<variant>.<kernels>.npy, float32[cases, classes]
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parent.parent))  # tledge is not installed in the emulated userland
from tledge.runtime.sessions import open_session

KERNELS = ("xnnpack", "reference")


def main(bundle: Path, out: Path) -> None:
    """Run every `.tflite` of the bundle, image by image, on one thread."""
    print(f"uname -m: {os.uname().machine}")
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    pixels = np.load(bundle / "golden" / "pixels.npy")
    for artifact in manifest["artifacts"]:
        if artifact["path"].endswith(".tflite"):
            for kernels in KERNELS:
                found = open_session(bundle / artifact["path"], kernels).run(pixels)
                np.save(out / f"{artifact['variant']}.{kernels}.npy", found)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
