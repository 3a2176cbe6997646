"""Print what verification found, what a bundle holds and what it lacks, for the commands that ship."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tledge._io.encoding import one_line
from tledge.cli.options import echo, is_wide, shell_path

if TYPE_CHECKING:
    from tledge.bundle.build import Bundled
    from tledge.run.records import ParityReport


def show(report: ParityReport, path: Path) -> None:
    """Print the verdict table, what differs from Keras, and the reasons of what did not pass."""
    from tledge.cli import console, tables

    wide = is_wide()
    console.print_fitting(lambda out: tables.parity_table(report, out, wide))
    for line in (*tables.differences(report, path), *tables.reasons(report)):
        echo(line)


def show_bundle(bundled: Bundled, report: ParityReport) -> None:
    """Print where the bundle is, what is in it, and for each artifact that is not, why in one sentence."""
    echo(one_line(f"Bundle: {bundled.folder}"))
    echo(one_line(f"   Zip: {bundled.zip}"))
    if bundled.signed_by:
        echo(f"Signed: {bundled.signed_by}")
    echo(f"In the bundle: {', '.join(bundled.variants)}.")
    for line in left_out(bundled.variants, report):
        echo(line)


def left_out(variants: tuple[str, ...], report: ParityReport) -> list[str]:
    """Return one sentence for each artifact of the report that is not among the bundled `variants`."""
    rows = [row for row in report.rows if row.variant not in variants]
    reasons = [row.reasons[0] if row.reasons else "see above" for row in rows]
    return [
        one_line(f"Not in the bundle: {row.variant} ({row.verdict}): {reason}")
        for row, reason in zip(rows, reasons, strict=True)
    ]


def next_step(run: Path, bundle: Path | None, report: ParityReport) -> str:
    """Return the command to type after an export: mend int8 where it failed, else predict."""
    failed = {row.variant for row in report.rows if row.verdict == "failed"}
    if "tflite-int8" in failed:
        return f"tledge export {shell_path(run)} --repair"
    if bundle is None:
        return f"tledge inspect {shell_path(run)}"
    return f"tledge predict {shell_path(bundle)} PHOTO.jpg"


def fail(report: ParityReport) -> NoReturn:
    """End with exit code 4 if a file itself is faulty, else with 3."""
    from tledge.verification.verify import failure

    raise failure(report, "The reasons are above.")
