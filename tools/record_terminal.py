"""A recording of a terminal as an animated picture: record_terminal.py FOLDER OUT.svg COMMAND...

A shell in FOLDER gets the commands typed, one after the other; what its terminal shows is kept with
the times, drawn as SVG and played by CSS in a loop, so that the picture fetches and runs nothing.
Whoever asks their system for less motion sees the last screen. Waiting is shortened: a command takes
at most --seconds in the picture. Needs `pip install pyte`, whose licence keeps it out of the dev extra.

The picture of the README, with photos laid out as the tutorial says:

    python tools/record_terminal.py FOLDER docs/images/terminal.svg \\
        "tledge init photos --out mine.toml" "tledge train mine.toml" \\
        "tledge export runs/mine --int8" "tledge predict runs/mine/bundle photo.jpg"
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

COLUMNS, ROWS = 80, 24
CELL, LEADING, MARGIN = 8.4, 19, 14
FRAMES_A_SECOND = 3
HELD = 4.0
"""Seconds for which the last screen stays."""
PROMPT = "$ "
COLOURS = {
    "default": "#d8dee6", "black": "#5c6773", "red": "#f07178", "green": "#a5d46a", "brown": "#e6c07b",
    "blue": "#6cb6ff", "magenta": "#d2a6ff", "cyan": "#73d0c8", "white": "#d8dee6", "brightblack": "#7d8894",
    "brightred": "#ff8f96", "brightgreen": "#bde67e", "brightbrown": "#ffd580", "brightyellow": "#ffd580",
    "brightblue": "#8cc8ff", "brightmagenta": "#dfbfff", "brightcyan": "#95e6de", "brightwhite": "#ffffff",
}  # fmt: skip

DRAWING = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" xml:space="preserve">
<title>{title}</title>
<style>
text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre}}
.b{{font-weight:700}}
.film{{transform:translateY({last}px);animation:play {seconds:.1f}s step-end infinite}}
@keyframes play{{{steps}}}
@media(prefers-reduced-motion:reduce){{.film{{animation:none}}}}
</style>
<rect width="100%" height="100%" rx="8" fill="#1b2129"/>
<defs>{lines}</defs>
<svg x="{margin}" y="{margin}" {inner}><g class="film">
{film}</g></svg>
</svg>
"""
Run = tuple[int, str, str, bool]
"""Column, text, colour, and whether it is bold."""
Line = tuple[Run, ...]


@dataclass(frozen=True)
class Frame:
    """What the terminal shows from a time on, in seconds."""

    at: float
    lines: tuple[Line, ...]


def record(folder: Path, commands: Sequence[str]) -> list[list[Frame]]:
    """Type commands into a shell; gives for each what was to see, with times from its first key on."""
    import pyte

    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    child, master = pty.fork()
    if child == 0:  # pragma: no cover - another process
        os.chdir(folder)
        coloured = rf"\[\e[1;32m\]{PROMPT.strip()}\[\e[0m\] "
        os.environ.update(PS1=coloured, TERM="xterm-256color", BASH_SILENCE_DEPRECATION_WARNING="1")
        os.environ["PATH"] = f"{sys.prefix}/bin:{os.environ['PATH']}"
        os.execlp("bash", "bash", "--norc", "--noprofile", "-i")
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        list(_watched(master, screen, stream))
        return [list(_typed(command, master, screen, stream)) for command in commands]
    finally:
        os.close(master)
        os.waitpid(child, 0)


def _typed(command: str, master: int, screen: Any, stream: Any) -> Iterator[Frame]:
    """Type a command and watch until the prompt is back; keys are typed as fast as a hand does."""
    for place in range(len(command)):
        os.write(master, command[place].encode())
        time.sleep(0.03)
        if place % 8 == 7:
            yield from _watched(master, screen, stream, offset=0.03 * place, typing=True)
    os.write(master, b"\r")
    yield from _watched(master, screen, stream, offset=0.03 * len(command) + 0.5)


def _watched(
    master: int, screen: Any, stream: Any, offset: float = 0.0, *, typing: bool = False
) -> Iterator[Frame]:
    """Yield the screen after every output, until a prompt stands alone, or, while typing, for a moment."""
    began = time.monotonic()
    quiet = 0.05 if typing else 3600.0
    while select.select([master], [], [], quiet)[0]:
        stream.feed(os.read(master, 65536))
        yield Frame(offset + time.monotonic() - began, shown(screen))
        at_prompt = (
            screen.cursor.x == len(PROMPT) and screen.display[screen.cursor.y].strip() == PROMPT.strip()
        )
        if at_prompt and not select.select([master], [], [], 0.3)[0]:
            return


def shown(screen: Any) -> tuple[Line, ...]:
    """Return the lines of a screen as runs of one style."""
    return tuple(_line(screen.buffer[row]) for row in range(ROWS))


def _line(cells: Any) -> Line:
    runs: list[Run] = []
    for column in range(COLUMNS):
        cell = cells[column]
        style = COLOURS.get(cell.fg, f"#{cell.fg}"), cell.bold
        if runs and runs[-1][2:] == style and runs[-1][0] + len(runs[-1][1]) == column:
            runs[-1] = (runs[-1][0], runs[-1][1] + cell.data, *style)
        else:
            runs.append((column, cell.data, *style))
    return tuple((run[0], run[1].rstrip(), *run[2:]) for run in runs if run[1].strip())


def shortened(recorded: Sequence[Sequence[Frame]], seconds: float) -> list[Frame]:
    """Join what commands showed: each in at most `seconds`, with so many frames a second."""
    frames: list[Frame] = []
    begin = 0.0
    for found in recorded:
        speed = min(1.0, seconds / max(found[-1].at, 0.01))
        frames += _sampled([replace(frame, at=begin + frame.at * speed) for frame in found])
        begin = frames[-1].at + 1.2  # time to read
    return frames


def _sampled(frames: Sequence[Frame]) -> list[Frame]:
    """Return the last of the frames that share a moment, without those that change nothing."""
    moments = {int(frame.at * FRAMES_A_SECOND): frame for frame in frames}
    kept: list[Frame] = []
    for frame in moments.values():
        if not kept or frame.lines != kept[-1].lines:
            kept.append(frame)
    return kept


def picture(frames: Sequence[Frame], title: str) -> str:
    """Draw the frames below each other, and a window that jumps from one to the next."""
    height, width = ROWS * LEADING, COLUMNS * CELL
    names: dict[Line, str] = {}
    for frame in frames:
        for line in frame.lines:
            if line and line not in names:
                names[line] = f"l{len(names)}"
    total = frames[-1].at + HELD
    steps = "".join(
        f"{frame.at / total:.2%}{{transform:translateY({-place * height}px)}}"
        for place, frame in enumerate([replace(frames[0], at=0.0), *frames[1:]])
    )
    film = "".join(_frame(frame, place * height, names) for place, frame in enumerate(frames))
    return DRAWING.format(
        title=escape(title), seconds=total, steps=steps, lines=_lines(names), film=film, margin=MARGIN,
        inner=f'width="{width:.0f}" height="{height}"', last=-(len(frames) - 1) * height,
        box=f"0 0 {width + 2 * MARGIN:.0f} {height + 2 * MARGIN}",
    )  # fmt: skip


def _lines(names: dict[Line, str]) -> str:
    return "\n".join(f'<g id="{name}">{"".join(map(_run, line))}</g>' for line, name in names.items())


def _run(run: Run) -> str:
    column, text, colour, bold = run
    weight = ' class="b"' if bold else ""
    return (
        f'<text x="{column * CELL:.1f}" fill="{colour}" textLength="{len(text) * CELL:.1f}"{weight}>'
        f"{escape(text)}</text>"
    )


def _frame(frame: Frame, top: int, names: dict[Line, str]) -> str:
    uses = (
        f'<use href="#{names[line]}" y="{top + (row + 1) * LEADING - 5}"/>'
        for row, line in enumerate(frame.lines) if line
    )  # fmt: skip
    return f"{''.join(uses)}\n"


def main() -> None:
    """Record the commands of the command line."""
    parser = argparse.ArgumentParser(description="Record a terminal as an animated picture.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("commands", nargs="+")
    parser.add_argument("--seconds", type=float, default=7.0, help="that a command takes at most")
    asked = parser.parse_args()
    frames = shortened(record(asked.folder, asked.commands), asked.seconds)
    title = f"A terminal: {', then '.join(asked.commands)}"
    asked.out.write_text(picture(frames, title), encoding="utf-8")


if __name__ == "__main__":
    main()
