"""MobileNetV2 trained from its layer 100 on: python fine_tune.py PHOTOS [--weights none] [--epochs 10].

Network, size, batches, epochs, first trained layer and optimizer as in
TensorFlow's "Transfer learning and fine-tuning"; that tutorial decodes its photos anew in every
epoch. This script keeps them decoded with `cache()`, as "Load and preprocess images" does, and
decodes them before the clock for `fit` starts.
"""

import argparse
import json
import time

import keras
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("photos")
parser.add_argument("--weights", default="imagenet")
parser.add_argument("--epochs", type=int, default=10)
args = parser.parse_args()
SIZE = (160, 160)


def load(split: str) -> tf.data.Dataset:
    return keras.utils.image_dataset_from_directory(
        f"{args.photos}/{split}", image_size=SIZE, batch_size=32, verbose=False
    )


started = time.perf_counter()
train, validation = load("train").cache(), load("validation").cache()
for _ in train.concatenate(validation):
    pass
decode = time.perf_counter() - started
train = train.shuffle(100).prefetch(tf.data.AUTOTUNE)
validation = validation.prefetch(tf.data.AUTOTUNE)

base = keras.applications.MobileNetV2(
    input_shape=(*SIZE, 3),
    alpha=0.35,
    include_top=False,
    weights=None if args.weights == "none" else args.weights,
)
for layer in base.layers[:100]:
    layer.trainable = False
inputs = keras.Input((*SIZE, 3))
x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
x = base(x, training=False)
x = keras.layers.GlobalAveragePooling2D()(x)
x = keras.layers.Dropout(0.2)(x)
model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
model.compile(keras.optimizers.RMSprop(1e-5), "sparse_categorical_crossentropy", metrics=["accuracy"])

started, cpu = time.perf_counter(), time.process_time()
model.fit(train, validation_data=validation, epochs=args.epochs, verbose=0)
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
accuracy = model.evaluate(load("test"), verbose=0)[1]
print(json.dumps({"seconds": seconds, "cpu": cpu, "decode": decode, "accuracy": accuracy}))
