"""Decode odd photos one by one, and report how each went with a line of JSON before and after."""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 20
"""Seconds for one photo; then this process ends with the place where it hung."""

SIZE = (224, 224)


def main(arguments: list[str]) -> None:
    """Decode what the arguments name: `mutated SEED START STOP`, `files FOLDER [NAME...]`, or all at once
    `together THREADS FILE...`.
    """
    if arguments[0] == "together":
        _decode_together(int(arguments[1]), [Path(path) for path in arguments[2:]])
        return
    for name, source in (_mutated_photos if arguments[0] == "mutated" else _files)(*arguments[1:]):
        print(json.dumps({"begun": name}), flush=True)
        print(json.dumps({"ended": name, **_decode(source)}), flush=True)


def _mutated_photos(seed: str, start: str, stop: str) -> Iterator[tuple[str, bytes]]:
    from torture.inputs import photo_mutations

    for number in range(int(start), int(stop)):
        change, data = photo_mutations.mutate(number, int(seed))
        yield f"{number} {change}", data


def _files(folder: str, *names: str) -> Iterator[tuple[str, Path]]:
    for path in [Path(folder) / name for name in names] or sorted(Path(folder).iterdir()):
        yield path.name, path


def _decode_together(threads: int, paths: list[Path]) -> None:
    """Decode each file in so many threads at a time, as a program does that serves several people."""
    from concurrent.futures import ThreadPoolExecutor

    from tledge.preprocessing import image

    with ThreadPoolExecutor(threads) as pool:
        for path in paths:
            prepared = list(pool.map(lambda _thread, path=path: image.preprocess(path, SIZE), range(threads)))
            print(json.dumps({"together": path.name, "count": len(prepared)}), flush=True)


def _decode(source: bytes | Path) -> dict[str, object]:
    from tledge.errors import DataError
    from tledge.preprocessing import image

    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    began = time.monotonic()
    try:
        image.preprocess(source, SIZE)
        outcome = {"fate": "prepared", "reason": ""}
    except DataError as error:
        outcome = {"fate": "refused", "reason": str(error)}
    except Exception as error:
        outcome = {"fate": "raised", "reason": repr(error)}
    faulthandler.cancel_dump_traceback_later()
    return {**outcome, "seconds": time.monotonic() - began}


if __name__ == "__main__":
    main(sys.argv[1:])
