"""Time zones, and names that are long or in letters that the locale does not have."""

from __future__ import annotations

import random
from pathlib import Path

from torture.support.command_checks import command_faults, observe
from torture.support.observation import Observation
from torture.support.workspace import Workspace

ZONES = ("XYZ-25:61", "Pacific/Kiritimati", "America/St_Johns", "Asia/Kathmandu", "Nowhere/City", ":")
"""Zones a day apart, with odd minutes, unknown, empty, and one that Python's own time cannot tell."""

TREE = "\u00e9t\u00e9 \u6728"
LABELS = ("\u043a\u043e\u0442", "\u72ac \u00f1")


def time_zones(workspace: Workspace) -> Observation:
    """Bundle and list under many zones: the zip is the same."""
    run = workspace.own_run("zones")
    (run.parent / "runs").mkdir()
    run = run.rename(run.parent / "runs" / "tiny")
    results, shortfalls, zips = [], list[str](), set()
    for zone in ZONES[: workspace.count(len(ZONES), 2)]:
        for command in (("bundle", run), ("list", "runs")):
            results.append(workspace.tledge(*command, cwd=run.parents[1], env={"TZ": zone}))
            shortfalls += command_faults(results[-1], 0, (), f"TZ={zone} {command[0]}: ")
        zips.add(next(run.glob("*.zip")).read_bytes())
    shortfalls += [] if len(zips) == 1 else ["the zip depends on the zone"]
    return observe(results, f"{len(results)} commands; the zip is the same in each zone", shortfalls)


def names_beyond_the_locale(workspace: Workspace) -> Observation:
    """Go from a folder of photos to a bundle under LC_ALL=C, with names and labels in other letters."""
    folder = workspace.folder("letters") / TREE
    _write_photos(folder / "photos", LABELS, "\u00e9")
    recipe, run = _recipe(workspace, folder, "r\u00e9.toml"), folder / "r\u00fcn"
    env = {"LC_ALL": "C", "TLEDGE_CACHE": str(folder / "c\u00e4che")}
    photo = folder / "photos" / LABELS[0] / "\u00e900.png"
    results, shortfalls = [], list[str]()
    for command, codes in (
        (("data", recipe, "--quiet"), (0,)),
        (("train", recipe, "--out", run, "--quiet"), (0,)),
        (("export", run, "--quiet"), (0, 3)),  # so few photos may decide nothing
        (("report", run), (0,)),
        (("predict", run / "artifacts" / "tflite-fp32.tflite", photo, "--json"), (0,)),
    ):
        results.append(workspace.tledge(*command, cwd=folder, env=env))
        if results[-1].code not in codes:
            shortfalls.append(f"{command[0]}: {results[-1].tail}")
    labels = tuple((run / "labels.txt").read_text(encoding="utf-8").splitlines())
    shortfalls += [] if labels == tuple(sorted(LABELS)) else [f"labels.txt has {labels}"]
    return observe(results, f"{len(results)} commands from photos to a prediction, labels intact", shortfalls)


def longest_names(workspace: Workspace) -> Observation:
    """Use names of 255 bytes for photos, labels, recipe, cache archive and output."""
    folder = workspace.folder("longest")
    labels = ("a" * 255, "\u6728" * 85)
    _write_photos(folder / "photos", labels, "n" * 249)
    recipe = _recipe(workspace, folder, "r" * 250 + ".toml")
    packed = folder / ("p" * 251 + ".zip")
    env = {"TLEDGE_CACHE": str(folder / ("c" * 255))}
    results, shortfalls = [], list[str]()
    for command in (
        ("data", recipe, "--pack", packed, "--quiet"),
        ("data", recipe, "--out", folder / ("d" * 255), "--quiet"),
        ("train", recipe, "--cache", packed, "--out", folder / ("o" * 255), "--quiet"),
        ("export", folder / ("o" * 255), "--quiet"),
        ("report", folder / ("o" * 255)),
    )[: workspace.count(5, 2)]:
        results.append(workspace.tledge(*command, cwd=folder, env=env))
        codes = (0, 3) if command[0] == "export" else (0,)  # so few photos may decide nothing
        if results[-1].code not in codes or "Warning" in results[-1].err:
            shortfalls.append(f"{command[0]}: {results[-1].tail}")
    return observe(results, f"{len(results)} commands under names of 255 bytes", shortfalls)


def _recipe(workspace: Workspace, folder: Path, name: str) -> Path:
    """Write a recipe that trains on `folder/photos`."""
    text = workspace.recipe(folder, epochs=3).read_text(encoding="utf-8")
    drawn = 'source = "drawn"\ntrain = 480\ntest = 120\nsize = 48'
    text = text.replace(drawn, 'source = "folder"\npath = "photos"')
    text = text.replace("fraction = 0.2 }", 'fraction = 0.2 }\ntest = { from = "train", fraction = 0.3 }')
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def _write_photos(folder: Path, labels: tuple[str, str], start: str) -> None:
    """Draw plain photos in two colours, a folder of each label."""
    from PIL import Image

    rng = random.Random(0)
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for index in range(30):
            colour = tuple(min(255, 60 + 130 * number + rng.randrange(60)) for _channel in range(3))
            Image.new("RGB", (40, 40), colour).save(folder / label / f"{start}{index:02}.png")
