"""Device projects: a folder of `export/` with a bundle in it, for one kind of device.

A project reads everything that varies from `bundle/manifest.json` at run time, so filling one is
copying; only where a device has no files (a microcontroller) is source made of the bundle.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tledge._io import atomic, resources
from tledge.bundle import preview_page
from tledge.bundle.reader import Bundle, open_bundle
from tledge.bundle.signing import PublicKey
from tledge.devices import mcu_sources
from tledge.errors import RecipeError, RunError

Fill = Callable[[Path, Bundle], None]
"""Makes of the bundle what a project needs beyond it, in the project's folder."""

LEFTOVERS = (
    "build", "dist", "__pycache__", "*.pyc", ".venv*", "node_modules", ".gradle", ".cxx", "local.properties",
)  # fmt: skip
"""What building or running a project where it lies leaves behind, at any depth."""


@dataclass(frozen=True)
class Target:
    """A kind of device: what it is, the variants that serve there (best first), what is made for it.

    `self_test` is the command line, run in the project's folder, that proves it on its machine.
    """

    summary: str
    variants: tuple[str, ...]
    fill: Fill | None = None
    self_test: str = field(kw_only=True)


TARGETS = {
    "raspberry_pi": Target(
        "Raspberry Pi and other 64-bit Linux: one Python file, photos or a camera",
        ("tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic", "tflite-mixed", "tflite-int16x8"),
        self_test="python classify.py --self-test",
    ),
    "cpp": Target(
        "Linux program in C++17 with LiteRT",
        ("tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic"),
        self_test="cmake -B build && cmake --build build && ./build/classify --self-test",
    ),
    "android": Target(
        "Android phones: an app with camera, photo choice and a self-test in its menu",
        ("tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic", "tflite-mixed", "tflite-int16x8"),
        self_test="javac -d build $(find core desktop -name '*.java') && "
        "java -cp build tledge.desktop.Main --self-test bundle",
    ),
    "web": Target(
        "any browser: a page for photos and the webcam, as files for any static host",
        preview_page.RUNNABLE,
        self_test="python3 -m http.server 8000  # then open http://localhost:8000/?self-test",
    ),
    "microcontroller": Target(
        "C++ for tflite-micro, the model and golden cases as arrays, with a budget of memory and cycles",
        ("tflite-int8",),
        mcu_sources.fill,
        self_test="make TFLM_DIR=/path/to/tflm-tree self-test",
    ),
}
"""By name, which is also the folder's below `export/`."""


def find(name: str) -> Target:
    """The target of this name; raises RecipeError where there is none."""
    if name not in TARGETS:
        raise RecipeError(f"--target {name}: no such device project. Known: {', '.join(TARGETS)}.")
    return TARGETS[name]


def require_new(out: Path) -> None:
    """Raise RunError where something stands at `out`: a project may hold its owner's work."""
    if out.exists() or out.is_symlink():
        raise RunError(f"{out}: exists already. Remove it, or name another folder with --out.")


def fill(name: str, bundle: Path, out: Path, key: PublicKey | None = None) -> Path:
    """Copy the device project `name` and the bundle at `bundle`, a folder or zip, into the new folder `out`.

    `out` appears whole or not at all; gives its path. Raises RecipeError for a target that is not
    there, for a bundle without a variant that serves there and for an `out` inside the bundle,
    RunError where `out` exists, ArtifactError for a damaged bundle and for one that the owner of `key`,
    where that is given, did not sign.
    """
    target = find(name)
    require_new(out)
    if out.resolve().is_relative_to(bundle.resolve()):
        raise RecipeError(f"--out {out}: a bundle holds what SHA256SUMS names, nothing else. Name another.")
    opened = open_bundle(bundle, key)
    _require_variant(name, target, opened)
    opened.check_sums()
    project = resources.folder("export") / name
    with atomic.replacing(out) as made:
        shutil.copytree(project, made, ignore=lambda folder, names: _left_out(project, folder, names))
        opened.extract(made / "bundle")
        if target.fill:
            target.fill(made, opened)
    return out


def _require_variant(name: str, target: Target, bundle: Bundle) -> None:
    there = [one.variant for one in bundle.manifest.artifacts]
    if not set(there) & set(target.variants):
        raise RecipeError(
            f"{bundle.path}: holds {', '.join(there) or 'no artifact'}, and {name} needs one of "
            f"{', '.join(target.variants)}. Export one of these first."
        )


def _left_out(project: Path, folder: str, names: list[str]) -> set[str]:
    """Leftovers in `folder` of a project, and a bundle that was put there to try it."""
    found = shutil.ignore_patterns(*LEFTOVERS)(folder, names)
    return found | {"bundle"} if Path(folder) == project else found
