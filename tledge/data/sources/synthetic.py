"""Draw the source `drawn`: synthetic images of hands playing rock, paper, scissors.

Every image is drawn on demand and nothing is downloaded. Image i of a split depends on
(seed, split, i) alone, so any process can draw any record and gets the same bytes. The test
split is drawn from other ranges than the train split (see `RANGES`): a model that only learned
the train split's backgrounds, sleeves or upright hands does worse there.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge.data.sources import synthetic_hands
from tledge.data.sources.base import Reader, Record, Scan
from tledge.data.sources.synthetic_hands import Colour, Look, Placement, Pose, draw_hand
from tledge.errors import RecipeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.float32]
    """float32 of shape (size, size, 3), nominally 0..255 RGB."""

LABELS = ("paper", "rock", "scissors")

OPTIONS: dict[str, object] = {"train": 1800, "test": 600, "size": 128, "seed": 0}
"""`train` and `test`: images in each split, all labels together; `size`: side in pixels."""

_LIMITS = {"train": (1, 1_000_000), "test": (1, 1_000_000), "size": (16, 1024), "seed": (0, 2**32)}

Span = tuple[float, float]


@dataclass(frozen=True)
class _Ranges:
    """What one split varies; a `Span` is the lowest and the highest value, uniformly distributed."""

    skins: tuple[float, ...]  # how often each of `_SKINS` is chosen
    sleeves: tuple[Colour, ...]
    bare_arm: float  # how often there is no sleeve
    backgrounds: tuple[str, ...]
    angle: Span  # degrees either side of upright
    scale: Span  # width of the palm as a share of the image
    shift: Span  # off the middle, as a share of the image
    squash: Span  # 1 faces the camera
    light: Span  # degrees clockwise from the image's right; -90 is from above
    shadow: Span  # darkness of the shadow on the background
    blur: Span  # Gaussian sigma in pixels of a 128 pixel image
    noise: Span  # standard deviation of the sensor noise, 0..255
    exposure: Span  # gain
    tint: float  # largest colour cast, as a share


RANGES = {
    "train": _Ranges(
        skins=(0.17, 0.20, 0.20, 0.17, 0.14, 0.12),
        sleeves=((48, 66, 120), (150, 44, 48), (64, 64, 68), (222, 218, 208), (60, 110, 78)),
        bare_arm=0.35,
        backgrounds=("plain", "gradient", "cloudy", "stripes", "blobs"),
        angle=(0.0, 46.0),
        scale=(0.29, 0.43),
        shift=(0.0, 0.08),
        squash=(0.80, 1.0),
        light=(-165.0, -15.0),
        shadow=(0.15, 0.45),
        blur=(0.0, 0.9),
        noise=(0.0, 8.0),
        exposure=(0.72, 1.20),
        tint=0.05,
    ),
    "test": _Ranges(
        skins=(0.08, 0.14, 0.20, 0.20, 0.20, 0.18),
        sleeves=((120, 62, 130), (214, 150, 50), (34, 120, 130), (20, 22, 30), (200, 120, 130)),
        bare_arm=0.25,
        backgrounds=("gradient", "cloudy", "blobs", "wood"),
        angle=(0.0, 50.0),
        scale=(0.285, 0.435),
        shift=(0.0, 0.09),
        squash=(0.79, 1.0),
        light=(-190.0, 10.0),
        shadow=(0.10, 0.55),
        blur=(0.1, 1.0),
        noise=(1.0, 9.0),
        exposure=(0.70, 1.22),
        tint=0.08,
    ),
}
"""The ranges of each split. They do not depend on the label: all labels are drawn alike."""

_SKINS: tuple[Colour, ...] = (
    (250, 218, 196), (238, 192, 160), (218, 164, 126), (184, 126, 88), (138, 88, 60), (92, 58, 42),
)  # fmt: skip


def scan(options: Mapping[str, object]) -> Scan:
    """Describe the images to draw; the records are those of split train, then of test, the labels in turn.

    `options` takes the keys of `OPTIONS`; missing ones get its defaults. Raises `RecipeError` for an unknown
    key or a value outside its limits.
    """
    checked = _check_options(options)
    return Scan(
        fingerprint=lambda: _fingerprint(checked),
        count=lambda: sum(checked[split] for split in RANGES),
        records=lambda: _records(checked),
    )


def _fingerprint(options: Mapping[str, int]) -> str:
    """Name the options, the drawing code and the library versions: all that decides the images' bytes."""
    import numpy as np
    import PIL

    code = b"".join(Path(str(path)).read_bytes() for path in (__file__, synthetic_hands.__file__))
    digest = hashlib.sha256(code).hexdigest()
    return repr((sorted(options.items()), digest, PIL.__version__, np.__version__))


def _records(options: Mapping[str, int]) -> Iterator[Record]:
    for split in RANGES:
        for index in range(options[split]):
            label = LABELS[index % len(LABELS)]
            name = f"{split}/{label}/{index // len(LABELS):04d}"
            read = partial(draw, split, index, options["size"], options["seed"])
            yield Record(id=name, label=label, split=split, read=read)


def reader(options: Mapping[str, object]) -> Reader:
    """Return a function that draws the photo of an id again."""
    checked = _check_options(options)

    def read(name: str, _offset: int, _size: int) -> bytes:
        split, label, number = name.split("/")
        index = int(number) * len(LABELS) + LABELS.index(label)
        return draw(split, index, checked["size"], checked["seed"])

    return read


def _check_options(options: Mapping[str, object]) -> dict[str, int]:
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise RecipeError(
            f"[data] of source 'drawn' does not know {', '.join(map(repr, unknown))}; "
            f"it takes {', '.join(OPTIONS)}. Remove or correct the key."
        )
    return {key: _whole_number(key, options.get(key, default)) for key, default in OPTIONS.items()}


def _whole_number(key: str, value: object) -> int:
    low, high = _LIMITS[key]
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise RecipeError(
        f"[data] {key} = {value!r} of source 'drawn' cannot be used: expected a whole number "
        f"from {low} to {high}. Set it to one, or leave it out for {OPTIONS[key]}."
    )


def draw(split: str, index: int, size: int, seed: int) -> bytes:
    """Return image `index` of `split` as JPEG bytes of a `size` x `size` RGB image.

    The label is `LABELS[index % 3]`.
    """
    import numpy as np

    # A fixed number for each split: the order of `RANGES` must not change the images.
    rng = np.random.default_rng([seed, {"train": 0, "test": 1}[split], index])
    return _encode_jpeg(_scene(LABELS[index % len(LABELS)], RANGES[split], size, rng))


def _encode_jpeg(pixels: Pixels) -> bytes:
    import numpy as np
    from PIL import Image

    out = io.BytesIO()
    # JPEG, not PNG: sensor noise makes a PNG five times larger and slow to write, and cameras
    # give JPEGs too.
    Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8)).save(out, format="JPEG", quality=92)
    return out.getvalue()


def _scene(label: str, ranges: _Ranges, size: int, rng: np.random.Generator) -> Pixels:
    import numpy as np

    place = _placement(ranges, rng)
    hand = np.asarray(draw_hand(_pose(label, rng), _look(ranges, rng), place, size), dtype=np.float32)
    alpha = hand[:, :, 3:] / 255.0
    ground = _background(str(rng.choice(ranges.backgrounds)), size, rng)
    ground *= 1.0 - rng.uniform(*ranges.shadow) * _shadow(alpha, place, rng)
    image = ground + (hand[:, :, :3] - ground) * alpha
    return _camera(image * _illumination(size, place.light, rng), ranges, rng)


def _pose(label: str, rng: np.random.Generator) -> Pose:
    spread = rng.uniform(11.0, 22.0) if label == "scissors" else rng.uniform(5.0, 15.0)
    a, b, c, d = rng.uniform(-4.0, 4.0, size=4).tolist()
    return Pose(
        label=label,
        spread=spread,
        curl=rng.uniform(),
        thumb=rng.uniform(),
        wobble=(a, b, c, d),
        palm_side=bool(rng.uniform() < 0.5),
        mirrored=bool(rng.uniform() < 0.5),
    )


def _look(ranges: _Ranges, rng: np.random.Generator) -> Look:
    skin = _SKINS[int(rng.choice(len(_SKINS), p=ranges.skins))]
    sleeve = ranges.sleeves[int(rng.integers(len(ranges.sleeves)))]
    return Look(
        skin=_vary(skin, 10.0, rng),
        sleeve=None if rng.uniform() < ranges.bare_arm else _vary(sleeve, 22.0, rng),
        cuff=rng.uniform(0.0, 0.35),
        outline=rng.uniform(0.016, 0.034),
    )


def _vary(colour: Colour, amount: float, rng: np.random.Generator) -> Colour:
    red, green, blue = (rng.uniform(-amount, amount, size=3) + colour).clip(0, 255).round().tolist()
    return int(red), int(green), int(blue)


def _placement(ranges: _Ranges, rng: np.random.Generator) -> Placement:
    import numpy as np

    direction, distance = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(*ranges.shift)
    return Placement(
        x=0.5 + distance * float(np.cos(direction)),
        y=0.5 + distance * float(np.sin(direction)),
        scale=rng.uniform(*ranges.scale),
        angle=rng.uniform(*ranges.angle) * float(rng.choice((-1.0, 1.0))),
        squash=rng.uniform(*ranges.squash),
        light=float(np.radians(rng.uniform(*ranges.light))),
    )


def _shadow(alpha: Pixels, place: Placement, rng: np.random.Generator) -> Pixels:
    """Return the hand's soft shadow, (size, size, 1) float32 in 0..1, on the side away from the light."""
    import numpy as np
    from PIL import Image, ImageFilter

    size = alpha.shape[0]
    reach = size * rng.uniform(0.02, 0.07)
    shift = round(reach * np.cos(place.light)), round(reach * np.sin(place.light))
    mask = Image.fromarray((alpha[:, :, 0] * 255).astype(np.uint8))
    moved = mask.transform(mask.size, Image.Transform.AFFINE, (1, 0, shift[0], 0, 1, shift[1]))
    soft = moved.filter(ImageFilter.BoxBlur(size * rng.uniform(0.01, 0.04)))
    return np.asarray(soft, dtype=np.float32)[:, :, None] / 255.0


def _illumination(size: int, light: float, rng: np.random.Generator) -> Pixels:
    """Return the brightness of each pixel, (size, size, 1) float32 about 1, brighter towards the light."""
    import numpy as np

    across, down = _grid(size)
    ramp = across * np.float32(np.cos(light)) + down * np.float32(np.sin(light))
    bright: Pixels = (1.0 + np.float32(rng.uniform(0.05, 0.22)) * ramp)[:, :, None]
    return bright


def _camera(image: Pixels, ranges: _Ranges, rng: np.random.Generator) -> Pixels:
    """Apply exposure, colour cast, lens blur and sensor noise."""
    import numpy as np
    from PIL import Image, ImageFilter

    cast = 1.0 + rng.uniform(-ranges.tint, ranges.tint, size=3)
    exposed = image * (rng.uniform(*ranges.exposure) * cast).astype(np.float32)
    lens = Image.fromarray(np.clip(exposed, 0, 255).astype(np.uint8))
    sigma = rng.uniform(*ranges.blur) * image.shape[0] / 128
    blurred = np.asarray(lens.filter(ImageFilter.GaussianBlur(sigma)), dtype=np.float32)
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    return blurred + grain * np.float32(rng.uniform(*ranges.noise))


def _grid(size: int) -> tuple[Any, Any]:
    """Return coordinates from -1 to 1 across (1, size) and down (size, 1), float32."""
    import numpy as np

    line = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    return line[None, :], line[:, None]


def _background(kind: str, size: int, rng: np.random.Generator) -> Pixels:
    if kind == "blobs":
        return _blobs(size, rng)
    return _coloured(_pattern(kind, size, rng), rng)


def _coloured(pattern: Any, rng: np.random.Generator) -> Pixels:
    """Colour a pattern of 0..1, (size, size), from one random colour to a related one."""
    import numpy as np

    first = rng.uniform(30, 235) + rng.uniform(-36, 36, size=3)
    second = first + rng.uniform(-70, 70) + rng.uniform(-25, 25, size=3)
    colours = np.clip([first, second], 8, 247).astype(np.float32)
    mixed: Pixels = colours[0] + (colours[1] - colours[0]) * pattern[:, :, None]
    return mixed


def _pattern(kind: str, size: int, rng: np.random.Generator) -> Any:
    """Draw a pattern of about 0..1, (size, size) float32."""
    import numpy as np

    if kind == "plain":
        return np.zeros((size, size), np.float32)
    if kind == "cloudy":
        return 0.7 * _cloud(int(rng.integers(4, 12)), size, rng) + 0.3 * _cloud(40, size, rng)
    across, down = _grid(size)
    turn = rng.uniform(0.0, np.pi)
    ramp = across * np.float32(np.cos(turn)) + down * np.float32(np.sin(turn))
    if kind == "gradient":
        return ramp * 0.35 + 0.5
    if kind == "wood":
        ramp = ramp + 0.25 * _cloud(4, size, rng)
        return 0.7 * np.sin(ramp * rng.uniform(9, 22)) ** 2 + 0.3 * _cloud(48, size, rng)
    return np.clip(np.sin(ramp * rng.uniform(6, 26) + rng.uniform(0, 6)) * 3 + 0.5, 0, 1)


def _cloud(cells: int, size: int, rng: np.random.Generator) -> Any:
    """Draw smooth noise of about 0..1, (size, size) float32, with `cells` cells a side."""
    import numpy as np
    from PIL import Image

    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _blobs(size: int, rng: np.random.Generator) -> Pixels:
    """Draw blurred coloured discs, like a cluttered room out of focus."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFilter

    shades = (rng.uniform(40, 220) + rng.uniform(-55, 55, size=(14, 3))).clip(0, 255).round()
    colours = [(int(r), int(g), int(b)) for r, g, b in shades.tolist()]
    image = Image.new("RGB", (size, size), colours[0])
    pen = ImageDraw.Draw(image)
    for colour in colours[1:]:
        x, y = (rng.uniform(0.0, 1.0, size=2) * size).tolist()
        r = rng.uniform(0.06, 0.30) * size
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    soft = image.filter(ImageFilter.GaussianBlur(size * rng.uniform(0.005, 0.04)))
    return np.asarray(soft, dtype=np.float32)
