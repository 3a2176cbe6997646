"""Damaged, odd and mutated photos: each is prepared or named with its reason, in bounded time and memory."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import child
import photo_child
from case import Case, Seen
from ground import ROOT, Ground

sys.path.append(str(ROOT))  # for tests.helpers: the damaged photos and the bundle made without training

SLOWEST = 10.0
"""Seconds that one photo may take, beside whatever else this machine does."""

PLENTY = 1500
"""MiB for one photo of up to 100 megapixels; decoded it takes 400."""

ADDRESSES = 6000
"""MiB of address space a child may use: numpy and Pillow's threads reserve more than they touch."""

LONGEST = 400
"""Characters of a reason with a path in front."""

CHILD = (sys.executable, Path(photo_child.__file__))

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
from tledge.cli import main
from tledge.sources import folder
checked, place = folder._check_depths, Path(sys.argv[1])
def check(root, found):
    checked(root, found)
    (place / "gone.jpg").unlink()
    (place / "cut.jpg").write_bytes((place / "cut.jpg").read_bytes()[:300])
    (place / "other.jpg").write_bytes((place / "0.jpg").read_bytes())
    (place / "folder.jpg").unlink()
    (place / "folder.jpg").mkdir()
folder._check_depths = check
main(sys.argv[2:])
"""
"""`tledge`, with photos that change once they were listed."""


@dataclass
class Tally:
    """What children said of photos: fates by name, and all that must not be."""

    fates: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    short: list[str] = field(default_factory=list)
    crashes: int = 0
    hangs: int = 0
    peak: float = 0.0
    slowest: float = 0.0

    def count(self, fate: str) -> int:
        return sum(one == fate for one in self.fates.values())

    def seen(self, said: str, files: int | None = None) -> Seen:
        files = len(self.fates) if files is None else files
        return Seen(
            said, tuple(self.short), files=files, crashes=self.crashes, hangs=self.hangs, peak=self.peak
        )

    def add(self, ended: child.Ended) -> str:
        """Take in a child's lines; gives the photo it did not survive, "" where it did."""
        begun = ""
        for line in filter(lambda one: one.startswith("{"), ended.out.splitlines()):
            one = json.loads(line)
            begun = one.get("begun", "")
            if "ended" in one:
                self._judge(one)
        self.peak = max(self.peak, ended.peak)
        if not begun and ended.code:
            self.short.append(f"a child ended between two photos: {ended.tail}")
        if begun:
            hung = ended.hung or "Timeout (" in ended.err
            self.hangs, self.crashes = self.hangs + hung, self.crashes + (not hung)
            self.short.append(f"{begun}: {'hung' if hung else ended.tail}")
            self.fates[begun] = "killed"
        return begun

    def _judge(self, one: Mapping[str, Any]) -> None:
        name, reason = one["ended"], one["reason"]
        self.fates[name], self.reasons[name] = one["fate"], reason
        self.slowest = max(self.slowest, one["seconds"])
        if one["fate"] == "raised":
            self.crashes += 1
            self.short.append(f"{name}: raised {reason}")
        if one["fate"] == "refused" and not is_clean(reason):
            self.short.append(f"{name}: the reason is no clean line: {reason!r}")
        if one["seconds"] > SLOWEST:
            self.short.append(f"{name}: took {one['seconds']:.1f} s, more than {SLOWEST:.0f}")


def is_clean(reason: str) -> bool:
    """One line of what prints, with an end."""
    return reason.isprintable() and reason.endswith(".") and 20 < len(reason) <= LONGEST


def prepared(ground: Ground, folder: Path, *names: str) -> Tally:
    """The files of a folder through `images.prepare` in a child; where one kills it, another goes on."""
    tally, waiting = Tally(), list(names) or sorted(path.name for path in folder.iterdir())
    while waiting:
        ended = _child(ground, "files", folder, *waiting)
        killed = tally.add(ended)
        waiting = waiting[waiting.index(killed) + 1 :] if killed else []
    _bound(tally)
    return tally


def _child(ground: Ground, *arguments: object) -> child.Ended:
    command = [*CHILD, *arguments]
    return child.run(command, ground.env, timeout=600, memory=ADDRESSES)


def _bound(tally: Tally) -> None:
    if tally.peak > PLENTY:
        tally.short.append(f"{tally.peak:.0f} MiB at the peak, more than {PLENTY}")


def odd_photos_prepared(ground: Ground) -> Seen:
    """Each odd file in a child: its fate is the expected one."""
    import odd_photos

    folder, files = ground.folder("odd"), odd_photos.files()
    for name, one in files.items():
        (folder / name).write_bytes(one.data)
    tally = prepared(ground, folder)
    for name, one in files.items():
        found, reason = tally.fates.get(name, "missing"), tally.reasons.get(name, "")
        if one.fate not in (found, odd_photos.EITHER) or one.word not in reason:
            tally.short.append(f"{name}: {found} ({reason}), expected {one.fate} {one.word}")
    return tally.seen(
        f"{tally.count('prepared')} prepared, {tally.count('refused')} named with a reason; slowest "
        f"{tally.slowest:.1f} s, peak {tally.peak:.0f} MiB"
    )


def large_photos(ground: Ground) -> Seen:
    """Whole photos of 100 megapixels, one a child; then all at once through `tledge data`."""
    folder, tally, told = ground.folder("large"), Tally(), []
    # by a child: a process's peak is at least what its parent held when it began
    child.run([sys.executable, CHILD[1].with_name("odd_photos.py"), folder, ground.count(5, 2)], ground.env)
    for path in sorted(folder.iterdir()):
        alone = _child(ground, "files", folder, path.name)
        tally.add(alone)
        told.append(f"{path.stem.removeprefix('100 megapixels').strip(', ') or 'plain'} {alone.peak:.0f}")
    if not told:
        tally.short.append("no large photos were made")
    _bound(tally)
    done, _facts = data(ground, "large-data", {"dog": sorted(folder.iterdir())}, "skip")
    if done.code or done.peak > PLENTY:
        tally.short.append(f"tledge data with all of them: {done.tail}, {done.peak:.0f} MiB")
    tally.peak = max(tally.peak, done.peak)
    return tally.seen(
        f"100 megapixels, MiB: {', '.join(told)}; all through `data` in {os.cpu_count()} threads "
        f"{done.peak:.0f}; slowest {tally.slowest:.1f} s"
    )


def data(
    ground: Ground, name: str, photos: Mapping[str, Iterable[Path]], on_bad: str
) -> tuple[child.Ended, dict[str, Any]]:
    """`tledge data` on ten good photos and links to `photos`, by label; gives its JSON too, {} for none."""
    folder = ground.folder(name)
    good_photos(folder / "photos")
    for label, paths in photos.items():
        for path in paths:
            (folder / "photos" / label / path.name).symlink_to(path)
    return run_data(ground, folder, on_bad)


def run_data(ground: Ground, folder: Path, on_bad: str) -> tuple[child.Ended, dict[str, Any]]:
    """`tledge data` on the photos that lie in a case's folder."""
    recipe = folder / f"{on_bad}.toml"
    recipe.write_text(RECIPE.format(photos=folder / "photos", on_bad=on_bad), encoding="utf-8")
    own = {"TLEDGE_CACHE": str(folder / "cache")}
    ended = ground.tledge("data", recipe, "--json", "--quiet", cwd=folder, env=own, timeout=300)
    return ended, json.loads(ended.out) if ended.code == 0 else {}


def good_photos(folder: Path) -> None:
    """Five of each of two labels, all different."""
    import odd_photos

    for turn, label in enumerate(("cat", "dog")):
        (folder / label).mkdir(parents=True)
        for number in range(5):
            image = odd_photos.picture("RGB", 60 + 5 * number, 80).rotate(90 * turn + 7 * number)
            (folder / label / f"{number}.jpg").write_bytes(odd_photos.saved(image, "JPEG"))


def through_commands(ground: Ground) -> Seen:
    """The odd files through `tledge data`, both ways, and `tledge predict`: as `prepare` has it."""
    import odd_photos

    files = ground.folder("odd-files")
    for name, one in odd_photos.files().items():
        (files / name).write_bytes(one.data)
    alone = prepared(ground, files)
    return _as_alone(ground, "odd-data", files, alone)


def _as_alone(ground: Ground, name: str, files: Path, alone: Tally) -> Seen:
    """What `data` and `predict` make of files whose fates are known."""
    short: list[str] = []
    bad = {one for one, fate in alone.fates.items() if fate == "refused"}
    paths = sorted(files.iterdir())
    skipped, facts = data(ground, name, {"dog": paths}, "skip")
    named = {line.partition(": ")[0].removeprefix("dog/"): line for line in facts.get("skipped", ())}
    kept = sum(sum(labels.values()) for labels in facts.get("counts", {}).values())
    if skipped.code or skipped.crashed or named.keys() != bad or kept != 10 + len(paths) - len(bad):
        short.append(f"data, skip: {skipped.tail}; {len(named)} named and {kept} kept, {len(bad)} are bad: "
                     f"{sorted(bad ^ named.keys())[:5]}")  # fmt: skip
    short += [f"no clean line: {line!r}" for line in named.values() if not is_clean(line)]
    stopped, _none = data(ground, name, {"dog": paths}, "stop")
    lines = [line.strip() for line in stopped.err.splitlines()]
    missing = [one for one in bad if not any(line.startswith(f"dog/{one}: ") for line in lines)]
    unlisted = sum(line.startswith("and ") for line in lines)
    if stopped.code != 1 or stopped.crashed or (missing and not unlisted):
        short.append(f"data, stop: {stopped.tail}; not named: {sorted(missing)[:5]}")
    if list((ground.work / name / "cache").glob("[!.]*")):
        short.append("data, stop: left a cache")
    asked = ground.tledge("predict", bundle(ground), "--json", "--quiet", *paths)
    answers = json.loads(asked.out) if asked.out.startswith("[") else []
    wrong = {Path(one["image"]).name for one in answers if "error" in one} ^ bad
    if asked.code != (1 if bad else 0) or asked.crashed or len(answers) != len(paths) or wrong:
        short.append(f"predict: {asked.tail}; {len(answers)} answers, otherwise: {sorted(wrong)[:5]}")
    peak = max(skipped.peak, stopped.peak, asked.peak, alone.peak)
    crashes = sum(one.crashed for one in (skipped, stopped, asked)) + alone.crashes
    hangs = sum(one.hung for one in (skipped, stopped, asked)) + alone.hangs
    return Seen(
        f"{len(paths)} files: data kept {kept - 10} and named {len(named)}, stop named all, predict answered "
        f"{len(answers) - len(bad)}; peak {peak:.0f} MiB",
        (*short, *alone.short), files=3 * len(paths), crashes=crashes, hangs=hangs, peak=peak,
    )  # fmt: skip


def bundle(ground: Ground) -> Path:
    """A bundle made without training, once."""
    from tests.helpers import fake_device_bundle

    path = ground.work / "colours"
    return path if path.is_dir() else fake_device_bundle.make(path)


def special_files(ground: Ground) -> Seen:
    """What lies among photos and is none: pipes, devices, loops, folders, endless files, wild names."""
    folder = ground.folder("special")
    good_photos(folder / "photos")
    place = folder / "photos" / "dog"
    _make_special(place)
    skipped, facts = run_data(ground, folder, "skip")
    short = []
    wanted = {"endless.jpg": "too large", r"new\nline.jpg": "control characters", r"caf\xe9.jpg": "not UTF-8"}
    named = facts.get("skipped", [])
    for name, word in wanted.items():
        if not any(line.startswith(f"dog/{name}: ") and word in line for line in named):
            short.append(f"data: {name} is not named with {word!r}: {named}")
    if skipped.code or skipped.crashed or len(named) != len(wanted):
        short.append(f"data: {skipped.tail} {named}")
    (place / "itself.jpg").symlink_to("itself.jpg")
    looped, _none = run_data(ground, folder, "skip")
    if looped.code != 1 or looped.crashed or "itself.jpg: a link" not in looped.err:
        short.append(f"data with a link to itself: {looped.tail}")
    names = sorted(path for path in place.iterdir() if not re.fullmatch(r"\d\.jpg", path.name))
    names += [Path("/dev/zero"), Path("/dev/full"), place / "nothing.jpg"]
    asked = ground.tledge("predict", bundle(ground), "--quiet", *names, timeout=60)
    lines = asked.out.splitlines()
    if asked.code != 1 or asked.crashed or asked.hung or len(lines) < len(names):
        short.append(f"predict: {asked.tail}, {len(lines)} lines for {len(names)} files")
    ended = (skipped, looped, asked)
    return Seen(
        f"{len(names)} of them: data named {len(named)} and passed by the rest, predict named each; peak "
        f"{max(one.peak for one in ended):.0f} MiB",
        tuple(short), files=2 * len(names), crashes=sum(one.crashed for one in ended),
        hangs=sum(one.hung for one in ended), peak=max(one.peak for one in ended),
    )  # fmt: skip


def _make_special(place: Path) -> None:
    """Fill a folder of a label; only three of these are photos by their kind, and none can be used."""
    import socket

    os.mkfifo(place / "pipe.jpg")
    (place / "to a pipe.jpg").symlink_to("pipe.jpg")
    (place / "to a device.jpg").symlink_to("/dev/zero")
    (place / "a folder.jpg").mkdir()
    (place / "in a circle").symlink_to("..")
    with (place / "endless.jpg").open("wb") as file:
        file.truncate(1 << 40)
    (place / "new\nline.jpg").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(place) + b"/caf\xe9.jpg")).write_bytes((place / "0.jpg").read_bytes())
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(place)  # a socket's path is short
        one.bind("socket.jpg")
        os.chdir(here)


def changing_photos(ground: Ground) -> Seen:
    """Photos that vanish, shrink or become others between listing and reading: named, and the rest kept."""
    folder = ground.folder("changing")
    good_photos(folder / "photos")
    place = folder / "photos" / "dog"
    for name in ("gone", "cut", "other", "folder"):
        (place / f"{name}.jpg").write_bytes((place / "1.jpg").read_bytes())
    recipe = folder / "skip.toml"
    recipe.write_text(RECIPE.format(photos=folder / "photos", on_bad="skip"), encoding="utf-8")
    command = [sys.executable, "-c", VANISHING, place, "data", recipe, "--json", "--quiet"]
    env = {**ground.env, "TLEDGE_CACHE": str(folder / "cache")}
    ended = child.run(command, env, folder, timeout=120)
    named = json.loads(ended.out)["skipped"] if ended.code == 0 else []
    left = {line.partition(":")[0] for line in named}
    again, facts = run_data(ground, folder, "skip")
    short = []
    if ended.code or ended.crashed or left != {"dog/gone.jpg", "dog/cut.jpg", "dog/folder.jpg"}:
        short.append(f"changed meanwhile: {ended.tail} {named}")
    if again.code or [line.partition(":")[0] for line in facts["skipped"]] != ["dog/cut.jpg"]:
        short.append(f"afterwards: {again.tail} {facts.get('skipped')}")
    return Seen(
        f"4 changed while they were read: {len(named)} named; afterwards the photos as they are",
        tuple(short), files=4, crashes=ended.crashed + again.crashed, hangs=ended.hung + again.hung,
        peak=max(ended.peak, again.peak),
    )  # fmt: skip


def heic_without_library(ground: Ground) -> Seen:
    """Without pillow-heif a HEIC photo is named, with what to install, and ends with 5."""
    folder = ground.folder("heic")
    good_photos(folder / "photos")
    (folder / "photos" / "dog" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    (folder / "none").mkdir()
    (folder / "none" / "pillow_heif.py").write_text("raise ImportError('none here')\n", encoding="utf-8")
    lacking = {"PYTHONPATH": f"{folder / 'none'}{os.pathsep}{ground.env['PYTHONPATH']}"}
    own = {**lacking, "TLEDGE_CACHE": str(folder / "cache")}
    recipe = folder / "skip.toml"
    recipe.write_text(RECIPE.format(photos=folder / "photos", on_bad="skip"), encoding="utf-8")
    commands = (("data", recipe), ("predict", bundle(ground), folder / "photos" / "dog" / "phone.heic"))
    ended = [ground.tledge(*one, "--quiet", cwd=folder, env=own) for one in commands]
    short = [
        f"{one[0]}: {done.tail}" for one, done in zip(commands, ended, strict=True)
        if done.code != 5 or done.crashed or "phone.heic" not in done.err or "tledge[heic]" not in done.err
    ]  # fmt: skip
    return Seen("data and predict end with 5, the photo and what to install named", tuple(short), files=2)


def mutated_photos(ground: Ground) -> Seen:
    """Mutated files of every format in children, five hundred each; the file that ends one is named."""
    tally, number, stop = Tally(), 0, ground.count(100_000, 3_000)
    while number < stop:
        end = min(number + 500 * ground.count(10, 3), stop)
        killed = tally.add(_child(ground, "mutated", ground.seed, number, end))
        number = int(killed.split()[0]) + 1 if killed else end
    _bound(tally)
    if len(tally.fates) != stop or min(map(tally.count, ("prepared", "refused"))) < stop // 20:
        tally.short.append(f"{Counter(tally.fates.values())} of {stop}: mutations that change nothing or all")
    kinds = len({name.split()[1] for name in tally.fates})
    return tally.seen(
        f"{stop} files of {kinds} formats: {tally.count('prepared')} prepared, {tally.count('refused')} "
        f"refused in {len(set(map(_kind_of_reason, tally.reasons.values())))} ways; "
        f"slowest {tally.slowest:.1f} s, "
        f"peak {tally.peak:.0f} MiB"
    )


def _kind_of_reason(reason: str) -> str:
    return re.sub(r"\d+", "", reason)


def mutated_through_commands(ground: Ground) -> Seen:
    """A folder of mutated files through `tledge data`, both ways, and `tledge predict`."""
    files = ground.folder("mutated-files")
    for name, data_ in _some_mutated(ground):
        (files / f"{name}.jpg").write_bytes(data_)
    return _as_alone(ground, "mutated-data", files, prepared(ground, files))


def _some_mutated(ground: Ground) -> Iterator[tuple[str, bytes]]:
    import photo_mutations

    for number in range(ground.count(1000, 150)):
        yield f"{number:05d}", photo_mutations.mutated(number, ground.seed + 1)[1]


CASES: tuple[Case, ...] = (
    Case("odd and damaged files", "each is prepared or refused with one clean line", odd_photos_prepared),
    Case("the same through data and predict", "skipped, stopped at and answered by name", through_commands),
    Case("pipes, devices, loops, wild names", "no hang; named or passed by", special_files),
    Case("photos that change meanwhile", "named, and the rest is kept", changing_photos),
    Case("HEIC without its library", "named with what to install, exit 5", heic_without_library),
    Case("photos of 100 megapixels", "memory is bounded, whatever the threads", large_photos),
    Case("mutated photos", "no crash, no hang, each refusal one clean line", mutated_photos),
    Case("mutated photos in a folder", "named by data and predict", mutated_through_commands),
)
