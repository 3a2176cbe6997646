"""The C++ project: built as a user would, with sanitizers, held against tledge and planted faults."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import fake_device_bundle as fake
from tests.helpers.deep_images import png16
from tledge.devices import projects
from tledge.inference import predict, predictor
from tledge.preprocessing import image as preprocessing_image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.system_packages(
        "cmake", "g++", "make", "libjpeg-dev", "libpng-dev", "libssl-dev", "nlohmann-json3-dev"
    ),
]

Run = subprocess.CompletedProcess[bytes]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with a bundle in it, configured and built."""
    folder = tmp_path_factory.mktemp("cpp")
    made = projects.fill("cpp", fake.make(folder / "bundle"), folder / "project").folder
    import ai_edge_litert

    shutil.copy(Path(ai_edge_litert.__path__[0]) / "libLiteRt.so", made)
    for command in (
        ["cmake", "-B", "build", "-DSANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug"],
        ["cmake", "--build", "build", "--parallel", "2"],
    ):
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return made


def classify(project: Path, *arguments: object) -> Run:
    command = ["./build/classify", *map(str, arguments)]
    return subprocess.run(command, cwd=project, capture_output=True, check=False)


@pytest.fixture
def own(project: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(project / "bundle", tmp_path / "bundle"))


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin", "reference"])
def test_passes_on_a_good_bundle(project: Path, kernels: str) -> None:
    done = classify(project, "--self-test", "--kernels", kernels)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"within 0 grey levels" in done.stdout
    assert done.stdout.endswith(b"self-test passed\n")


def test_fixture_answers_differ(project: Path) -> None:
    answers = np.load(project / "bundle" / "golden" / "tflite-int8.xnnpack.npy")
    assert len(set(answers.argmax(-1).tolist())) > 1
    assert len(np.unique(answers, axis=0)) >= len(answers) - 1


def _swap_channels(bundle: Path) -> None:
    pixels = np.load(bundle / "golden" / "pixels.npy")
    np.save(bundle / "golden" / "pixels.npy", np.ascontiguousarray(pixels[..., ::-1]))


def _resize_without_antialias(bundle: Path) -> None:
    path = bundle / "golden" / "pixels.npy"
    pixels = np.load(path)
    with Image.open(bundle / "golden" / "00.png") as photo:
        pixels[0] = np.asarray(photo.resize((fake.WIDTH, fake.HEIGHT), Image.Resampling.NEAREST))
    np.save(path, pixels)


def _answer_otherwise(bundle: Path) -> None:
    path = bundle / "golden" / "tflite-int8.xnnpack.npy"
    np.save(path, np.roll(np.load(path), 1, axis=1))


def _forget_orientation(bundle: Path) -> None:
    [name] = [one["photo"] for one in _golden(bundle) if "orientation 6" in one["encoding"]]
    path = bundle / "golden" / name
    with Image.open(path) as photo:
        photo.save(path, quality=90)


def _golden(bundle: Path) -> Any:
    return json.loads((bundle / "manifest.json").read_text())["golden"]


def _answer_nothing(bundle: Path) -> None:
    path = bundle / "golden" / "tflite-fp32.xnnpack.npy"
    np.save(path, np.load(path) * np.float32(np.nan))


@pytest.mark.parametrize(
    "fault",
    [_swap_channels, _resize_without_antialias, _answer_otherwise, _forget_orientation, _answer_nothing],
)
def test_different_answers_fail(project: Path, own: Path, fault: Callable[[Path], None]) -> None:
    """Also where SHA256SUMS was written anew."""
    fault(own)
    fake.write_sums(own)
    done = classify(project, "--bundle", own, "--self-test")
    assert done.returncode == 3, done.stdout + done.stderr
    assert b"FAIL" in done.stdout
    assert done.stdout.endswith(b"self-test FAILED\n")


def _come_from_the_future(bundle: Path) -> None:
    fake.change(bundle, lambda raw: raw.update(manifest_version=2))


def _lack_a_key(bundle: Path) -> None:
    fake.change(bundle, lambda raw: raw.pop("labels"))


def _rename_a_label(bundle: Path) -> None:
    (bundle / "labels.txt").write_text("red\ngreen\nbrown\n")


def _point_nowhere(bundle: Path) -> None:
    fake.change(bundle, lambda raw: raw["golden"][0].update(tensor=13))


def _cut(name: str, keep: float = 0.5) -> Callable[[Path], None]:
    def cut(bundle: Path) -> None:
        data = (bundle / name).read_bytes()
        (bundle / name).write_bytes(data[: int(len(data) * keep)])

    return cut


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_come_from_the_future, b"manifest version 2"),
        (_lack_a_key, b"labels"),
        (_rename_a_label, b"FAIL labels.txt"),
        (_cut("tflite-int8.tflite"), b"tflite-int8.tflite: damaged"),
        (_cut("golden/pixels.npy"), b"pixels.npy: damaged"),
        (_cut("golden/00.png"), b"00.png"),
        (_cut("golden/06.jpg"), b"06.jpg"),
        (_cut("manifest.json"), b"manifest is damaged"),
        (_point_nowhere, b"row that is not there"),
        (lambda bundle: (bundle / "tflite-fp32.tflite").unlink(), b"missing"),
        (lambda bundle: (bundle / "golden" / "00.png").write_bytes(b""), b"empty"),
    ],
)
def test_damage_fails(project: Path, own: Path, fault: Callable[[Path], None], said: bytes) -> None:
    """Also where SHA256SUMS was written anew."""
    fault(own)
    fake.write_sums(own)
    done = classify(project, "--bundle", own, "--self-test")
    assert done.returncode == 4, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert done.stdout.endswith(b"self-test FAILED\n")


@pytest.mark.parametrize("name", ["tflite-int8.tflite", "labels.txt", "golden/00.png", "golden/keras.npy"])
def test_changed_byte_fails(project: Path, own: Path, name: str) -> None:
    fake.change_byte(own / name)
    done = classify(project, "--bundle", own, "--self-test")
    assert done.returncode == 4
    assert f"FAIL {name} was changed".encode() in done.stdout
    assert done.stdout.endswith(b"self-test FAILED\n")


def test_sums_of_nothing_fail(project: Path, own: Path) -> None:
    (own / "SHA256SUMS").write_text("")
    done = classify(project, "--bundle", own, "--self-test")
    assert done.returncode == 4 and b"FAIL 0 files" in done.stdout


@pytest.mark.parametrize(("variant", "within"), [("tflite-int8", 0.0), ("tflite-fp32", 1e-5)])
def test_answers_as_tledge_does(project: Path, variant: str, within: float) -> None:
    bundle = project / "bundle"
    photos = [bundle / "golden" / one["photo"] for one in _golden(bundle)]
    done = classify(project, "--variant", variant, "--json", "--raw", "--threads", 2, *photos)
    assert done.returncode == 0, done.stderr
    wanted = predict.predict(predictor.open_predictor(bundle, variant), photos, 3)
    for found, answer in zip(json.loads(done.stdout), wanted, strict=True):
        assert (found["image"], found["abstained"]) == (answer.image, answer.abstained)
        for one, other in zip(found["predictions"], answer.predictions, strict=True):
            assert one["label"] == other.label
            assert one["raw_probability"] == pytest.approx(other.raw_probability, abs=within, rel=0)
            assert one["probability"] == one["confidence"]
            assert one["confidence"] == pytest.approx(other.confidence, abs=max(within, 1e-9), rel=0)


def test_nothing_to_check_is_no_success(project: Path, own: Path) -> None:
    fake.change(own, lambda raw: raw["artifacts"].clear())
    done = classify(project, "--bundle", own, "--self-test")
    assert done.returncode == 2
    assert b"no artifact for LiteRT" in done.stderr
    assert b"passed" not in done.stdout


def test_unreadable_photo_spares_the_others(project: Path, tmp_path: Path) -> None:
    whole = (project / "bundle" / "golden" / "06.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    deep = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    (tmp_path / "deep.png").write_bytes(png16(deep))
    (tmp_path / "deep colour.png").write_bytes(png16(np.stack([deep] * 3, 2)))
    names = (tmp_path / "cut.jpg", "bundle/golden/00.png", tmp_path / "none.jpg")
    done = classify(project, *names, tmp_path / "deep.png", tmp_path / "deep colour.png")
    first, second, third, *deep_lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    assert len(deep_lines) == 2 and all("16-bit PNG" in line for line in deep_lines)
    assert "damaged JPEG" in first
    assert "red" in second
    assert "no such file" in third


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--top", "0", "x"],
        ["--kernels", "gpu", "x"],
        ["--no", "x"],
        ["--variant"],
        ["--variant", "no", "x"],
    ],
)
def test_wrong_arguments_are_named(project: Path, arguments: list[str]) -> None:
    done = classify(project, *arguments)
    assert done.returncode == 2
    assert b"usage:" in done.stderr


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def prepared(project: Path, folder: Path, photos: list[bytes], size: tuple[int, int]) -> Any:
    """uint8[photos, height, width, 3] that the program prepares for an input of another size."""
    raw = {"manifest_version": 1, "labels": [], "input": {"height": size[0], "width": size[1]}}
    (folder / "manifest.json").write_text(json.dumps(raw))
    names = [folder / f"{number}.photo" for number in range(len(photos))]
    for name, photo in zip(names, photos, strict=True):
        name.write_bytes(photo)
    done = classify(project, "--bundle", folder, "--prepare", *names)
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, np.uint8).reshape(len(photos), *size, 3)


def worst(project: Path, folder: Path, photos: list[bytes], size: tuple[int, int]) -> int:
    made = prepared(project, folder, photos, size).astype(int)
    wanted = np.stack([preprocessing_image.preprocess(photo, size) for photo in photos])
    return int(np.abs(made - wanted).max())


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    random = np.random.default_rng(width * 1000 + height)
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(random.integers(0, 256, shape, np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (13, 96), (61, 64), (224, 224)])
def test_resizes_as_pillow_does(project: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    sides = [(1, 1), (2, 3), (31, 20), (33, 47), (97, 501), (300, 200), (999, 3), (size[1], size[0])]
    photos = [encoded(noise(*one), "PNG") for one in sides]
    assert worst(project, tmp_path, photos, size) <= 1


@pytest.mark.parametrize("orientation", range(10))
def test_turns_as_exif_says(project: Path, tmp_path: Path, orientation: int) -> None:
    tags = Image.Exif()
    tags[preprocessing_image.ORIENTATION] = orientation
    photos = [encoded(noise(31, 20), kind, exif=tags) for kind in ("JPEG", "PNG")]
    assert worst(project, tmp_path, photos, (20, 30)) <= 1


def test_reads_other_encodings(project: Path, tmp_path: Path) -> None:
    palette = noise(50, 41).quantize(16)
    deep = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (41, 50), np.uint16))
    photos = [
        *(encoded(noise(50, 41), "JPEG", subsampling=kind) for kind in range(3)),
        encoded(noise(50, 41), "JPEG", progressive=True),
        encoded(noise(50, 41, 1), "JPEG"),
        encoded(noise(50, 41, 4).convert("RGB").convert("CMYK"), "JPEG"),
        encoded(noise(50, 41, 1), "PNG"),
        encoded(noise(50, 41, 1).convert("1"), "PNG"),
        encoded(noise(50, 41, 2), "PNG"),
        encoded(noise(50, 41, 4), "PNG"),
        encoded(palette, "PNG"),
        encoded(palette, "PNG", transparency=3),
        encoded(deep, "PNG"),
    ]
    assert worst(project, tmp_path, photos, (20, 30)) <= 1


def test_library_that_is_missing_is_named(project: Path, tmp_path: Path) -> None:
    command = ["cmake", "-S", str(project), "-B", str(tmp_path), "-DLITERT_LIBRARY=/none.so"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "No LiteRT at /none.so" in done.stderr
