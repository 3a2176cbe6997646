"""Change a signed bundle again and again and open it with its key: all in one process, for speed.

    python -m torture.workers.signed_bundle_opener folder|zip BUNDLE PUBLIC COUNT SEED

It prints one JSON object: how many changes of each kind were refused, and what was accepted or refused
for another reason than the right one.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tledge import reader, signature
from tledge.errors import ArtifactError
from tledge.signature import PublicKey

Content = Mapping[str, bytes]
"""The files of a bundle by name."""

SUMS, SIGNATURE = signature.SIGNED, signature.NAME
OF_SIGNATURE = (
    f"{SIGNATURE} is damaged",
    f"{SIGNATURE} was changed",
    f"{SIGNATURE} has format",
    "signed with another key",
    f"does not fit {SUMS}",
)
SHOWN = 5


@dataclass(frozen=True)
class Change:
    """What was done to a bundle: the files that are other (None: gone), and the words of a right refusal."""

    kind: str
    files: dict[str, bytes | None]
    words: tuple[str, ...]


def words_of(name: str) -> tuple[str, ...]:
    """What may be said where the content of a file is other."""
    if name == SIGNATURE:
        return OF_SIGNATURE
    return (f"does not fit {SUMS}",) if name == SUMS else (f"{name} was changed",)


def missing(name: str) -> tuple[str, ...]:
    """What may be said where a file is gone."""
    if name == SIGNATURE:
        return ("not signed",)
    return (f"no file {SUMS}", f"cannot read {SUMS}") if name == SUMS else ("files and SHA256SUMS differ",)


def flipped(content: Content, name: str, chance: random.Random) -> Change:
    data = bytearray(content[name])
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return Change("a bit flipped", {name: bytes(data)}, words_of(name))


def shortened(content: Content, name: str, chance: random.Random) -> Change:
    data = content[name]
    return Change("cut off", {name: data[: chance.randrange(len(data))]}, words_of(name))


def lengthened(content: Content, name: str, chance: random.Random) -> Change:
    return Change("lengthened", {name: content[name] + chance.choice((b"\0", b"\n", b" "))}, words_of(name))


def removed(content: Content, name: str, chance: random.Random) -> Change:
    return Change("removed", {name: None}, missing(name))


def renamed(content: Content, name: str, chance: random.Random) -> Change:
    new = chance.choice((name + " ", name.swapcase(), f"golden/{name}", name + "~"))
    return Change("renamed", {name: None, new: content[name]}, missing(name))


def added(content: Content, name: str, chance: random.Random) -> Change:
    new = f"{name}.{chance.randrange(1 << 16):x}"
    return Change("added", {new: content[name]}, ("files and SHA256SUMS differ",))


def swapped(content: Content, name: str, chance: random.Random) -> Change:
    other = chance.choice([one for one in content if content[one] != content[name]])
    words = (*words_of(name), *words_of(other))
    return Change("two files swapped", {name: content[other], other: content[name]}, words)


def summed_anew(content: Content, name: str, chance: random.Random) -> Change:
    """As a stranger would who knows SHA256SUMS, but not the private key."""
    if name in (SUMS, SIGNATURE):
        return flipped(content, SUMS, chance)
    import hashlib

    change = flipped(content, name, chance).files[name] or b""
    before, after = (hashlib.sha256(one).hexdigest().encode() for one in (content[name], change))
    sums = content[SUMS].replace(before, after)
    return Change("sums made anew", {name: change, SUMS: sums}, words_of(SUMS))


CHANGES: tuple[Callable[[Content, str, random.Random], Change], ...] = (
    flipped, flipped, flipped, flipped, shortened, lengthened, removed, renamed, added, swapped, summed_anew,
)  # fmt: skip
"""One bit is the hardest to notice, and is tried as often as much else together."""


def changes(content: Content, count: int, chance: random.Random) -> Iterator[Change]:
    """`count` changes; first a bit of each file, so that none is left out."""
    names = sorted(content)
    for number in range(count):
        if number < len(names):
            yield flipped(content, names[number], chance)
        else:
            yield chance.choice(CHANGES)(content, chance.choice(names), chance)


def judged(path: Path, key: PublicKey, change: Change, content: Content) -> str:
    """What is wrong with how a changed bundle was opened; "" where it was refused in the right words."""
    what = f"{change.kind}: {', '.join(change.files)}"
    try:
        opened = reader.open_bundle(path, key)
    except ArtifactError as error:
        return "" if any(word in str(error) for word in change.words) else f"{what}: {error}"
    except Exception as error:
        return f"{what}: {error!r}"
    try:
        same = {name: opened.files.read(name) for name in opened.files.names()} == content
    except ArtifactError:
        same = False
    return f"{what}: {'accepted unchanged' if same else 'ACCEPTED'}"


def try_folder(
    source: Path, key: PublicKey, count: int, chance: random.Random
) -> tuple[Counter[str], list[str]]:
    """Change files of a copy of the folder, one change at a time, and put them back."""
    kinds, wrong = Counter[str](), []
    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        own = Path(shutil.copytree(source, Path(scratch) / "bundle"))
        content = {
            one.relative_to(own).as_posix(): one.read_bytes() for one in own.rglob("*") if one.is_file()
        }
        for change in changes(content, count, chance):
            _write(own, change.files)
            wrong.append(judged(own, key, change, content))
            _write(own, {name: content.get(name) for name in change.files})
            kinds[change.kind] += 1
        reader.open_bundle(own, key)  # put back as it was, it is accepted
    return kinds, [one for one in wrong if one]


def _write(folder: Path, files: Mapping[str, bytes | None]) -> None:
    for name, data in files.items():
        path = folder / name
        if data is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def try_zip(
    source: Path, key: PublicKey, count: int, chance: random.Random
) -> tuple[Counter[str], list[str]]:
    """Change what a zip holds, and every other time any bit of the file itself.

    Such a bit may lie in a time or an attribute: then what is read has to be what was signed.
    """
    kinds, wrong = Counter[str](), []
    whole = source.read_bytes()
    with zipfile.ZipFile(source) as packed:
        content = {name: packed.read(name) for name in packed.namelist()}
    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        path = Path(scratch) / "bundle.zip"
        for number, planned in enumerate(changes(content, count, chance)):
            change = _bit(path, whole, chance) if number % 2 else planned
            if change is planned:
                _pack(path, {**content, **change.files})
            found = judged(path, key, change, content)
            is_harmless = change is not planned and found.endswith("accepted unchanged")
            kinds["a bit of the zip that nothing is read from" if is_harmless else change.kind] += 1
            wrong.append("" if is_harmless else found)
        path.write_bytes(whole)
        reader.open_bundle(path, key)
    return kinds, [one for one in wrong if one]


def _bit(path: Path, whole: bytes, chance: random.Random) -> Change:
    """Write the zip with one bit flipped; any refusal is right, for what is met first differs."""
    data = bytearray(whole)
    data[_place(whole, chance)] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return Change("a bit of the zip", {}, ("",))


def _place(whole: bytes, chance: random.Random) -> int:
    """Any byte, or one of the directory at the end, where names and sizes stand."""
    begin = int.from_bytes(whole[-6:-2], "little")  # of the directory, as the zip's last record says
    return chance.randrange(len(whole)) if chance.random() < 0.5 else chance.randrange(begin, len(whole))


def _pack(path: Path, files: Mapping[str, bytes | None]) -> None:
    with zipfile.ZipFile(path, "w") as out:
        for name, data in files.items():
            if data is not None:
                out.writestr(zipfile.ZipInfo(name), data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("form", "bundle", "public", "count", "seed"):
        parser.add_argument(name)
    args = parser.parse_args()
    attempt = {"folder": try_folder, "zip": try_zip}[args.form]
    key = signature.public_key(Path(args.public))
    kinds, wrong = attempt(Path(args.bundle), key, int(args.count), random.Random(args.seed))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    json.dump(
        {"kinds": dict(sorted(kinds.items())), "wrong": wrong[:SHOWN], "all": len(wrong), "peak": peak},
        sys.stdout,
    )


if __name__ == "__main__":
    main()
