"""The judging of changed bundles in torture/ notices what is accepted, or refused in other words."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.helpers import fake_device_bundle
from tledge._io import files as io_files
from tledge.bundle import reader, signing
from torture.support import signing_keys
from torture.workers import signed_bundle_opener as worker

pytest.importorskip("cryptography")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside each other: a signed bundle `bundle`, the same as `bundle.zip`, and the public key `own.pub`."""
    folder = tmp_path_factory.mktemp("signed")
    private, _public = signing_keys.write_keys(folder, "own")
    bundle = fake_device_bundle.make(folder / "bundle")
    signer = signing.signer(private)
    (bundle / signing.NAME).write_text(signer.sign((bundle / "SHA256SUMS").read_bytes()))
    io_files.canonical_zip(bundle, folder / "bundle.zip")
    return folder


def attempt(signed: Path, form: str, count: int = 120) -> tuple[int, list[str]]:
    source = signed / ("bundle" if form == "folder" else "bundle.zip")
    key = signing.public_key(signed / "own.pub")
    function = worker.try_folder if form == "folder" else worker.try_zip
    kinds, wrong = function(source, key, count, random.Random(1))
    return sum(kinds.values()), wrong


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_every_change_is_refused(signed: Path, form: str) -> None:
    before = io_files.sha256(signed / "bundle")
    assert attempt(signed, form) == (120, [])
    assert io_files.sha256(signed / "bundle") == before


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_accepted_change_is_noticed(signed: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were files not held to their sums, or sums not to the signature."""
    monkeypatch.setattr(reader.SummedFiles, "check", lambda files: None)
    monkeypatch.setattr(reader.SummedFiles, "read", lambda files, name: files._files.read(name))
    assert any("ACCEPTED" in one for one in attempt(signed, form)[1])
    monkeypatch.undo()
    monkeypatch.setattr(signing.PublicKey, "check", lambda *_arguments: None)
    assert any("sums made anew" in one for one in attempt(signed, form)[1])


def test_other_words_and_other_errors_are_noticed(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "expected_words", lambda name: ("quite another sentence",))
    assert any("a bit flipped" in one for one in attempt(signed, "folder")[1])
    monkeypatch.undo()

    def crash(*_arguments: object) -> None:
        raise KeyError("labels")

    monkeypatch.setattr(signing.PublicKey, "check", crash)
    key, change = signing.public_key(signed / "own.pub"), worker.Change("none", {}, ("",))
    assert "KeyError" in worker.opening_fault(signed / "bundle", key, change, {})


def test_each_file_is_changed(signed: Path) -> None:
    content = {str(number): bytes(9) for number in range(50)}
    met = {name for change in worker.changes(content, 50, random.Random(2)) for name in change.files}
    assert met == set(content)
