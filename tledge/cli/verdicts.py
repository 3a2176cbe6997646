"""Print what verification found, what a bundle holds and what it lacks, for the commands that ship."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tledge._io.encoding import one_line
from tledge.cli.options import echo, is_wide, print_next_step, shell_path
from tledge.visualization.text_format import percent, points

if TYPE_CHECKING:
    from tledge.bundle.build import Bundled
    from tledge.run.records import ParityReport, ParityRow
    from tledge.verification.stress import StressReport


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
    echo(f"In the bundle: {', '.join(_marked(bundled.variants, report))}.")
    run = bundled.folder.parent
    for line in (*provisional(bundled.variants, report, run), *left_out(bundled.variants, report)):
        echo(line)


def _marked(variants: tuple[str, ...], report: ParityReport) -> list[str]:
    """Return the variants, each with a mark where it is provisional."""
    marked = {row.variant for row in report.rows if row.provisional}
    return [f"{variant} (provisional)" if variant in marked else variant for variant in variants]


def show_provisional(report: ParityReport, run: Path) -> None:
    """Print a sentence for each provisional artifact of a run."""
    for line in provisional(tuple(row.variant for row in report.rows), report, run):
        echo(line)


def provisional(variants: tuple[str, ...], report: ParityReport, run: Path) -> list[str]:
    """Return one sentence for each provisional artifact among the bundled `variants`.

    It says on which figures the artifact is bundled, and what would confirm it.
    """
    return [
        one_line(f"Provisional: {row.variant} {_figures(row)}. {_what_settles(row, run)}")
        for row in report.rows
        if row.provisional and row.variant in variants
    ]


def _figures(row: ParityRow) -> str:
    """Say on how many independent images a provisional artifact agrees, and how its accuracy changed."""
    images = row.independent_images or 0
    same = row.independent_agreement or 0.0
    return (
        f"agrees with Keras on {percent(same)} of {images} independent images (95% interval "
        f"{percent(row.independent_low)} to {percent(row.independent_high)}, accuracy change "
        f"{points(row.accuracy_change, digits=1)}), which is too few to confirm it"
    )


def _what_settles(row: ParityRow, run: Path) -> str:
    """Say how many more images would decide, without labels or as test images."""
    missing = max((row.images_needed or 0) - row.images, 1)
    tested = f"{missing} more test image{'s' * (missing != 1)}"
    unlabelled = (row.independent_needed or 0) - (row.independent_images or 0)
    if unlabelled <= 0:
        return f"{tested} would settle it."
    return (
        f"{unlabelled} more photos would settle it, without labels: tledge export {shell_path(run)} --photos "
        f"DIR; or {tested}."
    )


def no_repair(report: ParityReport, run: Path) -> str:
    """Say that no repair of int8 was tried because only images are missing; "" where it is not undecided."""
    for row in report.rows:
        if row.variant == "tflite-int8" and row.verdict == "undecided":
            settles = _what_settles(row, run)
            return f"No repair was tried: images are missing, no repair could confirm int8. {settles}"
    return ""


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


def fail(report: ParityReport, step: str, as_json: bool) -> NoReturn:
    """Print which artifacts did not pass, then the next command, and end with the exit code for the report.

    The code is 4 if a file itself is faulty, 3 if an artifact failed, 6 if one is undecided, 5 if none was
    checked.
    """
    from tledge.verification.verify import failure

    error = failure(report, "The reasons are above.")
    echo(f"tledge: {error}", err=True)
    print_next_step(step, as_json)
    raise click.exceptions.Exit(error.exit_code)


def show_stress(report: StressReport) -> None:
    """Print how artifacts predict under blur, noise, bad light and compression."""
    from tledge.cli import console

    echo(f"{report.images} test photos, each corrupted in 9 ways at 3 levels.")
    echo(f"Accuracy of Keras: {_keras_under_stress(report)}")
    console.print_table(_stress_verdicts(report))
    echo("Accuracy of Keras, and least agreement of the artifacts, at levels 1 to 3:")
    console.print_table(_stress_levels(report))


def _keras_under_stress(report: StressReport) -> str:
    rows = [row for row in report.rows if row.images == report.images]
    lowest = min(rows or report.rows, key=lambda row: row.reference_accuracy)
    return (
        f"{percent(report.clean_accuracy)} clean, {percent(lowest.reference_accuracy)} under "
        f"{lowest.corruption}, level {lowest.level}."
    )


def _stress_verdicts(report: StressReport) -> Any:
    """Draw a row for each artifact: its verdict, and where it agrees least and loses most."""
    from tledge.cli.tables import empty_table, verdict_text

    table = empty_table(
        ("variant", "verdict", "agree", "least under", "drop", "most under"),
        left=("variant", "verdict", "least under", "most under"),
    )
    for verdict in report.verdicts:
        worst = verdict.worst if verdict.lowest_agreement < 1 else ""
        steepest = verdict.steepest if verdict.largest_drop > 0 else ""
        drop = points(0.0 - verdict.largest_drop, digits=1)
        table.add_row(
            verdict.variant,
            verdict_text(verdict.verdict),
            percent(verdict.lowest_agreement),
            _short(worst),
            drop,
            _short(steepest),
        )
    return table


def _short(cell: str) -> str:
    """Return a corruption and its level without the word: `blur 3`."""
    return cell.replace(", level", "")


def _stress_levels(report: StressReport) -> Any:
    """Draw a row for each corruption: accuracy of Keras and least agreement of the artifacts, by level."""
    from tledge.cli.tables import empty_table

    table = empty_table(("corruption", "Keras 1", "2", "3", "agree 1", "2", "3"), left=("corruption",))
    for name in dict.fromkeys(row.corruption for row in report.rows):
        table.add_row(name, *_stress_cells(report, name))
    return table


def _stress_cells(report: StressReport, name: str) -> Iterator[str]:
    rows = [row for row in report.rows if row.corruption == name]
    levels = sorted({row.level for row in rows})
    for level in levels:
        at_level = (row for row in rows if row.level == level)
        yield percent(max(at_level, key=lambda row: row.images).reference_accuracy)
    for level in levels:
        yield percent(min(row.agreement for row in rows if row.level == level))
