"""`export/raspberry_pi`: its functions beside tledge's own, and its self-test, which faults must fail."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import damaged
from tests.helpers.fake_device_bundle import change, change_byte, write_sums
from tests.helpers.paths import ROOT
from tests.helpers.raspberry_pi import PROJECT, SOURCE
from tledge.inference import predict
from tledge.inference import predictor as inference_predictor
from tledge.preprocessing import image

Main = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def classify() -> ModuleType:
    """classify.py, imported by its path."""
    spec = importlib.util.spec_from_file_location("classify_on_a_pi", PROJECT / "classify.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def main(
    classify: ModuleType,
    shared_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Main:
    """Run it in this process, by default on the bundle that is not changed; gives code, stdout, stderr."""

    def run(*arguments: object, bundle: Path = shared_bundle) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["classify.py", "--bundle", str(bundle), *map(str, arguments)])
        try:
            code = classify.main()
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


def test_is_one_short_file_of_its_own() -> None:
    names = {
        node.names[0].name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    others = {str(name).split(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert others == {"numpy", "PIL", "ai_edge_litert"}
    assert len(SOURCE.splitlines()) < 360
    assert [path.name for path in PROJECT.glob("*.py")] == ["classify.py"]


def test_requirements_are_what_is_pinned() -> None:
    wanted = (PROJECT / "requirements.txt").read_text().splitlines()
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line.split("==")[0] for line in wanted] == ["ai-edge-litert", "numpy", "pillow"]
    assert set(wanted) <= set(pinned)


def test_every_option_is_known() -> None:
    """What README and the unit name is what the parser takes."""
    options = set(re.findall(r'add_argument\("(--[a-z-]+)"', SOURCE))
    for name in ("README.md", "classify.service"):
        text = (PROJECT / name).read_text(encoding="utf-8")
        named = set(re.findall(r"classify\.py[^`\n]*?(--[a-z-]+)", text))
        assert named and named <= options
    assert options >= {"--camera", "--json", "--self-test", "--threads", "--top", "--variant"}


@pytest.fixture(scope="module")
def odd_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos that are easily prepared wrongly."""
    folder = tmp_path_factory.mktemp("odd")
    upright = Image.open(BytesIO(damaged.encoded("PNG", 90, 120)))
    for turn in range(1, 9):
        tags = Image.Exif()
        tags[image.ORIENTATION] = turn
        for suffix in ("jpg", "tiff", "webp", "png"):
            upright.save(folder / f"{turn}.{suffix}", exif=tags)
    alpha = Image.linear_gradient("L").resize(upright.size)
    for mode in ("RGBA", "LA"):
        see_through = upright.convert(mode)
        see_through.putalpha(alpha)
        see_through.save(folder / f"{mode}.png")
    upright.quantize(16).save(folder / "palette.gif", transparency=3)
    upright.convert("RGB").save(folder / "colour.png", transparency=upright.getpixel((5, 5)))
    upright.convert("1").save(folder / "one bit.bmp")
    upright.convert("CMYK").save(folder / "cmyk.jpg")
    grey = np.asarray(upright.convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(folder / "sixteen bits.png")
    (folder / "sixteen bits.pgm").write_bytes(
        b"P5 %d %d 65535\n" % upright.size + grey.astype(">u2").tobytes()
    )
    for name in ("colour.ppm", "colour.jp2", "tiles.j2k"):
        upright.convert("RGB").save(folder / name, **({"tile_size": (32, 32)} if "tiles" in name else {}))
    upright.resize((24, 24)).save(folder / "small.png")
    return folder


def sized(height: int, width: int) -> SimpleNamespace:
    """What reading a photo asks of a bundle."""
    return SimpleNamespace(ranged=False, size=(height, width))


def test_prepares_as_tledge_does(classify: ModuleType, odd_photos: Path) -> None:
    found = sorted(odd_photos.iterdir())
    assert len(found) == 44
    for photo in found:
        mine, theirs = classify.read(photo, sized(32, 48)), image.preprocess(photo, (32, 48))
        assert mine.dtype == np.uint8 and np.array_equal(mine, theirs), photo.name


def test_refuses_what_tledge_refuses(classify: ModuleType, tmp_path: Path) -> None:
    """And reads what it reads, of a folder of damaged photos."""
    damaged.build(tmp_path / "photos")
    for photo in sorted(path for path in (tmp_path / "photos").rglob("*") if path.is_file()):
        try:
            wanted = image.preprocess(photo, (16, 16))
        except Exception:
            with pytest.raises(classify.Problem, match="cannot be read"):
                classify.read(photo, sized(16, 16))
        else:
            assert np.array_equal(classify.read(photo, sized(16, 16)), wanted)


@pytest.mark.parametrize("variant", ["tflite-int8", "tflite-fp32"])
def test_answers_as_tledge_does(main: Main, shared_bundle: Path, variant: str) -> None:
    photos = sorted((shared_bundle / "golden").glob("*.[jp][pn]g"))
    code, out, _err = main(*photos, "--json", "--raw", "--variant", variant, "--top", 2)
    predictor = inference_predictor.open_predictor(shared_bundle, variant)
    for line, wanted in zip(out.splitlines(), predict.predict(predictor, photos, 2), strict=True):
        found = json.loads(line)
        assert (found["image"], found["abstained"]) == (wanted.image, wanted.abstained)
        for one, two in zip(found["predictions"], wanted.predictions, strict=True):
            assert one["label"] == two.label
            assert one["raw_probability"] == pytest.approx(two.raw_probability, abs=1e-6)
            assert one["probability"] == one["confidence"] == pytest.approx(two.confidence, abs=1e-6)
    assert code == 0 and len(photos) == 13


def test_integers_are_preferred(main: Main, shared_bundle: Path) -> None:
    _code, _out, err = main(shared_bundle / "golden" / "00.png")
    assert re.search(r"^tflite-int8: \d+\.\d\d ms an image \(median\)$", err, re.M)


def test_unsure_answers_are_marked(main: Main, bundle: Path) -> None:
    change(bundle, lambda raw: raw["confidence"].update(threshold=1.0))
    _code, out, _err = main(bundle / "golden" / "05.png", bundle=bundle)
    assert re.fullmatch(r".*05\.png: \? blue \d+\.\d%  .*  \(unsure\)\n", out)


def test_bundle_without_confidence_is_always_sure(main: Main, bundle: Path) -> None:
    change(bundle, lambda raw: raw.pop("confidence"))
    _code, out, err = main(bundle / "golden" / "00.png", "--json", "--raw", bundle=bundle)
    found = json.loads(out)
    assert not found["abstained"] and err.count("uncalibrated") == 1
    best = found["predictions"][0]
    assert best["confidence"] == best["raw_probability"]


def test_raw_probabilities_are_given_only_where_asked(main: Main, shared_bundle: Path) -> None:
    found = json.loads(main(shared_bundle / "golden" / "00.png", "--json")[1])
    assert found["predictions"][0].keys() == {"label", "confidence", "probability"}


def test_folder_gives_its_photos(main: Main, odd_photos: Path, tmp_path: Path) -> None:
    shutil.copytree(odd_photos, tmp_path / "photos" / "deep")
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    code, out, _err = main(tmp_path / "photos")
    assert code == 0 and len(out.splitlines()) == 44


def test_unreadable_photo_stops_no_other(main: Main, shared_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 no more")
    code, out, err = main(tmp_path / "bad.jpg", tmp_path / "none.png", shared_bundle / "golden" / "00.png")
    assert code == 1 and len(out.splitlines()) == 1
    assert "bad.jpg: cannot be read" in err and "none.png: cannot be read" in err


def test_folder_without_photos_is_told(main: Main, tmp_path: Path) -> None:
    code, out, err = main(tmp_path)
    assert (code, out) == (1, "") and "no photo is in this folder" in err


@pytest.mark.parametrize(
    "arguments", [(), ("a.jpg", "--camera"), ("--camera", "0", "--self-test"), ("--top", "x")]
)
def test_wrong_usage_is_two(main: Main, arguments: tuple[str, ...]) -> None:
    code, out, err = main(*arguments)
    assert (code, out) == (2, "") and "usage" in err


def test_unknown_variant_is_two(main: Main, shared_bundle: Path) -> None:
    code, _out, err = main(shared_bundle / "golden" / "00.png", "--variant", "tflite-int4")
    assert code == 2 and "names no tflite-int4, but tflite-fp32, tflite-int8" in err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "missing, damaged or incomplete"),
        (lambda bundle: (bundle / "manifest.json").write_text("{"), "missing, damaged or incomplete"),
        (lambda bundle: change(bundle, lambda raw: raw.pop("labels")), "labels"),
        (
            lambda bundle: change(bundle, lambda raw: raw.update(manifest_version=2)),
            "version 2, known here: 1",
        ),
        (lambda bundle: (bundle / "tflite-int8.tflite").write_bytes(b"TFL3"), "its SHA-256 is not that"),
        (lambda bundle: (bundle / "tflite-int8.tflite").unlink(), "has no file"),
        (lambda bundle: change(bundle, lambda raw: raw["labels"].pop()), "values for 2 labels"),
        (lambda bundle: change(bundle, lambda raw: raw["labels"].append("\x1b[2J")), "control characters"),
        (lambda bundle: change(bundle, lambda raw: raw["input"].update(height=10**9)), "makes no sense"),
        (lambda bundle: (bundle / "manifest.json").write_text("[" * 100_000), "damaged"),
        (
            lambda bundle: change(bundle, lambda raw: raw["artifacts"][1].update(path="../../x.tflite")),
            "has no file",
        ),
    ],
)
def test_damaged_bundle_is_four(
    main: Main, bundle: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(bundle)
    code, out, err = main(PROJECT, bundle=bundle)
    assert (code, out) == (4, "") and message in err


@pytest.mark.parametrize("doubt", ["synthetic", "unverified"])
def test_doubtful_bundle_says_so(main: Main, bundle: Path, doubt: str) -> None:
    change(bundle, lambda raw: raw.update({doubt: True}))
    assert f"this bundle is {doubt}" in main(bundle / "golden", bundle=bundle)[2]
    assert doubt not in main(bundle / "golden")[2]


def scene() -> Any:
    """A reddish picture, RGB."""
    return np.full((90, 120, 3), (200, 60, 30), np.uint8)


def opencv(frames: int) -> SimpleNamespace:
    """A stand-in for cv2, whose camera has blue first and ends after some frames."""
    left = [frames]

    def read() -> tuple[bool, Any]:
        left[0] -= 1
        return left[0] >= 0, scene()[..., ::-1]

    return SimpleNamespace(VideoCapture=lambda which: SimpleNamespace(read=read, opened=which))


class CameraModule:
    """A stand-in for picamera2.Picamera2; its BGR888 is red, green, blue in memory."""

    def __init__(self) -> None:
        self.order = 0

    def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        return main

    def configure(self, main: dict[str, Any]) -> None:
        self.order = {"BGR888": 1, "RGB888": -1}[main["format"]]

    def start(self) -> None:
        self.left = 3

    def capture_array(self) -> Any:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return scene()[..., :: self.order]


def test_usb_camera_sees_red(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", opencv(3))
    code, out, err = main("--camera", "0", "--every", 0)
    assert out.count(": red ") == 3 and len(out.splitlines()) == 3
    assert code == 1 and "--camera 0: no picture comes" in err and "ms an image" in err


def test_camera_module_sees_red(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=CameraModule, __spec__="here"))
    code, out, err = main("--camera", "--every", 0, "--json")  # it is chosen where it is installed
    answers = [json.loads(line)["predictions"][0]["label"] for line in out.splitlines()]
    assert answers == ["red"] * 3
    assert code == 130 and "ms an image" in err


def test_frames_between_are_passed_over(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", opencv(50))
    assert len(main("--camera", "0", "--every", 600)[1].splitlines()) == 1


@pytest.mark.parametrize(("which", "library"), [("0", "cv2"), ("module", "picamera2")])
def test_missing_camera_library_is_five(
    main: Main, monkeypatch: pytest.MonkeyPatch, which: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    code, out, err = main("--camera", which)
    assert (code, out) == (5, "") and f"needs {library}" in err and "install" in err


def test_self_test_passes(main: Main) -> None:
    code, out, _err = main("--self-test")
    assert code == 0 and out.endswith("self-test passed\n") and "WRONG" not in out
    assert out.count("ok  ") == 7 and "changed: none" in out
    assert out.count("agrees with Keras on 13 of 13") == 2


def test_self_test_of_one_variant(main: Main) -> None:
    _code, out, _err = main("--self-test", "--variant", "tflite-fp32")
    assert "tflite-fp32" in out and "tflite-int8" not in out


def swap(path: Path, change_: Callable[[Any], Any]) -> None:
    """Change an array in a file."""
    np.save(path, change_(np.load(path)))


def rename_labels(bundle: Path) -> None:
    """Other names in both places, so that nothing contradicts itself but Keras' answers."""
    (bundle / "labels.txt").write_text("blue\nred\ngreen\n")
    change(bundle, lambda raw: raw.update(labels=["blue", "red", "green"]))


def forget_answers(bundle: Path) -> None:
    change(bundle, lambda raw: raw["artifacts"][1]["expected"].clear())


INT8, FP32 = "golden/tflite-int8.xnnpack.npy", "golden/tflite-fp32.xnnpack.npy"

FAULTS: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "pixels": (lambda one: swap(one / "golden/pixels.npy", lambda old: old[..., ::-1]), 3, "preprocessing:"),
    "answers": (
        lambda one: swap(one / INT8, lambda old: old + 0.02),
        3,
        "tflite-int8: probabilities 0.02 off",
    ),
    "no number": (
        lambda one: swap(one / FP32, lambda old: old * np.nan),
        3,
        "tflite-fp32: probabilities nan off",
    ),
    "fewer answers": (lambda one: swap(one / FP32, lambda old: old[:3]), 4, "the bundle is damaged"),
    "no answers": (forget_answers, 4, "no answers with XNNPACK"),
    "no array": (lambda one: (one / "golden/keras.npy").write_bytes(b"no"), 4, "the bundle is damaged"),
    "no golden photos": (lambda one: change(one, lambda raw: raw["golden"].clear()), 4, "golden photos: 0"),
    "photo": (lambda one: (one / "golden/00.png").write_bytes(b"no"), 1, "00.png: cannot be read"),
    "no photo": (lambda one: (one / "golden/00.png").unlink(), 1, "00.png: cannot be read"),
    "order of labels": (rename_labels, 3, "agrees with Keras on 0 of 13"),
    "version": (lambda one: change(one, lambda raw: raw.update(manifest_version=2)), 4, "version 2"),
    "artifact": (lambda one: change_byte(one / "tflite-fp32.tflite"), 4, "its SHA-256 is not that"),
}
"""How to plant it, the exit code and the message that it must lead to."""


@pytest.mark.parametrize("fault", FAULTS)
def test_self_test_finds_fault(main: Main, bundle: Path, fault: str) -> None:
    """Also where SHA256SUMS was written anew."""
    plant, wanted, message = FAULTS[fault]
    plant(bundle)
    write_sums(bundle)
    code, out, _err = main("--self-test", bundle=bundle)
    assert code == wanted and out.endswith("self-test FAILED\n")
    assert re.search(f"^WRONG .*{re.escape(message)}", out, re.M), out


@pytest.mark.parametrize("name", ["tflite-int8.tflite", "labels.txt", "golden/00.png", "manifest.json"])
def test_self_test_finds_changed_byte(main: Main, bundle: Path, name: str) -> None:
    change_byte(bundle / name)
    code, out, _err = main("--self-test", bundle=bundle)
    assert code == 4 and out.endswith("self-test FAILED\n")
    assert re.search(f"changed: .*{re.escape(name)}|WRONG .*{re.escape(name)}: missing, damaged", out), out


def test_self_test_needs_sums(main: Main, bundle: Path) -> None:
    (bundle / "SHA256SUMS").write_text("")
    code, out, _err = main("--self-test", bundle=bundle)
    assert code == 4 and "WRONG files in SHA256SUMS: 0" in out
