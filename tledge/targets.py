"""Device projects: a folder of `export/` with a bundle in it, for one kind of device.

A project reads everything that varies from `bundle/manifest.json` at run time, so filling one is
copying; only where a device has no files (a microcontroller) is source made of the bundle.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tledge import microcontroller, runs, shipped
from tledge.errors import RecipeError, RunError
from tledge.reader import Bundle, open_bundle

Fill = Callable[[Path, Bundle], None]
"""Makes of the bundle what a project needs beyond it, in the project's folder."""


@dataclass(frozen=True)
class Target:
    """A kind of device: what it is, the variants that serve there (best first), what is made for it."""

    summary: str
    variants: tuple[str, ...]
    fill: Fill | None = None


TARGETS: dict[str, Target] = {
    "microcontroller": Target(
        "C++ for tflite-micro, the model and golden cases as arrays, with a budget of memory and cycles",
        ("tflite-int8",),
        microcontroller.fill,
    ),
}
"""By name, which is also the folder's below `export/`."""


def fill(name: str, bundle: Path, out: Path) -> Path:
    """Copy the device project `name` and the bundle at `bundle` into `out`; gives the project's folder.

    Raises RecipeError for a target that is not there, RunError where `out` exists, ArtifactError for a
    damaged bundle, and RecipeError where the bundle has no variant that serves there.
    """
    if name not in TARGETS:
        raise RecipeError(f"--target {name}: no such device project. Known: {', '.join(TARGETS)}.")
    if out.exists():
        raise RunError(f"{out}: exists already. Remove it, or name another folder with --out.")
    opened, target = open_bundle(bundle), TARGETS[name]
    there = [one.variant for one in opened.manifest.artifacts]
    if not set(there) & set(target.variants):
        raise RecipeError(
            f"{bundle}: holds {', '.join(there)}, and {name} needs one of {', '.join(target.variants)}. "
            "Export one of these first."
        )
    with runs.replacing(out) as made:
        shutil.copytree(shipped.folder("export") / name, made)
        shutil.copytree(bundle, made / "bundle")
        if target.fill:
            target.fill(made, opened)
    return out
