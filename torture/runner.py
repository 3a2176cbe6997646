"""Run the cases and print one line for each, with a table at the end: `python -m torture`.

Prints one line a case and a table at the end, writes the figures as JSON, and ends with 1 where a
case falls short.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torture.support.case import Case
from torture.support.observation import CannotRun, Observation
from torture.support.workspace import Workspace

if TYPE_CHECKING:
    from rich.table import Table

BOUNDARIES = {
    "recipe": "what a recipe says",
    "photos": "photos, and sets of them to learn from",
    "run": "a run folder",
    "bundle": "a bundle or its zip, signed or not",
    "model": "a model file, or a model behind an address",
    "cache": "prepared photos and downloads",
    "network": "who sends requests",
    "machine": "signals, disks, memory, users, clocks, packages",
}
"""Where something of others reaches tledge: the rows of docs/explanation/security.md, and what is there."""

GROUPS = {
    "recipes": ("recipe", "broken and mutated recipes"),
    "photos": ("photos", "damaged, odd and mutated images"),
    "training_faults": ("photos", "training that cannot go well"),
    "runs": ("run", "damaged and hostile run folders"),
    "texts": ("run", "names, labels and metadata that rule a screen or a page"),
    "bundles": ("bundle", "hostile bundles"),
    "signatures": ("bundle", "signed bundles, changed afterwards"),
    "models": ("model", "mutated and hostile model files"),
    "hostile_models": ("model", "models that are programs"),
    "adopted_models": ("model", "models to adopt that are programs"),
    "hub_modules": ("model", "SavedModels that are programs, and caches of them"),
    "caches": ("cache", "hostile caches"),
    "server": ("network", "the preview server"),
    "listening": ("network", "what commands listen on"),
    "kills": ("machine", "killed and interrupted at any moment"),
    "locks": ("machine", "two commands on one folder"),
    "resources": ("machine", "disk, memory, time and native crashes"),
    "odd_disks": ("machine", "disks without case, disks that fail"),
    "environments": ("machine", "odd folders, homes, locales, clocks"),
    "long_runs": ("machine", "long and heavy work"),
    "dependencies": ("machine", "dependencies, licences, bills of materials"),
}
"""Modules of `torture.cases` with their boundary and meaning, in the order in which they run."""

RESULTS = Path(__file__).resolve().parent / "results.json"


@dataclass(frozen=True)
class Result:
    """A case as it goes to JSON; `verdict` is "holds", "FALLS SHORT" or "cannot run"."""

    boundary: str
    group: str
    name: str
    holds: str
    verdict: str
    seconds: float
    observation: Observation


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected cases; return 1 where one falls short or cannot run, 130 after Ctrl-C."""
    args = _parser().parse_args(arguments)
    # A shell lets what it starts in the background ignore this, and children would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results: list[Result] = []
    interrupted = False
    with tempfile.TemporaryDirectory(prefix="tledge-torture-", dir=args.work) as work:
        workspace = Workspace(Path(work), args.reduced, args.seed)
        try:
            for group, case in _selected_cases(args):
                results.append(run_case(group, case, workspace))
                print(_result_line(results[-1]), flush=True)
                _write_results(args, results)
        except KeyboardInterrupt:
            interrupted = True
    _print_table(results, args.reduced)
    if interrupted:
        return 130
    print(f"Written: {args.out}")
    return int(not results or any(result.verdict != "holds" for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--only",
        type=_parse_groups,
        default=list(GROUPS),
        metavar="NAME,...",
        help="boundaries or groups: " + "".join(map(_boundary_help, BOUNDARIES)),
    )
    parser.add_argument("--case", metavar="TEXT", default="", help="cases whose name contains this")
    parser.add_argument("--reduced", action="store_true", help="what takes minutes: fewer kills and files")
    parser.add_argument("--seed", type=int, default=0, help="of what is chosen by chance [0]")
    parser.add_argument("--out", type=Path, default=RESULTS, help="figures [torture/results.json]")
    parser.add_argument("--work", type=Path, help="where the work folder is made [the system's]")
    return parser


def _boundary_help(boundary: str) -> str:
    groups = "".join(f"\n  {group:15} {meaning}" for group, (at, meaning) in GROUPS.items() if at == boundary)
    return f"\n{boundary:17} {BOUNDARIES[boundary]}{groups}"


def _parse_groups(text: str) -> list[str]:
    """Return the groups that are named by themselves or by their boundary, in the order of `GROUPS`."""
    names = text.split(",")
    if strange := [name for name in names if name not in (*BOUNDARIES, *GROUPS)]:
        known = ", ".join((*BOUNDARIES, *GROUPS))
        raise argparse.ArgumentTypeError(f"no group {strange[0]!r}; there are {known}")
    return [group for group, (boundary, _meaning) in GROUPS.items() if {group, boundary} & set(names)]


def _selected_cases(args: argparse.Namespace) -> Iterator[tuple[str, Case]]:
    for group in args.only:
        for case in import_module(f"torture.cases.{group}").CASES:
            if args.case in case.name and (case.reduced or not args.reduced):
                yield group, case


def run_case(group: str, case: Case, workspace: Workspace) -> Result:
    """Run a case; an error of the case itself is a shortfall, because nothing was shown then."""
    began = time.monotonic()
    try:
        observation = case.run(workspace)
        verdict = "holds" if observation.holds else "FALLS SHORT"
    except CannotRun as lacking:
        observation, verdict = Observation(str(lacking)), "cannot run"
    except Exception as error:
        traceback.print_exc()
        observation, verdict = Observation("", (f"the case did not end: {error!r}",)), "FALLS SHORT"
    seconds = round(time.monotonic() - began, 1)
    return Result(GROUPS[group][0], group, case.name, case.holds, verdict, seconds, observation)


def _result_line(result: Result) -> str:
    observation = result.observation
    head = (
        f"{result.verdict:11} {result.group}: {result.name} ({result.seconds:.0f} s): {observation.summary}"
    )
    return "\n".join([head, *(f"    {shortfall}" for shortfall in observation.shortfalls)])


def _write_results(args: argparse.Namespace, results: Sequence[Result]) -> None:
    from tledge._io import files

    figures: dict[str, Any] = {"reduced": args.reduced, "seed": args.seed}
    files.write_json(args.out, figures | {"cases": [asdict(result) for result in results]})


def _print_table(results: Sequence[Result], reduced: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="torture" + (", reduced" if reduced else ""))
    for name in ("boundary", "group", "cases", "short", "kills", "files", "crashes", "hangs", "MiB", "s"):
        table.add_column(name, justify="left" if name in ("boundary", "group") else "right")
    for boundary in BOUNDARIES:
        own = [result for result in results if result.boundary == boundary]
        for number, group in enumerate(dict.fromkeys(result.group for result in own)):
            own_of_group = [result for result in own if result.group == group]
            _add_row(table, "" if number else boundary, group, own_of_group)
        table.add_section()
    _add_row(table, "all", "", results)
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _add_row(table: Table, boundary: str, group: str, results: Sequence[Result]) -> None:
    shortfalls = sum(result.verdict != "holds" for result in results)
    observations = [result.observation for result in results]
    counts = ("kills", "files", "crashes", "hangs")
    sums = [sum(getattr(observation, count) for observation in observations) for count in counts]
    peak = max((result.observation.peak for result in results), default=0)
    seconds = sum(result.seconds for result in results)
    table.add_row(
        boundary, group, *map(str, (len(results), shortfalls, *sums)), f"{peak:.0f}", f"{seconds:.0f}"
    )
