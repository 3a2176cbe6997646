"""The errors that tledge raises, as one tree. The command line turns each into a message and an exit code.

    TledgeError                 exit 1   base class: an error that tledge explains
    ├── RecipeError             exit 2   invalid recipe or arguments
    ├── ParityFailed            exit 3   an artifact does not predict as the Keras model does
    ├── ArtifactError           exit 4   an artifact is structurally wrong or does not load
    ├── MissingError            exit 5   a dependency, weights or data are missing on this machine
    ├── DataError               exit 1   images or labels cannot be used as they are
    ├── ConversionError         exit 1   a converter failed, crashed or ran out of time
    ├── RunError                exit 1   a run folder is not in the state that a command needs
    ├── InconclusiveError       exit 6   too few images to tell whether an artifact passes; nothing failed
    └── ResourceError           exit 1   too little disk or memory, or missing permissions

A message says what is wrong, where, what was expected and what to type.
"""

from __future__ import annotations

from collections.abc import Mapping


class TledgeError(Exception):
    """An error that tledge explains; the command line ends with its `exit_code`."""

    exit_code = 1


class RecipeError(TledgeError):
    """Invalid recipe, or invalid arguments of a command or of a function of the Python API."""

    exit_code = 2


class ParityFailed(TledgeError):
    """An artifact loads and runs, but does not predict as the Keras model does."""

    exit_code = 3


class ArtifactError(TledgeError):
    """An artifact is structurally wrong, damaged or does not load."""

    exit_code = 4


class MissingError(TledgeError):
    """A dependency, weights or data are missing on this machine and could not be downloaded."""

    exit_code = 5


class InconclusiveError(TledgeError):
    """No artifact failed, but the images cannot tell whether one of them passes.

    It has an exit code of its own, so that a script can tell "needs more photos" from "predicts
    differently" (3); and not 0, so that no script ships an unconfirmed artifact as a confirmed one.
    """

    exit_code = 6


class DataError(TledgeError):
    """Images or labels cannot be used as they are."""


class ConversionError(TledgeError):
    """A converter failed, crashed or ran out of time; the message names its log."""


class RunError(TledgeError):
    """A run folder is not in the state that a command needs."""


class ResourceError(TledgeError):
    """Too little disk or memory on this machine, or missing permissions."""


def error_to_json(error: TledgeError) -> dict[str, str]:
    """Return an error's message and class name, for the process that reads the JSON to raise again."""
    return {"error": str(error), "kind": type(error).__name__}


def error_class(result: Mapping[str, str], default: type[TledgeError]) -> type[TledgeError]:
    """Return the class of an error that `error_to_json` wrote; `default` where its name is unknown."""
    named = globals().get(result["kind"])
    return named if isinstance(named, type) and issubclass(named, TledgeError) else default
