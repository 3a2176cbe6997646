"""The Android project."""

from tests.helpers.paths import ROOT

PROJECT = ROOT / "export" / "android"
