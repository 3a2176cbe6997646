"""The command line: the group of commands, and the one place that turns errors into exit codes."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import NoReturn

import click

from tledge._io import encoding, resource_errors
from tledge._process import signals
from tledge._version import __version__
from tledge.cli import (
    bench,
    compare,
    completion,
    data,
    doctor,
    export,
    inspect,
    predict,
    preview,
    train,
    verify,
)
from tledge.cli.help import CommandGroup, recipe_key_hint
from tledge.cli.options import echo, print_on_stderr
from tledge.errors import TledgeError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; without `arguments`, those that this process got."""
    encoding.open_streams()
    encoding.use_fallbacks(sys.stdout, sys.stderr)
    given_arguments = sys.argv[1:] if arguments is None else list(arguments)
    signals.advice[:] = [signals.restart_advice]
    print_advice = cache(lambda: print_on_stderr(signals.advice[-1](given_arguments)))  # at most once
    if arguments is None:
        signals.install_handlers(print_advice)
        _ignore_strict_warnings()
    try:
        code = _run(given_arguments)
    except BaseException as error:
        # Libraries turn an interrupt into errors of their own.
        if not (signals.received or isinstance(error, KeyboardInterrupt)):
            raise
        print_advice()
        code = signals.exit_code()
    signals.restore_handlers()
    _exit(code)


def _ignore_strict_warnings() -> None:
    """Raise no warning of a library as an error: PYTHONWARNINGS is meant for the user's own programs."""
    kept = [entry for entry in warnings.filters if entry[0] != "error"]
    warnings.resetwarnings()
    warnings.filters.extend(kept)  # type: ignore[attr-defined]  # it is a list


def _run(arguments: list[str]) -> int:
    """Run a command, print its error if it fails, and return its exit code."""
    try:
        with resource_errors.resource_errors_explained():
            encoding.require_utf8_names(arguments)
            code = tledge.main(args=arguments, standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        _show_usage_error(error)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except (TledgeError, OSError) as error:
        if signals.received:
            raise
        echo(f"tledge: {_message(error)}", err=True)
        return error.exit_code if isinstance(error, TledgeError) else 1
    return code if isinstance(code, int) else 0  # that of click's Exit; commands return nothing


def _show_usage_error(error: click.ClickException) -> None:
    """Print an error of the command line; names of files may stand in it."""
    text = io.StringIO()
    error.show(text)
    echo(text.getvalue().rstrip("\n"), err=True)
    if hint := recipe_key_hint(error):
        echo(hint, err=True)


def _message(error: TledgeError | OSError) -> str:
    """Return the text of an error, with the path where the system names one."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    return str(error)


def _exit(code: int) -> NoReturn:
    """Exit the process.

    Exit at once where JAX would wait for other processes, or where threads still do work after an interrupt.
    """
    multi_host = sys.modules.get("tledge.training.multi_host")  # loaded only by training
    if signals.received or (multi_host and multi_host.is_joined()):
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@click.group(
    cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="tledge")
def tledge() -> None:
    """From a recipe to a verified edge bundle.

    Train an image classifier, convert it, prove each artifact against the Keras model on real
    photos, and bundle what passed.

    Exit codes: 0 done, 1 failed, 2 usage or recipe, 3 parity failed, 4 artifact broken, 5 dependency, weights
    or data missing, 6 too few images to tell, 130 interrupted, 143 ended by SIGTERM.
    """


for command in (
    data.init,
    data.data,
    train.train,
    train.adopt,
    export.export,
    verify.verify,
    export.bundle,
    bench.bench,
    compare.compare,
    predict.predict,
    preview.preview,
    inspect.list_,
    inspect.inspect,
    inspect.report,
    doctor.doctor,
    completion.completion,
):
    tledge.add_command(command)
completion.attach(tledge)
