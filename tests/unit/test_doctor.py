"""`tledge doctor`: right about every variant whatever is installed, and alive whatever a library does."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.blocking import block, pretend
from tests.helpers.command_line import Cli
from tests.helpers.installed_packages import EVERYTHING
from tests.helpers.paths import ROOT
from tledge import doctor
from tledge._io import resources
from tledge.doctor import Checkup, Probe
from tledge.formats.registry import FORMATS, VARIANTS

EXPORT = "pip install 'tledge[export]'"

LITERT = {"ai_edge_litert", "flatbuffers"}

EXPORTING = {*LITERT, "keras", "h5py", "tensorflow", "tf2onnx", "onnx", "onnxruntime"}


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Checkup]:
    """What the doctor finds where just these modules are installed, and where probing them gave `probes`."""

    def look(present: set[str], probes: dict[str, Probe] | None = None) -> Checkup:
        with monkeypatch.context() as patched:
            block(patched, EVERYTHING - present)
            pretend(patched, present)
            return doctor.checkup(probes or {})

    return look


def test_default_install_opens_tflite_alone(where: Callable[..., Checkup]) -> None:
    found = where(LITERT)
    assert [one.variant for one in found.variants] == list(VARIANTS)
    for one in found.variants:
        assert not one.made.possible and one.made.command == EXPORT
        is_tflite = VARIANTS[one.variant].format.suffix == ".tflite"
        assert one.opened.possible == one.inspected.possible == is_tflite
        assert (one.opened.command == "") == is_tflite
    assert {one.opened.command for one in found.variants} == {"", EXPORT, "pip install onnxruntime"}
    assert not any(one.possible for one in found.tasks.values())


def test_export_makes_all_and_does_not_train(where: Callable[..., Checkup]) -> None:
    found = where(EXPORTING)
    assert all(one.made.possible and one.opened.possible and one.inspected.possible for one in found.variants)
    training = found.tasks["train with TensorFlow"]
    assert training.missing == ("matplotlib",) and training.command == "pip install 'tledge[train]'"


def test_everything_leaves_no_command(where: Callable[..., Checkup]) -> None:
    found = where(EVERYTHING)
    answers = [one for row in found.variants for one in (row.made, row.opened, row.inspected)]
    assert all(one.possible and not one.command for one in (*answers, *found.tasks.values()))


@pytest.mark.parametrize("absent", sorted(EXPORTING - {"h5py"}))
def test_one_absent_module_fells_its_variants(where: Callable[..., Checkup], absent: str) -> None:
    """And no others: by what the formats themselves say they need."""
    for one in where(EXPORTING - {absent}).variants:
        variant = VARIANTS[one.variant]
        parts = (variant.to_convert, variant.format.to_open, variant.format.to_inspect)
        for needs, answer in zip(parts, (one.made, one.opened, one.inspected), strict=True):
            assert answer.possible == (absent not in needs.modules)
            assert answer.missing == (() if answer.possible else (absent,))
            assert answer.command == ("" if answer.possible else needs.command)


def test_only_int8_needs_onnx_runtime_to_be_made(where: Callable[..., Checkup]) -> None:
    found = {one.variant: one.made.possible for one in where(EXPORTING - {"onnxruntime"}).variants}
    assert [name for name, possible in found.items() if not possible] == ["onnx-int8"]


def test_broken_library_is_put_back(where: Callable[..., Checkup]) -> None:
    found = where(EXPORTING, {"tensorflow": Probe(failed="ImportError: libcuda.so.9")})
    first = found.variants[0]
    pin = resources.tested_versions()["tensorflow"]
    assert not first.made.possible and first.made.missing == ("tensorflow",)
    assert first.made.command == f"pip install --force-reinstall tensorflow=={pin}"
    assert found.remarks == ("tensorflow: installed, but does not load (ImportError: libcuda.so.9).",)
    assert found.backends[0].trouble == "ImportError: libcuda.so.9" and not found.backends[1].version


def test_slow_library_counts_as_there(where: Callable[..., Checkup]) -> None:
    found = where(EXPORTING, {"tensorflow": Probe(slow="did not load within 3 s, so its GPUs are not known")})
    assert all(one.made.possible for one in found.variants)
    assert "its GPUs are not known" in found.remarks[0]


def test_card_that_no_backend_sees(
    where: Callable[..., Checkup], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho Card 9000\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = where(EXPORTING, {"tensorflow": Probe()})
    assert found.cards == ("Card 9000",)
    assert found.remarks == (
        "The driver knows one GPU, not seen by TensorFlow. For TensorFlow: pip install 'tledge[gpu]'.",
    )
    assert where(EXPORTING, {"tensorflow": Probe(gpus=("Card 9000",))}).remarks == ()
    tool.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert where(EXPORTING, {"tensorflow": Probe()}).cards == ()


def test_packages_stand_beside_their_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {one.name: one for one in doctor.installed()}
    assert found["numpy"].tested == resources.tested_versions()["numpy"] and found["ai-edge-litert"].version
    monkeypatch.setattr(resources, "tested_versions", lambda: {"numpy": "0.1", "no-such-package": "1"})
    ((name, version, tested),) = ((one.name, one.version, one.tested) for one in doctor.installed())
    assert (name, tested) == ("numpy", "0.1") and version != "0.1"


def test_disk_and_memory_are_there() -> None:
    found = doctor.checkup({})
    assert found.memory_free_mib and 0 < found.memory_free_mib < (found.machine.memory_mib or 0)
    assert [one.what for one in found.disks] == ["runs", "prepared photos", "scratch"]
    assert all(0 < one.free_mib <= one.total_mib for one in found.disks)


def test_words_of_the_default_install(
    where: Callable[..., Checkup], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = where(LITERT)
    monkeypatch.setattr(doctor, "examine", lambda _watch: bare)
    done = cli("doctor", "--quiet")
    assert done.code == 0
    assert done.out.count(EXPORT) == len(VARIANTS) + 2  # made; SavedModel opened, inspected
    assert "TensorFlow is not installed" in done.out and "Next: tledge predict" in done.out
    assert json.loads(cli("doctor", "--json").out)["variants"][1]["opened"]["possible"] is True


def test_other_versions_are_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "tested_versions", lambda: {"numpy": "0.1"})
    monkeypatch.setattr(doctor, "PROBED", ())
    done = cli("doctor")
    assert done.code == 0 and "tested with 0.1" in done.out


def test_extras_of_commands_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    commands = {one.command for one in doctor.TASKS.values()} | {
        one.command for each in FORMATS.values() for one in (each.to_convert, each.to_open, each.to_inspect)
    }
    asked = {one.split("[")[1].split("]")[0] for one in commands if "tledge[" in one}
    assert asked and asked <= set(project["optional-dependencies"])
    assert "constraints.txt" in project_wheel()


def project_wheel() -> dict[str, str]:
    """What the wheel gets from outside of the package."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    included: dict[str, str] = tool["hatch"]["build"]["targets"]["wheel"]["force-include"]
    return included


@pytest.mark.parametrize("name", list(FORMATS))
def test_missing_runtime_says_what_doctor_says(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tledge.errors import MissingError

    format = FORMATS[name]
    path = tmp_path / f"model{format.suffix}"
    if format.suffix:
        path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    for needs, use in (
        (format.to_open, lambda: format.open(path, "xnnpack")),
        (format.to_inspect, lambda: format.inspect(path)),
    ):
        with monkeypatch.context() as patched:
            block(patched, needs.modules)
            with pytest.raises(MissingError) as told:
                use()
        assert needs.command in str(told.value)
