"""Count the files that a command opens to read and the folders that it lists, by an audit hook."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

COUNTING = """
import collections, json, os, sys

root, out = os.path.abspath(sys.argv[1]), sys.argv[2]
opened, listed = collections.Counter(), collections.Counter()

def count(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)) and arguments[1] is not None:
        path = os.path.abspath(os.fsdecode(arguments[0]))  # no mode: os.open below an open() that is counted
        if path.startswith(root) and not set(arguments[1]) & set("wax+"):
            opened[os.path.relpath(path, root)] += 1
    elif event in ("os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if path.startswith(root):
            listed[os.path.relpath(path, root)] += 1

sys.addaudithook(count)
from tledge.cli.main import main

try:
    main(sys.argv[3:])
except SystemExit as ended:
    code = ended.code or 0
with open(out, "w") as file:
    json.dump({"code": code, "opened": opened, "listed": listed}, file)
"""


def opened_by(root: Path, *arguments: object) -> tuple[Counter[str], Counter[str]]:
    """Run a command of tledge in the folder `root`; it must succeed.

    Returns:
        How often it opened each file below `root` to read, and how often it listed each folder there, by
        their paths within `root`. Processes that the command starts are not counted.
    """
    out = root / "opened.json"
    command = [sys.executable, "-c", COUNTING, str(root), str(out), *map(str, arguments), "--quiet"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    counts = json.loads(out.read_text())
    assert counts["code"] == 0, done.stdout + done.stderr
    return Counter(counts["opened"]), Counter(counts["listed"])
