"""Show the help of the command line: commands in groups, a quick start, and options that are recipe keys."""

from __future__ import annotations

import click

GROUPS: dict[str, dict[str, str]] = {
    "Build a model": {
        "init": "Write a recipe for a folder of photos.",
        "data": "Prepare the photos, report what is wrong.",
        "train": "Train the model of a recipe.",
        "adopt": "Make a run of a model that you have.",
    },
    "Ship it": {
        "export": "Convert a run, verify it, bundle it.",
        "verify": "Check artifacts against the Keras model.",
        "bundle": "Make a bundle, or a device project.",
        "bench": "Measure latency and memory.",
        "compare": "Check if model B can replace model A.",
    },
    "Use it": {
        "predict": "Classify photos with a model.",
        "preview": "Try a model in the browser.",
    },
    "Look inside": {
        "report": "Write a report of a run (HTML, Markdown).",
        "inspect": "Show what is inside a model or a run.",
        "list": "List runs, recipes, keys, backbones …",
        "doctor": "Show what this machine can do.",
        "completion": "Complete commands in your shell.",
    },
}
"""The commands in the order of work, each with a line that fits into 60 columns."""

QUICK_START = (
    "tledge init photos --out mine.toml",
    "tledge train mine.toml",
    "tledge export runs/mine --int8",
    "tledge predict runs/mine/bundle photo.jpg",
)

OTHER_NAMES = {
    "arch": "backbone", "augmentation": "flip", "batch": "batch_size", "bs": "batch_size", "epoch": "epochs",
    "freeze": "unfreeze", "image": "image_size", "img": "image_size", "img_size": "image_size",
    "imgsz": "image_size", "input_size": "image_size", "learningrate": "learning_rate",
    "lr": "learning_rate", "lr0": "learning_rate", "model": "backbone", "num_epochs": "epochs",
    "optim": "optimizer", "pretrained": "weights", "size": "image_size", "width": "alpha",
}  # fmt: skip
"""What other tools call a recipe key."""


class CommandGroup(click.Group):
    """A group of commands whose help lists them by purpose, each in one line."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a quick start, the commands in `GROUPS`, and the options of the program itself."""
        with formatter.section("Quick start (a folder for each label in photos)"):
            for line in QUICK_START:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        width = max(len(name) for lines in GROUPS.values() for name in lines)
        for title, lines in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in lines.items()])
        click.Command.format_options(self, ctx, formatter)


def recipe_key_hint(error: click.ClickException) -> str:
    """Return what to type where an unknown option is a key of the recipe; "" for any other error."""
    from tledge.recipe import settings

    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return ""
    key = error.option_name.lstrip("-").replace("-", "_")
    place = settings.place_of(OTHER_NAMES.get(key, key))
    if not place:
        return ""
    if any("--set" in parameter.opts for parameter in error.ctx.command.params):
        return f"{place} is a key of the recipe. Type: --set {place}=VALUE"
    return f"{place} is a key of the recipe, and `tledge train` takes it: --set {place}=VALUE"
