"""Decode photos in a process of its own, and collect what became of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torture.support import processes
from torture.support.observation import Observation
from torture.support.workspace import Workspace

SLOWEST = 10.0
"""Seconds that one photo may take, beside whatever else this machine does."""

MEMORY_LIMIT = 1500
"""MiB for one photo of up to 100 megapixels; decoded it takes 400."""

ADDRESS_SPACE = 6000
"""MiB of address space a child may use: numpy and Pillow's threads reserve more than they touch."""

LONGEST = 400
"""Characters of a reason with a path in front."""


@dataclass
class DecodingOutcomes:
    """What children reported of photos: fates by name, and all shortfalls."""

    fates: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    shortfalls: list[str] = field(default_factory=list)
    crashes: int = 0
    hangs: int = 0
    peak: float = 0.0
    slowest: float = 0.0

    def count(self, fate: str) -> int:
        return sum(photo_fate == fate for photo_fate in self.fates.values())

    def seen(self, summary: str, files: int | None = None) -> Observation:
        files = len(self.fates) if files is None else files
        return Observation(
            summary,
            tuple(self.shortfalls),
            files=files,
            crashes=self.crashes,
            hangs=self.hangs,
            peak=self.peak,
        )

    def add(self, result: processes.ProcessResult) -> str:
        """Read a child's lines; return the photo it did not survive, "" where it did."""
        begun = ""
        for line in filter(lambda text: text.startswith("{"), result.out.splitlines()):
            line_facts = json.loads(line)
            begun = line_facts.get("begun", "")
            if "ended" in line_facts:
                self._judge(line_facts)
        self.peak = max(self.peak, result.peak)
        if not begun and result.code:
            self.shortfalls.append(f"a child ended between two photos: {result.tail}")
        if begun:
            hung = result.hung or "Timeout (" in result.err
            self.hangs, self.crashes = self.hangs + hung, self.crashes + (not hung)
            self.shortfalls.append(f"{begun}: {'hung' if hung else result.tail}")
            self.fates[begun] = "killed"
        return begun

    def _judge(self, facts: Mapping[str, Any]) -> None:
        name, reason = facts["ended"], facts["reason"]
        self.fates[name], self.reasons[name] = facts["fate"], reason
        self.slowest = max(self.slowest, facts["seconds"])
        if facts["fate"] == "raised":
            self.crashes += 1
            self.shortfalls.append(f"{name}: raised {reason}")
        if facts["fate"] == "refused" and not is_clean(reason):
            self.shortfalls.append(f"{name}: the reason is no clean line: {reason!r}")
        if facts["seconds"] > SLOWEST:
            self.shortfalls.append(f"{name}: took {facts['seconds']:.1f} s, more than {SLOWEST:.0f}")


def is_clean(reason: str) -> bool:
    """Check for one line of printable text, with an end."""
    return reason.isprintable() and reason.endswith(".") and 20 < len(reason) <= LONGEST


def decode_folder(workspace: Workspace, folder: Path, *names: str) -> DecodingOutcomes:
    """Decode the files of a folder in a child; where one kills it, another continues."""
    tally, waiting = DecodingOutcomes(), list(names) or sorted(path.name for path in folder.iterdir())
    while waiting:
        result = run_decoder(workspace, "files", folder, *waiting)
        killed = tally.add(result)
        waiting = waiting[waiting.index(killed) + 1 :] if killed else []
    check_memory(tally)
    return tally


def run_decoder(workspace: Workspace, *arguments: object) -> processes.ProcessResult:
    command = processes.python_module("torture.workers.photo_decoder", *arguments)
    return processes.run(command, workspace.env, timeout=600, memory=ADDRESS_SPACE)


def check_memory(tally: DecodingOutcomes) -> None:
    if tally.peak > MEMORY_LIMIT:
        tally.shortfalls.append(f"{tally.peak:.0f} MiB at the peak, more than {MEMORY_LIMIT}")
