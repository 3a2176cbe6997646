"""Which operators are left in float first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tledge.quantization import mixed_precision


class Graph:
    """Linear operators with so many weights each."""

    def __init__(self, *sizes: int) -> None:
        from types import SimpleNamespace

        self.sizes = sizes
        self.linears = [SimpleNamespace(name=f"op{n}", weights=n) for n in range(len(sizes))]

    def values(self, number: int) -> NDArray[np.float32]:
        return np.zeros(self.sizes[number], np.float32)

    def operators(self) -> list[Any]:
        from types import SimpleNamespace

        return [("CONV_2D", SimpleNamespace(outputs=[n])) for n in range(len(self.sizes))]

    def name(self, number: int) -> str:
        return f"op{number}"


def test_runs_cover_every_operator_and_overlap() -> None:
    graph: Any = Graph(*[1] * 7)
    found = mixed_precision.runs_of_operators(graph)
    assert found[0] == {"op0", "op1", "op2", "op3"} and found[1] == {"op2", "op3", "op4", "op5"}
    assert frozenset().union(*found) == {f"op{n}" for n in range(7)}


def test_most_weights_become_integers() -> None:
    graph: Any = Graph(10, 10, 10, 10, 100)
    best = [frozenset({"op0", "op1"}), frozenset({"op2", "op3"}), frozenset({"op4"})]
    assert list(mixed_precision.combine_best_runs(graph, best)) == [best[0], best[0] | best[1]]


def test_few_images_are_spread_over_all() -> None:
    images = np.arange(1000, dtype=np.uint8)
    assert (
        200 <= len(mixed_precision.ranking_images(images)) <= mixed_precision.IMAGES
        and len(mixed_precision.ranking_images(images[:9])) == 9
    )
