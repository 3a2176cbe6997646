"""What MediaPipe's ImageClassifier answers with a `.tflite` file as it lies in a bundle.

python mediapipe_answers.py MODEL PIXELS.npy LABELS.txt OUT.npy [PHOTO...]

OUT is float32[images, classes] for PIXELS, uint8[images, H, W, 3]; with photos, which MediaPipe
decodes and resizes itself, their best class names are printed, one a line.
"""

import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def scores(classifier, image, labels):
    found = classifier.classify(image).classifications[0].categories
    by_name = {one.category_name: one.score for one in found}
    return [by_name[label] for label in labels]


def main(model, pixels, labels, out, *photos):
    names = Path(labels).read_text(encoding="utf-8").splitlines()
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=model), max_results=-1)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        images = [mp.Image(image_format=mp.ImageFormat.SRGB, data=one) for one in np.load(pixels)]
        np.save(out, np.array([scores(classifier, one, names) for one in images], np.float32))
        for photo in photos:
            answer = scores(classifier, mp.Image.create_from_file(photo), names)
            print(names[int(np.argmax(answer))])


if __name__ == "__main__":
    main(*sys.argv[1:])
