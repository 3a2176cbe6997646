#!/usr/bin/env python3
"""Say what is on photos, or before a camera, with the model in the folder `bundle` beside this file.

    python classify.py photo.jpg another.png photos/
    python classify.py --camera
    python classify.py --self-test

All that varies is read from bundle/manifest.json. Make this file your own: as long as the self-test
passes, it predicts like the reference model.

Exit codes: 0 done, 1 a photo or the camera could not be read, 2 wrong usage, 3 the self-test found other
answers, 4 the bundle is damaged or not known here, 5 something is not installed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

try:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from numpy.typing import NDArray
    from PIL import Image, ImageOps
except ImportError as error:
    print(f"{error}. Install what is needed: pip install -r requirements.txt", file=sys.stderr)
    raise SystemExit(5) from error

MANIFEST_VERSION = 1  # the newest that is understood here
PREFERRED = ("tflite-int8", "tflite-fp32")  # then the others
INSTALL = {"picamera2": "sudo apt install python3-picamera2", "cv2": "pip install opencv-python-headless"}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000")
Pixels = NDArray[np.uint8]


class Problem(Exception):
    """Something that the user can mend; `code` is what the program ends with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Bundle:
    """What manifest.json says; `size` is (height, width), `models` are the entries to use, best first."""

    folder: Path
    labels: list[str]
    size: tuple[int, int]
    ranged: bool  # pixels deeper than 8 bits have a range of their own, which is not known here
    models: dict[str, dict[str, Any]]
    golden: list[dict[str, Any]]
    sure: dict[str, float] | None


def open_bundle(folder: Path, variant: str | None) -> Bundle:
    """Read manifest.json, for one variant or all; warn of a bundle that is only for trying things."""
    path = folder / "manifest.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["manifest_version"] > MANIFEST_VERSION:
            raise Problem(4, f"{path}: version {raw['manifest_version']}, known here: {MANIFEST_VERSION}.")
        for doubt in ("synthetic", "unverified"):
            if raw[doubt]:
                print(f"note: this bundle is {doubt}, see its README.md", file=sys.stderr)
        there = {one["variant"]: one for one in raw["artifacts"] if one["path"].endswith(".tflite")}
        wanted = (variant,) if variant else (*PREFERRED, *there)
        models = {name: there[name] for name in wanted if name in there}
        if not models:
            raise Problem(2, f"{path}: names no {variant or 'model'}, but {', '.join(there) or 'none'}.")
        size = (raw["input"]["height"], raw["input"]["width"])
        sure = raw.get("confidence")
        if sure is None:
            print("note: uncalibrated, confidences are the model's raw probabilities", file=sys.stderr)
        if any(not isinstance(one, str) or re.search(r"[\x00-\x1f\x7f-\x9f]", one) for one in raw["labels"]):
            raise ValueError("a label holds control characters")
        heat = sure["temperature"] if sure else 1
        if not (all(type(side) is int and 0 < side <= 8192 for side in size) and heat > 0):
            raise ValueError("the size or the temperature makes no sense")
        ranged = "pixel_range" in raw["input"]
        return Bundle(folder, raw["labels"], size, ranged, models, raw["golden"], sure)
    except (OSError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise Problem(4, f"{path}: missing, damaged or incomplete ({error!r}).") from error


def inside(folder: Path, name: str) -> Path:
    """Return a file of the bundle; refuse a name that leads outside the bundle."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise Problem(4, f"{folder}: has no file {name!r}.")
    return path


class Model:
    """A `.tflite` file of the bundle: RGB bytes in, a probability for each class out."""

    def __init__(self, bundle: Bundle, variant: str, threads: int) -> None:
        entry = bundle.models[variant]
        path = inside(bundle.folder, entry["path"])
        try:
            content = path.read_bytes()
            if sha256(content).hexdigest() != entry["sha256"]:
                raise Problem(4, f"{path}: damaged or changed, its SHA-256 is not that of manifest.json.")
            self._litert = Interpreter(model_content=content, num_threads=threads)
            self._litert.allocate_tensors()
        except (OSError, ValueError, RuntimeError) as error:
            raise Problem(4, f"{path}: does not load ({error}).") from error
        self._input = self._litert.get_input_details()[0]["index"]
        self._output = self._litert.get_output_details()[0]
        if tuple(self._output["shape"]) != (1, len(bundle.labels)):
            raise Problem(4, f"{path}: gives {self._output['shape']} values for {len(bundle.labels)} labels.")
        self.milliseconds: list[float] = []

    def run(self, pixels: Pixels) -> NDArray[np.float32]:
        """Probabilities float32[classes] of uint8[height, width, 3]; notes how long it took."""
        started = time.perf_counter()
        self._litert.set_tensor(self._input, pixels[None])
        self._litert.invoke()
        self.milliseconds.append(1000 * (time.perf_counter() - started))
        raw = self._litert.get_tensor(self._output["index"])[0].astype(np.float32)
        scale, zero_point = self._output["quantization"]
        return np.asarray((raw - zero_point) * scale if scale else raw, np.float32)


def prepare(photo: Image.Image, size: tuple[int, int]) -> Pixels:
    """Upright RGB, laid on white, stretched to (height, width): uint8[height, width, 3].

    The model was trained on photos preprocessed like this. Pillow's BILINEAR antialiases; another resizing,
    or red and blue exchanged, costs accuracy and raises no error.
    """
    deep = photo.mode[0] in "IF" or ";16" in stored(photo)
    upright = ImageOps.exif_transpose(photo)
    if upright.mode.startswith("I;16") or (upright.mode == "I" and photo.format == "PPM"):  # 0..65535
        upright = upright.convert("I").point(lambda value: value / 256).convert("L")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    height, width = size
    photo = upright.convert("RGB")
    if deep and (upright.mode in ("I", "F") or np.asarray(photo).max() < 64):
        raise ValueError("which values are black and white is not known; save it with 8 bits")
    return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR))


def stored(photo: Image.Image) -> str:
    """Return how Pillow says that the pixels of a photo that is not decoded yet are stored."""
    return str([tile[3] for tile in getattr(photo, "tile", [])])


def classify(bundle: Bundle, model: Model, pixels: Pixels, top: int) -> dict[str, Any]:
    """Return the `top` classes of a preprocessed image, most probable first; unsure predictions abstain."""
    found = model.run(pixels)
    sure = confidences(found, bundle.sure)
    best = [  # "probability" is what early versions called the confidence
        {"label": bundle.labels[row], "confidence": (one := float(sure[row])), "probability": one}
        | {"raw_probability": float(found[row])}
        for row in np.argsort(-found, kind="stable")[:top]
    ]
    return {"predictions": best, "abstained": bool(bundle.sure and sure.max() < bundle.sure["threshold"])}


def confidences(found: NDArray[np.float32], fitted: dict[str, float] | None) -> NDArray[np.float64]:
    """Return the confidence of each class: p^(1 / temperature), divided by the sum over all classes."""
    if fitted is None:
        return found.astype(np.float64)
    powers = np.maximum(found.astype(np.float64), 1.17549435e-38) ** (1 / fitted["temperature"])
    return np.asarray(powers / powers.sum())


def percent(share: float) -> str:
    """Return a share in per cent, and never 100 where it is less."""
    return f"{share if share >= 1 else min(share, 0.999):.1%}"


def read(source: Path | Image.Image, bundle: Bundle) -> Pixels:
    """Preprocess a photo's file or an image."""
    try:  # with all formats, Pillow would start Ghostscript for EPS files
        with Image.open(source, formats=FORMATS) if isinstance(source, Path) else source as photo:
            if bundle.ranged and (photo.mode[0] in "IF" or ";16" in stored(photo)):
                raise ValueError("its pixels are deeper than 8 bits; tledge predict knows their range")
            return prepare(photo, bundle.size)
    except Exception as error:  # Pillow's decoders raise dozens of classes for damaged photos
        raise Problem(1, f"{source}: cannot be read ({error}).") from error


def photos(paths: Sequence[Path]) -> Iterator[Path]:
    """List the named files, and the photos in the named folders."""
    known = Image.registered_extensions()
    for path in paths:
        inside = [one for one in sorted(path.rglob("*")) if known.get(one.suffix.lower()) in FORMATS]
        if path.is_dir() and not inside:
            raise Problem(1, f"{path}: no photo is in this folder.")
        yield from inside or [path]


def camera(which: str, every: float) -> Iterator[Image.Image]:
    """Yield images of a camera, at most one in `every` seconds, and always the newest."""
    due = 0.0
    for frame in frames(which):
        if time.monotonic() >= due:
            due = time.monotonic() + every
            yield Image.fromarray(frame)


def frames(which: str) -> Iterator[Pixels]:
    """RGB frames: of the camera module by picamera2, else of a numbered camera, file or URL by OpenCV."""
    name = "picamera2" if which == "module" else "cv2"
    try:
        library: Any = importlib.import_module(name)
    except (ImportError, ValueError) as error:  # ValueError: it was made for another numpy
        raise Problem(5, f"--camera {which} needs {name} ({error}): {INSTALL[name]}") from error
    if which == "module":
        device = library.Picamera2()  # what it calls BGR888 is red, green, blue in memory
        device.configure(device.create_video_configuration(main={"size": (1280, 960), "format": "BGR888"}))
        device.start()
        while True:
            yield device.capture_array()
    device = library.VideoCapture(int(which) if which.isdigit() else which)
    while True:
        seen, frame = device.read()
        if not seen:
            raise Problem(1, f"--camera {which}: no picture comes. Is it connected, and free?")
        yield frame[..., ::-1]  # OpenCV has blue first


Check = tuple[bool, int, str]  # whether it passed, the exit code where it did not, and what was found


def self_test(asked: argparse.Namespace) -> Iterator[Check]:
    """Hold this file, its libraries and this machine to what was recorded when the bundle was made."""
    bundle = open_bundle(asked.bundle, asked.variant)
    cases, folder, golden = bundle.golden, bundle.folder, bundle.folder / "golden"
    sums = [line.split("  ", 1) for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()]
    changed = [name for sha, name in sums if sha256(inside(folder, name).read_bytes()).hexdigest() != sha]
    yield bool(sums) and not changed, 4, f"files in SHA256SUMS: {len(sums)}, changed: {changed or 'none'}"
    yield len(cases) > 0, 4, f"golden photos: {len(cases)}"
    pixels = np.load(golden / "pixels.npy")[[case["tensor"] for case in cases]]
    mine = np.stack([read(golden / case["photo"], bundle) for case in cases])
    off = int(np.abs(mine.astype(int) - pixels).max())
    yield off <= 1, 3, f"preprocessing: {off} grey levels off (1 allowed)"
    for variant in bundle.models:
        yield from test_model(bundle, variant, pixels, asked.threads)


def test_model(bundle: Bundle, variant: str, pixels: Pixels, threads: int) -> Iterator[Check]:
    """Compare a model's predictions for uint8[cases, height, width, 3] with those recorded and with Keras."""
    recorded = {one["kernels"]: one for one in bundle.models[variant]["expected"]}.get("xnnpack")
    if recorded is None:
        why = {one["kernels"]: one["reason"] for one in bundle.models[variant].get("unsupported", [])}
        raise Problem(4, f"{variant}: no answers with XNNPACK to compare with. {why.get('xnnpack', '')}")
    model = Model(bundle, variant, threads)
    found = np.stack([model.run(image) for image in pixels])
    rows, labels = [case["tensor"] for case in bundle.golden], np.array(bundle.labels)
    keras, then = (
        np.load(inside(bundle.folder, one))[rows] for one in ("golden/keras.npy", recorded["path"])
    )
    off, allowed = float(np.abs(found - then).max()), recorded["tolerance"]
    yield off <= allowed, 3, f"{variant}: probabilities {off:.2g} off ({allowed:.2g} allowed)"
    same = labels[found.argmax(1)] == [case["keras"] for case in bundle.golden]
    second, first = np.sort(then, axis=1)[:, -2:].T
    due = (then.argmax(1) == keras.argmax(1)) & (first - second > 2 * allowed)  # agreed then, and no tie
    speed = f"{median(model.milliseconds):.2f} ms an image, {threads} threads"
    yield not (due & ~same).any(), 3, f"{variant}: agrees with Keras on {same.sum()} of {len(same)} ({speed})"


def report(checks: Iterator[Check]) -> int:
    """Print every check as it is made; gives the exit code that the worst one asks for."""
    worst = 0
    try:
        for passed, code, said in checks:
            print("ok   " if passed else "WRONG", said, flush=True)
            worst = max(worst, 0 if passed else code)
    except (Problem, OSError, LookupError, TypeError, ValueError) as error:
        print("WRONG", error if isinstance(error, Problem) else f"the bundle is damaged: {error!r}")
        worst = max(worst, getattr(error, "code", 4))
    print("self-test FAILED" if worst else "self-test passed")
    return worst


def answer(asked: argparse.Namespace) -> int:
    """Print the answer to every photo or picture, and how long the model took; gives the exit code."""
    bundle, code = open_bundle(asked.bundle, asked.variant), 0
    variant = next(iter(bundle.models))
    model = Model(bundle, variant, asked.threads)
    try:
        for source in photos(asked.photos) if asked.photos else camera(asked.camera, asked.every):
            name = str(source) if isinstance(source, Path) else time.strftime("%Y-%m-%d %H:%M:%S")
            try:
                found = classify(bundle, model, read(source, bundle), asked.top)
            except Problem as problem:
                print(problem, file=sys.stderr)
                code = problem.code
                continue
            for one in found["predictions"] if not asked.raw else ():
                del one["raw_probability"]
            best = "  ".join(f"{one['label']} {percent(one['confidence'])}" for one in found["predictions"])
            line = f"{name}: ? {best}  (unsure)" if found["abstained"] else f"{name}: {best}"
            print(json.dumps({"image": name, **found}) if asked.json else line, flush=True)
    finally:
        if model.milliseconds:
            print(f"{variant}: {median(model.milliseconds):.2f} ms an image (median)", file=sys.stderr)
    return code


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    camera = "module" if importlib.util.find_spec("picamera2") else "0"
    parser = argparse.ArgumentParser(description="Say what is on photos, or before a camera.")
    parser.add_argument("photos", nargs="*", type=Path, help="photo files, and folders of photos")
    parser.add_argument("--camera", nargs="?", const=camera, help="'module', a number, a video or its URL")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between a camera's pictures")
    parser.add_argument("--self-test", action="store_true", help="prove that all is right on this machine")
    parser.add_argument("--top", type=int, default=3, help="how many classes to name")
    parser.add_argument("--variant", help="the model to use; a bundle holds several")
    parser.add_argument("--threads", type=int, default=min(4, os.cpu_count() or 1), help="processors to use")
    parser.add_argument("--raw", action="store_true", help="with --json: also the model's raw probabilities")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, one for each image")
    parser.add_argument("--bundle", type=Path, default=Path(__file__).with_name("bundle"), help="its folder")
    asked = parser.parse_args()
    if bool(asked.photos) + bool(asked.camera) + asked.self_test != 1:
        parser.error("give either photos, --camera or --self-test")
    return asked


def main() -> int:
    """Do what was asked; gives the exit code."""
    asked = arguments()
    try:
        return report(self_test(asked)) if asked.self_test else answer(asked)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return problem.code
    except (KeyboardInterrupt, BrokenPipeError):  # how one leaves a camera
        return 130


if __name__ == "__main__":
    sys.exit(main())
