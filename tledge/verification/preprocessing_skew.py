"""Measure preprocessing skew: the accuracy an artifact loses where an app preprocesses photos differently.

Test photos are decoded once from their originals, preprocessed by every variant in `APP_VARIANTS`, and
predicted by one artifact. Each variant is compared with the same artifact on the contract's pixels, so the
figures show preprocessing alone. There is no verdict: no variant has to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tledge._io import files
from tledge._process import processors
from tledge._process.ordered_map import in_order
from tledge.bundle import reader
from tledge.bundle.manifest import Shipped
from tledge.bundle.reader import Bundle
from tledge.config import Data
from tledge.data import sampling
from tledge.data.sources import options
from tledge.data.sources.base import Record
from tledge.data.sources.registry import SOURCES
from tledge.errors import ArtifactError, DataError, MissingError, RecipeError, RunError
from tledge.formats.registry import VARIANTS
from tledge.metrics import parity_gates
from tledge.preprocessing import app_variants
from tledge.preprocessing.app_variants import APP_VARIANTS, UprightPhoto
from tledge.progress import SILENT, Progress, track
from tledge.run import golden_set
from tledge.run.folder import RunFolder, alone
from tledge.run.records import ParityRow
from tledge.runtime.model_file import ModelFile, ModelSource, read_model
from tledge.runtime.sessions import Session, runtime_errors_as

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Entry = TypeVar("Entry", ParityRow, Shipped)

MAX_PHOTOS = 400
"""Test photos that are measured; with this many, the interval shows a change of 5 points."""

EVIDENCE = "evidence/skew.json"
"""The report's path in a run folder."""

TOLERANCE = 1
"""Grey levels that a photo may differ from the golden set: JPEG decoders differ by one."""

SYNTHETIC = "The figures are on synthetic photos, drawn by tledge."
FEW_PHOTOS = (
    "Only the bundle's {} golden photos were used, too few for a reliable figure; pass the run folder "
    "instead, on the machine that has its photos."
)
ADVICE = "[augment] resize_jitter trains a model with such differences."


@dataclass(frozen=True)
class SkewRow:
    """One variant of preprocessing: the difference in grey levels, and how the predictions change.

    `preparation` is the variant's name, `does` what an app that uses it does. `accuracy_change`, its 95 %
    interval and `agreement` compare with the same artifact on the contract's pixels; shares in 0..1.
    """

    preparation: str
    does: str
    mean_difference: float
    max_difference: int
    accuracy: float
    accuracy_change: float
    change_low: float
    change_high: float
    agreement: float
    max_abs_dp: float


@dataclass(frozen=True)
class SkewReport:
    """`skew.json`: an artifact on photos preprocessed by every variant.

    `images` of the golden set's `test_images` were measured; `summary` names the worst variant, and
    `remarks` the limits of these figures.
    """

    name: str
    variant: str
    path: str
    sha256: str
    kernels: str
    images: int
    test_images: int
    accuracy: float
    rows: tuple[SkewRow, ...]
    summary: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _TestPhoto:
    """A photo to preprocess: its label, the contract's pixels as recorded, and how to read its file.

    `pixel_range` is the recipe's.
    """

    name: str
    label: int
    pixels: NDArray[np.uint8]
    read: Callable[[], bytes]
    pixel_range: tuple[float, ...]


@dataclass(frozen=True)
class _PreprocessedPhoto:
    """A photo by every variant: uint8[1 + variants, H, W, 3], the contract's recorded pixels first."""

    pixels: NDArray[np.uint8]
    has_model_size: bool


@dataclass(frozen=True)
class _Measurements:
    """What was measured of N photos by V variants.

    `probabilities` float32[1 + V, N, classes], the contract's first; differences from the contract's pixels
    in grey levels, `mean_differences` float64[V, N] and `max_differences` int64[V, N]; and how many photos
    have the model's own size.
    """

    probabilities: NDArray[np.float32]
    mean_differences: NDArray[np.float64]
    max_differences: NDArray[np.int64]
    of_model_size: int


@alone
def skew_run(
    folder: RunFolder,
    data: Data,
    *,
    variant: str | None = None,
    kernels: str = "xnnpack",
    progress: Progress = SILENT,
) -> SkewReport:
    """Measure an artifact of a verified run on its test photos, which are read from `data` again.

    Without `variant` it is the smallest integer-only artifact that passed, else tflite-fp32. Writes
    `evidence/skew.json`. Raises MissingError or DataError where the photos are gone or are not those
    that the run was tested on, RunError where no artifact passed, RecipeError for an unknown `variant`.
    """
    run = folder.read_run()
    entry = _choose_artifact(folder.read_parity().rows, variant, str(folder.path))
    source = _unchanged(folder, folder.member(entry.path), entry.sha256)
    reference = folder.read_golden()
    photos = _test_photos(reference, data, run.seed, progress)
    session = VARIANTS[entry.variant].format.open(source, kernels)
    measurements = _measure(photos, session, progress)
    total = len(reference.labels)
    remarks = [SYNTHETIC] * run.synthetic
    if len(photos) < total:
        remarks.append(f"{len(photos)} of {total} test photos were used, classes in turn.")
    report = _report(run.name, run.labels, entry, session, photos, measurements, total, remarks)
    files.write_json(folder.path / EVIDENCE, report)
    return report


def _unchanged(folder: RunFolder, path: Path, sha256: str) -> ModelSource:
    """Read the artifact once; raise RunError where it is not the one that was verified."""
    source = read_model(path) if path.is_file() else path
    if path.is_dir() and folder.sha256(path) == sha256:
        return source
    if isinstance(source, ModelFile) and source.sha256 == sha256:
        return source
    raise RunError(f"{path}: changed or gone since it was verified. Run `tledge verify {folder.path}`.")


def skew_bundle(
    bundle: Bundle,
    *,
    variant: str | None = None,
    kernels: str = "xnnpack",
    progress: Progress = SILENT,
) -> SkewReport:
    """Measure an artifact of a bundle on its golden photos; raise ArtifactError where it is damaged."""
    manifest = bundle.manifest
    entry = _choose_artifact(manifest.artifacts, variant, str(bundle.path))
    session = reader.bundle_session(bundle, entry, kernels)
    try:
        photos = _golden_photos(bundle)
        measurements = _measure(photos, session, progress)
    except (KeyError, IndexError, ValueError, DataError) as error:
        raise ArtifactError(f"{bundle.path}: the bundle contradicts itself ({error!r}).") from error
    count = len(photos)
    remarks = [*[SYNTHETIC] * manifest.synthetic, FEW_PHOTOS.format(count)]
    return _report(manifest.name, manifest.labels, entry, session, photos, measurements, count, remarks)


def _choose_artifact(entries: Sequence[Entry], variant: str | None, where: str) -> Entry:
    """Choose the artifact of `variant`, else the smallest integer-only that passed, else tflite-fp32."""
    known = [entry for entry in entries if entry.variant in VARIANTS]
    if variant:
        for entry in known:
            if entry.variant == variant:
                return entry
        names = ", ".join(entry.variant for entry in known) or "none"
        raise RecipeError(f"--variant {variant}: not in {where}. There are {names}.")
    passed = [entry for entry in known if entry.verdict == "passed"]
    if not passed:
        raise RunError(f"{where}: no artifact passed verification. Name the one to measure with --variant.")
    return min(passed, key=_preference)


def _preference(entry: ParityRow | Shipped) -> tuple[bool, bool, int]:
    is_integer = VARIANTS[entry.variant].mode.integer_only
    return not is_integer, not is_integer and entry.variant != "tflite-fp32", entry.bytes


def _test_photos(reference: golden_set.Golden, data: Data, seed: int, progress: Progress) -> list[_TestPhoto]:
    """Take up to `MAX_PHOTOS` test photos, classes in turn, and find each in the recipe's source."""
    rows = sampling.by_class_in_turn(reference.labels, MAX_PHOTOS, seed).tolist()
    records = _find_records(data, {reference.ids[row] for row in rows}, progress)
    missing = [reference.ids[row] for row in rows if reference.ids[row] not in records]
    if missing:
        raise DataError(
            f"{data.source}: {len(missing)} of {len(rows)} test photos are not there any more, such as "
            f"{missing[0]}. --skew preprocesses them again from their originals: put them back, or train "
            "again."
        )
    return [
        _TestPhoto(
            reference.ids[row], int(reference.labels[row]), reference.images[row],
            records[reference.ids[row]].read, data.pixel_range,
        )
        for row in rows
    ]  # fmt: skip


def _find_records(data: Data, ids: set[str], progress: Progress) -> dict[str, Record]:
    """Find the source's records of these ids, as far as they exist."""
    name = data.source.partition(":")[0]
    try:
        records = SOURCES[name].module.scan(options.source_options(data)).records()
        listed = track(progress, records, "find the photos", None)
        return {record.id: record for record in listed if record.id in ids}
    except (MissingError, DataError) as error:
        raise type(error)(
            f"{error}\n--skew preprocesses the test photos again from their originals, which must be where "
            "the recipe says. A bundle contains a few: tledge verify BUNDLE --skew."
        ) from error


def _golden_photos(bundle: Bundle) -> list[_TestPhoto]:
    arrays, manifest = bundle.golden(), bundle.manifest
    if not manifest.photos:
        raise ArtifactError(f"{bundle.path}: the bundle has no golden photos to preprocess.")

    def read_later(name: str) -> Callable[[], bytes]:
        return lambda: bundle.files.read(f"golden/{name}")

    return [
        _TestPhoto(
            case.photo, manifest.label_index(case.label), arrays["pixels"][case.tensor],
            read_later(case.photo), manifest.input.pixel_range,
        )
        for case in manifest.photos
    ]  # fmt: skip


def _measure(photos: Sequence[_TestPhoto], session: Session, progress: Progress) -> _Measurements:
    """Preprocess every photo by every variant, in other threads ahead of time, and predict them."""
    import numpy as np

    probabilities, means, largest, of_model_size = [], [], [], 0
    threads = processors.usable()
    preprocessed = in_order(_preprocess, photos, threads, 2 * threads)
    for photo in track(progress, preprocessed, "preprocess and predict", len(photos)):
        with runtime_errors_as("the artifact loads but does not run"):
            probabilities.append(session.run(photo.pixels))
        difference = np.abs(photo.pixels[1:].astype(np.int16) - photo.pixels[0])
        difference = difference.reshape(len(APP_VARIANTS), -1)
        means.append(difference.mean(1))
        largest.append(difference.max(1))
        of_model_size += photo.has_model_size
    return _Measurements(
        np.stack(probabilities, 1), np.stack(means, 1), np.stack(largest, 1).astype(np.int64), of_model_size
    )


def _preprocess(photo: _TestPhoto) -> _PreprocessedPhoto:
    """Preprocess a photo by every variant, and check that the contract's gives the recorded pixels."""
    import numpy as np

    size = photo.pixels.shape[0], photo.pixels.shape[1]

    def preprocess_all(decoded: UprightPhoto) -> tuple[list[NDArray[np.uint8]], bool]:
        variants = [variant.preprocess(decoded, size) for variant in APP_VARIANTS]
        return variants, decoded.pixels.shape[:2] == size

    try:
        variants, has_model_size = app_variants.use_photo(photo.read(), preprocess_all, photo.pixel_range)
    except OSError as error:
        raise DataError(f"{photo.name}: cannot be read any more ({error}).") from error
    except (DataError, MissingError) as error:
        raise type(error)(f"{photo.name}: {error}") from error
    worst = int(np.abs(variants[0].astype(np.int16) - photo.pixels).max())
    if worst > TOLERANCE:
        raise DataError(
            f"{photo.name}: not the photo that was tested, or another Pillow: preprocessed here it differs "
            f"from the golden set by {worst} grey levels, expected at most {TOLERANCE}. Put the original "
            "photo back, or train again."
        )
    return _PreprocessedPhoto(np.stack([photo.pixels, *variants]), has_model_size)


def _report(
    name: str,
    labels: tuple[str, ...],
    entry: ParityRow | Shipped,
    session: Session,
    photos: Sequence[_TestPhoto],
    measurements: _Measurements,
    total: int,
    remarks: Iterable[str],
) -> SkewReport:
    import numpy as np

    truth = np.array([photo.label for photo in photos], np.int64)
    rows = tuple(_row(number, truth, measurements, labels) for number in range(len(APP_VARIANTS)))
    return SkewReport(
        name=name,
        variant=entry.variant,
        path=entry.path,
        sha256=entry.sha256,
        kernels=session.kernels,
        images=len(photos),
        test_images=total,
        accuracy=float((measurements.probabilities[0].argmax(1) == truth).mean()),
        rows=rows,
        summary=_summary(rows, len(photos)),
        remarks=(*remarks, *_limits(rows, measurements, len(photos)), *_advice(rows)),
    )


def _row(
    number: int, truth: NDArray[np.int64], measurements: _Measurements, labels: tuple[str, ...]
) -> SkewRow:
    contract, variant = measurements.probabilities[0], measurements.probabilities[1 + number]
    result = parity_gates.compare_predictions(truth, contract, variant, labels)
    return SkewRow(
        preparation=APP_VARIANTS[number].name,
        does=APP_VARIANTS[number].does,
        mean_difference=float(measurements.mean_differences[number].mean()),
        max_difference=int(measurements.max_differences[number].max()),
        accuracy=result.accuracy,
        accuracy_change=result.accuracy_change,
        change_low=result.accuracy_change_low,
        change_high=result.accuracy_change_high,
        agreement=result.agreement,
        max_abs_dp=result.max_abs_dp,
    )


def _summary(rows: Sequence[SkewRow], images: int) -> str:
    """Name the worst variant and what it costs."""
    worst = min(rows[1:], key=lambda row: (row.accuracy_change, row.agreement))
    changed = f"predicts differently for {1 - worst.agreement:.1%} of {images} photos"
    if worst.accuracy_change >= 0:
        return f"None of these costs accuracy here. An app that {worst.does} {changed}."
    doubt = "" if worst.change_high < 0 else " That may be chance: the 95 % interval includes no loss."
    return (
        f"Worst: an app that {worst.does} loses {-100 * worst.accuracy_change:.1f} points of accuracy and "
        f"{changed}.{doubt}"
    )


def _limits(rows: Sequence[SkewRow], measurements: _Measurements, images: int) -> list[str]:
    """Describe what these photos cannot show."""
    remarks = []
    if count := measurements.of_model_size:
        remarks.append(f"{count} of {images} photos have the model's size: nothing resizes them.")
    if same := [row.preparation for row in rows[1:] if not row.max_difference]:
        remarks.append(
            f"No pixel of these photos changes with {', '.join(same)}: the photos show nothing about these."
        )
    return remarks


def _advice(rows: Sequence[SkewRow]) -> list[str]:
    resizing = {variant.name for variant in APP_VARIANTS if variant.resizes}
    loses = any(row.preparation in resizing and row.change_high < 0 for row in rows)
    return [ADVICE] if loses else []
