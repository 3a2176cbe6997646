"""Show progress on stderr and tables on stdout, drawn with rich."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any, TextIO

from tledge._io.encoding import printable
from tledge._process import native_output, optional_imports
from tledge.cli import progress_bar, terminal
from tledge.progress import SILENT, Progress, Task, start_task
from tledge.run.records import TrainedRun
from tledge.visualization.text_format import abstention, accuracy, duration

if TYPE_CHECKING:
    from rich.console import Console

    from tledge.bundle.contents import BundleContents
    from tledge.data.inspection import DatasetSummary


class _RichTask:
    def __init__(self, bars: Any, number: Any) -> None:
        self._bars = bars
        self.number = number

    def advance(self, steps: int = 1, **figures: object) -> None:
        self._bars.update(self.number, advance=steps, figures=progress_bar.figure_texts(figures))


class RichProgress:
    """Draw tasks as bars on stderr, with messages above them."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars

    def start(self, what: str, total: int | None = None) -> Task:
        return _RichTask(self._bars, self._bars.add_task(what, total=total, figures=()))

    def finish(self, task: Task) -> None:
        assert isinstance(task, _RichTask)
        self._bars.remove_task(task.number)

    def say(self, line: str) -> None:
        out = self._bars.console
        width = out.width if out.is_terminal else None
        out.print(terminal.fit(printable(line), width), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_shown(quiet: bool) -> Iterator[Progress]:
    """Give one command its `Progress`: bars on a terminal, plain lines elsewhere, nothing if quiet."""
    if quiet:
        with native_output.downloads_announced(False):
            yield SILENT
        return
    from rich.progress import Progress as Bars

    with _own_stderr() as file:
        out = open_console(stderr=True, file=file)
        with Bars(progress_bar.column(out), console=out, transient=True) as bars:
            shown = RichProgress(bars)
            with optional_imports.loading_shown(lambda what: start_task(shown, what)):
                yield shown


@contextmanager
def shown_if_slow(what: str, quiet: bool, after: float = 1.0) -> Iterator[None]:
    """Show on a terminal that a block is at work, once it has taken `after` seconds."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    lock, shown = Lock(), ExitStack()
    has_ended = False

    def show() -> None:
        with lock:
            if not has_ended:
                progress = shown.enter_context(progress_shown(quiet=False))
                shown.enter_context(start_task(progress, what))

    timer = Timer(after, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            has_ended = True
        shown.close()


@contextmanager
def _own_stderr() -> Iterator[TextIO | None]:
    """Open the terminal that is stderr once more, so that bars move while a library that loads has it closed.

    Gives None where stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    encoding, errors = sys.stderr.encoding, sys.stderr.errors
    with open(os.dup(sys.stderr.fileno()), "w", encoding=encoding, errors=errors) as file:
        yield file


def open_console(*, stderr: bool = False, width: int | None = None, file: TextIO | None = None) -> Console:
    """Open a console on stdout, stderr or `file` that takes no text for markup.

    Text of others reaches tables and bars: its control characters are escaped, and only rich's own pass.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class EscapingConsole(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                text, style, control = segment
                yield segment if control else Segment(printable(text), style)

    return EscapingConsole(stderr=stderr, file=file, width=width, markup=False, emoji=False, highlight=False)


def result_console() -> Console:
    """Open the console for results: as wide as the terminal, 120 columns in a pipe."""
    probe = open_console()
    return probe if probe.is_terminal else open_console(width=120)


def print_table(table: Any) -> None:
    """Print a table on stdout; where the window is too narrow for it, row by row."""
    console = result_console()
    console.print(fitting_table(table, console))


def fitting_table(table: Any, console: Console) -> Any:
    """Return a table, or its rows below each other where it is wider than the console with every word whole.

    A row becomes a line with its first cell, then a line for each other one, after the name of its column.
    """
    from rich.table import Table
    from rich.text import Text

    boundless = console.options.update(max_width=10_000)
    if not table.show_header or console.measure(table, options=boundless).minimum <= console.width:
        return table
    names = [" ".join(str(column.header).split()) for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    narrow = Table(box=None, show_header=False, pad_edge=False, title=table.title)
    for cells in rows:
        narrow.add_row(cells[0], Text(""))
        for name, cell in zip(names[1:], cells[1:], strict=True):
            narrow.add_row(Text(f"  {name}"), cell)
    return narrow


def print_fitting(draw: Callable[[Console], tuple[Any, tuple[str, ...]]]) -> None:
    """Print a table on stdout that hides columns where the window is too narrow, and say which."""
    console = result_console()
    table, hidden = draw(console)
    console.print(fitting_table(table, console))
    if hidden:
        console.print(f"Columns hidden in this narrow window (see --json): {', '.join(hidden)}.")


def print_lines(lines: Sequence[str]) -> None:
    """Print lines on stdout, broken between words where the window is narrower, indented as they begin."""
    console = result_console()
    for line in lines:
        console.print(terminal.fit(line, console.width), soft_wrap=True)


def print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows on stdout as a table without header."""
    console = result_console()
    for line in terminal.rows_as_lines([[printable(cell) for cell in row] for row in rows], console.width):
        console.print(line, soft_wrap=True)


def training_rows(run: TrainedRun) -> list[tuple[str, str]]:
    """Return the rows of the table after training: name and value."""
    synthetic = [("photos", "synthetic, drawn by tledge")] if run.synthetic else []
    return [
        *synthetic,
        ("labels", ", ".join(run.labels[:12]) + (" …" if len(run.labels) > 12 else "")),
        ("trained", f"on {run.train_images:,} images in {duration(run.seconds)}"),
        ("validation after stage.0", accuracy(run.first_stage_validation)),
        ("validation accuracy", accuracy(run.validation)),
        ("test accuracy", accuracy(run.test)),
        *([("confidence threshold", abstention(run.confidence))] if run.confidence else []),
    ]


def adoption_rows(run: TrainedRun) -> list[tuple[str, str]]:
    """Return the rows of the table after a model was adopted: name and value."""
    assert run.origin is not None
    origin = run.origin
    return [
        ("model", f"{origin.file}, {origin.framework} {origin.version}".rstrip()),
        *[("changed", line) for line in origin.changes],
        ("scaling", f"{origin.scaling} ({_SCALING_SOURCES.get(origin.scaling_from, origin.scaling_from)})"),
        ("labels", ", ".join(run.labels[:12]) + (" …" if len(run.labels) > 12 else "")),
        ("input", f"{run.input.height} x {run.input.width} pixels"),
        ("validation accuracy", accuracy(run.validation)),
        ("test accuracy", accuracy(run.test)),
        *([("confidence threshold", abstention(run.confidence))] if run.confidence else []),
    ]


_SCALING_SOURCES = {
    "given": "given with --scaling",
    "model": "read from the model",
    "photos": "chosen by labelled photos",
}


def photo_rows(summary: DatasetSummary) -> list[tuple[str, str]]:
    """Return the rows of the table about photos: name and value."""

    def shares(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in counts.items())

    sizes = " / ".join(
        f"{width}x{height}" for width, height in (summary.smallest, summary.median, summary.largest)
    )
    unused = [("in no split", str(summary.unused))] if summary.unused else []
    return [
        ("photos", str(summary.photos)),
        *unused,
        ("smallest / median / largest", sizes),
        ("formats", shares(summary.formats)),
        ("colour modes", shares(summary.modes)),
        ("EXIF orientations", shares(summary.orientations)),
    ]


def bundle_rows(contents: BundleContents) -> list[tuple[str, str]]:
    """Return the rows of a bundle: its manifest, then for each artifact its facts or what is missing."""
    facts = asdict(contents)
    artifacts = facts.pop("artifacts")
    rows = fact_rows(facts)
    for artifact in artifacts:
        variant, structure = artifact.pop("variant"), artifact.pop("structure") or {}
        shown = {name: value for name, value in structure.items() if name not in ("labels", "metadata")}
        rows += fact_rows({**artifact, **shown}, f"{variant}.")
    return rows


def fact_rows(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested facts into rows of a dotted name and a value; leave out what is empty or absent."""
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            rows += fact_rows(value, f"{key}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            for item in value:
                rows += fact_rows(item, f"{key}.")
        elif isinstance(value, (list, tuple)):
            rows += [(key, ", ".join(map(str, value)))] if value else []
        elif value not in (None, ""):
            rows.append((key, str(value)))
    return rows
