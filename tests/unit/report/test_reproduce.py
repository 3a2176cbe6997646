"""The commands that a report shows to copy: names of others are words in them, and no commands."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers import fake_artifacts
from tledge.bundle import run_summary
from tledge.report.reproduce import commands
from tledge.run.folder import RunFolder


def test_name_is_one_word(tmp_path: Path) -> None:
    summary = run_summary.read(RunFolder(fake_artifacts.run(tmp_path / "run")))
    evil = "x; touch harm #`y`$(z)"
    changed = replace(summary, run=replace(summary.run, name=evil), environment={"backend": evil})
    for command in commands(changed):
        words = shlex.split(command.replace("KERAS_BACKEND=", "KERAS_BACKEND= "))
        assert f"runs/{evil}" in words and "touch" not in words


def test_other_threads_are_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tledge sets itself is not; runs of earlier versions recorded none."""
    summary = run_summary.read(RunFolder(fake_artifacts.run(tmp_path / "run")))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    others = {"TF_NUM_INTRAOP_THREADS": "16"}
    own = {"TF_NUM_INTRAOP_THREADS": "2", "NPROC": "2"}
    for threads, first in ((others, "TF_NUM_INTRAOP_THREADS=16"), (own, "tledge"), ({}, "tledge")):
        trained = commands(replace(summary, environment={"threads": threads}))[0]
        assert shlex.split(trained)[0] == first
