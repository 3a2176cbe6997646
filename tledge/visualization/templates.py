"""Open a folder of jinja2 templates, which hold the sentences of reports, model cards and READMEs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tledge.errors import MissingError

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(folder: Path, *, escape_html: bool = False) -> Environment:
    """Return the environment of the templates in `folder`; raise MissingError without jinja2.

    An unknown name in a template is an error. `escape_html` is for HTML; Markdown is escaped value by
    value, see `tledge.visualization.markdown`.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingError(f"jinja2 is not installed ({error}): pip install 'tledge[export]'") from error
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=escape_html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
