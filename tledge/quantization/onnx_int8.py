"""Make int8 models for ONNX Runtime: its own quantizer, on a folded graph with corrected biases.

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
"""Calibration images that are run in one batch."""

CHANNEL_AXIS = {"Conv": 0, "Gemm": 1}
"""Operators whose biases are corrected; the axis of their weights that has one scale per entry."""

INPUT, WEIGHTS, BIAS = 0, 1, 2


def fold_batch_norm(model: Any) -> Any:
    """Copy a float ONNX model with batch norm folded into its kernels and biases into its dense layers.

    tf2onnx leaves the batch norm of depthwise kernels as separate operators, each of which int8 would round
    once more. This is ONNX Runtime's "basic" level, which makes standard ONNX
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
    """Correct a folded float model in place for 8-bit weights; returns one Correction per layer.

    `images` is uint8[N, H, W, 3]; the method is that of `tledge.quantization.bias_correction`.
    """
    onnx = optional_imports.load("onnx", "export")
    constants = _constants(onnx, model)
    corrections = []
    for node, shift in zip(_linears(model, constants), _shifts(onnx, model, images), strict=True):
        bias = constants[node.input[BIAS]] if len(node.input) > BIAS else 0
        name = f"{node.output[0]}_bias"
        model.graph.initializer.append(onnx.numpy_helper.from_array(bias - shift, name))
        node.input[:] = [*node.input[:BIAS], name]
        corrections.append(Correction(node.output[0], float(abs(shift).max())))
    _drop_unread(model.graph)
    return corrections


def _drop_unread(graph: Any) -> None:
    """Remove the constants that nothing reads: ONNX Runtime warns about each."""
    read = {name for node in graph.node for name in node.input}
    for constant in [constant for constant in graph.initializer if constant.name not in read]:
        graph.initializer.remove(constant)


def _constants(onnx: Any, model: Any) -> dict[str, NDArray[Any]]:
    return {constant.name: onnx.numpy_helper.to_array(constant) for constant in model.graph.initializer}


def _linears(model: Any, constants: dict[str, NDArray[Any]]) -> list[Any]:
    return [
        node for node in model.graph.node if node.op_type in CHANNEL_AXIS and node.input[WEIGHTS] in constants
    ]


def _shifts(onnx: Any, model: Any, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Measure the mean shift of every linear node's channels that rounding its weights causes.

    Returns float32[channels] for each node.
    """
    import numpy as np

    probe, names = _with_twins(onnx, model)
    runtime = optional_imports.load("onnxruntime", "export")
    session = _session(runtime, probe, _options(runtime))
    sums = [np.zeros((), np.float64) for _ in names]
    for batch in _batches(images):
        shifts = session.run(names, {model.graph.input[0].name: batch})
        sums = [
            total + shift.astype(np.float64) * len(batch) for total, shift in zip(sums, shifts, strict=True)
        ]
    return [(total / len(images)).astype(np.float32) for total in sums]


def _with_twins(onnx: Any, model: Any) -> tuple[Any, list[str]]:
    """Add a twin to every linear node; returns the model and the names of the twins' mean outputs.

    A twin has the rounding error as weights, no bias, and the mean input of the batch as input: since it is
    linear, its output is the mean of its outputs for the images.
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
        all_but_channels = [axis for axis in range(kernel.ndim) if axis != 1]
        probe.graph.node.extend(
            [
                node_of("ReduceMean", [node.input[INPUT]], [mean], axes=[0], keepdims=1),
                twin,
                node_of("ReduceMean", [output], [shift], axes=all_but_channels, keepdims=0),
            ]
        )
        probe.graph.output.append(onnx.helper.make_empty_tensor_value_info(shift))
        names.append(shift)
    return probe, names


def _channel_axis(node: Any) -> int:
    is_transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if is_transposed else CHANNEL_AXIS[node.op_type]


def quantize(model: Any, images: NDArray[np.uint8]) -> Any:
    """Quantize a folded float model to int8, with ranges measured on `images` uint8[N, H, W, 3].

    Activations are uint8, so that a byte of the image is its own quantized value. Logits and
    probabilities stay float: 256 levels of them change predictions and save nothing. Weights keep all 8
    bits: ONNX Runtime's `reduce_range`, which avoids an overflow on processors without VNNI, was
    measured to cost several points of agreement, and a session can avoid the overflow by an option
    (see `runtime.sessions.OnnxSession`). Raises ConversionError where the quantizer fails.
    """
    from onnxruntime import quantization as quantizing

    onnx = optional_imports.load("onnx", "export")
    with tempfile.TemporaryDirectory() as folder:
        # By path: the quantizer moves the weights of a model in memory out of it.
        source, target = (str(Path(folder) / name) for name in ("float.onnx", "int8.onnx"))
        onnx.save(model, source)
        try:
            quantizing.quantize_static(
                source,
                target,
                _Reader(model.graph.input[0].name, images),
                quant_format=quantizing.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantizing.QuantType.QUInt8,
                weight_type=quantizing.QuantType.QInt8,
                nodes_to_exclude=_kept_float(model.graph),
                extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
            )
        except Exception as error:  # the quantizer raises built-in errors and ONNX Runtime's own
            raise ConversionError(f"ONNX Runtime's quantizer failed: {error}") from error
        return onnx.load(target)


def _kept_float(graph: Any) -> list[str]:
    """Name the nodes that stay float: Softmax, and the Add that follows the scaling of bytes.

    Bytes shifted to -1..1 lie halfway between levels, which the integer Add rounds all in one direction;
    that shifts the whole image and was measured to change predictions.
    """
    kinds = [node.op_type for node in graph.node]
    scaling = kinds[: kinds.index("Conv")] if "Conv" in kinds else []
    shifts = "Add" in scaling and "Mul" in scaling[: scaling.index("Add")]
    shift = scaling.index("Add") if shifts else -1
    return [
        node.name
        for position, node in enumerate(graph.node)
        if node.op_type == "Softmax" or position == shift
    ]


class _Reader:
    """Hands calibration images to the quantizer, batch by batch."""

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
