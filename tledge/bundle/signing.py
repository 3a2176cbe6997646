"""Signed bundles: an Ed25519 signature of SHA256SUMS, which names every other file by its hash.

`SHA256SUMS.sig` is JSON of a version, the key's fingerprint and the signature. For one key and one
SHA256SUMS there is exactly one right text, so that no byte of it can be changed unnoticed either.
That an older bundle of the same signer took a newer one's place, no signature shows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._process.optional_imports import Needs, install_command
from tledge.errors import ArtifactError, MissingError, RecipeError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NAME = "SHA256SUMS.sig"
SIGNED = "SHA256SUMS"
"""The file whose bytes are signed."""

FORMAT, LENGTH = 1, 64
"""Version of the signature file; bytes of an Ed25519 signature."""

PASSWORD = "TLEDGE_KEY_PASSWORD"
"""Environment variable that holds the password of a protected private key."""

NEEDS = Needs(("cryptography",), install_command("sign"))
LONGEST = 1 << 16
"""Bytes of a key or signature file; both are far shorter."""


@dataclass(frozen=True)
class Signer:
    """A private key to sign with; `remarks` are what its owner should know of its file."""

    key: Ed25519PrivateKey = field(repr=False)
    fingerprint: str
    remarks: tuple[str, ...] = ()

    def sign(self, sums: bytes) -> str:
        """The text of `SHA256SUMS.sig` for the bytes of SHA256SUMS; the same each time."""
        return _text(self.fingerprint, self.key.sign(sums))


@dataclass(frozen=True)
class PublicKey:
    """A public key to check with; its fingerprint is `sha256:` and the SHA-256 of its DER form."""

    key: Ed25519PublicKey = field(repr=False)
    fingerprint: str

    def check(self, sums: bytes, text: bytes, where: str) -> None:
        """Raise ArtifactError unless `text` is what the owner of the key signed `sums` with."""
        from cryptography.exceptions import InvalidSignature

        signed_by, signature = read(text, where)
        if signed_by != self.fingerprint:
            raise ArtifactError(
                f"{where}: signed with another key, {signed_by}; the key given is {self.fingerprint}."
            )
        try:
            self.key.verify(signature, sums)
        except InvalidSignature:
            raise ArtifactError(
                f"{where}: the signature does not fit {SIGNED}: one of the two was changed, or belongs to "
                "another bundle. Get the bundle again from who signed it."
            ) from None


def signer(path: Path) -> Signer:
    """The Ed25519 private key in a PEM file (PKCS8), its password in TLEDGE_KEY_PASSWORD if it has one.

    Raises RecipeError where there is none or its password is missing or wrong, MissingError without
    the cryptography package.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = _private(path, _pem(path))
    if not isinstance(key, Ed25519PrivateKey):
        raise RecipeError(f"{path}: a private key of another kind. Expected Ed25519: {_HOW}")
    return Signer(key, _fingerprint(key.public_key()), _permissions(path))


def public_key(path: Path) -> PublicKey:
    """The Ed25519 public key in a PEM file; raises RecipeError and MissingError as `signer` does."""
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _pem(path)
    if b"PRIVATE KEY-----" in data:
        raise RecipeError(
            f"{path}: a private key, which stays with who signs. Its public one: "
            f"openssl pkey -in {path} -pubout -out public.pem"
        )
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RecipeError(f"{path}: not a public key in PEM form ({error}).") from error
    if not isinstance(key, Ed25519PublicKey):
        raise RecipeError(f"{path}: a public key of another kind; bundles are signed with Ed25519.")
    return PublicKey(key, _fingerprint(key))


def read(text: bytes, where: str) -> tuple[str, bytes]:
    """Fingerprint and signature in the text of `SHA256SUMS.sig`, which nobody has checked by that.

    Raises ArtifactError where it is not, byte for byte, what a tledge writes.
    """
    try:
        raw = json.loads(text[: LONGEST + 1])
        version, fingerprint = raw["format"], str(raw["key"])
        signature = base64.b64decode(raw["signature"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{where}: {NAME} is damaged, or no signature of tledge ({error!r}).") from error
    if version != FORMAT:
        raise ArtifactError(f"{where}: {NAME} has format {version!r}, this tledge reads {FORMAT}.")
    is_key = re.fullmatch(r"sha256:[0-9a-f]{64}", fingerprint, re.ASCII)
    if not is_key or len(signature) != LENGTH or _text(fingerprint, signature).encode() != text:
        raise ArtifactError(f"{where}: {NAME} was changed: it is not as tledge writes it.")
    return fingerprint, signature


_HOW = "openssl genpkey -algorithm ed25519 -out private.pem"


def _text(fingerprint: str, signature: bytes) -> str:
    facts = {"format": FORMAT, "key": fingerprint, "signature": base64.b64encode(signature).decode("ascii")}
    return json.dumps(facts, indent=2) + "\n"


def _require_cryptography() -> None:
    if NEEDS.absent():
        raise MissingError(f"Signatures need the package cryptography. Install it with: {NEEDS.command}")


def _pem(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
    except OSError as error:
        raise RecipeError(f"{path}: no key can be read there ({error.strerror}).") from error
    if len(data) > LONGEST or b"-----BEGIN " not in data:
        raise RecipeError(f"{path}: not a key in PEM form. Make a private one with: {_HOW}")
    return data


def _private(path: Path, data: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if b"PRIVATE KEY-----" not in data:
        raise RecipeError(f"{path}: not a private key; signing takes one. Make it with: {_HOW}")
    password = os.environ.get(PASSWORD, "").encode() or None
    try:
        return load_pem_private_key(data, password if b"ENCRYPTED" in data else None)
    except TypeError as error:
        raise RecipeError(f"{path}: protected by a password. Put it into {PASSWORD}.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        why = f"The password in {PASSWORD} may be wrong" if password and b"ENCRYPTED" in data else "Damaged"
        raise RecipeError(f"{path}: the private key cannot be read. {why} ({error}).") from error


def _fingerprint(key: Ed25519PublicKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def _permissions(path: Path) -> tuple[str, ...]:
    if os.name != "posix" or not path.stat().st_mode & 0o077:
        return ()
    return (f"{path}: others on this machine may read this private key. Keep it yours: chmod 600 {path}",)
