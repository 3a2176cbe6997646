"""Sign bundles: an Ed25519 signature of SHA256SUMS, which lists the hash of every other file.

`SHA256SUMS.sig` is JSON of a version, the key's fingerprint and the signature. For one key and one
SHA256SUMS exactly one text is valid, so that every changed byte is detected. A signature does not show
that a bundle was replaced by an older one of the same signer.
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
MAX_FILE_BYTES = 1 << 16
"""Largest key or signature file that is read; both are far smaller."""


@dataclass(frozen=True)
class Signer:
    """A private key to sign with; `remarks` are warnings about its file for the owner."""

    key: Ed25519PrivateKey = field(repr=False)
    fingerprint: str
    remarks: tuple[str, ...] = ()

    @property
    def public(self) -> PublicKey:
        """The public key to verify with what this key signed."""
        return PublicKey(self.key.public_key(), self.fingerprint)

    def sign(self, sums: bytes) -> str:
        """Return the text of `SHA256SUMS.sig` for the bytes of SHA256SUMS; it is reproducible."""
        return _text(self.fingerprint, self.key.sign(sums))


@dataclass(frozen=True)
class PublicKey:
    """A public key to verify with; its fingerprint is `sha256:` and the SHA-256 of its DER encoding."""

    key: Ed25519PublicKey = field(repr=False)
    fingerprint: str

    def check(self, sums: bytes, text: bytes, where: str) -> None:
        """Raise ArtifactError unless `text` is the signature of `sums` by the owner of the key."""
        from cryptography.exceptions import InvalidSignature

        signed_by, signature = read(text, where)
        if signed_by != self.fingerprint:
            raise ArtifactError(
                f"{where}: signed with another key, {signed_by}; --key is {self.fingerprint}."
            )
        try:
            self.key.verify(signature, sums)
        except InvalidSignature:
            raise ArtifactError(
                f"{where}: the signature does not match {SIGNED}: one of the two was changed, or belongs to "
                "another bundle. Get the bundle again from its signer."
            ) from None


def signer(path: Path) -> Signer:
    """Read the Ed25519 private key of a PEM file (PKCS8), with its password in TLEDGE_KEY_PASSWORD.

    Raises RecipeError where there is no such key or its password is missing or wrong, MissingError
    without the cryptography package.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = _private(path, _pem(path))
    if not isinstance(key, Ed25519PrivateKey):
        raise RecipeError(f"{path}: a private key of another type. Expected Ed25519: {_HOW}")
    return Signer(key, _fingerprint(key.public_key()), _permissions(path))


def public_key(path: Path) -> PublicKey:
    """Read the Ed25519 public key of a PEM file; raise RecipeError and MissingError like `signer`."""
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _pem(path)
    if b"PRIVATE KEY-----" in data:
        raise RecipeError(
            f"{path}: a private key, which only the signer should have. Make its public key: "
            f"openssl pkey -in {path} -pubout -out public.pem"
        )
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RecipeError(f"{path}: not a public key in PEM form ({error}).") from error
    if not isinstance(key, Ed25519PublicKey):
        raise RecipeError(f"{path}: a public key of another type. Expected Ed25519.")
    return PublicKey(key, _fingerprint(key))


def read(text: bytes, where: str) -> tuple[str, bytes]:
    """Parse fingerprint and signature in the text of `SHA256SUMS.sig`, without verifying them.

    Raises ArtifactError unless the text is, byte for byte, as tledge writes it.
    """
    try:
        raw = json.loads(text[: MAX_FILE_BYTES + 1])
        version, fingerprint = raw["format"], str(raw["key"])
        signature = base64.b64decode(raw["signature"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(
            f"{where}: {NAME} is damaged, or was not written by tledge ({error!r})."
        ) from error
    if version != FORMAT:
        raise ArtifactError(f"{where}: {NAME} has format {version!r}, this tledge reads {FORMAT}.")
    is_key = re.fullmatch(r"sha256:[0-9a-f]{64}", fingerprint, re.ASCII)
    if not is_key or len(signature) != LENGTH or _text(fingerprint, signature).encode() != text:
        raise ArtifactError(f"{where}: {NAME} was changed: it differs from what tledge writes.")
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
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{path}: no key can be read ({error.strerror}).") from error
    if len(data) > MAX_FILE_BYTES or b"-----BEGIN " not in data:
        raise RecipeError(f"{path}: not a key in PEM form. Make a private key with: {_HOW}")
    return data


def _private(path: Path, data: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if b"PRIVATE KEY-----" not in data:
        raise RecipeError(f"{path}: not a private key, which signing needs. Make one with: {_HOW}")
    password = os.environ.get(PASSWORD, "").encode() or None
    try:
        return load_pem_private_key(data, password if b"ENCRYPTED" in data else None)
    except TypeError as error:
        raise RecipeError(f"{path}: protected by a password. Put it into {PASSWORD}.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        reason = (
            f"The password in {PASSWORD} may be wrong" if password and b"ENCRYPTED" in data else "Damaged"
        )
        raise RecipeError(f"{path}: the private key cannot be read. {reason} ({error}).") from error


def _fingerprint(key: Ed25519PublicKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def _permissions(path: Path) -> tuple[str, ...]:
    if os.name != "posix" or not path.stat().st_mode & 0o077:
        return ()
    return (
        f"{path}: others on this machine may read this private key. Change its permissions: chmod 600 {path}",
    )
