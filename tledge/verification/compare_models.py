"""The comparing stage: may model B take the place of model A, as it is, without its users losing by it?

- **Accuracy** of every artifact that both have, on the same test images, under the `[parity]` gates that
  an int8 artifact meets beside Keras: the drop, the classes, the labels that are never answered.
  Agreement is told and has no gate, since a model trained anew answers otherwise. Too few images to
  show the largest allowed drop leave it undecided, which is no yes. The same file needs no images.
- **Labels and contract**: an app built for A feeds images as A takes them and reads outputs in A's order.
  Where either differs, the app must change with the model, so B is incompatible however good it is.
- **Size and latency** are told and have no gate. A and B answer single images in alternating stretches
  of one process, with one thread and the same kernels, so that what disturbs one disturbs the other.
"""

from __future__ import annotations

import tempfile
import time
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
from tledge.runtime import sandbox, sessions
from tledge.runtime.latency import Minimum, percentiles, stream
from tledge.verification import compare_inputs, parity
from tledge.verification.compare_inputs import ImageSet, ModelSide

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FINE, SAME, WORSE, UNDECIDED = "not worse", "same file", "worse", "undecided"
INCOMPATIBLE, BROKEN, SKIPPED = "incompatible", "broken", "not compared"
"""Verdicts: the first four are about answers; `INCOMPATIBLE` is about the two models as a whole."""

STRETCH = Minimum(queries=5, seconds=0.05)
ROUNDS = 6
"""Stretches of each model that count, after one that does not."""

TIMED_IMAGES = 16
"""Test images that are fed in turn while times are taken."""

CHANCE = 0.05
"""McNemar's p above which it is said that a drop may be chance; the gates go by the drop itself."""

SERVER = "a server format that no device runtime opens; the float artifacts answer as it does."
SYNTHETIC = "Figures on synthetic photos, drawn by tledge."
TIMES = "Latencies hold for this machine alone: one thread, single images, A and B in turn."
FEW = "So few images decide little."
NAME_RUNS = "Name the run folder in the place of a bundle, to compare on a whole test split."


@dataclass(frozen=True)
class ComparedModel:
    """One of the two models, by its path, name and version."""

    path: str
    name: str
    version: str


@dataclass(frozen=True)
class ComparedRow:
    """One variant of both: shares in 0..1, sizes in bytes, the median latency in ms.

    Figures are None where it was not compared. `lost` counts images that A has right and B wrong, `won` those
    the other way round; `change` is B's accuracy minus A's with its 95 % interval.
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
    """B beside A: the verdict in a word and a sentence, what differs for an app, and each variant.

    `labels` and `contract` say in words what differs, empty where nothing does; `only_a` and `only_b`
    are variants that the other lacks; `remarks` are what a reader of the rows should know.
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
class _Match:
    """Both models, what they are shown, and how they are judged."""

    a: ModelSide
    b: ModelSide
    images: ImageSet
    limits: Parity
    kernels: str

    @property
    def names(self) -> tuple[str, ...]:
        """Every label that either model has, A's first."""
        return tuple(dict.fromkeys((*self.a.labels, *self.b.labels)))

    @property
    def fits(self) -> bool:
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
    """Hold the run or bundle B to A under `limits`, on the same images.

    An artifact that is damaged or lacks its runtime gets a row that says so. Raises RecipeError where
    the two have no variant or label in common, and what `sides.open_side` raises.
    """
    with tempfile.TemporaryDirectory(prefix="tledge-compare-") as scratch:
        one = compare_inputs.open_side(a, Path(scratch) / "a")
        two = compare_inputs.open_side(b, Path(scratch) / "b")
        pairs = _pairs(one, two, variants)
        match = _Match(one, two, compare_inputs.choose_images(one, two), limits, kernels)
        rows = tuple(_row(mine, other, match, progress) for mine, other in pairs)
    names = [{subject.variant for subject in side.artifacts} for side in (one, two)]
    verdict = _verdict(rows, match.fits)
    return ComparedReport(
        a=ComparedModel(str(a), one.name, one.version),
        b=ComparedModel(str(b), two.name, two.version),
        verdict=verdict,
        summary=_summary(verdict, rows, match.images.origin),
        labels=label_differences(one.labels, two.labels),
        contract=contract_differences(one, two),
        images=len(match.images.labels),
        images_of=match.images.origin,
        rows=rows,
        only_a=tuple(sorted(names[0] - names[1])),
        only_b=tuple(sorted(names[1] - names[0])),
        remarks=_remarks(match, pairs, rows),
        limits=limits,
        machine=machine.current_machine(),
    )


def _pairs(a: ModelSide, b: ModelSide, variants: Sequence[str]) -> list[tuple[Subject, Subject]]:
    """The artifacts that both have, in A's order; those of the named variants where any is named."""
    others = {one.variant: one for one in b.artifacts}
    pairs = [(one, others[one.variant]) for one in a.artifacts if one.variant in others]
    there = [one.variant for one, _other in pairs]
    if not pairs:
        has = [", ".join(one.variant for one in side.artifacts) or "none" for side in (a, b)]
        raise RecipeError(f"{a.path} and {b.path} have no variant in common: A has {has[0]}, B has {has[1]}.")
    for name in variants:
        if name not in there:
            raise RecipeError(f"--variant {name}: not in both. Both have {', '.join(there)}.")
    return [pair for pair in pairs if not variants or pair[0].variant in variants]


def label_differences(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """What differs between A's and B's labels, in words; empty where nothing does."""
    found = []
    if removed := [name for name in a if name not in b]:
        found.append(f"labels: B lacks {', '.join(removed)} and can never answer it.")
    if added := [name for name in b if name not in a]:
        found.append(f"labels: B adds {', '.join(added)}, which A does not know.")
    moved = [name for name in a if name in b and a.index(name) != b.index(name)]
    if moved:
        first = a.index(moved[0])
        there = b[first] if first < len(b) else "nothing"
        found.append(f"labels: {len(moved)} moved: output {first} is {a[first]} in A and {there} in B.")
    return tuple(found)


def contract_differences(a: ModelSide, b: ModelSide) -> tuple[str, ...]:
    """What differs between what A and B take and give, in words; empty where nothing does."""
    pairs = {
        f"input {field.name}": (getattr(a.input, field.name), getattr(b.input, field.name))
        for field in fields(a.input)
        if field.name not in ("height", "width")
    }
    sizes = [f"{side.input.height} x {side.input.width}" for side in (a, b)]
    pairs = {"input size": (sizes[0], sizes[1]), **pairs, "output": (a.output, b.output)}
    return tuple(
        f"contract: {name} {one} in A, {two} in B." for name, (one, two) in pairs.items() if one != two
    )


def _row(mine: Subject, other: Subject, match: _Match, progress: Progress) -> ComparedRow:
    row = ComparedRow(mine.variant, SKIPPED, mine.bytes, other.bytes)
    if Path(mine.path).suffix not in DEVICE_SUFFIXES:
        return replace(row, reasons=(SERVER,))
    try:
        before = _answers("A", mine, match.a, match.images.a, match, progress)
        after = _answers("B", other, match.b, match.images.b, match, progress)
        row = _timed(row, mine, other, match)
    except MissingError as error:
        return replace(row, reasons=(str(error),))
    except ArtifactError as error:
        return replace(row, verdict=BROKEN, reasons=(str(error),))
    row = _judged(row, before, after, match)
    same = match.fits and files.sha256(mine.file) == files.sha256(other.file)
    return replace(row, verdict=SAME, reasons=()) if same else row


def _answers(
    letter: str,
    subject: Subject,
    side: ModelSide,
    images: NDArray[np.uint8],
    match: _Match,
    progress: Progress,
) -> NDArray[np.float32]:
    """Probabilities float32[N, names] for every name that either model has, 0 where this one lacks it.

    Raises ArtifactError for a damaged file and for one that does not answer in numbers.
    """
    import numpy as np

    what = f"{letter}'s {subject.path}"
    if subject.fault:
        raise ArtifactError(f"{what}: {subject.fault}")
    if side.golden is None:  # a bundle's: who knows who made it
        sandbox.require(subject.file.read_bytes(), subject.file.name, match.kernels)
    opened = FORMATS[subject.file.suffix[1:]].open(subject.file, match.kernels)
    found = parity.answers(opened, images, what, progress)
    if found.shape[1:] != (len(side.labels),):
        raise ArtifactError(f"{what}: gives {list(found.shape[1:])} values for {len(side.labels)} labels.")
    if not np.isfinite(found).all():
        raise ArtifactError(f"{what}: its answers are not numbers.")
    spread = np.zeros((len(found), len(match.names)), np.float32)
    spread[:, [match.names.index(name) for name in side.labels]] = found
    return spread


def _timed(row: ComparedRow, mine: Subject, other: Subject, match: _Match) -> ComparedRow:
    """With the median latency of each, taken in turn so that noise falls on both alike."""
    opened = [sessions.open_session(subject.file, match.kernels) for subject in (mine, other)]
    few = [pixels[:TIMED_IMAGES] for pixels in (match.images.a, match.images.b)]
    taken: tuple[list[int], list[int]] = [], []
    for number in range(ROUNDS + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            latencies = stream(opened[which], few[which], STRETCH, time.perf_counter_ns)
            taken[which].extend(latencies if number else ())
    p50_a, p50_b = (percentiles(latencies)[0] for latencies in taken)
    return replace(row, kernels=opened[0].kernels, p50_ms_a=p50_a, p50_ms_b=p50_b)


def _judged(
    row: ComparedRow, before: NDArray[np.float32], after: NDArray[np.float32], match: _Match
) -> ComparedRow:
    """With B's answers held to A's, both float32[N, names]."""
    import numpy as np

    labels = np.array([match.names.index(name) for name in match.images.labels])
    found = parity_gates.compare_predictions(labels, before, after, match.names)
    vanished = tuple(
        name for name in found.vanished_classes if name in match.b.labels
    )  # the others were never there
    found = replace(found, vanished_classes=vanished)
    verdict, reasons = parity_gates.check_replacement(found, match.limits, "A")
    if verdict == "failed" and found.mcnemar_p > CHANCE:
        reasons = (
            *reasons,
            f"a difference of so few images may be chance (McNemar's p {found.mcnemar_p:.2f})",
        )
    return replace(
        row,
        verdict={"passed": FINE, "failed": WORSE, "undecided": UNDECIDED}[verdict],
        accuracy_a=found.reference_accuracy,
        accuracy_b=found.accuracy,
        change=found.accuracy_change,
        change_low=found.accuracy_change_low,
        change_high=found.accuracy_change_high,
        mcnemar_p=found.mcnemar_p,
        agreement=found.agreement,
        lost=found.regressions,
        won=found.fixes,
        worst_class=found.worst_class,
        worst_class_change=found.worst_class_change if found.worst_class else None,
        reasons=reasons,
    )


def _verdict(rows: Sequence[ComparedRow], fits: bool) -> str:
    """The gravest verdict; what could not be compared counts only where nothing could."""
    found = {row.verdict for row in rows} | (set() if fits else {INCOMPATIBLE})
    order = (BROKEN, WORSE, INCOMPATIBLE, UNDECIDED, FINE, SAME, SKIPPED)
    return next(verdict for verdict in order if verdict in found)


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
    match: _Match, pairs: Sequence[tuple[Subject, Subject]], rows: Sequence[ComparedRow]
) -> tuple[str, ...]:
    images, sided = match.images, ((match.a, "A"), (match.b, "B"))
    found = [SYNTHETIC] if match.a.synthetic or match.b.synthetic else []
    if any(row.verdict != SAME for row in rows):
        bundled = not (match.a.golden and match.b.golden)
        found += [FEW + f" {NAME_RUNS}" * bundled] * images.few + list(images.cautions)
    if images.left_out:
        found.append(f"Left out: {images.left_out} images with a label that only one of the two knows.")
    for pair in pairs:
        for subject, (side, letter) in zip(pair, sided, strict=True):
            if subject.verdict != "passed":
                said = subject.verdict or "not verified"
                found.append(f"{letter}'s {subject.variant} did not pass verification ({said}): {side.path}.")
    return (*found, TIMES) if any(row.p50_ms_a is not None for row in rows) else tuple(found)
