"""Plots: the same bytes every time, also of what has gaps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tledge import report
from tledge.visualization import plot_style, plots


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


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn, in place of files."""
    pytest.importorskip("matplotlib")
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "_save", lambda figure, _path: drawn.append(figure))
    return drawn


def test_curves_say_how_many_images_and_percentages(figures: list[Any], tmp_path: Path) -> None:
    history = [
        {"stage": "head", "loss": 1.0, "accuracy": 0.5, "val_loss": 0.9, "val_accuracy": 0.75},
        {"stage": "head", "loss": 0.5, "accuracy": 0.9, "val_loss": 0.8, "val_accuracy": 0.8},
    ]
    plots.curves(history, tmp_path / "curves.png", "title", {"train": 1170, "validation": 27})
    (figure,) = figures
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "train, 1,170 images",
        "validation, 27 images",
    ]
    assert figure.axes[1].yaxis.get_major_formatter()(0.5, 0) == "50%"


def test_tradeoff_says_how_many_images(figures: list[Any], tmp_path: Path) -> None:
    points = [plots.Point("tflite-int8", "xnnpack", 1, 1.5, 29 / 36)]
    plots.tradeoff(points, tmp_path / "bench.png", "title", "machine", 36)
    plots.tradeoff(points, tmp_path / "bench.png", "title", "machine")
    labels = [figure.axes[0].get_ylabel() for figure in figures]
    assert labels == ["accuracy on 36 test images", "accuracy at verification"]


def test_plots_look_like_the_report(figures: list[Any], tmp_path: Path) -> None:
    """In the colours of its page, and without a change to the plots of who calls."""
    from matplotlib import rcParams

    before = dict(rcParams)
    plots.confusion(np.eye(2, dtype=np.int64), ("a", "b"), tmp_path / "confusion.png", "title")
    assert dict(rcParams) == before
    page = resources_css()
    for name in ("paper", "ink", "soft", "line", "first", "second"):
        colour = {"first": "BLUE", "second": "ORANGE"}.get(name, name.upper())
        assert f"--{name}: {getattr(plot_style, colour)};" in page
    assert figures[0].axes[0].xaxis.label.get_color() == plot_style.SOFT


def resources_css() -> str:
    return (Path(report.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")


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
