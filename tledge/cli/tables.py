"""Tables and lines about what was measured: verdicts, remedies, layers, latency, comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io.encoding import printable
from tledge.run.records import ParityReport, ParityRow, Reference, RiskCoverage
from tledge.visualization.text_format import points, share

if TYPE_CHECKING:
    from rich.console import Console

    from tledge.benchmark.bench import BenchReport, Measure
    from tledge.cli.listing import RunLine
    from tledge.quantization.sensitivity import Layer
    from tledge.verification.compare_models import ComparedReport, ComparedRow
    from tledge.verification.preprocessing_skew import SkewReport


BENCH_COLUMNS = (
    "variant", "KiB", "accuracy", "kernels", "threads", "load ms", "p50 ms", "p90 ms", "p99 ms", "img/s",
    "peak MiB", "model MiB",
)  # fmt: skip


BENCH_SPARE = ("model MiB", "p90 ms", "load ms", "KiB")
"""Columns that a narrow window does without, the first first."""


COMPARED_COLUMNS = (
    "variant", "accuracy A → B", "change", "p", "agree", "lost", "won", "KiB A → B", "p50 ms A → B",
    "verdict",
)  # fmt: skip


COMPARED_SPARE = ("agree", "p", "won", "lost")


STYLES = {"passed": "green", "failed": "bold red", "undecided": "yellow", "skipped": "dim"}


COMPARED_STYLES = {
    "not worse": "green", "same file": "green", "worse": "bold red", "broken": "bold red",
    "undecided": "yellow", "not compared": "dim",
}  # fmt: skip


def _table(names: Sequence[str], left: Sequence[str], title: str | None = None) -> Any:
    """A table with these columns, numbers to the right, those named in `left` to the left."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, title=title)
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def risk_table(found: Mapping[str, RiskCoverage]) -> Any:
    """Of each split: the share answered from a confidence on, and the share wrong among these."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for split in found:
        for name in ("answered", "from", "wrong"):
            table.add_column(f"{split}\n{name}", justify="right", no_wrap=True)
    for line in zip(*(one.rows for one in found.values()), strict=False):
        table.add_row(
            *(
                text
                for one in line
                for text in (f"{one.coverage:.1%}", f"{one.threshold:.4f}", f"{one.error:.1%}")
            )
        )
    return table


def runs_table(lines: Sequence[RunLine]) -> Any:
    """Every run with its score and what verification said of its artifacts."""
    from rich.text import Text

    table = _table(("run", "when", "state", "test accuracy"), left=("run", "when", "state"))
    table.add_column("verdicts", overflow="fold")
    for one in lines:
        score = "" if one.test is None else share(one.test.accuracy) + (" synthetic" if one.synthetic else "")
        table.add_row(Text(one.path), one.when, one.state, score, _verdicts(one))
    return table


def _verdicts(line: RunLine) -> Any:
    """Variants by verdict: "passed: saved_model, tflite-fp32; failed: tflite-int8"."""
    from rich.text import Text

    if line.problem:
        return Text(line.problem, style="bold red")
    by_verdict: dict[str, list[str]] = {}
    for variant, verdict in line.verdicts.items():
        by_verdict.setdefault(verdict, []).append(variant)
    parts = [
        Text.assemble((verdict, STYLES.get(verdict, "")), f": {', '.join(names)}")
        for verdict, names in by_verdict.items()
    ]
    return Text("; ").join(parts)


def parity_table(report: ParityReport) -> Any:
    """The verdict table: Keras first, then a row for each artifact."""
    from rich.text import Text

    names = ("variant", "KiB", "accuracy", "change", "agreement", "max Δp", "kernels", "verdict")
    table = _table(names, left=("variant", "kernels", "verdict"))
    table.add_row("keras", "", share(report.reference.accuracy), "", "", "", "", "reference")
    for row in report.rows:
        verdict = Text(row.verdict, style=STYLES.get(row.verdict, ""))
        table.add_row(row.variant, *_row_figures(row), verdict)
        if row.without_bias_correction:
            plain = row.without_bias_correction
            change = plain["accuracy"] - report.reference.accuracy
            table.add_row(
                "  uncorrected", "", share(plain["accuracy"]), points(change),
                share(plain["agreement"]), f"{plain['max_abs_dp']:.1e}", "", "not shipped",
                style="dim",
            )  # fmt: skip
    return table


def repair_table(variant: str, rungs: Sequence[Mapping[str, Any]], taken: str) -> Any:
    """Every remedy that was tried on the held-out images, and which was taken.

    `change` is that of accuracy, `between` the agreement on images between two classes. A star marks those
    that no other one beats in agreement, size and latency at once.
    """

    names = ("remedy", "mode", "change", "agreement", "between", "KiB", "ms", "tried in", "gates")
    table = _table(names, left=("remedy", "mode", "gates"), title=f"{variant} on held-out images")
    for rung in rungs:
        name = rung["name"] + " *" * _is_best(rung, rungs) + " (taken)" * (rung["name"] == taken)
        answers = (points(rung["accuracy_change"]), share(rung["agreement"]), share(rung["between"]))
        costs = (f"{rung['bytes'] / 1024:.0f}", f"{rung['milliseconds']:.2f}", f"{rung['seconds']:.1f} s")
        table.add_row(name, rung["mode"], *answers, *costs, rung["verdict"])
    return table


def _is_best(rung: Mapping[str, Any], rungs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a rung is on the Pareto front."""

    def costs(one: Mapping[str, Any]) -> tuple[float, float, float]:
        return -one["agreement"] - one["between"], one["bytes"], one["milliseconds"]

    own = costs(rung)
    others = [costs(one) for one in rungs if costs(one) != own]
    return not any(all(a <= b for a, b in zip(one, own, strict=True)) for one in others)


SHOWN = 15
"""Layers in the table about quantization; the file has all."""


def layers_table(layers: Sequence[Layer]) -> Any:
    """What 8 bits cost, the costliest layers first."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer", overflow="ellipsis", no_wrap=True)
    for name in (
        "weights\ncost", "biases\ncorrected", "outputs\ncost", "mean\n|Δp|", "weights\ndB",
        "worst\nchannel", "outputs\ndB", "output range", "widest\nchannel",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for one in layers[:SHOWN]:
        lost = (
            "" if cost is None else f"{100 * cost.lost:.1f} pp"
            for cost in (one.rounded, one.corrected, one.output)
        )
        noise = (
            "" if db is None else f"{db:.1f}" for db in (one.weights_db, one.worst_channel_db, one.output_db)
        )
        moved = f"{max(cost.moved for cost in one.costs):.4f}"
        span = f"{one.low:.3g}…{one.high:.3g}"
        table.add_row(Text(one.name), *lost, moved, *noise, span, f"{one.output_channels:.3g}x")
    return table


def _row_figures(row: ParityRow) -> list[str]:
    worst = "–" if row.max_abs_dp is None else f"{row.max_abs_dp:.1e}"
    kib = f"{row.bytes / 1024:.0f}"
    change = points(row.accuracy_change, row.change_low, row.change_high)
    return [kib, share(row.accuracy), change, share(row.agreement), worst, row.kernels]


def differences(report: ParityReport, run: Path) -> list[str]:
    """Two lines for each artifact with answers of its own; one where every answer is Keras'."""
    lines = []
    for row in report.rows:
        if row.flips and row.lost is not None:
            count = f"{row.lost + (row.won or 0) + (row.moved or 0)} of {row.images}"
            kinds = f"{row.lost} lost, {row.won} won, {row.moved} wrong as before"
            sheet = run / Path(row.flips).with_suffix(".png")
            lines += [
                f"{row.variant}: {count} answers differ ({kinds}): {sheet}",
                f"{row.variant}: {_evidence(row, report.reference)}",
            ]
    if all(row.lost is not None and not row.flips for row in report.rows):
        lines.append(f"Every answer is Keras', whose ECE is {share(report.reference.ece)}.")
    return lines


def _evidence(row: ParityRow, reference: Reference) -> str:
    """The figures that the table has no room for; ECE is the expected calibration error."""
    parts = [
        f"agreement {share(row.agreement_low)}–{share(row.agreement_high)}",
        f"McNemar p {row.mcnemar_p:.3g}",
        f"ECE {share(row.ece)} (Keras {share(reference.ece)})",
    ]
    if row.worst_class_change is not None and row.worst_class_change < 0:
        parts.append(f"worst class {row.worst_class} {points(row.worst_class_change)} of recall")
    return ", ".join(parts)


def skew_table(report: SkewReport) -> Any:
    """A line for each way to prepare photos: its pixels and the artifact's answers, beside the contract's."""

    names = ("preparation", "mean Δ grey", "max", "accuracy", "change", "agreement", "max Δp")
    table = _table(names, left=("preparation",))
    for row in report.rows:
        grey = (f"{row.mean_difference:.2f}", str(row.max_difference))
        change = points(row.accuracy_change, row.change_low, row.change_high)
        answers = (share(row.accuracy), change, share(row.agreement), f"{row.max_abs_dp:.1e}")
        table.add_row(row.preparation, *grey, *answers)
    return table


def reasons(report: ParityReport) -> list[str]:
    """One line per reason of a row that did not pass, and what else is worth knowing."""
    lines = [f"{row.variant}: {line}" for row in report.rows for line in (*row.reasons, *row.remarks)]
    return [printable(line) for line in lines] + _answered(report)


def _answered(report: ParityReport) -> list[str]:
    """How much Keras and every artifact answer, where that was measured."""
    named: list[tuple[str, Reference | ParityRow]] = [("keras", report.reference)]
    named += [(row.variant, row) for row in report.rows]
    shares = [
        f"{name} {one.coverage:.1%}, {one.answered_error:.1%} wrong"
        for name, one in named
        if one.coverage is not None and one.answered_error is not None
    ]
    return [f"Sure enough to answer: {'; '.join(shares)}."] if shares else []


def bench_table(report: BenchReport, console: Console) -> tuple[Any, tuple[str, ...]]:
    """A line for each configuration, and the names of columns left out to fit the console's width."""
    return _fitting(lambda hidden: _bench_table(report, hidden), BENCH_SPARE, console)


def _fitting(
    draw: Callable[[Sequence[str]], Any], spare: tuple[str, ...], console: Console
) -> tuple[Any, tuple[str, ...]]:
    """What `draw` makes without as few of the `spare` columns as fits, and the names of those left out."""
    boundless = console.options.update(max_width=1000)
    for count in range(len(spare) + 1):
        hidden = spare[:count]
        table = draw(hidden)
        if console.measure(table, options=boundless).maximum <= console.width:
            break
    return table, hidden


def _bench_table(report: BenchReport, hidden: Sequence[str]) -> Any:
    from rich.text import Text

    shown = [name for name in BENCH_COLUMNS if name not in hidden]
    table = _table([name.replace(" ", "\n") for name in shown], left=("variant", "kernels"))
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


def compared_table(report: ComparedReport, console: Console) -> tuple[Any, tuple[str, ...]]:
    """A line for each variant of both models, and the names of columns left out to fit the width."""
    return _fitting(lambda hidden: _compared_table(report, hidden), COMPARED_SPARE, console)


def _compared_table(report: ComparedReport, hidden: Sequence[str]) -> Any:
    from rich.text import Text

    shown = [name for name in COMPARED_COLUMNS if name not in hidden]
    table = _table(shown, left=("variant", "verdict"))
    for row in report.rows:
        cells = dict(zip(COMPARED_COLUMNS, _compared_row(row), strict=True))
        style = COMPARED_STYLES.get(row.verdict, "")
        table.add_row(*(Text(cells[name], style=style if name == "verdict" else "") for name in shown))
    return table


def _compared_row(row: ComparedRow) -> list[str]:
    def pair(one: float | None, two: float | None, show: Callable[[float | None], str]) -> str:
        return "–" if one is None else f"{show(one)} → {show(two)}"

    return [
        row.variant,
        pair(row.accuracy_a, row.accuracy_b, share),
        points(row.change, row.change_low, row.change_high),
        _short(row.mcnemar_p),
        share(row.agreement),
        *("–" if count is None else str(count) for count in (row.lost, row.won)),
        f"{row.bytes_a / 1024:.0f} → {row.bytes_b / 1024:.0f}",
        pair(row.p50_ms_a, row.p50_ms_b, _short),
        row.verdict,
    ]
