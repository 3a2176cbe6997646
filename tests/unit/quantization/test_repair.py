"""Which candidate is taken, without any model; and that pipelines do not depend on their order."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.repair_trials import candidates, stand_in, wrong
from tledge.quantization import repair
from tledge.quantization.repair import SelectionSet, search_repairs


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> SelectionSet:
    """Candidates whose data is the number of their wrong predictions."""
    return stand_in(monkeypatch)


def test_first_that_passes_ends_the_search(faked: SelectionSet) -> None:
    made, tried, taken = search_repairs(candidates(40, 20, 8, 0), b"0", faked)
    assert [one.verdict for one in tried] == ["failed", "failed", "passed"]  # 8 of 400 are exactly 2 %
    assert taken == 2 and made[taken].name == "8 wrong"


def test_best_is_taken_where_none_passes(faked: SelectionSet) -> None:
    _made, tried, taken = search_repairs(candidates(40, 9, 20), b"0", faked)
    assert taken == 1 and all(one.verdict == "failed" and one.reasons for one in tried)


def test_perfect_candidate_ends_the_search_where_images_lack(
    faked: SelectionSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On 20 images nothing can be shown to agree on 98 %: no later candidate could pass."""
    few = replace(faked, images=faked.images[:20], labels=faked.labels[:20])
    monkeypatch.setattr(
        repair, "run_on_all_cores", lambda data, _name, images: wrong(int(data))[: len(images)]
    )
    _made, tried, taken = search_repairs(candidates(1, 0, 1), b"0", few)
    assert [one.verdict for one in tried] == ["undecided", "undecided"] and taken == 1


def test_predictions_between_classes_are_held_to_the_gate(
    faked: SelectionSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photos with margins pass; what lies between two classes shows the difference."""
    between = replace(faked, between=faked.images[:100])

    def answers(data: bytes, _name: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return wrong(int(data) if len(images) == 100 else 0)[: len(images)]

    monkeypatch.setattr(repair, "run_on_all_cores", answers)
    _made, tried, taken = search_repairs(candidates(3, 2, 1), b"0", between)
    assert [one.verdict for one in tried] == ["failed", "passed"] and taken == 1
    assert [one.agreement for one in tried] == [1, 1] and [one.between for one in tried] == [0.97, 0.98]
    assert tried[0].reasons == (
        "agrees with the float model on 97.0% of the images between two classes; at least 98% is required",
    )


def test_float_model_is_the_measure(faked: SelectionSet) -> None:
    """Not the labels: where the float model is wrong, so must be the candidate."""
    _made, tried, _taken = search_repairs(candidates(40), b"40", faked)
    assert tried[0].agreement == 1 and tried[0].accuracy == 0.9
