"""`tledge verify`: check a run's artifacts, or a bundle on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tledge.cli import verdicts
from tledge.cli.options import (
    common_options,
    echo,
    example,
    json_fields,
    kernels_option,
    key_option,
    open_run_for_writing,
    print_json,
    print_next_step,
    read_public_key,
    shell_path,
    wide_option,
    write_report,
)
from tledge.errors import RecipeError

if TYPE_CHECKING:
    from tledge.recipe.definition import Recipe
    from tledge.run.folder import RunFolder
    from tledge.run.records import ParityReport


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
    help="Instead, measure on test photos that are blurred, noisy, dark, compressed ...",
)
@click.option("--variant", metavar="NAME", help="With --skew: the artifact [the smallest integer-only one].")
@key_option
@kernels_option
@wide_option
@common_options
def verify(
    path: Path | None,
    skew: bool,
    stress: bool,
    variant: str | None,
    key: Path | None,
    kernels: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Check a run's artifacts against Keras' golden set, or check a bundle on this machine.

    With --skew, test photos are preprocessed as some apps do it (no antialiasing, nearest pixel, blue
    first, EXIF ignored ...), to measure the accuracy lost. Informational: the exit
    code does not depend on it.

    With --stress, Keras and every artifact predict the test photos as bad cameras, light and networks would
    give them: blurred, shaken, noisy, dark, bright, hazy, compressed, small, or in coloured light.
    """
    from tledge.bundle import reader

    if skew and key:
        raise RecipeError("--key checks who signed a bundle, --skew measures a model: give one of the two.")
    if stress:
        _stress(path, bool(skew or key), kernels, quiet, as_json)
        return
    if skew:
        _skew(path, variant, kernels, quiet, as_json)
        return
    if variant:
        raise RecipeError("--variant chooses the artifact of --skew; give --skew, or leave --variant out.")
    if path is not None and reader.is_bundle(path):
        _verify_bundle(path, key, kernels, quiet, as_json)
        return
    if key:
        raise RecipeError(key_of_run("verify", path, key))
    folder, recipe = open_run_for_writing(path)
    report = verify_with_progress(folder, recipe, kernels, quiet)
    if as_json:
        print_json(json_fields(report))
    else:
        verdicts.show(report, folder.path)
    write_report(folder, as_json)
    if not report.passed:
        verdicts.fail(report)
    print_next_step(f"tledge bundle {shell_path(folder.path)}", as_json)


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
        verdicts.fail(report)
    with_key = f" --key {shell_path(key)}" if key else ""
    print_next_step(f"tledge predict {shell_path(path)} PHOTO.jpg{with_key}", as_json)


def _stress(path: Path | None, has_others: bool, kernels: str, quiet: bool, as_json: bool) -> None:
    """Measure a run's artifacts on corrupted images, and end with the code of the stress gates."""
    from tledge.bundle import reader
    from tledge.cli import console
    from tledge.verification.stress import stress_run

    if has_others:
        raise RecipeError("--stress measures on other photos than --skew and --key: give one of the three.")
    if path is not None and reader.is_bundle(path):
        raise RecipeError(f"{path}: --stress takes a run, which holds the Keras model and the test photos.")
    folder, recipe = open_run_for_writing(path)
    with console.progress_shown(quiet) as progress:
        report = stress_run(folder, recipe.parity, kernels=kernels, progress=progress)
    if as_json:
        print_json(json_fields(report))
    else:
        verdicts.show_stress(report)
    verdicts.fail_under_stress(report)
    print_next_step(f"tledge bundle {shell_path(folder.path)}", as_json)


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
