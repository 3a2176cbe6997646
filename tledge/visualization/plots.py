"""Draw the plots of a run with matplotlib, to reproducible PNG files."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge.visualization.plot_style import BLUE, ORANGE, SERIES, SOFT, in_report_style, pyplot, set_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Series = Mapping[str, Sequence[float | None]]
    """Values of every layer, None where there is none, by their name in the legend."""

GREY = SOFT
MARKS = "osD^vP"
LONGEST_LABEL = 24
"""Characters of a label beside an axis; a folder's name, which a label may be, has up to 255."""

MOST_CLASSES = 40
"""Classes up to which a confusion matrix has labels."""

MOST_PAIRS = 20
"""Confusions that are listed where the matrix has no labels."""

MOST_CELLS = 500
"""Cells along a side of a confusion matrix, at most; each is the largest of several where there are more."""

MAX_LAYER_NAMES = 120
"""Layer names below an axis; with more layers, only every second or third is named."""


def check() -> None:
    """Raise MissingError if matplotlib is not installed."""
    pyplot()


def _save(figure: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # it draws a box
        figure.savefig(path, dpi=120, format="png", metadata={"Software": None})
    pyplot().close(figure)


@in_report_style
def curves(
    history: list[dict[str, Any]], path: Path, title: str, images: Mapping[str, int] | None = None
) -> None:
    """Plot loss and accuracy over all epochs, train and validation, with marks for the stages.

    `images` is the number of images of each of the two splits, for the legend.
    """
    figure, axes = pyplot().subplots(1, 2, figsize=(10, 4), layout="constrained")
    set_title(figure, title)
    epochs = range(1, len(history) + 1)
    for axis, figure_name in zip(axes, ("loss", "accuracy"), strict=True):
        for prefix, label, color, line in (("", "train", BLUE, "o-"), ("val_", "validation", ORANGE, "o--")):
            name = f"{label}, {images[label]:,} images" if images else label
            values = [row[prefix + figure_name] for row in history]
            axis.plot(epochs, values, line, label=name, color=color, markersize=3)
        _mark_stages(axis, history)
        axis.set(xlabel="epoch", ylabel=figure_name)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[1].yaxis.set_major_formatter(lambda value, _place: f"{100 * value:.0f}%")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
    _save(figure, path)


def _mark_stages(axis: Any, history: list[dict[str, Any]]) -> None:
    names = [row["stage"] for row in history]
    for number, name in enumerate(names):
        if number == 0 or name != names[number - 1]:
            axis.axvline(number + 0.5, color=GREY, linewidth=0.8, linestyle=":")
            axis.text(number + 0.6, 1.01, name, transform=axis.get_xaxis_transform(), color=GREY)


@in_report_style
def confusion(counts: NDArray[np.int64], names: tuple[str, ...], path: Path, title: str) -> None:
    """Plot a confusion matrix int64[classes, classes]: rows are labels, columns predictions.

    Of more than `MOST_CLASSES` classes the labels would not be legible: a heat map without them stands beside
    the most frequent confusions.
    """
    import numpy as np

    if len(names) > MOST_CLASSES:
        _confusion_of_many(counts, names, path, title)
        return
    labels = [_shortened(name) for name in names]
    room = 0.1 * max(0, max(map(len, labels), default=0) - 12)  # inches for labels longer than most
    side = max(3.5, 0.45 * len(names) + 2) + room
    figure, axis = pyplot().subplots(figsize=(side, side), layout="constrained")
    axis.imshow(counts / np.maximum(1, counts.sum(1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    axis.set(xlabel="prediction", ylabel="label")
    axis.grid(visible=False)
    set_title(figure, title)
    if len(names) <= 25:
        for (row, column), count in np.ndenumerate(counts):
            light = count > 0.5 * max(1, counts[row].sum())
            axis.text(column, row, count, ha="center", va="center", color="w" if light else "k")
    _save(figure, path)


def _confusion_of_many(counts: NDArray[np.int64], names: tuple[str, ...], path: Path, title: str) -> None:
    """Plot a heat map without labels, and the most frequent confusions as bars."""
    figure, (heat, bars) = pyplot().subplots(
        1, 2, figsize=(14, 6), layout="constrained", width_ratios=(1.25, 0.75)
    )
    set_title(figure, title)
    end = len(names) + 0.5
    drawn = heat.imshow(
        largest_shares(counts) ** 0.5, cmap="Blues", vmin=0, vmax=1, extent=(0.5, end, end, 0.5)
    )  # the root makes rare confusions visible
    scale = figure.colorbar(drawn, ax=heat, fraction=0.046, pad=0.03, ticks=[0, 0.1**0.5, 0.5, 1])
    scale.ax.set_yticklabels(["0%", "10%", "25%", "100%"])
    heat.grid(visible=False)
    bars.grid(visible=False)
    heat.set(
        xlabel="prediction", ylabel="label", title=f"shares of each label; {len(names):,} classes by number"
    )
    bars.set(title="the most frequent confusions", xlabel="images")
    pairs = confused_pairs(counts, MOST_PAIRS)
    if pairs:
        texts = [f"{_without_middle(names[a])} as {_without_middle(names[b])}" for a, b, _count in pairs]
        drawn_bars = bars.barh(range(len(pairs)), [count for _a, _b, count in pairs], color=BLUE)
        bars.bar_label(drawn_bars, padding=3)
        bars.set_yticks(range(len(pairs)), texts)
        bars.invert_yaxis()
        bars.margins(x=0.1)
        bars.xaxis.get_major_locator().set_params(integer=True)
    else:
        bars.text(0.5, 0.5, "none", ha="center", transform=bars.transAxes)
        bars.set(xticks=[], yticks=[])
    bars.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def confused_pairs(counts: NDArray[np.int64], most: int) -> list[tuple[int, int, int]]:
    """Return label, prediction and images of the most frequent confusions, the most frequent first."""
    import numpy as np

    labels, predictions = np.nonzero(counts)
    wrong = labels != predictions
    labels, predictions = labels[wrong], predictions[wrong]
    order = np.argsort(-counts[labels, predictions], kind="stable")[:most]
    labels, predictions = labels[order], predictions[order]
    columns = labels.tolist(), predictions.tolist(), counts[labels, predictions].tolist()
    return list(zip(*columns, strict=True))


def largest_shares(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the shares of each row, float32[M, M]; a cell is the largest of several above `MOST_CELLS`."""
    import numpy as np

    shares = np.empty(counts.shape, np.float32)
    np.divide(counts, np.maximum(1, counts.sum(1, keepdims=True)), out=shares, casting="same_kind")
    starts = np.arange(min(MOST_CELLS, len(counts))) * len(counts) // min(MOST_CELLS, len(counts))
    largest: NDArray[np.float32] = np.maximum.reduceat(np.maximum.reduceat(shares, starts, 0), starts, 1)
    return largest


def _without_middle(label: str) -> str:
    """Shorten a label but keep both ends: long labels often differ in the last letters."""
    half = (LONGEST_LABEL - 1) // 2
    return label if len(label) <= LONGEST_LABEL else f"{label[: half + 1]}…{label[-half:]}"


def _shortened(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


@dataclass(frozen=True)
class Point:
    """A configuration in the plot of accuracy (0..1) against latency (ms)."""

    variant: str
    kernels: str
    threads: int
    latency_ms: float
    accuracy: float


@in_report_style
def tradeoff(
    points: Sequence[Point], path: Path, title: str, subtitle: str, images: int | None = None
) -> None:
    """Plot accuracy against latency: a colour for each variant, a mark for its kernels, thread counts.

    `images` is the number of images of the accuracy, where it is known.
    """
    figure, axis = pyplot().subplots(figsize=(8, 5), layout="constrained")
    set_title(figure, title)
    axis.set_title(subtitle, fontsize=8)
    variants = list(dict.fromkeys(point.variant for point in points))
    kernels = list(dict.fromkeys(point.kernels for point in points))
    for variant, name in dict.fromkeys((point.variant, point.kernels) for point in points):
        series = [point for point in points if (point.variant, point.kernels) == (variant, name)]
        xs, ys = [point.latency_ms for point in series], [100 * point.accuracy for point in series]
        number, mark = variants.index(variant), MARKS[kernels.index(name) % len(MARKS)]
        color = SERIES[number % len(SERIES)]
        axis.plot(xs, ys, mark, color=color, markersize=8, alpha=0.8, label=f"{variant}, {name}")
        place = {
            "xytext": (0, -18 if number % 2 else 8),  # equal accuracies lie on one line
            "textcoords": "offset points", "ha": "center", "color": color,
        }  # fmt: skip
        for point, x, y in zip(series, xs, ys, strict=True):
            axis.annotate(str(point.threads), (x, y), **place)
    _latency_axis(axis, [point.latency_ms for point in points])
    _accuracy_axis(axis, [100 * point.accuracy for point in points])
    axis.set_ylabel(f"accuracy on {images:,} test images" if images else "accuracy at verification")
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    _save(figure, path)


def _latency_axis(axis: Any, latencies: list[float]) -> None:
    """Scale from 0, or logarithmically where the slowest takes over ten times as long as the fastest."""
    if max(latencies) > 10 * min(latencies):
        axis.set_xscale("log")
        axis.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
    else:
        axis.set_xlim(0, 1.1 * max(latencies))
    axis.set(xlabel="p50 latency of one image in ms (numbers: threads)")
    axis.grid(axis="x")


def _accuracy_axis(axis: Any, accuracies: list[float]) -> None:
    """Scale to at least two percentage points, so that one photo makes no large difference."""
    low, high = min(accuracies), max(accuracies)
    room = max(0.3, 1 - (high - low) / 2, 0.15 * (high - low))
    axis.set_ylim(max(-room, low - room), min(100 + room, high + room))
    axis.yaxis.set_major_formatter("{x:.1f}%")
    axis.yaxis.get_major_locator().set_params(steps=[1, 2, 5, 10])


@in_report_style
def layers(names: Sequence[str], panels: Mapping[str, Series], path: Path, title: str) -> None:
    """Plot panels below one another, each with the values of all layers in the network's order."""
    width = max(8, 2 + 0.17 * len(names))
    figure, axes = pyplot().subplots(
        len(panels), 1, figsize=(width, 3 * len(panels)), sharex=True, layout="constrained"
    )
    set_title(figure, title)
    for axis, (unit, series) in zip(axes, panels.items(), strict=True):
        for number, (label, values) in enumerate(series.items()):
            points = [(place, value) for place, value in enumerate(values) if value is not None]
            look = {"color": (BLUE, ORANGE, GREY)[number], "marker": MARKS[number]}
            axis.plot(*zip(*points, strict=True), label=label, markersize=4, linewidth=0.6, alpha=0.8, **look)
        axis.set(ylabel=unit)
        if not any(map(any, series.values())):  # nothing but zeros: no scale of its own
            axis.set_ylim(-0.05, 1)
        axis.set_xlim(-1, len(names))
        axis.legend(ncols=len(series), fontsize=8)
    step = 1 + len(names) // MAX_LAYER_NAMES
    axes[-1].set_xticks(range(0, len(names), step), names[::step], rotation=90, fontsize=7)
    _save(figure, path)
