"""Pictures kept with their right label: where, how many, and only when asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.fake_device_bundle import photo
from tledge.errors import DataError
from tledge.preview import feedback


def test_label_that_is_no_folder_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be the name of a folder"):
        feedback.keep(tmp_path, "../up", ["../up"], photo(0))
    assert list(tmp_path.iterdir()) == []
