"""`tledge train` and `tledge adopt`: make a run, of a recipe or of a model that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tledge._io.encoding import one_line
from tledge._process import signals
from tledge.cli.options import (
    common_options,
    echo,
    example,
    json_fields,
    print_json,
    print_next_step,
    shell_path,
    write_report,
)
from tledge.errors import RecipeError

if TYPE_CHECKING:
    from tledge.training.multi_host import Hosts


@click.command(epilog=example("tledge train rps --set stage.0.epochs=2 --out runs/try"))
@click.argument("recipe_name", metavar="[RECIPE|RUN]", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a recipe key.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder [runs/<name of the recipe>].")
@click.option(
    "--resume", is_flag=True, help="Resume an interrupted run: RUN, or that of RECIPE. It needs no --set."
)
@click.option("--force", is_flag=True, help="Replace the run in the run folder.")
@click.option("--cache", type=click.Path(path_type=Path), help="Zip that `tledge data --pack` wrote.")
@click.option("--coordinator", metavar="HOST:PORT", help="Several hosts: address of process 0.")
@click.option("--processes", type=int, metavar="N", help="Several hosts: number of processes, one per host.")
@click.option("--process", type=int, metavar="I", help="Several hosts: index of this process, 0 to N-1.")
@common_options
def train(
    recipe_name: str | None,
    settings: tuple[str, ...],
    out: Path | None,
    resume: bool,
    force: bool,
    cache: Path | None,
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the model of RECIPE (a file, or a name from `tledge list recipes`) into a run folder.

    `tledge train --resume RUN` continues an interrupted run with the values that it was begun with; without
    RUN, the unfinished run in runs/ that was begun last.
    """
    from tledge.cli import console
    from tledge.recipe import resumed
    from tledge.run.folder import RunFolder
    from tledge.training import multi_host
    from tledge.training.pipeline import train as train_run

    hosts = _hosts(coordinator, processes, process)
    if recipe_name is None and not resume:
        raise click.UsageError("Missing argument 'RECIPE'. Name one, or continue a run with --resume RUN.")
    asked = resumed.find(recipe_name, settings, out, resume=resume, force=force)
    folder = asked.folder
    signals.advice.append(lambda words: _resume_advice(words, folder, force))
    with multi_host.joined(hosts) as scratch, console.progress_shown(quiet) as progress:
        run = train_run(
            asked.recipe, asked.text, folder if hosts.writes else scratch / "run",
            settings=asked.settings, resume=resume, force=force, cache=cache, hosts=hosts, progress=progress,
        )  # fmt: skip
    if run is None:
        echo(f"Process {hosts.process} is done; process 0 writes the run.", err=True)
        return
    for line in run.skipped:
        echo(f"skipped {line}", err=True)
    if as_json:
        print_json(
            {"path": str(folder), "report": write_report(RunFolder(folder), as_json), **json_fields(run)}
        )
        return
    console.print_rows(console.training_rows(run))
    for line in run.remarks:
        echo(f"Note: {line}.")
    if run.test.accuracy < run.expected:
        echo(f"Test accuracy is below the {run.expected:.4f} that the recipe expects.")
    echo(one_line(f"Run: {folder}"))
    write_report(RunFolder(folder))
    print_next_step(f"tledge export {shell_path(folder)} --int8")


def _resume_advice(words: list[str], folder: Path, force: bool) -> str:
    """Say how to continue an interrupted training.

    The advice is --resume; with --force it is the same command again while the run to replace is still there.
    """
    if force and (folder / "run.json").is_file():
        return signals.restart_advice(words)
    resumed = [word for word in words if word not in ("--force", "--resume")] + ["--resume"]
    return f"Interrupted. The epochs trained so far are kept; resume with: {signals.shell_command(resumed)}"


def _hosts(coordinator: str | None, processes: int | None, process: int | None) -> Hosts:
    """Combine the three options for several hosts; none of them means one process."""
    from tledge.training.multi_host import ALONE, Hosts

    if coordinator is None and processes is None and process is None:
        return ALONE
    if coordinator is None or processes is None or process is None:
        raise RecipeError("--coordinator, --processes and --process belong together: give all three or none.")
    return Hosts(coordinator, processes, process)


@click.command(epilog=example("tledge adopt mine.h5 --photos photos --labels labels.txt"))
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.option(
    "--photos",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Photos in a folder per label.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Labels, one a line, in the order of the outputs.",
)
@click.option("--scaling", default="", metavar="NAME", help="Scaling of the pixels [found out].")
@click.option("--image-size", default=0, metavar="SIDE", help="Side of the photos, if the model takes any.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="RUN", help="Run folder [runs/<name of MODEL>]."
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a key of the run's recipe.")
@click.option("--force", is_flag=True, help="Replace the run in the run folder.")
@common_options
def adopt(
    model: Path,
    photos: Path,
    labels: Path | None,
    scaling: str,
    image_size: int,
    out: Path | None,
    settings: tuple[str, ...],
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a run of MODEL, which was trained elsewhere.

    MODEL is a .keras file, a Keras 2 .h5 file, a SavedModel folder, or a zip of Teachable Machine. Then
    export, verify, bundle, preview and report work on the run as on a trained one.
    """
    from tledge.adoption.adopt import adopt as adopt_model
    from tledge.cli import console
    from tledge.preprocessing.scaling import parse_scaling

    given = parse_scaling(scaling) if scaling else None
    with console.progress_shown(quiet) as progress:
        folder, run = adopt_model(
            model, photos, out,
            labels=labels, scaling=given, image_size=image_size, settings=settings, force=force,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json({"path": str(folder.path), "report": write_report(folder, as_json), **json_fields(run)})
        return
    console.print_rows(console.adoption_rows(run))
    for line in run.remarks:
        echo(f"Note: {line}.")
    echo(one_line(f"Run: {folder.path}"))
    write_report(folder)
    print_next_step(f"tledge export {shell_path(folder.path)} --int8")
