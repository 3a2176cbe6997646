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

from tledge.bundle import reader, signing
from tledge.bundle.signing import PublicKey
from tledge.errors import ArtifactError

Content = Mapping[str, bytes]
"""The files of a bundle by name."""

SUMS, SIGNATURE = signing.SIGNED, signing.NAME
OF_SIGNATURE = (
    f"{SIGNATURE} is damaged",
    f"{SIGNATURE} was changed",
    f"{SIGNATURE} has format",
    "signed with another key",
    f"does not match {SUMS}",
)
SHOWN = 5


@dataclass(frozen=True)
class Change:
    """What was done to a bundle: the files that are other (None: gone), and the words of a right refusal."""

    kind: str
    files: dict[str, bytes | None]
    words: tuple[str, ...]


def expected_words(name: str) -> tuple[str, ...]:
    """Return what may be said where the content of a file is changed."""
    if name == SIGNATURE:
        return OF_SIGNATURE
    return (f"does not match {SUMS}",) if name == SUMS else (f"{name} was changed",)


def expected_words_if_missing(name: str) -> tuple[str, ...]:
    """Return what may be said where a file is gone."""
    if name == SIGNATURE:
        return ("not signed",)
    return (f"no file {SUMS}", f"cannot read {SUMS}") if name == SUMS else ("files and SHA256SUMS differ",)


def flipped(content: Content, name: str, rng: random.Random) -> Change:
    data = bytearray(content[name])
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return Change("a bit flipped", {name: bytes(data)}, expected_words(name))


def shortened(content: Content, name: str, rng: random.Random) -> Change:
    data = content[name]
    return Change("cut off", {name: data[: rng.randrange(len(data))]}, expected_words(name))


def lengthened(content: Content, name: str, rng: random.Random) -> Change:
    return Change(
        "lengthened", {name: content[name] + rng.choice((b"\0", b"\n", b" "))}, expected_words(name)
    )


def removed(content: Content, name: str, rng: random.Random) -> Change:
    return Change("removed", {name: None}, expected_words_if_missing(name))


def renamed(content: Content, name: str, rng: random.Random) -> Change:
    new = rng.choice((name + " ", name.swapcase(), f"golden/{name}", name + "~"))
    return Change("renamed", {name: None, new: content[name]}, expected_words_if_missing(name))


def added(content: Content, name: str, rng: random.Random) -> Change:
    new = f"{name}.{rng.randrange(1 << 16):x}"
    return Change("added", {new: content[name]}, ("files and SHA256SUMS differ",))


def swapped(content: Content, name: str, rng: random.Random) -> Change:
    other = rng.choice([candidate for candidate in content if content[candidate] != content[name]])
    words = (*expected_words(name), *expected_words(other))
    return Change("two files swapped", {name: content[other], other: content[name]}, words)


def with_new_sums(content: Content, name: str, rng: random.Random) -> Change:
    """Sum the files anew, as a stranger would who lacks the private key."""
    if name in (SUMS, SIGNATURE):
        return flipped(content, SUMS, rng)
    import hashlib

    change = flipped(content, name, rng).files[name] or b""
    before, after = (hashlib.sha256(data).hexdigest().encode() for data in (content[name], change))
    sums = content[SUMS].replace(before, after)
    return Change("sums made anew", {name: change, SUMS: sums}, expected_words(SUMS))


CHANGES: tuple[Callable[[Content, str, random.Random], Change], ...] = (
    flipped, flipped, flipped, flipped, shortened, lengthened, removed, renamed, added, swapped,
    with_new_sums,
)  # fmt: skip
"""One bit is the hardest to notice, and is tried as often as much else together."""


def changes(content: Content, count: int, rng: random.Random) -> Iterator[Change]:
    """Yield `count` changes; first a bit of each file, so that none is left out."""
    names = sorted(content)
    for number in range(count):
        if number < len(names):
            yield flipped(content, names[number], rng)
        else:
            yield rng.choice(CHANGES)(content, rng.choice(names), rng)


def opening_fault(path: Path, key: PublicKey, change: Change, content: Content) -> str:
    """Explain what is wrong with how a changed bundle was opened; "" where it was rightly refused."""
    description = f"{change.kind}: {', '.join(change.files)}"
    try:
        opened = reader.open_bundle(path, key)
    except ArtifactError as error:
        return "" if any(word in str(error) for word in change.words) else f"{description}: {error}"
    except Exception as error:
        return f"{description}: {error!r}"
    try:
        same = {name: opened.files.read(name) for name in opened.files.names()} == content
    except ArtifactError:
        same = False
    return f"{description}: {'accepted unchanged' if same else 'ACCEPTED'}"


def try_folder(
    source: Path, key: PublicKey, count: int, rng: random.Random
) -> tuple[Counter[str], list[str]]:
    """Change files of a copy of the folder, one change at a time, and put them back."""
    kinds, faults = Counter[str](), []
    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        bundle_copy = Path(shutil.copytree(source, Path(scratch) / "bundle"))
        content = {
            path.relative_to(bundle_copy).as_posix(): path.read_bytes()
            for path in bundle_copy.rglob("*")
            if path.is_file()
        }
        for change in changes(content, count, rng):
            _write(bundle_copy, change.files)
            faults.append(opening_fault(bundle_copy, key, change, content))
            _write(bundle_copy, {name: content.get(name) for name in change.files})
            kinds[change.kind] += 1
        reader.open_bundle(bundle_copy, key)  # put back as it was, it is accepted
    return kinds, [fault for fault in faults if fault]


def _write(folder: Path, files: Mapping[str, bytes | None]) -> None:
    for name, data in files.items():
        path = folder / name
        if data is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def try_zip(source: Path, key: PublicKey, count: int, rng: random.Random) -> tuple[Counter[str], list[str]]:
    """Change what a zip holds, and every other time any bit of the file itself.

    Such a bit may lie in a time or an attribute: then what is read has to be what was signed.
    """
    kinds, faults = Counter[str](), []
    zip_bytes = source.read_bytes()
    with zipfile.ZipFile(source) as packed:
        content = {name: packed.read(name) for name in packed.namelist()}
    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        path = Path(scratch) / "bundle.zip"
        for number, planned in enumerate(changes(content, count, rng)):
            change = _flip_zip_bit(path, zip_bytes, rng) if number % 2 else planned
            if change is planned:
                _pack(path, {**content, **change.files})
            fault = opening_fault(path, key, change, content)
            is_harmless = change is not planned and fault.endswith("accepted unchanged")
            kinds["a bit of the zip that nothing is read from" if is_harmless else change.kind] += 1
            faults.append("" if is_harmless else fault)
        path.write_bytes(zip_bytes)
        reader.open_bundle(path, key)
    return kinds, [fault for fault in faults if fault]


def _flip_zip_bit(path: Path, zip_bytes: bytes, rng: random.Random) -> Change:
    """Write the zip with one bit flipped; any refusal is right, for what is met first differs."""
    data = bytearray(zip_bytes)
    data[_zip_position(zip_bytes, rng)] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return Change("a bit of the zip", {}, ("",))


def _zip_position(zip_bytes: bytes, rng: random.Random) -> int:
    """Choose any byte, or one of the directory at the end, where names and sizes stand."""
    begin = int.from_bytes(zip_bytes[-6:-2], "little")  # of the directory, as the zip's last record says
    return rng.randrange(len(zip_bytes)) if rng.random() < 0.5 else rng.randrange(begin, len(zip_bytes))


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
    key = signing.public_key(Path(args.public))
    kinds, faults = attempt(Path(args.bundle), key, int(args.count), random.Random(args.seed))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    json.dump(
        {"kinds": dict(sorted(kinds.items())), "wrong": faults[:SHOWN], "all": len(faults), "peak": peak},
        sys.stdout,
    )


if __name__ == "__main__":
    main()
