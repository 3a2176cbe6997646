"""The rows of `tledge list` and the facts of `tledge inspect`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tledge import recipe, shipped
from tledge.backbones import BACKBONES
from tledge.errors import RecipeError, TledgeError
from tledge.formats import FORMATS, VARIANTS
from tledge.runs import RunFolder
from tledge.sources import SOURCES
from tledge.targets import TARGETS


def recipes() -> list[tuple[str, ...]]:
    """Name, source, backbone and description of every shipped recipe."""
    rows: list[tuple[str, ...]] = []
    for name, path in shipped.recipes().items():
        made = recipe.load(path)
        rows.append((name, made.data.source, made.model.backbone, made.recipe.description))
    return rows


def runs(root: Path = Path("runs")) -> list[tuple[str, ...]]:
    """Path, state, test accuracy and verdicts of every run below `root`."""
    return [_run(RunFolder(path.parent)) for path in sorted(root.glob("*/recipe.toml"))]


def _run(folder: RunFolder) -> tuple[str, ...]:
    try:
        trained = folder.read_run()
    except TledgeError:
        return (str(folder.path), "unfinished", "", "")
    score = f"test {trained.test.accuracy:.4f}" + (" on synthetic photos" if trained.synthetic else "")
    if not folder.parity.is_file():
        return (str(folder.path), "trained", score, "")
    try:
        rows = folder.read_parity().rows
    except TledgeError as error:
        return (str(folder.path), "damaged", score, str(error))
    verdicts = (f"{row.variant} {row.verdict}" for row in rows)
    return (str(folder.path), "exported", score, ", ".join(verdicts))


def variants() -> list[tuple[str, ...]]:
    """Name and meaning of every variant."""
    return [(name, variant.mode.summary) for name, variant in VARIANTS.items()]


def backbones() -> list[tuple[str, ...]]:
    """Name, meaning, usual input size and width multipliers of every backbone."""
    return [
        (
            name,
            one.summary,
            f"{one.default_size} px",
            "alpha " + ", ".join(f"{alpha:g}" for alpha in one.alphas) if one.alphas else "",
        )
        for name, one in BACKBONES.items()
    ]


def sources() -> list[tuple[str, ...]]:
    """Name, meaning and options of every source."""
    return [(name, one.summary, ", ".join(one.module.OPTIONS)) for name, one in SOURCES.items()]


def targets() -> list[tuple[str, ...]]:
    """Name, meaning, variants that serve there and self-test of every device project."""
    return [(name, one.summary, ", ".join(one.variants), one.self_test) for name, one in TARGETS.items()]


TABLES: dict[str, Callable[[], list[tuple[str, ...]]]] = {
    "recipes": recipes,
    "runs": runs,
    "variants": variants,
    "backbones": backbones,
    "sources": sources,
    "targets": targets,
}


def inspect(path: Path) -> dict[str, Any]:
    """Facts about an artifact of any format, also one made elsewhere.

    Raises RecipeError for what is no artifact, ArtifactError for a damaged one.
    """
    if not path.exists():
        raise RecipeError(f"{path}: no such file or folder.")
    suffix = "" if path.is_dir() else path.suffix
    for name, format in FORMATS.items():
        if format.suffix == suffix:
            return {"format": name, **asdict(format.inspect(path))}
    raise RecipeError(f"{path}: expected a .tflite or .onnx file or a SavedModel folder.")
