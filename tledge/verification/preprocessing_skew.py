"""The skew stage: what an artifact loses where a device prepares photos otherwise than the contract says.

Test photos are decoded once from their originals, prepared in every way of `preparations.APP_VARIANTS`, and
answered by one artifact. It is compared with itself on the contract's pixels, so the figures are of
the preparation alone. Nothing is judged: there is no way that should pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tledge._io import files
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
from tledge.preprocessing.app_variants import APP_VARIANTS
from tledge.progress import SILENT, Progress, track
from tledge.run import folder as run_folder
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import ParityRow
from tledge.runtime.model_file import ModelFile, ModelSource, read_model
from tledge.runtime.sessions import Session, runtime_errors_as

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Entry = TypeVar("Entry", ParityRow, Shipped)

MOST = 400
"""Test photos that are measured; with so many, a change of 5 points shows in its interval."""

EVIDENCE = "evidence/skew.json"
"""Where a run keeps the report."""

TOLERANCE = 1
"""Grey levels between a photo prepared here and the golden set: JPEG decoders differ by one."""

_BUNDLE = (
    "Only the bundle's {} golden photos were used, and so few say little: name the run, on the machine "
    "that has its photos, for figures to go by."
)
_JITTER = "[augment] resize_jitter shows such differences to a model while it trains."


@dataclass(frozen=True)
class SkewRow:
    """One way to prepare: grey levels from the contract's pixels, and what the answers become.

    `accuracy_change` and its 95 % interval are against the artifact's own accuracy on the contract's
    pixels, `agreement` is with its own answers to them; shares in 0..1.
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
    """`skew.json`: an artifact on photos prepared in every way.

    `images` of the golden set's `test_images` were measured; `summary` names the worst way plainly, and
    `remarks` say how far the figures reach.
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
class _Case:
    """A photo to prepare: its label, the contract's pixels as recorded, and how to read it."""

    name: str
    label: int
    pixels: NDArray[np.uint8]
    read: Callable[[], bytes]


@dataclass(frozen=True)
class _Made:
    """A photo in every way: uint8[1 + ways, H, W, 3], the contract's recorded pixels first."""

    pixels: NDArray[np.uint8]
    is_sized: bool


@dataclass(frozen=True)
class _Found:
    """Answers float32[1 + ways, N, classes], differences float64[ways, N] (mean) and int64 (largest)."""

    answers: NDArray[np.float32]
    means: NDArray[np.float64]
    largest: NDArray[np.int64]
    sized: int


@run_folder.alone
def skew_run(
    folder: RunFolder,
    data: Data,
    *,
    variant: str | None = None,
    kernels: str = "xnnpack",
    progress: Progress = SILENT,
) -> SkewReport:
    """Measure an artifact of a verified run on its test photos, which are read from `data` again.

    The artifact is the smallest of integers alone that passed, else tflite-fp32, or `variant`. Writes
    `evidence/skew.json`. Raises MissingError or DataError where the photos are gone or are not those
    that the run was tested on, RunError where nothing passed, RecipeError for an unknown `variant`.
    """
    run = folder.read_run()
    entry = _chosen(folder.read_parity().rows, variant, str(folder.path))
    path = folder.path / entry.path
    source = _unchanged(folder, path, entry.sha256)
    reference = folder.read_golden()
    cases = _test_photos(reference, data, run.seed, progress)
    session = VARIANTS[entry.variant].format.open(source, kernels)
    found = _measured(cases, session, progress)
    remarks = ["Figures are on synthetic photos, drawn by tledge."] * run.synthetic
    if len(cases) < len(reference.labels):
        remarks.append(f"{len(cases)} of {len(reference.labels)} test photos were used, classes in turn.")
    report = _report(run.name, run.labels, entry, session, cases, found, len(reference.labels), remarks)
    files.write_json(folder.path / EVIDENCE, report)
    return report


def _unchanged(folder: RunFolder, path: Path, sha256: str) -> ModelSource:
    """Read the artifact; raise RunError where it is not the one that was verified."""
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
    """Measure an artifact of a bundle on its golden photos; raises ArtifactError where it is damaged."""
    manifest = bundle.manifest
    entry = _chosen(manifest.artifacts, variant, str(bundle.path))
    session = reader.bundle_session(bundle, entry, kernels)
    try:
        cases = _golden_photos(bundle)
        found = _measured(cases, session, progress)
    except (KeyError, IndexError, ValueError, DataError) as error:
        raise ArtifactError(f"{bundle.path}: the bundle contradicts itself ({error!r}).") from error
    remarks = ["Figures are on synthetic photos, drawn by tledge."] * manifest.synthetic
    remarks.append(_BUNDLE.format(len(cases)))
    return _report(manifest.name, manifest.labels, entry, session, cases, found, len(cases), remarks)


def _chosen(entries: Sequence[Entry], variant: str | None, where: str) -> Entry:
    """The entry of `variant`; without one the smallest of integers that passed, else tflite-fp32."""
    known = [one for one in entries if one.variant in VARIANTS]
    if variant:
        for one in known:
            if one.variant == variant:
                return one
        names = ", ".join(one.variant for one in known) or "none"
        raise RecipeError(f"--variant {variant}: not in {where}. There are {names}.")
    passed = [one for one in known if one.verdict == "passed"]
    if not passed:
        raise RunError(f"{where}: no artifact passed verification. Name the one to measure with --variant.")
    return min(passed, key=_preference)


def _preference(entry: ParityRow | Shipped) -> tuple[bool, bool, int]:
    is_integer = VARIANTS[entry.variant].mode.integer_only
    return not is_integer, not is_integer and entry.variant != "tflite-fp32", entry.bytes


def _test_photos(reference: golden_set.Golden, data: Data, seed: int, progress: Progress) -> list[_Case]:
    """Up to `MOST` test photos, classes in turn, with how to read each from the recipe's source."""
    rows = sampling.by_class_in_turn(reference.labels, MOST, seed).tolist()
    records = _records(data, {reference.ids[row] for row in rows}, progress)
    gone = [reference.ids[row] for row in rows if reference.ids[row] not in records]
    if gone:
        raise DataError(
            f"{data.source}: {len(gone)} of {len(rows)} test photos are not there any more, such as "
            f"{gone[0]}. --skew prepares them again from their originals: put them back, or train again."
        )
    return [
        _Case(
            reference.ids[row], int(reference.labels[row]), reference.images[row],
            records[reference.ids[row]].read,
        )
        for row in rows
    ]  # fmt: skip


def _records(data: Data, wanted: set[str], progress: Progress) -> dict[str, Record]:
    """The source's records of these ids, as far as they are there."""
    name = data.source.partition(":")[0]
    try:
        records = SOURCES[name].module.scan(options.source_options(data)).records()
        listed = track(progress, records, "find the photos", None)
        return {one.id: one for one in listed if one.id in wanted}
    except (MissingError, DataError) as error:
        raise type(error)(
            f"{error}\n--skew prepares the test photos again from their originals, which must be where the "
            "recipe says. A bundle carries a few: tledge verify BUNDLE --skew."
        ) from error


def _golden_photos(bundle: Bundle) -> list[_Case]:
    expected, manifest = bundle.golden(), bundle.manifest
    if not manifest.photos:
        raise ArtifactError(f"{bundle.path}: the bundle has no golden photos to prepare.")

    def reading(name: str) -> Callable[[], bytes]:
        return lambda: bundle.files.read(f"golden/{name}")

    return [
        _Case(one.photo, manifest.label_index(one.label), expected["pixels"][one.tensor], reading(one.photo))
        for one in manifest.photos
    ]


def _measured(cases: Sequence[_Case], session: Session, progress: Progress) -> _Found:
    """Prepare and answer every photo in every way; photos are prepared ahead by other threads."""
    import numpy as np

    answers, means, largest, sized = [], [], [], 0
    threads = os.cpu_count() or 1
    made = in_order(_made, cases, threads, 2 * threads)
    for one in track(progress, made, "prepare and answer", len(cases)):
        with runtime_errors_as("the artifact loads but does not run"):
            answers.append(session.run(one.pixels))
        apart = np.abs(one.pixels[1:].astype(np.int16) - one.pixels[0]).reshape(len(APP_VARIANTS), -1)
        means.append(apart.mean(1))
        largest.append(apart.max(1))
        sized += one.is_sized
    found = _Found(np.stack(answers, 1), np.stack(means, 1), np.stack(largest, 1).astype(np.int64), sized)
    return found


def _made(case: _Case) -> _Made:
    import numpy as np

    try:
        photo = app_variants.read(case.read())
    except OSError as error:
        raise DataError(f"{case.name}: cannot be read any more ({error}).") from error
    except (DataError, MissingError) as error:
        raise type(error)(f"{case.name}: {error}") from error
    size = case.pixels.shape[0], case.pixels.shape[1]
    made = [way.preprocess(photo, size) for way in APP_VARIANTS]
    worst = int(np.abs(made[0].astype(np.int16) - case.pixels).max())
    if worst > TOLERANCE:
        raise DataError(
            f"{case.name}: not the photo that was tested, or another Pillow: prepared here it differs by "
            f"{worst} grey levels from the golden set, at most {TOLERANCE} expected. Put the photo back that "
            "it was, or train again."
        )
    return _Made(np.stack([case.pixels, *made]), photo.pixels.shape[:2] == size)


def _report(
    name: str,
    labels: tuple[str, ...],
    entry: ParityRow | Shipped,
    session: Session,
    cases: Sequence[_Case],
    found: _Found,
    total: int,
    remarks: Iterable[str],
) -> SkewReport:
    import numpy as np

    truth = np.array([case.label for case in cases], np.int64)
    rows = tuple(_row(number, truth, found, labels) for number in range(len(APP_VARIANTS)))
    return SkewReport(
        name=name,
        variant=entry.variant,
        path=entry.path,
        sha256=entry.sha256,
        kernels=session.kernels,
        images=len(cases),
        test_images=total,
        accuracy=float((found.answers[0].argmax(1) == truth).mean()),
        rows=rows,
        summary=_summary(rows, len(cases)),
        remarks=(*remarks, *_limits(rows, found, len(cases)), *_advice(rows)),
    )


def _row(number: int, truth: NDArray[np.int64], found: _Found, labels: tuple[str, ...]) -> SkewRow:
    result = parity_gates.compare_predictions(truth, found.answers[0], found.answers[1 + number], labels)
    return SkewRow(
        preparation=APP_VARIANTS[number].name,
        does=APP_VARIANTS[number].does,
        mean_difference=float(found.means[number].mean()),
        max_difference=int(found.largest[number].max()),
        accuracy=result.accuracy,
        accuracy_change=result.accuracy_change,
        change_low=result.accuracy_change_low,
        change_high=result.accuracy_change_high,
        agreement=result.agreement,
        max_abs_dp=result.max_abs_dp,
    )


def _summary(rows: Sequence[SkewRow], images: int) -> str:
    """The worst way in plain words."""
    worst = min(rows[1:], key=lambda row: (row.accuracy_change, row.agreement))
    otherwise = f"answers otherwise for {1 - worst.agreement:.1%} of {images} photos"
    if worst.accuracy_change >= 0:
        return f"None of these costs accuracy here. An app that {worst.does} {otherwise}."
    doubt = "" if worst.change_high < 0 else " That may be chance: the 95 % interval holds no loss as well."
    return (
        f"Worst: an app that {worst.does} loses {-100 * worst.accuracy_change:.1f} points of accuracy and "
        f"{otherwise}.{doubt}"
    )


def _limits(rows: Sequence[SkewRow], found: _Found, images: int) -> list[str]:
    """What these photos cannot show."""
    remarks = []
    if found.sized:
        remarks.append(f"{found.sized} of {images} photos have the model's size: nothing resizes them.")
    if same := [row.preparation for row in rows[1:] if not row.max_difference]:
        remarks.append(f"No pixel of these photos changes with {', '.join(same)}: they say nothing of it.")
    return remarks


def _advice(rows: Sequence[SkewRow]) -> list[str]:
    resizing = {way.name for way in APP_VARIANTS if way.resizes}
    lost = any(row.preparation in resizing and row.change_high < 0 for row in rows)
    return [_JITTER] if lost else []
