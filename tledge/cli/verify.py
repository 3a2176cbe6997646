"""`tledge verify`: check a run's artifacts, or a bundle on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tledge._io.encoding import one_line
from tledge.cli import verdicts
from tledge.cli.options import (
    common_options,
    echo,
    example,
    image_size_option,
    json_fields,
    kernels_option,
    key_option,
    open_finished_run,
    open_run_for_writing,
    print_json,
    print_next_step,
    read_public_key,
    read_size,
    scaling_option,
    shell_path,
    wide_option,
    write_report,
)
from tledge.errors import ArtifactError, MissingError, RecipeError

if TYPE_CHECKING:
    from tledge.recipe.definition import Recipe
    from tledge.run.folder import RunFolder
    from tledge.run.records import ParityReport
    from tledge.verification.field_photos import FieldReport, FieldRow
    from tledge.verification.stress import StressReport


@click.command(epilog=example("tledge verify runs/rps"))
@click.argument("path", metavar="[RUN|BUNDLE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--skew",
    is_flag=True,
    help="Instead, measure the accuracy lost when photos are preprocessed differently.",
)
@click.option(
    "--stress",
    is_flag=True,
    help="Also verify on test photos that are blurred, noisy, dark, compressed ...",
)
@click.option("--variant", metavar="NAME", help="With --skew: the artifact [the smallest integer-only one].")
@click.option(
    "--photos",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Instead, predict these photos from the field with every artifact; folders are labels.",
)
@click.option(
    "--against",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Compare a .tflite or .onnx file that another tool converted with the Keras model of RUN.",
)
@scaling_option
@image_size_option
@key_option
@kernels_option
@wide_option
@common_options
def verify(
    path: Path | None,
    skew: bool,
    stress: bool,
    variant: str | None,
    photos: Path | None,
    against: Path | None,
    scaling: str | None,
    image_size: str | None,
    key: Path | None,
    kernels: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Check a run's artifacts against Keras' golden set, or check a bundle on this machine.

    With --photos, other photos are predicted: a folder for each label shows accuracy, per class and beside
    the test images; photos without labels show agreement and confidence. Training photos are left out.
    Informational, as --skew is.

    With --against, a single file of another tool is compared with a run's Keras model: structure, agreement,
    accuracy, and the likely cause of a difference (scaling, BGR, order of labels).

    With --skew, test photos are preprocessed as some apps do it (no antialiasing, nearest pixel, blue
    first, EXIF ignored ...), to measure the accuracy lost. Informational: the exit
    code does not depend on it.

    With --stress, Keras and every artifact predict the test photos as bad cameras, light and networks would
    give them: blurred, shaken, noisy, dark, bright, hazy, compressed, small, or in coloured light.
    """
    from tledge.bundle import reader

    _check_measures(path, skew, stress, photos, variant, key)
    if against is not None:
        if skew or stress or photos or variant or key:
            raise RecipeError("--against compares one file: leave --skew, --stress, --photos and --key out.")
        _against(path, against, (scaling, image_size), kernels, quiet, as_json)
        return
    if scaling or image_size:
        raise RecipeError("--scaling and --image-size go with --against: other models take RGB bytes.")
    if photos is not None:
        _field(path, photos, key, kernels, quiet, as_json)
    elif skew:
        _skew(path, variant, kernels, quiet, as_json)
    elif path is not None and reader.is_bundle(path):
        _verify_bundle(path, key, kernels, quiet, as_json)
    else:
        _verify_run(path, stress, key, kernels, quiet, as_json)


def _check_measures(
    path: Path | None, skew: bool, stress: bool, photos: Path | None, variant: str | None, key: Path | None
) -> None:
    """Raise RecipeError for options that do not go together."""
    from tledge.bundle import reader

    if photos is not None and (skew or stress or variant):
        raise RecipeError("--photos measures on other photos: leave --skew, --stress and --variant out.")
    if skew and key:
        raise RecipeError("--key checks who signed a bundle, --skew measures a model: give one of the two.")
    if stress and (skew or key or (path is not None and reader.is_bundle(path))):
        raise RecipeError(
            "--stress takes a run, which holds the Keras model and the test photos, and neither --skew nor "
            "--key."
        )
    if variant and not skew:
        raise RecipeError("--variant chooses the artifact of --skew; give --skew, or leave --variant out.")


def _verify_run(
    path: Path | None, stress: bool, key: Path | None, kernels: str, quiet: bool, as_json: bool
) -> None:
    """Verify a run's artifacts against its golden set, and write the report."""
    if key:
        raise RecipeError(key_of_run("verify", path, key))
    folder, recipe = open_run_for_writing(path)
    stressed = stress_with_progress(folder, recipe, kernels, quiet) if stress else None
    report = verify_with_progress(folder, recipe, kernels, quiet)
    if as_json:
        print_json({**json_fields(report), **({"stress": json_fields(stressed)} if stressed else {})})
    else:
        verdicts.show(report, folder.path)
        verdicts.show_provisional(report, folder.path)
        if stressed:
            verdicts.show_stress(stressed)
    write_report(folder, as_json)
    step = f"tledge bundle {shell_path(folder.path)}"
    if not report.passed:
        step = step if report.any_bundled else verdicts.next_step(folder.path, None, report)
        verdicts.fail(report, step, as_json)
    print_next_step(step, as_json)


def key_of_run(command: str, path: Path | None, key: Path, *options: str) -> str:
    """Say that only a run's bundle is signed, and how to name that."""
    from tledge.run import folder as run_folder

    place = shell_path(path).rstrip("/") if path and run_folder.is_run(path) else "RUN"
    words = shlex.join(["--key", str(key), *options])
    return (
        f"--key checks the signature of an existing bundle, and {path or 'a run'} is not a bundle. Name the "
        f"signed bundle of a run: tledge {command} {place}/bundle {words}"
    )


def _verify_bundle(path: Path, key: Path | None, kernels: str, quiet: bool, as_json: bool) -> None:
    """Verify a bundle on this machine, and print who signed it and whether that was checked."""
    from tledge.bundle import reader
    from tledge.cli import console
    from tledge.verification.verify import contradictions_explained, verify_opened

    with contradictions_explained(path):
        opened = reader.open_bundle(path, read_public_key(key))
    with console.progress_shown(quiet) as progress:
        report = verify_opened(opened, kernels=kernels, progress=progress)
    if as_json:
        print_json({"signed_by": opened.signed_by, "signature_checked": bool(key), **json_fields(report)})
    else:
        verdicts.show(report, path)
        if opened.signed_by:
            echo(opened.signature_description)
    if not report.passed:
        verdicts.fail(report, f"tledge inspect {shell_path(path)}", as_json)
    with_key = f" --key {shell_path(key)}" if key else ""
    print_next_step(f"tledge predict {shell_path(path)} PHOTO.jpg{with_key}", as_json)


def _against(
    path: Path | None,
    run: Path,
    choices: tuple[str | None, str | None],
    kernels: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compare a file of another tool with the Keras model of a run, and print the verdict."""
    from tledge.cli import console
    from tledge.preprocessing.scaling import parse_scaling
    from tledge.verification.foreign import verify_foreign

    if path is None or not path.is_file():
        raise RecipeError(f"{path or 'FILE'}: expected a .tflite or .onnx file before --against.")
    scaling, size = choices
    folder, recipe = open_finished_run(run)
    with console.progress_shown(quiet) as progress:
        report = verify_foreign(
            path,
            folder,
            recipe.parity,
            kernels=kernels,
            scaling=parse_scaling(scaling) if scaling else None,
            image_size=read_size(size),
            progress=progress,
        )
    if as_json:
        print_json(json_fields(report))
    else:
        verdicts.show(report, folder.path)
    if not report.passed:
        verdicts.fail(report, f"tledge inspect {shell_path(path)}", as_json)
    print_next_step(f"tledge predict {shell_path(path)} PHOTO.jpg", as_json)


def _field(
    path: Path | None, photos: Path, key: Path | None, kernels: str, quiet: bool, as_json: bool
) -> None:
    """Predict photos from the field with every artifact, and print the table."""
    from tledge.cli import console
    from tledge.run import folder
    from tledge.verification.field_photos import verify_photos

    model = folder.newest_run(Path("runs")).path if path is None else path
    public = read_public_key(key)
    with console.progress_shown(quiet) as progress:
        report = verify_photos(model, photos, kernels=kernels, key=public, progress=progress)
    if as_json:
        print_json(json_fields(report))
    else:
        _show_field(report)
    failed = [row.variant for row in report.rows if row.status == "failed"]
    if failed:
        raise ArtifactError(f"could not be measured: {', '.join(failed)}. The reasons are above.")
    if not report.reference:
        raise MissingError("No model could be opened here; the reasons above say what is missing.")
    print_next_step(f"tledge preview {shell_path(model)}", as_json)


FIELD_COLUMNS = (
    "model",
    "accuracy",
    "on test images",
    "agreement",
    "regressions",
    "fixes",
    "confidence",
    "rejected",
)
FIELD_SPARE = ("confidence", "fixes", "regressions", "on test images")
"""Columns of the table of photos from the field, and those that a narrow terminal hides, the first first."""


def _show_field(report: FieldReport) -> None:
    from tledge.cli import console, tables
    from tledge.verification.field_photos import confusions
    from tledge.visualization.text_format import percent

    labelled = f", {report.labelled} of them with a label" if report.labelled else ", without labels"
    echo(one_line(f"{report.name} on {report.images} photos of {report.photos}{labelled}"))
    console.print_fitting(
        lambda out: tables.fitting_table(lambda hidden: _field_table(report, hidden), FIELD_SPARE, out)
    )
    for row in report.rows:
        if row.reason:
            echo(f"{row.variant} {row.status}: {row.reason}")
    best = report.rows[0]
    for label, (images, recall) in best.recall.items():
        echo(one_line(f"{label}: {percent(recall)} of {images} right ({best.variant})"))
    for count, label, predicted in confusions(best):
        echo(one_line(f"{count} of {label} predicted as {predicted}"))
    for line in (*report.summary, *report.remarks):
        echo(line)


def _field_table(report: FieldReport, hidden: Sequence[str]) -> Any:
    """Draw a row for each measured model, without the columns that need labels where there are none."""
    from tledge.cli import tables

    lacking = () if report.labelled else ("accuracy", "on test images", "regressions", "fixes")
    shown = [name for name in FIELD_COLUMNS if name not in (*hidden, *lacking)]
    table = tables.empty_table(shown, left=("model",))
    for row in report.rows:
        if row.status == "measured":
            cells = dict(zip(FIELD_COLUMNS, _field_cells(row), strict=True))
            table.add_row(*(cells[name] for name in shown))
    return table


def _field_cells(row: FieldRow) -> tuple[str, ...]:
    from tledge.visualization.text_format import NONE, percent

    count = f" of {row.recorded_images}" if row.recorded_images else ""
    flips = (NONE if number is None else str(number) for number in (row.lost, row.won))
    return (
        row.variant,
        percent(row.accuracy),
        f"{percent(row.recorded_accuracy)}{count}",
        percent(row.agreement),
        *flips,
        percent(row.confidence),
        percent(row.rejected),
    )


def _skew(path: Path | None, variant: str | None, kernels: str, quiet: bool, as_json: bool) -> None:
    """Measure an artifact on photos that are preprocessed differently, and print the table."""
    from tledge.bundle import reader
    from tledge.cli import console, tables
    from tledge.verification.preprocessing_skew import skew_bundle, skew_run

    with console.progress_shown(quiet) as progress:
        if path is not None and reader.is_bundle(path):
            following = f"tledge predict {shell_path(path)} PHOTO.jpg"
            report = skew_bundle(
                reader.open_bundle(path), variant=variant, kernels=kernels, progress=progress
            )
        else:
            folder, recipe = open_run_for_writing(path)
            following = f"tledge bundle {shell_path(folder.path)}"
            report = skew_run(folder, recipe.data, variant=variant, kernels=kernels, progress=progress)
    if as_json:
        print_json(json_fields(report))
        return
    echo(
        f"{report.variant} ({report.kernels}) on {report.images} photos, compared with its own predictions on"
    )
    echo("the contract's pixels: difference in grey levels, accuracy and agreement.")
    console.print_table(tables.skew_table(report))
    for line in (*report.remarks, report.summary):
        echo(line)
    print_next_step(following)


def verify_with_progress(folder: RunFolder, recipe: Recipe, kernels: str, quiet: bool) -> ParityReport:
    """Verify a run's artifacts, with progress on stderr."""
    from tledge.cli import console
    from tledge.verification.verify import verify_run

    with console.progress_shown(quiet) as progress:
        return verify_run(folder, recipe.parity, kernels=kernels, progress=progress)


def stress_with_progress(folder: RunFolder, recipe: Recipe, kernels: str, quiet: bool) -> StressReport:
    """Measure a run's artifacts on corrupted test photos, with progress on stderr."""
    from tledge.cli import console
    from tledge.verification.stress import stress_run

    with console.progress_shown(quiet) as progress:
        return stress_run(folder, recipe.parity, kernels=kernels, progress=progress)
