"""What tests need of the system: asked for as CMakeLists.txt asks, and named where it is missing."""

import re
import shutil

import pytest

from tests.helpers import system_packages
from tests.helpers.paths import ROOT

CI = ROOT / ".ci" / "system-packages"


def test_every_library_of_the_project_has_a_package() -> None:
    names = {re.split(r"[( )]", line)[1] for line in system_packages.find_package_lines()}
    assert names == set(system_packages.LIBRARIES.values()) and len(names) == 4


@pytest.mark.skipif(not CI.is_file(), reason="not a checkout")
def test_ci_installs_what_tests_ask_for() -> None:
    (listed,) = re.findall(r"^wanted=\((.*)\)$", CI.read_text(encoding="utf-8"), re.M)
    java = "openjdk-17-jdk-headless"
    assert {*listed.split(), java} == set(system_packages.all_packages())
    assert java in (CI.parent / "install-java").read_text(encoding="utf-8")


def test_library_that_cmake_misses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TLEDGE_CI", raising=False)
    monkeypatch.setattr(system_packages, "_output", lambda _: "-- found JPEG: TRUE\n-- found PNG: FALSE\n")
    system_packages.found_by_cmake.cache_clear()
    system_packages.is_here.cache_clear()
    try:
        system_packages.require("libjpeg-dev")
        with pytest.raises(pytest.skip.Exception, match="not installed: libpng-dev nlohmann-json3-dev"):
            system_packages.require("libjpeg-dev", "libpng-dev", "nlohmann-json3-dev")
    finally:
        system_packages.found_by_cmake.cache_clear()
        system_packages.is_here.cache_clear()


@pytest.mark.parametrize("is_ci", [False, True])
def test_missing_program_is_skipped_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch, is_ci: bool) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setenv("TLEDGE_CI", "1")
    if not is_ci:
        monkeypatch.delenv("TLEDGE_CI")
    system_packages.is_here.cache_clear()
    try:
        outcome = pytest.fail.Exception if is_ci else pytest.skip.Exception
        with pytest.raises(outcome, match="sudo apt-get install cmake make"):
            system_packages.require("cmake", "make")
    finally:
        system_packages.is_here.cache_clear()


@pytest.mark.slow
def test_probe_finds_what_is_installed() -> None:
    """Where CMake is not here, it finds nothing, and says nothing either."""
    found = system_packages.found_by_cmake()
    assert found <= set(system_packages.LIBRARIES.values())
    assert shutil.which("cmake") or not found
