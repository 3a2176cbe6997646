"""The Android project: its core in plain Java, compiled, and held to a bundle's golden photos, on a JVM.

The app around the core needs the Android SDK, which is not asked for here: of the app, files are read.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.android import PROJECT
from tests.helpers.deep_images import png16
from tests.helpers.fake_device_bundle import change_byte, write_sums
from tests.helpers.paths import ROOT
from tledge import contract
from tledge._io import files as io_files
from tledge.bundle import manifest as bundle_manifest
from tledge.bundle.manifest import Expected, GoldenCase, Manifest, Shipped
from tledge.contract import AbstentionPolicy, InputSpec
from tledge.devices import projects
from tledge.metrics import abstention
from tledge.preprocessing import encodings, image
from tledge.runtime import sessions

LABELS = ("œuf", 'a "quoted" one', "back\\slash")

SIZE = (40, 56)

java = [pytest.mark.slow, pytest.mark.system_packages("openjdk-17-jdk-headless")]


@dataclass(frozen=True)
class Done:
    """How a self-test ended."""

    code: int
    out: str


def photo(width: int = 300, height: int = 200) -> bytes:
    """A smooth picture whose corners and channels differ, so that turned and swapped pixels show."""
    rows, columns = np.mgrid[0:height, 0:width]
    made = np.stack([rows * 255 // height, columns * 255 // width, 255 - rows * 255 // height], axis=-1)
    made[: height // 8, : width // 8] = (250, 40, 120)
    out = BytesIO()
    Image.fromarray(made.astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def write_bundle(folder: Path) -> Path:
    """A bundle of a photo in every encoding, with answers that nobody computed: no model runs on a JVM."""
    (folder / "golden").mkdir(parents=True)
    (folder / "tflite-int8.tflite").write_bytes(b"a model")
    cases, pixels = [], []
    for number, kind in enumerate(("", *encodings.KINDS)):
        suffix, data = encodings.encode(photo(), kind) if kind else (".jpg", photo())
        (folder / "golden" / f"{number}{suffix}").write_bytes(data)
        pixels.append(image.preprocess(data, SIZE))
        label = LABELS[number % 3]
        cases.append(GoldenCase(f"{number}{suffix}", label, label, number, kind))
    sure = np.eye(3, dtype=np.float32)[np.arange(len(cases)) % 3]
    keras = 0.85 * sure + np.float32(0.05)
    np.save(folder / "golden" / "pixels.npy", np.stack(pixels))
    np.save(folder / "golden" / "keras.npy", keras)
    np.save(folder / "golden" / "int8.npy", np.round(keras * 256).astype(np.float32) / 256)
    answers = (Expected("builtin", "golden/none.npy", 0.01), Expected("xnnpack", "golden/int8.npy", 0.01))
    model = folder / "tflite-int8.tflite"
    shipped = (
        Shipped("saved_model", "saved_model", "0" * 64, 1, "passed"),
        Shipped("tflite-int8", model.name, io_files.sha256(model), 7, "passed", expected=answers),
    )
    manifest = Manifest("tiny", "1", "", False, LABELS, InputSpec(*SIZE), 7, shipped, tuple(cases))
    manifest = replace(manifest, confidence=AbstentionPolicy(1.5, 0.5))
    (folder / "manifest.json").write_text(bundle_manifest.manifest_json(manifest), encoding="utf-8")
    (folder / "labels.txt").write_text(contract.labels_text(LABELS), encoding="utf-8")
    write_sums(folder)
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core, the computer's self-test and the probe, compiled without a warning for Java 11."""
    folder = tmp_path_factory.mktemp("classes")
    sources = [*PROJECT.glob("core/**/*.java"), *PROJECT.glob("desktop/**/*.java")]
    sources.append(ROOT / "tests" / "devices" / "android" / "Probe.java")
    command = ["javac", "--release", "11", "-Xlint:all", "-Werror", "-d", str(folder), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def self_test(classes: Path, bundle: Path) -> Done:
    program = ["java", "-Dstdout.encoding=UTF-8", "-cp", str(classes), "tledge.desktop.Main"]
    command = [*program, "--self-test", str(bundle)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert not done.stderr, done.stderr
    return Done(done.returncode, done.stdout)


def probe(classes: Path, *asked: str) -> bytes:
    return subprocess.run(
        ["java", "-cp", str(classes), "Probe", *asked], capture_output=True, check=True
    ).stdout


class TestSelfTest:
    pytestmark = java

    def test_passes_on_a_good_bundle(self, classes: Path, bundle: Path) -> None:
        done = self_test(classes, bundle)
        assert done.code == 0 and done.out.endswith("self-test passed\n"), done.out
        assert done.out.count("prepared within") == 8 and "ok: 8 of 8 classes by Keras, sure of 8" in done.out
        assert "recorded answers, in bytes, have Keras' class in 8 of 8" in done.out
        assert "not checked: tflite-int8.tflite" in done.out

    def test_photos_are_prepared_exactly(self, classes: Path, bundle: Path) -> None:
        done = self_test(classes, bundle)
        assert done.out.count("prepared within 0 grey levels") == 8, done.out


def later(folder: Path) -> None:
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    (folder / "manifest.json").write_text(text.replace('"manifest_version": 1', '"manifest_version": 2'))


def cut(folder: Path) -> None:
    text = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(text[:-4])


def relabelled(folder: Path) -> None:
    (folder / "labels.txt").write_text(contract.labels_text(LABELS[::-1]), encoding="utf-8")


def another_model(folder: Path) -> None:
    (folder / "tflite-int8.tflite").write_bytes(b"another")


def short_pixels(folder: Path) -> None:
    file = folder / "golden" / "pixels.npy"
    file.write_bytes(file.read_bytes()[:-1])


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        file = folder / "golden" / name
        np.save(file, change(np.load(file)))

    return plant


def brighter(pixels: np.ndarray) -> np.ndarray:
    pixels[3] = np.clip(pixels[3].astype(int) + 3, 0, 255)
    return pixels


def one_byte(pixels: np.ndarray) -> np.ndarray:
    pixels[-1, -1, -1, -1] ^= 2
    return pixels


def swapped(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., ::-1].copy()


def flipped(answers: np.ndarray) -> np.ndarray:
    answers[2] = np.roll(answers[2], 1)
    return answers


def without_tag(folder: Path) -> None:
    """As if EXIF were ignored: the photo's pixels with another orientation."""
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        file = folder / "golden" / name
        with Image.open(file) as opened:
            opened.load()
            opened.save(file, "JPEG", quality=95, exif=b"")


def plainly_resized(folder: Path) -> None:
    """What a resize without antialiasing gives, of a photo with fine lines."""
    lines = np.zeros((400, 560, 3), np.uint8)
    lines[:, ::3] = 255
    out = BytesIO()
    Image.fromarray(lines).save(out, "PNG")
    (folder / "golden" / "0.jpg").write_bytes(out.getvalue())
    pixels = np.load(folder / "golden" / "pixels.npy")
    pixels[0] = np.asarray(Image.fromarray(lines).resize(SIZE[::-1], Image.Resampling.NEAREST))
    np.save(folder / "golden" / "pixels.npy", pixels)


FAULTS = {
    "manifest of the future": (later, 4, "manifest version 2.0, this program reads 1"),
    "manifest cut short": (cut, 4, "manifest.json is damaged or incomplete"),
    "labels in another order": (relabelled, 4, "labels.txt and manifest.json name other labels"),
    "another model": (another_model, 4, "tflite-int8.tflite was changed"),
    "pixels too short": (short_pixels, 4, "golden/pixels.npy: damaged"),
    "pixels 3 levels brighter": (changed("pixels.npy", brighter), 3, "WRONG: 3.jpg"),
    "one byte 2 levels off": (changed("pixels.npy", one_byte), 3, "within 2 grey levels"),
    "channels swapped": (changed("pixels.npy", swapped), 3, "WRONG: 0.jpg"),
    "EXIF ignored": (without_tag, 3, "WRONG: 2.jpg, turned by EXIF orientation 6"),
    "no antialiasing": (plainly_resized, 3, "WRONG: 0.jpg"),
    "answers of another class": (changed("int8.npy", flipped), 3, "a far one in 1"),
    "answers that are no shares": (changed("int8.npy", lambda answers: answers * 2), 3, "WRONG: tflite-int8"),
    "Keras of another class": (changed("keras.npy", flipped), 3, "WRONG: 7 of 8 classes by Keras"),
    "answers of fewer photos": (changed("int8.npy", lambda answers: answers[:-1]), 4, "is not of 8 photos"),
}


@pytest.mark.slow
@pytest.mark.system_packages("openjdk-17-jdk-headless")
@pytest.mark.parametrize("fault", list(FAULTS))
def test_planted_fault_is_noticed(classes: Path, bundle: Path, fault: str) -> None:
    """Also where SHA256SUMS was written anew."""
    plant, code, said = FAULTS[fault]
    plant(bundle)
    write_sums(bundle)
    done = self_test(classes, bundle)
    assert done.code == code and said in done.out, done.out
    assert done.out.endswith("self-test FAILED\n")


@pytest.mark.slow
@pytest.mark.system_packages("openjdk-17-jdk-headless")
@pytest.mark.parametrize("name", ["tflite-int8.tflite", "labels.txt", "golden/0.jpg", "golden/pixels.npy"])
def test_changed_byte_is_noticed(classes: Path, bundle: Path, name: str) -> None:
    change_byte(bundle / name)
    done = self_test(classes, bundle)
    assert done.code == 4 and done.out.endswith("self-test FAILED\n"), done.out
    assert f"damaged: {name} was changed" in done.out or "labels.txt and manifest.json name" in done.out


class TestSteps:
    """Single steps against tledge's own."""

    pytestmark = java

    def test_resize_is_pillows(self, classes: Path, tmp_path: Path) -> None:
        """Up, down, to one pixel and of one pixel: to the byte where Pillow too passes along rows first.

        Pillow 13 passes along columns first where the height loses more than twice the pixels that the width
        loses (found by trying, https://github.com/python-pillow/Pillow/pull/9549); rounding then differs.
        """
        random = np.random.default_rng(3)
        sizes = [tuple(int(one) for one in random.integers(1, 150, 4)) for _ in range(40)]
        sizes += [(1, 1, 20, 30), (700, 900, 96, 96), (90, 60, 1, 1), (33, 44, 33, 44), (50, 20, 50, 31)]
        asked, wanted = [], []
        for number, (height, width, *size) in enumerate(sizes):
            pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}.png")
            asked.append(f"prepare {size[0]} {size[1]} {tmp_path / f'{number}.png'}")
            wanted.append(image.preprocess(pixels, (size[0], size[1])))
        found = np.frombuffer(probe(classes, *asked), np.uint8).astype(int)
        parts = np.split(found, np.cumsum([one.size for one in wanted])[:-1])
        exact = 0
        for (height, width, *size), part, one in zip(sizes, parts, wanted, strict=True):
            worst = np.abs(part - one.reshape(-1)).max()
            rows_first = height <= size[0] or height - size[0] <= 2 * (width - size[1])
            exact += rows_first
            assert worst <= (0 if rows_first else 1), (height, width, size)
        assert exact >= 25

    def test_every_alpha_on_white_is_pillows(self, classes: Path, tmp_path: Path) -> None:
        grey, alpha = np.meshgrid(np.arange(256), np.arange(256))
        files = [tmp_path / "colour.png", tmp_path / "grey.png"]
        for file, bands in zip(files, ([grey, 255 - grey, grey, alpha], [grey, alpha]), strict=True):
            Image.fromarray(np.stack(bands, -1).astype(np.uint8)).save(file)
        found = probe(classes, *(f"prepare 256 256 {file}" for file in files))
        assert found == b"".join(image.preprocess(file, (256, 256)).tobytes() for file in files)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG"])
    def test_every_orientation_is_read(self, classes: Path, tmp_path: Path, kind: str) -> None:
        picture, files = Image.open(BytesIO(photo(60, 40))), []
        for orientation in range(10):
            tags = Image.Exif()
            tags[image.ORIENTATION] = orientation
            files.append(tmp_path / f"{orientation}")
            picture.save(files[-1], kind, exif=tags)
        found = probe(classes, *(f"prepare 64 70 {file}" for file in files))
        wanted = [image.preprocess(file, (64, 70)) for file in files]
        assert len({one.tobytes() for one in wanted}) == 8
        assert found == b"".join(one.tobytes() for one in wanted)

    def test_deep_pixels_are_shifted_or_refused(self, classes: Path, tmp_path: Path) -> None:
        deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
        (tmp_path / "bright.png").write_bytes(png16(np.stack([deep] * 3, 2)))
        (tmp_path / "dim.png").write_bytes(png16(np.stack([deep >> 4] * 3, 2)))
        found = np.frombuffer(probe(classes, f"prepare 8 8 {tmp_path / 'bright.png'}"), np.uint8)
        wanted = image.preprocess(tmp_path / "bright.png", (8, 8)).reshape(-1)
        assert np.abs(found.astype(int) - wanted).max() <= 1
        with pytest.raises(subprocess.CalledProcessError) as caught:
            probe(classes, f"prepare 8 8 {tmp_path / 'dim.png'}")
        assert b"16-bit PNG" in caught.value.stderr

    def test_every_jpeg_is_near_pillows(self, classes: Path, tmp_path: Path) -> None:
        """Java brings a JPEG decoder of its own; what is prepared of its pixels may differ by 1."""
        picture, files = Image.open(BytesIO(photo(301, 203))), []
        for subsampling in (0, 1, 2):
            for progressive in (False, True):
                files.append(tmp_path / f"{subsampling}-{progressive}.jpg")
                picture.save(files[-1], "JPEG", quality=70, subsampling=subsampling, progressive=progressive)
        asked = [f"prepare 96 96 {file}" for file in files]
        found = np.frombuffer(probe(classes, *asked), np.uint8).reshape(-1, 96, 96, 3)
        wanted = np.stack([image.preprocess(file, (96, 96)) for file in files])
        assert np.abs(found.astype(int) - wanted).max() <= 1

    def test_confidence_and_order_are_tledges(self, classes: Path) -> None:
        random = np.random.default_rng(4)
        rows = [random.dirichlet(np.full(5, 0.3)).astype(np.float32) for _ in range(6)]
        rows += [np.array(one, np.float32) for one in ([0, 1, 0], [0.5, 0.25, 0.25], [0.25, 0.25, 0.5, 0])]
        heats = [0.1, 0.6381, 1, 1.7, 3, 10, 2, 1, 0.5]
        asked = [
            f"answer {heat} - {' '.join(map(repr, row.tolist()))}"
            for heat, row in zip(heats, rows, strict=True)
        ]
        lines = probe(classes, *asked).decode().splitlines()
        for line, heat, row in zip(lines, heats, rows, strict=True):
            order, sure = line.split(";")
            names = [str(number) for number in range(len(row))]
            assert order.split() == [label for label, _share in sessions.top_k(row, names, 3)]
            wanted = abstention.temperature_scaled(row, heat)
            assert np.allclose([float(one) for one in sure.split()], wanted, rtol=1e-12, atol=1e-300)

    def test_quantizing_is_tledges(self, classes: Path) -> None:
        cases = [(0.5, 1 / 256, -128), (0.001953125, 1 / 256, -128), (2.0, 1 / 256, -128), (-1.0, 0.1, 3)]
        asked = [f"quantize {scale!r} {zero} {value!r}" for value, scale, zero in cases]
        lines = probe(classes, *asked).decode().splitlines()
        for line, (value, scale, zero) in zip(lines, cases, strict=True):
            step = sessions.quantize(np.array([value], np.float32), float(np.float32(scale)), zero, np.int8)
            real = sessions.dequantize(step, scale, zero)
            assert int(line.split()[0]) == step[0] and np.float32(line.split()[1]) == real[0]


@pytest.mark.slow
@pytest.mark.system_packages("openjdk-17-jdk-headless")
def test_filled_project_tests_itself(bundle: Path, tmp_path: Path) -> None:
    """As a user would: fill the project, compile it by the README's command, run its self-test."""
    made = projects.fill("android", bundle, tmp_path / "app").folder
    readme = (made / "README.md").read_text(encoding="utf-8")
    commands = [line for line in readme.splitlines() if line.startswith(("    javac ", "    java "))]
    assert len(commands) == 2
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=made, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("self-test passed\n")
