"""Equalizing channels: what one layer multiplies, the next divides, so that 8 bits serve all channels.

A tensor has one scale for all channels; a channel a thousand times smaller than its neighbour is
rounded away. Dividing channel c of a layer's output by s_c and multiplying the weights that read it
by s_c changes nothing in exact arithmetic, as long as only linear operators and ReLU (which is
positively homogeneous) lie in between. Behind ReLU6 a channel is then cut at the largest value that
calibration saw in it instead of at 6, as 8 bits cut the tensor anyway. See Nagel et al. 2019,
"Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1; here the
spread of a channel is measured.
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
"""Operators that give s_c times as much where every input channel c is s_c times as large."""

NONE, RELU, RELU6 = 0, 1, 3
"""Fused activations (schema.fbs, ActivationFunctionType)."""

SPREAD = 1e4
"""Largest ratio of two channels' factors."""


@dataclass
class Stream:
    """Tensors whose channels must be scaled alike, and the layers that write and read them."""

    tensors: set[int] = field(default_factory=set)
    writers: list[Linear] = field(default_factory=list)
    readers: list[Linear] = field(default_factory=list)


def streams(graph: FloatGraph) -> list[Stream]:
    """Every set of tensors of `graph` that can be equalized."""
    linears = {one.output: one for one in graph.linears}
    root = _joined(graph)
    found: dict[int, Stream] = {}
    for tensor, top in root.items():
        found.setdefault(top, Stream()).tensors.add(tensor)
    closed: set[int] = set()
    for kind, operator in graph.operators():
        given, out = [one for one in operator.inputs if one in root], int(operator.outputs[0])
        linear = linears.get(out)
        if linear is not None:
            found[root[linear.input]].readers.append(linear)
            found[root[out]].writers.append(linear)
            if _activation(operator) not in (NONE, RELU, RELU6):
                closed.add(root[out])
        elif not _carries(graph, kind, operator, given):
            closed.update(root[one] for one in [*given, out])
    ends = [int(one) for one in [*graph.graph.inputs, *graph.graph.outputs]]
    closed.update(root[one] for one in ends if one in root)
    return [one for top, one in found.items() if top not in closed and one.writers and one.readers]


def _activation(operator: Any) -> int:
    return int(getattr(operator.builtinOptions, "fusedActivationFunction", NONE))


def _carries(graph: FloatGraph, kind: str, operator: Any, given: list[int]) -> bool:
    """Whether the operator hands scaled channels on: all the same ones, and no constant added to them."""
    if kind not in CARRIERS or _activation(operator) not in (NONE, RELU):
        return False
    channels = {int(graph.graph.tensors[one].shape[-1]) for one in [*given, int(operator.outputs[0])]}
    return len(channels) == 1 and (kind != "ADD" or len(given) == len(operator.inputs))


def _joined(graph: FloatGraph) -> dict[int, int]:
    """For every computed tensor, one that stands for all that must be scaled with it."""
    parent = {one: one for one in graph.activations}

    def top(one: int) -> int:
        while parent[one] != one:
            one = parent[one]
        return one

    for kind, operator in graph.operators():
        if kind in CARRIERS:
            for one in operator.inputs:
                if one in parent:
                    parent[top(int(one))] = top(int(operator.outputs[0]))
    return {one: top(one) for one in parent}


def equalize(graph: FloatGraph, largest: Mapping[int, NDArray[np.float32]]) -> list[str]:
    """Equalize `graph` in place; gives the names of the layers whose outputs were.

    `largest` holds float32[channels], the largest magnitude of every channel of every layer's output.
    """
    import numpy as np

    done = []
    for stream in streams(graph):
        spread = np.max([largest[one.output] for one in stream.writers], axis=0)
        factors = _factors(spread, _weight_spread(graph, stream.readers, len(spread)))
        if factors.max() / factors.min() < 2:  # nothing worth the rounding of the weights
            continue
        for one in stream.writers:
            _scale_outputs(graph, one, np.float32(1) / factors)
            done.append(one.name)
        for one in stream.readers:
            _scale_inputs(graph, one, factors)
    return done


def _factors(spread: NDArray[np.float32], weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """s_c, such that the largest spread of a channel stays what it is.

    Where only depthwise layers read, whose weights have a scale a channel, all channels get the
    same spread; else the weights that read a channel share what it is given.
    """
    import numpy as np

    seen = np.maximum(spread, spread.max() / SPREAD)
    if weights is None:
        return np.asarray(seen / seen.max(), np.float32)
    factors = np.sqrt(seen / np.maximum(weights, weights.max() / SPREAD))
    return np.asarray(factors * (seen / factors).max() / seen.max(), np.float32)


def _weight_spread(graph: FloatGraph, readers: list[Linear], channels: int) -> NDArray[np.float32] | None:
    """Largest magnitude float32[channels] of the weights on every channel, None for depthwise alone."""
    import numpy as np

    dense = [one for one in readers if one.kind != "DEPTHWISE_CONV_2D"]
    if not dense:
        return None
    kernels = [np.abs(graph.values(one.weights)).reshape(-1, channels).max(0) for one in dense]
    return np.asarray(np.max([one / max(1e-30, one.max()) for one in kernels], axis=0), np.float32)


def _scale_outputs(graph: FloatGraph, linear: Linear, factors: NDArray[np.float32]) -> None:
    kernel = graph.values(linear.weights)
    shape = [1] * kernel.ndim
    shape[linear.channel_axis] = -1
    graph.set_values(linear.weights, kernel * factors.reshape(shape))
    graph.set_bias(linear, graph.bias(linear) * factors)


def _scale_inputs(graph: FloatGraph, linear: Linear, factors: NDArray[np.float32]) -> None:
    """Input channels lie on the weights' last axis; a depthwise layer's, in blocks of its multiplier."""
    import numpy as np

    kernel = graph.values(linear.weights)
    times = kernel.shape[-1] // len(factors)
    graph.set_values(linear.weights, kernel * np.repeat(factors, times))
