"""Structural and prediction reasons: the verdict and the exit code follow from their kind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tledge.errors import ArtifactError, InconclusiveError, ParityFailed
from tledge.run.records import ParityReport, ParityRow, Reference
from tledge.verification.reasons import Reasons
from tledge.verification.verify import failure

FAILED = ParityRow("tflite-int8", "a.tflite", "ab" * 32, 1, "failed")


def exit_code(reasons: Reasons, verdict: str) -> int:
    row = reasons.put_into(replace(FAILED, verdict=verdict))
    return failure(ParityReport(False, Reference(1.0, 10), (row,))).exit_code


@pytest.mark.parametrize("verdict", ["failed", "undecided", "passed"])
def test_structural_reason_is_four_whatever_the_gates_say(verdict: str) -> None:
    assert exit_code(Reasons(("carries no labels",), ("agreement is low",)), verdict) == 4
    assert exit_code(Reasons(("carries no labels",)), verdict) == ArtifactError.exit_code


@pytest.mark.parametrize(("verdict", "code"), [("failed", 3), ("undecided", 6)])
def test_prediction_reasons_alone_follow_the_verdict(verdict: str, code: int) -> None:
    assert exit_code(Reasons((), ("agreement is low",)), verdict) == code
    assert (ParityFailed.exit_code, InconclusiveError.exit_code) == (3, 6)


def test_what_failed_outweighs_what_is_inconclusive() -> None:
    rows = (FAILED, replace(FAILED, verdict="undecided", provisional=True))
    assert failure(ParityReport(False, Reference(1.0, 10), rows)).exit_code == 3


def test_a_structural_reason_is_never_provisional() -> None:
    row = Reasons(("carries no labels",)).put_into(replace(FAILED, verdict="undecided", provisional=True))
    assert not row.provisional and not row.is_bundled


def test_structural_reason_overrides_the_gates() -> None:
    row = Reasons(("its labels differ",)).put_into(replace(FAILED, verdict="undecided", images_needed=50))
    assert (row.verdict, row.structural, row.images_needed) == ("failed", True, None)


def test_prediction_reasons_leave_the_verdict() -> None:
    row = Reasons((), ("too few images",)).put_into(replace(FAILED, verdict="undecided", images_needed=50))
    assert (row.verdict, row.structural, row.images_needed) == ("undecided", False, 50)
    assert Reasons().put_into(replace(FAILED, verdict="passed")).reasons == ()


def test_equal_texts_of_both_kinds_keep_their_kind() -> None:
    """A structural reason counts even if its words are those of a prediction reason."""
    row = Reasons(("same words",), ("same words",)).put_into(FAILED)
    assert row.structural and row.reasons == ("same words",)


def test_reasons_add_up_in_order() -> None:
    total = Reasons(("a",), ("x",)) + Reasons(("b",), ("y",))
    assert total == Reasons(("a", "b"), ("x", "y"))
    assert total.put_into(FAILED).reasons == ("a", "b", "x", "y")
