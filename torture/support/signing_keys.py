"""Keys to sign with, and a run that was signed."""

from __future__ import annotations

from pathlib import Path

from torture.support.workspace import Workspace


def write_keys(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, Path]:
    """Write a new Ed25519 key pair into PEM files: private, public."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    lock = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock))
    public.write_bytes(
        key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def sign_bundle(workspace: Workspace, name: str) -> tuple[Path, Path]:
    """Copy the tiny run with a signed bundle; return it with the public key."""
    run = workspace.own_run(name)
    private, public = write_keys(run.parent, "own")
    workspace.run_successfully("bundle", run, "--sign", private, "--quiet")
    return run, public
