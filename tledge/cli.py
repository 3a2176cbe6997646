"""The command line: the group of commands, and the one place that turns errors into exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from tledge import __version__, letters, shortage
from tledge.commands import (
    comparing,
    completion,
    doctor,
    looking,
    measuring,
    photos,
    previewing,
    shipping,
    training,
)
from tledge.errors import TledgeError
from tledge.words import printable

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    letters.open_streams()
    letters.allow(sys.stdout, sys.stderr)
    try:
        with shortage.explained():
            tledge.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. What was finished is kept; train goes on with --resume.", err=True)
        _exit(INTERRUPTED)
    except TledgeError as error:
        click.echo(f"tledge: {printable(error)}", err=True)
        _exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}." if error.filename else str(error)
        click.echo(f"tledge: {printable(what)}", err=True)
        _exit(1)
    sys.exit(0)


def _exit(code: int) -> NoReturn:
    """Exit; at once where JAX would first wait for the other processes of a run."""
    distribution = sys.modules.get("tledge.distribution")  # loaded where there may be others
    if distribution and distribution.is_joined():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tledge")
def tledge() -> None:
    """From a recipe to a verified edge bundle.

    Train an image classifier, convert it, prove each artifact against the Keras model on real
    photos, and bundle what passed. Exit codes: 0 done, 1 failed, 2 usage or recipe, 3 parity
    failed, 4 artifact broken, 5 dependency, weights or data missing, 130 interrupted.
    """


for command in (
    photos.init,
    photos.data,
    training.train,
    shipping.export,
    shipping.verify,
    shipping.bundle,
    measuring.bench,
    comparing.compare,
    looking.predict,
    previewing.preview,
    looking.list_,
    looking.inspect,
    looking.report,
    doctor.doctor,
    completion.completion,
):
    tledge.add_command(command)
completion.attach(tledge)
