"""Text of others on screens and in pages: names of folders and photos, labels, metadata of models."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

RULING = "\x1b]0;title\x07\x1b[2J\x9b31m\u202eleft\u200f\u2028\r"
"""Sets a terminal's title, clears it, colours it by one character, turns text around, breaks lines."""

RULES = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What no output may hold."""


def _with_ruling_model(workspace: Workspace, folder: Path) -> Path:
    """Write an ONNX model whose metadata, operator and input rule a terminal."""
    import onnx

    model = onnx.load(str(workspace.run / "artifacts/onnx-fp32.onnx"))
    entry = model.metadata_props.add()
    entry.key, entry.value = f"key{RULING}", f"[link=file:///etc/passwd]value[/link] [/red] {RULING}"
    path = folder / f"model{RULING}.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _with_ruling_report(run: Path) -> None:
    """Let the run's report of parity name kernels that are markup, and give reasons that rule a terminal."""
    path = run / "parity.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    for row in report["rows"]:
        row["kernels"] = f"[link=file:///etc/passwd]kernels[/link] [/red] {RULING}"
        row["remarks"] = [f"remark{RULING}"]
    path.write_text(json.dumps(report), encoding="utf-8")


def terminal(workspace: Workspace) -> Observation:
    """Print names of folders, photos, runs and metadata that rule a terminal, as text and as JSON."""
    folder = workspace.folder("terminal")
    run = Path(shutil.copytree(workspace.run, folder / "runs" / f"run{RULING}\n"))
    photo = Path(shutil.copyfile(run / "golden/00.jpg", folder / f"photo{RULING}\n.jpg"))
    (folder / f"bad{RULING}.jpg").write_bytes(b"no photo")
    model, bundle = _with_ruling_model(workspace, folder), run / "bundle"
    commands: list[tuple[object, ...]] = [
        ("list", "runs"), ("report", run), ("predict", bundle, photo, folder / f"bad{RULING}.jpg"),
        ("compare", run, run, "--quiet"), ("inspect", model), ("bundle", run),
        ("list", "runs", "--json"), ("verify", bundle, "--json"), ("predict", run, photo, "--json"),
        ("verify", folder / f"none{RULING}"), ("inspect", model, "--json"), ("verify", run),
        ("bundle", run, "--json"),
        ("bundle", run, "--target", "raspberry_pi", "--out", folder / f"p{RULING}"),
        ("bench", run, "--threads", "1", "--variant", "tflite-int8"), ("report", run, "--json"),
        ("compare", run, run, "--json"), ("inspect", run), ("train", folder / f"recipe{RULING}.toml"),
        ("verify", bundle, "--skew"), ("bench", model, "--threads", "1", "--json"), ("list", f"x{RULING}"),
        ("init", folder / f"photos{RULING}"), ("export", run), ("predict", f"--{RULING}", photo),
    ]  # fmt: skip
    results, shortfalls = [], list[str]()
    for command in commands[: workspace.count(len(commands), 6)]:
        if command[:2] == ("report", run):
            _with_ruling_report(run)
        results.append(workspace.tledge(*command, cwd=folder, timeout=300))
        output = results[-1].out + results[-1].err
        if ruling := RULES.search(output):
            around = output[max(0, ruling.start() - 30) : ruling.end() + 10]
            shortfalls.append(f"{command[0]} {command[-1]!r}: {around!r}")
    return _observation(f"{len(results)} commands", shortfalls, results)


def _observation(summary: str, shortfalls: list[str], results: list[processes.ProcessResult]) -> Observation:
    return Observation(
        summary,
        tuple(shortfalls),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


CASES = (
    Case(
        "text that rules a terminal",
        "escaped on the screen and in JSON, and never taken for markup",
        terminal,
    ),
)
