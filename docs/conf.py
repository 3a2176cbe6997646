"""Sphinx' settings: pages in Markdown, the furo theme, and nothing that a built page would fetch."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402

import tledge  # noqa: E402

generate.write(HERE / "reference")

project = "tledge"
release = version = tledge.__version__
language = "en"
extensions = ["myst_parser", "sphinx_copybutton", "sphinx_design"]
myst_enable_extensions = ["deflist"]
copybutton_exclude = ".linenos, .gp, .c1"  # comments behind commands are not copied
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = f"tledge {release}"
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_domain_indices = False
