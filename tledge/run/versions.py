"""Give every training a version of its own: the recipe's version, and what the trained model's bytes say."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tledge._io import files

DIGITS = 8
"""Hexadecimal digits of the hash in a version."""


def of_models(version: str, *models: Path) -> str:
    """Return a recipe's version with a hash of the trained models as build metadata, such as "1+3f9a02c7".

    The same bytes give the same version. As Semantic Versioning has it, "+" begins build metadata, and a dot
    continues it; order and compatibility are those of the recipe's version.

    Args:
        version: The version in the recipe.
        models: The run's models; those that do not exist do not count.
    """
    digests = [files.sha256(path) for path in models if path.is_file()]
    if not digests:
        return version
    together = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return f"{version}{'.' if '+' in version else '+'}{together[:DIGITS]}"
