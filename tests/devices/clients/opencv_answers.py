"""What OpenCV's DNN module answers with an `.onnx` or `.tflite` file as it lies in a bundle.

python opencv_answers.py MODEL PIXELS.npy OUT.npy    all images at once, and one by one: OUT.one.npy
"""

import sys

import cv2
import numpy as np


def main(model, pixels, out):
    images = np.load(pixels)
    if model.endswith(".tflite"):  # for which OpenCV takes the colours one after the other
        net = cv2.dnn.readNetFromTFLite(model)
        net.setInput(np.ascontiguousarray(images[:1].transpose(0, 3, 1, 2).astype(np.float32)))
        np.save(out, net.forward())
        return
    net = cv2.dnn.readNetFromONNX(model)
    net.setInput(images, "image")
    np.save(out, net.forward("probabilities"))
    rows = []
    for image in images:
        net.setInput(image[None], "image")
        rows.append(net.forward("probabilities").copy())
    np.save(out.replace(".npy", ".one.npy"), np.concatenate(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
