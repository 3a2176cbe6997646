"""Open the page in the browser, and hand it the key in a way that no other user of the machine can see.

A browser gets what it opens on its command line, which all users can list. So it gets the path of a file in a
folder that only this user may enter. The page in that file sends the key to the server as a form.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>tledge preview</title>
<form id="form" method="post" action="{url}open">
<input type="hidden" name="key" value="{key}">
<button>Open the preview</button>
</form>
<script>document.getElementById("form").submit();</script>
</html>
"""


@contextmanager
def opened(url: str, key: str) -> Iterator[Path]:
    """Open the page at `url` in the browser; yield the path of the file with the key, removed afterwards."""
    import webbrowser

    folder = Path(tempfile.mkdtemp(prefix="tledge-preview-"))  # with mode 0700
    try:
        page = folder / "open.html"
        page.touch(0o600)
        page.write_text(_PAGE.format(url=url, key=key), encoding="utf-8")
        webbrowser.open(page.as_uri())
        yield page
    finally:
        shutil.rmtree(folder, ignore_errors=True)
