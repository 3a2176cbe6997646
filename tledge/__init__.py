"""tledge: from a TOML recipe to a verified bundle that runs on the edge.

    import tledge

    run = tledge.train("recipe.toml")
    exported = tledge.export(run, variants=["tflite-int8"])
    print(tledge.load(exported).predict("photo.jpg").best)

The names are those of `tledge.api`, which is imported when the first of them is used: the command line
and programs that import a part of tledge start without the rest.
"""

from typing import TYPE_CHECKING

from tledge._version import __version__

if TYPE_CHECKING:
    from tledge.api import (
        Answer,
        Classifier,
        ComparedReport,
        Exported,
        ParityReport,
        Prediction,
        Run,
        TledgeError,
        adopt,
        compare,
        export,
        load,
        train,
        verify,
    )

__all__ = [
    "Answer",
    "Classifier",
    "ComparedReport",
    "Exported",
    "ParityReport",
    "Prediction",
    "Run",
    "TledgeError",
    "__version__",
    "adopt",
    "compare",
    "export",
    "load",
    "train",
    "verify",
]

if not TYPE_CHECKING:  # for a type checker, this would give a type to every name

    def __getattr__(name: str) -> object:
        """Import a name of the API when it is used (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module("tledge.api"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
