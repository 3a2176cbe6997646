"""What the machine says of itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tledge.environment import machine

X86 = (
    "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Fast Chip 7 @ 3 GHz\nprocessor\t: 1\nmodel name\t: other\n"
)
PI = "processor\t: 0\nCPU part\t: 0xd08\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B\n"


@pytest.mark.parametrize(("text", "name"), [(X86, "Fast Chip 7 @ 3 GHz"), (PI, "BCM2835")])
def test_processor_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(
        machine, "_PROCESSOR_FILES", ((tmp_path / "cpuinfo", machine._PROCESSOR_FILES[0][1]),)
    )
    assert machine.processor() == name


def test_board_stands_in_for_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nCPU part\t: 0xd08\n")
    (tmp_path / "model").write_bytes(b"Some Board rev 2\0")
    pairs = zip((tmp_path / "cpuinfo", tmp_path / "model"), machine._PROCESSOR_FILES, strict=True)
    monkeypatch.setattr(machine, "_PROCESSOR_FILES", tuple((path, names[1]) for path, names in pairs))
    assert machine.processor() == "Some Board rev 2"


def test_unnamed_processor_is_its_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PROCESSOR_FILES", ((Path("/none"), re.compile("x")),))
    monkeypatch.setattr(machine.platform, "system", lambda: "Plan9")
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "mips")
    assert machine.processor() == "mips"


def test_this_machine_is_whole() -> None:
    here = machine.current_machine()
    assert here.processor and here.architecture and here.system and re.match(r"3\.\d+", here.python)
    assert here.cores >= 1 and here.memory_mib and here.memory_mib > 200
    assert here.load is not None and here.load >= 0
    assert {"ai-edge-litert", "numpy"} <= set(here.packages)


def test_missing_package_has_no_version() -> None:
    assert set(machine.versions(["numpy", "no-such-package-here"])) == {"numpy"}
