"""`tledge init`: what it writes is read by `tledge data`, and nothing is replaced."""

import shlex
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.fake_data import photos


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_never_replaces_a_folder(cli: Cli, somewhere: Path) -> None:
    photos(somewhere / "photos", {"": 12}, ("cat", "dog"))
    (somewhere / "keep").mkdir()
    (somewhere / "keep" / "precious.txt").write_text("here")
    done = cli("init", "photos", "--out", "keep", "--force")
    assert done.code == 1 and "keep: a folder" in done.err
    assert (somewhere / "keep" / "precious.txt").read_text() == "here"


@pytest.mark.parametrize("name", ["beans.v2.toml", "my photos.toml", "deep/er.toml"])
def test_init_writes_what_data_reads(cli: Cli, somewhere: Path, name: str) -> None:
    photos(somewhere / "photos", {"": 24}, ("cat", "dog"))
    done = cli("init", "photos", "--out", name)
    assert done.code == 0 and done.out.splitlines()[-1] == f"Next: tledge data {shlex.quote(name)}"
    assert f"tledge train {shlex.quote(name)}" in Path(name).read_text()
    assert cli("init", "photos", "--out", name).code == 1  # it is there
    done = cli("data", name, "--set", "augment.views=0", "--set", "model.image_size=96", "--quiet")
    assert done.code in (0, 5), done.err
