"""Downloads lie where TensorFlow Hub's own lie."""

from pathlib import Path

import pytest

from tledge.errors import MissingError
from tledge.models import hub_download


def test_cache_folder_is_that_of_tensorflow_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TLEDGE_HUB_HOSTS", "127.0.0.1")
    refused = "https://127.0.0.1:9/net"  # nobody listens: fails as fast as no network does
    with pytest.raises(MissingError, match="refused"):
        hub_download.resolve(refused)
    from tensorflow_hub import compressed_module_resolver

    assert str(hub_download._cache_folder(refused)) == compressed_module_resolver._module_dir(refused)
