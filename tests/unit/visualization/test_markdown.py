"""Markdown from values: text of users stays text, tables stay tables."""

from __future__ import annotations

import pytest

from tledge.visualization import markdown


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        (12, "12"),
        ("a|b\n`<script>*", "a\\|b \\`\\<script\\>\\*"),
        ("[x](y)", "\\[x\\](y)"),
        ("  two\n\nlines ", "two lines"),
        ("&lt;b&gt; ~~a~~ $x$", "\\&lt;b\\&gt; \\~\\~a\\~\\~ \\$x\\$"),
        ("# head", "\\# head"),
        ("- item", "\\- item"),
        ("12. item", "12\\. item"),
        ("12 % of it", "12 % of it"),
        ("=== ", "\\==="),
        ("see https://x.y/z, www.x.y", "see https\\://x.y/z, www\\.x.y"),
        ("\x1b[2J\u202e", "\\\\x1b\\[2J\\\\u202e"),
    ],
)
def test_markup_is_escaped(value: object, written: str) -> None:
    assert markdown.escape(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [("a*b", "`a*b`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```"), ("a\nb", "`a b`")]
)
def test_code_holds_any_text(value: str, written: str) -> None:
    assert markdown.code(value) == written


def test_table_aligns_figures() -> None:
    assert markdown.table(("class", "n"), [("a|b", 3)]) == "| class | n |\n| --- | ---: |\n| a\\|b | 3 |"


def test_blank_lines_are_single() -> None:
    assert markdown.single_blank_lines("\n\na  \n\n\n\nb\n\n") == "a\n\nb\n"
