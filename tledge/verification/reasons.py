"""Collect the reasons why an artifact does not pass, by kind; the exit code follows from the kind."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tledge.run.records import ParityRow


@dataclass(frozen=True)
class Reasons:
    """Why an artifact does not pass.

    Attributes:
        structural_reasons: Faults of the file itself. Any of them makes the verdict "failed", and the
            command ends with ArtifactError's exit code 4.
        prediction_reasons: How its predictions differ from the reference. Their gates set the verdict; where
            it is "failed" by these alone, the command ends with ParityFailed's exit code 3.
    """

    structural_reasons: tuple[str, ...] = ()
    prediction_reasons: tuple[str, ...] = ()

    def __add__(self, other: Reasons) -> Reasons:
        """Return the reasons of both, each kind in order."""
        return Reasons(
            (*self.structural_reasons, *other.structural_reasons),
            (*self.prediction_reasons, *other.prediction_reasons),
        )

    def put_into(self, row: ParityRow) -> ParityRow:
        """Return the row with all reasons, each once; a structural one overrides the verdict of the gates."""
        reasons = tuple(dict.fromkeys((*self.structural_reasons, *self.prediction_reasons)))
        if not self.structural_reasons:
            return replace(row, structural=False, reasons=reasons)
        return replace(
            row, structural=True, verdict="failed", images_needed=None, provisional=False, reasons=reasons
        )
