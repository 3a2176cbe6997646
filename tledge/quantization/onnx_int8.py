"""int8 for ONNX Runtime: its own quantizer, on a graph with batch norm folded and biases corrected.

Weights are symmetric int8 with one scale an output channel, activations uint8 by least and largest
value, in the portable QDQ form (QuantizeLinear and DequantizeLinear around float operators).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._process import optional_imports
from tledge.errors import ConversionError
from tledge.quantization.bias_correction import Correction, round_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 8
"""Calibration images that are run at once."""

CHANNEL_AXIS = {"Conv": 0, "Gemm": 1}
"""Operators whose biases are corrected, and the axis of their weights with a scale per entry."""

INPUT, WEIGHTS, BIAS = 0, 1, 2


def folded(model: Any) -> Any:
    """A copy of a float model with batch norm in its kernels and biases in its dense layers.

    tf2onnx leaves the batch norm of depthwise kernels behind them, as operators that int8 would
    round once more each. This is ONNX Runtime's "basic" level, which makes standard ONNX
    (https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html).
    """
    onnx, runtime = optional_imports.load("onnx", "export"), optional_imports.load("onnxruntime", "export")
    with tempfile.TemporaryDirectory() as folder:
        options = _options(runtime)
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        _session(runtime, model, options)
        return onnx.load(options.optimized_model_filepath)


def correct_biases(model: Any, images: NDArray[np.uint8]) -> list[Correction]:
    """Correct a folded float model in place for 8-bit weights; gives one Correction per layer.

    `images` is uint8[N, H, W, 3]; the method is that of `tledge.quantization.bias_correction`.
    """
    onnx = optional_imports.load("onnx", "export")
    constants = _constants(onnx, model)
    made = []
    for node, shift in zip(_linears(model, constants), _shifts(onnx, model, images), strict=True):
        bias = constants[node.input[BIAS]] if len(node.input) > BIAS else 0
        name = f"{node.output[0]}_bias"
        model.graph.initializer.append(onnx.numpy_helper.from_array(bias - shift, name))
        node.input[:] = [*node.input[:BIAS], name]
        made.append(Correction(node.output[0], float(abs(shift).max())))
    _drop_unread(model.graph)
    return made


def _drop_unread(graph: Any) -> None:
    """Remove the constants that nothing reads: ONNX Runtime warns of each."""
    read = {name for node in graph.node for name in node.input}
    for constant in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(constant)


def _constants(onnx: Any, model: Any) -> dict[str, NDArray[Any]]:
    return {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}


def _linears(model: Any, constants: dict[str, NDArray[Any]]) -> list[Any]:
    return [
        node for node in model.graph.node if node.op_type in CHANNEL_AXIS and node.input[WEIGHTS] in constants
    ]


def _shifts(onnx: Any, model: Any, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """What rounding its weights adds to a linear node's channels on average, float32[channels] each."""
    import numpy as np

    probe, names = _with_twins(onnx, model)
    runtime = optional_imports.load("onnxruntime", "export")
    session = _session(runtime, probe, _options(runtime))
    sums = [np.zeros((), np.float64) for _ in names]
    for batch in _batches(images):
        found = session.run(names, {model.graph.input[0].name: batch})
        sums = [total + one.astype(np.float64) * len(batch) for total, one in zip(sums, found, strict=True)]
    return [(total / len(images)).astype(np.float32) for total in sums]


def _with_twins(onnx: Any, model: Any) -> tuple[Any, list[str]]:
    """The model with a twin beside every linear node, and the names of the twins' mean outputs.

    A twin has the rounding error for weights and no bias, and sees the mean input of the batch:
    it is linear, so that its output is the mean of what it would give for each image.
    """
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    constants, node_of = _constants(onnx, model), onnx.helper.make_node
    names = []
    for node in _linears(model, constants):
        mean, error, output, shift = (
            f"{node.output[0]}_{part}" for part in ("mean", "error", "twin", "shift")
        )
        kernel = constants[node.input[WEIGHTS]]
        rounded = round_weights(kernel, _channel_axis(node))
        probe.graph.initializer.append(onnx.numpy_helper.from_array(rounded - kernel, error))
        twin = onnx.NodeProto.FromString(node.SerializeToString())
        twin.name, twin.input[:], twin.output[:] = output, [mean, error], [output]
        seen = [axis for axis in range(kernel.ndim) if axis != 1]
        probe.graph.node.extend(
            [
                node_of("ReduceMean", [node.input[INPUT]], [mean], axes=[0], keepdims=1),
                twin,
                node_of("ReduceMean", [output], [shift], axes=seen, keepdims=0),
            ]
        )
        probe.graph.output.append(onnx.helper.make_empty_tensor_value_info(shift))
        names.append(shift)
    return probe, names


def _channel_axis(node: Any) -> int:
    is_transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return 0 if is_transposed else CHANNEL_AXIS[node.op_type]


def quantize(model: Any, images: NDArray[np.uint8]) -> Any:
    """A folded float model as an int8 one, ranges measured on `images` uint8[N, H, W, 3].

    Activations are uint8, so that a byte of the image is its own quantized value. Logits and
    probabilities stay float: 256 levels of them cost answers and save nothing. Weights keep all 8
    bits: ONNX Runtime's `reduce_range`, which spares processors without VNNI an overflow, was
    measured to cost several points of agreement, and a session can avoid the overflow by an option
    (see `runtime.OnnxSession`). Raises ConversionError where the quantizer gives up.
    """
    from onnxruntime import quantization as quantizing

    onnx = optional_imports.load("onnx", "export")
    with tempfile.TemporaryDirectory() as folder:
        # By path: the quantizer moves the weights of a model in memory out of it.
        source, made = (str(Path(folder) / name) for name in ("float.onnx", "int8.onnx"))
        onnx.save(model, source)
        try:
            quantizing.quantize_static(
                source,
                made,
                _Reader(model.graph.input[0].name, images),
                quant_format=quantizing.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantizing.QuantType.QUInt8,
                weight_type=quantizing.QuantType.QInt8,
                nodes_to_exclude=_kept_float(model.graph),
                extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
            )
        except Exception as error:  # the quantizer raises built-in errors and ONNX Runtime's own
            raise ConversionError(f"ONNX Runtime's quantizer gave up: {error}") from error
        return onnx.load(made)


def _kept_float(graph: Any) -> list[str]:
    """Names of the nodes that stay float: Softmax, and the Add that follows the scaling of bytes.

    Bytes moved to -1..1 lie halfway between levels, which the integer Add rounds all one way; that
    shifts the whole image, and measured answers with it.
    """
    kinds = [node.op_type for node in graph.node]
    scaling = kinds[: kinds.index("Conv")] if "Conv" in kinds else []
    moving = scaling.index("Add") if "Add" in scaling and "Mul" in scaling[: scaling.index("Add")] else -1
    return [
        node.name for place, node in enumerate(graph.node) if node.op_type == "Softmax" or place == moving
    ]


class _Reader:
    """Calibration images as the quantizer asks for them."""

    def __init__(self, name: str, images: NDArray[np.uint8]) -> None:
        self._feeds = ({name: batch} for batch in _batches(images))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def _batches(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]


def _options(runtime: Any) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return options


def _session(runtime: Any, model: Any, options: Any) -> Any:
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
