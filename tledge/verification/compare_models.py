"""Compare two models: can B replace A as it is, without a loss for its users?

- **Accuracy** of every artifact that both have, on the same test images, under the `[parity]` gates that
  an int8 artifact must pass beside Keras: the drop, the classes, the labels that are never predicted.
  Agreement is shown and has no gate, since a model trained again predicts differently. Too few images to
  detect the largest allowed drop leave the verdict undecided, which does not pass. Equal files need none.
- **Labels and contract**: an app built for A feeds images as A takes them and reads outputs in A's order.
  Where either differs, the app must change with the model, so B is incompatible however good it is.
- **Size and latency** are shown and have no gate. A and B predict single images in alternating stretches
  of one process, with one thread and the same kernel family, so that what disturbs one disturbs the other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import files
from tledge.bundle.model_files import DEVICE_SUFFIXES, Subject
from tledge.config import Parity
from tledge.environment import machine
from tledge.environment.machine import Machine
from tledge.errors import ArtifactError, MissingError, RecipeError
from tledge.formats.registry import FORMATS
from tledge.metrics import parity_gates
from tledge.progress import SILENT, Progress
from tledge.runtime import sandbox
from tledge.runtime.latency import Minimum, percentiles
from tledge.runtime.model_file import ModelFile, read_model
from tledge.verification import compare_inputs, parity
from tledge.verification.compare_inputs import ImageSet, ModelSide

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FINE, SAME, WORSE, UNDECIDED = "not worse", "same file", "worse", "undecided"
INCOMPATIBLE, BROKEN, SKIPPED = "incompatible", "broken", "not compared"
"""Verdicts: the first four are about predictions; `INCOMPATIBLE` is about the two models as a whole."""

STRETCH = Minimum(queries=5, seconds=0.05)
ROUNDS = 6
"""Stretches of each model that are measured, after one that is not."""

TIMED_IMAGES = 16
"""Test images that are fed in turn while latency is measured."""

CHANCE = 0.05
"""McNemar's p above which a drop is remarked as possible chance; the gates use the drop itself."""

SERVER = "a server format that no device runtime opens; the float artifacts predict the same."
SYNTHETIC = "The figures are on synthetic images, drawn by tledge."
TIMES = "Latencies hold for this machine alone: one thread, single images, A and B in turn."
FEW = "Too few images for a reliable verdict."
NAME_RUNS = "Name the run folder instead of a bundle to compare on a whole test split."


@dataclass(frozen=True)
class ComparedModel:
    """One of the two models, by its path, name and version."""

    path: str
    name: str
    version: str


@dataclass(frozen=True)
class ComparedRow:
    """One variant of both models: shares in 0..1, sizes in bytes, the median latency in ms.

    Figures are None where it was not compared. `lost` counts the regressions (A is right, B is wrong), `won`
    the fixes; `change` is B's accuracy minus A's with its 95 % interval.
    """

    variant: str
    verdict: str
    bytes_a: int
    bytes_b: int
    accuracy_a: float | None = None
    accuracy_b: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    mcnemar_p: float | None = None
    agreement: float | None = None
    lost: int | None = None
    won: int | None = None
    worst_class: str = ""
    worst_class_change: float | None = None
    p50_ms_a: float | None = None
    p50_ms_b: float | None = None
    kernels: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComparedReport:
    """The comparison of B with A: the verdict, a summary, what differs for an app, and each variant.

    `labels` and `contract` describe what differs, empty where nothing does; `only_a` and `only_b` are
    variants that the other model lacks; `remarks` are what a reader of the rows should know.
    """

    a: ComparedModel
    b: ComparedModel
    verdict: str
    summary: str
    labels: tuple[str, ...]
    contract: tuple[str, ...]
    images: int
    images_of: str
    rows: tuple[ComparedRow, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    remarks: tuple[str, ...]
    limits: Parity
    machine: Machine


@dataclass(frozen=True)
class _ComparisonSetup:
    """Both models, the images they predict, and the limits they are judged by."""

    a: ModelSide
    b: ModelSide
    images: ImageSet
    limits: Parity
    kernels: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that either model has, A's first."""
        return tuple(dict.fromkeys((*self.a.labels, *self.b.labels)))

    @property
    def is_compatible(self) -> bool:
        """True where an app built for A takes B as it is."""
        return self.a.labels == self.b.labels and not contract_differences(self.a, self.b)


def compare(
    a: Path,
    b: Path,
    limits: Parity,
    *,
    variants: Sequence[str] = (),
    kernels: str = "xnnpack",
    progress: Progress = SILENT,
) -> ComparedReport:
    """Compare the run or bundle B with A under `limits`, on the same images.

    An artifact that is damaged or lacks its runtime gets a row with the reason. Raises RecipeError where
    the two have no variant or label in common, and what `compare_inputs.open_side` raises.
    """
    with tempfile.TemporaryDirectory(prefix="tledge-compare-") as scratch:
        side_a = compare_inputs.open_side(a, Path(scratch) / "a")
        side_b = compare_inputs.open_side(b, Path(scratch) / "b")
        pairs = _pair_artifacts(side_a, side_b, variants)
        images = compare_inputs.choose_images(side_a, side_b)
        setup = _ComparisonSetup(side_a, side_b, images, limits, kernels)
        rows = tuple(_row(of_a, of_b, setup, progress) for of_a, of_b in pairs)
    variants_a, variants_b = ({subject.variant for subject in side.artifacts} for side in (side_a, side_b))
    verdict = _verdict(rows, setup.is_compatible)
    return ComparedReport(
        a=ComparedModel(str(a), side_a.name, side_a.version),
        b=ComparedModel(str(b), side_b.name, side_b.version),
        verdict=verdict,
        summary=_summary(verdict, rows, images.origin),
        labels=label_differences(side_a.labels, side_b.labels),
        contract=contract_differences(side_a, side_b),
        images=len(images.labels),
        images_of=images.origin,
        rows=rows,
        only_a=tuple(sorted(variants_a - variants_b)),
        only_b=tuple(sorted(variants_b - variants_a)),
        remarks=_remarks(setup, pairs, rows),
        limits=limits,
        machine=machine.current_machine(),
    )


def _pair_artifacts(a: ModelSide, b: ModelSide, variants: Sequence[str]) -> list[tuple[Subject, Subject]]:
    """Pair the artifacts that both models have, in A's order; only the named variants where any is named."""
    by_variant = {subject.variant: subject for subject in b.artifacts}
    pairs = [(one, by_variant[one.variant]) for one in a.artifacts if one.variant in by_variant]
    common = [of_a.variant for of_a, _of_b in pairs]
    if not pairs:
        has = [", ".join(subject.variant for subject in side.artifacts) or "none" for side in (a, b)]
        raise RecipeError(f"{a.path} and {b.path} have no variant in common: A has {has[0]}, B has {has[1]}.")
    for name in variants:
        if name not in common:
            raise RecipeError(f"--variant {name}: not in both. Both have {', '.join(common)}.")
    return [pair for pair in pairs if not variants or pair[0].variant in variants]


def label_differences(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """Describe what differs between A's and B's labels; empty where nothing does."""
    differences = []
    if removed := [name for name in a if name not in b]:
        differences.append(f"labels: B lacks {', '.join(removed)} and can never predict it.")
    if added := [name for name in b if name not in a]:
        differences.append(f"labels: B adds {', '.join(added)}, which A does not have.")
    moved = [name for name in a if name in b and a.index(name) != b.index(name)]
    if moved:
        first = a.index(moved[0])
        label_b = b[first] if first < len(b) else "nothing"
        differences.append(
            f"labels: {len(moved)} moved: output {first} is {a[first]} in A and {label_b} in B."
        )
    return tuple(differences)


def contract_differences(a: ModelSide, b: ModelSide) -> tuple[str, ...]:
    """Describe what differs between the inputs and outputs of A and B; empty where nothing does."""
    pairs = {
        f"input {field.name}": (getattr(a.input, field.name), getattr(b.input, field.name))
        for field in fields(a.input)
        if field.name not in ("height", "width")
    }
    sizes = [f"{side.input.height} x {side.input.width}" for side in (a, b)]
    pairs = {"input size": (sizes[0], sizes[1]), **pairs, "output": (a.output, b.output)}
    return tuple(
        f"contract: {name} {value_a} in A, {value_b} in B."
        for name, (value_a, value_b) in pairs.items() if value_a != value_b
    )  # fmt: skip


def _row(of_a: Subject, of_b: Subject, setup: _ComparisonSetup, progress: Progress) -> ComparedRow:
    row = ComparedRow(of_a.variant, SKIPPED, of_a.bytes, of_b.bytes)
    if files.ending(of_a.path) not in DEVICE_SUFFIXES:
        return replace(row, reasons=(SERVER,))
    try:
        model_a = _read(f"A's {of_a.path}", of_a)
        predictions_a = _predict(f"A's {of_a.path}", model_a, setup.a, setup.images.a, setup, progress)
        model_b = _read(f"B's {of_b.path}", of_b)
        predictions_b = _predict(f"B's {of_b.path}", model_b, setup.b, setup.images.b, setup, progress)
        row = _with_latency(row, model_a, model_b, setup)
    except MissingError as error:
        return replace(row, reasons=(str(error),))
    except ArtifactError as error:
        return replace(row, verdict=BROKEN, reasons=(str(error),))
    if setup.is_compatible and model_a.sha256 == model_b.sha256:
        return replace(_judged(row, predictions_a, predictions_b, setup), verdict=SAME, reasons=())
    return _judged(row, predictions_a, predictions_b, setup)


def _read(name: str, subject: Subject) -> ModelFile:
    """Read an artifact once; raise ArtifactError where its record already says that it is damaged."""
    if subject.fault:
        raise ArtifactError(f"{name}: {subject.fault}")
    return read_model(subject.file)


def _predict(
    name: str,
    model: ModelFile,
    side: ModelSide,
    images: NDArray[np.uint8],
    setup: _ComparisonSetup,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return probabilities float32[N, labels] for every label of either model, 0 where this one lacks it.

    Raises ArtifactError for a damaged file and for predictions that are not numbers.
    """
    import numpy as np

    session = FORMATS[files.ending(model.name)[1:]].open(model, setup.kernels)
    probabilities = parity.predict_all(session, images, name, progress)
    if probabilities.shape[1:] != (len(side.labels),):
        returned = list(probabilities.shape[1:])
        raise ArtifactError(f"{name}: returns {returned} values for {len(side.labels)} labels.")
    if not np.isfinite(probabilities).all():
        raise ArtifactError(f"{name}: its predictions are not numbers.")
    spread = np.zeros((len(probabilities), len(setup.labels)), np.float32)
    spread[:, [setup.labels.index(label) for label in side.labels]] = probabilities
    return spread


def _with_latency(
    row: ComparedRow, model_a: ModelFile, model_b: ModelFile, setup: _ComparisonSetup
) -> ComparedRow:
    """Add the median latency of each, measured in turn so that noise falls on both alike."""
    opened = [sandbox.open_session(model, setup.kernels) for model in (model_a, model_b)]
    images = [pixels[:TIMED_IMAGES] for pixels in (setup.images.a, setup.images.b)]
    measured: tuple[list[int], list[int]] = [], []
    for number in range(ROUNDS + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            latencies = sandbox.latencies(opened[which], images[which], STRETCH)
            measured[which].extend(latencies if number else ())
    p50_a, p50_b = (percentiles(latencies)[0] for latencies in measured)
    return replace(row, kernels=opened[0].kernels, p50_ms_a=p50_a, p50_ms_b=p50_b)


def _judged(
    row: ComparedRow,
    predictions_a: NDArray[np.float32],
    predictions_b: NDArray[np.float32],
    setup: _ComparisonSetup,
) -> ComparedRow:
    """Add how B's predictions compare with A's, both float32[N, labels], and the verdict."""
    import numpy as np

    labels = np.array([setup.labels.index(label) for label in setup.images.labels])
    result = parity_gates.compare_predictions(labels, predictions_a, predictions_b, setup.labels)
    vanished = tuple(
        label for label in result.vanished_classes if label in setup.b.labels
    )  # B never had the others
    result = replace(result, vanished_classes=vanished)
    verdict, reasons = parity_gates.check_replacement(result, setup.limits, "A")
    if verdict == "failed" and result.mcnemar_p > CHANCE:
        chance = f"a difference of so few images may be chance (McNemar's p {result.mcnemar_p:.2f})"
        reasons = (*reasons, chance)
    return replace(
        row,
        verdict={"passed": FINE, "failed": WORSE, "undecided": UNDECIDED}[verdict],
        accuracy_a=result.reference_accuracy,
        accuracy_b=result.accuracy,
        change=result.accuracy_change,
        change_low=result.accuracy_change_low,
        change_high=result.accuracy_change_high,
        mcnemar_p=result.mcnemar_p,
        agreement=result.agreement,
        lost=result.regressions,
        won=result.fixes,
        worst_class=result.worst_class,
        worst_class_change=result.worst_class_change if result.worst_class else None,
        reasons=reasons,
    )


def _verdict(rows: Sequence[ComparedRow], is_compatible: bool) -> str:
    """Return the gravest verdict; skipped rows count only where nothing could be compared."""
    verdicts = {row.verdict for row in rows} | (set() if is_compatible else {INCOMPATIBLE})
    order = (BROKEN, WORSE, INCOMPATIBLE, UNDECIDED, FINE, SAME, SKIPPED)
    return next(verdict for verdict in order if verdict in verdicts)


def _summary(verdict: str, rows: Sequence[ComparedRow], origin: str) -> str:
    names = ", ".join(row.variant for row in rows if row.verdict == verdict)
    return {
        BROKEN: f"Damaged, or does not run: {names}.",
        WORSE: f"B is worse than A beyond the gates: {names}. Compared on {origin}.",
        INCOMPATIBLE: "B does not fit where A runs: an app built for A must be changed for B.",
        UNDECIDED: f"Whether B is worse than A is undecided: {names}. Compared on {origin}.",
        FINE: f"B is not worse than A. Compared on {origin}.",
        SAME: "B holds the same files as A.",
        SKIPPED: "No artifact could be compared here.",
    }[verdict]


def _remarks(
    setup: _ComparisonSetup, pairs: Sequence[tuple[Subject, Subject]], rows: Sequence[ComparedRow]
) -> tuple[str, ...]:
    images = setup.images
    remarks = [SYNTHETIC] if setup.a.synthetic or setup.b.synthetic else []
    if any(row.verdict != SAME for row in rows):
        has_bundle = not (setup.a.golden and setup.b.golden)
        remarks += [FEW + f" {NAME_RUNS}" * has_bundle] * images.few + list(images.cautions)
    if images.left_out:
        remarks.append(f"Left out: {images.left_out} images with a label that only one of the two has.")
    for pair in pairs:
        remarks += _unverified(pair, setup)
    return (*remarks, TIMES) if any(row.p50_ms_a is not None for row in rows) else tuple(remarks)


def _unverified(pair: tuple[Subject, Subject], setup: _ComparisonSetup) -> list[str]:
    """Name the artifacts of a pair that did not pass verification."""
    sides = ((pair[0], setup.a, "A"), (pair[1], setup.b, "B"))
    return [
        f"{letter}'s {subject.variant} did not pass verification ({subject.verdict or 'not verified'}): "
        f"{side.path}."
        for subject, side, letter in sides if subject.verdict != "passed"
    ]  # fmt: skip
