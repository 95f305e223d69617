"""What toys are asked for is checked before any fit is made for them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zfit

from zfit_egmm.inference import discovery, feldman_cousins, upper_limit
from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.toys.campaign import CampaignError, check_path
from zfit_egmm.inference.toys.settings import ToySettings


@pytest.fixture(scope="module")
def likelihood():
    obs = zfit.Space("x", 0, 1)
    n_s, n_b = zfit.Parameter("n_s_settings", 3.0, 0, 50), zfit.Parameter("n_b_settings", 5.0, 0, 50)
    signal = zfit.pdf.Uniform(obs=obs, low=0.4, high=0.5, extended=n_s)
    model = zfit.pdf.SumPDF([signal, zfit.pdf.Uniform(obs=obs, low=0, high=1, extended=n_b)])
    return Likelihood(zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(np.linspace(0.1, 0.9, 8)[:, None], obs=obs)))


@pytest.fixture
def no_fits(monkeypatch):
    """A fit would raise another error."""
    monkeypatch.setattr(Likelihood, "value", None)
    monkeypatch.setattr(Likelihood, "value_and_gradient", None)


@pytest.mark.usefixtures("no_fits")
def test_a_limit_and_the_like_refuse_before_they_fit(likelihood, tmp_path):
    calls = {
        "limit": lambda **given: upper_limit(likelihood, "n_s_settings", method="toys", **given),
        "discovery": lambda **given: discovery(likelihood, "n_s_settings", method="toys", **given),
        "set": lambda **given: feldman_cousins(likelihood, "n_s_settings", [1.0, 2.0], **given),
    }
    for call in calls.values():
        with pytest.raises(
            IsADirectoryError, match=r"is a folder; give the name of a file in it, such as .*toys.jsonl"
        ):
            call(path=tmp_path)
        with pytest.raises(ValueError, match=r"give make=, a function that returns it, or use workers=1"):
            call(workers=2)
        with pytest.raises(ValueError, match="n_toys must be at least 1, got 0"):
            call(n_toys=0)


def test_a_file_of_something_else_is_refused_at_once(tmp_path):
    path = tmp_path / "toys.jsonl"
    path.write_text("energy,mass\n1,2\n")
    with pytest.raises(CampaignError, match="is no file of toys"):
        ToySettings(5, path=path)
    path.write_text(json.dumps({"kind": "zfit_egmm toys", "version": 1, "seed": 3, "points": []}) + "\n")
    ToySettings(5, seed=3, path=path)
    with pytest.raises(CampaignError, match="holds another campaign: seed is 3 there and 4 now"):
        ToySettings(5, seed=4, path=path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file, not a folder"):
        check_path(tmp_path / "file" / "deep" / "toys.jsonl", 0)
    check_path(tmp_path / "new" / "deep" / "toys.jsonl", 0)
    assert not (tmp_path / "new").exists()
