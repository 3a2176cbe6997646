"""`tledge compare`: check whether one model can replace another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tledge._io.encoding import one_line
from tledge.cli.options import (
    common_options,
    echo,
    example,
    json_fields,
    kernels_option,
    print_json,
    print_next_step,
    shell_path,
)
from tledge.errors import ArtifactError, InconclusiveError, MissingError, ParityFailed, TledgeError

if TYPE_CHECKING:
    from tledge.verification.compare_models import ComparedReport


@click.command(epilog=example("tledge compare pets-1.zip runs/pets"))
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Only this artifact.")
@kernels_option
@common_options
def compare(a: Path, b: Path, variants: tuple[str, ...], kernels: str, quiet: bool, as_json: bool) -> None:
    """Check whether model B can replace model A. Each is a bundle (folder or zip) or a run.

    Every artifact that both have predicts the same test images. Shows accuracy, regressions and fixes,
    size and latency, and what changes for an app built for A: labels, input, output. Exit code 0: B is not
    worse. Exit code 3: B is worse beyond the [parity] gates, or labels or contract differ. Exit code 6: there
    are too few images to tell.
    """
    from tledge.cli import console
    from tledge.recipe import lookup
    from tledge.run import folder
    from tledge.verification import compare_models as stage

    limits, whose = lookup.comparison_gates(a, b)
    with console.progress_shown(quiet) as progress:
        report = stage.compare(a, b, limits, variants=variants, kernels=kernels, progress=progress)
    if as_json:
        print_json(json_fields(report))
    else:
        _show(report, whose)
    if report.verdict not in (stage.FINE, stage.SAME):
        raise _failure(report)
    print_next_step(
        f"tledge bundle {shell_path(b)}" if folder.is_run(b) else f"tledge verify {shell_path(b)}", as_json
    )


def _show(report: ComparedReport, whose: str) -> None:
    from tledge.cli import console, tables

    for letter, side in (("A", report.a), ("B", report.b)):
        echo(one_line(f"{letter}: {side.path} ({side.name} {side.version})"))
    console.print_fitting(lambda out: tables.compared_table(report, out))
    echo(report.summary)
    for line in (*report.labels, *report.contract):
        echo(line)
    for row in report.rows:
        for reason in row.reasons:
            echo(f"{row.variant}: {reason}")
    for letter, names in (("A", report.only_a), ("B", report.only_b)):
        if names:
            echo(f"Only in {letter}: {', '.join(names)}.")
    limits = report.limits
    echo(
        f"Gates ({whose}): B's accuracy may drop by {limits.max_drop:.1%}, a class' recall by "
        f"{limits.max_class_drop:.1%}, and B keeps {limits.int8_accuracy:.0%} of A's accuracy."
    )
    for line in (*report.remarks, report.machine.describe()):
        echo(line)


def _failure(report: ComparedReport) -> TledgeError:
    """Choose the error: exit code 4 for a damaged artifact, 5 where none could be compared, 6 or 3."""
    from tledge.verification import compare_models as stage

    if report.verdict == stage.BROKEN:
        return ArtifactError(f"No verdict: a file is damaged. {report.summary}")
    if report.verdict == stage.SKIPPED:
        return MissingError(f"{report.summary} The reasons are above.")
    if report.verdict == stage.UNDECIDED:
        return InconclusiveError("Too few images to tell whether B can replace A. The reasons are above.")
    return ParityFailed(f"B cannot replace A ({report.verdict}). The reasons are above.")
