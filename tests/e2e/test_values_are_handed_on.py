"""No command reads from disk what it holds already: files are opened once, folders listed once."""

from collections import Counter

import pytest

from tests.helpers.opened_files import opened_by
from tests.helpers.photo_folders import colored_photos
from tests.helpers.recipes import tiny_recipe

Counts = dict[str, tuple[Counter[str], Counter[str]]]

VALUES = ("run.json", "parity.json", "golden.npz", "recipe.toml", "environment.json", "calibration.json")
"""Files of a run whose values stages hand on."""


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counts:
    """What each command opened and listed, on the way from a folder of photos to a prediction."""
    root = tmp_path_factory.mktemp("counted")
    colored_photos(root / "photos", {"train": 40, "validation": 10, "test": 20})
    data = 'source = "folder:photos"\ngroup = "near-duplicates"'
    recipe = tiny_recipe(data, 'name = "all"\nepochs = 2\nunfreeze = "all"')
    recipe = recipe.replace('validation = { from = "train", fraction = 0.25 }', 'validation = "validation"')
    (root / "net.toml").write_text(recipe + "[parity]\nint8_agreement = 0.5\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLEDGE_CACHE", str(root / "cache"))
        return {
            "data": opened_by(root, "data", "net.toml"),
            "train": opened_by(root, "train", "net.toml"),
            "export": opened_by(root, "export", "runs/net", "--int8", "--unverified"),
            "predict": opened_by(root, "predict", "runs/net/bundle", "photos/test/red/0.png"),
        }


def more_than(most: int, opened: Counter[str], *parts: str) -> dict[str, int]:
    """Return the files opened more than `most` times whose path holds one of the parts."""
    return {path: n for path, n in opened.items() if n > most and any(part in path for part in parts)}


@pytest.mark.parametrize("command", ["data", "train"])
def test_recipe_and_cache_are_read_once(command: str, counts: Counts) -> None:
    opened, _listed = counts[command]
    assert more_than(1, opened, "net.toml", "index.json") == {}
    assert opened["net.toml"] == 1


def test_photos_are_listed_and_decoded_once(counts: Counts) -> None:
    opened, listed = counts["data"]
    assert {path: n for path, n in listed.items() if path.startswith("photos") and n > 1} == {}
    assert more_than(2, opened, "photos/") == {}  # a second time where the original is kept
    assert sum(n == 1 for path, n in opened.items() if path.startswith("photos/")) > 60


def test_export_reads_each_value_once(counts: Counts) -> None:
    opened, _listed = counts["export"]
    assert {name: opened[f"runs/net/{name}"] for name in VALUES} == {
        "run.json": 1, "parity.json": 1, "golden.npz": 1, "recipe.toml": 1, "environment.json": 1,
        "calibration.json": 1,
    }  # fmt: skip


def test_predict_opens_each_file_once(counts: Counts) -> None:
    opened, _listed = counts["predict"]
    assert more_than(1, opened, "") == {}
    assert opened["runs/net/bundle/manifest.json"] == 1
