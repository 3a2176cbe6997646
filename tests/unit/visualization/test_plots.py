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


def test_confusion_of_many_classes_lists_pairs() -> None:
    counts = np.diag(np.full(2000, 8))
    counts[7, 3], counts[1999, 0], counts[5, 6] = 5, 9, 1
    assert plots.confused_pairs(counts, 2) == [(1999, 0, 9), (7, 3, 5)]
    assert plots.confused_pairs(np.eye(3, dtype=np.int64), 2) == []
    shares = plots.largest_shares(counts)
    assert shares.shape == (500, 500) and shares.dtype == np.float32
    assert shares[1, 0] == np.float32(5 / 13) and shares[499, 0] == np.float32(9 / 17)
    assert np.array_equal(plots.largest_shares(counts[:9, :9])[5:7, 6], np.array([1 / 9, 1], np.float32))


def test_confusion_of_many_classes_is_small(tmp_path: Path) -> None:
    """Above 40 classes the picture's size no longer grows, and no label is drawn at the axes."""
    pytest.importorskip("matplotlib")
    sizes = []
    for classes in (41, 400):
        path = tmp_path / f"{classes}.png"
        names = tuple(f"{number:04d}-{'long' * 9}-{number}" for number in range(classes))
        plots.confusion(np.eye(classes, k=1, dtype=np.int64), names, path, "title")
        sizes.append(path.read_bytes()[16:24])
    assert sizes[0] == sizes[1]
    width, height = (int.from_bytes(sizes[0][part]) for part in (slice(0, 4), slice(4, 8)))
    assert width * height * 4 < 20 << 20
    assert plots._without_middle("a" * 20 + "b" * 20) == "a" * 12 + "…" + "b" * 11
