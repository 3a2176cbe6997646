"""The microcontroller project, compiled and run on this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_integer
from tests.helpers.microcontroller import ARENA, MODEL, as_bytes, filled_project, stand_in
from tests.helpers.paths import ROOT
from tledge.devices import mcu_sources

pytestmark = pytest.mark.system_packages("g++", "make")

STUB = ROOT / "tests" / "devices" / "tflm_stub"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for tflite-micro and Vela."""
    stand_in(monkeypatch)


@pytest.fixture
def project(tmp_path: Path, measured: None) -> Path:
    return filled_project(tmp_path)


def test_array_compiles_to_the_same_bytes(project: Path, tmp_path: Path) -> None:
    source = tmp_path / "dump.cc"
    source.write_text(
        '#include <cstdio>\n#include "generated/model_data.h"\n#include "generated/labels.h"\n'
        "int main() { std::fwrite(kModel, 1, sizeof kModel, stdout);\n"
        'for (const char* label : kLabels) std::fprintf(stderr, "%s\\n", label); }\n'
    )
    compiled = tmp_path / "dump"
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{project}", str(source)]
    subprocess.run([*command, str(project / "generated/model_data.cc"), "-o", str(compiled)], check=True)
    done = subprocess.run([str(compiled)], capture_output=True, check=True)
    assert done.stdout == MODEL
    assert done.stderr.decode().splitlines() == list(fake_integer.LABELS)


def build(project: Path, *camera: Path) -> Path:
    """The project's program, made by its Makefile of the stand-ins for tflite-micro."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-C", str(project), f"TFLM_DIR={STUB}", *(f"CAMERA={path}" for path in camera)]
    subprocess.run(command, check=True, env={**own, "CXXFLAGS": "-Werror"}, stdout=subprocess.DEVNULL)
    return project / "build" / "classify"


def start(program: Path, answers: Any, arena: int = ARENA) -> subprocess.CompletedProcess[str]:
    """Run it with an interpreter that gives these answers and wants this arena."""
    given = program.with_name("answers.bin")
    given.write_bytes(answers.tobytes())
    own = {
        "STUB_ANSWERS": str(given),
        "STUB_INPUTS": str(program.with_name("inputs.bin")),
        "STUB_ARENA": str(arena),
    }
    return subprocess.run(
        [str(program)], capture_output=True, text=True, check=False, env={**os.environ, **own}
    )


def test_program_checks_golden_cases(project: Path) -> None:
    pixels = np.load(project / "bundle/golden/pixels.npy")
    right = as_bytes(np.load(project / "bundle/golden/tflite-int8.reference.npy"))
    rows = mcu_sources.select_cases(right)
    program = build(project)
    done = start(program, right[rows])
    assert done.returncode == 0 and "self-test passed" in done.stdout, done.stdout
    assert (project / "build/inputs.bin").read_bytes() == pixels[rows].tobytes()
    wrong = right[rows]
    wrong[1, 2] += 1
    done = start(program, wrong)
    assert done.returncode == 3 and "self-test FAILED" in done.stdout
    assert done.stdout.count("bit-exact") == 2 and done.stdout.count("DIFFERS") == 1
    done = start(program, right[rows], arena=ARENA + 1)
    assert done.returncode == 4 and "raise kArenaBytes" in done.stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "what"),
    [
        ("model_data.cc", "84, 70, 76, 51", "84, 70, 76, 50", "model"),
        ("labels.h", '"cat"', '"cut"', "labels"),
        ("golden.cc", "kPixels[576] = {\n    ", "kPixels[576] = {\n    1 ^ ", "golden pixels"),
        ("golden.cc", "kAnswers[12] = {\n    ", "kAnswers[12] = {\n    1 ^ ", "golden answers"),
    ],
)
def test_changed_byte_is_noticed(project: Path, file: str, old: str, new: str, what: str) -> None:
    path = project / "generated" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    right = as_bytes(np.load(project / "bundle/golden/tflite-int8.reference.npy"))
    done = start(build(project), right[mcu_sources.select_cases(right)])
    assert done.returncode == 4 and done.stdout.endswith("self-test FAILED\n")
    assert f"{what}: changed since the bundle was made" in done.stdout


def test_camera_is_classified(project: Path, tmp_path: Path) -> None:
    camera = tmp_path / "camera.cc"
    camera.write_text(
        '#include <cstdint>\nextern "C" bool camera_read(std::uint8_t* rgb) '
        "{ static int left = 2; rgb[0] = 77; return left-- > 0; }\n"
    )
    right = as_bytes(np.load(project / "bundle/golden/tflite-int8.reference.npy"))
    sure, unsure = [[0, 0, 250, 6]], [[60, 70, 66, 60]]
    answers = np.array([*right[mcu_sources.select_cases(right)], *sure, *unsure], np.uint8)
    done = start(build(project, camera), answers)
    # By hand: 250^1.25 / (250^1.25 + 6^1.25) = 0.9907; 70^1.25 / (2 * 60^1.25 + 70^1.25 + 66^1.25) = 0.283.
    assert done.stdout.splitlines()[-2:] == ["Eule größer 99 %", 'a "quoted" \\ dog?? 28 %, unsure']
    assert done.returncode == 0
