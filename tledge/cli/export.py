"""`tledge export` and `bundle`: from a run to the files you ship."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tledge._io.encoding import one_line
from tledge.cli import verdicts
from tledge.cli.options import (
    common_options,
    echo,
    example,
    json_fields,
    key_option,
    lock_until_exit,
    open_run_for_writing,
    print_json,
    print_next_step,
    read_public_key,
    read_signer,
    shell_path,
    sign_option,
    wide_option,
    write_report,
)
from tledge.cli.verify import key_of_run, stress_with_progress, verify_with_progress
from tledge.errors import RecipeError, TledgeError

if TYPE_CHECKING:
    from tledge.bundle.build import Bundled
    from tledge.bundle.signing import PublicKey, Signer
    from tledge.recipe.definition import Recipe
    from tledge.run.folder import RunFolder
    from tledge.run.records import ParityReport


@click.command(epilog=example("tledge export runs/rps --int8"))
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--int8", is_flag=True, help="Add tflite-int8: integers only.")
@click.option("--fp16", is_flag=True, help="Add tflite-fp16: half the size.")
@click.option("--dynamic", is_flag=True, help="Add tflite-dynamic: int8 weights, float activations.")
@click.option("--all", "everything", is_flag=True, help="Add every variant.")
@click.option(
    "--repair", is_flag=True, help="Add tflite-int8 and try quantization fixes until it passes the gates."
)
@click.option(
    "--mixed", is_flag=True, help="With --repair, also allow mixed precision (some layers stay float)."
)
@click.option("--variant", "named", multiple=True, metavar="NAME", help="Add one variant by name.")
@click.option(
    "--unverified", is_flag=True, help="Also bundle artifacts that failed verification, marked as such."
)
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Photos without labels to verify on too, where test images are too few.",
)
@click.option("--force", is_flag=True, help="Convert anew also what nothing has changed for.")
@click.option(
    "--stress", is_flag=True, help="Also verify on test photos that are blurred, noisy, dark, compressed ..."
)
@sign_option
@wide_option
@common_options
def export(
    run: Path | None,
    int8: bool,
    fp16: bool,
    dynamic: bool,
    everything: bool,
    repair: bool,
    mixed: bool,
    named: tuple[str, ...],
    unverified: bool,
    photos: Path | None,
    force: bool,
    stress: bool,
    sign: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Convert RUN (the newest finished one if left out), verify every artifact, and bundle.

    An artifact is kept where nothing changed since it was made: the model, the options, the recipe, the
    calibration images, the versions of the converters. It is verified again.
    """
    from tledge.recipe.loader import with_photos, with_repair, without_repair

    folder, recipe = open_run_for_writing(run)
    signing = read_signer(sign)  # before anything takes time
    if mixed and not repair:
        raise RecipeError("--mixed needs --repair: give both, or --variant tflite-mixed.")
    if repair:
        recipe = with_repair(recipe, integer_only=recipe.export.int8.integer_only and not mixed)
    if photos:
        if not photos.is_dir():
            raise RecipeError(f"--photos {photos}: no such folder of photos.")
        recipe = with_photos(recipe, photos)
    flags = {"tflite-int8": int8 or repair, "tflite-fp16": fp16, "tflite-dynamic": dynamic}
    wanted = _variants(recipe, [name for name, on in flags.items() if on], named, everything)
    waits = _repair_can_wait(folder, recipe, wanted)
    report = _convert_and_verify(
        folder, without_repair(recipe) if waits else recipe, wanted, force, stress, quiet, as_json
    )
    if waits and _repair_could_help(folder, recipe, report):
        waits, report = False, _convert_and_verify(folder, recipe, wanted, force, stress, quiet, as_json)
    note = verdicts.no_repair(report, folder.path) if waits else ""
    if note and not as_json:
        echo(note)
    culprits = _culprits(folder, recipe, report, quiet)
    _show_and_bundle(folder, report, unverified, signing, quiet, as_json, culprits, note)


def _convert_and_verify(
    folder: RunFolder,
    recipe: Recipe,
    wanted: list[str],
    force: bool,
    stress: bool,
    quiet: bool,
    as_json: bool,
) -> ParityReport:
    """Convert, show the trials of a repair, and verify all that the run has; `stress` adds that report."""
    from tledge.cli import console, tables
    from tledge.conversion.export import export as export_run

    with console.progress_shown(quiet) as progress:
        artifacts = export_run(folder, recipe, wanted, progress, force=force)
    for artifact in artifacts if not as_json else ():
        if trials := artifact.details.get("rungs"):
            console.print_table(tables.repair_table(artifact.variant, trials, artifact.details["repair"]))
    stressed = stress_with_progress(folder, recipe, "xnnpack", quiet) if stress else None
    if stressed and not as_json:
        verdicts.show_stress(stressed)
    return verify_with_progress(folder, recipe, "xnnpack", quiet)


def _repair_can_wait(folder: RunFolder, recipe: Recipe, wanted: list[str]) -> bool:
    """Tell whether int8 is to be verified without a repair first: one is asked for, and may not help.

    Where the test images are too few to confirm even an artifact that predicts exactly as Keras, a repair
    could end a failure, but not an inconclusive verdict.
    """
    from tledge.verification import parity

    if not recipe.export.int8.repair or "tflite-int8" not in wanted or folder.student.is_file():
        return False
    if _is_repaired_or_failed(folder):
        return False
    best = parity.verdict_at_best(folder.read_golden(), folder.read_run().labels, recipe.parity)
    return best == "undecided"


def _repair_could_help(folder: RunFolder, recipe: Recipe, report: ParityReport) -> bool:
    """Tell whether a repair could make the verdict on the plain int8 artifact better."""
    from tledge.verification import independent, parity

    if _has(report, "failed"):
        return True
    more = independent.images_for_repaired(folder)
    best = parity.verdict_at_best(folder.read_golden(), folder.read_run().labels, recipe.parity, more)
    return _has(report, "undecided") and best == "passed"


def _is_repaired_or_failed(folder: RunFolder) -> bool:
    """Tell whether the run's int8 artifact failed already, or is one that a repair chose."""
    from tledge.verification import earlier_verdicts

    known = [artifact for artifact in folder.read_artifacts() if artifact.variant == "tflite-int8"]
    rows = [earlier_verdicts.earlier_row(folder, artifact) for artifact in known]
    return any("rungs" in artifact.details for artifact in known) or any(
        row is not None and row.verdict == "failed" for row in rows
    )


def _has(report: ParityReport, verdict: str) -> bool:
    """Tell whether the run's int8 artifact has a verdict."""
    return any(row.variant == "tflite-int8" and row.verdict == verdict for row in report.rows)


def _culprits(folder: RunFolder, recipe: Recipe, report: ParityReport, quiet: bool) -> tuple[str, ...]:
    """Name the layers that cost most where int8 failed, or say why they cannot be named."""
    from tledge.cli import console
    from tledge.conversion.layer_diagnosis import diagnose_quickly

    rows = [row for row in report.rows if row.variant == "tflite-int8"]
    if not rows or rows[0].verdict != "failed" or rows[0].structural:
        return ()
    try:
        with console.progress_shown(quiet) as progress:
            return diagnose_quickly(folder, recipe, progress)
    except TledgeError as error:  # the verdict stands without it
        return (f"no layers named: {error}",)


def _variants(recipe: Recipe, flagged: list[str], named: tuple[str, ...], everything: bool) -> list[str]:
    from tledge.formats.registry import VARIANTS

    for name in named:
        if name not in VARIANTS:
            raise RecipeError(f"--variant {name}: no such variant. Known: {', '.join(VARIANTS)}.")
    if everything:
        return list(VARIANTS)
    return [*recipe.export.variants, *flagged, *named]


def _show_and_bundle(
    folder: RunFolder,
    report: ParityReport,
    unverified: bool,
    signing: Signer | None,
    quiet: bool,
    as_json: bool,
    culprits: tuple[str, ...],
    note: str,
) -> None:
    from tledge.bundle.build import bundle as bundle_run
    from tledge.cli import console

    if not as_json:
        if folder.read_run().synthetic:
            echo("Figures on synthetic photos, drawn by tledge:")
        verdicts.show(report, folder.path)
        for line in culprits:
            echo(f"tflite-int8: {line}")
    bundled = None
    if unverified or report.any_bundled:
        with console.progress_shown(quiet) as progress:
            bundled = bundle_run(folder, unverified=unverified, sign=signing, progress=progress)
    if bundled and not as_json:
        verdicts.show_bundle(bundled, report)
    page = write_report(folder, as_json)
    if as_json:
        _print_export(folder, report, bundled, page, culprits, note)
    place = bundled.folder if bundled else None
    step = verdicts.next_step(folder.path, place, report)
    if not report.passed and not unverified:
        verdicts.fail(report, step, as_json)
    print_next_step(step, as_json)


def _print_export(
    folder: RunFolder,
    report: ParityReport,
    bundled: Bundled | None,
    page: str | None,
    culprits: tuple[str, ...],
    note: str,
) -> None:
    """Print the JSON object of an export; `bundle` is null where no artifact passed.

    `no_repair` says why none was tried; it is "" where none was asked for, or one was tried.
    """
    facts: dict[str, Any] = {"run": str(folder.path), "bundle": None, "report": page}
    if bundled:
        facts |= {
            "bundle": str(bundled.folder), "zip": str(bundled.zip), "sha256": bundled.sha256,
            "bundled": bundled.variants, "left_out": bundled.left_out, "signed_by": bundled.signed_by,
        }  # fmt: skip
    print_json({**facts, "culprits": culprits, "no_repair": note, **json_fields(report)})


@click.command(epilog=example("tledge bundle runs/rps --target raspberry_pi"))
@click.argument("path", metavar="[RUN|BUNDLE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--unverified", is_flag=True, help="Also bundle artifacts that failed verification, marked as such."
)
@click.option(
    "--target", metavar="NAME", help="Fill a device project with the bundle; see `tledge list targets`."
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="Folder of the device project [RUN/NAME]."
)
@sign_option
@key_option
@common_options
def bundle(
    path: Path | None,
    unverified: bool,
    target: str | None,
    out: Path | None,
    sign: Path | None,
    key: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Put the artifacts of RUN that passed into a bundle: a folder and a zip.

    With --target, also put what the device needs of it into a project, ready to build or run there. An
    existing BUNDLE, a folder or a zip, and that of RUN are used unchanged; --unverified and --sign make that
    of RUN anew.
    """
    from tledge.bundle import reader
    from tledge.devices import projects
    from tledge.run import folder as run_folder
    from tledge.run.folder import RunFolder

    ready = path if path is not None and reader.is_bundle(path) else None
    if ready and (unverified or sign or not target):
        raise RecipeError(f"{ready}: already a bundle; put it into a device project with --target NAME.")
    if key and not ready:
        raise RecipeError(key_of_run("bundle", path, key, *(("--target", target) if target else ())))
    signing, signed_by = read_signer(sign), read_public_key(key)
    if out and not target:
        raise RecipeError("--out names the folder of a device project: choose one with --target NAME.")
    home = ready.parent if ready else open_run_for_writing(path)[0].path
    if target and not ready and not unverified and not sign:
        ready = _existing_bundle(RunFolder(home))
    project = out or home / (target or "")
    if target and ready and path == ready and run_folder.is_run(home):  # the project goes there
        lock_until_exit(RunFolder(home))
    if target:  # before a bundle is made
        projects.find(target)
        projects.require_new(project)
    facts = {"folder": str(ready)} if ready else _bundled(home, unverified, signing, quiet, as_json)
    following = f"tledge predict {shell_path(facts['folder'])} PHOTO.jpg"
    if target:
        facts |= _project(target, Path(facts["folder"]), project, signed_by, as_json)
        following = f"cd {shlex.quote(facts['project'])} && {facts['self_test']}"
    if as_json:
        print_json(facts)
    print_next_step(following, as_json)


def _existing_bundle(folder: RunFolder) -> Path | None:
    """Return the bundle that a run has; None where it has none. Say what was exported since."""
    from tledge.bundle import reader

    if not reader.is_bundle(folder.bundle):
        return None
    held = {(entry.variant, entry.sha256) for entry in reader.open_bundle(folder.bundle).manifest.artifacts}
    rows = folder.read_parity().rows if folder.parity.is_file() else ()
    newer = [row.variant for row in rows if row.is_bundled and (row.variant, row.sha256) not in held]
    if newer:
        echo(
            f"Note: {', '.join(newer)} of this run came after its bundle. Take it in with "
            f"`tledge bundle {shell_path(folder.path)}`, then repeat this command.",
            err=True,
        )
    return folder.bundle


def _bundled(
    run: Path, unverified: bool, signing: Signer | None, quiet: bool, as_json: bool
) -> dict[str, Any]:
    """Bundle a run and print where; return the facts for --json."""
    from tledge.bundle.build import bundle as bundle_run
    from tledge.cli import console
    from tledge.run.folder import RunFolder

    with console.progress_shown(quiet) as progress:
        bundled = bundle_run(RunFolder(run), unverified=unverified, sign=signing, progress=progress)
    if not as_json:
        verdicts.show_bundle(bundled, RunFolder(run).read_parity())
    return {**json_fields(bundled), "folder": str(bundled.folder), "zip": str(bundled.zip)}


def _project(target: str, bundle: Path, out: Path, key: PublicKey | None, as_json: bool) -> dict[str, Any]:
    """Fill a device project and print where and with what; return the facts for --json."""
    from tledge.devices import projects

    filled = projects.fill(target, bundle, out, key)
    if not as_json:
        echo(one_line(f"Project: {filled.folder} ({projects.TARGETS[target].summary})"))
        if filled.is_whole:
            echo("   With: the whole bundle, because a signature covers all of its files")
        else:
            left_out = f"; not {', '.join(filled.left_out)}" if filled.left_out else ""
            echo(one_line(f"   With: {', '.join(filled.variants)}, {filled.photos} test photos{left_out}"))
    return {
        "target": target, "project": str(filled.folder), "self_test": projects.TARGETS[target].self_test,
        "project_variants": filled.variants,
    }  # fmt: skip
