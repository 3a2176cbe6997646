"""Load a Keras model, freeze it and convert it to float TFLite, each step once in a process.

Results are kept for the last model (in all its modes), so that several conversions in one process share
them. Callers must not change them.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from tledge import contract
from tledge._process import optional_imports
from tledge.errors import ConversionError
from tledge.models import classifier
from tledge.quantization import quantization_aware
from tledge.run.read_once import State, state_of

SIGNATURE = "serving_default"


def tensorflow() -> Any:
    """Import TensorFlow, quiet and on the CPU; raise MissingError where it is not installed."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    return optional_imports.load("tensorflow", "export")


def keras_model(path: Path) -> Any:
    """Load the Keras model of a `.keras` file."""
    return _keras_model(path, state_of(path))


@lru_cache(maxsize=1)
def _keras_model(path: Path, state: State) -> Any:
    del state  # a file that changed under the same name is loaded again
    return classifier.load(path)


def float_tflite(path: Path, mode: str = "fp32") -> bytes:
    """Convert a Keras model to a `.tflite` with float32 input of batch 1, batch norm folded.

    Args:
        path: the `.keras` file.
        mode: precision of the weights: "fp32", "fp16" or "dynamic".

    Returns:
        The bytes of the `.tflite` file.

    Raises:
        ConversionError: the converter gives up.
    """
    return _float_tflite(path, state_of(path), mode)


@lru_cache(maxsize=3)  # one for each mode: the integer modes come last and take fp32 again
def _float_tflite(path: Path, state: State, mode: str) -> bytes:
    tf = tensorflow()
    folder = str(_frozen(path, state))
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
    if mode != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    return _convert(converter)


def quantize_aware_tflite(path: Path, ranges: Path) -> bytes:
    """Convert a quantization-aware model to integers only, with byte input and output.

    The graph contains the ranges, so the converter needs no calibration images.

    Args:
        path: the `.keras` file.
        ranges: the JSON file with the ranges of the activations.

    Returns:
        The bytes of the `.tflite` file.

    Raises:
        ConversionError: the converter gives up.
    """
    tf, trained = tensorflow(), keras_model(path)
    model = quantization_aware.build(trained, quantization_aware.load_ranges(ranges), to_train=False)
    folder = _save_frozen(model, _scratch() / "quantize_aware")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return _convert(converter)


def _convert(converter: Any) -> bytes:
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises bare Exceptions and its own classes
        raise ConversionError(f"the TFLite converter gave up: {error}") from error


@lru_cache(maxsize=1)
def _frozen(path: Path, state: State) -> Path:
    """Freeze the Keras model of a file; return the folder of the SavedModel."""
    return _save_frozen(_keras_model(path, state), Path(tempfile.mkdtemp(dir=_scratch())))


def _save_frozen(model: Any, folder: Path) -> Path:
    """Write a SavedModel with batch 1, one signature, contract names, and the weights as constants.

    Without freezing, converters of some versions keep the variables and drop their values. TensorFlow
    writes the names of the functions in here into the SavedModel, so they stay as they are.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf = tensorflow()
    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, contract.INPUT_NAME)
    function = tf.function(lambda image: model(image, training=False), input_signature=[spec])
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    module = tf.Module()
    module.answer = tf.function(
        lambda image: {contract.OUTPUT_NAME: frozen(image)[0]}, input_signature=[spec]
    )
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: module.answer})
    return folder


@lru_cache(maxsize=1)
def _scratch() -> Path:
    """Make a temporary folder, which is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="tledge-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
