"""`tledge list`, `inspect` and `report`: read models, runs and tables."""

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
    open_run_for_writing,
    print_json,
    print_next_step,
    report_shown,
    shell_path,
    write_report,
)
from tledge.errors import ArtifactError, MissingError

if TYPE_CHECKING:
    from tledge.cli.listing import RunLine


@click.command("list", epilog=example("tledge list recipes"))
@click.argument(
    "what",
    metavar="WHAT",
    type=click.Choice(["recipes", "keys", "runs", "variants", "backbones", "sources", "targets"]),
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(what: str, as_json: bool) -> None:
    """List recipes, recipe keys, runs in runs/, variants, backbones, data sources or device projects.

    WHAT is recipes, keys, runs, variants, backbones, sources or targets.
    """
    from tledge.cli import console, listing

    rows = listing.TABLES[what]()
    if what == "runs":
        _show_runs(rows, as_json)
        return
    if as_json:
        print_json({name: facts for name, *facts in rows})
    elif what == "keys":
        console.print_lines(listing.key_lines(rows))
    else:
        console.print_rows(rows)


def _show_runs(lines: list[RunLine], as_json: bool) -> None:
    from tledge.cli import console, tables

    if as_json:
        print_json({line.path: {**json_fields(line), "path": line.path} for line in lines})
    elif lines:
        console.print_table(tables.runs_table(lines))
    else:
        echo("No runs in runs/.")


@click.command(epilog=example("tledge inspect runs/rps/artifacts/tflite-int8.tflite"))
@click.argument("file", metavar="FILE|BUNDLE|RUN", type=click.Path(path_type=Path))
@click.option("--quantization", is_flag=True, help="Measure the accuracy cost of int8 for each layer of RUN.")
@common_options
def inspect(file: Path, quantization: bool, quiet: bool, as_json: bool) -> None:
    """Show what is inside a .tflite or .onnx file, a SavedModel folder or a bundle, without running it.

    For a bundle: show its manifest and every artifact; for one that cannot be inspected here, say what to
    install. For a run: show its scores, and coverage and error at each confidence threshold.
    """
    from tledge.bundle import reader
    from tledge.cli import console, listing
    from tledge.run import folder as run_folder

    if quantization:
        _show_layers(file, quiet, as_json)
        return
    if run_folder.is_run(file):
        _inspect_run(file, as_json)
        return
    if reader.is_bundle(file):
        _inspect_bundle(file, as_json)
        return
    facts = listing.inspect(file)
    if as_json:
        print_json(facts)
        return
    console.print_rows(console.fact_rows(facts))


def _inspect_bundle(path: Path, as_json: bool) -> None:
    """Print what is inside a bundle; exit with 4 for a damaged artifact, with 5 if none can be inspected."""
    from tledge.bundle.contents import inspect_bundle
    from tledge.cli import console

    contents = inspect_bundle(path)
    if as_json:
        print_json({"format": "bundle", **json_fields(contents)})
    else:
        console.print_rows(console.bundle_rows(contents))
    faults = [f"{artifact.variant}: {artifact.fault}" for artifact in contents.artifacts if artifact.fault]
    if faults:
        raise ArtifactError(f"{path}: {' '.join(faults)}")
    lacking = [artifact.missing for artifact in contents.artifacts if artifact.missing]
    if lacking and len(lacking) == len(contents.artifacts):
        raise MissingError(f"{path}: no artifact can be inspected here. {lacking[0]}")


def _show_layers(run: Path, quiet: bool, as_json: bool) -> None:
    from tledge.cli import console, tables
    from tledge.conversion.layer_diagnosis import PLOT, TABLE, diagnose

    folder, recipe = open_run_for_writing(run)
    with console.progress_shown(quiet) as progress:
        diagnosis = diagnose(folder, recipe, progress)
    if as_json:
        write_report(folder, as_json)
        print_json(json_fields(diagnosis))
        return
    sensitivity = diagnosis.sensitivity
    console.print_table(tables.layers_table(sensitivity.by_cost))
    if len(sensitivity.layers) > tables.SHOWN:
        more = len(sensitivity.layers) - tables.SHOWN
        echo(one_line(f"and {more} more in {folder.path / TABLE}"))
    for line in diagnosis.remarks:
        echo(line)
    echo(
        f"One layer at a time on {sensitivity.images} held-out images, {sensitivity.seconds:.0f} s. "
        f"Plot: {folder.path / PLOT}"
    )
    write_report(folder)


def _inspect_run(path: Path, as_json: bool) -> None:
    from tledge.cli import console, tables
    from tledge.run.folder import RunFolder

    run, risk = RunFolder(path).read_run(), RunFolder(path).read_risk()
    if as_json:
        print_json(
            {
                **json_fields(run),
                "risk_coverage": {split: json_fields(curve) for split, curve in risk.items()},
            }
        )
        return
    console.print_rows(console.training_rows(run))
    if risk:
        console.print_table(tables.risk_table(risk))


@click.command(epilog=example("tledge report runs/rps"))
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def report(run: Path | None, as_json: bool) -> None:
    """Write an HTML and a Markdown report of RUN (the newest finished one if left out).

    report.html and report.md show the verdict, the data, the training, the predictions of Keras and of
    every artifact, and how to reproduce the run. Train, export, verify and bench write them too.
    """
    from tledge.report.write import write

    folder, _recipe = open_run_for_writing(run)
    with report_shown():
        written = write(folder)
    if as_json:
        print_json({"html": str(written.html), "text": str(written.text), "verdict": written.verdict})
        return
    echo(one_line(f"Report: {written.html}"))
    echo(one_line(f"  Text: {written.text}"))
    if written.verdict in ("passed", "undecided"):
        print_next_step(f"tledge bundle {shell_path(folder.path)}")
    else:
        print_next_step(
            f"tledge export {shell_path(folder.path)} "
            f"{'--int8' if written.verdict == 'trained' else '--repair'}"
        )
