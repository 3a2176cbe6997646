"""The microcontroller project: its C++ source, its budget, and the gates on memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.helpers import fake_artifacts
from tests.helpers import fake_graphs
from tests.helpers import fake_integer
import numpy as np
import pytest
from tests.helpers.paths import ROOT
from tests.helpers.fake_device_bundle import write_sums

from tledge import arena_worker, budget, golden, microcontroller, operators, parity, runs, targets, vela
from tledge.budget import Run
from tledge.contract import InputSpec
from tledge.errors import ArtifactError, MissingError, RecipeError
from tledge.runs import Artifact, ParityRow
from tledge.tables import Parity
from tledge.vela import Estimate

STUB = ROOT / "tests" / "devices" / "tflm_stub"
ARENA = 16_000
MODEL = fake_integer.model()

needs_micro = pytest.mark.skipif(find_spec("tflite_micro") is None, reason="tflite-micro is not installed")
needs_vela = pytest.mark.skipif(find_spec("ethosu") is None, reason="Vela is not installed")


def as_bytes(answers: Any) -> Any:
    return np.round(answers * 256).astype(np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tflite-int8.tflite"
    path.write_bytes(MODEL)
    return path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for tflite-micro and Vela: an arena of 16,000 bytes and LiteRT's own answers, one estimate."""

    def run(path: Path, inputs: Any, arena: int = 0) -> Run:
        return Run(ARENA, as_bytes(fake_integer.answers(path.read_bytes(), inputs)))

    def estimate(data: bytes, name: str, configuration: str) -> Estimate:
        return Estimate(
            configuration, 2048, 1024, 999, 500.0, 0.002, {"MEAN": 2} if "64" in configuration else {}
        )

    monkeypatch.setattr(budget, "micro_run", run)
    monkeypatch.setattr(vela, "estimate", estimate)


@pytest.fixture
def project(tmp_path: Path, measured: None) -> Path:
    bundle = fake_integer.bundle(tmp_path / "bundle", MODEL)
    return targets.fill("microcontroller", bundle, tmp_path / "project")


# Operators and MACs


def test_macs_of_worked_example() -> None:
    found = operators.operators(MODEL, "model")
    assert [one.name for one in found] == [
        "QUANTIZE", "CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX", "QUANTIZE",
    ]  # fmt: skip
    assert {one.name: one.macs for one in found if one.macs} == fake_integer.MACS
    assert fake_integer.MACS == {"CONV_2D": 3456, "DEPTHWISE_CONV_2D": 1152, "FULLY_CONNECTED": 32}


def test_macs_of_pointwise_chain() -> None:
    found = {one.name: one.macs for one in operators.operators(fake_graphs.chain(), "chain")[1:]}
    assert found == {
        "DEPTHWISE_CONV_2D": 8 * 8 * 8 * 9, "CONV_2D": 8 * 8 * 8 * 8, "MEAN": 0,
        "FULLY_CONNECTED": 32, "SOFTMAX": 0,
    }  # fmt: skip


@pytest.mark.parametrize("damage", [MODEL[:40], MODEL[:200], b"x" * 100])
def test_damaged_model_has_no_operators(damage: bytes) -> None:
    with pytest.raises(ArtifactError, match="model"):
        operators.operators(damage, "model")


def test_registers_exactly_the_operators() -> None:
    text = microcontroller.operators_header(["CONV_2D", "PADV2", "RELU6"])
    assert "MicroMutableOpResolver<3>" in text
    assert [
        name for name in ("AddConv2D()", "AddPadV2()", "AddRelu6()") if f"resolver.{name}" not in text
    ] == []


def test_unknown_operator_is_refused() -> None:
    with pytest.raises(ArtifactError, match="FlexRandom"):
        microcontroller.operators_header(["CONV_2D", "FlexRandom"])


# Generated source


@pytest.mark.device
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


def test_cases_show_different_answers() -> None:
    answers = np.eye(4, dtype=np.uint8)[[2, 2, 2, 1, 2, 0, 3]]
    assert microcontroller.chosen(answers) == [0, 3, 5]
    assert microcontroller.chosen(answers[:3]) == [0, 1, 2]
    assert microcontroller.chosen(answers[:1]) == [0]


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


@pytest.mark.device
def test_program_checks_golden_cases(project: Path) -> None:
    pixels = np.load(project / "bundle/golden/pixels.npy")
    right = as_bytes(np.load(project / "bundle/golden/tflite-int8.reference.npy"))
    rows = microcontroller.chosen(right)
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


@pytest.mark.device
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
    done = start(build(project), right[microcontroller.chosen(right)])
    assert done.returncode == 4 and done.stdout.endswith("self-test FAILED\n")
    assert f"{what}: changed since the bundle was made" in done.stdout


@pytest.mark.device
def test_camera_is_classified(project: Path, tmp_path: Path) -> None:
    camera = tmp_path / "camera.cc"
    camera.write_text(
        '#include <cstdint>\nextern "C" bool camera_read(std::uint8_t* rgb) '
        "{ static int left = 2; rgb[0] = 77; return left-- > 0; }\n"
    )
    right = as_bytes(np.load(project / "bundle/golden/tflite-int8.reference.npy"))
    sure, unsure = [[0, 0, 250, 6]], [[60, 70, 66, 60]]
    answers = np.array([*right[microcontroller.chosen(right)], *sure, *unsure], np.uint8)
    done = start(build(project, camera), answers)
    # By hand: 250^1.25 / (250^1.25 + 6^1.25) = 0.9907; 70^1.25 / (2 * 60^1.25 + 70^1.25 + 66^1.25) = 0.283.
    assert done.stdout.splitlines()[-2:] == ["Eule größer 99 %", 'a "quoted" \\ dog?? 28 %, unsure']
    assert done.returncode == 0


# The budget


def test_budget_stands_in_project(project: Path) -> None:
    raw = json.loads((project / "budget.json").read_text())
    assert (raw["arena_bytes"], raw["flash_bytes"], raw["macs"]) == (ARENA, len(MODEL), 3456 + 1152 + 32)
    assert {"name": "QUANTIZE", "count": 2, "macs": 0} in raw["operators"]
    assert [one["configuration"] for one in raw["estimates"]] == list(vela.CONFIGURATIONS)
    text = (project / "budget.md").read_text()
    assert "Arena: 16000 bytes (15.6 KiB)" in text and "all 6 golden cases bit for bit" in text
    assert "| ethos-u55-64 | 2.0 | 1.0 | 999 | 500 | 0.00 | 2 MEAN |" in text
    assert "kArenaBytes = 16000;" in (project / "generated/model_data.h").read_text()


def test_budget_says_that_vela_is_missing(
    model: Path, measured: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> Estimate:
        raise MissingError("Vela is not installed: pip install 'tledge[microcontroller]'")

    monkeypatch.setattr(vela, "estimate", missing)
    found = budget.measure(model, ARENA)
    assert found.estimates == ()
    assert "not estimated. Vela is not installed: pip install" in budget.as_markdown(found, 1)


def test_answers_of_another_model_are_refused(tmp_path: Path, measured: None) -> None:
    bundle = fake_integer.bundle(tmp_path / "bundle", MODEL)
    path = bundle / "golden" / "tflite-int8.reference.npy"
    answers = np.load(path)
    answers[4, 1] += 1 / 256
    np.save(path, answers)
    write_sums(bundle)
    with pytest.raises(ArtifactError, match="answers 1 of 6 golden cases otherwise"):
        targets.fill("microcontroller", bundle, tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_damaged_artifact_is_refused(tmp_path: Path, measured: None) -> None:
    bundle = fake_integer.bundle(tmp_path / "bundle", MODEL)
    (bundle / "tflite-int8.tflite").write_bytes(MODEL[:-1] + b"!")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        targets.fill("microcontroller", bundle, tmp_path / "project")


def test_float_model_is_refused(tmp_path: Path, measured: None) -> None:
    bundle = fake_integer.bundle(tmp_path / "bundle", fake_artifacts.tflite(size=fake_integer.SIDE))
    with pytest.raises(ArtifactError, match=r"holds float32 tensors\. A microcontroller takes integers only"):
        targets.fill("microcontroller", bundle, tmp_path / "project")


def test_mixed_variant_is_refused(tmp_path: Path, measured: None) -> None:
    bundle = fake_integer.bundle(tmp_path / "bundle", MODEL, "tflite-mixed")
    with pytest.raises(RecipeError, match="needs one of tflite-int8"):
        targets.fill("microcontroller", bundle, tmp_path / "project")


def test_bundle_without_reference_answers_is_refused(tmp_path: Path, measured: None) -> None:
    bundle = fake_integer.bundle(tmp_path / "bundle", MODEL)
    (bundle / "golden" / "tflite-int8.reference.npy").unlink()
    write_sums(bundle)
    with pytest.raises(ArtifactError, match="no reference answers"):
        targets.fill("microcontroller", bundle, tmp_path / "project")


# The gates


def judged(path: Path, monkeypatch: pytest.MonkeyPatch, arena: Any, **limits: float) -> ParityRow:
    def measure(_: Path) -> int:
        if isinstance(arena, Exception):
            raise arena
        return int(arena)

    monkeypatch.setattr(budget, "measure_arena", measure)
    row = ParityRow("tflite-int8", "", "", 0, "passed")
    return parity._in_budget(row, path, Parity(**limits))


@pytest.mark.parametrize(("arena", "verdict"), [(20 * 1024, "passed"), (20 * 1024 + 16, "failed")])
def test_arena_gate(model: Path, monkeypatch: pytest.MonkeyPatch, arena: int, verdict: str) -> None:
    row = judged(model, monkeypatch, arena, max_arena_kib=20)
    assert (row.verdict, row.structural) == (verdict, verdict == "failed")
    assert ("max_arena_kib allows 20" in " ".join(row.reasons)) == (verdict == "failed")


@pytest.mark.parametrize(("size", "verdict"), [(4096, "passed"), (4097, "failed")])
def test_flash_gate(model: Path, monkeypatch: pytest.MonkeyPatch, size: int, verdict: str) -> None:
    model.write_bytes(MODEL.ljust(size, b"\0"))
    row = judged(model, monkeypatch, 1, max_flash_kib=4)
    assert row.verdict == verdict and len(row.reasons) == (verdict == "failed")


def test_no_limit_measures_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(model, monkeypatch, AssertionError("measured")).verdict == "passed"


def test_unmeasured_arena_does_not_pass(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = judged(model, monkeypatch, MissingError("not installed: pip install it"), max_arena_kib=20)
    assert (
        row.verdict == "undecided" and "could not be checked: not installed: pip install it" in row.reasons[0]
    )


def test_model_that_does_not_start_fails(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = judged(model, monkeypatch, ArtifactError("no kernel for it"), max_arena_kib=20)
    assert row.verdict == "failed" and row.reasons == ("no kernel for it",)


@pytest.mark.parametrize(("limit", "told"), [(1, 1), (100, 0)])
def test_verification_holds_to_the_gate(model: Path, limit: int, told: int) -> None:
    images = fake_graphs.pictures(6)
    found = fake_integer.answers(MODEL, images)
    known = golden.Golden(images, found.argmax(1), found, tuple("abcdef"), {})
    artifact = Artifact("tflite-int8", model.name, runs.sha256(model), len(MODEL), 1.0)
    limits = Parity(max_flash_kib=limit)
    standard = parity.Standard(fake_integer.LABELS, InputSpec(8, 8), 500, limits)
    row = parity.check(model.parent, artifact, known, standard, kernels="reference")
    assert sum("max_flash_kib allows 1" in reason for reason in row.reasons) == told
    assert row.agreement == 1.0


def test_gates_are_for_int8_alone(model: Path) -> None:
    row = ParityRow("tflite-fp32", "", "", 0, "passed")
    assert parity._in_budget(row, model, Parity(max_flash_kib=1)) == row


# The worker


@pytest.mark.parametrize("needed", [1, 16, 17, 72880, arena_worker.LARGEST])
def test_smallest_arena_is_found(needed: int) -> None:
    found = arena_worker.smallest(lambda size: size >= needed)
    assert found % 16 == 0 and needed <= found < needed + 16


def test_no_arena_is_large_enough() -> None:
    with pytest.raises(ArtifactError, match="64 MiB"):
        arena_worker.smallest(lambda size: False)


def planted(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name that is found first, in child processes too."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT), *sys.path]))


def test_missing_package_is_named(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path, "tflite_micro", "raise ImportError('no such thing')", monkeypatch)
    with pytest.raises(MissingError, match=r"pip install 'tledge\[microcontroller\]'"):
        budget.measure_arena(model)


def test_abort_is_told(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import os, sys\nsys.stderr.write('check failed: x\\n'); sys.stderr.flush(); os.abort()"
    planted(tmp_path, "tflite_micro", text, monkeypatch)
    with pytest.raises(
        ArtifactError, match=r"(?s)tflite-int8.tflite: tflite-micro crashed .*SIGABRT.*check failed: x"
    ):
        budget.measure_arena(model)


RUNTIME = """
class runtime:
    class Interpreter:
        @classmethod
        def from_bytes(cls, model, arena_size):
            if arena_size < 1000:
                raise RuntimeError("TFLM failed to allocate tensors")
            return cls()
        def set_input(self, values, index):
            self.values = values
        def invoke(self):
            INVOKE
        def get_output(self, index):
            return self.values[:, 0, 0]
"""


def test_worker_runs_in_smallest_arena(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path, "tflite_micro", RUNTIME.replace("INVOKE", "pass"), monkeypatch)
    pixels = fake_graphs.pictures(3)
    ran = budget.micro_run(model, pixels)
    assert ran.arena == 1008 and np.array_equal(ran.answers, pixels[:, 0, 0])
    with pytest.raises(ArtifactError, match="does not start in tflite-micro in an arena of 992 bytes"):
        budget.micro_run(model, pixels, 992)


def test_failing_run_is_told(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path, "tflite_micro", RUNTIME.replace("INVOKE", "raise RuntimeError('no')"), monkeypatch)
    with pytest.raises(ArtifactError, match=r"tflite-int8.tflite: starts in tflite-micro .* \(no\)"):
        budget.measure_arena(model)


# With tflite-micro and Vela themselves


@pytest.mark.slow
@needs_micro
def test_arena_is_what_it_takes(model: Path) -> None:
    pixels = fake_graphs.pictures(6)
    ran = budget.micro_run(model, pixels)
    assert np.array_equal(ran.answers, as_bytes(fake_integer.answers(MODEL, pixels)))
    assert len(np.unique(ran.answers, axis=0)) > 3
    assert budget.micro_run(model, pixels[:1], ran.arena).arena == ran.arena
    with pytest.raises(ArtifactError, match=r"(?s)does not start in tflite-micro in an arena .*Failed to"):
        budget.micro_run(model, pixels[:1], ran.arena - 1024)


@pytest.mark.slow
@needs_micro
@needs_vela
def test_trained_bundle_becomes_project(small_run: Path, tmp_path: Path) -> None:
    made = targets.fill("microcontroller", small_run / "bundle", tmp_path / "project")
    raw = json.loads((made / "budget.json").read_text())
    assert 0 < raw["arena_bytes"] < 1 << 20 and raw["macs"] > 100_000
    assert len(raw["estimates"]) == len(vela.CONFIGURATIONS)
    assert all(one["cycles"] > 0 and one["on_cpu"] == {} for one in raw["estimates"])


@pytest.mark.slow
@needs_vela
def test_vela_leaves_floats_on_cpu() -> None:
    """It ends with 0 there too."""
    integers = vela.estimate(MODEL, "model", "ethos-u55-128")
    floats = vela.estimate(fake_graphs.chain(), "chain", "ethos-u55-128")
    assert integers.on_cpu == {} and integers.cycles > 0 and integers.clock_mhz == 500
    assert floats.on_cpu == {
        "CONV_2D": 2,
        "DEPTHWISE_CONV_2D": 1,
        "FULLY_CONNECTED": 1,
        "MEAN": 1,
        "SOFTMAX": 1,
    }


@pytest.mark.slow
@needs_vela
def test_vela_refuses_other_files() -> None:
    with pytest.raises(ArtifactError, match="Vela does not compile it"):
        vela.estimate(b"no model" * 20, "model", "ethos-u55-128")


def test_project_is_small() -> None:
    own = [path for path in (ROOT / "export/microcontroller").iterdir() if path.suffix != ".md"]
    assert sum(len(path.read_text().splitlines()) for path in own) < 300
