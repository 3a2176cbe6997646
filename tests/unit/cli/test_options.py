"""What commands have in common: how the next command is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tledge.cli.options import shell_path


def test_next_command_is_as_typed() -> None:
    assert [shell_path(Path(one)) for one in ("runs/a", "-a", "b c", "it's")] == [
        "runs/a", "./-a", "'b c'", "'it'\"'\"'s'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b", "'a b'"),
        ("-x", "./-x"),
        ("it's", "'it'\"'\"'s'"),
        ("raw\udcff", r"$'raw\xff'"),
        ("a'\n\\é", r"$'a\x27\x0a\x5c\xc3\xa9'"),
    ],
)
def test_name_is_typed_as_a_shell_reads_it(name: str, shown: str) -> None:
    import os
    import subprocess

    assert shell_path(name) == shown and shown.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {shell_path(name)}"], capture_output=True, check=True)
    assert os.fsdecode(done.stdout).removeprefix("./") == name
