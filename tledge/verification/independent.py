"""Let independent images decide about an artifact for which the test images are too few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tledge.config import Parity
from tledge.metrics import independent_evidence
from tledge.metrics.independent_evidence import IndependentAgreement
from tledge.metrics.parity_gates import PredictionComparison
from tledge.quantization import selection_images
from tledge.run import golden_set, independent_images
from tledge.run.folder import RunFolder
from tledge.run.golden_set import Golden
from tledge.run.independent_images import VALIDATION, IndependentImages
from tledge.run.records import Artifact, ParityRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Predict = Callable[["NDArray[np.uint8]"], "NDArray[np.float32]"]
"""Predict images uint8[N, H, W, 3] with the artifact: probabilities float32[N, classes]."""

TEST = "test"
"""Where the images of the golden set come from."""

OTHER_COPIES = (
    "altered copies of the test images were left out: this machine makes other pixels of them, as another "
    "version of Pillow does"
)


@dataclass(frozen=True)
class Evidence:
    """The independent images that count for one artifact, and Keras' probabilities for them."""

    images: NDArray[np.uint8]
    sources: tuple[str, ...]
    probabilities: NDArray[np.float32]
    copies: NDArray[np.float32]
    copies_sha256: str


def read(folder: RunFolder, golden_sha256: str) -> IndependentImages | None:
    """Read the independent images of a run; None where it has none, or has them for another golden set.

    Raises:
        RunError: the file is damaged.
    """
    path = folder.path / independent_images.NAME
    if not path.is_file():
        return None
    found = independent_images.load(path)
    return found if found.golden_sha256 == golden_sha256 else None


def evidence_for(artifact: Artifact, found: IndependentImages | None) -> Evidence | None:
    """Return what may verify an artifact: not the validation images that chose how it was quantized."""
    if found is None:
        return None
    chose = "rungs" in artifact.details
    kept = [place for place, source in enumerate(found.sources) if not (chose and source == VALIDATION)]
    return Evidence(
        found.images[kept],
        tuple(found.sources[place] for place in kept),
        found.probabilities[kept],
        found.copies,
        found.copies_sha256,
    )


def decide(
    row: ParityRow,
    comparison: PredictionComparison,
    predict: Predict,
    predictions: NDArray[np.float32],
    golden: Golden,
    evidence: Evidence | None,
    limits: Parity,
) -> tuple[ParityRow, tuple[str, ...]]:
    """Decide about a row whose test images are too few; return it with its figures, and why it failed.

    A row that stays "undecided" is provisional, unless `limits` are strict.
    """
    same, image, sources, remarks = _agreements(predict, predictions, golden, evidence)
    found = independent_evidence.agreement_by_image(same, image)
    row = _with_figures(row, found, sources, remarks)
    decided = independent_evidence.decide(found, comparison, row.gate, limits)
    if decided is None:
        needed = independent_evidence.images_needed(found, comparison, row.gate, limits)
        return replace(row, provisional=not limits.strict, independent_needed=needed or None), ()
    verdict, reasons = decided
    if verdict == "passed":
        row = replace(row, remarks=(*row.remarks, _why_passed(comparison, found, sources)))
    return replace(row, verdict=verdict, images_needed=None), reasons


def decide_perfect(perfect: PredictionComparison, more_images: int, limits: Parity) -> str:
    """Return the verdict of an int8 artifact that agrees on all independent images; "" for no verdict.

    `more_images` counts those beside the test images of `perfect`.
    """
    import numpy as np

    count = perfect.images + more_images
    found = independent_evidence.agreement_by_image(np.ones(count, bool), np.arange(count))
    decided = independent_evidence.decide(found, perfect, "int8", limits)
    return decided[0] if decided else ""


def images_for_repaired(folder: RunFolder) -> int:
    """Count the independent images, beside the golden set, that may verify what a repair chose."""
    found = read(folder, golden_set.fingerprint(folder.read_golden()))
    return sum(source != VALIDATION for source in found.sources) if found else 0


def _agreements(
    predict: Predict, predictions: NDArray[np.float32], golden: Golden, evidence: Evidence | None
) -> tuple[NDArray[np.bool_], NDArray[np.int64], dict[str, int], tuple[str, ...]]:
    """Return whether each prediction agrees, its image, the images by source, and remarks."""
    import numpy as np

    count = len(golden.images)
    same, image = [_same(golden.probabilities, predictions)], [np.arange(count)]
    if evidence is None:
        return same[0], image[0], {TEST: count}, ()
    remarks: tuple[str, ...] = ()
    copies = selection_images.changed_copies(golden.images)
    if independent_images.sha256_of(copies) == evidence.copies_sha256:
        reference = evidence.copies.reshape(len(copies), -1)
        same.append(_same(reference, predict(copies)))
        image.append(np.tile(np.arange(count), len(evidence.copies)))
    else:
        remarks = (OTHER_COPIES,)
    if len(evidence.images):
        same.append(_same(evidence.probabilities, predict(evidence.images)))
        image.append(count + np.arange(len(evidence.images)))
    sources = {TEST: count, **Counter(evidence.sources)}
    return np.concatenate(same), np.concatenate(image), sources, remarks


def _same(reference: NDArray[np.float32], predictions: NDArray[np.float32]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = reference.argmax(1) == predictions.argmax(1)
    return same


def _with_figures(
    row: ParityRow, found: IndependentAgreement, sources: dict[str, int], remarks: tuple[str, ...]
) -> ParityRow:
    return replace(
        row,
        independent_images=found.images,
        independent_agreement=found.agreement,
        independent_low=found.low,
        independent_high=found.high,
        independent_sources=sources,
        remarks=(*row.remarks, *remarks),
    )


def _why_passed(
    comparison: PredictionComparison, found: IndependentAgreement, sources: dict[str, int]
) -> str:
    """Say on which images a verdict rests that the test images alone could not give."""
    by_source = ", ".join(f"{count} {source}" for source, count in sources.items())
    return (
        f"{comparison.images} test images are too few; it passed on {found.images} independent images "
        f"({by_source}): agreement {found.agreement:.1%}, at least {found.confirmed:.1%} with 95% confidence"
    )
