"""`tledge data` and `tledge init`: counts, photos that cannot be decoded, and a first recipe."""

import json
import shlex
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.fake_data import photos
from tests.helpers.recipes import BARE, drawn, tiny_recipe


def test_data_reports_counts(cli: Cli, somewhere: Path) -> None:
    (somewhere / "tiny.toml").write_text(tiny_recipe(drawn()))
    done = cli("data", "tiny.toml", "--json", "--quiet")
    found = json.loads(done.out)
    assert found["counts"]["train"] == {"paper": 3, "rock": 3, "scissors": 3}
    assert sum(found["counts"]["validation"].values()) == 3
    shown = cli("data", "tiny.toml", "--quiet").out
    assert "Labels are in natural order (2 before 10)" in shown and "Next: tledge train tiny.toml" in shown


def test_undecodable_photo_stops_or_skips(cli: Cli, somewhere: Path) -> None:
    from PIL import Image

    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (somewhere / "photos" / split / label).mkdir(parents=True)
            for number in range(4):
                image = Image.new("RGB", (40, 40), (60 * number, 9, 200))
                image.save(somewhere / "photos" / split / label / f"{number}.png")
    (somewhere / "photos" / "train" / "cat" / "my broken.jpg").write_bytes(b"\xff\xd8 broken")
    (somewhere / "own.toml").write_text(tiny_recipe('source = "folder:photos"\non_bad = "stop"'))
    done = cli("data", "own.toml", "--quiet")
    assert done.code == 1 and "train/cat/my broken.jpg" in done.err and 'on_bad = "skip"' in done.err
    done = cli("data", "own.toml", "--quiet", "--set", "data.on_bad=skip")
    assert done.code == 0 and "skipped train/cat/my broken.jpg" in done.out


def test_single_label_is_refused_by_data(cli: Cli, somewhere: Path) -> None:
    photos(somewhere / "photos", {"train": 8, "test": 4}, ("cat",))
    (somewhere / "own.toml").write_text(BARE.replace('"drawn"', '"folder:photos"'))
    done = cli("data", "own.toml", "--quiet")
    assert done.code == 1 and "one label, 'cat'" in done.err


def test_init_never_replaces_a_folder(cli: Cli, somewhere: Path) -> None:
    photos(somewhere / "photos", {"": 12}, ("cat", "dog"))
    (somewhere / "keep").mkdir()
    (somewhere / "keep" / "precious.txt").write_text("here")
    done = cli("init", "photos", "--out", "keep", "--force")
    assert done.code == 1 and "keep: a folder" in done.err
    assert (somewhere / "keep" / "precious.txt").read_text() == "here"


def test_init_tells_what_it_found(cli: Cli, somewhere: Path) -> None:
    photos(somewhere / "p", {"": 24}, ("cat", "dog"))
    for label in ("cat", "dog"):
        for number, path in enumerate(sorted((somewhere / "p" / label).iterdir())):
            path.rename(somewhere / "p" / f"{label}_{number}.jpg")
    (somewhere / "p" / "cat_99.jpg").write_bytes(b"broken")
    (somewhere / "p" / "notes.txt").touch()
    out = cli("init", "p").out
    assert '[data] label_from = "name:{label}_{number}"\n' in out
    assert "left out, unknown ending: 1 (notes.txt)\n" in out
    assert "1 of 25 photos cannot be read: cat_99.jpg: " in out
    found = json.loads(cli("init", "p", "--force", "--json").out)
    assert found["options"] == {"label_from": "name:{label}_{number}"}
    assert found["left_out"]["unknown ending"] == {"count": 1, "examples": ["notes.txt"]}


def test_init_reads_a_table(cli: Cli, somewhere: Path) -> None:
    photos(somewhere / "p", {"": 24}, ("cat", "dog"))
    rows = [f"{path.stem},{path.parent.name}" for path in sorted((somewhere / "p").glob("*/*.jpg"))]
    (somewhere / "t").mkdir()
    (somewhere / "t" / "labels.csv").write_text("\n".join(["id,kind", *rows]))
    for path in (somewhere / "p").glob("*/*.jpg"):
        path.rename(somewhere / "t" / path.name)
    done = cli("init", "t/labels.csv")
    assert done.code == 0 and "Recipe: t.toml" in done.out and '[data] ending = ".jpg"' in done.out
    done = cli("init", "t/labels.csv", "--label-from", "name:{label}", "--force")
    assert done.code == 2 and "only for a folder" in done.err


@pytest.mark.parametrize("name", ["beans.v2.toml", "my photos.toml", "deep/er.toml"])
def test_init_writes_what_data_reads(cli: Cli, somewhere: Path, name: str) -> None:
    photos(somewhere / "photos", {"": 24}, ("cat", "dog"))
    done = cli("init", "photos", "--out", name)
    assert done.code == 0 and done.out.splitlines()[-1] == f"Next: tledge data {shlex.quote(name)}"
    assert f"tledge train {shlex.quote(name)}" in Path(name).read_text()
    assert cli("init", "photos", "--out", name).code == 1  # it is there
    done = cli("data", name, "--set", "augment.views=0", "--set", "model.image_size=96", "--quiet")
    assert done.code in (0, 5), done.err


def test_many_labels_are_summarized(cli: Cli, somewhere: Path) -> None:
    """Of 41 labels those with the fewest photos are printed; 40 are printed one by one."""
    labels = [f"species {number:02d}" for number in range(41)]
    photos(somewhere / "photos", {"": 246}, labels)
    done = cli("init", "photos", "--out", "own.toml")
    assert done.code == 0, done.err
    first = done.out.splitlines()[0]
    assert first.startswith("photos: 246, 6 of each of 41 labels; fewest: species 00 6, species 01 6")
    assert "species 39" not in done.out
    assert (
        len(json.loads(cli("init", "photos", "--out", "own.toml", "--force", "--json").out)["labels"]) == 41
    )
    lines = cli("data", "own.toml", "--quiet", "--set", "model.image_size=96").out.splitlines()
    assert sum(line.startswith("species") for line in lines) == 10
    assert "These are the 10 of 41 labels with the fewest train photos; report.json has all." in lines
    report = json.loads((somewhere / "runs" / "own-data" / "report.json").read_text())
    assert len(report["counts"]["train"]) == 41


def test_few_photos_are_said_in_the_terminal(cli: Cli, somewhere: Path) -> None:
    photos(somewhere / "photos", {"": 36}, ("cat", "dog"))
    lines = cli("init", "photos").out.splitlines()
    assert lines[:2] == ["photos: cat 18, dog 18", "splits: about 24 train, 5 validation, 7 test"]
    assert lines[2].startswith("Few photos: about 7 test and 5 validation photos (6 of each label)")
    assert "takes 100 test photos, or 149 photos" in lines[3] and "137 more photos" in lines[4]
    found = json.loads(cli("init", "photos", "--force", "--json").out)["evidence"]
    assert found == {
        "images": 12, "test_photos_needed": 100, "photos_needed": 149, "missing_without_labels": 137,
        "missing_of_each_label": 233,
    }  # fmt: skip


def test_recipe_finds_its_photos_from_any_folder(
    cli: Cli, somewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(somewhere / "project" / "photos", {"": 24}, ("cat", "dog"))
    assert cli("init", "project/photos", "--out", "project/own.toml").code == 0
    assert '\nsource = "folder:photos"\n' in (somewhere / "project" / "own.toml").read_text()
    options = ("--quiet", "--json", "--set", "augment.views=0", "--set", "model.image_size=96")
    assert json.loads(cli("data", "project/own.toml", *options).out)["photos"] == 24
    (somewhere / "project").rename(somewhere / "moved")
    monkeypatch.chdir(somewhere / "moved")
    assert json.loads(cli("data", "own.toml", *options).out)["photos"] == 24


def test_init_names_photos_elsewhere_by_their_whole_path(cli: Cli, somewhere: Path) -> None:
    photos(somewhere / "photos", {"": 24}, ("cat", "dog"))
    (somewhere / "recipes").mkdir()
    assert cli("init", "photos", "--out", "recipes/own.toml").code == 0
    source = f'source = "folder:{(somewhere / "photos").resolve().as_posix()}"'
    assert source in (somewhere / "recipes" / "own.toml").read_text()
