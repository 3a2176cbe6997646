"""`tledge export`: the variants that it is asked for."""

import pytest

from tests.helpers.command_line import Cli
from tledge.errors import RecipeError


def test_unknown_variant_is_two(cli: Cli) -> None:
    from tledge.cli import export

    with pytest.raises(RecipeError, match="tflite-int4: no such variant"):
        export._variants(None, [], ("tflite-int4",), False)  # type: ignore[arg-type]
