"""Options and steps that several commands share.

Commands import what they need when they run, so that `tledge --help` loads no heavy library. Only the
package `cli` prints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tledge._io.encoding import as_json, one_line, printable
from tledge._process import signals
from tledge.cli import terminal
from tledge.errors import TledgeError
from tledge.recipe.lookup import open_finished_run as open_finished_run  # noqa: PLC0414
from tledge.recipe.lookup import read_recipe as read_recipe  # noqa: PLC0414

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from tledge.bundle.signing import PublicKey, Signer
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


def write_report(folder: RunFolder, as_json: bool = False) -> str | None:
    """Write a run's report at the end of a command, and return its path.

    If it cannot be written, print the reason and return None: the command itself succeeded.
    """
    from tledge.report.write import write

    try:
        written = write(folder)
    except TledgeError as error:
        echo(f"No report: {error}", err=True)
        return None
    if not as_json:
        echo(one_line(f"Report: {written.html}"))
    return str(written.html)
