"""Plots: the same bytes every time, also of what has gaps."""

from pathlib import Path

import numpy as np
import pytest

from tledge.visualization import plots


def test_plot_repeats_and_takes_gaps(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    panels = {
        "points": {"outputs": [0.0, 3.0, 0.5], "weights": [None, 1.0, None]},
        "dB": {"outputs": [9.0, None, 1.0]},
    }
    for name in ("one.png", "two.png"):
        plots.layers(["a", "b", "c"], panels, tmp_path / name, "title")
    made = [(tmp_path / name).read_bytes() for name in ("one.png", "two.png")]
    assert made[0] == made[1] and made[0].startswith(b"\x89PNG")


def test_long_labels_leave_room(tmp_path: Path) -> None:
    """Warnings are errors here: matplotlib gave one for a label as long as a folder's name may be."""
    pytest.importorskip("matplotlib")
    plots.confusion(np.eye(2, dtype=np.int64), ("a" * 255, "手" * 85), tmp_path / "confusion.png", "title")
    assert (tmp_path / "confusion.png").stat().st_size
