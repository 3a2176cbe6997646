"""Draw tables and lines about measurements: verdicts, repairs, layers, latency, comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io.encoding import one_line
from tledge.run.records import ParityReport, ParityRow, Reference, RiskCoverage
from tledge.visualization.text_format import NONE, kib, percent, point_span, points, share, size

if TYPE_CHECKING:
    from rich.console import Console

    from tledge.cli.listing import RunLine
    from tledge.inference.bench import BenchReport, Measure
    from tledge.quantization.sensitivity import Layer
    from tledge.verification.compare_models import ComparedReport, ComparedRow
    from tledge.verification.preprocessing_skew import SkewReport


PARITY_COLUMNS = (
    "variant", "verdict", "accuracy", "change", "agree", "images", "size", "change (95 %)", "max Δp",
    "kernels",
)  # fmt: skip
"""`images` are the independent images that the verdict rests on; copies of an image do not count."""


PARITY_DETAILS = ("kernels", "max Δp", "change (95 %)")
"""Columns of the verdict table that `--wide` adds."""


BENCH_COLUMNS = (
    "variant", "KiB", "accuracy", "kernels", "threads", "load ms", "p50 ms", "p90 ms", "p99 ms", "img/s",
    "peak MiB", "model MiB",
)  # fmt: skip


BENCH_SPARE = ("model MiB", "p90 ms", "load ms", "KiB", "peak MiB", "p99 ms", "accuracy")
"""Columns that are hidden in a narrow window, in this order."""


COMPARED_COLUMNS = (
    "variant", "accuracy A → B", "change", "change (95 %)", "p", "agree", "regressed", "fixed", "KiB A → B",
    "p50 ms A → B", "verdict",
)  # fmt: skip


COMPARED_SPARE = (
    "agree", "p", "fixed", "regressed", "change (95 %)", "p50 ms A → B", "KiB A → B",
)  # fmt: skip
"""As `BENCH_SPARE`, for the table of a comparison."""


STYLES = {"passed": "green", "failed": "bold red", "undecided": "yellow", "skipped": "dim"}


SIGNS = {"passed": "✓", "failed": "✗", "undecided": "?", "skipped": "–"}
"""What stands before a verdict."""


COMPARED_STYLES = {
    "not worse": "green", "same file": "green", "worse": "bold red", "broken": "bold red",
    "undecided": "yellow", "not compared": "dim",
}  # fmt: skip


def empty_table(names: Sequence[str], left: Sequence[str], title: str | None = None) -> Any:
    """Create a table with these columns, aligned to the right except those named in `left`."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, title=title)
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def risk_table(curves: Mapping[str, RiskCoverage]) -> Any:
    """Draw, for each split, coverage and error at every confidence threshold."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for split in curves:
        for title, name in ((split, "coverage"), ("", "threshold"), ("", "error")):
            table.add_column(f"{title}\n{name}", justify="right", no_wrap=True)
    for points_of_splits in zip(*(curve.rows for curve in curves.values()), strict=False):
        table.add_row(
            *(
                text
                for point in points_of_splits
                for text in (percent(point.coverage), f"{point.threshold:.4f}", percent(point.error))
            )
        )
    return table


def runs_table(lines: Sequence[RunLine]) -> Any:
    """Draw every run with its test accuracy and the verdicts of its artifacts."""
    from rich.text import Text

    table = empty_table(("run", "when", "state", "test accuracy"), left=("run", "when", "state"))
    table.add_column("verdicts", overflow="fold")
    for line in lines:
        synthetic = " synthetic" if line.synthetic else ""
        score = "" if line.test is None else percent(line.test.accuracy) + synthetic
        table.add_row(Text(one_line(line.path)), line.when, line.state, score, _verdicts(line))
    return table


def _verdicts(line: RunLine) -> Any:
    """Return the variants by verdict: "passed: saved_model, tflite-fp32; failed: tflite-int8"."""
    from rich.text import Text

    if line.problem:
        return Text(one_line(line.problem), style="bold red")
    by_verdict: dict[str, list[str]] = {}
    for variant, verdict in line.verdicts.items():
        by_verdict.setdefault(verdict, []).append(variant)
    parts = [
        Text.assemble((verdict, STYLES.get(verdict, "")), f": {', '.join(names)}")
        for verdict, names in by_verdict.items()
    ]
    return Text("; ").join(parts)


def parity_table(report: ParityReport, console: Console, wide: bool = False) -> tuple[Any, tuple[str, ...]]:
    """Draw the verdict table: Keras first, then a row for each artifact; return it and the hidden columns.

    With `wide` it also shows the interval of the change, the largest change of a probability and the kernels,
    as far as they fit.
    """
    least = 0 if wide else len(PARITY_DETAILS)
    spare = (*PARITY_DETAILS, "size", "images")
    if wide:
        spare = ("kernels", "max Δp", "images", "change (95 %)", "size")
    table, hidden = fitting_table(lambda names: _parity_table(report, names), spare, console, least)
    return table, hidden[least:]


def _parity_table(report: ParityReport, hidden: Sequence[str]) -> Any:
    from rich.text import Text

    shown = [name for name in PARITY_COLUMNS if name not in hidden]
    table = empty_table(shown, left=("variant", "verdict", "kernels"))

    def add(cells: Mapping[str, Any], style: str = "") -> None:
        table.add_row(*(cells.get(name, "") for name in shown), style=style)

    keras = {"accuracy": percent(report.reference.accuracy), "images": str(report.reference.images)}
    add({"variant": "keras", "verdict": "reference", **keras})
    for row in report.rows:
        add(_parity_cells(row))
        if plain := row.without_bias_correction:
            add(
                {
                    "variant": Text("  without bias\n  correction"), "verdict": "for\ncomparison",
                    "accuracy": percent(plain["accuracy"]), "agree": percent(plain["agreement"]),
                    "change": points(plain["accuracy"] - report.reference.accuracy, digits=1),
                    "max Δp": f"{plain['max_abs_dp']:.1e}",
                },
                style="dim",
            )  # fmt: skip
    return table


def _parity_cells(row: ParityRow) -> dict[str, Any]:
    measured = row.change_low is not None and row.change_high is not None
    return {
        "variant": row.variant, "verdict": verdict_text(row.verdict, row.provisional),
        "accuracy": percent(row.accuracy),
        "change": points(row.accuracy_change, digits=1), "agree": percent(row.agreement),
        "images": str(row.independent_images or row.images or NONE),
        "size": size(row.bytes), "kernels": row.kernels,
        "change (95 %)": point_span(row.change_low or 0, row.change_high or 0) if measured else "",
        "max Δp": NONE if row.max_abs_dp is None else f"{row.max_abs_dp:.1e}",
    }  # fmt: skip


def verdict_text(verdict: str, provisional: bool = False) -> Any:
    """Return a verdict with its sign and colour, so that it reads without colours too."""
    from rich.text import Text

    word = "provisional" if provisional else verdict
    return Text(f"{SIGNS.get(verdict, '')} {word}".strip(), style=STYLES.get(verdict, ""))


def repair_table(variant: str, trials: Sequence[Mapping[str, Any]], chosen: str) -> Any:
    """Draw every quantization repair that was tried on the held-out images, and which one was chosen.

    `change` is the change of accuracy, `between` the agreement on images between two classes. A star
    marks the repairs that no other one beats in agreement, size and latency at once.
    """
    names = ("repair", "mode", "change", "agreement", "between", "KiB", "ms", "seconds", "gates")
    table = empty_table(names, left=("repair", "mode", "gates"), title=f"{variant} on held-out images")
    for trial in trials:
        name = trial["name"] + " *" * _is_best(trial, trials) + " (chosen)" * (trial["name"] == chosen)
        shares = (percent(trial["agreement"]), percent(trial["between"]))
        predictions = (points(trial["accuracy_change"]), *shares)
        costs = (kib(trial["bytes"]), f"{trial['milliseconds']:.2f}", f"{trial['seconds']:.1f}")
        table.add_row(name, trial["mode"], *predictions, *costs, trial["verdict"])
    return table


def _is_best(trial: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> bool:
    """Check whether a trial is on the Pareto front."""

    def costs(candidate: Mapping[str, Any]) -> tuple[float, float, float]:
        agreement = candidate["agreement"] + candidate["between"]
        return -agreement, candidate["bytes"], candidate["milliseconds"]

    own = costs(trial)
    others = [costs(candidate) for candidate in trials if costs(candidate) != own]
    return not any(all(a <= b for a, b in zip(other, own, strict=True)) for other in others)


SHOWN = 15
"""How many layers the table shows; the file has all."""


def layers_table(layers: Sequence[Layer]) -> Any:
    """Draw the accuracy cost of int8 by layer, the costliest layers first."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer", overflow="ellipsis", no_wrap=True)
    for name in (
        "weights\ncost", "biases\ncorrected", "outputs\ncost", "mean\n|Δp|", "weights\ndB",
        "worst\nchannel", "outputs\ndB", "output range", "widest\nchannel",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for layer in layers[:SHOWN]:
        lost = (
            "" if cost is None else f"{100 * cost.lost:.1f} pp"
            for cost in (layer.rounded, layer.corrected, layer.output)
        )
        noise = (
            "" if db is None else f"{db:.1f}"
            for db in (layer.weights_db, layer.worst_channel_db, layer.output_db)
        )
        moved = f"{max(cost.moved for cost in layer.costs):.4f}"
        span = f"{layer.low:.3g}…{layer.high:.3g}"
        table.add_row(Text(one_line(layer.name)), *lost, moved, *noise, span, f"{layer.output_channels:.3g}x")
    return table


def differences(report: ParityReport, run: Path) -> list[str]:
    """Return two lines for each artifact whose predictions differ from Keras; one line if all match."""
    lines = []
    for row in report.rows:
        if row.flips and row.lost is not None:
            count = f"{row.lost + (row.won or 0) + (row.moved or 0)} of {row.images}"
            regressions = f"{row.lost} regression{'s' * (row.lost != 1)}"
            kinds = f"{regressions}, {row.won} fix{'es' * (row.won != 1)}, {row.moved} wrong both times"
            sheet = run / Path(row.flips).with_suffix(".png")
            lines += [
                f"{row.variant}: {count} predictions changed ({kinds}): {sheet}",
                f"{row.variant}: {_evidence(row, report.reference)}",
            ]
    if all(row.lost is not None and not row.flips for row in report.rows):
        lines.append(f"All predictions match Keras. Calibration error (ECE): {share(report.reference.ece)}.")
    return lines


def _evidence(row: ParityRow, reference: Reference) -> str:
    """Return the figures that the table has no room for; ECE is the expected calibration error."""
    parts = [
        f"agreement {percent(row.agreement_low)}–{percent(row.agreement_high)}",
        f"McNemar p {row.mcnemar_p:.3g}",
        f"ECE {share(row.ece)} (Keras {share(reference.ece)})",
    ]
    if row.worst_class_change is not None and row.worst_class_change < 0:
        parts.append(f"worst class {row.worst_class} {points(row.worst_class_change)} of recall")
    return ", ".join(parts)


def skew_table(report: SkewReport) -> Any:
    """Draw a row for each preprocessing: its pixels and the predictions from them, beside the contract's."""
    names = ("preprocessing", "mean Δ grey", "max", "accuracy", "change", "agreement", "max Δp")
    table = empty_table(names, left=("preprocessing",))
    for row in report.rows:
        grey = (f"{row.mean_difference:.2f}", str(row.max_difference))
        change = points(row.accuracy_change, row.change_low, row.change_high)
        answers = (percent(row.accuracy), change, percent(row.agreement), f"{row.max_abs_dp:.1e}")
        table.add_row(row.preparation, *grey, *answers)
    return table


def reasons(report: ParityReport) -> list[str]:
    """Return one line per reason of a row that did not pass, then remarks, then the coverage."""
    lines = [f"{row.variant}: {line}" for row in report.rows for line in (*row.reasons, *row.remarks)]
    return lines + _coverage(report)


def _coverage(report: ParityReport) -> list[str]:
    """Return the coverage of Keras and of every artifact, where it was measured."""
    named: list[tuple[str, Reference | ParityRow]] = [("Keras", report.reference)]
    named += [(row.variant, row) for row in report.rows]
    shares = [
        f"{name} {measured.coverage:.1%} (selective error {measured.answered_error:.1%})"
        for name, measured in named
        if measured.coverage is not None and measured.answered_error is not None
    ]
    return [f"Coverage at the confidence threshold: {'; '.join(shares)}."] if shares else []


def bench_table(report: BenchReport, console: Console) -> tuple[Any, tuple[str, ...]]:
    """Draw a row for each configuration; return the table and the columns hidden to fit."""
    return fitting_table(lambda hidden: _bench_table(report, hidden), BENCH_SPARE, console)


def fitting_table(
    draw: Callable[[Sequence[str]], Any], spare: tuple[str, ...], console: Console, least: int = 0
) -> tuple[Any, tuple[str, ...]]:
    """Draw a table, hiding as few of the `spare` columns as fits, but `least` of them; return both."""
    boundless = console.options.update(max_width=1000)
    for count in range(least, len(spare) + 1):
        hidden = spare[:count]
        table = draw(hidden)
        if console.measure(table, options=boundless).maximum <= console.width:
            break
    return table, hidden


def _bench_table(report: BenchReport, hidden: Sequence[str]) -> Any:
    from rich.text import Text

    shown = [name for name in BENCH_COLUMNS if name not in hidden]
    table = empty_table([name.replace(" ", "\n") for name in shown], left=("variant", "kernels"))
    for row in report.rows:
        cells = dict(zip(BENCH_COLUMNS, _bench_row(row), strict=True))
        table.add_row(*(Text(cells[name]) for name in shown), style=STYLES.get(row.status, ""))
    return table


def _bench_row(row: Measure) -> list[str]:
    head = [row.variant, kib(row.bytes), percent(row.accuracy)]
    how = [row.kernels or row.status, "–" if row.threads is None else str(row.threads)]
    times = (row.load_ms, row.p50_ms, row.p90_ms, row.p99_ms, row.images_per_second)
    memory = (row.peak_mib, row.model_mib)
    return [*head, *how, *map(_short, times), *("–" if mib is None else f"{mib:.1f}" for mib in memory)]


def _short(value: float | None) -> str:
    """Return a number with three significant digits, never with an exponent."""
    if value is None:
        return "–"
    digits = next((digits for top, digits in ((1, 3), (10, 2), (100, 1)) if value < top), 0)
    return f"{value:.{digits}f}"


def compared_table(report: ComparedReport, console: Console) -> tuple[Any, tuple[str, ...]]:
    """Draw a row for each variant of both models; return the table and the columns hidden to fit."""
    return fitting_table(lambda hidden: _compared_table(report, hidden), COMPARED_SPARE, console)


def _compared_table(report: ComparedReport, hidden: Sequence[str]) -> Any:
    from rich.text import Text

    shown = [name for name in COMPARED_COLUMNS if name not in hidden]
    table = empty_table(shown, left=("variant", "verdict"))
    for row in report.rows:
        cells = dict(zip(COMPARED_COLUMNS, _compared_row(row), strict=True))
        style = COMPARED_STYLES.get(row.verdict, "")
        table.add_row(*(Text(cells[name], style=style if name == "verdict" else "") for name in shown))
    return table


def _compared_row(row: ComparedRow) -> list[str]:
    def pair(a: float | None, b: float | None, text: Callable[[float | None], str]) -> str:
        return "–" if a is None else f"{text(a)} → {text(b)}"

    return [
        row.variant,
        pair(row.accuracy_a, row.accuracy_b, percent),
        points(row.change, digits=1),
        NONE
        if row.change_low is None or row.change_high is None
        else point_span(row.change_low, row.change_high),
        _short(row.mcnemar_p),
        percent(row.agreement),
        *("–" if count is None else str(count) for count in (row.lost, row.won)),
        f"{kib(row.bytes_a)} → {kib(row.bytes_b)}",
        pair(row.p50_ms_a, row.p50_ms_b, _short),
        row.verdict,
    ]
