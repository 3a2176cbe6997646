"""The key of `tledge preview` in Chromium: how the page gets it, and where it does not stay."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import pytest

from tests.helpers.chromium import Seen, chromium, opened, served
from tests.helpers.preview_server import key_of
from tledge.preview import browser as preview_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def url(shared_bundle: Path) -> Iterator[str]:
    with served(shared_bundle) as address:
        yield address


def traces(seen: Seen) -> str:
    """All that the browser keeps or sends: the address, requests, cookies, what another tab would see."""
    cookies = seen.page.context.cookies()
    lasting = seen.page.evaluate("() => JSON.stringify(localStorage) + history.length + document.cookie")
    return f"{seen.page.url} {seen.requests[1:]} {cookies} {lasting} {seen.page.content()}"


def test_key_in_the_address_is_taken_out(browser: Any, url: str) -> None:
    """As a phone gets it from the QR code; a reload needs no new one."""
    with opened(browser, url) as seen:
        seen.wait()
        assert seen.page.url == urldefrag(url).url and key_of(url) not in traces(seen)
        seen.page.reload()
        seen.wait()
        assert seen.text("#name") == "colours" and seen.page.is_hidden("#entry")
        assert seen.errors == []


def test_key_is_asked_for(browser: Any, url: str) -> None:
    bare = urldefrag(url).url
    with opened(browser, bare) as seen:
        seen.wait("locked")
        assert "Enter the key that tledge preview printed" in seen.text("#entry-why")
        assert seen.text("#name") == "tledge preview" and seen.errors == []
        seen.page.fill("#key", "wrong")
        seen.page.click("#entry button")
        seen.page.wait_for_selector("#entry-why:has-text('not the key of this preview')")
        seen.page.fill("#key", f" {key_of(url)} ")
        seen.page.press("#key", "Enter")
        seen.wait()
        assert seen.page.url == bare and key_of(url) not in traces(seen)
        assert seen.page.is_hidden("#entry") and seen.text("#problem") == ""
        other = seen.page.context.new_page()
        other.goto(bare)
        other.wait_for_selector('body[data-state="locked"]')


def test_opened_file_hands_the_key_over(browser: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of the file sends it; no address ever holds it."""
    bare = urldefrag(url).url
    monkeypatch.setattr(webbrowser, "open", lambda _url: True)
    with preview_browser.opened(bare, key_of(url)) as file:
        context = browser.new_context()
        page = context.new_page()
        visited: list[str] = []
        page.on("request", lambda request: visited.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_selector('body[data-state="ready"]', timeout=30_000)
        assert page.url == bare and f"{bare}open" in visited
        assert all(key_of(url) not in address for address in visited) and context.cookies() == []
        page.reload()
        page.wait_for_selector('body[data-state="ready"]', timeout=30_000)
        page.go_back()
        assert key_of(url) not in page.url
        context.close()


def test_entry_has_no_accessibility_fault(browser: Any, url: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with opened(browser, urldefrag(url).url) as seen:
        seen.wait("locked")
        found = axe.run(seen.page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
