"""Answers that are right, wrong and sure as often as a test asks."""

from __future__ import annotations

NAMES = ("cat", "dog", "emu", "fox")
