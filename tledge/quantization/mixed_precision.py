"""Which operators to leave in float where integers alone do not hold: runs of neighbours, best first.

An operator left in float alone still reads and writes 8-bit tensors; it takes neighbours to keep
what lies between them. So every short run of operators is left in float in turn, everything else
quantized, and runs are ranked by how near that brings the answers to the float model's.
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
"""Float `.tflite` with ranges in it, names of operators' outputs to leave in float → integer `.tflite`."""

RUN, STEP = 4, 2
"""Operators in a run (an inverted residual block has three or four), and how far apart runs begin."""

COUNTS = (1, 2, 4, 8)
"""How many of the best runs are left in float together, one try after the other."""

IMAGES = 256
"""Images that runs are ranked on; there are dozens of runs."""


def few(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most `IMAGES` of the images, evenly taken."""
    return images[:: -(-len(images) // IMAGES)]


def runs_of_operators(graph: FloatGraph) -> list[frozenset[str]]:
    """Every run, as names of its operators' outputs, in the order of computing."""
    names = [graph.name(int(operator.outputs[0])) for _kind, operator in graph.operators()]
    starts = range(0, max(1, len(names) - STEP), STEP)
    return [frozenset(names[start : start + RUN]) for start in starts]


def ranked(
    model: bytes, quantize: Quantize, images: NDArray[np.uint8], wanted: NDArray[np.float32]
) -> list[frozenset[str]]:
    """All runs, first the one that leaves the least mean absolute difference to `wanted`.

    `model` has ranges in it; `wanted` is float32[N, classes], the float model's answers to `images`.
    """
    import numpy as np

    found: list[tuple[float, int, frozenset[str]]] = []
    for run in runs_of_operators(FloatGraph(model)):
        answers = run_on_all_cores(quantize(model, run), "a mixed model", images)
        found.append((float(np.abs(answers - wanted).mean()), len(found), run))
    return [run for _difference, _place, run in sorted(found, key=lambda one: one[:2])]


def more_and_more(graph: FloatGraph, best: Sequence[frozenset[str]]) -> Iterator[frozenset[str]]:
    """The best run, the two best together, four, eight, as long as most weights become integers."""
    sizes = {one.name: graph.values(one.weights).size for one in graph.linears}
    for count in COUNTS:
        chosen = frozenset[str]().union(*best[:count])
        if 2 * sum(sizes.get(name, 0) for name in chosen) < sum(sizes.values()):
            yield chosen
