"""Predict every photo of a folder with Keras alone: python adopt.py MODEL.keras PHOTOS."""

import argparse
from pathlib import Path

import keras

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("photos", type=Path)
args = parser.parse_args()

model = keras.models.load_model(args.model)
for split in sorted(path for path in args.photos.iterdir() if path.is_dir()):
    photos = keras.utils.image_dataset_from_directory(
        split, image_size=model.input_shape[1:3], batch_size=32, shuffle=False, verbose=False
    )
    model.predict(photos, verbose=0)
