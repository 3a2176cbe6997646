"""Photos decoded in a process of their own, and what became of each."""

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

PLENTY = 1500
"""MiB for one photo of up to 100 megapixels; decoded it takes 400."""

ADDRESSES = 6000
"""MiB of address space a child may use: numpy and Pillow's threads reserve more than they touch."""

LONGEST = 400
"""Characters of a reason with a path in front."""


@dataclass
class Tally:
    """What children said of photos: fates by name, and all that must not be."""

    fates: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    shortfalls: list[str] = field(default_factory=list)
    crashes: int = 0
    hangs: int = 0
    peak: float = 0.0
    slowest: float = 0.0

    def count(self, fate: str) -> int:
        return sum(one == fate for one in self.fates.values())

    def seen(self, said: str, files: int | None = None) -> Observation:
        files = len(self.fates) if files is None else files
        return Observation(
            said, tuple(self.shortfalls), files=files, crashes=self.crashes, hangs=self.hangs, peak=self.peak
        )

    def add(self, ended: processes.ProcessResult) -> str:
        """Take in a child's lines; gives the photo it did not survive, "" where it did."""
        begun = ""
        for line in filter(lambda one: one.startswith("{"), ended.out.splitlines()):
            one = json.loads(line)
            begun = one.get("begun", "")
            if "ended" in one:
                self._judge(one)
        self.peak = max(self.peak, ended.peak)
        if not begun and ended.code:
            self.shortfalls.append(f"a child ended between two photos: {ended.tail}")
        if begun:
            hung = ended.hung or "Timeout (" in ended.err
            self.hangs, self.crashes = self.hangs + hung, self.crashes + (not hung)
            self.shortfalls.append(f"{begun}: {'hung' if hung else ended.tail}")
            self.fates[begun] = "killed"
        return begun

    def _judge(self, one: Mapping[str, Any]) -> None:
        name, reason = one["ended"], one["reason"]
        self.fates[name], self.reasons[name] = one["fate"], reason
        self.slowest = max(self.slowest, one["seconds"])
        if one["fate"] == "raised":
            self.crashes += 1
            self.shortfalls.append(f"{name}: raised {reason}")
        if one["fate"] == "refused" and not is_clean(reason):
            self.shortfalls.append(f"{name}: the reason is no clean line: {reason!r}")
        if one["seconds"] > SLOWEST:
            self.shortfalls.append(f"{name}: took {one['seconds']:.1f} s, more than {SLOWEST:.0f}")


def is_clean(reason: str) -> bool:
    """One line of what prints, with an end."""
    return reason.isprintable() and reason.endswith(".") and 20 < len(reason) <= LONGEST


def prepared(workspace: Workspace, folder: Path, *names: str) -> Tally:
    """The files of a folder through `images.prepare` in a child; where one kills it, another goes on."""
    tally, waiting = Tally(), list(names) or sorted(path.name for path in folder.iterdir())
    while waiting:
        ended = decode(workspace, "files", folder, *waiting)
        killed = tally.add(ended)
        waiting = waiting[waiting.index(killed) + 1 :] if killed else []
    bound(tally)
    return tally


def decode(workspace: Workspace, *arguments: object) -> processes.ProcessResult:
    command = processes.python_module("torture.workers.photo_decoder", *arguments)
    return processes.run(command, workspace.env, timeout=600, memory=ADDRESSES)


def bound(tally: Tally) -> None:
    if tally.peak > PLENTY:
        tally.shortfalls.append(f"{tally.peak:.0f} MiB at the peak, more than {PLENTY}")
