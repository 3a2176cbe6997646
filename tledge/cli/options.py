"""Options and steps that several commands share.

Commands import what they need when they run, so that `tledge --help` loads no heavy library. Only the
package `cli` prints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tledge._io.encoding import as_json, one_line, printable
from tledge._process import signals
from tledge.cli import terminal
from tledge.errors import RecipeError, TledgeError
from tledge.recipe.lookup import open_finished_run as open_finished_run  # noqa: PLC0414
from tledge.recipe.lookup import read_recipe as read_recipe  # noqa: PLC0414

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from tledge.bundle.signing import PublicKey, Signer
    from tledge.inference.predictor import InputChoices
    from tledge.metrics.scaling_choice import Choice
    from tledge.preprocessing.scaling import Scaling
    from tledge.recipe.definition import Recipe
    from tledge.run.folder import RunFolder

F = TypeVar("F", bound=Callable[..., Any])

WIDE = "tledge.wide"
"""Key under which a command's context keeps `--wide`."""


def example(text: str) -> str:
    """Return the last lines of a command's help: an example."""
    return f"\b\nExample:\n  {text}"


def common_options(command: F) -> F:
    """Add the options of every command that computes: `--json` and `--quiet`."""
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)
    return click.option("--quiet", is_flag=True, help="Show no progress.")(command)


kernels_option = click.option(
    "--kernels",
    type=click.Choice(["xnnpack", "builtin", "reference"]),
    default="xnnpack",
    show_default=True,
    help="LiteRT kernel family.",
)


def _remember_wide(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta[WIDE] = value


wide_option = click.option(
    "--wide",
    is_flag=True,
    expose_value=False,
    callback=_remember_wide,
    help="Show all columns of the table: intervals, changes of probabilities, kernels.",
)


def is_wide() -> bool:
    """Check whether the command was given `--wide`."""
    return bool(click.get_current_context().meta.get(WIDE))


image_size_option = click.option(
    "--image-size",
    metavar="N|HxW",
    help="Size in pixels, for a single file that takes images of any size.",
)

scaling_option = click.option(
    "--scaling",
    metavar="NAME",
    help="How a single file takes pixels: 0..255, 0..1, -1..1, caffe, torch, each with ,bgr or ,rgb; "
    "mean=M,std=S. [what the file itself says]",
)


def input_options(command: F) -> F:
    """Add the options that say how a single .tflite or .onnx file takes its pixels."""
    command = click.option(
        "--photos",
        "scaling_photos",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="With --scaling auto: labelled photos that choose the scaling, a folder for each label.",
    )(command)
    return scaling_option(image_size_option(command))


def read_input_choices(
    model: Path, scaling: str | None, image_size: str | None, photos: Path | None, kernels: str, quiet: bool
) -> InputChoices:
    """Return what --scaling, --image-size and --photos say; with "auto" find the scaling by the photos."""
    from tledge.inference.predictor import InputChoices
    from tledge.preprocessing.scaling import parse_scaling

    size = read_size(image_size)
    if (scaling == "auto") != (photos is not None):
        raise RecipeError(
            "--scaling auto and --photos DIR go together: photos with labels choose the scaling."
        )
    if photos is None:
        return InputChoices(parse_scaling(scaling) if scaling else None, size)
    return InputChoices(_find_scaling(model, photos, kernels, size, quiet), size)


def read_size(text: str | None) -> tuple[int, int] | None:
    """Return the height and width that --image-size names."""
    from tledge.runtime.sessions import MAX_SIDE

    if text is None:
        return None
    sides = text.lower().split("x")
    if not 1 <= len(sides) <= 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise RecipeError(f"--image-size {text[:40]!r}: expected a number of pixels, or HEIGHTxWIDTH.")
    height, width = (int(side) for side in (sides[0][:9], sides[-1][:9]))
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise RecipeError(f"--image-size {text[:40]}: expected 1 to {MAX_SIDE} pixels.")
    return height, width


def _find_scaling(
    model: Path, photos: Path, kernels: str, size: tuple[int, int] | None, quiet: bool
) -> Scaling:
    """Find the scaling by labelled photos; without a clear one, show what each predicts, and raise."""
    from tledge.bundle.reader import is_bundle
    from tledge.cli import console
    from tledge.inference.scaling_search import find_scaling

    if model.is_dir() or is_bundle(model):
        raise RecipeError(f"{model}: --scaling is for single .tflite and .onnx files.")
    with console.progress_shown(quiet) as progress:
        found = find_scaling(model, photos, kernels=kernels, image_size=size, progress=progress)
    if found.scaling is None or not quiet:
        for line in scaling_lines(found.choice):
            echo(line, err=True)
    return found.require(model)


def scaling_lines(choice: Choice) -> list[str]:
    """Return a line for each scaling that was tried: how many photos it predicts right, of how many."""
    width = max(len(score.name) for score in choice.scores)
    return [
        f"{score.name:<{width}}  {score.accuracy:6.1%} of {score.images} photos right "
        f"(95% interval {score.low:.1%} to {score.high:.1%})"
        + (f", the same predictions as {score.equal_to}" if score.equal_to else "")
        for score in choice.scores
    ]


sign_option = click.option(
    "--sign",
    metavar="KEY",
    type=click.Path(path_type=Path),
    help="Sign the bundle with this Ed25519 private key, a PEM file.",
)

key_option = click.option(
    "--key",
    metavar="PUBLIC",
    type=click.Path(path_type=Path),
    help="Refuse a bundle that the owner of this public key, a PEM file, did not sign.",
)


def read_signer(path: Path | None) -> Signer | None:
    """Read the private key of --sign, if given; warn where other users may read the file."""
    from tledge.bundle import signing

    signer = None if path is None else signing.signer(path)
    for remark in signer.remarks if signer else ():
        echo(f"warning: {remark}", err=True)
    return signer


def read_public_key(path: Path | None) -> PublicKey | None:
    """Read the public key of --key, if given."""
    from tledge.bundle import signing

    return None if path is None else signing.public_key(path)


def echo(text: object, err: bool = False) -> None:
    """Print lines; other control characters in them become escapes such as `\\x1b`.

    On a terminal, lines that are wider break between words.

    Names of folders, labels and messages may come from somebody else. This is the only place where the
    command line prints text, beside the tables of `cli.console` and `print_json`.
    """
    lines = terminal.fit(printable(text), terminal.width_of(sys.stderr if err else sys.stdout))
    click.echo(lines, err=err)


def print_json(value: object) -> None:
    """Print the one JSON object of a command, in characters that stdout can encode."""
    click.echo(as_json(value, sys.stdout.encoding))


def json_fields(value: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a record as JSON takes them, under their JSON keys."""
    from tledge._io.json_records import to_json

    fields: dict[str, Any] = to_json(value)
    return fields


def shell_path(path: object) -> str:
    """Quote a path for a shell, also one with spaces or one that begins like an option."""
    return signals.quoted(f"./{path}" if str(path).startswith("-") else str(path))


def print_next_step(command: str, as_json: bool = False) -> None:
    """Print the next command to type, except with --json."""
    if not as_json:
        echo(f"Next: {command}")


def print_on_stderr(line: str) -> None:
    """Print a line on stderr, also while another thread has silenced stderr to load a library."""
    if signals.stderr:
        os.write(signals.stderr[0], f"{printable(line)}\n".encode())
    else:
        echo(line, err=True)


def open_run_for_writing(path: Path | None) -> tuple[RunFolder, Recipe]:
    """Open a finished run, and lock it so that only this command writes into it until it ends."""
    folder, recipe = open_finished_run(path)
    lock_until_exit(folder)
    return folder, recipe


def lock_until_exit(folder: RunFolder) -> None:
    """Lock a folder until the command ends, so that no other command writes into it."""
    click.get_current_context().with_resource(folder.alone())


def report_shown() -> AbstractContextManager[None]:
    """Show in a block that the report is being written, which may take seconds, unless it is quiet."""
    from tledge.cli import console

    is_quiet = bool(click.get_current_context().params.get("quiet"))
    return console.shown_if_slow("write the report", is_quiet, after=0.5)


def write_report(folder: RunFolder, as_json: bool = False) -> str | None:
    """Write a run's report at the end of a command, and return its path.

    If it cannot be written, print the reason and return None: the command itself succeeded.
    """
    from tledge.report.write import write

    try:
        with report_shown():
            written = write(folder)
    except TledgeError as error:
        echo(f"No report: {error}", err=True)
        return None
    if not as_json:
        echo(one_line(f"Report: {written.html}"))
    return str(written.html)
