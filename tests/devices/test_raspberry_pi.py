"""The Raspberry Pi project in its own environment: it proves itself, and mistakes in it are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.deep_images import png16, tiff_grey
from tests.helpers.fake_device_bundle import change
from tests.helpers.raspberry_pi import SOURCE, run
from tledge.devices import projects


@pytest.fixture
def project(shared_bundle: Path, tmp_path: Path) -> Path:
    """The project as `tledge bundle --target` makes it."""
    return projects.fill("raspberry_pi", shared_bundle, tmp_path / "my pi").folder


def test_project_proves_itself(project: Path) -> None:
    done = run(project, "--self-test")
    assert done.returncode == 0 and done.stdout.endswith("self-test passed\n"), done.stdout + done.stderr
    answered = run(project, str(project / "bundle" / "golden"))
    assert answered.returncode == 0 and len(answered.stdout.splitlines()) == 13


MISTAKES = {
    "no antialiasing": ("Image.Resampling.BILINEAR", "Image.Resampling.NEAREST"),
    "other filter": ("Image.Resampling.BILINEAR", "Image.Resampling.BICUBIC"),
    "blue first": ('upright.convert("RGB")', 'Image.merge("RGB", upright.convert("RGB").split()[::-1])'),
    "exif ignored": ("ImageOps.exif_transpose(photo)", "photo"),
    "black behind": ('"white"', '"black"'),
    "sides exchanged": ("height, width = size\n", "width, height = size\n"),
    "scaled to one": ("pixels[None]", "(pixels / 255).astype(np.uint8)[None]"),
    "not dequantized": ("(raw - zero_point) * scale if scale else raw", "raw"),
}
"""What someone may get wrong in classify.py: this, and what stands there then."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_the_code_is_found(project: Path, mistake: str) -> None:
    right, wrong = MISTAKES[mistake]
    assert SOURCE.count(right) == 1
    (project / "classify.py").write_text(SOURCE.replace(right, wrong), encoding="utf-8")
    done = run(project, "--self-test")
    assert done.returncode in (3, 4) and done.stdout.endswith("self-test FAILED\n"), done.stdout + done.stderr


DEEP = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)


@pytest.mark.parametrize(
    "photo",
    [
        png16(DEEP >> 4),
        png16(np.stack([DEEP >> 4] * 3, 2)),
        tiff_grey(DEEP.astype(np.int32)),
        tiff_grey(DEEP.astype(np.float32)),
    ],
    ids=["grey", "colour", "int32", "float"],
)
def test_pixels_of_unknown_range_are_refused(project: Path, photo: bytes) -> None:
    (project / "dim").write_bytes(photo)
    (project / "bright.png").write_bytes(png16(DEEP))
    done = run(project, str(project / "dim"), str(project / "bright.png"))
    assert done.returncode == 1 and "save it with 8 bits" in done.stderr + done.stdout
    change(project / "bundle", lambda raw: raw["input"].update(pixel_range=[0, 4095]))
    assert "tledge predict knows" in run(project, str(project / "bright.png")).stderr


@pytest.mark.parametrize("library", ["numpy", "PIL", "ai_edge_litert"])
def test_missing_library_is_five(project: Path, tmp_path: Path, library: str) -> None:
    (tmp_path / f"{library}.py").write_text("raise ImportError('not here')")
    done = subprocess.run(
        [sys.executable, "classify.py", "--self-test"], cwd=project, env={"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5 and "pip install -r requirements.txt" in done.stderr
