"""`tledge bench`: measure the latency and the memory of artifacts on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tledge.cli.options import (
    common_options,
    echo,
    example,
    image_size_option,
    json_fields,
    lock_until_exit,
    print_json,
    print_next_step,
    read_size,
    shell_path,
    write_report,
)
from tledge.errors import ArtifactError, MissingError, RecipeError, RunError

if TYPE_CHECKING:
    from tledge.inference.bench import BenchReport


@click.command(epilog=example("tledge bench runs/rps/bundle --threads 1,4"))
@click.argument("path", metavar="[BUNDLE|RUN|FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--official", is_flag=True, help="At least 1024 queries and 60 s each, as MLPerf requires.")
@click.option("--threads", metavar="N,N", help="Thread counts [1, 2, 4 … and all cores].")
@click.option(
    "--kernels",
    multiple=True,
    type=click.Choice(["xnnpack", "builtin", "reference"]),
    help="LiteRT kernel family, may be repeated [xnnpack and reference].",
)
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Only this artifact.")
@click.option("--out", type=click.Path(path_type=Path), help="Plot, a PNG [bench.png of a run].")
@image_size_option
@common_options
def bench(
    path: Path | None,
    official: bool,
    threads: str | None,
    kernels: tuple[str, ...],
    variants: tuple[str, ...],
    out: Path | None,
    image_size: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure load time, latency and memory of every artifact on this machine.

    Takes a bundle (folder or zip), a run (the newest finished one if left out) or a single .tflite
    or .onnx file. A query is one image; decoding the photo is not part of it. A run gets bench.json
    and bench.png, anything else only the plot that --out names.
    """
    from tledge.cli import console
    from tledge.inference import bench as stage
    from tledge.run import folder

    path = folder.newest_run(Path("runs")).path if path is None else path
    counts = stage.parse_threads(threads) if threads is not None else ()
    _check_plot(path, out)
    if folder.is_run(path):
        lock_until_exit(folder.RunFolder(path))
    with console.progress_shown(quiet) as progress:
        report = stage.bench(
            path,
            threads=counts,
            kernels=kernels or stage.KERNELS,
            variants=variants,
            official=official,
            image_size=_size(path, image_size),
            progress=progress,
        )
    lines = _write_record(report, path)
    if as_json:
        print_json(json_fields(report))
    else:
        _show(report)
    for line in (*lines, *_draw_plot(report, path, out)):
        echo(line, err=as_json)
    if folder.is_run(path):
        write_report(folder.RunFolder(path), as_json)
    _end(report)
    print_next_step(
        f"tledge predict {shell_path(path)} PHOTO.jpg"
        if official
        else f"tledge bench {shell_path(path)} --official",
        as_json,
    )


def _size(path: Path, text: str | None) -> tuple[int, int] | None:
    """Return what --image-size says; raise RecipeError where the model is no single file."""
    from tledge.bundle import reader

    if text is not None and (path.is_dir() or reader.is_bundle(path)):
        raise RecipeError(f"{path}: --image-size is for single .tflite and .onnx files.")
    return read_size(text)


def _check_plot(path: Path, out: Path | None) -> None:
    """Refuse a plot that could not be drawn or written, before measuring takes minutes."""
    from tledge.bundle import reader
    from tledge.run import folder
    from tledge.visualization import plots

    if out is None:
        return
    if out.suffix.lower() != ".png" or out.is_dir():
        raise RecipeError(f"--out {out}: expected a PNG file, such as bench.png.")
    if path.is_file() and not reader.is_bundle(path):
        raise RecipeError(
            f"--out {out}: the plot shows accuracy against latency, and {path} is a single file "
            "without a known accuracy. Measure its bundle or run, or leave --out out."
        )
    if reader.is_bundle(path) and not folder.is_run(path) and out.resolve().is_relative_to(path.resolve()):
        raise RecipeError(
            f"--out {out}: a bundle holds only what SHA256SUMS names. Choose a path outside the bundle."
        )
    plots.check()


def _show(report: BenchReport) -> None:
    from tledge.cli import console, tables

    console.print_fitting(lambda out: tables.bench_table(report, out))
    for row in report.rows:
        if row.status != "measured":
            kernels = f" {row.kernels} x {row.threads}" if row.kernels else ""
            echo(f"{row.variant}{kernels} {row.status}: {row.reason}")
    for line in (*report.remarks, report.machine.describe(), report.note):
        echo(line)


def _write_record(report: BenchReport, path: Path) -> list[str]:
    """Write `bench.json` of a run, unless nothing was measured and it has earlier figures; tell which."""
    from tledge._io import files
    from tledge.run import folder

    record = path / "bench.json"
    if not folder.is_run(path):
        return []
    if record.exists() and not any(row.status == "measured" for row in report.rows):
        return [f"Nothing was measured: {record} keeps its earlier figures."]
    files.write_json(record, report)
    return [f"Written: {record}"]


def _draw_plot(report: BenchReport, path: Path, out: Path | None) -> list[str]:
    """Draw the plot, if there is a file for it, and return the lines about the files written."""
    from tledge._io import atomic
    from tledge.run import folder
    from tledge.visualization import plots

    target = out or (path / "bench.png" if folder.is_run(path) else None)
    if target is None:
        return []
    points = [
        plots.Point(row.variant, row.kernels, row.threads or 1, row.p50_ms, row.accuracy)
        for row in report.rows
        if row.p50_ms is not None and row.accuracy is not None
    ]
    try:
        if not points:
            raise RunError("no measured artifact has a known accuracy; run `tledge verify` first.")
        with atomic.replacing(target) as temporary:
            title = f"{report.name}: accuracy against latency"
            plots.tradeoff(points, temporary, title, _origin(report), _test_images(path))
    except (MissingError, RunError) as error:
        if out is not None:
            raise
        return [f"No plot: {error}"]
    return [f"Written: {target}"]


def _test_images(path: Path) -> int | None:
    """Return the number of images on which a run's accuracies were measured; None of a bundle or file."""
    from tledge.run import folder

    if not folder.is_run(path) or not folder.RunFolder(path).parity.is_file():
        return None
    return folder.RunFolder(path).read_parity().reference.images


def _origin(report: BenchReport) -> str:
    """Return the subtitle of a plot: the machine, and the rules of measuring."""
    machine = report.machine
    rules = "official" if report.official else "quick"
    return (
        f"{machine.processor}, {machine.cores} cores, {machine.system}; {rules} run. "
        "A desktop says little about a phone."
    )


def _end(report: BenchReport) -> None:
    """Raise exit code 4 if an artifact did not load, run or match its record; 5 if none could be tried."""
    failed = list(dict.fromkeys(row.variant for row in report.rows if row.status == "failed"))
    if failed:
        raise ArtifactError(f"could not be measured: {', '.join(failed)}. The reasons are above.")
    if not report.rows:
        raise ArtifactError("it lists no artifact, so there is nothing to measure.")
    if not any(row.status == "measured" for row in report.rows):
        raise MissingError("No artifact could be measured here; the reasons above say what is missing.")
