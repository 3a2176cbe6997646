"""Signed bundles: every file is held to the signature, and a wrong key or file is named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pages
import pytest

from tests.helpers import fake_device_bundle
from tests.helpers.command_line import Cli
from tests.helpers.paths import ROOT
from tledge._io import files
from tledge.bundle import build as stage
from tledge.bundle import reader, signing
from tledge.devices import projects
from tledge.errors import ArtifactError, MissingError, RecipeError
from tledge.inference import predictor
from tledge.progress import Silent
from tledge.run.folder import RunFolder
from tledge.verification.verify import verify_bundle

pytest.importorskip("cryptography")
pytest.importorskip("jinja2")
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the key pairs `own` and `other`, and a protected private key `locked.pem`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        write_pair(folder, name)
    write_pair(folder, "locked", b"secret")
    return folder


def write_pair(folder: Path, name: str, password: bytes | None = None) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    lock = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pem").write_bytes(private)
    (folder / f"{name}.pem").chmod(0o600)
    (folder / f"{name}.pub").write_bytes(public)


def sign(bundle: Path, key: Path) -> Path:
    """Sign a bundle folder as `tledge bundle --sign` does."""
    sums = (bundle / "SHA256SUMS").read_bytes()
    (bundle / signing.NAME).write_text(signing.signer(key).sign(sums))
    return bundle


@pytest.fixture(scope="module")
def signed(shared_bundle: Path, tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    """A signed bundle; do not change it."""
    own = tmp_path_factory.mktemp("signed") / "bundle"
    return sign(Path(shutil.copytree(shared_bundle, own)), keys / "own.pem")


@pytest.fixture
def own(signed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed, tmp_path / "bundle"))


def check(bundle: Path, keys: Path, name: str = "own") -> reader.Bundle:
    return reader.open_bundle(bundle, signing.public_key(keys / f"{name}.pub"))


# What is signed


@pytest.fixture(scope="module")
def run(shared_report_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(shared_report_run, tmp_path_factory.mktemp("run") / "tiny"))


def test_run_is_bundled_and_signed_alike(run: Path, keys: Path) -> None:
    signer = signing.signer(keys / "own.pem")
    first = stage.bundle(RunFolder(run), sign=signer)
    again = stage.bundle(RunFolder(run), sign=signer)
    assert first.sha256 == again.sha256 and first.signed_by == signer.fingerprint
    for path in (again.folder, again.zip):
        opened = check(path, keys)
        assert opened.checked == signer.fingerprint
        assert opened.signature_description == f"Signed by {signer.fingerprint}, and unchanged since."
    assert "tledge verify . --key PUBLIC.pem" in (again.folder / "README.md").read_text()


class Lines(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def test_unsigned_bundle_bears_no_signature(run: Path, keys: Path) -> None:
    signed = stage.bundle(RunFolder(run), sign=signing.signer(keys / "own.pem"))
    progress = Lines()
    plain = stage.bundle(RunFolder(run), progress=progress)
    assert progress.said == ["warning: the previous bundle was signed, and this one is not; see --sign."]
    assert plain.signed_by == "" and plain.sha256 != signed.sha256
    assert not (plain.folder / signing.NAME).exists()
    assert reader.open_bundle(plain.folder).signature_description == ""


def test_private_key_stays_outside(run: Path, keys: Path) -> None:
    made = stage.bundle(RunFolder(run), sign=signing.signer(keys / "own.pem"))
    secret = (keys / "own.pem").read_text().splitlines()[1]
    held = b"".join(path.read_bytes() for path in made.folder.rglob("*") if path.is_file())
    assert secret.encode() not in held and b"PRIVATE KEY" not in held
    assert secret not in repr(signing.signer(keys / "own.pem"))


@pytest.fixture
def openssl() -> None:
    if not shutil.which("openssl"):
        pytest.skip("no openssl here")


PAGE = pages.blocks(ROOT / "docs" / "howto" / "sign.md")


def shell(lines: list[str], folder: Path) -> int:
    """Exit code of commands of the page, the first that fails ends them."""
    command = ["bash", "-ec", "\n".join(lines)]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode


@pytest.mark.usefixtures("openssl")
def test_page_checks_without_tledge(own: Path, keys: Path) -> None:
    (lines,) = (block.commands for block in PAGE if "sha256sum --check SHA256SUMS" in block.commands)
    shutil.copyfile(keys / "own.pub", own / "public.pem")
    assert shell(lines, own) == 0
    fake_device_bundle.change_byte(own / "labels.txt")
    assert shell(lines, own) != 0
    for name in ("raw", "public.pem", signing.NAME):
        (own / name).rename(own.parent / name)
    fake_device_bundle.write_sums(own)
    for name in ("raw", "public.pem", signing.NAME):
        (own.parent / name).rename(own / name)
    assert shell(lines[2:], own) == 0 and shell(lines, own) != 0  # sums made anew fit, and are not signed


@pytest.mark.usefixtures("openssl")
def test_keys_of_the_page_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lines,) = (block.commands for block in PAGE if "tledge export RUN --sign private.pem" in block.commands)
    assert shell([line for line in lines if line.startswith("openssl")], tmp_path) == 0
    fits(tmp_path)
    (code,) = (block.text for block in PAGE if block.language == "python")
    folder = tmp_path / "python"
    folder.mkdir()
    monkeypatch.chdir(folder)
    subprocess.run([sys.executable, "-c", code], check=True)
    fits(folder)


def fits(folder: Path) -> None:
    """The private key signs what the public one accepts."""
    signer = signing.signer(folder / "private.pem")
    public = signing.public_key(folder / "public.pem")
    public.check(b"sums", signer.sign(b"sums").encode(), "here")


@pytest.mark.usefixtures("openssl")
def test_fingerprint_is_that_of_openssl(keys: Path) -> None:
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", keys / "own.pub", "-outform", "DER"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    wanted = f"sha256:{hashlib.sha256(der).hexdigest()}"
    assert signing.public_key(keys / "own.pub").fingerprint == wanted
    assert signing.signer(keys / "own.pem").fingerprint == wanted


# What is refused


def rename(bundle: Path) -> None:
    (bundle / "labels.txt").rename(bundle / "Labels.txt")


def sums_anew(bundle: Path) -> None:
    (bundle / "labels.txt").write_text("red\nblue\ngreen\n")
    fake_device_bundle.write_sums(bundle)


def of_other(bundle: Path) -> None:
    """The same signer's signature of another bundle."""
    signer = signing.signer(bundle.parent / "keys" / "own.pem")
    (bundle / signing.NAME).write_text(signer.sign(b"other sums"))


def edit_signature(change: Callable[[str], str]) -> Damage:
    def edit(bundle: Path) -> None:
        path = bundle / signing.NAME
        before = path.read_text()
        path.write_text(change(before))
        assert path.read_text() != before

    return edit


FAULTS: dict[str, tuple[Damage, str]] = {
    "a byte of the model": (
        lambda b: fake_device_bundle.change_byte(b / "tflite-int8.tflite"),
        "tflite-int8.tflite was changed",
    ),
    "a byte of the manifest": (
        lambda b: fake_device_bundle.change_byte(b / "manifest.json"),
        "manifest.json was changed",
    ),
    "a byte of a photo": (
        lambda b: fake_device_bundle.change_byte(b / "golden" / "00.png"),
        "golden/00.png was changed",
    ),
    "a file more": (lambda b: (b / "golden" / "more.png").touch(), "differ: golden/more.png"),
    "a link more": (lambda b: (b / "more").symlink_to("gone"), "bundle/more: is a symbolic link to gone"),
    "a linked folder more": (lambda b: (b / "more").symlink_to(b.parent), "bundle/more: is a symbolic link"),
    "a queue more": (lambda b: os.mkfifo(b / "more"), "bundle/more: is a pipe"),
    "a file less": (lambda b: (b / "README.md").unlink(), "differ: README.md"),
    "a file renamed": (rename, "differ: Labels.txt, labels.txt"),
    "sums made anew": (sums_anew, "does not match SHA256SUMS"),
    "another bundle's signature": (of_other, "does not match SHA256SUMS"),
    "no signature": (lambda b: (b / signing.NAME).unlink(), "not signed, SHA256SUMS.sig is missing"),
    "an empty signature": (edit_signature(lambda text: ""), "SHA256SUMS.sig is damaged"),
    "half a signature": (edit_signature(lambda text: text[: len(text) // 2]), "SHA256SUMS.sig is damaged"),
    "a shorter signature": (edit_signature(lambda text: text.replace('"\n}', '=="\n}')), "SHA256SUMS.sig"),
    "a space more": (edit_signature(lambda text: text + " "), "SHA256SUMS.sig was changed"),
    "a later format": (edit_signature(lambda text: text.replace(": 1,", ": 2,")), "has format 2"),
    "no object": (edit_signature(lambda text: "[1]"), "SHA256SUMS.sig is damaged"),
    "deep nesting": (edit_signature(lambda text: "[" * 40000), "SHA256SUMS.sig is damaged"),
    "a forged name": (
        edit_signature(lambda text: text.replace("sha256:", "\\u001b[2J:")),
        "SHA256SUMS.sig was changed",
    ),
    "no sums": (lambda b: (b / "SHA256SUMS").unlink(), "no file SHA256SUMS"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_changed_bundle_is_refused(own: Path, keys: Path, fault: str) -> None:
    damage, message = FAULTS[fault]
    check(own, keys)
    (own.parent / "keys").symlink_to(keys)
    damage(own)
    with pytest.raises(ArtifactError, match=message):
        check(own, keys)


def test_other_key_is_refused(signed: Path, keys: Path) -> None:
    with pytest.raises(ArtifactError, match=r"signed with another key, sha256:\w{64}; --key is sha"):
        check(signed, keys, "other")


def test_key_swapped_with_the_name_kept(own: Path, keys: Path) -> None:
    """A stranger's signature under the signer's fingerprint."""
    forged = signing.signer(keys / "other.pem").sign((own / "SHA256SUMS").read_bytes())
    named = signing.public_key(keys / "own.pub").fingerprint
    theirs = signing.public_key(keys / "other.pub").fingerprint
    (own / signing.NAME).write_text(forged.replace(theirs, named))
    with pytest.raises(ArtifactError, match="does not match SHA256SUMS"):
        check(own, keys)


def test_doubled_member_is_refused(signed: Path, keys: Path, tmp_path: Path) -> None:
    """Two files of one name, of which programs read one or the other."""
    path = tmp_path / "b.zip"
    files.canonical_zip(signed, path)
    check(path, keys)
    with zipfile.ZipFile(path, "a") as packed, pytest.warns(UserWarning, match="Duplicate"):
        packed.writestr("labels.txt", (signed / "labels.txt").read_bytes())
    with pytest.raises(ArtifactError, match=r"labels\.txt"):
        check(path, keys)


def test_zip_of_another_time_is_named(signed: Path, keys: Path, tmp_path: Path) -> None:
    """One bit in the list of entries asks for version 8.4 of the format, which Python does not read."""
    path = tmp_path / "b.zip"
    files.canonical_zip(signed, path)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] ^= 64
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="not a zip file"):
        check(path, keys)


def test_file_changed_after_the_check_is_refused(own: Path, keys: Path) -> None:
    opened = check(own, keys)
    fake_device_bundle.change_byte(own / "tflite-int8.tflite")
    with pytest.raises(ArtifactError, match=r"tflite-int8\.tflite was changed"):
        opened.files.read("tflite-int8.tflite")


@pytest.mark.parametrize("use", [verify_bundle, predictor.open_predictor])
def test_stages_refuse_it(own: Path, keys: Path, use: Callable[..., object]) -> None:
    key = signing.public_key(keys / "own.pub")
    use(own, key=key)
    fake_device_bundle.change_byte(own / "README.md")
    with pytest.raises(ArtifactError, match=r"README\.md was changed"):
        use(own, key=key)


def test_device_project_keeps_the_signature(signed: Path, keys: Path, tmp_path: Path) -> None:
    for name in projects.TARGETS:
        out = projects.fill(name, signed, tmp_path / name, signing.public_key(keys / "own.pub")).folder
        assert check(out / "bundle", keys).checked
    fake_device_bundle.change_byte(out / "bundle" / "labels.txt")
    with pytest.raises(ArtifactError, match=r"labels\.txt was changed"):
        check(out / "bundle", keys)


def test_device_runs_a_signed_bundle(signed: Path, tmp_path: Path) -> None:
    """Its self-test reads SHA256SUMS, which does not name the signature."""
    out = projects.fill("raspberry_pi", signed, tmp_path / "pi").folder
    done = subprocess.run(
        [sys.executable, "classify.py", "--self-test"], cwd=out, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "self-test passed" in done.stdout, done.stdout + done.stderr


def test_run_becomes_a_signed_project(cli: Cli, run: Path, keys: Path, tmp_path: Path) -> None:
    own, out = Path(shutil.copytree(run, tmp_path / "tiny")), tmp_path / "pi"
    done = cli("bundle", own, "--sign", keys / "own.pem", "--target", "raspberry_pi", "--out", out)
    assert done.code == 0 and check(out / "bundle", keys).checked


def test_changed_bundle_becomes_no_project(own: Path, keys: Path, tmp_path: Path) -> None:
    sums_anew(own)
    with pytest.raises(ArtifactError, match="does not match"):
        projects.fill("cpp", own, tmp_path / "out", signing.public_key(keys / "own.pub"))
    assert not (tmp_path / "out").exists()


# Keys


def test_protected_key_takes_its_password(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(signing.PASSWORD, raising=False)
    with pytest.raises(RecipeError, match=r"protected by a password\. Put it into TLEDGE_KEY_PASSWORD"):
        signing.signer(keys / "locked.pem")
    monkeypatch.setenv(signing.PASSWORD, "wrong")
    with pytest.raises(RecipeError, match="password in TLEDGE_KEY_PASSWORD may be wrong"):
        signing.signer(keys / "locked.pem")
    monkeypatch.setenv(signing.PASSWORD, "secret")
    wanted = signing.public_key(keys / "locked.pub").fingerprint
    assert signing.signer(keys / "locked.pem").fingerprint == wanted
    assert signing.signer(keys / "own.pem").fingerprint != wanted  # a password that is not needed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no key can be read"),
        (b"", "not a key in PEM form"),
        (bytes(1 << 17), "not a key in PEM form"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a p"),
    ],
)
@pytest.mark.parametrize("take", [signing.signer, signing.public_key])
def test_no_key_is_named(
    tmp_path: Path, take: Callable[[Path], object], content: bytes | None, message: str
) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=rf"key\.pem: .*{message}"):
        take(path)


def test_wrong_kind_of_key_is_named(tmp_path: Path, keys: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "ec.pem"
    path.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    with pytest.raises(RecipeError, match=r"of another type\. Expected Ed25519: openssl genpkey"):
        signing.signer(path)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    path.write_bytes(public)
    with pytest.raises(RecipeError, match="Expected Ed25519"):
        signing.public_key(path)
    with pytest.raises(RecipeError, match=r"openssl pkey -in .*own\.pem -pubout"):
        signing.public_key(keys / "own.pem")
    with pytest.raises(RecipeError, match="not a private key"):
        signing.signer(keys / "own.pub")


def test_readable_private_key_is_remarked(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    shutil.copyfile(keys / "own.pem", path)
    path.chmod(0o644)
    assert "others on this machine may read this private key" in signing.signer(path).remarks[0]
    path.chmod(0o600)
    assert signing.signer(path).remarks == ()


def test_missing_package_names_the_extra(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "NEEDS", signing.Needs(("no_such_module",), signing.install_command("sign")))
    for take, name in ((signing.signer, "own.pem"), (signing.public_key, "own.pub")):
        with pytest.raises(MissingError, match=r"pip install 'tledge\[sign\]'"):
            take(keys / name)


# The command line


def test_verify_says_who_signed(cli: Cli, signed: Path, keys: Path) -> None:
    named = signing.public_key(keys / "own.pub").fingerprint
    done = cli("verify", signed, "--key", keys / "own.pub", "--quiet")
    assert f"Signed by {named}, and unchanged since." in done.out  # the models are toys, and fail for that
    done = cli("verify", signed, "--quiet")
    assert f"Signature by {named}, not verified: pass the public key with --key." in done.out
    found = json.loads(cli("verify", signed, "--json", "--key", keys / "own.pub").out)
    assert (found["signed_by"], found["signature_checked"]) == (named, True)
    assert json.loads(cli("verify", signed, "--json").out)["signature_checked"] is False


def test_damaged_signature_is_no_silence(cli: Cli, own: Path) -> None:
    (own / signing.NAME).write_text("{}")
    for done in (cli("verify", own), cli("predict", own, own / "golden" / "00.png")):
        assert done.code == 4 and "SHA256SUMS.sig is damaged" in done.err


def test_commands_end_with_4(cli: Cli, own: Path, keys: Path, tmp_path: Path) -> None:
    sums_anew(own)
    key = ("--key", keys / "own.pub")
    photo = own / "golden" / "00.png"
    for line in (
        ("verify", own),
        ("predict", own, photo),
        ("preview", own, "--no-browser"),
        ("bundle", own, "--target", "cpp", "--out", tmp_path / "cpp"),
    ):
        done = cli(*line, *key)
        assert done.code == 4 and "does not match SHA256SUMS" in done.err, line
    assert not (tmp_path / "cpp").exists()


def test_predict_remarks_what_was_not_checked(cli: Cli, signed: Path, keys: Path) -> None:
    photo = signed / "golden" / "00.png"
    assert "not verified" in cli("predict", signed, photo).err
    assert "and unchanged since" in cli("predict", signed, photo, "--key", keys / "own.pub").err


def test_key_without_a_bundle_is_refused(cli: Cli, signed: Path, keys: Path, run: Path) -> None:
    key = ("--key", keys / "own.pub")
    for line in (
        ("verify", run),
        ("verify", signed, "--skew"),
        ("predict", signed / "tflite-int8.tflite", signed / "golden" / "00.png"),
        ("bundle", run),
        ("bundle", signed, "--target", "cpp", "--sign", keys / "own.pem"),
    ):
        done = cli(*line, *(key if "--sign" not in line else ()))
        assert done.code == 2, line


def test_key_for_a_run_names_the_command_for_its_bundle(cli: Cli, keys: Path, run: Path) -> None:
    key = ("--key", keys / "own.pub")
    assert f"tledge verify {run}/bundle --key {keys}/own.pub" in cli("verify", run, *key).err
    line = f"tledge bundle {run}/bundle --key {keys}/own.pub --target web"
    assert line in cli("bundle", run, "--target", "web", *key).err


def test_run_under_a_key_is_its_signed_bundle_alone(
    run: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tledge.cli import preview
    from tledge.preview import panel

    own = Path(shutil.copytree(run, tmp_path / "tiny"))
    stage.bundle(RunFolder(own), sign=signing.signer(keys / "own.pem"))
    key = signing.public_key(keys / "own.pub")
    monkeypatch.setattr(panel, "Panel", lambda _folder: pytest.fail("the run's other models were opened"))
    site = preview._site(own, None, key)
    assert site.panel is None and site.bundle.checked == key.fingerprint
    assert site.feedback == own / "feedback"


def test_run_is_signed_from_the_command_line(cli: Cli, run: Path, keys: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "tiny"))
    done = cli("bundle", own, "--sign", keys / "own.pem", "--quiet")
    named = signing.public_key(keys / "own.pub").fingerprint
    assert done.code == 0 and f"Signed: {named}" in done.out
    assert check(own / "bundle", keys).checked == named
    before = files.sha256(own / "bundle")
    assert cli("bundle", own, "--sign", keys / "none.pem").code == 2
    assert files.sha256(own / "bundle") == before


def test_api_signs_and_checks(signed: Path, own: Path, keys: Path) -> None:
    import tledge

    assert tledge.load(signed, key=keys / "own.pub").labels
    assert tledge.verify(signed, key=keys / "own.pub").rows
    sums_anew(own)
    with pytest.raises(ArtifactError, match="does not match"):
        tledge.verify(own, key=keys / "own.pub")
    with pytest.raises(RecipeError, match="this is no bundle"):
        tledge.verify(own / "golden", key=keys / "own.pub")
