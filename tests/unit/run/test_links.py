"""Links, pipes and paths in a run that would lead commands out of it: refused by name, nothing is changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.helpers.run_records import fill
from tledge._io import files
from tledge.bundle import build, reader
from tledge.errors import ArtifactError, RunError
from tledge.inference.predictor import open_predictor
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder


@pytest.fixture
def run(shared_report_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_report_run, tmp_path / "runs" / "tiny"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of the user, with what a sweep would move."""
    files = {".x.tledge-0123/old": b"", ".x.tledge-0123/x": b"moved", "id_ed25519": b"secret"}
    return fill(tmp_path / "own", files)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


MEMBERS = ("artifacts", "logs", "evidence", "golden", "checkpoints", "tensorboard", "bundle", ".x.tledge-01")


@pytest.mark.parametrize("member", MEMBERS)
def test_folder_behind_link_is_left_alone(member: str, tmp_path: Path, own: Path) -> None:
    folder = RunFolder(fill(tmp_path / "run", {"recipe.toml": b""}))
    (folder.path / member).symlink_to(own)
    before = names(own)
    with pytest.raises(RunError, match=f"run/{member}: is a symbolic link to {own}.*rm "), folder.alone():
        pass
    assert names(own) == before and not (folder.path / ".lock").exists()


@pytest.mark.parametrize("member", ["run.json", "logs/tflite-int8.log", "evidence/x/y"])
def test_anything_but_files_is_refused(member: str, tmp_path: Path) -> None:
    path = fill(tmp_path, {"recipe.toml": b"", member: b""}) / member
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RunError, match=f"{member}: is a pipe"):
        RunFolder(tmp_path).read_run()
    with pytest.raises(RunError, match=f"{member}: is a pipe"), RunFolder(tmp_path).alone():
        pass


@pytest.mark.parametrize("read", ["read_run", "read_artifacts", "read_parity", "read_golden"])
def test_no_record_is_read_through_link(read: str, run: Path, own: Path) -> None:
    shutil.move(run / "artifacts", own / "artifacts")
    (run / "artifacts").symlink_to(own / "artifacts")
    with pytest.raises(RunError, match="tiny/artifacts: is a symbolic link"):
        getattr(RunFolder(run), read)()


def test_users_own_links_are_not_looked_at(tmp_path: Path, own: Path) -> None:
    """Virtual environments and packages of device projects are full of links."""
    folder = RunFolder(fill(tmp_path / "run", {"recipe.toml": b"", "raspberry_pi/README.md": b""}))
    for name in ("raspberry_pi/python", "notes", "feedback"):
        (folder.path / name).symlink_to(own)
    with folder.alone():
        pass
    assert (folder.path / "raspberry_pi" / "python").is_symlink()


def test_run_behind_link_is_a_run(run: Path, tmp_path: Path) -> None:
    (tmp_path / "short").symlink_to(run)
    folder = RunFolder(tmp_path / "short")
    with folder.alone():
        assert folder.read_run().name and run_folder.is_run(folder.path)
    assert build.bundle(folder).zip.is_file()


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "artifacts/../../x", "a\0b", "a\nb", "c:/x"])
def test_record_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="which is no file of this run"):
        RunFolder(tmp_path).member(name)


def test_record_through_link_is_refused(tmp_path: Path, own: Path) -> None:
    (tmp_path / "evidence").symlink_to(own)
    with pytest.raises(RunError, match="evidence: is a symbolic link"):
        RunFolder(tmp_path).member("evidence/id_ed25519")
    assert RunFolder(own).member("id_ed25519").read_bytes() == b"secret"


def test_hash_follows_no_link(tmp_path: Path, own: Path) -> None:
    (tmp_path / "model.tflite").symlink_to(own / "id_ed25519")
    with pytest.raises(RunError, match="is a symbolic link"):
        RunFolder(tmp_path).sha256(tmp_path / "model.tflite")
    assert files.sha256(tmp_path / "model.tflite") == files.sha256(own / "id_ed25519")  # named by a user


# What is shipped


def test_photo_behind_link_is_not_bundled(run: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it becomes a link after the run was looked at."""
    photo = next((run / "golden").glob("0*.*"))
    shutil.move(photo, own / photo.name)
    photo.symlink_to(own / photo.name)
    with pytest.raises(RunError, match=f"golden/{photo.name}: is a symbolic link"):
        build.bundle(RunFolder(run))
    monkeypatch.setattr(RunFolder, "require_plain", lambda self: None)
    with pytest.raises(RunError, match=f"golden/{photo.name}: is a symbolic link"):
        build.bundle(RunFolder(run))
    assert not list(run.glob("*.zip")) or not (run / "bundle" / "golden" / photo.name).is_symlink()


def test_finished_bundle_is_verified_before_it_is_signed(
    run: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes into the folder after its files were hashed ends the command; nothing is signed."""
    shutil.rmtree(run / "bundle", ignore_errors=True)
    real = build._require_verified

    def late(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        unfinished = next(path for path in run.rglob("manifest.json") if ".tledge-" in str(path))
        if not (unfinished.parent / "late").is_symlink():
            (unfinished.parent / "late").symlink_to(own / "id_ed25519")

    monkeypatch.setattr(build, "_require_verified", late)
    with pytest.raises(ArtifactError, match="late: is a symbolic link"):
        build.bundle(RunFolder(run))
    assert not (run / "bundle").exists()


def test_zip_is_verified_as_well(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(run / "bundle", ignore_errors=True)
    real = build.io_files.canonical_zip

    def other_labels(source: Path, target: Path) -> None:
        real(source, target, lambda name, data: b"other" if name == "labels.txt" else data)

    monkeypatch.setattr(build.io_files, "canonical_zip", other_labels)
    with pytest.raises(ArtifactError, match=r"labels\.txt was changed"):
        build.bundle(RunFolder(run))
    assert not (run / "bundle").exists()


def test_zip_of_a_name_that_leads_out_is_not_written(run: Path) -> None:
    text = (run / "run.json").read_text().replace('"name": "', '"name": "../../', 1)
    (run / "run.json").write_text(text)
    with pytest.raises(RunError, match="cannot be the name of a zip"):
        build.bundle(RunFolder(run))


def test_bundle_of_run_behind_link_is_not_opened(bundle: Path, tmp_path: Path) -> None:
    run = fill(tmp_path / "run", {"run.json": b"{}"})
    (run / "bundle").symlink_to(bundle)
    with pytest.raises(RunError, match="run/bundle: is a symbolic link"):
        open_predictor(run)


def test_only_what_was_summed_is_read(bundle: Path) -> None:
    """A file that comes later is not named, and the sums are those that were read."""
    opened = reader.open_bundle(bundle)
    sums = opened.files.read("SHA256SUMS")
    summed = reader.SummedFiles(bundle, opened.files, sums, b"signature")
    (bundle / "golden" / "more.npy").touch()
    (bundle / "SHA256SUMS").write_text("other")
    assert "golden/more.npy" not in summed.names()
    assert summed.read("SHA256SUMS") == sums and summed.read("SHA256SUMS.sig") == b"signature"
    with pytest.raises(ArtifactError, match=r"golden/more\.npy is not in SHA256SUMS"):
        summed.read("golden/more.npy")
