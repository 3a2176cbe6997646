"""Pictures of a run, drawn with matplotlib to PNG files whose bytes depend on the data alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge.errors import MissingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLUE, ORANGE, GREY = "#2b6cb0", "#c05621", "#718096"


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingError(f"matplotlib is not installed ({error}): pip install 'tledge[train]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=120, format="png", metadata={"Software": None})
    _pyplot().close(figure)


def curves(history: list[dict[str, Any]], path: Path, title: str) -> None:
    """Loss and accuracy over all epochs, train and validation, with the stages marked."""
    figure, axes = _pyplot().subplots(1, 2, figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    epochs = range(1, len(history) + 1)
    for axis, figure_name in zip(axes, ("loss", "accuracy"), strict=True):
        for prefix, label, color in (("", "train", BLUE), ("val_", "validation", ORANGE)):
            values = [row[prefix + figure_name] for row in history]
            axis.plot(epochs, values, "o-", label=label, color=color, markersize=3)
        _mark_stages(axis, history)
        axis.set(xlabel="epoch", ylabel=figure_name)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
    axes[0].legend(frameon=False)
    _save(figure, path)


def _mark_stages(axis: Any, history: list[dict[str, Any]]) -> None:
    names = [row["stage"] for row in history]
    for number, name in enumerate(names):
        if number == 0 or name != names[number - 1]:
            axis.axvline(number + 0.5, color=GREY, linewidth=0.8, linestyle=":")
            axis.text(number + 0.6, 1.01, name, transform=axis.get_xaxis_transform(), color=GREY)


def confusion(
    labels: NDArray[np.int64],
    answers: NDArray[np.int64],
    names: tuple[str, ...],
    path: Path,
    title: str,
) -> None:
    """Confusion matrix: rows are the true labels int64[N], columns the answers int64[N]."""
    import numpy as np

    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (labels, answers), 1)
    side = min(40.0, max(3.5, 0.45 * len(names) + 2))
    figure, axis = _pyplot().subplots(figsize=(side, side), layout="constrained")
    axis.imshow(counts / np.maximum(1, counts.sum(1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="answer", ylabel="label")
    figure.suptitle(title)
    if len(names) <= 25:
        for (row, column), count in np.ndenumerate(counts):
            light = count > 0.5 * max(1, counts[row].sum())
            axis.text(column, row, count, ha="center", va="center", color="w" if light else "k")
    _save(figure, path)
