"""The files of a run that no page explains."""

from __future__ import annotations

import re

from tledge.run import folder


def unknown_files(names: set[str]) -> set[str]:
    """Names in a run folder that `run.folder.FILES` does not explain."""
    return {
        name for name in names if name not in folder.FILES and not re.fullmatch(r"[\w-]+-[\w.+]+\.zip", name)
    }
