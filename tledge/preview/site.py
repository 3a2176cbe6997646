"""The content that a preview serves: the page, a bundle, and the predictions of a run's other models."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tledge.bundle import preview_page
from tledge.bundle.manifest import Manifest
from tledge.bundle.reader import Bundle, model_bytes
from tledge.preview.panel import Panel
from tledge.preview.replies import RequestRefused


@dataclass(frozen=True)
class Site:
    """A bundle, the run's models beside it, and the folder for feedback photos (None: keep none).

    `feedback_is_chosen` says that the user named this folder, which then may be a link or another user's.
    """

    bundle: Bundle
    panel: Panel | None = None
    feedback: Path | None = None
    feedback_is_chosen: bool = False

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    def index(self, key: str = "") -> bytes:
        """Return the page, marked as that of this server; with `key` it keeps the key and loads again.

        Without the key everybody may read it: it holds nothing of the bundle.
        """
        html = (preview_page.folder() / "index.html").read_text(encoding="utf-8")
        marks = '<meta name="tledge-server">' + (f'<meta name="tledge-key" content="{key}">' if key else "")
        return html.replace(preview_page.HEAD, marks).encode()

    def features(self) -> dict[str, Any]:
        """Return what this server offers to the page."""
        return {
            "models": self.panel.names if self.panel else (),
            "flips": self.panel is not None,
            "feedback": str(self.feedback) if self.feedback else "",
        }

    def page_files(self) -> dict[str, bytes]:
        """Read the page's other files, by their path below the page."""
        folder = preview_page.folder()
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "index.html"]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    def bundle_file(self, name: str) -> bytes:
        """Read a file of the bundle; a model only where its hash is the manifest's."""
        models = {artifact.path: artifact for artifact in self.manifest.artifacts}
        if name in models:
            return model_bytes(self.bundle, models[name])
        return self.bundle.files.read(name)

    def predictions(self, pixels: bytes) -> list[dict[str, Any]]:
        """Return the predictions of all models of the run for RGB bytes of the manifest's size."""
        import numpy as np

        spec = self.manifest.input
        if self.panel is None:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "No run is previewed, only a bundle.")
        if len(pixels) != spec.height * spec.width * 3:
            expected = f"{spec.height} x {spec.width} x 3"
            raise RequestRefused(
                HTTPStatus.BAD_REQUEST, f"Expected {expected} bytes of RGB, got {len(pixels)}."
            )
        image = np.frombuffer(pixels, np.uint8).reshape(spec.height, spec.width, 3)
        return [vars(prediction) for prediction in self.panel.predict(image)]
