"""Choose the share of validation photos for `tledge init`, and say how many photos the int8 gates still need.

Enough test photos decide alone. Where they are fewer, agreement with Keras decides, which needs no labels:
validation photos count beside test photos, and so do photos without labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil

from tledge.config import Parity
from tledge.metrics import independent_evidence, parity_gates
from tledge.metrics.independent_evidence import IndependentAgreement

TEST = 0.2
"""Share of the photos that is kept to test on, where there is no test folder."""

VALIDATION, MOST_VALIDATION = 0.15, 0.2
"""Share of the photos for validation; it may grow up to the second where that settles the int8 gates."""


def test_photos_needed() -> int:
    """Return the test photos that decide the gates of int8 alone, where Keras predicts nearly all right."""
    return parity_gates.needed_test_images(1.0, "int8", Parity())


def photos_needed() -> int:
    """Return the photos of any split, with labels or without, that confirm int8 if all predictions agree."""
    return _photos_to_confirm(parity_gates.required_agreement("int8", Parity()))


@cache
def _photos_to_confirm(required: float) -> int:
    return independent_evidence.images_to_confirm(IndependentAgreement(1, 1.0, 0.0, 1.0, 0.0), required)


def validation_share(total: int, test: int) -> float:
    """Return the share of `total` photos for validation, beside `test` photos to test on.

    It is the smallest share, up to a fifth, with which test and validation photos together can settle the
    gates of int8. Where none does, more validation photos would only be missed in training.
    """
    if test >= test_photos_needed():
        return VALIDATION
    share = ceil(100 * (photos_needed() - test) / total) / 100
    return share if VALIDATION < share <= MOST_VALIDATION else VALIDATION


@dataclass(frozen=True)
class Evidence:
    """How many photos compare int8 with Keras; `has_test_folder` where a folder of its own is the test."""

    test: int
    validation: int
    labels: int
    has_test_folder: bool

    @property
    def images(self) -> int:
        """The photos that compare int8 with Keras."""
        return self.test + self.validation

    @property
    def without_labels(self) -> int:
        """Photos without labels that would settle the gates in addition; 0 where nothing is missing."""
        is_settled = self.test >= test_photos_needed()
        return 0 if is_settled else max(0, photos_needed() - self.images)

    @property
    def with_labels(self) -> int:
        """Photos of each label that would settle the gates instead, if more of all are taken."""
        if not self.without_labels:
            return 0
        missing = test_photos_needed() - self.test
        return ceil(missing / (1 if self.has_test_folder else TEST) / self.labels - 1e-9)

    def sentences(self) -> list[str]:
        """Return what to say of a set that is too small for a verdict on int8; nothing of others."""
        if not self.without_labels:
            return []
        where = " in the test folder" if self.has_test_folder else ""
        return [
            f"Few photos: about {self.test} test and {self.validation} validation photos "
            f"({self.images // self.labels} of each label) will compare int8 with Keras.",
            f"A verdict on int8 takes {test_photos_needed()} test photos, or {photos_needed()} photos of any "
            "kind whose predictions all agree.",
            f"To settle it: {self.without_labels} more photos without labels (tledge export --photos DIR), "
            f"or {self.with_labels} more of each label{where}. Until then int8 is bundled as provisional.",
        ]

    def as_json(self) -> dict[str, int]:
        """Return the figures for `--json`."""
        return {
            "images": self.images,
            "test_photos_needed": test_photos_needed(),
            "photos_needed": photos_needed(),
            "missing_without_labels": self.without_labels,
            "missing_of_each_label": self.with_labels,
        }


def evidence(sizes: Mapping[str, int], labels: int, fractions: Mapping[str, float | None]) -> Evidence:
    """Return the evidence of splits of these sizes, which take these fractions of a folder, or all of it."""
    return Evidence(sizes["test"], sizes["validation"], labels, fractions.get("test") is None)
