"""Recognize folders that are named like a split."""

from __future__ import annotations

import re

ROLES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "holdout"),
}
"""Names of split folders; upper and lower case mean the same, and test1, test_set and test-images too."""


def role_of(name: str) -> str:
    """Return "train", "validation" or "test" for a split folder's name, "" for any other."""
    plain = re.sub(r"[\W_]*(?:set|images?|imgs?|photos|data)?[\W_]*\d*\Z", "", name.lower())
    return next((role for role, known in ROLES.items() if plain in known), "")
