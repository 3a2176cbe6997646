"""`README.md` of a bundle: what it holds, how good it is, and how to try it and check it."""

from __future__ import annotations

from tledge.bundle import render, sbom, signing
from tledge.bundle.manifest import Manifest
from tledge.bundle.signing import Signer
from tledge.run.records import TrainedRun


def text(manifest: Manifest, run: TrainedRun, signer: Signer | None) -> str:
    """Return the README of a bundle; raise MissingError without jinja2."""
    return render.render_template(
        "README.md.jinja",
        manifest=manifest,
        run=run,
        not_bytes=render.paths_without_bytes(manifest.artifacts),
        fingerprint=signer.fingerprint if signer else "",
        sums_name=signing.SIGNED,
        signature_name=signing.NAME,
        sbom_name=sbom.NAME,
    )
