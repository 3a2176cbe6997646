"""Keep the verdicts of artifacts that this machine cannot check: a check that did not run decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tledge.errors import RunError
from tledge.run.folder import RunFolder
from tledge.run.records import SKIPPED, Artifact, ParityRow


def earlier_row(folder: RunFolder, artifact: Artifact) -> ParityRow | None:
    """Return the row that `parity.json` has of this same file; None where it has none."""
    try:
        rows = folder.read_parity().rows
    except RunError:  # missing or damaged: there is nothing to keep
        return None
    same = [row for row in rows if (row.variant, row.sha256) == (artifact.variant, artifact.sha256)]
    return same[0] if same and same[0].verdict != SKIPPED else None


def recorded_rows(rows: Sequence[ParityRow], earlier: Sequence[ParityRow | None]) -> tuple[ParityRow, ...]:
    """Return the rows for `parity.json`: the earlier one where a row was skipped now."""
    pairs = zip(rows, earlier, strict=True)
    return tuple(before if before and row.verdict == SKIPPED else row for row, before in pairs)


def with_remark(row: ParityRow, earlier: ParityRow | None) -> ParityRow:
    """Add to a row that was skipped which earlier verdict stays in `parity.json`."""
    if earlier is None or row.verdict != SKIPPED:
        return row
    return replace(
        row, remarks=(*row.remarks, f"its earlier verdict stays in parity.json: {earlier.verdict}")
    )
