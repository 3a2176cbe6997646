"""Train and export recipes with several seeds, and print the accuracy and agreement that each reaches.

    python -m benchmarks.accuracy quickstart rps init:PHOTOS [--seeds 0 1 2] [--out FILE] [--work DIR]

`init:PHOTOS` is the recipe that `tledge init` writes for a folder of photos. The documentation's figures
come from here. They belong to a machine: another processor, number of cores or version of TensorFlow rounds
differently, and a training goes another way from there. So a seed does not carry over, and what should come
back on another machine is the range over seeds, not the figure of one.

Each accuracy is printed with its 95 % interval (Wilson 1927) for the number of test images; `int8` is the
share of test images on which the int8 artifact predicts the same label as Keras, and `converter's own` that
of the same conversion without tledge's bias correction.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from benchmarks.processes import BenchmarkError
from benchmarks.workspace import Workspace, real_data

HEADER = "| recipe | seed | test images | test accuracy (95 %) | int8 | converter's own | int8 size |"
BELOW = "|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class SeedResult:
    """What one recipe reached with one seed; shares from 0 to 1, `size` in bytes."""

    recipe: str
    seed: int
    images: int
    accuracy: float
    low: float
    high: float
    agreement: float
    uncorrected: float
    size: int
    verdict: str


def measure(workspace: Workspace, recipe: str, name: str, seed: int) -> SeedResult:
    """Train and export one recipe with one seed; raises BenchmarkError where a command fails."""
    run = workspace.work / "runs" / f"{name}-{seed}"
    workspace.tledge("train", recipe, "--set", f"recipe.seed={seed}", "--out", run, "--quiet")
    try:
        workspace.tledge("export", run, "--int8", "--quiet")
    except BenchmarkError:  # a failed verdict is a figure too; anything else leaves no table
        if not (run / "parity.json").is_file():
            raise
    test = json.loads((run / "run.json").read_text())["test"]
    rows = json.loads((run / "parity.json").read_text())["rows"]
    int8 = next(row for row in rows if row["variant"] == "tflite-int8")
    return SeedResult(
        name, seed, test["images"], test["accuracy"], test["low"], test["high"], int8["agreement"],
        int8["without_bias_correction"]["agreement"], int8["bytes"], int8["verdict"],
    )  # fmt: skip


def line(result: SeedResult) -> str:
    """Return a result as a row of the table."""
    verdict = "" if result.verdict == "passed" else f" ({result.verdict})"
    return (
        f"| {result.recipe} | {result.seed} | {result.images} "
        f"| {result.accuracy:.3f} ({result.low:.3f} to {result.high:.3f}) | {result.agreement:.4f}{verdict} "
        f"| {result.uncorrected:.4f} | {result.size / 1024:.0f} KiB |"
    )


def summary(results: Sequence[SeedResult]) -> str:
    """Return the row of a recipe over its seeds: the mean, and the least and largest."""

    def spread(values: Sequence[float], digits: int) -> str:
        return f"{mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"

    return (
        f"| **{results[0].recipe}** | {len(results)} seeds | {results[0].images} "
        f"| {spread([result.accuracy for result in results], 3)} "
        f"| {spread([result.agreement for result in results], 4)} "
        f"| {spread([result.uncorrected for result in results], 4)} | |"
    )


def recipe_of(workspace: Workspace, asked: str) -> tuple[str, str]:
    """Return the recipe's name or file and its name in the table; `init:PHOTOS` writes it first."""
    kind, _, photos = asked.partition(":")
    if kind != "init":
        return asked, Path(asked).stem
    name = Path(photos).name
    path = workspace.work / f"{name}.toml"
    workspace.tledge("init", Path(photos).resolve(), "--out", path)
    return str(path), f"init {name}"


def main() -> None:
    """Print the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="+", help="names or files of recipes, or init:PHOTOS")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    parser.add_argument("--work", type=Path, help="where the work folder is made")
    asked = parser.parse_args()
    done: list[SeedResult] = []
    with tempfile.TemporaryDirectory(prefix="tledge-accuracy-", dir=asked.work) as work:
        workspace = Workspace(Path(work), real_data())
        print(HEADER, BELOW, sep="\n", flush=True)
        for recipe in asked.recipes:
            path, name = recipe_of(workspace, recipe)
            results = []
            for seed in asked.seeds:
                results.append(measure(workspace, path, name.replace(" ", "-"), seed))
                print(line(results[-1]), flush=True)
            print(summary(results), flush=True)
            done += results
    if asked.out:
        asked.out.write_text(json.dumps([asdict(result) for result in done], indent=2) + "\n")


if __name__ == "__main__":
    main()
