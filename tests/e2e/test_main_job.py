"""The main job on a small network: train, export, verify, bundle, predict, and how each repeats."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.command_line import Cli
from tests.helpers.small_run import SMALL, zip_of

SHORT = ("--set", "stage.0.epochs=2", "--set", "data.train=300", "--quiet")
TWO_STAGES = SMALL.replace(
    "[parity]",
    """[[stage]]
name = "top"
epochs = 3
unfreeze = "block_4_depthwise"
ema = 0.9
[parity]""",
)


def test_run_folder_is_complete(small_run: Path) -> None:
    run = json.loads((small_run / "run.json").read_text())
    assert run["labels"] == ["paper", "rock", "scissors"]
    assert run["input"]["height"] == run["input"]["width"] == 48
    assert run["test"]["low"] < run["test"]["accuracy"] < run["test"]["high"]
    assert run["test"]["accuracy"] > 0.45 and run["synthetic"] is True
    history = (small_run / "history.csv").read_text().splitlines()
    assert len(history) == 15 and "val_accuracy" in history[0]


def test_parity_rows_are_complete(small_run: Path) -> None:
    parity = json.loads((small_run / "parity.json").read_text())
    rows = {row["variant"]: row for row in parity["rows"]}
    assert parity["passed"] is True
    assert list(rows) == ["saved_model", "tflite-fp32", "tflite-int8", "onnx-fp32"]
    assert all(row["verdict"] == "passed" and row["images"] == 300 for row in rows.values())
    assert rows["tflite-int8"]["kernels"] == "xnnpack"
    assert rows["tflite-int8"]["without_bias_correction"]["agreement"] > 0.5


def test_golden_answers_differ(small_run: Path) -> None:
    from tledge.run import golden_set

    found = golden_set.load(small_run / "golden.npz")
    assert found.images.shape == (300, 48, 48, 3)
    assert np.ptp(found.probabilities, axis=0).min() > 0.5


def test_int8_file_keeps_contract(small_run: Path) -> None:
    from tledge.formats import tflite

    found = tflite.inspect(small_run / "bundle" / "tflite-int8.tflite")
    taken = found.inputs[0]
    assert (taken.dtype, taken.shape, taken.zero_point) == ("uint8", (1, 48, 48, 3), 0)
    assert taken.scale == pytest.approx(1, abs=1e-6)
    assert not {"float32", "float16"} & {*found.weights, *found.activations}
    assert found.labels == ("paper", "rock", "scissors")


def test_labels_equal_in_every_artifact(small_run: Path) -> None:
    from tledge.contract import parse_labels
    from tledge.formats.registry import VARIANTS

    bundle = small_run / "bundle"
    wanted = parse_labels((bundle / "labels.txt").read_text())
    entries = json.loads((bundle / "manifest.json").read_text())["artifacts"]
    assert len(entries) == 4
    for entry in entries:
        format = VARIANTS[entry["variant"]].format
        assert format.inspect(bundle / entry["path"]).labels == wanted


def test_serve_jpeg_prepares_alike(small_run: Path) -> None:
    from tledge.bundle.reader import open_bundle
    from tledge.formats.saved_model import SavedModelSession
    from tledge.preprocessing.image import preprocess

    manifest = open_bundle(small_run / "bundle").manifest  # `serve_jpeg` applies no EXIF orientation
    photos = [small_run / "bundle" / "golden" / case.photo for case in manifest.photos]
    session = SavedModelSession(small_run / "bundle" / "saved_model")
    encoded = session.run_encoded([photo.read_bytes() for photo in photos])
    prepared = session.run(np.stack([preprocess(photo, (48, 48)) for photo in photos]))
    assert len(photos) == 12
    assert np.abs(encoded - prepared).max() < 0.05


def test_predict_folder_zip_and_file(small_run: Path, cli: Cli) -> None:
    cases = json.loads((small_run / "bundle" / "manifest.json").read_text())["golden"]
    photos = [small_run / "bundle" / "golden" / case["photo"] for case in cases]
    shown = []
    for model in ("bundle", zip_of(small_run).name, "bundle/tflite-int8.tflite"):
        done = cli("predict", small_run / model, *photos, "--raw", "--json")
        shown.append(json.loads(done.out))
    assert shown[0] == shown[1]
    raw = [
        [(best["label"], best["raw_probability"]) for one in every for best in one["predictions"]]
        for every in shown
    ]
    assert raw[0] == raw[2]
    assert not any(one["abstained"] for one in shown[2])
    assert all(0 < one["predictions"][0]["probability"] <= 1 for one in shown[0])
    right = [one["predictions"][0]["label"] == c["keras"] for one, c in zip(shown[0], cases, strict=True)]
    assert sum(right) >= 11


def test_predict_names_bad_photo(small_run: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bad photo.jpg").write_bytes(b"not a photo")
    good = next((small_run / "bundle" / "golden").glob("*.jpg"))
    done = cli("predict", small_run / "bundle", tmp_path / "bad photo.jpg", good)
    assert done.code == 1
    assert "bad photo.jpg" in done.out and "not an image" in done.out and str(good) in done.out


def test_verify_bundle_and_zip(small_run: Path, cli: Cli) -> None:
    for path in ("bundle", zip_of(small_run).name):
        done = cli("verify", small_run / path, "--json")
        report = json.loads(done.out)
        assert done.code == 0
        assert {row["variant"] for row in report["rows"] if row["verdict"] == "passed"} >= {
            "tflite-int8",
            "tflite-fp32",
            "onnx-fp32",
        }


@pytest.mark.parametrize(
    "name", ["tflite-int8.tflite", "labels.txt", "golden/00.jpg", "golden/pixels.npy", "manifest.json"]
)
def test_one_changed_byte_in_bundle(own_run: Path, cli: Cli, name: str) -> None:
    path = own_run / "bundle" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)
    done = cli("verify", own_run / "bundle")
    assert done.code == 4
    assert name.split("/", maxsplit=1)[0] in done.err


def test_run_repeats_byte_for_byte(small_run: Path, tmp_path: Path) -> None:
    """One processor gives what all of them gave; so do two converters at once, or one, whichever did not."""
    from tledge._io import files
    from tledge._process import processors

    environment = {**os.environ, processors.VARIABLE: "2" if processors.usable() == 1 else "1"}
    shutil.copy(small_run.parent.parent / "small.toml", tmp_path)
    code = (
        "import os, sys\n"
        "hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from tledge.cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    for arguments in (["train", "small.toml", "--quiet"], ["export", "--int8", "--quiet"]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "runs" / "small"
    assert files.sha256(run / "golden.npz") == files.sha256(small_run / "golden.npz")
    for path in sorted((small_run / "artifacts").iterdir()):
        if path.suffix != ".json":
            assert files.sha256(run / "artifacts" / path.name) == files.sha256(path), path.name
    assert zip_of(run).name == zip_of(small_run).name
    assert files.sha256(zip_of(run)) == files.sha256(zip_of(small_run))


def train(folder: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    (folder / "small.toml").write_text(TWO_STAGES)
    command = [sys.executable, "-m", "tledge", "train", "small.toml", *SHORT, *extra]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_training_repeats_and_resumes(tmp_path: Path) -> None:
    """The same recipe gives the same bytes, also where the process died within the second stage."""
    from tledge._io import files

    assert train(tmp_path / "one").returncode == 0
    dying = tmp_path / "two"
    code = (
        "import os, sys\n"
        "from tledge.training import checkpoint\n"
        "save = checkpoint.save_checkpoint\n"
        "def last(path, model, state, kept):\n"
        "    save(path, model, state, kept)\n"
        "    (state.stage, state.epoch) == (1, 2) and os._exit(9)\n"
        "checkpoint.save_checkpoint = last\n"
        "from tledge.cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    dying.mkdir()
    (dying / "small.toml").write_text(TWO_STAGES)
    arguments = ["train", "small.toml", *SHORT]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=dying, capture_output=True, check=False
    )
    assert done.returncode == 9 and not (dying / "runs/small/run.json").exists()
    assert train(dying).returncode == 1
    resumed = train(dying, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    for name in ("model.keras", "golden.npz"):
        one, two = (tmp_path / part / "runs/small" / name for part in ("one", "two"))
        assert files.sha256(one) == files.sha256(two), name


def test_finished_run_is_kept(small_run: Path, cli: Cli, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "runs" / "small"))
    before = (run / "model.keras").read_bytes()
    done = cli("train", small_run.parent.parent / "small.toml", "--out", run)
    assert done.code == 1 and "--force" in done.err
    assert cli("train", small_run.parent.parent / "small.toml", "--out", run, "--resume").code == 0
    assert (run / "model.keras").read_bytes() == before


def test_crashing_converter_is_explained(own_run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from tledge._process import processors

    code = "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 11)"
    monkeypatch.setattr("tledge.conversion.worker_client.COMMAND", (sys.executable, "-c", code))
    done = cli("export", own_run, "--force", "--quiet")
    assert done.code == 1
    variant = "tflite-fp32" if processors.usable() > 1 else "saved_model"  # what is converted first
    assert f"{variant}: the converter crashed (SIGSEGV)" in done.err and f"{variant}.log" in done.err


def artifact_states(run: Path) -> list[tuple[str, str, int]]:
    """Name, hash and time of change of every artifact."""
    from tledge._io import files

    paths = sorted(path for path in (run / "artifacts").iterdir() if path.suffix != ".json")
    return [(path.name, files.sha256(path), path.stat().st_mtime_ns) for path in paths]


def test_failed_gate_leaves_int8_out_of_the_bundle(own_run: Path, cli: Cli) -> None:
    """A gate changes no file: the artifacts are kept, and a fresh export gives the same bytes."""
    before = artifact_states(own_run)
    recipe = own_run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("int8_agreement = 0.9", "int8_agreement = 1.0"))
    shutil.rmtree(own_run / "bundle")
    done = cli("export", own_run, "--int8", "--quiet")
    assert done.code == 3 and "tflite-int8: agrees with Keras on" in done.out
    assert "Not in the bundle: tflite-int8 (failed): agrees with Keras on" in done.out
    assert done.out.splitlines()[-1] == f"Next: tledge export {own_run} --repair"
    bundled = json.loads((own_run / "bundle" / "manifest.json").read_text())["artifacts"]
    passed = ["saved_model", "tflite-fp32", "onnx-fp32"]
    assert [artifact["variant"] for artifact in bundled] == passed
    assert not (own_run / "bundle" / "tflite-int8.tflite").exists()
    assert artifact_states(own_run) == before
    shown = json.loads(cli("export", own_run, "--int8", "--force", "--quiet", "--json").out)
    anew = artifact_states(own_run)
    assert [(name, digest) for name, digest, _ in anew] == [(name, digest) for name, digest, _ in before]
    assert all(state != old for state, old in zip(anew, before, strict=True))
    assert shown["bundled"] == passed and shown["left_out"] == ["tflite-int8"]


def test_small_set_is_undecided(own_run: Path, cli: Cli) -> None:
    from tledge.run import golden_set

    whole = golden_set.load(own_run / "golden.npz")
    few = golden_set.Golden(
        whole.images[:15], whole.labels[:15], whole.probabilities[:15], whole.ids[:15], {}
    )
    golden_set.save(own_run / "golden.npz", few)
    done = cli("verify", own_run)
    assert done.code == 6
    assert "needs at least 20 images, there are 15" in done.out and "provisional" in done.out


def test_misspelt_layer_writes_nothing(small_run: Path, cli: Cli, tmp_path: Path) -> None:
    recipe = small_run.parent.parent / "small.toml"
    done = cli("train", recipe, "--out", tmp_path / "new", "--set", "stage.0.unfreeze=block_9", "--quiet")
    assert done.code == 2 and "'block_9' is no layer of the backbone" in done.err
    assert not (tmp_path / "new").exists()


def test_force_spares_other_folders(small_run: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(SMALL)
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    done = cli("train", tmp_path / "recipe.toml", "--out", tmp_path, "--force")
    assert done.code == 1 and "not a run folder, so --force does not empty it" in done.err
    assert (tmp_path / "photo.jpg").read_bytes() == b"precious"


def test_failed_force_keeps_old_run(own_run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from tledge import errors
    from tledge.data import prepare as data_prepare

    def gone(*_rest: object, **_options: object) -> None:
        raise errors.MissingError("photos are gone")

    monkeypatch.setattr(data_prepare, "prepare_dataset", gone)
    done = cli("train", own_run / "recipe.toml", "--out", own_run, "--force")
    assert done.code == 5
    assert (own_run / "run.json").is_file() and (own_run / "bundle").is_dir()


def test_damaged_bundle_does_not_predict(own_run: Path, cli: Cli) -> None:
    path = own_run / "bundle" / "tflite-int8.tflite"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)
    done = cli("predict", own_run / "bundle", own_run / "bundle" / "golden" / "00.jpg")
    assert done.code == 4 and "SHA-256 differs" in done.err


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("/etc/hostname", "path is '/etc/hostname', expected"),
        ("../../run.json", "no path that leads elsewhere"),
        ("gone.tflite", "is not in the bundle"),
    ],
)
def test_manifest_cannot_point_outside(own_run: Path, cli: Cli, where: str, told: str) -> None:
    """A hostile bundle whose sums are consistent and whose manifest names another file."""
    import hashlib

    bundle = own_run / "bundle"
    text = (bundle / "manifest.json").read_text().replace('"tflite-int8.tflite"', json.dumps(where))
    (bundle / "manifest.json").write_text(text)
    lines = (bundle / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256(text.encode()).hexdigest()
    fixed = [f"{digest}  manifest.json" if line.endswith("  manifest.json") else line for line in lines]
    (bundle / "SHA256SUMS").write_text("\n".join(fixed) + "\n")
    done = cli("verify", bundle)
    assert done.code == 4
    assert told in done.out + done.err


def test_turned_photo_answers_as_upright(small_run: Path, cli: Cli, tmp_path: Path) -> None:
    """A phone's JPEG on its side, with the EXIF tag that says so, is the same photo to every runner."""
    from PIL import Image

    from tledge.bundle.reader import open_bundle

    bundle = open_bundle(small_run / "bundle")
    upright = Image.fromarray(bundle.golden()["pixels"][0])
    upright.save(tmp_path / "upright.png")
    tags = Image.Exif()
    tags[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=tags)
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "tag lost.png")
    paths = [tmp_path / name for name in ("upright.png", "turned.png", "tag lost.png")]
    done = cli("predict", small_run / "bundle", *paths, "--json")
    first, second, third = (one["predictions"] for one in json.loads(done.out))
    assert first == second != third


def test_other_photos_are_not_gone_on_with(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was begun on other photos: its drawn views would get the labels of these."""
    from tests.helpers.fake_data import photos
    from tledge.training import callbacks

    monkeypatch.chdir(tmp_path)
    folder = photos(tmp_path / "photos", {"train": 40, "test": 12}, ("cat", "dog"))
    text = SMALL.replace('source = "drawn"', f'source = "folder:{folder}"')
    for line in ("train = 900\n", "test = 300\n", "size = 64\n"):
        text = text.replace(line, "", 1)
    (tmp_path / "small.toml").write_text(text)
    with monkeypatch.context() as broken:
        broken.setattr(callbacks, "update_best_epoch", None)  # ends the run after its first epoch
        with pytest.raises(TypeError):
            cli("train", "small.toml", "--quiet")
    (folder / "train" / "cat" / "0000.jpg").unlink()
    done = cli("train", "small.toml", "--resume", "--quiet")
    assert done.code == 1 and "the photos differ from those that this run was started with" in done.err
    assert cli("train", "small.toml", "--force", "--quiet", "--set", "stage.0.epochs=1").code == 0
