"""Build the release bundle: a folder and a reproducible zip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import contract
from tledge._io import atomic, file_guard, folder_guard, zip_guard
from tledge._io import files as io_files
from tledge._version import __version__
from tledge.bundle import manifest as bundle_manifest
from tledge.bundle import model_card, preview_page, reader, readme, run_summary, sbom, signing
from tledge.bundle.manifest import Expected, GoldenCase, Manifest, Shipped, Unsupported
from tledge.bundle.signing import Signer
from tledge.errors import ArtifactError, InconclusiveError, MissingError, ParityFailed, RunError
from tledge.formats.registry import VARIANTS
from tledge.preprocessing import image
from tledge.progress import SILENT, Progress, start_task
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder
from tledge.run.records import SKIPPED, ParityReport, ParityRow, TrainedRun
from tledge.runtime import sessions
from tledge.runtime.sandbox_process import CrashError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MAX_REASON = 500
"""Characters that the manifest holds of why a kernel family does not run an artifact."""


@dataclass(frozen=True)
class Bundled:
    """A bundle's folder and zip, its variants, and those left out because they did not pass verification.

    `signed_by` is the fingerprint of the signing key; empty for an unsigned bundle.
    """

    folder: Path
    zip: Path
    sha256: str
    variants: tuple[str, ...]
    left_out: tuple[str, ...]
    signed_by: str = ""


Recorded = tuple[tuple[Expected, ...], tuple[Unsupported, ...]]
"""Of an artifact: the files of its predictions by kernel family, and the families that do not run it."""


@run_folder.alone
def bundle(
    folder: RunFolder,
    *,
    unverified: bool = False,
    sign: Signer | None = None,
    progress: Progress = SILENT,
) -> Bundled:
    """Bundle every artifact that passed verification or is provisional into `bundle/` and a zip.

    Args:
        folder: The run.
        unverified: Also bundle artifacts that did not pass; the manifest marks them.
        sign: The private key to sign with; without it the bundle is not signed.
        progress: Receives the task and warnings.

    Returns:
        The paths of the bundle, its variants and the zip's hash.

    Raises:
        ParityFailed: No artifact passed.
        InconclusiveError: No artifact passed, and for none of them are there enough images to tell.
        RunError: Nothing was verified yet, an artifact changed since, or a link lies in the run.
        ArtifactError: No kernel family runs an artifact that passed.
        MissingError: jinja2, or the runtime of an artifact that was verified, is not installed.
    """
    run = folder.read_run()
    report = folder.read_parity()
    chosen = _chosen(folder, report, unverified)
    left_out = tuple(row.variant for row in report.rows if row not in chosen)
    if not chosen:
        is_failed = any(row.verdict != "undecided" for row in report.rows)
        raise (ParityFailed if is_failed else InconclusiveError)(
            f"{folder.path}: no artifact passed verification, so there is nothing to bundle. "
            "See the reasons above, or bundle unverified artifacts with --unverified."
        )
    if not sign and (folder.bundle / signing.NAME).exists():
        progress.say("warning: the previous bundle was signed, and this one is not; see --sign.")
    archive = folder.path / _archive_name(run)
    with start_task(progress, "bundle") as task, atomic.replacing(folder.bundle) as target:
        target.mkdir()
        _fill(target, folder, run, chosen, unverified, sign, progress)
        task.advance(1)
        with atomic.replacing(archive) as packed:
            io_files.canonical_zip(target, packed)
            reader.open_bundle(packed, sign.public if sign else None).check_sums()
    variants = tuple(row.variant for row in chosen)
    signed_by = sign.fingerprint if sign else ""
    return Bundled(folder.bundle, archive, io_files.sha256(archive), variants, left_out, signed_by)


def _archive_name(run: TrainedRun) -> str:
    """Return the file name of the zip; raise RunError for a name that leads elsewhere."""
    name = f"{run.name}-{run.version}.zip"
    if name != Path(name).name:
        raise RunError(f"run.json: {name!r} cannot be the name of a zip. Train again.")
    return name


def _chosen(folder: RunFolder, report: ParityReport, unverified: bool) -> list[ParityRow]:
    """Return the rows to bundle; raise RunError for an artifact that changed after verification."""
    chosen = []
    for row in report.rows:
        path = folder.member(row.path)
        if not path.exists():
            continue
        if not row.is_bundled and not unverified:
            continue
        if folder.sha256(path) != row.sha256:
            raise _changed(folder, row)
        chosen.append(row)
    return chosen


def _fill(
    target: Path,
    folder: RunFolder,
    run: TrainedRun,
    rows: Sequence[ParityRow],
    unverified: bool,
    sign: Signer | None,
    progress: Progress,
) -> None:
    """Write all files of a bundle into the folder `target`."""
    _copy_artifacts(target, folder, rows)
    cases, expected = _write_golden(target / "golden", folder, run, rows)
    manifest = _manifest(run, rows, cases, expected, unverified, target)
    for entry in manifest.artifacts:
        for family in entry.unsupported:
            progress.say(f"warning: {entry.path}: one kernel family does not run it. {family.reason}")
    text = bundle_manifest.manifest_json(manifest)
    bundle_manifest.parse_manifest(text.encode(), f"{folder.bundle}/manifest.json")  # it must be readable
    summary = run_summary.read(folder)
    texts = {
        "manifest.json": text,
        preview_page.NAME: preview_page.of_folder(target, manifest),
        "labels.txt": contract.labels_text(run.labels),
        "README.md": readme.text(manifest, run, sign),
        "MODEL_CARD.md": model_card.text(summary, rows, __version__),
    }
    for name, content in texts.items():
        if content:  # no page where a browser can run none of the artifacts
            (target / name).write_text(content, encoding="utf-8")
    (target / sbom.NAME).write_text(sbom.text(summary, rows, target, __version__), encoding="utf-8")
    names = sorted(Path(entry.name) for entry in folder_guard.files(target))
    hashes = {name: io_files.sha256(target / name) for name in names}
    for row in rows:
        _require_verified(hashes, row, folder)
    _write_sums(target, hashes, sign)


def _copy_artifacts(target: Path, folder: RunFolder, rows: Sequence[ParityRow]) -> None:
    for row in rows:
        io_files.copy(folder.member(row.path), target / Path(row.path).name, below=folder.path)


def _require_verified(hashes: Mapping[Path, str], row: ParityRow, folder: RunFolder) -> None:
    """Raise RunError where the copy of an artifact is not the one that was verified."""
    name = Path(row.path).name
    copied = {path.relative_to(name): digest for path, digest in hashes.items() if path.parts[0] == name}
    digest = copied[Path()] if Path() in copied else io_files.combined_sha256(copied)
    if digest != row.sha256:
        raise _changed(folder, row)


def _changed(folder: RunFolder, row: ParityRow) -> RunError:
    return RunError(
        f"{folder.path / row.path}: changed after it was verified. Run `tledge verify {folder.path}`."
    )


def _write_sums(target: Path, hashes: Mapping[Path, str], sign: Signer | None) -> None:
    """Write SHA256SUMS of all files, verify the finished bundle against it, and sign it."""
    sums = "".join(f"{digest}  {path.as_posix()}\n" for path, digest in hashes.items()).encode()
    (target / signing.SIGNED).write_bytes(sums)
    reader.SummedFiles(target, reader.FolderFiles(target), sums).check()
    if sign:
        (target / signing.NAME).write_text(sign.sign(sums), encoding="utf-8", newline="\n")


def _manifest(
    run: TrainedRun,
    rows: Sequence[ParityRow],
    cases: tuple[GoldenCase, ...],
    expected: Mapping[str, Recorded],
    unverified: bool,
    target: Path,
) -> Manifest:
    shipped = tuple(
        _marked(Shipped(
            row.variant, Path(row.path).name, row.sha256, row.bytes, row.verdict,
            row.accuracy, row.agreement, row.kernels, row.coverage, row.answered_error,
            expected[row.variant][0], *_output_scaling(target / Path(row.path).name, row.variant),
            expected[row.variant][1],
        ), row)
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
        unverified=unverified and not all(row.is_bundled for row in rows),
        tledge=__version__,
        confidence=run.confidence,
        sbom=sbom.NAME,
    )


def _marked(shipped: Shipped, row: ParityRow) -> Shipped:
    """Add the mark and the figures that the manifest holds of a provisional artifact alone."""
    if not row.provisional:
        return shipped
    return replace(
        shipped,
        provisional=True,
        independent_images=row.independent_images,
        independent_agreement=row.independent_agreement,
        independent_low=row.independent_low,
        independent_high=row.independent_high,
        accuracy_change=row.accuracy_change,
    )


def _output_scaling(path: Path, variant: str) -> tuple[float, int]:
    """Return scale and zero point of a TFLite output, which not every runtime reports; else (0, 0)."""
    if io_files.ending(path) != ".tflite":
        return 0.0, 0
    (output,) = VARIANTS[variant].format.inspect(path).outputs
    return output.scale, output.zero_point


def _write_golden(
    target: Path, folder: RunFolder, run: TrainedRun, rows: Sequence[ParityRow]
) -> tuple[tuple[GoldenCase, ...], dict[str, Recorded]]:
    """Write encoded photos, their preprocessed pixels, and all predictions for these as `.npy`.

    Returns the cases, and what is recorded by variant.
    """
    import numpy as np

    target.mkdir()
    size = (run.input.height, run.input.width)
    photos = _golden_photos(folder)
    pixels, cases = [], []
    for number, (name, label, probabilities, encoding) in enumerate(photos):
        io_files.copy(folder.photos / name, target / name, below=folder.path)
        pixels.append(image.preprocess(target / name, size))
        predicted = run.labels[int(probabilities.argmax())]
        cases.append(GoldenCase(name, run.labels[label], predicted, number, encoding))
    images = np.stack(pixels)
    np.save(target / "pixels.npy", images)
    np.save(target / "keras.npy", np.stack([probabilities for _, _, probabilities, _ in photos]))
    return tuple(cases), {row.variant: _write_expected(target, row, images) for row in rows}


def _golden_photos(folder: RunFolder) -> list[tuple[str, int, NDArray[np.float32], str]]:
    """Return file name, label, Keras' probabilities and encoding of every photo that the run keeps."""
    import numpy as np

    reference = folder.read_golden()
    cases = []
    photos, encodings = folder.photos / "photos.json", folder.photos / "encodings.json"
    with io_files.complete(photos, "Train again."):
        for entry in _listed(photos):
            row = int(entry["row"])
            label = int(reference.labels[row])
            cases.append((_file_name(entry["photo"]), label, reference.probabilities[row], ""))
    with io_files.complete(encodings, "Train again."):
        for entry in _listed(encodings) if encodings.exists() else ():
            probabilities = np.array(entry["keras"], np.float32)
            cases.append((_file_name(entry["photo"]), int(entry["label"]), probabilities, entry["encoding"]))
    return cases


def _listed(path: Path) -> Any:
    """Read the list in a JSON file beside the golden photos."""
    return json.loads(file_guard.read_bytes(path, limit=io_files.MAX_JSON))


def _file_name(name: str) -> str:
    """Return a name that stays in its folder; raise ValueError for any other."""
    if not zip_guard.is_plain(name) or "/" in name:
        raise ValueError(f"{name!r} is not a file name")
    return name


def _write_expected(target: Path, row: ParityRow, images: NDArray[np.uint8]) -> Recorded:
    """Write the predictions of an artifact's copy for the golden pixels, with every kernel family that can.

    Returns their files, and the families that cannot. Raises ArtifactError where none runs an artifact that
    passed verification or is provisional.
    """
    import numpy as np

    variant = VARIANTS[row.variant]
    families = sessions.KERNELS if variant.format.suffix == ".tflite" else ("",)
    expected, unsupported, failures = [], [], []
    for kernels in families:
        try:
            session = variant.format.open(target.parent / Path(row.path).name, kernels)
            predictions = session.run(images)
        except MissingError as error:
            if row.verdict == SKIPPED:  # nobody promised what it predicts
                continue
            raise MissingError(
                f"{row.path}: a bundle holds its predictions, which cannot be computed here. {error}"
            ) from error
        except ArtifactError as error:
            failures.append(error)
            unsupported.append(Unsupported(kernels, _reason(error)))
            continue
        name = f"{row.variant}.{kernels}.npy" if kernels else f"{row.variant}.npy"
        np.save(target / name, predictions)
        tolerance = contract.TOLERANCES[variant.mode.gate]
        expected.append(Expected(session.kernels, f"golden/{name}", tolerance))
    if failures and not expected and row.is_bundled:
        raise failures[0]
    return tuple(expected), tuple(unsupported)


def _reason(error: ArtifactError) -> str:
    """Return on one line why a kernel family does not run an artifact."""
    return " ".join((error.ending if isinstance(error, CrashError) else str(error)).split())[:MAX_REASON]
