"""Open and run models for another process: `python -m tledge.runtime.sandbox_worker`.

Requests on stdin and replies on stdout are messages of `sandbox_process`. Native code that crashes ends only
this process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tledge import errors
from tledge._io.json_records import from_json
from tledge._process import limited_child
from tledge.errors import ArtifactError, TledgeError
from tledge.runtime import sessions
from tledge.runtime.latency import Minimum, stream
from tledge.runtime.model_file import ModelFile
from tledge.runtime.sandbox_process import receive, send
from tledge.runtime.session_pool import SessionPool
from tledge.runtime.sessions import LiteRTSession, OnnxSession, Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

Request = Mapping[str, Any]
Reply = tuple[dict[str, Any], bytes]


Opener = Callable[[Request, bytes], tuple[Session, dict[str, Any]]]
"""Opens what an "open" request names: returns the session for images, and what to reply about it."""


class Server:
    """Answers requests: "open" opens a session, "run" and "time" use it, `others` are more."""

    def __init__(self, opener: Opener, others: Mapping[str, Callable[[Request, bytes], Reply]]) -> None:
        self._opener, self._sessions, self._opened = opener, dict[int, Session](), 0
        self._work = {"open": self._open, "run": self._run, "time": self._time, **others}

    def reply(self, request: Request, content: bytes) -> Reply:
        """Do what a request asks for; return the reply and its content, or the failure."""
        for number in request["close"]:
            self._sessions.pop(number, None)
        try:
            return self._work[request["do"]](request, content)
        except TledgeError as error:
            return dict(errors.error_to_json(error)), b""
        except MemoryError:
            return dict(errors.error_to_json(ArtifactError("the model does not fit into memory."))), b""

    def _open(self, request: Request, content: bytes) -> Reply:
        session, facts = self._opener(request, content)
        self._opened += 1
        self._sessions[self._opened] = session
        return {**facts, "kernels": session.kernels, "number": self._opened}, b""

    def _run(self, request: Request, content: bytes) -> Reply:
        probabilities = self._sessions[request["number"]].run(images(request, content))
        return {"shape": probabilities.shape}, probabilities.astype("float32").tobytes()

    def _time(self, request: Request, content: bytes) -> Reply:
        session, minimum = self._sessions[request["number"]], from_json(Minimum, request["minimum"])
        return {"latencies": stream(session, images(request, content), minimum, time.perf_counter_ns)}, b""


def images(request: Request, content: bytes) -> NDArray[Any]:
    """Return the images that follow a request, in the shape that it names: uint8, or values float32."""
    import numpy as np

    return np.frombuffer(content, np.float32 if request.get("values") else np.uint8).reshape(request["shape"])


def open_file(request: Request, content: bytes) -> tuple[Session, dict[str, Any]]:
    """Open a `.tflite` or `.onnx` file as often as the request says, for so many threads."""
    model, kernels, count = ModelFile(request["name"], content), request["kernels"], request["sessions"]
    first = sessions.open_session(model, kernels)
    facts = _facts(first)
    if count == 1:
        return first, facts
    if isinstance(first, OnnxSession):  # which threads may share
        return SessionPool([first] * count), facts
    others = [sessions.open_session(model, kernels) for _ in range(count - 1)]
    return SessionPool([first, *others]), facts


def _facts(session: LiteRTSession | OnnxSession) -> dict[str, Any]:
    """Return what a caller asks of an opened file."""
    facts: dict[str, Any] = {"image_size": None, "no_image": "", "classes": session.classes}
    try:
        facts["image_size"] = session.image_size
    except ArtifactError as error:
        facts["no_image"] = str(error)
    if isinstance(session, OnnxSession):
        port = {"shape": [side if isinstance(side, int) else -1 for side in session.input.shape],
                "dtype": sessions.ONNX_DTYPES.get(session.input.type, "")}  # fmt: skip
        return facts | {"metadata": session.metadata, "is_integer": False, "input": port}
    return facts | {"metadata": {}, "is_integer": session.is_integer}


def serve(opener: Opener, others: Mapping[str, Callable[[Request, bytes], Reply]]) -> None:
    """Answer requests until stdin ends, or the process that started this one."""
    limited_child.enter(by_thread=False)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no reply
    server = Server(opener, others)
    while message := receive(sys.stdin.buffer):
        send(replies, *server.reply(*message))


if __name__ == "__main__":
    serve(open_file, {})
