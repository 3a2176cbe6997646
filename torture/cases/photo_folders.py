"""Folders of odd photos through `tledge data` and `tledge predict`."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torture.inputs import odd_photos
from torture.support import processes
from torture.support.observation import Observation
from torture.support.photo_decoding import DecodingOutcomes, decode_folder, is_clean
from torture.support.untrained_bundle import make_bundle
from torture.support.workspace import Workspace

RECIPE = """
[recipe]
name = "odd"
[data]
source = "folder:{photos}"
on_bad = "{on_bad}"
[data.splits]
validation = {{ from = "train", fraction = 0.2 }}
test = {{ from = "train", fraction = 0.2 }}
[model]
backbone = "tiny"
weights = "none"
image_size = 32
[[stage]]
name = "all"
epochs = 1
unfreeze = "all"
batch_norm = "train"
"""

VANISHING = """
import sys
from pathlib import Path
from tledge.cli.main import main
from tledge.data.sources import folder
checked, place = folder._check_depths, Path(sys.argv[1])
def check(*arguments):
    checked(*arguments)
    if not (place / "gone.jpg").exists():  # records are asked for twice
        return
    (place / "gone.jpg").unlink()
    (place / "cut.jpg").write_bytes((place / "cut.jpg").read_bytes()[:300])
    (place / "other.jpg").write_bytes((place / "0.jpg").read_bytes())
    (place / "folder.jpg").unlink()
    (place / "folder.jpg").mkdir()
folder._check_depths = check
main(sys.argv[2:])
"""
"""`tledge`, with photos that change once they were listed."""


def run_data_with_links(
    workspace: Workspace, name: str, photos: Mapping[str, Iterable[Path]], on_bad: str
) -> tuple[processes.ProcessResult, dict[str, Any]]:
    """Run `tledge data` on ten good photos and links to `photos`, by label; return its JSON, or {}."""
    folder = workspace.folder(name)
    good_photos(folder / "photos")
    for label, paths in photos.items():
        for path in paths:
            (folder / "photos" / label / path.name).symlink_to(path)
    return run_data(workspace, folder, on_bad)


def run_data(
    workspace: Workspace, folder: Path, on_bad: str
) -> tuple[processes.ProcessResult, dict[str, Any]]:
    """Run `tledge data` on the photos in a case's folder."""
    recipe = folder / f"{on_bad}.toml"
    recipe.write_text(RECIPE.format(photos=folder / "photos", on_bad=on_bad), encoding="utf-8")
    environment = {"TLEDGE_CACHE": str(folder / "cache")}
    result = workspace.tledge("data", recipe, "--json", "--quiet", cwd=folder, env=environment, timeout=300)
    return result, json.loads(result.out) if result.code == 0 else {}


def good_photos(folder: Path) -> None:
    """Write five photos of each of two labels, all different."""
    for turn, label in enumerate(("cat", "dog")):
        (folder / label).mkdir(parents=True)
        for number in range(5):
            image = odd_photos.sample_image("RGB", 60 + 5 * number, 80).rotate(90 * turn + 7 * number)
            (folder / label / f"{number}.jpg").write_bytes(odd_photos.encode(image, "JPEG"))


def through_commands(workspace: Workspace) -> Observation:
    """Give the odd files to `tledge data`, both ways, and `tledge predict`: the fates must agree."""
    files = workspace.folder("odd-files")
    for name, odd_photo in odd_photos.files().items():
        (files / name).write_bytes(odd_photo.data)
    decoded = decode_folder(workspace, files)
    return _compare_with_decoding(workspace, "odd-data", files, decoded)


def _compare_with_decoding(
    workspace: Workspace, name: str, files: Path, decoded: DecodingOutcomes
) -> Observation:
    """Compare what `data` and `predict` do with files whose fates are known."""
    shortfalls: list[str] = []
    bad = {name for name, fate in decoded.fates.items() if fate == "refused"}
    paths = sorted(files.iterdir())
    skipped, facts = run_data_with_links(workspace, name, {"dog": paths}, "skip")
    named = {line.partition(": ")[0].removeprefix("dog/"): line for line in facts.get("skipped", ())}
    kept_count = sum(sum(labels.values()) for labels in facts.get("counts", {}).values())
    if skipped.code or skipped.crashed or named.keys() != bad or kept_count != 10 + len(paths) - len(bad):
        shortfalls.append(
            f"data, skip: {skipped.tail}; {len(named)} named and {kept_count} kept, {len(bad)} are bad: "
            f"{sorted(bad ^ named.keys())[:5]}"
        )
    shortfalls += [f"no clean line: {line!r}" for line in named.values() if not is_clean(line)]
    stopped, _none = run_data_with_links(workspace, name, {"dog": paths}, "stop")
    lines = [line.strip() for line in stopped.err.splitlines()]
    missing = [name for name in bad if not any(line.startswith(f"dog/{name}: ") for line in lines)]
    unlisted = sum(line.startswith("and ") for line in lines)
    if stopped.code != 1 or stopped.crashed or (missing and not unlisted):
        shortfalls.append(f"data, stop: {stopped.tail}; not named: {sorted(missing)[:5]}")
    if list((workspace.work / name / "cache").glob("[!.]*")):
        shortfalls.append("data, stop: left a cache")
    predicted = workspace.tledge("predict", make_bundle(workspace), "--json", "--quiet", *paths)
    answers = json.loads(predicted.out) if predicted.out.startswith("[") else []
    differing = {Path(prediction["image"]).name for prediction in answers if "error" in prediction} ^ bad
    if predicted.code != (1 if bad else 0) or predicted.crashed or len(answers) != len(paths) or differing:
        shortfalls.append(
            f"predict: {predicted.tail}; {len(answers)} answers, otherwise: {sorted(differing)[:5]}"
        )
    peak = max(skipped.peak, stopped.peak, predicted.peak, decoded.peak)
    crashes = sum(result.crashed for result in (skipped, stopped, predicted)) + decoded.crashes
    hangs = sum(result.hung for result in (skipped, stopped, predicted)) + decoded.hangs
    return Observation(
        f"{len(paths)} files: data kept {kept_count - 10} and named {len(named)}, stop named all, "
        f"predict answered {len(answers) - len(bad)}; peak {peak:.0f} MiB",
        (*shortfalls, *decoded.shortfalls),
        files=3 * len(paths),
        crashes=crashes,
        hangs=hangs,
        peak=peak,
    )


def special_files(workspace: Workspace) -> Observation:
    """Place files among the photos that are none: pipes, devices, loops, folders, endless files."""
    folder = workspace.folder("special")
    good_photos(folder / "photos")
    dog_folder = folder / "photos" / "dog"
    _make_special(dog_folder)
    skipped, facts = run_data(workspace, folder, "skip")
    shortfalls = []
    wanted = {"endless.jpg": "too large", r"new\nline.jpg": "control characters", r"caf\xe9.jpg": "not UTF-8"}
    named = facts.get("skipped", [])
    for name, word in wanted.items():
        if not any(line.startswith(f"dog/{name}: ") and word in line for line in named):
            shortfalls.append(f"data: {name} is not named with {word!r}: {named}")
    if skipped.code or skipped.crashed or len(named) != len(wanted):
        shortfalls.append(f"data: {skipped.tail} {named}")
    (dog_folder / "itself.jpg").symlink_to("itself.jpg")
    looped, _none = run_data(workspace, folder, "skip")
    if looped.code != 1 or looped.crashed or "itself.jpg: a link" not in looped.err:
        shortfalls.append(f"data with a link to itself: {looped.tail}")
    names = sorted(path for path in dog_folder.iterdir() if not re.fullmatch(r"\d\.jpg", path.name))
    names += [Path("/dev/zero"), Path("/dev/full"), dog_folder / "nothing.jpg"]
    predicted = workspace.tledge("predict", make_bundle(workspace), "--quiet", *names, timeout=60)
    lines = predicted.out.splitlines()
    if predicted.code != 1 or predicted.crashed or predicted.hung or len(lines) < len(names):
        shortfalls.append(f"predict: {predicted.tail}, {len(lines)} lines for {len(names)} files")
    results = (skipped, looped, predicted)
    return Observation(
        f"{len(names)} of them: data named {len(named)} and passed by the rest, predict named each; peak "
        f"{max(result.peak for result in results):.0f} MiB",
        tuple(shortfalls),
        files=2 * len(names),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


def _make_special(folder: Path) -> None:
    """Fill a folder of a label; only three of these are photos by their kind, and none can be used."""
    import socket

    os.mkfifo(folder / "pipe.jpg")
    (folder / "to a pipe.jpg").symlink_to("pipe.jpg")
    (folder / "to a device.jpg").symlink_to("/dev/zero")
    (folder / "a folder.jpg").mkdir()
    (folder / "in a circle").symlink_to("..")
    with (folder / "endless.jpg").open("wb") as file:
        file.truncate(1 << 40)
    (folder / "new\nline.jpg").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes((folder / "0.jpg").read_bytes())
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path is short
        bound.bind("socket.jpg")
        os.chdir(here)


def changing_photos(workspace: Workspace) -> Observation:
    """Let photos vanish, shrink or change between listing and reading: they are named, the rest kept."""
    folder = workspace.folder("changing")
    good_photos(folder / "photos")
    dog_folder = folder / "photos" / "dog"
    for name in ("gone", "cut", "other", "folder"):
        (dog_folder / f"{name}.jpg").write_bytes((dog_folder / "1.jpg").read_bytes())
    recipe = folder / "skip.toml"
    recipe.write_text(RECIPE.format(photos=folder / "photos", on_bad="skip"), encoding="utf-8")
    command = [sys.executable, "-c", VANISHING, dog_folder, "data", recipe, "--json", "--quiet"]
    env = {**workspace.env, "TLEDGE_CACHE": str(folder / "cache")}
    result = processes.run(command, env, folder, timeout=120)
    named = json.loads(result.out)["skipped"] if result.code == 0 else []
    named_photos = {line.partition(":")[0] for line in named}
    repeated, facts = run_data(workspace, folder, "skip")
    shortfalls = []
    if result.code or result.crashed or named_photos != {"dog/gone.jpg", "dog/cut.jpg", "dog/folder.jpg"}:
        shortfalls.append(f"changed meanwhile: {result.tail} {named}")
    if repeated.code or [line.partition(":")[0] for line in facts["skipped"]] != ["dog/cut.jpg"]:
        shortfalls.append(f"afterwards: {repeated.tail} {facts.get('skipped')}")
    return Observation(
        f"4 changed while they were read: {len(named)} named; afterwards the photos as they are",
        tuple(shortfalls),
        files=4,
        crashes=result.crashed + repeated.crashed,
        hangs=result.hung + repeated.hung,
        peak=max(result.peak, repeated.peak),
    )


def heic_without_library(workspace: Workspace) -> Observation:
    """Check that a HEIC photo without pillow-heif ends with 5, and names what to install."""
    folder = workspace.folder("heic")
    good_photos(folder / "photos")
    (folder / "photos" / "dog" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    (folder / "none").mkdir()
    (folder / "none" / "pillow_heif.py").write_text("raise ImportError('none here')\n", encoding="utf-8")
    lacking = {"PYTHONPATH": f"{folder / 'none'}{os.pathsep}{workspace.env['PYTHONPATH']}"}
    environment = {**lacking, "TLEDGE_CACHE": str(folder / "cache")}
    recipe = folder / "skip.toml"
    recipe.write_text(RECIPE.format(photos=folder / "photos", on_bad="skip"), encoding="utf-8")
    commands = (
        ("data", recipe),
        ("predict", make_bundle(workspace), folder / "photos" / "dog" / "phone.heic"),
    )
    results = [workspace.tledge(*command, "--quiet", cwd=folder, env=environment) for command in commands]
    shortfalls = [
        f"{command[0]}: {result.tail}"
        for command, result in zip(commands, results, strict=True)
        if result.code != 5
        or result.crashed
        or "phone.heic" not in result.err
        or "tledge[heic]" not in result.err
    ]
    return Observation(
        "data and predict end with 5, the photo and what to install named", tuple(shortfalls), files=2
    )


def mutated_through_commands(workspace: Workspace) -> Observation:
    """Give a folder of mutated files to `tledge data`, both ways, and `tledge predict`."""
    files = workspace.folder("mutated-files")
    for name, data_ in _some_mutated(workspace):
        (files / f"{name}.jpg").write_bytes(data_)
    return _compare_with_decoding(workspace, "mutated-data", files, decode_folder(workspace, files))


def _some_mutated(workspace: Workspace) -> Iterator[tuple[str, bytes]]:
    from torture.inputs import photo_mutations

    for number in range(workspace.count(1000, 150)):
        yield f"{number:05d}", photo_mutations.mutate(number, workspace.seed + 1)[1]
