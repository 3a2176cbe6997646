"""Plots: the same bytes every time, also of what has gaps."""

from pathlib import Path

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
