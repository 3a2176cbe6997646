"""What a person sees: progress on stderr, tables on stdout, drawn with rich."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tledge.machine import Machine
from tledge.progress import SILENT, Progress, Task
from tledge.runs import ParityReport, ParityRow, Score, TrainedRun

if TYPE_CHECKING:
    from rich.console import Console

    from tledge.bench import BenchReport, Measure
    from tledge.inventory import Inventory
    from tledge.skew import SkewReport

BENCH_COLUMNS = (
    "variant", "KiB", "accuracy", "kernels", "threads", "load ms", "p50 ms", "p90 ms", "p99 ms", "img/s",
    "peak MiB", "model MiB",
)  # fmt: skip
BENCH_SPARE = ("model MiB", "p90 ms", "load ms", "KiB")
"""Columns that a narrow window does without, the first first."""

STYLES = {"passed": "green", "failed": "bold red", "undecided": "yellow", "skipped": "dim"}


class _RichTask:
    def __init__(self, bars: Any, number: Any) -> None:
        self._bars = bars
        self.number = number

    def advance(self, steps: int = 1, **figures: object) -> None:
        self._bars.update(self.number, advance=steps, figures=_figures(figures))


def _figures(figures: dict[str, object]) -> str:
    names = {"images_s": "img/s"}
    return "  ".join(
        f"{names.get(name, name)} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
    )


class RichProgress:
    """Draws tasks as bars on stderr, and keeps said lines above them."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars

    def start(self, what: str, total: int | None = None) -> Task:
        return _RichTask(self._bars, self._bars.add_task(what, total=total, figures=""))

    def finish(self, task: Task) -> None:
        assert isinstance(task, _RichTask)
        self._bars.remove_task(task.number)

    def say(self, line: str) -> None:
        self._bars.console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def watching(quiet: bool) -> Iterator[Progress]:
    """A `Progress` for one command: bars on a terminal, plain lines elsewhere, nothing if quiet."""
    if quiet:
        yield SILENT
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description:22}", markup=False),
        progress.BarColumn(24),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        progress.TextColumn("{task.fields[figures]}", markup=False),
    )
    err = Console(stderr=True)
    with progress.Progress(*columns, console=err, transient=True) as bars:
        yield RichProgress(bars)


def stdout() -> Console:
    """The console that results go to: as wide as the terminal, 120 columns in a pipe."""
    from rich.console import Console

    probe = Console()
    return probe if probe.is_terminal else Console(width=120)


def share(value: float | None) -> str:
    """A share in 0..1 with four digits, a dash where there is none."""
    return "–" if value is None else f"{value:.4f}"


def interval(score: Score) -> str:
    """`.9650 (.9410–.9790, 372 images)`, with top-5 where there is one."""
    top5 = "" if score.top5 is None else f", top-5 {score.top5:.4f}"
    return f"{score.accuracy:.4f} ({score.low:.4f}–{score.high:.4f}, {score.images} images{top5})"


def training(run: TrainedRun) -> list[tuple[str, str]]:
    """Rows of the table after training: name and value."""
    synthetic = [("photos", "synthetic, drawn by tledge")] if run.synthetic else []
    return [
        *synthetic,
        ("labels", ", ".join(run.labels[:12]) + (" …" if len(run.labels) > 12 else "")),
        ("train", f"{run.train_images} images, {run.seconds:.0f} s"),
        ("after the first stage", f"validation {interval(run.frozen)}"),
        ("validation", interval(run.validation)),
        ("test", interval(run.test)),
    ]


def photos(found: Inventory) -> list[tuple[str, str]]:
    """Rows of the table about photos: name and value."""

    def shares(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in counts.items())

    sizes = " / ".join(f"{width}x{height}" for width, height in (found.smallest, found.median, found.largest))
    unused = [("in no split", str(found.unused))] if found.unused else []
    return [
        ("photos", str(found.photos)),
        *unused,
        ("smallest / median / largest", sizes),
        ("formats", shares(found.formats)),
        ("colour modes", shares(found.modes)),
        ("EXIF orientations", shares(found.orientations)),
    ]


def parity_table(report: ParityReport) -> Any:
    """The verdict table: Keras first, then a row for each artifact."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("variant", "KiB", "accuracy", "change", "agreement", "max Δp", "kernels", "verdict"):
        numeric = name not in ("variant", "kernels", "verdict")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    table.add_row("keras", "", share(report.reference.accuracy), "", "", "", "", "reference")
    for row in report.rows:
        verdict = Text(row.verdict, style=STYLES.get(row.verdict, ""))
        table.add_row(row.variant, *_row_figures(row), verdict)
        if row.without_bias_correction:
            plain = row.without_bias_correction
            change = plain["accuracy"] - report.reference.accuracy
            table.add_row(
                "  uncorrected", "", share(plain["accuracy"]), _points(change),
                share(plain["agreement"]), f"{plain['max_abs_dp']:.1e}", "", "not shipped",
                style="dim",
            )  # fmt: skip
    return table


def ladder_table(variant: str, rungs: Sequence[Mapping[str, Any]], taken: str) -> Any:
    """Every remedy that was tried on the held-out images, and which was taken."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, title=f"{variant} on held-out images")
    for name in ("remedy", "accuracy change", "agreement", "KiB", "seconds", "gates"):
        table.add_column(name, justify="left" if name in ("remedy", "gates") else "right", no_wrap=True)
    for rung in rungs:
        name = rung["name"] + (" (taken)" if rung["name"] == taken else "")
        figures = (f"{rung['bytes'] / 1024:.0f}", f"{rung['seconds']:.1f}", rung["verdict"])
        table.add_row(name, _points(rung["accuracy_change"]), share(rung["agreement"]), *figures)
    return table


def _points(change: float | None, low: float | None = None, high: float | None = None) -> str:
    """A change in percentage points, with its 95 % interval where there is one."""
    if change is None:
        return "–"
    span = "" if low is None or high is None else f" ({100 * low:+.1f}…{100 * high:+.1f})"
    return f"{100 * change:+.2f} pp{span}"


def _row_figures(row: ParityRow) -> list[str]:
    worst = "–" if row.max_abs_dp is None else f"{row.max_abs_dp:.1e}"
    kib = f"{row.bytes / 1024:.0f}"
    change = _points(row.accuracy_change, row.change_low, row.change_high)
    return [kib, share(row.accuracy), change, share(row.agreement), worst, row.kernels]


def skew_table(report: SkewReport) -> Any:
    """A line for each way to prepare photos: its pixels and the artifact's answers, beside the contract's."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    names = ("preparation", "mean Δ grey", "max", "accuracy", "change", "agreement", "max Δp")
    for name in names:
        table.add_column(name, justify="left" if name == "preparation" else "right", no_wrap=True)
    for row in report.rows:
        grey = (f"{row.mean_difference:.2f}", str(row.max_difference))
        change = _points(row.accuracy_change, row.change_low, row.change_high)
        answers = (share(row.accuracy), change, share(row.agreement), f"{row.max_abs_dp:.1e}")
        table.add_row(row.preparation, *grey, *answers)
    return table


def reasons(report: ParityReport) -> list[str]:
    """One line per reason of a row that did not pass."""
    return [f"{row.variant}: {reason}" for row in report.rows for reason in row.reasons]


def bench_table(report: BenchReport, console: Console) -> tuple[Any, tuple[str, ...]]:
    """A line for each configuration, and the names of columns left out to fit the console's width."""
    boundless = console.options.update(max_width=1000)
    for count in range(len(BENCH_SPARE) + 1):
        hidden = BENCH_SPARE[:count]
        table = _bench_table(report, hidden)
        if console.measure(table, options=boundless).maximum <= console.width:
            break
    return table, hidden


def _bench_table(report: BenchReport, hidden: Sequence[str]) -> Any:
    from rich.table import Table
    from rich.text import Text

    shown = [name for name in BENCH_COLUMNS if name not in hidden]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        text = name in ("variant", "kernels")
        table.add_column(name.replace(" ", "\n"), justify="left" if text else "right", no_wrap=True)
    for row in report.rows:
        cells = dict(zip(BENCH_COLUMNS, _bench_row(row), strict=True))
        table.add_row(*(Text(cells[name]) for name in shown), style=STYLES.get(row.status, ""))
    return table


def _bench_row(row: Measure) -> list[str]:
    head = [row.variant, f"{row.bytes / 1024:.0f}", share(row.accuracy)]
    how = [row.kernels or row.status, "–" if row.threads is None else str(row.threads)]
    times = (row.load_ms, row.p50_ms, row.p90_ms, row.p99_ms, row.images_per_second)
    memory = (row.peak_mib, row.model_mib)
    return [*head, *how, *map(_short, times), *("–" if one is None else f"{one:.1f}" for one in memory)]


def _short(value: float | None) -> str:
    """Three digits that matter, never an exponent."""
    if value is None:
        return "–"
    digits = next((digits for top, digits in ((1, 3), (10, 2), (100, 1)) if value < top), 0)
    return f"{value:.{digits}f}"


def machine_line(one: Machine) -> str:
    """What measured, in one sentence."""
    memory = "" if one.memory_mib is None else f", {one.memory_mib / 1024:.0f} GiB"
    packages = ", ".join(f"{name} {version}" for name, version in one.packages.items())
    return (
        f"Measured on {one.processor} ({one.architecture}, {one.cores} cores{memory}), {one.system}, "
        f"Python {one.python}, {packages}."
    )


def columns(rows: Sequence[tuple[str, ...]]) -> Any:
    """A plain table without header."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))  # names of labels and files are text, not markup
    return table
