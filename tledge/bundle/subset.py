"""Write the part of a bundle that one device needs: a bundle too, with one model and few golden photos.

It has no preview page, which holds a browser's runtime, and no artifact that the device cannot run.
A signature covers all files of a bundle, so a signed one stays whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import files as io_files
from tledge._io import folder_guard
from tledge.bundle import manifest as bundle_manifest
from tledge.bundle import sbom, signing
from tledge.bundle.manifest import GoldenCase, Manifest, Shipped
from tledge.bundle.reader import Bundle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXTS = ("labels.txt", "MODEL_CARD.md", sbom.NAME)
"""Files that every part of a bundle keeps as they are."""


@dataclass(frozen=True)
class Kept:
    """What a part of a bundle holds: its variants, and the rows of the golden arrays that it has."""

    variants: tuple[str, ...]
    rows: tuple[int, ...]


def write(bundle: Bundle, target: Path, variants: Sequence[str], most_bytes: int) -> Kept:
    """Write the part of a bundle for a device into the folder `target`.

    Args:
        bundle: The whole bundle, checked against its sums.
        target: The folder; it is created.
        variants: The variants that run on the device, best first; the bundle has one of them.
        most_bytes: Bytes for golden photos, with their pixels, and for further models. The best model and
            one photo are always there.

    Returns:
        What it holds.
    """
    known = {entry.variant: entry for entry in bundle.manifest.artifacts}
    models = [known[variant] for variant in variants if variant in known]
    cases, room = _choose_cases(bundle, most_bytes)
    entries = [models[0]]
    for entry in models[1:]:
        if entry.bytes <= room:
            entries.append(entry)
            room -= entry.bytes
    _write_files(bundle, target, entries, cases)
    manifest = _manifest(bundle.manifest, entries, cases)
    text = bundle_manifest.manifest_json(manifest)
    (target / "manifest.json").write_text(text, encoding="utf-8", newline="\n")
    write_sums(target)
    return Kept(tuple(entry.variant for entry in entries), tuple(case.tensor for case in cases))


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS of all files in the folder of a bundle."""
    names = sorted(Path(entry.name) for entry in folder_guard.files(folder))
    sums = (f"{io_files.sha256(folder / name)}  {name.as_posix()}\n" for name in names)
    (folder / signing.SIGNED).write_bytes("".join(sums).encode())


def _choose_cases(bundle: Bundle, most_bytes: int) -> tuple[list[GoldenCase], int]:
    """Return golden cases that fit into so many bytes, at least one, and the bytes that are left.

    Photos and copies in special encodings take turns: both what a model predicts and what a device can
    decode are tested.
    """
    spec, room = bundle.manifest.input, most_bytes
    chosen: list[GoldenCase] = []
    present = {*bundle.files.names()}
    for case in _in_turn(bundle.manifest):
        name = f"golden/{case.photo}"
        photo_bytes = len(bundle.files.read(name)) if name in present else 0
        size = spec.height * spec.width * 3 + photo_bytes
        if size <= room or not chosen:
            chosen.append(case)
            room -= size
    return sorted(chosen, key=lambda case: case.tensor), max(room, 0)


def _in_turn(manifest: Manifest) -> Iterator[GoldenCase]:
    """Yield photos, those of different labels first, and encodings in turn."""
    seen: dict[str, int] = {}
    ranked = []
    for case in manifest.photos:
        seen[case.label] = seen.get(case.label, 0) + 1
        ranked.append((seen[case.label], case.tensor, case))
    photos = [case for _round, _row, case in sorted(ranked, key=lambda entry: entry[:2])]
    encodings = [case for case in manifest.golden if case.encoding]
    for pair in zip_longest(photos, encodings):
        yield from (case for case in pair if case is not None)


def _manifest(manifest: Manifest, entries: Sequence[Shipped], cases: Sequence[GoldenCase]) -> Manifest:
    """Return the manifest of the part: its artifacts, and its cases by their new rows."""
    sound = all(entry.verdict == "passed" or entry.provisional for entry in entries)
    return replace(
        manifest,
        artifacts=tuple(entries),
        golden=tuple(replace(case, tensor=row) for row, case in enumerate(cases)),
        unverified=manifest.unverified and not sound,
    )


def _write_files(
    bundle: Bundle, target: Path, entries: Sequence[Shipped], cases: Sequence[GoldenCase]
) -> None:
    """Write models, texts and golden files; a bundle without cases keeps all of its golden files."""
    names = {*bundle.files.names()}
    for wanted in (*sorted(names & {*TEXTS}), *(entry.path for entry in entries)):
        bundle.extract(target, wanted)
    if not cases:
        bundle.extract(target, "golden")
        return
    for case in cases:
        bundle.extract(target, f"golden/{case.photo}")
    (target / "golden").mkdir(parents=True, exist_ok=True)
    recorded = [expected.path for entry in entries for expected in entry.expected]
    arrays = bundle.golden()
    for path in ("golden/pixels.npy", "golden/keras.npy", *recorded):
        if path in names:
            _write_rows(target / path, arrays[Path(path).stem], cases)


def _write_rows(path: Path, array: NDArray[np.generic], cases: Sequence[GoldenCase]) -> None:
    import numpy as np

    np.save(path, array[[case.tensor for case in cases]])
