"""`tledge data`: counts, and photos that cannot be decoded."""

import json
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.fake_data import photos


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_data_reports_counts(cli: Cli, somewhere: Path) -> None:
    (somewhere / "tiny.toml").write_text(
        '[data]\nsource = "drawn"\ntrain = 12\ntest = 6\nsize = 32\n'
        '[data.splits]\nvalidation = { from = "train", fraction = 0.25 }\n'
        '[model]\nbackbone = "tiny"\nweights = "none"\nimage_size = 32\n[[stage]]\n'
    )
    done = cli("data", "tiny.toml", "--json", "--quiet")
    found = json.loads(done.out)
    assert found["counts"]["train"] == {"paper": 3, "rock": 3, "scissors": 3}
    assert sum(found["counts"]["validation"].values()) == 3
    assert "Next: tledge train tiny.toml" in cli("data", "tiny.toml", "--quiet").out


def test_undecodable_photo_stops_or_skips(cli: Cli, somewhere: Path) -> None:
    from PIL import Image

    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (somewhere / "photos" / split / label).mkdir(parents=True)
            for number in range(4):
                image = Image.new("RGB", (40, 40), (60 * number, 9, 200))
                image.save(somewhere / "photos" / split / label / f"{number}.png")
    (somewhere / "photos" / "train" / "cat" / "my broken.jpg").write_bytes(b"\xff\xd8 broken")
    text = (
        '[data]\nsource = "folder:photos"\non_bad = "stop"\n'
        '[data.splits]\nvalidation = { from = "train", fraction = 0.25 }\n'
        '[model]\nbackbone = "tiny"\nweights = "none"\nimage_size = 32\n[[stage]]\n'
    )
    (somewhere / "own.toml").write_text(text)
    done = cli("data", "own.toml", "--quiet")
    assert done.code == 1 and "train/cat/my broken.jpg" in done.err and 'on_bad = "skip"' in done.err
    done = cli("data", "own.toml", "--quiet", "--set", "data.on_bad=skip")
    assert done.code == 0 and "skipped train/cat/my broken.jpg" in done.out


def test_single_label_is_refused_by_data(cli: Cli, somewhere: Path) -> None:
    photos(somewhere / "photos", {"train": 8, "test": 4}, ("cat",))
    text = '[data]\nsource = "folder:photos"\n[model]\nbackbone = "tiny"\nweights = "none"\n[[stage]]\n'
    (somewhere / "own.toml").write_text(text)
    done = cli("data", "own.toml", "--quiet")
    assert done.code == 1 and "one label, 'cat'" in done.err
