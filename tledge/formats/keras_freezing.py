"""The model on its way into a converter, each step done once in a process: loaded, frozen, as TFLite.

Everything here is kept for the last model that was asked for (in all its modes), so that several
conversions in one process share it. Callers do not change what they get.
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
from tledge._io import files
from tledge._process import optional_imports
from tledge.errors import ConversionError
from tledge.models import classifier
from tledge.quantization import quantization_aware

SIGNATURE = "serving_default"


def tensorflow() -> Any:
    """TensorFlow, quiet and on the CPU; raises MissingError where it is not installed."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    return optional_imports.load("tensorflow", "export")


def keras_model(path: Path) -> Any:
    """The Keras model of a `.keras` file."""
    return _keras_model(path, files.sha256(path))


@lru_cache(maxsize=1)
def _keras_model(path: Path, sha256: str) -> Any:
    del sha256  # the file may have changed under the same name
    return classifier.load(path)


def float_tflite(path: Path, mode: str = "fp32") -> bytes:
    """A `.tflite` with float32 input of batch 1, weights in the precision of `mode`, batch norm folded.

    `mode` is fp32, fp16 or dynamic. Raises ConversionError where the converter gives up.
    """
    return _float_tflite(path, files.sha256(path), mode)


@lru_cache(maxsize=3)  # one a mode: the integer modes come last and take fp32 again
def _float_tflite(path: Path, sha256: str, mode: str) -> bytes:
    tf = tensorflow()
    folder = str(_frozen(path, sha256))
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
    if mode != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises bare Exceptions and its own classes
        raise ConversionError(f"the TFLite converter gave up: {error}") from error


def quantize_aware_tflite(path: Path, ranges: Path) -> bytes:
    """Integers only, with byte input and output: the network of `path` with the activations' `ranges`.

    The ranges stand in the graph, so the converter needs no photos. Raises ConversionError where it
    gives up.
    """
    tf, plain = tensorflow(), keras_model(path)
    net = quantization_aware.build(plain, quantization_aware.load_ranges(ranges), to_train=False)
    folder = _saved(net, _scratch() / "quantize_aware")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises bare Exceptions and its own classes
        raise ConversionError(f"the TFLite converter gave up: {error}") from error


@lru_cache(maxsize=1)
def _frozen(path: Path, sha256: str) -> Path:
    return _saved(_keras_model(path, sha256), _scratch() / sha256)


def _saved(net: Any, folder: Path) -> Path:
    """A SavedModel with batch 1, one signature, contract names, and the weights as constants.

    Without freezing, converters of some versions keep the variables and drop their values.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf = tensorflow()
    spec = tf.TensorSpec((1, *net.input_shape[1:]), tf.float32, contract.INPUT_NAME)
    function = tf.function(lambda image: net(image, training=False), input_signature=[spec])
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    module = tf.Module()
    module.answer = tf.function(
        lambda image: {contract.OUTPUT_NAME: frozen(image)[0]}, input_signature=[spec]
    )
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: module.answer})
    return folder


@lru_cache(maxsize=1)
def _scratch() -> Path:
    """A folder that lasts as long as the process."""
    folder = tempfile.mkdtemp(prefix="tledge-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
