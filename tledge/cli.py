"""The command line: the one place that prints, and that turns errors into exit codes.

Commands import what they need when they run, so that `tledge --help` loads no heavy library.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from tledge import __version__
from tledge.errors import ArtifactError, MissingError, ParityFailed, RecipeError, RunError, TledgeError

if TYPE_CHECKING:
    from tledge.recipe import Recipe
    from tledge.runs import ParityReport, RunFolder

F = TypeVar("F", bound=Callable[..., Any])
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        tledge.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. What was finished is kept; train goes on with --resume.", err=True)
        sys.exit(INTERRUPTED)
    except TledgeError as error:
        click.echo(f"tledge: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        click.echo(f"tledge: {error}", err=True)
        sys.exit(1)
    sys.exit(0)


def _example(text: str) -> str:
    return f"\b\nExample:\n  {text}"


def _common(command: F) -> F:
    """Options of every command that computes."""
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)
    return click.option("--quiet", is_flag=True, help="No progress.")(command)


_kernels = click.option(
    "--kernels",
    type=click.Choice(["xnnpack", "builtin", "reference"]),
    default="xnnpack",
    show_default=True,
    help="LiteRT's kernels.",
)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _next(command: str, as_json: bool = False) -> None:
    if not as_json:
        click.echo(f"Next: {command}")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tledge")
def tledge() -> None:
    """From a recipe to a verified edge bundle.

    Train an image classifier, convert it, prove each artifact against the Keras model on real
    photos, and bundle what passed. Exit codes: 0 done, 1 failed, 2 usage or recipe, 3 parity
    failed, 4 artifact broken, 5 dependency, weights or data missing, 130 interrupted.
    """


@tledge.command(epilog=_example("tledge data recipes/rps.toml"))
@click.argument("recipe_name", metavar="RECIPE")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a recipe key.")
@_common
def data(recipe_name: str, settings: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Prepare the photos of RECIPE once, and count them by split and label."""
    from tledge import console, dataset

    recipe, _text = _recipe(recipe_name, settings)
    with console.watching(quiet) as watch:
        prepared = dataset.prepare(recipe.data, recipe.model.image_size, watch)
        rows = dataset.split(prepared, recipe.data, recipe.recipe.seed)
    counts = dataset.counts(prepared, rows)
    if as_json:
        facts = {"labels": prepared.labels, "cache": str(prepared.folder)}
        _print_json({**facts, "counts": counts, "skipped": prepared.skipped})
        return
    out = console.stdout()
    body = [(label, *(str(one[label]) for one in counts.values())) for label in prepared.labels]
    totals = ("all", *(str(sum(one.values())) for one in counts.values()))
    out.print(console.columns([("", *counts), *body, totals]))
    for line in prepared.skipped:
        click.echo(f"skipped {line}")
    click.echo(f"Cache: {prepared.folder}")
    _next(f"tledge train {recipe_name}")


@tledge.command(epilog=_example("tledge train recipes/rps.toml --set stage.0.epochs=2 --out runs/try"))
@click.argument("recipe_name", metavar="RECIPE")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a recipe key.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder [runs/<name of the recipe>].")
@click.option("--resume", is_flag=True, help="Go on with an unfinished run.")
@click.option("--force", is_flag=True, help="Replace what is in the run folder.")
@_common
def train(
    recipe_name: str,
    settings: tuple[str, ...],
    out: Path | None,
    resume: bool,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the model of RECIPE (a file, or a name from `tledge list recipes`) into a run folder."""
    from tledge import console
    from tledge.train import train as train_run

    recipe, text = _recipe(recipe_name, settings)
    folder = out or Path("runs") / recipe.recipe.name
    with console.watching(quiet) as watch:
        run = train_run(recipe, text, folder, settings=settings, resume=resume, force=force, watch=watch)
    for line in run.skipped:
        click.echo(f"skipped {line}", err=True)
    if as_json:
        _print_json({"path": str(folder), **asdict(run)})
        return
    console.stdout().print(console.columns(console.training(run)))
    if run.test.accuracy < run.expected:
        click.echo(f"Below the recipe's own expectation of {run.expected:.4f} on the test split.")
    click.echo(f"Run: {folder}")
    _next(f"tledge export {folder} --int8")


@tledge.command(epilog=_example("tledge export runs/rps --int8"))
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--int8", is_flag=True, help="Add tflite-int8: integers only.")
@click.option("--fp16", is_flag=True, help="Add tflite-fp16: half the size.")
@click.option("--dynamic", is_flag=True, help="Add tflite-dynamic: int8 weights, float activations.")
@click.option("--all", "everything", is_flag=True, help="Add every variant.")
@click.option("--variant", "named", multiple=True, metavar="NAME", help="Add one variant by name.")
@click.option("--unverified", is_flag=True, help="Bundle what did not pass too, marked as such.")
@_common
def export(
    run: Path | None,
    int8: bool,
    fp16: bool,
    dynamic: bool,
    everything: bool,
    named: tuple[str, ...],
    unverified: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Convert RUN (the newest finished one if left out), verify every artifact, and bundle."""
    from tledge import console
    from tledge.export import export as export_run

    folder, recipe = _run(run)
    flags = {"tflite-int8": int8, "tflite-fp16": fp16, "tflite-dynamic": dynamic}
    wanted = _variants(recipe, [name for name, on in flags.items() if on], named, everything)
    with console.watching(quiet) as watch:
        export_run(folder, recipe, wanted, watch)
    report = _verify_run(folder, recipe, "xnnpack", quiet)
    _show_and_bundle(folder, report, unverified, quiet, as_json)


def _variants(recipe: Recipe, flagged: list[str], named: tuple[str, ...], everything: bool) -> list[str]:
    from tledge.formats import VARIANTS

    for name in named:
        if name not in VARIANTS:
            raise RecipeError(f"--variant {name}: no such variant. Known: {', '.join(VARIANTS)}.")
    if everything:
        return list(VARIANTS)
    return [*recipe.export.variants, *flagged, *named]


def _show_and_bundle(
    folder: RunFolder, report: ParityReport, unverified: bool, quiet: bool, as_json: bool
) -> None:
    from tledge import console
    from tledge.bundle import bundle as bundle_run

    if not as_json:
        if folder.read_run().synthetic:
            click.echo("Figures on synthetic photos, drawn by tledge:")
        _show(report)
    if not report.passed and not unverified:
        if as_json:
            _print_json({"run": str(folder.path), "bundle": None, **asdict(report)})
        _fail(report)
    with console.watching(quiet) as watch:
        made = bundle_run(folder, unverified=unverified, watch=watch)
    if as_json:
        paths = {"run": str(folder.path), "bundle": str(made.folder), "zip": str(made.zip)}
        _print_json({**paths, "sha256": made.sha256, **asdict(report)})
        return
    click.echo(f"Bundle: {made.folder}\n   Zip: {made.zip}")
    _next(f"tledge predict {made.folder} PHOTO.jpg")


def _show(report: ParityReport) -> None:
    from tledge import console

    console.stdout().print(console.parity_table(report))
    for line in console.reasons(report):
        click.echo(line)


def _fail(report: ParityReport) -> NoReturn:
    """End with exit code 4 where a file is wrong in itself, else 3."""
    bad = [row for row in report.rows if row.verdict not in ("passed", "skipped")]
    if not bad:
        raise MissingError("No artifact could be checked here; the reasons above say what is missing.")
    names = ", ".join(row.variant for row in bad)
    if any(row.structural for row in bad):
        raise ArtifactError(f"verification failed: {names}. The reasons are above.")
    raise ParityFailed(f"verification did not pass: {names}. The reasons are above.")


@tledge.command(epilog=_example("tledge verify runs/rps"))
@click.argument("path", metavar="[RUN|BUNDLE]", required=False, type=click.Path(path_type=Path))
@_kernels
@_common
def verify(path: Path | None, kernels: str, quiet: bool, as_json: bool) -> None:
    """Check a run's artifacts against Keras' golden set, or a bundle on this machine."""
    from tledge import console, reader
    from tledge.verify import verify_bundle

    if path is not None and reader.is_bundle(path):
        with console.watching(quiet) as watch:
            report = verify_bundle(path, kernels=kernels, watch=watch)
        following = f"tledge predict {path} PHOTO.jpg"
    else:
        folder, recipe = _run(path)
        report = _verify_run(folder, recipe, kernels, quiet)
        following = f"tledge bundle {folder.path}"
    if as_json:
        _print_json(asdict(report))
    else:
        _show(report)
    if not report.passed:
        _fail(report)
    _next(following, as_json)


def _verify_run(folder: RunFolder, recipe: Recipe, kernels: str, quiet: bool) -> ParityReport:
    from tledge import console
    from tledge.verify import verify_run

    with console.watching(quiet) as watch:
        return verify_run(folder, recipe.parity, kernels=kernels, watch=watch)


@tledge.command(epilog=_example("tledge bundle runs/rps"))
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--unverified", is_flag=True, help="Take what did not pass too, marked as such.")
@_common
def bundle(run: Path | None, unverified: bool, quiet: bool, as_json: bool) -> None:
    """Put the artifacts of RUN that passed into a bundle folder and a zip."""
    from tledge import console
    from tledge.bundle import bundle as bundle_run

    folder, _ = _run(run)
    with console.watching(quiet) as watch:
        made = bundle_run(folder, unverified=unverified, watch=watch)
    if as_json:
        _print_json({**asdict(made), "folder": str(made.folder), "zip": str(made.zip)})
        return
    for name in made.left_out:
        click.echo(f"left out: {name} did not pass")
    click.echo(f"Bundle: {made.folder}\n   Zip: {made.zip}")
    _next(f"tledge predict {made.folder} PHOTO.jpg")


@tledge.command(epilog=_example("tledge predict runs/rps/bundle photo.jpg"))
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("photos", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="Answers a photo.")
@click.option("--variant", metavar="NAME", help="Artifact of a bundle [tflite-int8 where there is one].")
@_kernels
@_common
def predict(
    model: Path,
    photos: tuple[Path, ...],
    top: int,
    variant: str | None,
    kernels: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Classify photos with a bundle, a run or a loose .tflite or .onnx file; needs no TensorFlow."""
    from tledge import console, progress
    from tledge.predict import predict as answers
    from tledge.reader import open_predictor

    predictor = open_predictor(model, variant, kernels)
    for remark in predictor.remarks if not quiet else ():
        click.echo(remark, err=True)
    with console.watching(quiet or len(photos) < 20) as watch:
        found = list(progress.track(watch, answers(predictor, photos, top), "predict", len(photos)))
    if as_json:
        _print_json([{k: v for k, v in asdict(one).items() if v or k != "error"} for one in found])
    for one in found if not as_json else ():
        best = "  ".join(f"{two.label} {two.probability:.3f}" for two in one.predictions)
        click.echo(f"{one.image}: {one.error or best}")
    bad = [one for one in found if one.error]
    if bad:
        raise TledgeError(f"{len(bad)} of {len(found)} photos could not be read.")


@tledge.command("list", epilog=_example("tledge list recipes"))
@click.argument("what", type=click.Choice(["recipes", "runs", "variants", "backbones", "sources"]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(what: str, as_json: bool) -> None:
    """What there is: recipes, runs in runs/, variants, backbones, data sources."""
    from tledge import console, listing

    rows = listing.TABLES[what]()
    if as_json:
        _print_json({name: facts for name, *facts in rows})
        return
    console.stdout().print(console.columns(rows))


@tledge.command(epilog=_example("tledge inspect runs/rps/artifacts/tflite-int8.tflite"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(file: Path, as_json: bool) -> None:
    """What is inside a .tflite or .onnx file or a SavedModel folder, read without running it."""
    from tledge import console, listing

    facts = listing.inspect(file)
    if as_json:
        _print_json(facts)
        return
    console.stdout().print(console.columns([(name, str(value)) for name, value in facts.items()]))


def _recipe(name: str, settings: Sequence[str]) -> tuple[Recipe, str]:
    """A recipe by path or shipped name, and the text of its file."""
    from tledge import recipe, shipped

    path = shipped.find_recipe(name)
    return recipe.load(path, settings), recipe.read_text(path)


def _run(path: Path | None) -> tuple[RunFolder, Recipe]:
    """A finished run (the newest in runs/ without a path), and the recipe it was made with."""
    from tledge import recipe, runs

    folder = runs.newest_run(Path("runs")) if path is None else runs.RunFolder(path)
    if not folder.path.is_dir():
        raise RunError(f"{folder.path}: no such run folder.")
    folder.read_run()
    asked = runs.read_json(folder.environment, "a finished run", "Run `tledge train` first.")
    return folder, recipe.load(folder.recipe, asked.get("settings", []))
