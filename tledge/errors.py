"""What can go wrong, as one tree. The command line turns each class into text and an exit code.

    TledgeError                 exit 1   anything tledge knows how to explain
    ├── RecipeError             exit 2   the recipe or the arguments ask for something that cannot be
    ├── ParityFailed            exit 3   an artifact does not answer as the Keras model does
    ├── ArtifactError           exit 4   an artifact is structurally wrong or will not load
    ├── MissingError            exit 5   a dependency, weights or data are not here
    ├── DataError               exit 1   photos or labels cannot be used as they are
    ├── ConversionError         exit 1   a converter failed, crashed or ran out of time
    ├── RunError                exit 1   a run folder is not in the state that a command needs
    └── ResourceError           exit 1   disk, memory or rights of this machine do not suffice

Messages say what is wrong, where, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping


class TledgeError(Exception):
    """Anything tledge knows how to explain; `exit_code` is what the command line ends with."""

    exit_code = 1


class RecipeError(TledgeError):
    """The recipe or the arguments ask for something that cannot be."""

    exit_code = 2


class ParityFailed(TledgeError):
    """An artifact loads and runs, and does not answer as the Keras model does."""

    exit_code = 3


class ArtifactError(TledgeError):
    """An artifact is structurally wrong, damaged or will not load."""

    exit_code = 4


class MissingError(TledgeError):
    """A dependency, weights or data are not on this machine and could not be had."""

    exit_code = 5


class DataError(TledgeError):
    """Photos or labels cannot be used as they are."""


class ConversionError(TledgeError):
    """A converter failed, crashed or ran out of time; the message names its log."""


class RunError(TledgeError):
    """A run folder is not in the state that a command needs."""


class ResourceError(TledgeError):
    """Disk, memory or rights of this machine do not suffice."""


def told(error: TledgeError) -> dict[str, str]:
    """A failure in words that go to JSON, for another process to raise."""
    return {"error": str(error), "kind": type(error).__name__}


def kind_of(result: Mapping[str, str], otherwise: type[TledgeError]) -> type[TledgeError]:
    """The class of a failure that was `told`; `otherwise` where its name is unknown."""
    found = globals().get(result["kind"])
    return found if isinstance(found, type) and issubclass(found, TledgeError) else otherwise
