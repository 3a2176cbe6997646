"""`tledge init` and `tledge data`: write a recipe for photos, and inspect them before training."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tledge._io.encoding import one_line
from tledge._process import signals
from tledge.cli.options import (
    common_options,
    echo,
    example,
    lock_until_exit,
    print_json,
    print_next_step,
    read_recipe,
    shell_path,
)
from tledge.errors import MissingError, RecipeError, RunError

if TYPE_CHECKING:
    from tledge.data.cache import Prepared
    from tledge.data.inspection import DatasetSummary
    from tledge.recipe.init_folder import Folder

_ORDERS = {
    "recipe": "the order that the recipe lists them in",
    "source": "the source's own order",
    "natural": "natural order (2 before 10); [data] labels would set another",
}
"""What `tledge data` says of the order of the labels, by `Prepared.origin`."""

SHOWN = 25
"""How many lines about problems are printed; the JSON file has all."""

MOST_LABELS = 40
"""Labels up to which each is printed with its photos; of more, those with the fewest."""

FEWEST = 10
"""Labels with the fewest photos that are printed where there are many."""


@click.command(epilog=example("tledge init photos --out flowers.toml"))
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Recipe to write [<name of the folder>.toml].")
@click.option("--force", is_flag=True, help="Replace an existing recipe.")
@click.option(
    "--label-from",
    default="",
    metavar="PATTERN",
    help="Where the labels are, such as name:{label}_* or path:{label}/*/* [found out].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def init(photos: Path, out: Path | None, force: bool, label_from: str, as_json: bool) -> None:
    """Write a recipe for a folder of PHOTOS, sorted by label, or by split and label.

    Labels may also be in the names of the photos, as in cat.0.jpg. PHOTOS may also be a CSV file, or
    several, with {split} in the path.
    """
    from tledge._io import files
    from tledge.recipe import init as init_recipe
    from tledge.recipe import init_csv, init_folder

    is_table = init_csv.is_table(photos)
    named = init_csv.folder_of(photos) if is_table else photos
    path = out or Path(f"{init_folder.default_name(named)}.toml")
    if path.is_dir():
        raise RunError(f"{path}: a folder; --out takes a file, such as {path / 'recipe.toml'}.")
    if path.exists() and not force:
        raise RunError(f"{path}: exists already. Choose another file with --out, or replace it with --force.")
    if is_table and label_from:
        raise RecipeError(f"--label-from {label_from}: only for a folder; a table has a column of labels.")
    folder = init_csv.look(photos) if is_table else init_folder.look(photos, label_from)
    folder = init_recipe.beside_recipe(folder, path)
    text = init_recipe.recipe_text(folder, init_folder.default_name(Path(path.stem)), str(path))
    files.write_text(path, text)
    evidence = init_recipe.evidence(folder)
    if as_json:
        left_out_json = {reason: asdict(group) for reason, group in folder.left_out.items()}
        print_json(
            {"recipe": str(path), "labels": list(folder.labels), "splits": folder.splits}
            | {"options": folder.options, "left_out": left_out_json, "evidence": evidence.as_json()}
        )
        return
    _show_folder(folder)
    for line in evidence.sentences():
        echo(line)
    echo(one_line(f"Recipe: {path}. Its comments give the reason for each choice."))
    print_next_step(f"tledge data {shell_path(path)}")


def _show_folder(folder: Folder) -> None:
    """Print what was found in a folder, and how many photos the splits of the recipe will have."""
    from tledge.data.sources import left_out
    from tledge.data.sources.split_names import ROLES
    from tledge.recipe import init as init_recipe

    for split, counts in folder.splits.items():
        echo(one_line(f"{'photos' if folder.layout == 'label' else split}: {_counts_line(counts)}"))
    sizes = init_recipe.split_sizes(folder)
    if len(folder.splits) < len(sizes):
        echo("splits: about " + ", ".join(f"{sizes[role]:,} {role}" for role in ROLES))
    for line in folder.merged:
        echo(line)
    for key, value in folder.options.items():
        echo(one_line(f"[data] {key} = {init_recipe.as_toml(value)}"))
    for line in left_out.sentences(folder.left_out):
        echo(one_line(line))
    if folder.unreadable:
        examples = "; ".join(folder.unreadable[: left_out.EXAMPLES])
        echo(one_line(f"{len(folder.unreadable)} of {folder.headers} photos cannot be read: {examples}"))
    _show_alike(folder.alike)


def _show_alike(labels: tuple[str, ...]) -> None:
    """Say which labels a fixed camera seems to have taken, whose photos would all be in one split."""
    if labels:
        names = ", ".join(labels[:3]) + " ..." * (len(labels) > 3)
        echo(one_line(f"Most photos of {names} are near-duplicates, as with a fixed camera: see group."))


@click.command(epilog=example("tledge data recipes/rps.toml"))
@click.argument("recipe_name", metavar="RECIPE")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a recipe key.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of contact sheets [runs/<name>-data].")
@click.option("--pack", type=click.Path(path_type=Path), help="Also write the prepared photos as a zip.")
@common_options
def data(
    recipe_name: str,
    settings: tuple[str, ...],
    out: Path | None,
    pack: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Prepare the photos of RECIPE, count them, and report problems such as duplicates.

    Writes a contact sheet of each split, one of augmented photos, and report.json. With --pack
    cache.zip another machine can `tledge train RECIPE --cache cache.zip` without the photos.
    """
    from tledge._io import files
    from tledge.cli import console
    from tledge.data import cache_archive, inspection, prepare, splits
    from tledge.run import folder as run_folder
    from tledge.training import augmentation_sheet

    recipe, _text = read_recipe(recipe_name, settings)
    if out and out.suffix.lower() == ".zip" and not out.is_dir():
        raise RecipeError(
            f"--out {out}: expected a folder, for contact sheets. A zip of the photos: --pack {out}."
        )
    signals.advice.append(_resume_advice)
    folder = out or Path("runs") / f"{recipe.meta.name}-data"
    lock_until_exit(run_folder.RunFolder(folder))
    with console.progress_shown(quiet) as progress:
        prepared = prepare.prepare_dataset(recipe.data, recipe.model.image_size, progress)
        splits.require_labels(prepared)
        rows = splits.split(prepared, recipe.data, recipe.meta.seed, progress)
        summary = inspection.summarize(prepared, rows, progress, recipe.data)
        counts = splits.counts(prepared, rows)
        found = inspection.as_json(prepared, rows, summary, recipe.stage, recipe.data)
        facts = {"cache": str(prepared.folder), **found}
        files.write_json(folder / "report.json", facts)
        sheets = inspection.write_contact_sheets(prepared, rows, folder, recipe.meta.seed)
        try:
            sheets += augmentation_sheet.augmented(
                prepared, rows["train"], recipe.augment, folder, recipe.meta.seed
            )
        except MissingError as error:
            progress.say(f"no contact sheet of augmented photos: {error}")
        if pack:
            cache_archive.pack(prepared, recipe.data, recipe.model.image_size, pack, progress)
    if as_json:
        packed = {"packed": str(pack)} if pack else {}
        print_json({**facts, "sheets": [str(path) for path in sheets], **packed})
        return
    _show(prepared, counts, summary, facts["problems"])
    echo(
        one_line(f"Sheets: {folder}/ ({', '.join(path.name for path in sheets)}), all figures in report.json")
    )
    echo(one_line(f"Cache: {prepared.folder}" + (f", packed into {pack}" if pack else "")))
    print_next_step(
        " ".join(
            ["tledge train", shell_path(recipe_name), *(f"--set {shlex.quote(one)}" for one in settings)]
        )
    )


def _counts_line(counts: Mapping[str, int]) -> str:
    """Return the photos of each label or, of many labels, of those with the fewest."""
    if len(counts) <= MOST_LABELS:
        return ", ".join(f"{label} {count}" for label, count in counts.items())
    low, high = min(counts.values()), max(counts.values())
    fewest = ", ".join(f"{label} {counts[label]}" for label in _fewest(counts))
    each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{sum(counts.values()):,}, {each} of each of {len(counts):,} labels; fewest: {fewest}"


def _fewest(counts: Mapping[str, int]) -> list[str]:
    """Return the labels with the fewest photos."""
    return sorted(counts, key=lambda label: counts[label])[:FEWEST]


def _resume_advice(words: list[str]) -> str:
    """Say how to continue an interrupted command: by the same command."""
    return f"Interrupted. The photos prepared so far are kept; resume with: {signals.shell_command(words)}"


def _show(
    prepared: Prepared, counts: dict[str, dict[str, int]], summary: DatasetSummary, lines: Sequence[str]
) -> None:
    from tledge.cli import console
    from tledge.data.sources import left_out

    is_short = len(prepared.labels) <= MOST_LABELS
    labels = prepared.labels if is_short else _fewest(counts["train"])
    body = [(label, *(str(one[label]) for one in counts.values())) for label in labels]
    totals = ("all", *(str(sum(one.values())) for one in counts.values()))
    console.print_rows([("", *counts), *body, totals])
    if not is_short:
        echo(
            f"These are the {len(labels)} of {len(prepared.labels):,} labels with the fewest train photos; "
            "report.json has all."
        )
    console.print_rows(console.photo_rows(summary))
    echo(f"Labels are in {_ORDERS[prepared.origin]}.")
    for line in summary.skipped[:SHOWN]:
        echo(one_line(f"skipped {line}"))
    if len(summary.skipped) > SHOWN:
        echo(f"and {len(summary.skipped) - SHOWN:,} more skipped photos in report.json")
    for line in left_out.sentences(summary.left_out):
        echo(one_line(line))
    for line in lines[:SHOWN]:
        echo(line)
    if len(lines) > SHOWN:
        echo(f"and {len(lines) - SHOWN} more lines in report.json")
