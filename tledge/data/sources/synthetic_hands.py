"""Draw one cartoon hand: a fist (rock), an open hand (paper) or a V (scissors).

The hand lives in its own plane: x to the right, y towards the fingertips, the origin in
the middle of the palm, one unit about the width of a palm, the thumb on the left. A
`Placement` carries that plane into the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

SUPERSAMPLING = 3  # drawn this many times larger, then averaged: smooth edges

# Index, middle, ring and little finger: knuckle, length, half width.
_KNUCKLES: tuple[Point, ...] = ((-0.335, 0.34), (-0.115, 0.40), (0.11, 0.37), (0.32, 0.27))
_LENGTHS = (0.84, 0.94, 0.86, 0.66)
_RADII = (0.118, 0.122, 0.116, 0.100)
_PALM: tuple[Point, ...] = (
    (-0.31, 0.30), (-0.10, 0.36), (0.10, 0.34), (0.29, 0.22),
    (0.27, -0.26), (0.12, -0.50), (-0.12, -0.50), (-0.29, -0.22),
)  # fmt: skip
_PALM_RADIUS = 0.15
_FOCUS = {"paper": 0.32, "rock": -0.02, "scissors": 0.30}  # y of the middle of each shape


@dataclass(frozen=True)
class Pose:
    """How the hand is held.

    `label` is "paper", "rock" or "scissors". `spread` is the angle between neighbouring
    fingers in degrees (between the two blades of the scissors it is doubled), `curl` from 0
    (stretched) to 1 shortens and bends the fingers, `thumb` from 0 (close to the hand) to 1
    (far out). `wobble` holds one small angle in degrees for each of the four fingers.
    """

    label: str
    spread: float
    curl: float
    thumb: float
    wobble: tuple[float, float, float, float]
    palm_side: bool
    mirrored: bool


@dataclass(frozen=True)
class Look:
    """Colours as 0..255 RGB; `sleeve` None is a bare arm, `cuff` its distance from the palm."""

    skin: Colour
    sleeve: Colour | None
    cuff: float
    outline: float  # width as a share of the palm's width, 0.01..0.04


@dataclass(frozen=True)
class Placement:
    """Where the hand lies in the image.

    `x`, `y` and `scale` (one palm width) are shares of the image side, `angle` is in degrees
    clockwise from upright, `squash` narrows the hand as when it is turned away, and `light`
    is the direction the light comes from, in radians clockwise from the image's right.
    """

    x: float
    y: float
    scale: float
    angle: float
    squash: float
    light: float


def draw_hand(pose: Pose, look: Look, placement: Placement, size: int) -> Image.Image:
    """Return the hand as a PIL image of mode RGBA, `size` x `size`, alpha 0 around the hand."""
    from PIL import Image, ImageDraw

    side = size * SUPERSAMPLING
    tones = _Tones.of(look.skin, pose.palm_side)
    canvas = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pen = _Pen(ImageDraw.Draw(canvas), pose, look, placement, side)
    _arm(pen, look, tones)
    {"paper": _paper, "rock": _rock, "scissors": _scissors}[pose.label](pen, pose, tones)
    # Pillow weighs colours by their alpha here, so the clear surroundings do not bleed in.
    return canvas.reduce(SUPERSAMPLING)


@dataclass(frozen=True)
class _Tones:
    """The few colours one material is drawn with."""

    outline: Colour
    dark: Colour
    base: Colour
    lit: Colour
    nail: Colour

    @classmethod
    def of(cls, colour: Colour, palm_side: bool = False) -> _Tones:
        # The palm of a hand is paler and rosier than its back.
        base = _mix(colour, (236, 176, 160), 0.22 if palm_side else 0.0)
        return cls(
            outline=_mix(base, (28, 12, 10), 0.68),
            dark=_mix(base, (70, 22, 18), 0.26),
            base=base,
            lit=_mix(base, (255, 246, 230), 0.22),
            nail=_mix(base, (255, 222, 214), 0.50),
        )


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue


class _Pen:
    """A pen for round, shaded shapes, given in the hand's plane, on the supersampled canvas."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, pose: Pose, look: Look, placement: Placement, side: int
    ) -> None:
        self._draw = draw
        self.unit = placement.scale * side
        self.edge = max(look.outline * self.unit, 1.0)
        turn = math.radians(placement.angle)
        self._cos, self._sin = math.cos(turn), math.sin(turn)
        self._flip = placement.squash * (-1.0 if pose.mirrored else 1.0)
        self._centre = (placement.x * side, placement.y * side)
        self._focus = _FOCUS[pose.label]
        self._light = (math.cos(placement.light), math.sin(placement.light))

    def _pixel(self, point: Point) -> Point:
        x, y = point[0] * self._flip * self.unit, (point[1] - self._focus) * self.unit
        return (
            self._centre[0] + x * self._cos + y * self._sin,
            self._centre[1] + x * self._sin - y * self._cos,
        )

    def limb(self, points: Sequence[Point], radii: Sequence[float], tones: _Tones) -> None:
        """Draw a tapering tube through `points`: outline, shaded side, body, light along the top."""
        path = [self._pixel(p) for p in points]
        widths = [r * self.unit for r in radii]
        self._tube(path, [w + self.edge for w in widths], 0.0, tones.outline)
        self._tube(path, widths, 0.0, tones.dark)
        self._tube(path, [w * 0.80 for w in widths], 0.18, tones.base)
        self._tube(path, [w * 0.26 for w in widths], 1.7, tones.lit)

    def _tube(self, path: list[Point], radii: list[float], shift: float, colour: Colour) -> None:
        moved = [self._towards_light(p, r * shift) for p, r in zip(path, radii, strict=True)]
        for (a, r), (b, s) in zip(
            zip(moved, radii, strict=True), zip(moved[1:], radii[1:], strict=False), strict=False
        ):
            self._joint(a, b, r, s, colour)
        for (x, y), r in zip(moved, radii, strict=True):
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def _joint(self, a: Point, b: Point, r: float, s: float, colour: Colour) -> None:
        length = math.hypot(b[0] - a[0], b[1] - a[1]) or 1.0
        nx, ny = (a[1] - b[1]) / length, (b[0] - a[0]) / length
        corners = [
            (a[0] + nx * r, a[1] + ny * r), (b[0] + nx * s, b[1] + ny * s),
            (b[0] - nx * s, b[1] - ny * s), (a[0] - nx * r, a[1] - ny * r),
        ]  # fmt: skip
        self._draw.polygon(corners, fill=colour)

    def _towards_light(self, point: Point, distance: float) -> Point:
        return point[0] + self._light[0] * distance, point[1] + self._light[1] * distance

    def slab(self, corners: Sequence[Point], radius: float, tones: _Tones, edged: bool) -> None:
        """Draw a filled polygon with round corners; without `edged` it covers what is under it."""
        path = [self._pixel(p) for p in corners]
        width = radius * self.unit
        if edged:
            self._rounded(path, width + self.edge, 0.0, tones.outline)
            self._rounded(path, width, 0.0, tones.dark)
        self._rounded(path, width * 0.72, width * 0.16, tones.base)

    def _rounded(self, path: list[Point], radius: float, shift: float, colour: Colour) -> None:
        moved = [self._towards_light(p, shift) for p in path]
        self._draw.polygon(moved, fill=colour)
        self._tube([*moved, moved[0]], [radius] * (len(moved) + 1), 0.0, colour)

    def line(self, points: Sequence[Point], colour: Colour, width: float = 0.8) -> None:
        """Draw a thin line; `width` is in outline widths."""
        path = [self._pixel(p) for p in points]
        self._draw.line(path, fill=colour, width=max(1, round(self.edge * width)))

    def spot(self, points: Sequence[Point], radius: float, colour: Colour) -> None:
        """Draw a flat round stroke without outline: a nail, the light on a knuckle."""
        path = [self._pixel(p) for p in points]
        self._tube(path, [radius * self.unit] * len(path), 0.0, colour)


def _arm(pen: _Pen, look: Look, tones: _Tones) -> None:
    pen.limb([(0.0, -0.40), (0.0, -0.8), (0.0, -4.0)], [0.27, 0.26, 0.42], tones)
    if look.sleeve is None:
        return
    cloth = _Tones.of(look.sleeve)
    top = -0.62 - look.cuff
    pen.slab([(-0.22, top - 0.1), (0.22, top - 0.1), (0.42, -4.0), (-0.42, -4.0)], 0.15, cloth, True)
    pen.line([(-0.36, top - 0.16), (0.0, top - 0.20), (0.36, top - 0.16)], cloth.outline)


def _paper(pen: _Pen, pose: Pose, tones: _Tones) -> None:
    pen.slab(_PALM, _PALM_RADIUS, tones, True)
    _open_thumb(pen, pose, tones)
    # From the outside in, so that the middle finger lies on top where fingers overlap.
    for index in (3, 0, 2, 1):
        _stretched(pen, pose, index, (index - 1.4) * pose.spread, tones)
    pen.slab(_PALM, _PALM_RADIUS, tones, False)
    _palm_details(pen, pose, tones, (0, 1, 2, 3))


def _scissors(pen: _Pen, pose: Pose, tones: _Tones) -> None:
    pen.slab(_PALM, _PALM_RADIUS, tones, True)
    _stretched(pen, pose, 0, -pose.spread, tones)
    _stretched(pen, pose, 1, pose.spread, tones)
    if not pose.palm_side:
        _knuckle_bumps(pen, (3, 2), tones)
    pen.slab(_PALM, _PALM_RADIUS, tones, False)
    if pose.palm_side:
        _folded(pen, pose, (3, 2), tones)
        reach = 0.10 + 0.10 * (1.0 - pose.thumb)
        pen.limb([(-0.33, -0.26), (-0.16, -0.06), (reach, 0.02)], [0.16, 0.13, 0.11], tones)
        _thumb_crease(pen, (-0.16, -0.06), tones)
    else:
        _palm_details(pen, pose, tones, (0, 1, 2, 3))


def _rock(pen: _Pen, pose: Pose, tones: _Tones) -> None:
    if not pose.palm_side:
        # Seen from the back only the side of the thumb shows.
        out = -0.40 - 0.08 * pose.thumb
        pen.limb([(-0.28, -0.28), (out, -0.04), (out + 0.03, 0.18)], [0.15, 0.12, 0.10], tones)
    pen.slab(_PALM, _PALM_RADIUS, tones, True)
    if pose.palm_side:
        _folded(pen, pose, (3, 2, 1, 0), tones)
        reach = -0.02 + 0.14 * (1.0 - pose.thumb)
        pen.limb([(-0.34, -0.28), (-0.30, -0.08), (reach, 0.02)], [0.16, 0.14, 0.11], tones)
        _thumb_crease(pen, (-0.22, -0.04), tones)
        return
    _knuckle_bumps(pen, (3, 0, 2, 1), tones)
    pen.slab(_PALM, _PALM_RADIUS, tones, False)
    _palm_details(pen, pose, tones, (0, 1, 2, 3))


def _step(start: Point, degrees: float, length: float) -> Point:
    """Return the point `length` away from `start`, `degrees` clockwise from straight up."""
    turn = math.radians(degrees)
    return start[0] + math.sin(turn) * length, start[1] + math.cos(turn) * length


def _stretched(pen: _Pen, pose: Pose, index: int, degrees: float, tones: _Tones) -> None:
    length = _LENGTHS[index] * (1.0 - 0.22 * pose.curl)
    bend = pose.wobble[index] + pose.curl * (10.0 if index < 2 else -10.0)
    points, turn = [_KNUCKLES[index]], degrees + pose.wobble[index]
    for share in (0.46, 0.30, 0.24):
        points.append(_step(points[-1], turn, length * share))
        turn += bend
    radius = _RADII[index]
    pen.limb(points, [radius, radius, radius * 0.92, radius * 0.80], tones)
    for joint in (1, 2):
        _crease(pen, points[joint], turn - bend * (3 - joint), radius * 0.6, tones.dark)
    if not pose.palm_side:
        _nail(pen, points[3], turn - bend, radius, tones)


def _crease(pen: _Pen, at: Point, degrees: float, half: float, colour: Colour) -> None:
    pen.line([_step(at, degrees - 90, half), _step(at, degrees + 90, half)], colour)


def _nail(pen: _Pen, tip: Point, degrees: float, radius: float, tones: _Tones) -> None:
    ends = [_step(tip, degrees, radius * 0.28), _step(tip, degrees, -radius * 0.25)]
    pen.spot(ends, radius * 0.46, tones.dark)
    pen.spot(ends, radius * 0.36, tones.nail)


def _open_thumb(pen: _Pen, pose: Pose, tones: _Tones) -> None:
    turn = -22.0 - 38.0 * pose.thumb
    base = (-0.24, -0.26)
    joint = _step(base, turn - 8.0, 0.46)
    tip = _step(joint, turn + 12.0, 0.32)
    pen.limb([base, joint, tip], [0.19, 0.135, 0.105], tones)
    _crease(pen, joint, turn, 0.07, tones.dark)
    if not pose.palm_side:
        _nail(pen, tip, turn + 12.0, 0.11, tones)


def _folded(pen: _Pen, pose: Pose, fingers: Sequence[int], tones: _Tones) -> None:
    """Draw fingers folded onto the palm, seen from the palm's side: short tubes side by side."""
    for index in fingers:
        (x, y), radius = _KNUCKLES[index], _RADII[index] * 1.06
        lower = (x * 0.86 + pose.wobble[index] * 0.004, y - 0.36 - 0.06 * pose.curl)
        pen.limb([(x, y), lower], [radius, radius * 0.94], tones)
        _crease(pen, (x * 0.96, y - 0.10), 0.0, radius * 0.6, tones.dark)


def _knuckle_bumps(pen: _Pen, fingers: Sequence[int], tones: _Tones) -> None:
    for index in fingers:
        (x, y), radius = _KNUCKLES[index], _RADII[index] * 1.12
        pen.limb([(x, y - 0.12), (x, y + 0.02)], [radius, radius], tones)


def _thumb_crease(pen: _Pen, at: Point, tones: _Tones) -> None:
    _crease(pen, at, 60.0, 0.07, tones.dark)


def _palm_details(pen: _Pen, pose: Pose, tones: _Tones, fingers: Sequence[int]) -> None:
    """Draw the lines of the palm, or on the back the light on the knuckles and the tendons."""
    if pose.palm_side:
        pen.line([(-0.30, 0.12), (-0.10, 0.16), (0.08, 0.08), (0.26, 0.12)], tones.dark, 1.0)
        pen.line([(-0.30, 0.08), (-0.14, 0.04), (-0.05, -0.14), (-0.06, -0.36)], tones.dark, 1.0)
        return
    for index in fingers:
        x, y = _KNUCKLES[index]
        pen.spot([(x * 0.94, y - 0.04)], 0.055, tones.lit)
        pen.line([(x * 0.86, y - 0.16), (x * 0.70, y - 0.34)], tones.dark, 0.9)
