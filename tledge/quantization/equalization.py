"""Equalize channels: one layer divides each channel, the next multiplies it, so that 8 bits serve all.

A tensor has one scale for all channels; a channel a thousand times smaller than its neighbour is
rounded away. Dividing channel c of a layer's output by s_c and multiplying the weights that read it
by s_c changes nothing in exact arithmetic, as long as only linear operators and ReLU (which is
positively homogeneous) lie in between. Behind ReLU6 a channel is then clipped at the largest value
that calibration measured in it instead of at 6, as 8 bits clip the tensor anyway. See Nagel et al. 2019,
"Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1; here the
magnitude of a channel is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tledge.quantization.tflite_graph import FloatGraph, Linear

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CARRIERS = {"ADD", "MEAN", "AVERAGE_POOL_2D", "MAX_POOL_2D", "RELU"}
"""Operators whose output channel c scales by s_c when every input channel c does."""

NONE, RELU, RELU6 = 0, 1, 3
"""Fused activations (schema.fbs, ActivationFunctionType)."""

MAX_RATIO = 1e4
"""Largest ratio of two channels' factors."""


@dataclass
class ScalingGroup:
    """Tensors whose channels must be scaled alike, and the layers that write and read them."""

    tensors: set[int] = field(default_factory=set)
    writers: list[Linear] = field(default_factory=list)
    readers: list[Linear] = field(default_factory=list)


def scaling_groups(graph: FloatGraph) -> list[ScalingGroup]:
    """Find every set of tensors of `graph` that can be equalized."""
    linears = {layer.output: layer for layer in graph.linears}
    root = _roots(graph)
    by_root: dict[int, ScalingGroup] = {}
    for tensor, top in root.items():
        by_root.setdefault(top, ScalingGroup()).tensors.add(tensor)
    fixed: set[int] = set()
    for kind, operator in graph.operators():
        inputs, output = [tensor for tensor in operator.inputs if tensor in root], int(operator.outputs[0])
        linear = linears.get(output)
        if linear is not None:
            by_root[root[linear.input]].readers.append(linear)
            by_root[root[output]].writers.append(linear)
            if _activation(operator) not in (NONE, RELU, RELU6):
                fixed.add(root[output])
        elif not _passes_scales(graph, kind, operator, inputs):
            fixed.update(root[tensor] for tensor in [*inputs, output])
    ends = [int(tensor) for tensor in [*graph.graph.inputs, *graph.graph.outputs]]
    fixed.update(root[tensor] for tensor in ends if tensor in root)
    return [group for top, group in by_root.items() if top not in fixed and group.writers and group.readers]


def _activation(operator: Any) -> int:
    return int(getattr(operator.builtinOptions, "fusedActivationFunction", NONE))


def _passes_scales(graph: FloatGraph, kind: str, operator: Any, inputs: list[int]) -> bool:
    """Tell whether scaled inputs give scaled outputs: same channels, and no constant added to them."""
    if kind not in CARRIERS or _activation(operator) not in (NONE, RELU):
        return False
    tensors = [*inputs, int(operator.outputs[0])]
    channels = {int(graph.graph.tensors[tensor].shape[-1]) for tensor in tensors}
    return len(channels) == 1 and (kind != "ADD" or len(inputs) == len(operator.inputs))


def _roots(graph: FloatGraph) -> dict[int, int]:
    """Map every computed tensor to one that represents all that must be scaled with it (union-find)."""
    parent = {tensor: tensor for tensor in graph.activations}

    def root(tensor: int) -> int:
        while parent[tensor] != tensor:
            tensor = parent[tensor]
        return tensor

    for kind, operator in graph.operators():
        if kind in CARRIERS:
            for tensor in operator.inputs:
                if tensor in parent:
                    parent[root(int(tensor))] = root(int(operator.outputs[0]))
    return {tensor: root(tensor) for tensor in parent}


def equalize(graph: FloatGraph, largest: Mapping[int, NDArray[np.float32]]) -> list[str]:
    """Equalize `graph` in place; returns the names of the layers whose outputs were equalized.

    `largest` holds, by number of the output tensor of every layer, the largest magnitude of every channel,
    float32[channels].
    """
    import numpy as np

    equalized = []
    for group in scaling_groups(graph):
        magnitudes = np.max([largest[layer.output] for layer in group.writers], axis=0)
        factors = _factors(magnitudes, _weight_magnitudes(graph, group.readers, len(magnitudes)))
        if factors.max() / factors.min() < 2:  # too little to gain: scaled weights are rounded anew
            continue
        for layer in group.writers:
            _scale_outputs(graph, layer, np.float32(1) / factors)
            equalized.append(layer.name)
        for layer in group.readers:
            _scale_inputs(graph, layer, factors)
    return equalized


def _factors(magnitudes: NDArray[np.float32], weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Compute the divisors s_c of the channels, such that the largest magnitude of all stays the same.

    Where only depthwise layers read, whose weights have a scale for each channel, all channels get the same
    magnitude m: s_c = m_c / max m. Else the weights w that read a channel share the change: s_c is
    proportional to sqrt(m_c / w_c).
    """
    import numpy as np

    bounded = np.maximum(magnitudes, magnitudes.max() / MAX_RATIO)
    if weights is None:
        return np.asarray(bounded / bounded.max(), np.float32)
    factors = np.sqrt(bounded / np.maximum(weights, weights.max() / MAX_RATIO))
    return np.asarray(factors * (bounded / factors).max() / bounded.max(), np.float32)


def _weight_magnitudes(graph: FloatGraph, readers: list[Linear], channels: int) -> NDArray[np.float32] | None:
    """Find the largest relative weight on every channel, float32[channels]; None for only depthwise ones."""
    import numpy as np

    dense = [layer for layer in readers if layer.kind != "DEPTHWISE_CONV_2D"]
    if not dense:
        return None
    kernels = [np.abs(graph.values(layer.weights)).reshape(-1, channels).max(0) for layer in dense]
    relative = [largest / max(1e-30, largest.max()) for largest in kernels]
    return np.asarray(np.max(relative, axis=0), np.float32)


def _scale_outputs(graph: FloatGraph, linear: Linear, factors: NDArray[np.float32]) -> None:
    kernel = graph.values(linear.weights)
    shape = [1] * kernel.ndim
    shape[linear.channel_axis] = -1
    graph.set_values(linear.weights, kernel * factors.reshape(shape))
    graph.set_bias(linear, graph.bias(linear) * factors)


def _scale_inputs(graph: FloatGraph, linear: Linear, factors: NDArray[np.float32]) -> None:
    """Scale the weights of every input channel: the last axis, depthwise in blocks of the multiplier."""
    import numpy as np

    kernel = graph.values(linear.weights)
    multiplier = kernel.shape[-1] // len(factors)
    graph.set_values(linear.weights, kernel * np.repeat(factors, multiplier))
