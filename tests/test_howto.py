"""The code on how-to pages runs as it stands, in one go per page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[1] / "docs" / "howto"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def models(tmp_path, monkeypatch, h4l_density, h4l_background):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    h4l_density.save("signal.egmm")
    h4l_background.save("background.egmm")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "page",
    [
        "mixtures",
        "ranges",
        "boundaries",
        "projections",
        "serialisation",
        "limits",
        "scans",
        "toys",
        "evaluate",
        "ensembles",
    ],
)
def test_the_code_of_a_page_runs(page, models):
    blocks = BLOCK.findall((PAGES / f"{page}.md").read_text())
    assert len(blocks) > 2
    exec(compile("\n".join(blocks), f"{page}.md", "exec"), {"__name__": "page"})
