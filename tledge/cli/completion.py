"""`tledge completion`, and the names that a shell completes: runs, recipes, variants, targets.

Completion has to be fast and silent, so it reads only folders and small tables.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from tledge.cli.options import example

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic from click 8.4 on

SHELLS = ("bash", "zsh", "fish")


def _runs() -> list[str]:
    return sorted(str(path.parent) for path in Path("runs").glob("*/run.json"))


def _bundles() -> list[str]:
    return [f"{run}/bundle" for run in _runs() if Path(run, "bundle").is_dir()]


def _recipes() -> list[str]:
    from tledge._io import resources

    return [*map(str, sorted(Path().glob("*.toml"))), *resources.recipes()]


def _variants() -> list[str]:
    from tledge.formats.registry import VARIANTS

    return list(VARIANTS)


def _targets() -> list[str]:
    from tledge.devices.projects import TARGETS

    return list(TARGETS)


NAMES: dict[str, Callable[[], list[str]]] = {
    "run": _runs,
    **dict.fromkeys(("path", "model", "bundle", "file", "a", "b"), lambda: [*_bundles(), *_runs()]),
    "recipe_name": _recipes,
    **dict.fromkeys(("variant", "variants", "named"), _variants),
    "target": _targets,
}
"""Python name of a parameter → the names that complete it."""


class Named(_ParamType):
    """A parameter type that also completes names; it completes paths if no name fits."""

    def __init__(self, plain: _ParamType, names: Callable[[], list[str]]) -> None:
        self.plain, self.names, self.name = plain, names, plain.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self.plain.convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        matches = [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]
        is_path = param.name == "recipe_name" or isinstance(self.plain, click.Path)
        return matches or ([CompletionItem(incomplete, type="file")] if is_path else [])


def attach(group: click.Group) -> None:
    """Make every parameter in `NAMES` of the group's commands complete its names."""
    for command in group.commands.values():
        for param in command.params:
            if param.name in NAMES and not isinstance(param.type, (click.Choice, Named)):
                param.type = Named(param.type, NAMES[param.name])


@click.command(epilog=example("tledge completion bash"))
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands, options, runs, recipes, variants and targets in a SHELL.

    \b
    bash: eval "$(tledge completion bash)" in ~/.bashrc
    zsh:  eval "$(tledge completion zsh)" in ~/.zshrc
    fish: tledge completion fish | source in config.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells of SHELLS"
    group = click.get_current_context().find_root().command
    click.echo(kind(group, {}, "tledge", "_TLEDGE_COMPLETE").source())
