"""Configuration of Sphinx; see https://www.sphinx-doc.org."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Autodoc imports the package, and with it TensorFlow and zfit, whose start-up messages help nobody here.
os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sphinx.application import Sphinx

import zfit_egmm

project = "zfit_egmm"
author = "The zfit_egmm developers"
copyright = author
release = version = zfit_egmm.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"zfit_egmm {version}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Source", "Source"), ("Warns", "Warns")]
always_use_bars_union = True
typehints_defaults = None
typehints_use_rtype = False

nitpicky = True
# Types of other packages have no page here, and neither have types inside this one that are no public name.
nitpick_ignore_regex = [
    (r"py:.*", r"(np|numpy|tf|tensorflow|zfit|pathlib|collections\.abc|typing)\..*"),
    (r"py:.*", r"zfit_egmm\.(archive|coordinates|density|diagnostics|families|registry)(\..*)?"),
    (r"py:.*", r"zfit_egmm\.(inference|training)\.\w+\..*"),
    (r"py:.*", r"(hepstats|matplotlib|scipy)\..*"),
    (r"py:exc", r".*(Error|Interrupt|Warning)"),
    (r"py:.*", r"(Any|Ellipsis|None|bool|dict|float|int|list|str|tuple)"),
]

ROOT = Path(__file__).parents[1]
TUTORIAL_MARK = re.compile(r"<!-- cells of (tutorials/\w+\.py) -->")


def cells_as_markdown(script: str) -> str:
    """Markdown page of a script in the percent format: text of its text cells, its code as code blocks."""
    pages = []
    for cell in re.split("^# %%", script, flags=re.MULTILINE)[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            pages.append("\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()))
        else:
            pages.append(f"```python\n{body.strip()}\n```")
    return "\n\n".join(pages)


def insert_tutorial(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace the mark in a page by the cells of the tutorial, so that page and script cannot differ."""
    found = TUTORIAL_MARK.search(source[0])
    if found:
        script = ROOT / found[1]
        app.env.note_dependency(str(script), docname=name)
        source[0] = source[0].replace(found[0], cells_as_markdown(script.read_text(encoding="utf-8")))


def setup(app: Sphinx) -> None:
    """Register the tutorial's conversion."""
    app.connect("source-read", insert_tutorial)
