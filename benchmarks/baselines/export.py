"""Every format one after the other, each from Keras: python export.py MODEL.keras PHOTOS OUT.

`model.export` for SavedModel and ONNX and `TFLiteConverter.from_keras_model` for TFLite, with the
options and the representative dataset that "Post-training integer quantization" of LiteRT has.
"""

import argparse
import json
from pathlib import Path

import keras
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("photos")
parser.add_argument("out", type=Path)
args = parser.parse_args()
args.out.mkdir(parents=True)

model = keras.models.load_model(args.model)
model.export(args.out / "saved_model", verbose=False)
model.export(args.out / "model.onnx", format="onnx", verbose=False)


def representative():
    photos = keras.utils.image_dataset_from_directory(
        f"{args.photos}/train", image_size=model.input_shape[1:3], batch_size=1, seed=0, verbose=False
    )
    for image, _ in photos.take(200):
        yield [image]


def convert(name: str, **options: object) -> None:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for option, value in options.items():
        setattr(converter, option, value)
    if name == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if name == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (args.out / f"{name}.tflite").write_bytes(converter.convert())


quantized = {"optimizations": [tf.lite.Optimize.DEFAULT]}
integer_io = {"inference_input_type": tf.uint8, "inference_output_type": tf.uint8}
convert("fp32")
convert("fp16", **quantized)
convert("dynamic", **quantized)
convert("int8", **quantized, **integer_io, representative_dataset=representative)
print(json.dumps({path.name: path.stat().st_size for path in sorted(args.out.iterdir()) if path.is_file()}))
