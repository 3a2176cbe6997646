"""Draw the packages of `tledge/` in their layers as SVG, from the import contracts in `pyproject.toml`.

`python docs/layers.py` writes `docs/images/layers.svg`, which `docs/explanation/architecture.md` shows.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DRAWING = ROOT / "docs" / "images" / "layers.svg"

TITLES = ("entry", "views", "stages", "packaging", "engines", "tools", "values", "foundation")
"""What the layers are called, from the highest to the lowest."""

WIDTH, BAND, GAP = 880, 64, 10
LABEL, BOX_HEIGHT, CHARACTER = 140, 28, 8.2

STYLE = """
    text { font-family: ui-sans-serif, system-ui, sans-serif; font-size: 13px; fill: #1f2937 }
    .package { font-family: ui-monospace, monospace; font-size: 13px; text-anchor: middle }
    .arrows { font-family: ui-monospace, monospace; font-size: 11px; fill: #6b7280 }
    .title { font-weight: 600 }
    .band { fill: #f3f4f6; stroke: #d1d5db }
    .box { fill: #ffffff; stroke: #6b7280 }
    .page { fill: #ffffff }
    .down { stroke: #6b7280; stroke-width: 1.5; fill: none }
"""


def contracts(text: str) -> list[dict[str, Any]]:
    """Return the import-linter contracts of a `pyproject.toml`."""
    return list(tomllib.loads(text)["tool"]["importlinter"]["contracts"])


def layers(text: str) -> list[list[str]]:
    """Return the packages of every layer, the highest layer first."""
    return [re.split(r"\s*[|:]\s*", layer) for layer in contracts(text)[0]["layers"]]


def arrows(text: str, packages: list[str]) -> str:
    """Return in which order the packages of one layer may import one another; empty where none may."""
    ordered = [re.split(r"\s*\|\s*", line) for line in contracts(text)[1]["layers"]]
    steps = [", ".join(name for name in line if name in packages) for line in ordered]
    steps = [step for step in steps if step]
    return " → ".join(steps) if len(steps) > 1 else ""


def drawing(text: str) -> str:
    """Return the SVG of the layers that a `pyproject.toml` declares."""
    rows = layers(text)
    height = len(rows) * (BAND + GAP) + GAP
    bands = [
        line
        for number, (title, packages) in enumerate(zip(TITLES, rows, strict=True))
        for line in _band(GAP + number * (BAND + GAP), title, packages, arrows(text, packages))
    ]
    right = WIDTH - 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>The layers of tledge: a package imports only packages of lower layers</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        *bands,
        f'<path class="down" d="M {right} {2 * GAP} V {height - 2 * GAP} m -5 -8 l 5 8 l 5 -8"/>',
        f'<text class="arrows" transform="translate({right - 8} {height / 2:g}) rotate(-90)" '
        'text-anchor="middle">imports</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _band(top: int, title: str, packages: list[str], order: str) -> list[str]:
    """Draw one layer: its title, a box for each package, and the order inside the layer below them."""
    lines = [
        f'<rect class="band" x="{GAP}" y="{top}" width="{WIDTH - 60}" height="{BAND}" rx="6"/>',
        f'<text class="title" x="{2 * GAP}" y="{top + 24}">{title}</text>',
    ]
    left: float = LABEL
    for package in packages:
        width = round(len(package) * CHARACTER + 20, 1)
        lines += [
            f'<rect class="box" x="{left:g}" y="{top + 6}" width="{width:g}" height="{BOX_HEIGHT}" rx="4"/>',
            f'<text class="package" x="{left + width / 2:g}" y="{top + 25}">{package}</text>',
        ]
        left = round(left + width + GAP, 1)
    if order:
        lines.append(f'<text class="arrows" x="{LABEL}" y="{top + 52}">inside: {order}</text>')
    return lines


if __name__ == "__main__":
    DRAWING.write_text(drawing((ROOT / "pyproject.toml").read_text(encoding="utf-8")), encoding="utf-8")
