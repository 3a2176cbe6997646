"""What the pages say of every artifact is what the formats have."""

from __future__ import annotations

import re

import pytest

from tests.helpers.paths import ROOT
from tledge import contract
from tledge.formats.registry import VARIANTS

PAGE = (ROOT / "docs" / "explanation" / "preprocessing.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
OTHERS = [f"`{name}`" for name, variant in VARIANTS.items() if variant.mode.input != "uint8"]


def test_page_says_what_every_artifact_takes() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \| `\w+` \|$", PAGE, re.M)
    assert dict(rows) == {name: variant.mode.input for name, variant in VARIANTS.items()}


@pytest.mark.parametrize("text", [PAGE, README, contract.__doc__], ids=["page", "README", "contract"])
def test_claim_leaves_out_what_takes_other_numbers(text: str) -> None:
    (claim,) = re.findall(r"Every artifact ([^.]*?)takes RGB bytes", text)
    assert re.findall(r"`[\w-]+`", claim) == OTHERS
