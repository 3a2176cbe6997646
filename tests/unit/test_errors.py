"""The tree of errors and its kinds."""

import pytest

from tledge.errors import ConversionError, DataError, error_class, error_to_json


@pytest.mark.parametrize("name", ["Exception", "Mapping", "error_to_json", "NoSuch"])
def test_unknown_kind_is_the_callers(name: str) -> None:
    """Only classes of the error tree are raised, whatever a result names."""
    assert error_class({"kind": name}, ConversionError) is ConversionError
    assert error_class(error_to_json(DataError("no photos")), ConversionError) is DataError
