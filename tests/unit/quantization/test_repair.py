"""Which remedy is taken, and which operators are left in float first; without any model."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tledge import held_out, ladder, mixed
from tledge.console_tables import ladder_table
from tledge.ladder import HeldOut, Remedy, climb
from tledge.tables import Parity

LABELS = np.arange(400) % 2
RIGHT = np.eye(2, dtype=np.float32)[LABELS]


def wrong(count: int) -> NDArray[np.float32]:
    """Answers of which `count` are not those of the float model."""
    found = RIGHT.copy()
    found[:count] = found[:count, ::-1]
    return found


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> HeldOut:
    """Remedies whose data is the number of their wrong answers."""
    monkeypatch.setattr(ladder, "with_bytes", lambda model: model)
    monkeypatch.setattr(ladder, "run_on_all_cores", lambda data, _name, _images: wrong(int(data)))
    monkeypatch.setattr(ladder, "_milliseconds", lambda _remedy, _images: 1.0)
    images = np.zeros((len(LABELS), 2, 2, 3), np.uint8)
    limits = Parity(int8_agreement=0.98, max_drop=1, max_class_drop=1)
    return HeldOut(images, LABELS, ("no", "yes"), limits, images[:0])


def remedies(*counts: int) -> Iterator[Remedy]:
    for count in counts:
        yield Remedy(f"{count} wrong", "int8", str(count).encode())


def test_first_that_passes_ends_the_climb(faked: HeldOut) -> None:
    made, tried, taken = climb(remedies(40, 20, 8, 0), b"0", faked)
    assert [one.verdict for one in tried] == ["failed", "failed", "passed"]  # 8 of 400 are exactly 2 %
    assert taken == 2 and made[taken].name == "8 wrong"


def test_best_is_taken_where_none_passes(faked: HeldOut) -> None:
    _made, tried, taken = climb(remedies(40, 9, 20), b"0", faked)
    assert taken == 1 and all(one.verdict == "failed" and one.reasons for one in tried)


def test_answers_between_classes_are_held_to_the_gate(
    faked: HeldOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photos with margins pass; what lies between two classes shows the difference."""
    between = replace(faked, between=faked.images[:100])

    def answers(data: bytes, _name: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return wrong(int(data) if len(images) == 100 else 0)[: len(images)]

    monkeypatch.setattr(ladder, "run_on_all_cores", answers)
    _made, tried, taken = climb(remedies(3, 2, 1), b"0", between)
    assert [one.verdict for one in tried] == ["failed", "passed"] and taken == 1
    assert [one.agreement for one in tried] == [1, 1] and [one.between for one in tried] == [0.97, 0.98]
    assert tried[0].reasons == ("agreement between classes 0.9700, wanted 0.98",)


def test_images_between_classes() -> None:
    """Each is laid over one of another class, in all shares; alone in its class, nothing is."""
    labels = np.array([0, 0, 0, 1, 1, 2])
    images = np.repeat(labels * 100, 12).reshape(6, 2, 2, 3).astype(np.uint8)
    found = held_out.between(images, labels)
    assert found.shape == (18, 2, 2, 3) and found.dtype == np.uint8
    half = found[6:12, 0, 0, 0].astype(int)
    assert np.array_equal(2 * half - 100 * labels == 100 * labels, [False] * 6)
    assert set((2 * half - 100 * labels).tolist()) <= {0, 100, 200}
    assert len(held_out.between(images[:3], labels[:3])) == 0


def test_float_model_is_the_measure(faked: HeldOut) -> None:
    """Not the labels: where the float model is wrong, so must be the remedy."""
    _made, tried, _taken = climb(remedies(40), b"40", faked)
    assert tried[0].agreement == 1 and tried[0].accuracy == 0.9


def test_table_marks_what_nothing_beats(faked: HeldOut) -> None:
    from dataclasses import asdict

    from rich.console import Console

    _made, tried, _taken = climb(remedies(40, 20, 8), b"0", faked)
    rungs = [asdict(one) | {"bytes": size} for one, size in zip(tried, (10, 30, 20), strict=True)]
    console = Console(width=120)
    with console.capture() as shown:
        console.print(ladder_table("tflite-int8", rungs, "8 wrong"))
    lines = {line.split(" wrong")[0]: line for line in shown.get().splitlines() if " wrong" in line}
    assert all(word in shown.get() for word in ("change", "between", "gates", "failed"))
    assert "*" in lines["40"] and "*" not in lines["20"] and "* (taken)" in lines["8"]


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
    found = mixed.runs_of_operators(graph)
    assert found[0] == {"op0", "op1", "op2", "op3"} and found[1] == {"op2", "op3", "op4", "op5"}
    assert frozenset().union(*found) == {f"op{n}" for n in range(7)}


def test_most_weights_become_integers() -> None:
    graph: Any = Graph(10, 10, 10, 10, 100)
    best = [frozenset({"op0", "op1"}), frozenset({"op2", "op3"}), frozenset({"op4"})]
    assert list(mixed.more_and_more(graph, best)) == [best[0], best[0] | best[1]]


def test_few_images_are_spread_over_all() -> None:
    images = np.arange(1000, dtype=np.uint8)
    assert 200 <= len(mixed.few(images)) <= mixed.IMAGES and len(mixed.few(images[:9])) == 9
