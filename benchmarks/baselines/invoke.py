"""Bare decode and LiteRT in a running process: python invoke.py MODEL.tflite PHOTO..."""

import sys
from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image


def opened(model: str) -> Callable[[str], np.ndarray]:
    """Open a model; return a function from a photo's path to the model's raw output."""
    interpreter = Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    answer = interpreter.get_output_details()[0]["index"]
    _, height, width, _ = source["shape"]

    def run(photo: str) -> np.ndarray:
        image = Image.open(photo).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        interpreter.set_tensor(source["index"], np.asarray(image)[None])
        interpreter.invoke()
        return interpreter.get_tensor(answer)[0]

    return run


if __name__ == "__main__":
    predict = opened(sys.argv[1])
    for path in sys.argv[2:]:
        print(path, predict(path))
