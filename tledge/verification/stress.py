"""Measure how artifacts predict where cameras blur, shake, darken and compress: the stress report.

Every image of the golden set is corrupted in each way and level of `tledge.preprocessing.corruptions`, and
predicted by the reference model and by every artifact. Clean photos do not show what a conversion loses
there: margins between classes shrink, and the rounding of int8 weighs more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import files
from tledge._process import processors
from tledge._process.ordered_map import in_order
from tledge.config import Parity
from tledge.errors import RunError
from tledge.formats.registry import VARIANTS
from tledge.metrics import stress_gates
from tledge.metrics.parity_gates import PredictionComparison, compare_predictions
from tledge.metrics.stress_gates import Cell
from tledge.models.keras_session import KerasSession
from tledge.preprocessing.corruptions import CORRUPTIONS, LEVELS, corrupt
from tledge.progress import SILENT, Progress, start_task
from tledge.run.folder import RunFolder, alone
from tledge.run.golden_set import Golden
from tledge.run.records import SKIPPED, Artifact, ParityRow
from tledge.runtime.model_file import read_model
from tledge.runtime.sessions import Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVIDENCE = "evidence/stress.json"
"""The report's path in a run folder."""

SEED = 0x57E55
"""Seed of noise and directions; what chooses quantization candidates uses other images and other seeds."""

MAX_IMAGES = 600
"""Images that are corrupted, each 27 times; of a larger golden set, an even selection."""

FLOAT_STEP, FLOAT_IMAGES = 3, 100
"""Float32 artifacts predict every third image, if that leaves so many: clean images already hold each of
their probabilities to Keras', and every image takes them longer than int8."""

BATCH = 64
"""Images that the reference model predicts at a time."""

CELLS = tuple((name, level) for name in CORRUPTIONS for level in LEVELS)
"""Every corruption at every level."""


@dataclass(frozen=True)
class StressRow:
    """An artifact under one corruption beside Keras; shares in 0..1, intervals of 95 %."""

    variant: str
    corruption: str
    level: int
    images: int
    accuracy: float
    reference_accuracy: float
    accuracy_change: float
    change_low: float
    change_high: float
    agreement: float
    agreement_low: float
    agreement_high: float


@dataclass(frozen=True)
class StressVerdict:
    """What the stress gates say of an artifact: "passed", "failed" or "undecided", and why."""

    variant: str
    sha256: str
    verdict: str
    reasons: tuple[str, ...]
    worst: str
    """The corruption and level with the lowest agreement."""
    lowest_agreement: float
    steepest: str
    """The corruption and level with the largest drop of accuracy."""
    largest_drop: float
    """That drop, in 0..1; negative where accuracy rises everywhere."""


@dataclass(frozen=True)
class StressReport:
    """`evidence/stress.json`: the verdicts, and every figure behind them."""

    passed: bool
    images: int
    seed: int
    clean_accuracy: float
    """Accuracy of Keras on the same images before they were corrupted."""
    verdicts: tuple[StressVerdict, ...]
    rows: tuple[StressRow, ...]


@alone
def stress_run(
    folder: RunFolder, limits: Parity, *, kernels: str = "xnnpack", progress: Progress = SILENT
) -> StressReport:
    """Predict corrupted test images with Keras and every artifact of a run, and write the report.

    Raises:
        RunError: There are no artifacts.
        MissingError: TensorFlow is not installed, or the runtime of an artifact.
        ArtifactError: An artifact does not load.
    """
    artifacts = [artifact for artifact in folder.read_artifacts() if artifact.variant in VARIANTS]
    if not artifacts:
        raise RunError(f"{folder.path}: no artifacts to verify. Run `tledge export {folder.path}`.")
    order = list(VARIANTS)
    artifacts.sort(key=lambda artifact: order.index(artifact.variant))
    golden = _selected(folder.read_golden())
    sessions = {artifact.variant: _opened(folder, artifact, kernels) for artifact in artifacts}
    with closing(KerasSession(folder.model)) as keras:
        comparisons = _compare_all(keras, sessions, golden, folder.read_run().labels, progress)
    report = _report(artifacts, comparisons, golden, limits)
    path = folder.path / EVIDENCE
    path.parent.mkdir(exist_ok=True)
    files.write_json(path, report)
    return report


def with_stress(folder: RunFolder, row: ParityRow, limits: Parity) -> ParityRow:
    """Add to an artifact's row what the stress report says of the same file; without one, change nothing.

    So a file that failed under stress stays out of bundles until it is converted again or measured again.
    """
    path = folder.path / EVIDENCE
    if row.verdict == SKIPPED or not path.is_file():
        return row
    report = folder.once.get(path, "stress", lambda: _read(path))
    stressed = [verdict for verdict in report.verdicts if verdict.sha256 == row.sha256]
    if not stressed or stressed[0].verdict == "passed":
        return row
    row = replace(row, reasons=(*row.reasons, *stressed[0].reasons))
    if stressed[0].verdict == "failed":
        return replace(row, verdict="failed", provisional=False, images_needed=None)
    if row.verdict == "passed":
        return replace(row, verdict="undecided", provisional=not limits.strict)
    return row


def _read(path: Path) -> StressReport:
    return files.read_record(StressReport, path, "a stress report", "Run `tledge verify --stress` again.")


def _opened(folder: RunFolder, artifact: Artifact, kernels: str) -> Session:
    path = folder.member(artifact.path)
    source = read_model(path) if path.is_file() else path
    return VARIANTS[artifact.variant].format.open(source, kernels)


def _selected(golden: Golden) -> Golden:
    """Take at most `MAX_IMAGES` of the golden set, evenly spaced."""
    import numpy as np

    if len(golden.images) <= MAX_IMAGES:
        return golden
    numbers = np.linspace(0, len(golden.images) - 1, MAX_IMAGES).round().astype(int)
    return replace(
        golden,
        images=golden.images[numbers],
        labels=golden.labels[numbers],
        probabilities=golden.probabilities[numbers],
        ids=tuple(golden.ids[number] for number in numbers),
    )


def corrupted(images: NDArray[np.uint8], cell: Cell, seed: int = SEED) -> NDArray[np.uint8]:
    """Corrupt images uint8[N, H, W, 3], each with randomness of its own."""
    import numpy as np

    name, level = cell

    def work(number: int) -> NDArray[np.uint8]:
        return corrupt(images[number], name, level, seed, number)

    threads = processors.usable()
    return np.stack(list(in_order(work, range(len(images)), threads, 16 * threads, together=8)))


def _compare_all(
    keras: KerasSession,
    sessions: Mapping[str, Session],
    golden: Golden,
    labels: tuple[str, ...],
    progress: Progress,
) -> dict[str, dict[Cell, PredictionComparison]]:
    """Compare every artifact with Keras under every corruption, one set of images in memory at a time."""
    comparisons: dict[str, dict[Cell, PredictionComparison]] = {variant: {} for variant in sessions}
    steps = {variant: _step(variant, len(golden.labels)) for variant in sessions}
    with start_task(progress, "stress", len(CELLS)) as task:
        for cell in CELLS:
            images = corrupted(golden.images, cell)
            jobs = [
                (keras, images),
                *((sessions[variant], images[::step]) for variant, step in steps.items()),
            ]
            reference, *others = in_order(_predict, jobs, processors.usable(), len(jobs))
            for (variant, step), probabilities in zip(steps.items(), others, strict=True):
                comparisons[variant][cell] = compare_predictions(
                    golden.labels[::step], reference[::step], probabilities, labels
                )
            task.advance()
    return comparisons


def _step(variant: str, images: int) -> int:
    """Return which images an artifact predicts: each, or each third."""
    is_float = VARIANTS[variant].mode.gate == "float"
    return FLOAT_STEP if is_float and images >= FLOAT_STEP * FLOAT_IMAGES else 1


def _predict(job: tuple[Session | KerasSession, NDArray[np.uint8]]) -> NDArray[np.float32]:
    import numpy as np

    session, images = job
    starts = range(0, len(images), BATCH)
    return np.concatenate([session.run(images[start : start + BATCH]) for start in starts])


def _report(
    artifacts: Sequence[Artifact],
    comparisons: Mapping[str, Mapping[Cell, PredictionComparison]],
    golden: Golden,
    limits: Parity,
) -> StressReport:
    verdicts = tuple(_verdict(artifact, comparisons[artifact.variant], limits) for artifact in artifacts)
    return StressReport(
        passed=all(verdict.verdict == "passed" for verdict in verdicts),
        images=len(golden.labels),
        seed=SEED,
        clean_accuracy=float((golden.probabilities.argmax(1) == golden.labels).mean()),
        verdicts=verdicts,
        rows=tuple(row for artifact in artifacts for row in _rows(artifact, comparisons[artifact.variant])),
    )


def _verdict(
    artifact: Artifact, comparisons: Mapping[Cell, PredictionComparison], limits: Parity
) -> StressVerdict:
    verdict, reasons = stress_gates.check_stress(comparisons, limits)
    worst = min(comparisons, key=lambda cell: comparisons[cell].agreement)
    steepest = min(comparisons, key=lambda cell: comparisons[cell].accuracy_change)
    return StressVerdict(
        variant=artifact.variant,
        sha256=artifact.sha256,
        verdict=verdict,
        reasons=reasons,
        worst=stress_gates.described(worst),
        lowest_agreement=comparisons[worst].agreement,
        steepest=stress_gates.described(steepest),
        largest_drop=0.0 - comparisons[steepest].accuracy_change,
    )


def _rows(artifact: Artifact, comparisons: Mapping[Cell, PredictionComparison]) -> Iterator[StressRow]:
    for (name, level), comparison in comparisons.items():
        yield StressRow(
            variant=artifact.variant,
            corruption=name,
            level=level,
            images=comparison.images,
            accuracy=comparison.accuracy,
            reference_accuracy=comparison.reference_accuracy,
            accuracy_change=comparison.accuracy_change,
            change_low=comparison.accuracy_change_low,
            change_high=comparison.accuracy_change_high,
            agreement=comparison.agreement,
            agreement_low=comparison.agreement_low,
            agreement_high=comparison.agreement_high,
        )
