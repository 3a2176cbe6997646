"""Markers by folder, the order of files, and the fixtures that many tests share."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import system_packages
from tests.helpers.command_line import Cli, run_main
from tests.helpers.paths import REAL_DATA, TESTS
from tests.helpers.small_run import train_once
from tledge._process import processors

FOLDER_MARKERS = {
    "stages": "slow",
    "e2e": "slow",
    "tools": "slow",
    "e2e/realdata": "realdata",
    "e2e/distributed": "distributed",
    "devices": "device",
    "browser": "browser",
}
"""Which marker every test of a folder gets; the innermost folder counts."""

if "PYTEST_XDIST_WORKER" in os.environ:  # the other processors have tests of their own to work on
    os.environ.setdefault(processors.VARIABLE, "1")

MINUTES = {"realdata": 2.0, "distributed": 1.5, "slow": 0.2}
"""What a test with such a marker takes, unless the marker says otherwise: `slow(minutes=2)`."""


def marker_of(path: Path) -> str | None:
    """The marker that the folder of a test file gives."""
    parents = path.relative_to(TESTS).parents
    return next((FOLDER_MARKERS[one.as_posix()] for one in parents if one.as_posix() in FOLDER_MARKERS), None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip the folders whose tests are all deselected: importing them takes seconds."""
    markers = {
        marker
        for folder, marker in FOLDER_MARKERS.items()
        if (TESTS / folder).is_relative_to(collection_path)
    }
    terms = config.getoption("markexpr").split(" and ")
    is_ours = collection_path != TESTS and collection_path.is_relative_to(TESTS)
    return (is_ours and markers and all(f"not {marker}" in terms for marker in markers)) or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and put files that take long first.

    Workers take whole files, so they end together when the long ones are begun first.
    """
    minutes = Counter[Path]()
    for item in items:
        marker = marker_of(item.path)
        if marker and item.get_closest_marker(marker) is None:
            item.add_marker(marker)
        for mark in item.iter_markers():
            minutes[item.path] += mark.kwargs.get("minutes", MINUTES.get(mark.name, 0))
    items.sort(key=lambda item: -minutes[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test before its fixtures are made, where a package of the system that it names is missing."""
    for mark in item.iter_markers("system_packages"):
        system_packages.require(*mark.args)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return lambda *arguments: run_main([str(one) for one in arguments], capsys)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A prepared-photo cache of this test session, so that tests neither see nor leave others."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("TLEDGE_CACHE")
    os.environ["TLEDGE_CACHE"] = str(folder)
    yield folder
    os.environ.pop("TLEDGE_CACHE")
    if before is not None:
        os.environ["TLEDGE_CACHE"] = before


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A tiny network trained and exported through the command line, once for all; do not change it."""
    own = tmp_path_factory.getbasetemp()
    return train_once((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "small")


@pytest.fixture
def own_run(small_run: Path, tmp_path: Path) -> Path:
    """A copy of the small run that a test may damage."""
    return Path(shutil.copytree(small_run, tmp_path / "small"))


@pytest.fixture(scope="session")
def shared_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle made without training, once for all tests of a process; none may change it."""
    from tests.helpers import fake_device_bundle
    from tests.helpers.photo_folders import tree

    bundle = fake_device_bundle.make(tmp_path_factory.mktemp("shared") / "bundle")
    before = tree(bundle)
    yield bundle
    assert tree(bundle) == before, "a test changed the shared bundle; `bundle` is a copy to change"


@pytest.fixture
def bundle(shared_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the shared bundle that a test may change."""
    return Path(shutil.copytree(shared_bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def shared_report_run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run with all that a report shows, made without training, once for all; do not change it."""
    from tests.helpers import fake_report

    return fake_report.run(tmp_path_factory.mktemp("report") / "tiny")


@pytest.fixture
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where prepared photos lie in this test alone."""
    monkeypatch.setenv("TLEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos and weights; skips where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}; set TLEDGE_TEST_DATA")
    return REAL_DATA
