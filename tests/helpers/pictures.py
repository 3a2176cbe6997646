"""What a browser would fetch to show a picture."""

from __future__ import annotations

import re


def requests(svg: str) -> list[str]:
    """What a browser would fetch to show it: fonts, styles and pictures with an address."""
    return re.findall(r"(?:url\(|href=|src=)\s*[\"']?((?:https?:)?//[^\"')\s]+)", svg)
