"""The tutorial runs as a script, in its reduced form."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zfit_egmm import Density

SCRIPT = Path(__file__).parents[1] / "tutorials" / "h4l_step_by_step.py"
FIGURES = ("latent_projection", "training", "held_out", "profile_theta", "data_and_fit")
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory) -> tuple[subprocess.CompletedProcess, Path]:
    """The finished process and the folder it wrote to."""
    folder = tmp_path_factory.mktemp("tutorial")
    out = folder / "results"
    result = subprocess.run(
        [sys.executable, str(SCRIPT)],
        cwd=folder,
        env={**os.environ, "TUTORIAL_FAST": "1", "TUTORIAL_OUT": str(out)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result, out


def test_tutorial_fits_theta(tutorial):
    result, _ = tutorial
    lines = re.findall(r"^theta = (\S+) (\S+) (\S+)$", result.stdout, flags=re.MULTILINE)
    assert len(lines) == 1, result.stdout
    value, lower, upper = (float(number) for number in lines[0])
    assert np.isfinite([value, lower, upper]).all()
    assert -8 <= lower < value < upper <= 8
    assert "valid minimum: True" in result.stdout
    assert "same values as before saving: True" in result.stdout


def test_tutorial_leaves_figures_and_models(tutorial):
    _, out = tutorial
    expected = {f"{name}.png" for name in FIGURES} | {"signal.egmm", "background.egmm"}
    assert {path.name for path in out.iterdir()} == expected
    for name in FIGURES:
        content = (out / f"{name}.png").read_bytes()
        assert content.startswith(PNG)
        assert len(content) > 10_000
    assert Density.load(out / "signal.egmm").theta_range == ((-8.0, 8.0),)
    assert Density.load(out / "background.egmm").theta_names == ()


def test_tutorial_without_the_reduction_differs_only_in_numbers():
    """FAST may appear in the cell that sets the numbers, and nowhere else."""
    cells = re.split(r"^# %%.*\n", SCRIPT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    code = [cell for cell in cells if re.search(r"\bFAST\b(?!`)", re.sub(r"^#.*$", "", cell, flags=re.MULTILINE))]
    assert len(code) == 1


def test_the_tutorial_on_contours_and_limits_runs(tmp_path):
    result = subprocess.run(
        [sys.executable, str(SCRIPT.with_name("contours_and_limits.py"))],
        cwd=tmp_path,
        env={**os.environ, "TUTORIAL_FAST": "1", "TUTORIAL_OUT": str(tmp_path / "out")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert re.search(r"Upper limit on n_signal at 95 % confidence \(CLs, asymptotic\): \d+\.\d+", result.stdout)
    assert "20 signal events: limits hold in " in result.stdout
    for name in ("contours", "limit"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(PNG)
