"""Classify one photo with Keras: python predict.py MODEL.keras PHOTO LABEL..."""

import argparse

import keras
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("photo")
parser.add_argument("labels", nargs="+")
args = parser.parse_args()

model = keras.models.load_model(args.model)
photo = keras.utils.load_img(args.photo, target_size=model.input_shape[1:3], interpolation="bilinear")
probabilities = model.predict(keras.utils.img_to_array(photo)[None], verbose=0)[0]
print(args.labels[np.argmax(probabilities)], f"{probabilities.max():.3f}")
