"""Importing TensorFlow without its greeting: native code writes it before any setting is read."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from tledge.errors import MissingError


def load(module: str, extra: str) -> Any:
    """Import a heavy module with the process' stderr closed off while it loads.

    Raises MissingError, naming the extra of tledge to install, where it is not there. What the
    import raises is not silenced.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if module in sys.modules:
        return sys.modules[module]
    sys.stderr.flush()
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingError(
            f"{module} is not installed or does not load ({error}): pip install 'tledge[{extra}]'"
        ) from error
    finally:
        os.dup2(kept, 2)
        os.close(sink)
        os.close(kept)
