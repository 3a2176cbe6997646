"""A process that prepares odd photos one by one and says how each went, a line of JSON before and after."""

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
    """`mutated SEED START STOP`, or `files FOLDER`."""
    for name, source in (_mutated if arguments[0] == "mutated" else _files)(*arguments[1:]):
        print(json.dumps({"begun": name}), flush=True)
        print(json.dumps({"ended": name, **_tried(source)}), flush=True)


def _mutated(seed: str, start: str, stop: str) -> Iterator[tuple[str, bytes]]:
    from torture.inputs import photo_mutations

    for number in range(int(start), int(stop)):
        what, data = photo_mutations.mutated(number, int(seed))
        yield f"{number} {what}", data


def _files(folder: str, *names: str) -> Iterator[tuple[str, Path]]:
    for path in [Path(folder) / name for name in names] or sorted(Path(folder).iterdir()):
        yield path.name, path


def _tried(source: bytes | Path) -> dict[str, object]:
    from tledge import images
    from tledge.errors import DataError

    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    began = time.monotonic()
    try:
        images.prepare(source, SIZE)
        said = {"fate": "prepared", "reason": ""}
    except DataError as error:
        said = {"fate": "refused", "reason": str(error)}
    except Exception as error:
        said = {"fate": "raised", "reason": repr(error)}
    faulthandler.cancel_dump_traceback_later()
    return {**said, "seconds": time.monotonic() - began}


if __name__ == "__main__":
    main(sys.argv[1:])
