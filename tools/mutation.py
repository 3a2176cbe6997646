"""Change the modules that carry the promise, one operator at a time, and list changes that no test notices.

    python tools/mutation.py [--sample N] [--seed N] [--workers N] [MODULE ...]

Run by `make mutation`, by hand: all modules take hours, so name some, or take a sample of each. mutmut
makes the changes in a copy of this repository, and the fast tests of a module judge each. A survivor that
stands in tools/mutation_survivors.toml is explained; the others are printed. A change within a sentence is
counted apart: tests hold to what a message says, not to each of its words. Ends with 1 where a survivor is
not explained.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import working_copy

SURVIVORS = working_copy.ROOT / "tools" / "mutation_survivors.toml"
WORK = working_copy.ROOT / ".cache" / "mutation"
MUTMUT = "mutmut==3.8.1"

SURVIVED = (0, 5, 33)
"""Exit codes of a mutant whose tests passed, or that no test runs."""

MODULES: dict[str, tuple[str, ...]] = {
    "metrics.parity_gates": (),
    "metrics.statistics": (),
    "metrics.per_class": (),
    "metrics.abstention": ("inference/test_predict.py",),
    "verification.parity": ("verification/test_parity_rows.py", "verification/test_flips.py"),
    "verification.structure": (),
    "verification.causes": (),
    "verification.verify": ("verification/test_verify_reports.py",),
    "quantization.bias_correction": (),
    "quantization.range_rules": (),
    "quantization.activation_statistics": (),
    "quantization.equalization": (),
    "quantization.gptq": (),
    "quantization.mixed_precision": (),
    "quantization.tflite_graph": (),
    "quantization.repair": (),
    "quantization.repair_candidates": (),
    "quantization.selection_images": (),
    "quantization.calibration_set": (),
    "conversion.calibration_data": (),
    "data.splits": ("data/test_split_groups.py",),
    "run.golden_set": (),
    "data.golden_set_writer": ("training/test_outputs.py",),
    "bundle.build": (),
    "bundle.manifest": ("bundle/test_manifest_schema.py",),
    "bundle.reader": ("bundle/test_hostile_bundles.py",),
    "bundle.signing": (),
    "preprocessing.image": ("preprocessing/test_image_damage.py",),
    "preprocessing.encodings": (),
    "preprocessing.app_variants": (),
}
"""The modules, and the tests below tests/unit that judge them beside the module's own."""


@dataclass(frozen=True)
class Mutant:
    """A change that mutmut made: its name, and the lines before and after it."""

    name: str
    before: str
    after: str

    @property
    def is_wording(self) -> bool:
        """Whether nothing but a sentence changed, a text with a blank in it."""
        return _without_sentences(self.before) == _without_sentences(self.after)


def _without_sentences(line: str) -> str:
    """Return a line of code without text between quotes that holds a blank; values in braces stay."""
    parts = line.split('"')
    parts[1::2] = ["".join(re.findall(r"{.*?}", part)) if " " in part else part for part in parts[1::2]]
    return '"'.join(parts)


@dataclass(frozen=True)
class Outcome:
    """The mutants of a module: how many there are, were tried and were noticed, and those that survived."""

    module: str
    made: int
    tried: int
    killed: int
    survivors: tuple[Mutant, ...]


def path_of(module: str) -> str:
    """Return the path of a module's file in the repository."""
    return f"tledge/{module.replace('.', '/')}.py"


def tests_of(module: str) -> list[str]:
    """Return the paths of the tests that judge a module: those of its own name, and others of `MODULES`."""
    package, name = module.rsplit(".", 1)
    return [f"tests/unit/{path}" for path in (f"{package}/test_{name}.py", *MODULES[module])]


def explained() -> set[tuple[str, str, str]]:
    """Return module, line before and line after of every survivor that the list explains."""
    listed = tomllib.loads(SURVIVORS.read_text(encoding="utf-8")).get("survivor", [])
    return {(entry["module"], entry["before"], entry["after"]) for entry in listed}


def _environment(folder: Path) -> Path:
    """Make the environment of mutmut, which sees the packages of this one; return its program."""
    program = folder / "bin" / "mutmut"
    if not program.exists():
        venv.create(folder, with_pip=True, clear=True)
        (site,) = folder.glob("lib/python*/site-packages")
        packages = [path for path in sys.path if path.endswith("site-packages")]
        (site / "packages.pth").write_text("\n".join(packages))
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", MUTMUT], check=True)
    return program


def _copy(module: str, folder: Path) -> None:
    """Copy what the tests need into a new folder, with the configuration of mutmut."""
    working_copy.copy(folder)
    settings = {
        "source_paths": ["tledge"],
        "only_mutate": [path_of(module)],
        "pytest_add_cli_args_test_selection": [*tests_of(module), "-p", "no:cacheprovider"],
        "also_copy": list(working_copy.COPIED),
    }
    lines = [f"{name} = {json.dumps(values)}" for name, values in settings.items()]
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n".join(["", "[tool.mutmut]", *lines, ""]))


def _results(folder: Path, module: str) -> dict[str, int | None]:
    """Return the exit code of the tests by the name of a mutant, None where it was not tried."""
    meta = folder / "mutants" / f"{path_of(module)}.meta"
    codes: dict[str, int | None] = json.loads(meta.read_text())["exit_code_by_key"]
    return codes


def _mutant(mutmut: Path, folder: Path, name: str) -> Mutant:
    """Ask mutmut for the lines that a mutant changes."""
    shown = subprocess.run([mutmut, "show", name], cwd=folder, capture_output=True, text=True, check=True)
    lines = [line for line in shown.stdout.splitlines() if not line.startswith(("---", "+++", "#"))]
    before, after = ("\n".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+")
    return Mutant(name, before, after)


def mutate(module: str, sample: int | None, seed: int, workers: int) -> Outcome:
    """Try the mutants of a module, or a sample of them, and return what became of them."""
    mutmut, folder = _environment(WORK / "environment"), WORK / module
    _copy(module, folder)
    environment = {**os.environ, "PYTHONPATH": str(folder / "mutants")}  # for processes that tests start
    with (WORK / f"{module}.log").open("w", encoding="utf-8") as log:

        def run(*names: str) -> None:
            command = [mutmut, "run", "--max-children", str(workers), *names]
            subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False)

        run("none")  # a name that no mutant has: mutmut makes them, times the tests, and stops
        names = sorted(_results(folder, module))
        run(*_sampled(names, sample, seed))
    codes = {name: code for name, code in _results(folder, module).items() if code is not None}
    if not codes:
        raise SystemExit(f"{module}: no mutant was tried; see {log.name}")
    alive = [name for name, code in codes.items() if code in SURVIVED]
    survivors = tuple(_mutant(mutmut, folder, name) for name in alive)
    return Outcome(module, len(names), len(codes), len(codes) - len(alive), survivors)


def _sampled(names: Sequence[str], sample: int | None, seed: int) -> Sequence[str]:
    """Choose names by a seed; return none where all are to be tried, which is what mutmut does without."""
    if sample is None or sample >= len(names):
        return ()
    return random.Random(seed).sample(names, sample)


def report(outcome: Outcome, known: set[tuple[str, str, str]]) -> Iterator[str]:
    """Yield the score of a module, and the survivors that nothing explains."""
    wording = [mutant for mutant in outcome.survivors if mutant.is_wording]
    others = [mutant for mutant in outcome.survivors if not mutant.is_wording]
    new = [mutant for mutant in others if (outcome.module, mutant.before, mutant.after) not in known]
    counted = outcome.tried - len(wording)
    share = outcome.killed / max(1, counted)
    yield (
        f"{outcome.module:36} {outcome.killed:4} of {counted:4} noticed, {share:6.1%}; "
        f"{len(others) - len(new)} explained, {len(new)} not; {len(wording)} within sentences; "
        f"{outcome.tried} of {outcome.made} tried"
    )
    for mutant in new:
        yield f"  {mutant.name}\n    - {mutant.before}\n    + {mutant.after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants of the modules that are named, or of all; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", choices=[*MODULES, []])
    parser.add_argument("--sample", type=int, help="try so many mutants of each module, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args(arguments)
    known, ends_well = explained(), True
    for module in chosen.modules or MODULES:
        lines = list(report(mutate(module, chosen.sample, chosen.seed, chosen.workers), known))
        print(*lines, sep="\n", flush=True)
        ends_well &= len(lines) == 1
    return 0 if ends_well else 1


if __name__ == "__main__":
    raise SystemExit(main())
