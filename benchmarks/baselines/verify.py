"""Bare runtimes, one thread each: python verify.py IMAGES.npy ARTIFACT... (.tflite or .onnx).

Nothing but the loop around `invoke` and `run`: no comparison, no check, no opening of files.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter


def opened(path: Path) -> Callable[[np.ndarray], None]:
    """Open an artifact; return a function that runs it on uint8[N, H, W, 3]."""
    return onnx(path) if path.suffix == ".onnx" else tflite(path)


def tflite(path: Path) -> Callable[[np.ndarray], None]:
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    answer = interpreter.get_output_details()[0]["index"]

    def run(images: np.ndarray) -> None:
        for image in images:
            interpreter.set_tensor(source, image[None])
            interpreter.invoke()
            interpreter.get_tensor(answer)

    return run


def onnx(path: Path) -> Callable[[np.ndarray], None]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(images: np.ndarray) -> None:
        for start in range(0, len(images), 32):
            session.run(None, {name: images[start : start + 32]})

    return run


if __name__ == "__main__":
    pixels = np.load(sys.argv[1])
    for artifact in map(Path, sys.argv[2:]):
        answer_all, started = opened(artifact), time.perf_counter()
        answer_all(pixels)
        print(f"{artifact.name}: {time.perf_counter() - started:.2f} s")
