"""Compare tledge with plain Keras, on the same work in the same run: `python -m benchmarks`.

Prints every row with its ratio and writes a JSON file for each topic; README.md says how to read them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import export_rows, machine, prediction_rows, preprocessing_rows, training_rows
from benchmarks.measure import Result, Row, judge
from benchmarks.processes import FOLDER, BenchmarkError
from benchmarks.workspace import ROOT, Workspace, real_data

ROWS: tuple[Row, ...] = (
    *training_rows.ROWS,
    *preprocessing_rows.ROWS,
    *export_rows.ROWS,
    *prediction_rows.ROWS,
)
TOPICS = tuple(dict.fromkeys(row.topic for row in ROWS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected rows; return 1 where one did not run, however slow the others are."""
    args = _parser().parse_args(arguments)
    chosen = [row for row in ROWS if not args.only or row.name in args.only]
    data = real_data()
    about = {
        "commit": machine.commit(ROOT), "small": args.small,
        "photos": _describe_photos(data), **machine.describe()
    }  # fmt: skip
    print(f"{about['processor']}, {about['cores']} cores, load {about['load']}; {about['photos']}")
    results: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory(prefix="tledge-bench-", dir=args.work) as work:
        workspace = Workspace(Path(work), data, args.small)
        for row in chosen:
            print(f"{row.name}: {row.work} ...", flush=True)
            results.setdefault(row.topic, []).append(_measure(row, workspace))
            _write(args.out, row.topic, about, results[row.topic])
    shown = [result for rows in results.values() for result in rows]
    _print_table(shown, args.small)
    print(f"Written: {', '.join(str(args.out / f'{topic}.json') for topic in results)}")
    return int(any(result.verdict == "failed" for result in shown))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = [row.name for row in ROWS]
    parser.add_argument(
        "--only", type=_parse_rows, metavar="ROW,...", help=f"these rows alone: {', '.join(names)}"
    )
    parser.add_argument("--small", action="store_true", help="few photos, 2 epochs, no repeats, no verdicts")
    parser.add_argument(
        "--out", type=Path, default=FOLDER / "results", help="folder of the JSON files [benchmarks/results]"
    )
    parser.add_argument("--work", type=Path, help="where the work folder of 2 GB is made [the system's]")
    return parser


def _parse_rows(text: str) -> list[str]:
    names = text.split(",")
    known = [row.name for row in ROWS]
    if strange := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"no row {strange[0]!r}; there are {', '.join(known)}")
    return names


def _describe_photos(data: Path | None) -> str:
    if data:
        return "rock_paper_scissors, ImageNet weights"
    return "DRAWN photos and RANDOM weights (no data at TLEDGE_TEST_DATA): accuracies say nothing"


def _measure(row: Row, workspace: Workspace) -> Result:
    """Measure a row; where a side does not run, return that as the result, so that the other rows run."""
    try:
        return judge(row, row.measure(workspace), small=workspace.small)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return Result(row.name, row.work, row.baseline, "failed", row.wanted, error=str(error))


def _write(out: Path, topic: str, about: dict[str, Any], results: list[Result]) -> None:
    from tledge._io import files

    files.write_json(out / f"{topic}.json", {**about, "rows": [asdict(result) for result in results]})


def _print_table(results: Sequence[Result], small: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="tledge beside a baseline" + (" (small: the figures mean nothing)" if small else ""))
    for name in ("row", "baseline s", "tledge s", "ratio", "spread", "wanted", "verdict"):
        table.add_column(name, justify="left" if name in ("row", "verdict") else "right")
    for result in results:
        table.add_row(*_cells(result))
    console = Console(width=100 if not sys.stdout.isatty() else None)
    console.print(table)
    for result in results:
        for line in _details(result):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cells(result: Result) -> tuple[str, ...]:
    if result.ratio is None:
        return (result.name, "", "", "", "", "", result.verdict)
    wanted = "" if result.wanted is None else f">= {result.wanted:.2f}"
    spread = "once" if result.repeats == 1 else f"{result.low:.2f}-{result.high:.2f}"
    seconds = (f"{result.seconds[side]:.3f}" for side in ("baseline", "tledge"))
    return (result.name, *seconds, f"{result.ratio:.2f}x", spread, wanted, result.verdict)


def _details(result: Result) -> list[str]:
    """List what stands below the table: the baseline, conditions and facts of a row."""
    lines = [f"{result.name}: {result.work}; against {result.baseline}"]
    lines += [f"  {'yes' if met else 'NO'}: {condition}" for condition, met in result.conditions.items()]
    return lines + [f"  {name}: {_short(value)}" for name, value in result.facts.items()]


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(part)}" for name, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
