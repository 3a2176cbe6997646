"""What tests run of the README."""

from __future__ import annotations

import re

from tests.helpers.paths import ROOT


def readme_snippet() -> str:
    """The one block of Python in the README."""
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    return str(snippet)
