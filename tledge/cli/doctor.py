"""`tledge doctor`: report what this machine can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tledge.cli.options import common_options, echo, example, json_fields, print_json, print_next_step

if TYPE_CHECKING:
    from tledge.doctor import Ability, Backend, Checkup


@click.command(epilog=example("tledge doctor"))
@common_options
def doctor(quiet: bool, as_json: bool) -> None:
    """Report what this machine can do, and the command that adds each missing capability.

    Shows Python and the packages beside the versions that tledge was tested with, the GPUs that each
    backend sees, disk and memory, and for every variant whether it can be made, opened and inspected.
    Loads TensorFlow, JAX and the runtimes in separate processes. The exit code is always 0.
    """
    from tledge import doctor as stage
    from tledge.cli import console

    with console.progress_shown(quiet) as progress:
        checkup = stage.examine(progress)
    if as_json:
        print_json(json_fields(checkup))
        return
    _show_machine(checkup)
    _show_abilities(checkup)
    trains = any(checkup.tasks[f"train with {backend.name}"].possible for backend in checkup.backends)
    print_next_step("tledge train quickstart" if trains else "tledge predict BUNDLE PHOTO.jpg")


def _show_machine(checkup: Checkup) -> None:
    from tledge.cli import console

    machine = checkup.machine
    free = "" if checkup.memory_free_mib is None else f", {_gib(checkup.memory_free_mib)} free"
    memory = "unknown" if machine.memory_mib is None else f"{_gib(machine.memory_mib)}{free}"
    other = [package for package in checkup.packages if package.version != package.tested]
    rows = [
        ("tledge", f"{checkup.tledge}, Python {machine.python} ({checkup.python})"),
        ("machine", f"{machine.processor} ({machine.architecture}, {machine.cores} cores), {machine.system}"),
        ("memory", memory),
        *((f"disk, {disk.what}", f"{_gib(disk.free_mib)} free: {disk.path}") for disk in checkup.disks),
        *((f"GPUs, {backend.name}", _gpus(backend)) for backend in checkup.backends),
        *([("GPUs, driver", ", ".join(checkup.cards))] if checkup.cards else []),
        ("packages", f"{len(checkup.packages) - len(other)} in the version that tledge was tested with"),
        *((f"  {package.name}", f"{package.version}, tested with {package.tested}") for package in other),
    ]
    console.print_rows(rows)


def _gib(mib: int) -> str:
    return f"{mib / 1024:.1f} GiB"


def _gpus(backend: Backend) -> str:
    if not backend.version:
        return f"{backend.name} is not installed"
    seen = ", ".join(backend.gpus) or "none"
    return f"{backend.trouble or seen} ({backend.version})"


def _show_abilities(checkup: Checkup) -> None:
    from rich.table import Table
    from rich.text import Text

    from tledge.cli import console

    table = Table(box=None, pad_edge=False)
    for name in ("variant", "make", "open", "inspect"):
        table.add_column(name, justify="left", no_wrap=True)
    for variant in checkup.variants:
        words = map(_answer, (variant.made, variant.opened, variant.inspected))
        table.add_row(Text(variant.variant), *map(Text, words))
    out = console.result_console()
    out.print()
    out.print(console.fitting_table(table, out))
    out.print()
    console.print_rows([(name, _answer(able)) for name, able in checkup.tasks.items()])
    for line in checkup.remarks:
        echo(line)


def _answer(able: Ability) -> str:
    """Return `yes`, or the command that adds the capability."""
    return "yes" if able.possible else able.command
