"""TFLite for LiteRT on phones, boards and microcontrollers: fp32, fp16, dynamic, int8, int16x8."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import contract, model, runs
from tledge.errors import ArtifactError, ConversionError, DataError, MissingError
from tledge.formats import tflite_metadata
from tledge.formats.base import KERNEL_SIZE, Format, Job, Mode, Port, Structure
from tledge.formats.saved_model import tensorflow
from tledge.quantization import correct_biases
from tledge.runtime import LiteRTSession, Session, check_tflite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIGNATURE = "serving_default"


def convert(job: Job) -> dict[str, Any]:
    """Write the `.tflite` file `job.out` with metadata and labels inside.

    Raises DataError for calibration images that are missing, empty or out of range, and
    ConversionError where the converter gives up.
    """
    tf = tensorflow()
    keras_model = model.load(Path(job.model))
    images = calibration_images(job) if FORMAT.modes[job.mode].calibrated else None
    details: dict[str, Any] = {}
    if images is not None:
        details["calibration_images"] = len(images)
        if job.bias_correction:
            details["bias_correction"] = [asdict(one) for one in correct_biases(keras_model, images)]
    with tempfile.TemporaryDirectory() as scratch:
        # Integer models take float here: the converter itself turns that input into bytes.
        _frozen_input(tf, keras_model, Path(scratch) / "model", as_bytes=images is None)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(Path(scratch) / "model"), signature_keys=[SIGNATURE]
        )
        _configure(tf, converter, job.mode, images)
        data = _converted(converter)
    _write(job, data)
    return details


def calibration_images(job: Job) -> NDArray[np.uint8]:
    """Calibration images uint8[N, H, W, 3] with one all-0 and one all-255 image added.

    The two make the input range exactly 0..255, so that a byte is its own quantized value.
    Raises DataError where there are none: the converter would write a float model and say
    nothing.
    """
    import numpy as np

    if job.calibration is None:
        raise DataError(f"{job.mode}: no calibration set; an int8 model cannot be made without one.")
    images = np.load(job.calibration, allow_pickle=False)
    if images.ndim != 4 or not len(images) or images.dtype != np.uint8:
        raise DataError(
            f"{job.mode}: the calibration set holds {len(images)} images of {images.dtype}; "
            "expected at least one, as uint8 pixels. Set [export.calibration] images."
        )
    blank = np.zeros_like(images[:1])
    return np.concatenate([images, blank, blank + np.uint8(255)])


def _frozen_input(tf: Any, keras_model: Any, folder: Path, *, as_bytes: bool) -> None:
    """A SavedModel with batch 1, one signature, contract names, and the weights as constants.

    Without freezing, converters of some versions keep the variables and drop their values.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    height, width = keras_model.input_shape[1:3]
    dtype = tf.uint8 if as_bytes else tf.float32
    spec = tf.TensorSpec((1, height, width, 3), dtype, contract.INPUT_NAME)

    def answer(image: Any) -> Any:
        values = tf.cast(image, tf.float32) if as_bytes else image
        return keras_model(values, training=False)

    function = tf.function(answer, input_signature=[spec]).get_concrete_function()
    frozen = convert_variables_to_constants_v2(function)
    module = tf.Module()
    module.answer = tf.function(
        lambda image: {contract.OUTPUT_NAME: frozen(image)[0]}, input_signature=[spec]
    )
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: module.answer})


def _configure(tf: Any, converter: Any, mode: str, images: NDArray[np.uint8] | None) -> None:
    """Set everything a mode asks of the converter; one place, so that nothing is overwritten."""
    ops = tf.lite.OpsSet
    if mode == "fp32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if images is None:
        return
    converter.representative_dataset = lambda: _representative(images)
    wide = mode == "int16x8"
    converter.target_spec.supported_ops = [
        ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8 if wide else ops.TFLITE_BUILTINS_INT8
    ]
    converter.inference_input_type = tf.int16 if wide else tf.uint8
    converter.inference_output_type = tf.int16 if wide else tf.uint8


def _representative(images: NDArray[np.uint8]) -> Iterator[dict[str, NDArray[np.float32]]]:
    import numpy as np

    for image in images:
        yield {contract.INPUT_NAME: image[None].astype(np.float32)}


def _converted(converter: Any) -> bytes:
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises bare Exceptions and its own classes
        raise ConversionError(f"the TFLite converter gave up: {error}") from error


def _write(job: Job, data: bytes) -> None:
    data = tflite_metadata.write_metadata(
        data, name=job.name, description=job.description, version=job.version, labels=job.labels
    )
    with runs.replacing(Path(job.out)) as made:
        made.write_bytes(data)


def open_model(path: Path, kernels: str) -> Session:
    """Open in LiteRT with the named kernels."""
    return LiteRTSession(path.read_bytes(), path.name, kernels, threads=os.cpu_count() or 1)


def inspect(path: Path) -> Structure:
    """What is in a `.tflite` file, read from its flatbuffer and not run.

    Raises ArtifactError where the file is truncated or damaged.
    """
    data = path.read_bytes()
    check_tflite(data, path.name)
    schema = _schema()
    try:
        parsed = schema.Model.GetRootAs(data, 0)
        return _structure(schema, parsed, data)
    except ArtifactError:
        raise
    except Exception as error:  # flatbuffers follows wild offsets into struct, index and type errors
        raise ArtifactError(f"{path.name}: truncated or damaged flatbuffer ({error!r}).") from error


def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingError(f"LiteRT is not installed ({error}): pip install ai-edge-litert") from error
    return schema_py_generated


def _structure(schema: Any, parsed: Any, data: bytes) -> Structure:
    graphs = [parsed.Subgraphs(number) for number in range(parsed.SubgraphsLength())]
    main = graphs[0]
    constants = [found for graph in graphs for found in _constants(schema, parsed, graph)]
    weights: dict[str, int] = {}
    for _name, dtype, shape, raw in constants:
        weights[dtype] = weights.get(dtype, 0) + len(raw)
        if len(raw) < _expected_bytes(dtype, shape):
            raise ArtifactError("a constant is shorter than its shape says: truncated file.")
    # Symmetric weights: a zero byte is a zero weight in every dtype.
    zeroed = tuple(
        name
        for name, dtype, shape, raw in constants
        if len(shape) > 1 and math.prod(shape) >= KERNEL_SIZE and dtype != "int32" and not any(raw)
    )
    metadata = tflite_metadata.read_metadata(data)
    labels = metadata.get("labels")
    return Structure(
        inputs=_ports(schema, main, main.InputsAsNumpy()),
        outputs=_ports(schema, main, main.OutputsAsNumpy()),
        weights=weights,
        activations=_activations(schema, parsed, graphs),
        operators=tuple(sorted(_operators(schema, parsed, graphs))),
        zeroed=zeroed,
        labels=tuple(labels) if isinstance(labels, (list, tuple)) else None,
        metadata=metadata,
    )


def _expected_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    width = {"float32": 4, "float16": 2, "int32": 4, "int64": 8, "int16": 2, "int8": 1, "uint8": 1}
    return math.prod(shape) * width.get(dtype, 0)


def _dtype_names(schema: Any) -> dict[int, str]:
    kinds = vars(schema.TensorType).items()
    return {value: name.lower() for name, value in kinds if not name.startswith("_")}


def _tensors(graph: Any) -> Iterator[Any]:
    for number in range(graph.TensorsLength()):
        yield graph.Tensors(number)


def _constants(schema: Any, parsed: Any, graph: Any) -> Iterator[tuple[str, str, tuple[int, ...], bytes]]:
    names = _dtype_names(schema)
    for tensor in _tensors(graph):
        raw = parsed.Buffers(tensor.Buffer()).DataAsNumpy()
        if not isinstance(raw, int) and len(raw):
            shape = tuple(int(side) for side in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
            yield tensor.Name().decode(), names[tensor.Type()], shape, raw.tobytes()


def _activations(schema: Any, parsed: Any, graphs: list[Any]) -> tuple[str, ...]:
    names = _dtype_names(schema)
    return tuple(
        sorted(
            {
                names[tensor.Type()]
                for graph in graphs
                for tensor in _tensors(graph)
                if isinstance(parsed.Buffers(tensor.Buffer()).DataAsNumpy(), int)
            }
        )
    )


def _ports(schema: Any, graph: Any, numbers: Any) -> tuple[Port, ...]:
    return tuple(_port(schema, graph.Tensors(int(number))) for number in numbers)


def _port(schema: Any, tensor: Any) -> Port:
    found = tensor.Quantization()
    quantized = found is not None and found.ScaleLength() > 0
    return Port(
        name=tensor.Name().decode(),
        dtype=_dtype_names(schema)[tensor.Type()],
        shape=tuple(int(side) for side in tensor.ShapeAsNumpy()),
        scale=float(found.Scale(0)) if quantized else 0.0,
        zero_point=int(found.ZeroPoint(0)) if quantized else 0,
    )


def _operators(schema: Any, parsed: Any, graphs: list[Any]) -> set[str]:
    kinds = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    found = set()
    for graph in graphs:
        for number in range(graph.OperatorsLength()):
            code = parsed.OperatorCodes(graph.Operators(number).OpcodeIndex())
            builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            custom = code.CustomCode()
            found.add(custom.decode() if custom else kinds[builtin])
    return found


FORMAT = Format(
    suffix=".tflite",
    modes={
        "fp32": Mode("float32 weights, byte input", "float", "float32", (3.5, 6.0), batch=1),
        "fp16": Mode("float16 weights, byte input", "fp16", "float16", (1.8, 3.5), batch=1),
        "dynamic": Mode("int8 weights, float activations", "int8", "int8", (0.9, 2.5), batch=1),
        "int8": Mode(
            "integers only, byte input and output",
            "int8", "int8", (0.9, 2.5), integer_only=True, calibrated=True, batch=1,
        ),
        "int16x8": Mode(
            "int8 weights, int16 activations",
            "int8", "int8", (0.9, 2.8), integer_only=True, calibrated=True, batch=1, input="int16",
        ),
    },
    convert=convert,
    open=open_model,
    inspect=inspect,
)  # fmt: skip
