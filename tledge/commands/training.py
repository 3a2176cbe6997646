"""`tledge train`: from a recipe to a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tledge.commands import common, example, next_step, print_json, read_recipe


@click.command(epilog=example("tledge train recipes/rps.toml --set stage.0.epochs=2 --out runs/try"))
@click.argument("recipe_name", metavar="RECIPE")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a recipe key.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder [runs/<name of the recipe>].")
@click.option("--resume", is_flag=True, help="Go on with an unfinished run.")
@click.option("--force", is_flag=True, help="Replace what is in the run folder.")
@click.option("--cache", type=click.Path(path_type=Path), help="Photos that `tledge data --pack` wrote.")
@common
def train(
    recipe_name: str,
    settings: tuple[str, ...],
    out: Path | None,
    resume: bool,
    force: bool,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the model of RECIPE (a file, or a name from `tledge list recipes`) into a run folder."""
    from tledge import console
    from tledge.train import train as train_run

    recipe, text = read_recipe(recipe_name, settings)
    folder = out or Path("runs") / recipe.recipe.name
    with console.watching(quiet) as watch:
        run = train_run(
            recipe, text, folder,
            settings=settings, resume=resume, force=force, cache=cache, watch=watch,
        )  # fmt: skip
    for line in run.skipped:
        click.echo(f"skipped {line}", err=True)
    if as_json:
        print_json({"path": str(folder), **asdict(run)})
        return
    console.stdout().print(console.columns(console.training(run)))
    if run.test.accuracy < run.expected:
        click.echo(f"Below the recipe's own expectation of {run.expected:.4f} on the test split.")
    click.echo(f"Run: {folder}")
    next_step(f"tledge export {folder} --int8")
