"""Choose the operators to leave in float where integers alone do not pass: runs of neighbours, best first.

A single operator in float still reads and writes 8-bit tensors; only neighbours keep the tensors
between them in float. So every short run of operators is left in float in turn, everything else
quantized, and runs are ranked by how close the predictions come to the float model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tledge.quantization.tflite_graph import FloatGraph
from tledge.runtime.session_pool import run_on_all_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Quantize = Callable[[bytes, frozenset[str]], bytes]
"""Float `.tflite` with ranges in it, names of outputs of operators to leave in float → integer `.tflite`."""

RUN, STEP = 4, 2
"""Operators in a run (an inverted residual block has three or four), and how far apart runs begin."""

COUNTS = (1, 2, 4, 8)
"""How many of the best runs are left in float together, one candidate after the other."""

IMAGES = 256
"""Largest number of images that runs are ranked on; there are dozens of runs."""


def ranking_images(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take at most `IMAGES` of the images, evenly spaced."""
    return images[:: -(-len(images) // IMAGES)]


def runs_of_operators(graph: FloatGraph) -> list[frozenset[str]]:
    """List every run, as the names of its operators' outputs, in the order of execution."""
    names = [graph.name(int(operator.outputs[0])) for _kind, operator in graph.operators()]
    starts = range(0, max(1, len(names) - STEP), STEP)
    return [frozenset(names[start : start + RUN]) for start in starts]


def rank_runs(
    model: bytes, quantize: Quantize, images: NDArray[np.uint8], reference: NDArray[np.float32]
) -> list[frozenset[str]]:
    """Rank all runs by the mean absolute difference of a probability to `reference`, the least first.

    `model` has ranges in it; `reference` is float32[N, classes], the float model's probabilities for
    `images` uint8[N, H, W, 3].
    """
    import numpy as np

    differences: list[tuple[float, frozenset[str]]] = []
    for run in runs_of_operators(FloatGraph(model)):
        probabilities = run_on_all_cores(quantize(model, run), "a mixed model", images)
        differences.append((float(np.abs(probabilities - reference).mean()), run))
    return [run for _difference, run in sorted(differences, key=lambda ranked_run: ranked_run[0])]


def combine_best_runs(graph: FloatGraph, best: Sequence[frozenset[str]]) -> Iterator[frozenset[str]]:
    """Yield the best run, the two best together, four, eight, as long as most weights become integers."""
    sizes = {layer.name: graph.values(layer.weights).size for layer in graph.linears}
    for count in COUNTS:
        in_float = frozenset[str]().union(*best[:count])
        if 2 * sum(sizes.get(name, 0) for name in in_float) < sum(sizes.values()):
            yield in_float
