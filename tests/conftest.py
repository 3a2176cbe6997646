"""Shared fixtures: where real data lies, a small trained run, and a way to run the command line."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("TLEDGE_TEST_DATA", ROOT.parent / "shared" / "data"))

SMALL = """
[recipe]
name = "small"
description = "tiny network on drawn hands, for tests"
[data]
source = "drawn"
train = 900
test = 300
size = 64
[data.splits]
validation = { from = "train", fraction = 0.15 }
[model]
backbone = "tiny"
weights = "none"
image_size = 48
[[stage]]
name = "all"
epochs = 14
unfreeze = "all"
batch_norm = "train"
batch_norm_momentum = 0.9
learning_rate = 4e-3
schedule = "cosine"
[parity]
int8_agreement = 0.9
int8_accuracy = 0.9
max_drop = 0.05
max_class_drop = 0.2
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def run_main(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Done:
    """Run the command line in this process."""
    from tledge.cli.main import main

    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return Done(int(ended.value.code or 0), captured.out, captured.err)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    return lambda *arguments: run_main([str(one) for one in arguments], capsys)


MINUTES = {"realdata": 2.0, "distributed": 1.5, "slow": 0.2}
"""What a test with such a marker takes, unless the marker says otherwise: `slow(minutes=2)`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that take long first, so that workers, which take whole files, end together."""
    minutes = Counter[Path]()
    for item in items:
        for mark in item.iter_markers():
            minutes[item.path] += mark.kwargs.get("minutes", MINUTES.get(mark.name, 0))
    items.sort(key=lambda item: -minutes[item.path])


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
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "small"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            _make_small_run(folder)
            (folder / "made").touch()
    return folder / "runs" / "small"


def _make_small_run(folder: Path) -> None:
    (folder / "small.toml").write_text(SMALL)
    command = [sys.executable, "-m", "tledge"]
    for arguments in (["train", "small.toml", "--quiet", "--force"], ["export", "--int8", "--quiet"]):
        done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def own_run(small_run: Path, tmp_path: Path) -> Path:
    """A copy of the small run that a test may damage."""
    return Path(shutil.copytree(small_run, tmp_path / "small"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos and weights; skips where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}; set TLEDGE_TEST_DATA")
    return DATA


def record(run: Path, variant: str) -> None:
    """Write an artifact's new hash into its record, as an export that made it so would have."""
    from tledge._io import files

    path = run / "artifacts" / f"{variant}.json"
    facts = json.loads(path.read_text())
    facts["sha256"] = files.sha256(run / facts["path"])
    facts["bytes"] = files.size_of(run / facts["path"])
    path.write_text(json.dumps(facts))
