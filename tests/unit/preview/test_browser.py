"""Opening the browser: it is told of a file that nobody else may read, and the key is in that file alone."""

from __future__ import annotations

import stat
import webbrowser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tledge.preview import browser


def test_key_is_in_a_private_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(webbrowser, "open", told.append)
    with browser.opened("http://127.0.0.1:1/", "abcd-efgh") as page:
        assert told == [page.as_uri()] and "abcd" not in told[0]
        assert Path(unquote(urlsplit(told[0]).path)) == page
        assert (
            stat.S_IMODE(page.stat().st_mode) == 0o600 and stat.S_IMODE(page.parent.stat().st_mode) == 0o700
        )
        text = page.read_text()
        assert 'method="post" action="http://127.0.0.1:1/open"' in text and 'value="abcd-efgh"' in text
    assert not page.parent.exists()
