"""Collect the rows of `tledge list` and the facts of `tledge inspect`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tledge._io import resources
from tledge.data.sources.registry import SOURCES
from tledge.devices.projects import TARGETS
from tledge.errors import ArtifactError, RecipeError, TledgeError
from tledge.formats.base import Structure
from tledge.formats.input_preprocessing import read_input
from tledge.formats.registry import FORMATS, VARIANTS
from tledge.models.backbones import BACKBONES
from tledge.recipe import keys, loader
from tledge.run.folder import RunFolder
from tledge.run.records import Score


def recipe_rows() -> list[tuple[str, ...]]:
    """Return name, source, backbone and description of every shipped recipe."""
    rows: list[tuple[str, ...]] = []
    for name, path in resources.recipes().items():
        recipe = loader.load(path)
        rows.append((name, recipe.data.source, recipe.model.backbone, recipe.meta.description))
    return rows


@dataclass(frozen=True)
class RunLine:
    """One line about a run. `state` is "unfinished", "trained", "exported" or "damaged"; `problem` says why.

    `when` is the local time at which `run.json` was written, or else the recipe; `verdicts` are those of the
    artifacts, by variant.
    """

    path: str
    when: str
    state: str
    test: Score | None = None
    synthetic: bool = False
    verdicts: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def run_rows(root: Path = Path("runs")) -> list[RunLine]:
    """Return every run below `root`, the newest last."""
    folders = [RunFolder(path.parent) for path in root.glob("*/recipe.toml")]
    return [_run(folder) for folder in sorted(folders, key=lambda folder: (_time(folder), folder.path))]


def _time(folder: RunFolder) -> float:
    return (folder.run if folder.run.is_file() else folder.recipe).stat().st_mtime


def _run(folder: RunFolder) -> RunLine:
    when = datetime.fromtimestamp(_time(folder)).isoformat(" ", "minutes")
    line = RunLine(str(folder.path), when, "unfinished")
    if not folder.run.is_file():
        return line
    try:
        trained = folder.read_run()
        line = replace(line, state="trained", test=trained.test, synthetic=trained.synthetic)
        if folder.parity.is_file():
            verdicts = {row.variant: row.verdict for row in folder.read_parity().rows}
            line = replace(line, state="exported", verdicts=verdicts)
    except TledgeError as error:
        return replace(line, state="damaged", problem=str(error))
    return line


def variant_rows() -> list[tuple[str, ...]]:
    """Return name and meaning of every variant."""
    return [(name, variant.mode.summary) for name, variant in VARIANTS.items()]


def backbone_rows() -> list[tuple[str, ...]]:
    """Return name, meaning, usual input size and width multipliers of every backbone."""
    return [
        (
            name,
            backbone.summary,
            f"{backbone.default_size} px",
            "alpha " + ", ".join(f"{alpha:g}" for alpha in backbone.alphas) if backbone.alphas else "",
        )
        for name, backbone in BACKBONES.items()
    ]


def source_rows() -> list[tuple[str, ...]]:
    """Return name, meaning and options of every source."""
    return [(name, source.summary, ", ".join(source.module.OPTIONS)) for name, source in SOURCES.items()]


def target_rows() -> list[tuple[str, ...]]:
    """Return name, meaning, usable variants and self-test of every device project."""
    return [
        (name, target.summary, ", ".join(target.variants), target.self_test)
        for name, target in TARGETS.items()
    ]


def key_rows() -> list[tuple[str, ...]]:
    """Return every recipe key as `--set` takes it, with its default, what it accepts and its meaning."""
    return [
        (
            path,
            keys.default(field),
            keys.accepted_values(table, field),
            str(field.metadata.get("meaning", "")),
        )
        for path, table, field in keys.setting_paths()
    ]


def key_lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return two lines for each key: the key with its default, and what it takes and means."""
    lines = []
    for path, default, accepted, meaning in rows:
        lines += [f"{path} = {default}", f"    {accepted}: {meaning}" if meaning else f"    {accepted}"]
    return lines


TABLES: dict[str, Callable[[], list[Any]]] = {
    "recipes": recipe_rows,
    "keys": key_rows,
    "runs": run_rows,
    "variants": variant_rows,
    "backbones": backbone_rows,
    "sources": source_rows,
    "targets": target_rows,
}


def inspect(path: Path) -> dict[str, Any]:
    """Read facts about an artifact of any format, also one made elsewhere.

    Raises RecipeError for a file that is not an artifact, ArtifactError for a damaged one.
    """
    if not path.exists():
        raise RecipeError(f"{path}: no such file or folder.")
    suffix = "" if path.is_dir() else path.suffix.lower()
    for name, format in FORMATS.items():
        if format.suffix == suffix:
            structure = format.inspect(path)
            taken = {"preprocessing": _preprocessing(structure, path)} if suffix else {}
            return {"format": name, **asdict(structure), **taken}
    raise RecipeError(f"{path}: expected a .tflite or .onnx file or a SavedModel folder.")


def _preprocessing(structure: Structure, path: Path) -> dict[str, Any]:
    """Return what the file says of its input: size (None: any), layout, scaling (None: unknown), source."""
    try:
        found = read_input(structure, str(path))
    except ArtifactError as error:
        return {"problem": str(error)}
    scaling = found.scaling
    return {
        "size": list(found.size) if found.size else None,
        "channels": found.channels,
        "layout": found.layout,
        "scaling": scaling.name if scaling else None,
        "mean": list(scaling.mean) if scaling else None,
        "std": list(scaling.std) if scaling else None,
        "order": scaling.order if scaling else None,
        "source": found.source,
    }
