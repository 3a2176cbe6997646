"""Decode photos anew in every epoch: python decode.py PHOTOS [--epochs 10].

What `image_dataset_from_directory` does where nobody adds `cache()`, as in TensorFlow's "Transfer
learning and fine-tuning". Train and validation photos in every epoch, test photos once; the clock
runs over the batches alone, nothing is trained.
"""

import argparse
import json
import time

import keras
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("photos")
parser.add_argument("--epochs", type=int, default=10)
args = parser.parse_args()


def load(split: str) -> tf.data.Dataset:
    return keras.utils.image_dataset_from_directory(
        f"{args.photos}/{split}", image_size=(160, 160), batch_size=32, verbose=False
    ).prefetch(tf.data.AUTOTUNE)


started, cpu = time.perf_counter(), time.process_time()
train, validation, test = load("train"), load("validation"), load("test")
order = [train, validation] * args.epochs + [test]
images = sum(len(labels) for part in order for _, labels in part)
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
print(json.dumps({"seconds": seconds, "cpu": cpu, "images": images}))
