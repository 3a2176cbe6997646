"""`tledge preview`: what it serves, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers import fake_device_bundle
from tests.helpers.command_line import Cli
from tests.helpers.preview_server import ask


def test_other_things_are_named(cli: Cli, shared_bundle: Path, tmp_path: Path) -> None:
    done = cli("preview", tmp_path, "--no-browser")
    assert done.code == 2 and "expected a run, or a bundle" in done.err
    only = Path(shutil.copytree(shared_bundle, tmp_path / "other"))
    fake_device_bundle.change(only, lambda raw: raw["artifacts"].clear())
    done = cli("preview", only, "--no-browser")
    assert done.code == 2 and "no artifact that a browser can run" in done.err
    (tmp_path / "run.json").write_text("{}")
    done = cli("preview", tmp_path, "--no-browser")
    assert done.code == 1 and "has no bundle yet" in done.err


def begin(bundle: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "tledge", "preview", str(bundle), "--no-browser", *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


def test_command_serves_until_interrupted(shared_bundle: Path) -> None:
    with begin(shared_bundle) as process:
        assert process.stdout
        (address,) = re.findall(r"^Preview: (http://127\.0\.0\.1:\d+/)$", process.stdout.readline())
        (key,) = re.findall(r"^Key: ([a-z2-9]{4}(?:-[a-z2-9]{4}){3}) \(", process.stdout.readline())
        assert ask(address).status == 200
        assert ask(address, "/bundle/manifest.json").status == 403
        assert ask(f"{address}#key={key}", "/bundle/manifest.json").status == 200
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=10)
    assert process.returncode == 0 and "Stopped." in err and "Traceback" not in err
    assert "client 127.0.0.1: a request of another page, or without the right key, was refused." in err
    assert time.monotonic() - started < 5


def test_command_for_phones(shared_bundle: Path) -> None:
    with begin(shared_bundle, "--lan", "--json") as process:
        assert process.stdout
        text = ""
        while not text.rstrip().endswith("}"):
            text += process.stdout.readline()
        told = json.loads(text)
        assert told["url"].endswith(f"/#key={told['key']}") and len(told["key"]) == 19
        assert ask(told["url"], "/bundle/manifest.json").status == 200
        assert all(url.endswith(f"/#key={told['key']}") for url in told["lan"])
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_qr_code_holds_the_address() -> None:
    from tledge.cli import preview

    drawn = preview._qr("http://192.0.2.7:8765/#key=abcdefgh")
    assert len(drawn.splitlines()) >= 15
    assert drawn != preview._qr("http://192.0.2.7:8765/#key=abcdefgi")


def test_single_file_is_told_what_takes_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    shown, compared = cli("preview", tmp_path / "m.onnx"), cli("compare", tmp_path / "m.onnx", tmp_path)
    assert shown.code == 2 and "tledge predict" in shown.err
    assert compared.code == 2 and "--against RUN" in compared.err
