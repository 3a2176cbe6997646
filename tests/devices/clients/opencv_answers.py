"""What OpenCV's DNN module answers with an `.onnx` file as it lies in a bundle.

python opencv_answers.py MODEL PIXELS.npy OUT.npy    all images at once, and one by one: OUT.one.npy
"""

import sys

import cv2
import numpy as np


def main(model, pixels, out):
    net, images = cv2.dnn.readNetFromONNX(model), np.load(pixels)
    net.setInput(images, "image")
    np.save(out, net.forward("probabilities"))
    rows = []
    for image in images:
        net.setInput(image[None], "image")
        rows.append(net.forward("probabilities").copy())
    np.save(out.replace(".npy", ".one.npy"), np.concatenate(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
