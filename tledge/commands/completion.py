"""`tledge completion`, and what the shell is told of arguments that name a thing: runs, recipes, variants.

A shell that asks wants an answer at once and no message, so only folders and light tables are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from tledge.commands import example

SHELLS = ("bash", "zsh", "fish")

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _named(names: Callable[[], Iterable[str]], *, or_file: bool = False) -> Complete:
    """A completion with those of the names that fit; paths are completed where none does."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")] if or_file else found

    return complete


def _runs() -> list[str]:
    return sorted(str(path.parent) for path in Path("runs").glob("*/run.json"))


def _bundles() -> list[str]:
    return [f"{run}/bundle" for run in _runs() if Path(run, "bundle").is_dir()]


def _recipes() -> list[str]:
    from tledge import shipped

    return [*map(str, sorted(Path().glob("*.toml"))), *shipped.recipes()]


def _variants() -> list[str]:
    from tledge.formats import VARIANTS

    return list(VARIANTS)


def _targets() -> list[str]:
    from tledge.targets import TARGETS

    return list(TARGETS)


run_names = _named(_runs, or_file=True)
bundle_names = _named(lambda: [*_bundles(), *_runs()], or_file=True)
recipe_names = _named(_recipes, or_file=True)
variant_names = _named(_variants)
target_names = _named(_targets)


@click.command(epilog=example('eval "$(tledge completion bash)"'))
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands, options, runs, recipes, variants and targets in a SHELL.

    \b
    bash: eval "$(tledge completion bash)" in ~/.bashrc
    zsh:  eval "$(tledge completion zsh)" in ~/.zshrc
    fish: tledge completion fish > ~/.config/fish/completions/tledge.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells of SHELLS"
    group = click.get_current_context().find_root().command
    click.echo(kind(group, {}, "tledge", "_TLEDGE_COMPLETE").source())
