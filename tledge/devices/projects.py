"""Fill device projects: a folder of `export/` with a bundle in it, for one kind of device.

A project reads everything that varies from `bundle/manifest.json` at run time, so it is filled by
copying; only for devices without files (microcontrollers) source is generated from the bundle.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tledge._io import atomic, resources
from tledge.bundle import preview_page, signing, subset
from tledge.bundle.reader import Bundle, open_bundle
from tledge.bundle.signing import PublicKey
from tledge.devices import mcu_sources
from tledge.errors import RecipeError, RunError

Fill = Callable[[Path, Bundle], None]
"""Generates the further files of a project from the bundle, in the project's folder."""

LEFTOVERS = (
    "build", "dist", "__pycache__", "*.pyc", ".venv*", "node_modules", ".gradle", ".cxx", "local.properties",
)  # fmt: skip
"""Files that building or running a project in its folder leaves behind, at any depth."""


MOST_BYTES = 1_500_000
"""Bytes of golden photos and further models in a project: with all else it has 2 MB beside its model."""


@dataclass(frozen=True)
class Filled:
    """A filled project: its folder, the variants in it, and those of the bundle that are not.

    `photos` counts its golden photos; `is_whole` tells that it holds the whole bundle, which is signed.
    """

    folder: Path
    variants: tuple[str, ...]
    left_out: tuple[str, ...]
    photos: int
    is_whole: bool


@dataclass(frozen=True)
class Target:
    """A kind of device: its description, the variants that run there (best first), generated files.

    `self_test` is the command line, run in the project's folder, that tests it on its machine. Golden photos
    and further models take `most_bytes` at most.
    """

    summary: str
    variants: tuple[str, ...]
    fill: Fill | None = None
    most_bytes: int = MOST_BYTES
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
        most_bytes=500_000,  # golden cases are sources too
        self_test="make TFLM_DIR=/path/to/tflm-tree self-test",
    ),
}
"""Targets by name, which is also the name of the folder below `export/`."""


def find(name: str) -> Target:
    """Return the target of this name; raise RecipeError for an unknown name."""
    if name not in TARGETS:
        raise RecipeError(f"--target {name}: unknown device project. Known: {', '.join(TARGETS)}.")
    return TARGETS[name]


def require_new(out: Path) -> None:
    """Raise RunError where `out` exists: a project may contain its owner's work."""
    if out.exists() or out.is_symlink():
        raise RunError(f"{out}: exists already. Remove it, or choose another folder with --out.")


def fill(name: str, bundle: Path, out: Path, key: PublicKey | None = None) -> Filled:
    """Put the device project `name` into the new folder `out`, with what it needs of a bundle.

    `bundle` is a folder or zip. `out` appears only when complete. A signed bundle stays whole.

    Raises:
        RecipeError: The target is unknown, the bundle has no variant for it, or `out` is in the bundle.
        RunError: `out` exists.
        ArtifactError: The bundle is damaged, or not signed by the owner of `key`, where one is given.
    """
    target = find(name)
    require_new(out)
    if out.resolve().is_relative_to(bundle.resolve()):
        raise RecipeError(
            f"--out {out}: a bundle may contain only the files in SHA256SUMS. Choose another folder."
        )
    opened = open_bundle(bundle, key)
    _require_variant(name, target, opened)
    opened.check_sums()
    project = resources.folder("export") / name
    is_whole = signing.NAME in opened.files.names()
    with atomic.replacing(out) as target_folder:
        shutil.copytree(
            project, target_folder, ignore=lambda folder, names: _left_out(project, folder, names)
        )
        if is_whole:
            opened.extract(target_folder / "bundle")
        else:
            subset.write(opened, target_folder / "bundle", target.variants, target.most_bytes)
        if target.fill:
            target.fill(target_folder, opened)
    return _filled(out, opened, is_whole)


def _filled(out: Path, whole: Bundle, is_whole: bool) -> Filled:
    part = open_bundle(out / "bundle").manifest
    variants = tuple(artifact.variant for artifact in part.artifacts)
    every = (artifact.variant for artifact in whole.manifest.artifacts)
    left_out = tuple(variant for variant in every if variant not in variants)
    return Filled(out, variants, left_out, len(part.golden), is_whole)


def _require_variant(name: str, target: Target, bundle: Bundle) -> None:
    variants = [artifact.variant for artifact in bundle.manifest.artifacts]
    if not set(variants) & set(target.variants):
        raise RecipeError(
            f"{bundle.path}: has {', '.join(variants) or 'no artifact'}, but {name} needs one of "
            f"{', '.join(target.variants)}. Export one of these first."
        )


def _left_out(project: Path, folder: str, names: list[str]) -> set[str]:
    """Return the leftovers in `folder` of a project, and a bundle that was put there to try it."""
    leftovers = shutil.ignore_patterns(*LEFTOVERS)(folder, names)
    return leftovers | {"bundle"} if Path(folder) == project else leftovers
