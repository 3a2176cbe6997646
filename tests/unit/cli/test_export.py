"""`tledge export`: the variants that it is asked for."""

from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tledge.errors import RecipeError


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_unknown_variant_is_two(cli: Cli) -> None:
    from tledge.commands import shipping

    with pytest.raises(RecipeError, match="tflite-int4: no such variant"):
        shipping._variants(None, [], ("tflite-int4",), False)  # type: ignore[arg-type]
