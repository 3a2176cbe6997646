"""Broken and mutated recipes, and other files that people write by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from torture.support import command_batch, processes
from torture.support.case import Case
from torture.support.command_checks import command_faults, observe
from torture.support.observation import CannotRun, Observation
from torture.support.workspace import ROOT, Workspace

BROKEN = ROOT / "tests" / "unit" / "recipe" / "broken_recipes"
LEAST_RECIPES = 60
"""Broken recipes that there are at least."""

MEMORY = 1024
"""MiB of address space for a process that reads a recipe: far below what an endless file would take."""


def broken_recipes(workspace: Workspace) -> Observation:
    """Give every broken recipe to `tledge train`; some of them in processes of their own."""
    paths = sorted(BROKEN.glob("*.toml"))
    folder = workspace.folder("broken")
    separate = workspace.rng("broken").sample(paths, workspace.count(12, 3))
    jobs = [["train", path, "--out", folder / "run", "--quiet"] for path in [*paths, *separate]]
    results = command_batch.run(workspace, folder, jobs[: len(paths)])
    results += [workspace.tledge(*job) for job in jobs[len(paths) :]]
    shortfalls = [f"{len(results)} of {len(jobs)} commands ended"] if len(results) < len(jobs) else []
    for path, result in zip([*paths, *separate], results, strict=False):
        first = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# expect: ")
        shortfalls += command_faults(result, 2, (first, path.name), f"{path.name}: ")
    if len(paths) < LEAST_RECIPES:
        shortfalls.append(f"{len(paths)} broken recipes, at least {LEAST_RECIPES} wanted")
    if (folder / "run").exists():
        shortfalls.append("a broken recipe wrote a run folder")
    return observe(
        results, f"{len(paths)} recipes, {len(separate)} of them in processes of their own", shortfalls
    )


def mutated_recipes(workspace: Workspace) -> Observation:
    """Mutate recipes, `--set`, CSV files, coordinators and label lists with hypothesis."""
    example_count = workspace.count(20_000, 1_500)
    result_file = workspace.folder("mutated") / "fuzz.json"
    command = processes.python_module(
        "torture.workers.recipe_fuzzer", example_count, workspace.seed, result_file
    )
    result = processes.run(command, workspace.env, timeout=1200, memory=2048)
    if not result_file.is_file():
        return observe([result], "", [f"the process that reads them broke: {result.tail}"])
    outcome = json.loads(result_file.read_text(encoding="utf-8"))
    counts = outcome["examples"]
    shortfalls = [f"{name}: {failure}" for name, failure in outcome["failed"].items()]
    if sum(counts.values()) < 0.97 * example_count:  # shares are rounded down, and small sets run out
        shortfalls.append(f"only {sum(counts.values())} of {example_count} examples were tried")
    summary = ", ".join(f"{name} {count}" for name, count in counts.items())
    return Observation(
        summary, tuple(shortfalls), files=sum(counts.values()), hangs=int(result.hung), peak=result.peak
    )


def recipes_that_are_no_text(workspace: Workspace) -> Observation:
    """Name recipes that are folders, pipes, devices, gigabytes, or of another encoding."""
    folder = workspace.folder("no file")
    paths = {name: make(folder / name) for name, (make, _code, _words) in ODD_RECIPES.items()}
    shortfalls: list[str] = []
    results = []
    for name, (_make, code, words) in ODD_RECIPES.items():
        job = ("data", paths[name], "--out", folder / "sheets", "--quiet")
        results.append(workspace.tledge(*job, cwd=folder, timeout=30, memory=MEMORY))
        shortfalls += command_faults(results[-1], code, words, f"{name}: ")
    return observe(
        results, f"{len(results)} recipes that are no files of text, peak memory below", shortfalls
    )


def _text(text: str, encoding: str = "utf-8") -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(text.encode(encoding))
        return path

    return make


def _link(target: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.symlink_to(target)
        return path

    return make


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _sparse(path: Path) -> Path:
    path.touch()
    os.truncate(path, 1 << 30)
    return path


GOOD_RECIPE = """[data]
source = "drawn"
train = 12
test = 6
size = 32
[model]
backbone = "tiny"
weights = "none"
image_size = 32
[[stage]]
epochs = 1
"""
ODD_RECIPES: dict[str, tuple[Callable[[Path], Path], int, tuple[str, ...]]] = {
    "folder.toml": (_folder, 2, ("not a file",)),
    "pipe.toml": (_pipe, 2, ("not a file",)),
    "zero.toml": (_link("/dev/zero"), 2, ("not a file",)),
    "null.toml": (_link("/dev/null"), 2, ("not a file",)),
    "dangling.toml": (_link("nowhere.toml"), 2, ("no such recipe",)),
    "loop.toml": (_link("loop.toml"), 2, ("no such recipe",)),
    "gigabyte.toml": (_sparse, 2, ("more than",)),
    "b" * 300: (lambda path: path, 2, ("name too long",)),
    "utf-16.toml": (_text(GOOD_RECIPE, "utf-16"), 2, ("not UTF-8",)),
    "latin-1.toml": (_text(f"# Gr\xfc\xdfe\n{GOOD_RECIPE}", "latin-1"), 2, ("not UTF-8",)),
    "dots.toml": (_text(".".join("a" * 200_000) + " = 1"), 2, ("more than 64 names",)),
    "ten-megabytes.toml": (_text(GOOD_RECIPE + "# " + "x" * 10_000_000), 2, ("more than",)),
    "windows.toml": (_text(GOOD_RECIPE.replace("\n", "\r\n"), "utf-8-sig"), 0, ()),
}
"""How each is made, the exit code, and what has to be said."""


def unreadable_recipe(workspace: Workspace) -> Observation:
    """Name a recipe that this user may not read."""
    if os.geteuid() == 0:
        raise CannotRun("root may read everything; run as another user")
    path = workspace.folder("unreadable") / "secret.toml"
    path.write_text(GOOD_RECIPE, encoding="utf-8")
    path.chmod(0)
    result = workspace.tledge("data", path, "--quiet")
    return observe([result], "1 recipe without permission", command_faults(result, 2, ("cannot be read",)))


CASES = (
    Case(
        "broken recipes",
        "each is refused with exit 2 and its own message, and writes nothing",
        broken_recipes,
    ),
    Case("mutated recipes", "a recipe or a short RecipeError that names its place, soon", mutated_recipes),
    Case("recipes that are no text", "refused soon, without memory or a hang", recipes_that_are_no_text),
) + (() if os.geteuid() == 0 else (Case("unreadable recipe", "refused by name", unreadable_recipe),))
