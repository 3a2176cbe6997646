"""Text of others on screens and in pages: names of folders and photos, labels, metadata of models."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
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


MARKUP = (
    "# heading", "</script><script>alert(1)</script>", "](http://evil.example) ![x](http://evil.example/p)",
    "<img src=x onerror=alert(1)>", "`a` ``b``\n\n## two\n\n- item", "a|b|c", "1. item", "=== ", "\\",
    "$(x) `y`", "*/ #error evil /*", "x\\\n#error evil\n??/", "www.evil.example", "\"><b>", "'><b>",
    "&lt;b&gt;",
)  # fmt: skip
"""Names that are markup in Markdown or HTML, comments and text in C, or words in a shell."""

PAGES = ("report.md", "bundle/README.md", "bundle/MODEL_CARD.md")
BLOCKS = {
    "heading_open",
    "html_block",
    "html_inline",
    "link_open",
    "image",
    "bullet_list_open",
    "ordered_list_open",
}
"""Tokens of Markdown that text of others must not add."""


def _with_markup(run: Path, text: str) -> None:
    """Put text into the names of a run that reach its bundle and its report."""
    path = run / "run.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    labels = [f"{text} {number}".replace("\n", " ") for number in range(len(facts["labels"]))]
    facts |= {"description": text, "version": text.replace("/", "").replace("\n", " "), "labels": labels}
    facts |= {"backbone": text, "remarks": [text]}
    path.write_text(json.dumps(facts), encoding="utf-8")
    (run / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")


def _structure(page: str) -> Counter[str]:
    """Count the blocks, links, images and pieces of HTML in Markdown."""
    from markdown_it import MarkdownIt

    kinds: Counter[str] = Counter()
    for token in MarkdownIt("commonmark").enable("table").parse(page):
        kinds.update(child.type for child in (token, *(token.children or ())) if child.type in BLOCKS)
    return kinds


class _Tags(HTMLParser):
    """The tags of a page, with their attributes' names."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[" ".join([tag, *sorted(name for name, _ in attrs)])] += 1


def _tags(page: str) -> Counter[str]:
    parser = _Tags()
    parser.feed(page)
    return parser.tags


def markup(workspace: Workspace) -> Observation:
    """Bundle and report runs whose names, labels and description are markup: pages keep their structure."""
    good = workspace.own_run("markup good")
    _with_markup(good, "plain")
    results = [workspace.tledge("bundle", good), workspace.tledge("report", good)]
    wanted = {name: _structure((good / name).read_text(encoding="utf-8")) for name in PAGES}
    page = _tags((good / "bundle/preview.html").read_text(encoding="utf-8"))
    shortfalls = [result.tail for result in results if result.code]
    for text in MARKUP[: workspace.count(len(MARKUP), 1)]:
        run = workspace.own_run("markup")
        _with_markup(run, text)
        results += [workspace.tledge("bundle", run), workspace.tledge("report", run)]
        failed = [f"{text!r}: {result.tail}" for result in results[-2:] if result.code]
        shortfalls += failed
        if failed:
            continue
        for name in PAGES:
            added = _structure((run / name).read_text(encoding="utf-8")) - wanted[name]
            shortfalls += [f"{text!r} in {name}: {dict(added)}"] if added else []
        found = _tags((run / "bundle/preview.html").read_text(encoding="utf-8"))
        shortfalls += [f"{text!r} in preview.html: {found - page}"] if found != page else []
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
    Case("text that is markup", "plain text in README, model card, report and preview page", markup),
    Case(
        "text that rules a terminal",
        "escaped on the screen and in JSON, and never taken for markup",
        terminal,
    ),
)
