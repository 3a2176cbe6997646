"""Choose the shares of a small set for `tledge init`, and say how many photos the int8 gates still need.

Agreement with Keras needs no labels, so validation photos count beside test photos; and the accuracy
changes by no more than the share of predictions that change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from tledge.config import Parity
from tledge.metrics.parity_gates import images_to_resolve, required_agreement

SMALL = 300
"""Photos below which the share of validation may grow."""

TEST = 0.2
"""Share of the photos that is kept to test on, where there is no test folder."""

VALIDATION, MOST_VALIDATION = 0.15, 0.2
"""Share of the photos for validation; that of a small set may grow up to the second."""


def images_for_agreement() -> int:
    """Return the images that it takes to confirm the agreement that the int8 gates require."""
    return images_to_resolve(1 - required_agreement("int8", Parity()))


def images_for_accuracy() -> int:
    """Return the images that it takes to detect the largest drop of accuracy that the int8 gates allow."""
    return images_to_resolve(Parity().max_drop)


def validation_share(total: int, test: int) -> float:
    """Return the share of `total` photos for validation, beside `test` photos to test on.

    Of a small set it is the smallest share, up to a fifth, with which one gate more is settled; where none
    settles one, more validation photos would only be missed in training.
    """
    for needed in (images_for_accuracy(), images_for_agreement()) if total < SMALL else ():
        share = ceil(100 * (needed - test) / total) / 100
        if VALIDATION < share <= MOST_VALIDATION:
            return share
        if share <= VALIDATION:
            break
    return VALIDATION


@dataclass(frozen=True)
class Evidence:
    """How many photos compare int8 with Keras, and how many the gates need.

    `labels` is the number of labels, and `per_photo` how many photos more it takes for one more of these:
    1 where they lie in folders of their own, else the inverse of their share.
    """

    test: int
    validation: int
    labels: int
    per_photo: float

    @property
    def images(self) -> int:
        """The photos that compare int8 with Keras."""
        return self.test + self.validation

    @property
    def missing(self) -> int:
        """Photos to take in addition, so that the gates are settled; 0 where they are."""
        each = max(0, images_for_accuracy() - self.images) * self.per_photo / self.labels
        return ceil(each - 1e-9) * self.labels

    def sentences(self) -> list[str]:
        """Return what to say of a set that is too small for a verdict on int8; nothing of others."""
        if not self.missing:
            return []
        agreement, accuracy = images_for_agreement(), images_for_accuracy()
        drop = f"{100 * Parity().max_drop:g}-point"
        confirmed = f"{required_agreement('int8', Parity()):.0%} agreement"
        first = (
            f"Few photos: about {self.images} ({self.test} test, {self.validation} validation, "
            f"{self.images // self.labels} of each label) will compare int8 with Keras."
        )
        is_enough = self.images >= agreement
        second = (
            f"Confirming {confirmed} takes {agreement}{', so there are enough' if is_enough else ''}; "
            f"detecting a {drop} accuracy drop takes {accuracy}."
        )
        where = "more photos" if self.per_photo > 1 else "more photos in the test folder"
        third = (
            f"About {self.missing} {where} ({self.missing // self.labels} of each label) would settle both. "
            "Until then, export bundles int8 as provisional, with its figures."
        )
        return [first, second, third]

    def as_json(self) -> dict[str, int]:
        """Return the figures for `--json`."""
        return {
            "images": self.images,
            "for_agreement": images_for_agreement(),
            "for_accuracy": images_for_accuracy(),
            "missing": self.missing,
        }


def evidence(sizes: Mapping[str, int], labels: int, fractions: Mapping[str, float | None]) -> Evidence:
    """Return the evidence of splits of these sizes, which take these fractions of a folder, or all of it."""
    has_folder = fractions.get("test") is None
    shares = sum(fraction or 0.0 for fraction in fractions.values())
    return Evidence(sizes["test"], sizes["validation"], labels, 1.0 if has_folder else 1 / shares)
