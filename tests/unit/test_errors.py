"""The tree of errors and its kinds."""

import pytest

from tledge.errors import ConversionError, DataError, kind_of, told


@pytest.mark.parametrize("name", ["Exception", "Mapping", "told", "NoSuch"])
def test_unknown_kind_is_the_callers(name: str) -> None:
    """Only classes of the error tree are raised, whatever a result names."""
    assert kind_of({"kind": name}, ConversionError) is ConversionError
    assert kind_of(told(DataError("no photos")), ConversionError) is DataError
