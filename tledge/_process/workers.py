"""How modules of tledge are started as processes of their own."""

from __future__ import annotations

import sys


def command(module: str, *arguments: object) -> list[str]:
    """The command line that runs `tledge.<module>`.

    With -P nothing is imported from the folder one happens to be in: that may be a stranger's bundle,
    and a `numpy.py` in it would run.
    """
    return [sys.executable, "-P", "-m", f"tledge.{module}", *map(str, arguments)]
