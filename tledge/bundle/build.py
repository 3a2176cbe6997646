"""The bundle stage: what leaves the house, as a folder and as a zip whose bytes repeat."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tledge import contract
from tledge._io import atomic, zip_guard
from tledge._io import files as io_files
from tledge._version import __version__
from tledge.bundle import manifest as bundle_manifest
from tledge.bundle import model_card, preview_page, readme, run_summary, sbom, signing
from tledge.bundle.manifest import Expected, GoldenCase, Manifest, Shipped
from tledge.bundle.signing import Signer
from tledge.errors import MissingError, ParityFailed, RunError
from tledge.formats.registry import VARIANTS
from tledge.preprocessing import image
from tledge.progress import SILENT, Progress, start_task
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder
from tledge.run.records import ParityReport, ParityRow, TrainedRun
from tledge.runtime import sessions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Bundled:
    """Where a bundle lies, and which variants were left out because they did not pass.

    `signed_by` is the fingerprint of the key that it was signed with, if it was.
    """

    folder: Path
    zip: Path
    sha256: str
    variants: tuple[str, ...]
    left_out: tuple[str, ...]
    signed_by: str = ""


@run_folder.alone
def bundle(
    folder: RunFolder,
    *,
    unverified: bool = False,
    sign: Signer | None = None,
    progress: Progress = SILENT,
) -> Bundled:
    """Put every artifact with a passing row of `parity.json` into `bundle/` and a zip.

    With `unverified`, artifacts that did not pass come along and the manifest says so; with `sign`,
    all of it is signed. Raises ParityFailed where none may ship, RunError where nothing was verified yet.
    """
    run = folder.read_run()
    report = folder.read_parity()
    chosen = _chosen(folder, report, unverified)
    left_out = tuple(row.variant for row in report.rows if row not in chosen)
    if not chosen:
        raise ParityFailed(
            f"{folder.path}: no artifact passed, so there is nothing to bundle. "
            "See the reasons above, or bundle anyway with --unverified."
        )
    if not sign and (folder.bundle / signing.NAME).exists():
        progress.say("warning: the bundle that stood here was signed, and this one is not; see --sign.")
    archive = folder.path / f"{run.name}-{run.version}.zip"
    with start_task(progress, "bundle") as task, atomic.replacing(folder.bundle) as made:
        made.mkdir()
        _fill(made, folder, run, chosen, unverified, sign)
        task.advance(1)
        with atomic.replacing(archive) as packed:
            io_files.canonical_zip(made, packed)
    variants = tuple(row.variant for row in chosen)
    signed_by = sign.fingerprint if sign else ""
    return Bundled(folder.bundle, archive, io_files.sha256(archive), variants, left_out, signed_by)


def _chosen(folder: RunFolder, report: ParityReport, unverified: bool) -> list[ParityRow]:
    """Rows that may ship; a file that changed since its row was written may not."""
    chosen = []
    for row in report.rows:
        path = folder.path / row.path
        if not path.exists():
            continue
        if row.verdict != "passed" and not unverified:
            continue
        if folder.sha256(path) != row.sha256:
            raise _changed(folder, row)
        chosen.append(row)
    return chosen


def _fill(
    made: Path,
    folder: RunFolder,
    run: TrainedRun,
    rows: Sequence[ParityRow],
    unverified: bool,
    sign: Signer | None,
) -> None:
    for row in rows:
        source, target = folder.path / row.path, made / Path(row.path).name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    cases, expected = _golden(made / "golden", folder, run, rows)
    manifest = _manifest(run, rows, cases, expected, unverified, made)
    text = bundle_manifest.manifest_json(manifest)
    bundle_manifest.parse_manifest(
        text.encode(), f"{folder.bundle}/manifest.json"
    )  # before anyone cannot read it
    (made / "manifest.json").write_text(text, encoding="utf-8")
    if preview := preview_page.of_folder(made, manifest):
        (made / preview_page.NAME).write_text(preview, encoding="utf-8")
    (made / "labels.txt").write_text(contract.labels_text(run.labels), encoding="utf-8")
    (made / "README.md").write_text(readme.text(manifest, run, sign), encoding="utf-8")
    known = run_summary.read(folder)
    (made / "MODEL_CARD.md").write_text(model_card.text(known, rows, __version__), encoding="utf-8")
    (made / sbom.NAME).write_text(sbom.text(known, rows, made, __version__), encoding="utf-8")
    hashes = {
        path.relative_to(made): io_files.sha256(path) for path in sorted(made.rglob("*")) if path.is_file()
    }
    for row in rows:
        _require_verified(hashes, row, folder)
    _seal(made, hashes, sign)


def _require_verified(hashes: Mapping[Path, str], row: ParityRow, folder: RunFolder) -> None:
    """Raise RunError where the copy of an artifact is not the one that was verified."""
    name = Path(row.path).name
    inside = {path.relative_to(name): digest for path, digest in hashes.items() if path.parts[0] == name}
    copied = inside[Path()] if Path() in inside else io_files.combined_sha256(inside)
    if copied != row.sha256:
        raise _changed(folder, row)


def _changed(folder: RunFolder, row: ParityRow) -> RunError:
    return RunError(
        f"{folder.path / row.path}: changed after it was verified. Run `tledge verify {folder.path}`."
    )


def _seal(made: Path, hashes: Mapping[Path, str], sign: Signer | None) -> None:
    """Write SHA256SUMS of all that is there, and its signature."""
    sums = "".join(f"{digest}  {path.as_posix()}\n" for path, digest in hashes.items()).encode()
    (made / signing.SIGNED).write_bytes(sums)
    if sign:
        (made / signing.NAME).write_text(sign.sign(sums), encoding="utf-8", newline="\n")


def _manifest(
    run: TrainedRun,
    rows: Sequence[ParityRow],
    cases: tuple[GoldenCase, ...],
    expected: Mapping[str, tuple[Expected, ...]],
    unverified: bool,
    made: Path,
) -> Manifest:
    shipped = tuple(
        Shipped(
            row.variant, Path(row.path).name, row.sha256, row.bytes, row.verdict,
            row.accuracy, row.agreement, row.kernels, row.coverage, row.answered_error,
            expected[row.variant], *_output(made / Path(row.path).name, row.variant),
        )
        for row in rows
    )  # fmt: skip
    return Manifest(
        name=run.name,
        version=run.version,
        description=run.description,
        synthetic=run.synthetic,
        labels=run.labels,
        input=run.input,
        parameters=run.parameters,
        artifacts=shipped,
        golden=cases,
        unverified=unverified and any(row.verdict != "passed" for row in rows),
        tledge=__version__,
        confidence=run.confidence,
        sbom=sbom.NAME,
    )


def _output(path: Path, variant: str) -> tuple[float, int]:
    """Scale and zero point of a TFLite artifact's output, which not every runtime tells; else (0, 0)."""
    if path.suffix != ".tflite":
        return 0.0, 0
    (given,) = VARIANTS[variant].format.inspect(path).outputs
    return given.scale, given.zero_point


def _golden(
    target: Path, folder: RunFolder, run: TrainedRun, rows: Sequence[ParityRow]
) -> tuple[tuple[GoldenCase, ...], dict[str, tuple[Expected, ...]]]:
    """Write encoded photos, the pixels that they are prepared to, and all answers to these as `.npy`.

    Gives the cases, and by variant where its answers lie.
    """
    import numpy as np

    target.mkdir()
    size = (run.input.height, run.input.width)
    known = _photos(folder)
    pixels, cases = [], []
    for number, (name, label, answer, encoding) in enumerate(known):
        shutil.copyfile(folder.photos / name, target / name)
        pixels.append(image.preprocess(target / name, size))
        cases.append(GoldenCase(name, run.labels[label], run.labels[int(answer.argmax())], number, encoding))
    prepared = np.stack(pixels)
    np.save(target / "pixels.npy", prepared)
    np.save(target / "keras.npy", np.stack([answer for _name, _label, answer, _encoding in known]))
    return tuple(cases), {row.variant: _expected(target, folder, row, prepared) for row in rows}


def _photos(folder: RunFolder) -> list[tuple[str, int, NDArray[np.float32], str]]:
    """File name, label, Keras' probabilities and encoding of every photo that the run kept."""
    import numpy as np

    reference = folder.read_golden()
    found = []
    photos, encodings = folder.photos / "photos.json", folder.photos / "encodings.json"
    with io_files.complete(photos, "Train again."):
        for entry in json.loads(photos.read_text(encoding="utf-8")):
            row = int(entry["row"])
            found.append(
                (_file_name(entry["photo"]), int(reference.labels[row]), reference.probabilities[row], "")
            )
    with io_files.complete(encodings, "Train again."):
        for entry in json.loads(encodings.read_text(encoding="utf-8")) if encodings.is_file() else ():
            answer = np.array(entry["keras"], np.float32)
            found.append((_file_name(entry["photo"]), int(entry["label"]), answer, entry["encoding"]))
    return found


def _file_name(name: str) -> str:
    """A name that stays in its folder; raises ValueError for any other."""
    if not zip_guard.is_plain(name) or "/" in name:
        raise ValueError(f"{name!r} is no file's name")
    return name


def _expected(
    target: Path, folder: RunFolder, row: ParityRow, prepared: NDArray[np.uint8]
) -> tuple[Expected, ...]:
    """Write an artifact's answers to the golden pixels, for LiteRT those of every kernel family."""
    import numpy as np

    variant = VARIANTS[row.variant]
    families = sessions.KERNELS if variant.format.suffix == ".tflite" else ("",)
    found = []
    for kernels in families:
        try:
            session = variant.format.open(folder.path / row.path, kernels)
            answers = session.run(prepared)
        except MissingError:
            continue
        name = f"{row.variant}.{kernels}.npy" if kernels else f"{row.variant}.npy"
        np.save(target / name, answers)
        tolerance = contract.TOLERANCES[variant.mode.gate]
        found.append(Expected(session.kernels, f"golden/{name}", tolerance))
    return tuple(found)
