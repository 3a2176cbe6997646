"""Open SavedModels, and inspect files with large libraries, for another process.

Run as `python -m tledge.formats.sandbox_worker`. What TensorFlow or `onnx` cannot survive ends only this
process; see `tledge.runtime.sandbox_worker`.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tledge.formats import onnx, saved_model
from tledge.runtime import sandbox_worker
from tledge.runtime.model_file import ModelFile
from tledge.runtime.sandbox_worker import Reply, Request
from tledge.runtime.sessions import Session


def open_folder(request: Request, _content: bytes) -> tuple[Session, dict[str, Any]]:
    """Open a SavedModel."""
    session = saved_model.SavedModelSession(Path(request["name"]))
    facts = {"image_size": None, "no_image": f"{request['name']}: a SavedModel.", "classes": None}
    return session, facts | {"metadata": {}, "is_integer": False}


def inspect(request: Request, content: bytes) -> Reply:
    """Inspect the file that follows the request, or the folder that it names."""
    name = request["name"]
    if content:
        return {"structure": asdict(onnx.inspect_here(ModelFile(name, content)))}, b""
    return {"structure": asdict(saved_model.inspect_here(Path(name)))}, b""


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # TensorFlow would reserve the memory of a GPU
    sandbox_worker.serve(open_folder, {"inspect": inspect})
