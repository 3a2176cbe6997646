"""Whose work tledge is made of: NOTICE, the pins, and what `make audit` says where nobody answers."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import audit
import notice

LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def everything() -> None:
    if lacking := notice.absent():
        pytest.skip(f"not installed: {', '.join(lacking)}; NOTICE is written where tledge[dev] is")


# NOTICE


@pytest.mark.usefixtures("everything")
def test_notice_is_current() -> None:
    assert notice.PLACE.read_text(encoding="utf-8") == notice.text(), "run python tools/notice.py"


@pytest.mark.usefixtures("everything")
def test_no_licence_stands_in_the_way() -> None:
    assert notice.faults() == []


@pytest.mark.usefixtures("everything")
def test_notice_names_every_pinned_package() -> None:
    text = notice.PLACE.read_text(encoding="utf-8")
    named = [name for name in notice.pinned() if f"\n{name}: " in text]
    assert set(notice.pinned()) - set(named) == {
        name for name in notice.pinned() if name.startswith(notice.ELSEWHERE)
    }
    assert not any(host in text for host in ("pypi", "npmjs"))


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize(
    ("told", "message"), [("", "rich: no licence is known"), ("GPL-3.0-only", "rich: GPL-3.0-only is not in")]
)
def test_a_bad_licence_is_named(told: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = notice.licence
    monkeypatch.setattr(notice, "licence", lambda name: told if name == "rich" else real(name))
    (fault,) = notice.faults()
    assert fault.startswith(message)


@pytest.mark.usefixtures("everything")
def test_what_was_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that says otherwise in its own file is noticed."""
    assert notice.licence("pillow_heif") == "BSD-3-Clause AND LGPL-3.0 AND GPL-2.0"
    monkeypatch.setitem(notice.READ, "namex", ("Apache-2.0", "LICENSE", "words that are not in it"))
    assert notice.licence("namex") == ""
    assert any("namex: no licence is known" in one for one in notice.faults())


@pytest.mark.parametrize(
    ("licence", "lets"),
    [
        ("MIT", True),
        ("MPL-2.0 AND MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("(MIT AND GPL-2.0-only)", False),
        ("LicenseRef-NVIDIA-Proprietary", False),
        ("", False),
    ],
)
def test_which_licences_let_users_ship(licence: str, lets: bool) -> None:
    assert notice.lets_ship(licence) is lets


def test_notice_goes_into_wheel_and_sdist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["project"]["license-files"]) == {"LICENSE", "NOTICE"}
    assert {"LICENSE", "NOTICE"} <= set(project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    assert all((ROOT / name).is_file() for name in project["project"]["license-files"])


# Pins


def test_pins_are_what_is_needed(everything: None) -> None:
    assert audit.pins(LINES, audit.needed()).wrong == ()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: [one for one in lines if not one.startswith("rich=")], "rich: needed, and not pinned"),
        (lambda lines: [*lines, "leftpad==1.0"], "leftpad: pinned, and nothing that is installed needs it"),
        (lambda lines: [*lines, "rich>=1"], "rich>=1: expected name==version"),
        (lambda lines: [*lines, *[one for one in lines if one.startswith("rich=")]], "a package twice"),
        (lambda lines: ["rich==0.1" if one.startswith("rich=") else one for one in lines], "0.1 is pinned"),
    ],
)
@pytest.mark.usefixtures("everything")
def test_wrong_pins_are_named(edit: Callable[[list[str]], list[str]], message: str) -> None:
    assert any(message in fault for fault in audit.pins(edit(LINES), audit.needed()).wrong)


# Vulnerabilities


CLEAN = {"name": "rich", "version": "15.0.0", "vulns": []}
BAD = {"name": "jinja2", "version": "2.11.2", "vulns": [{"id": "PYSEC-2021-66", "fix_versions": ["2.11.3"]}]}
SKIPPED = {"name": "jinja2", "skip_reason": "Dependency not found"}


def answers(monkeypatch: pytest.MonkeyPatch, canary: Any, rest: Any) -> audit.Said:
    """What is said where pip-audit gives these reports."""

    def report(_service: str, requirements: Path) -> Any:
        found = canary if requirements.name == "canary.txt" else rest
        return found if isinstance(found, str) else {"dependencies": found}

    monkeypatch.setattr(audit, "_pip_audit", report)
    return audit.advisories(audit.PINS)


@pytest.mark.parametrize("canary", [[SKIPPED], [{**BAD, "vulns": []}], "ConnectionError: no route"])
def test_silence_is_not_taken_for_health(monkeypatch: pytest.MonkeyPatch, canary: Any) -> None:
    """pip-audit says "No known vulnerabilities found" of an index that knows no vulnerabilities."""
    said = answers(monkeypatch, canary, [CLEAN])
    assert not said.asked and said.line.startswith("NOT CHECKED") and said.wrong == ()


def test_vulnerable_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = answers(monkeypatch, [BAD], [CLEAN, BAD, {**SKIPPED, "name": "tflite-micro"}])
    assert said.asked and said.wrong == ("jinja2 2.11.2: PYSEC-2021-66, fixed in 2.11.3",)
    assert said.line == "2 of 3 packages looked up at pypi, 1 found; not known there: tflite-micro"


def test_known_database_and_clean_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    said = answers(monkeypatch, [BAD], [CLEAN])
    assert said.asked and said.wrong == () and said.line == "1 of 1 packages looked up at pypi, 0 found"


def test_what_pip_audit_cannot_tell_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def python(*_arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "Traceback\nConnectionError: no route")

    monkeypatch.setattr(audit, "_python", python)
    assert audit._pip_audit("osv", tmp_path) == "ConnectionError: no route"


@pytest.mark.parametrize(
    ("said", "strict", "code"),
    [
        (audit.Said("NOT CHECKED", asked=False), [], 0),
        (audit.Said("NOT CHECKED", asked=False), ["--strict"], 1),
        (audit.Said("1 found", ("jinja2",)), [], 1),
        (audit.Said("0 found"), ["--strict"], 0),
    ],
)
def test_exit_code_of_an_audit(
    said: audit.Said, strict: list[str], code: int,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(audit, "advisories", lambda _path: said)
    for name in ("pins", "agreement", "age", "needed"):
        monkeypatch.setattr(audit, name, lambda *_arguments: audit.Said("well"))
    assert audit.main(["--quick", *strict]) == code
    out = capsys.readouterr().out
    assert ("Nothing above says that no package is vulnerable" in out) is not said.asked
    assert "no known" not in out.lower()
