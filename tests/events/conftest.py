from __future__ import annotations

from pathlib import Path

import pytest
from root_files import file_columns, write_file


@pytest.fixture(params=["TTree", "RNTuple"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=["TTree", "RNTuple"])
def file(request, tmp_path_factory) -> Path:
    """One file of each kind, not to be changed."""
    return write_file(tmp_path_factory.mktemp("root") / "events.root", request.param, file_columns())
