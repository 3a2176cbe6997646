"""The command line's words and exit codes, without training or converting anything."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.command_line import Cli, Done
from tests.helpers.fake_data import photos

from tledge import __version__
from tledge.errors import RecipeError



@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out == f"tledge, version {__version__}\n"
    done = cli("export", "--help")
    assert done.code == 0 and "tledge export runs/rps --int8" in done.out


@pytest.mark.parametrize("arguments", [["trian"], ["train"], ["list", "planets"], ["train", "a", "--fast"]])
def test_wrong_usage_is_two(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert "Usage:" in done.err


def test_recipe_typo_writes_nothing(cli: Cli, somewhere: Path) -> None:
    (somewhere / "pets.toml").write_text('[data]\nsource = "drawn"\n[model]\n[[stage]]\nepoch = 3\n')
    done = cli("train", "pets.toml")
    assert done.code == 2
    assert "pets.toml: [[stage]] 1 has no key 'epoch'. Did you mean 'epochs'?" in done.err
    assert [path.name for path in somewhere.iterdir()] == ["pets.toml"]


def test_unknown_recipe_lists_shipped(cli: Cli) -> None:
    done = cli("train", "quickstrat")
    assert done.code == 2
    assert "quickstart" in done.err and "rps" in done.err


def test_no_run_yet(cli: Cli) -> None:
    done = cli("export", "--int8")
    assert done.code == 1
    assert "no finished run here" in done.err and "tledge train" in done.err


@pytest.mark.parametrize("command", ["export", "verify", "bundle"])
def test_missing_run_folder(cli: Cli, command: str) -> None:
    done = cli(command, "runs/none")
    assert done.code == 1
    assert "runs/none: no such run folder" in done.err


def test_unfinished_run_is_explained(cli: Cli, somewhere: Path) -> None:
    (somewhere / "runs" / "half").mkdir(parents=True)
    done = cli("export", "runs/half")
    assert done.code == 1
    assert "run.json is missing" in done.err and "tledge train" in done.err


def test_unknown_variant_is_two(cli: Cli) -> None:
    from tledge.commands import shipping

    with pytest.raises(RecipeError, match="tflite-int4: no such variant"):
        shipping._variants(None, [], ("tflite-int4",), False)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["recipes", "variants", "backbones", "sources"])
def test_lists_are_filled(cli: Cli, what: str) -> None:
    done = cli("list", what)
    listed = json.loads(cli("list", what, "--json").out)
    assert done.code == 0 and len(listed) >= 2
    assert all(name in done.out for name in listed)


def test_list_of_no_runs(cli: Cli) -> None:
    assert json.loads(cli("list", "runs", "--json").out) == {}


def test_predict_without_model(cli: Cli) -> None:
    done = cli("predict", "none.tflite", "photo.jpg")
    assert done.code == 2
    assert "none.tflite: no such model, bundle or run" in done.err


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_predict_with_garbage(cli: Cli, somewhere: Path, size: int) -> None:
    (somewhere / "bad.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(size))
    done = cli("predict", "bad.tflite", "photo.jpg")
    assert done.code == 4
    assert "bad.tflite" in done.err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"<html>"])
def test_damaged_zip_is_four(cli: Cli, somewhere: Path, content: bytes) -> None:
    (somewhere / "bundle.zip").write_bytes(content)
    for command in (["predict", "bundle.zip", "photo.jpg"], ["verify", "bundle.zip"]):
        done = cli(*command)
        assert done.code == 4
        assert "bundle.zip: not a zip file" in done.err


@pytest.mark.parametrize(
    ("manifest", "message"),
    [("{}", "not a readable tledge manifest"), ('{"manifest_version": 99}', "Install a tledge as new")],
)
def test_manifest_from_elsewhere(cli: Cli, somewhere: Path, manifest: str, message: str) -> None:
    (somewhere / "bundle").mkdir()
    (somewhere / "bundle" / "manifest.json").write_text(manifest)
    done = cli("predict", "bundle", "photo.jpg")
    assert done.code == 4
    assert message in done.err


def test_interrupt_is_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tledge.listing.TABLES", {"runs": interrupted})
    done = cli("list", "runs")
    assert done.code == 130
    assert done.err.splitlines()[-1] == "Interrupted. Start again with: tledge list runs"


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


def test_single_label_is_refused_by_data(cli: Cli, somewhere: Path) -> None:
    photos(somewhere / "photos", {"train": 8, "test": 4}, ("cat",))
    text = '[data]\nsource = "folder:photos"\n[model]\nbackbone = "tiny"\nweights = "none"\n[[stage]]\n'
    (somewhere / "own.toml").write_text(text)
    done = cli("data", "own.toml", "--quiet")
    assert done.code == 1 and "one label, 'cat'" in done.err
