"""PDFs as text (HS3), dill and pickle: the same values after a round trip, and other densities refused."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import pickle
import warnings

import numpy as np
import pytest
import zfit
from builders import random_density

from zfit_egmm.archive import ModelFileError
from zfit_egmm.pdf import EGMM
from zfit_egmm.pdf.spaces import space_of_ranges

pytestmark = pytest.mark.filterwarnings("ignore::zfit.util.warnings.ExperimentalFeatureWarning")


@pytest.fixture
def pdfs(tmp_path, monkeypatch):
    """Two PDFs of one saved density that share a parameter, one of them truncated."""
    monkeypatch.chdir(tmp_path)
    density = random_density()
    density.save("signal.egmm")
    coupling = zfit.Parameter("coupling", 1.0, -1, 3)
    part = space_of_ranges({"mass": (100, 150), "jets": (-0.5, 2.5), "angle": (-2, 2)})
    whole = EGMM(density, params={"coupling": coupling}, extended=zfit.Parameter("n", 100.0, 0, 1000), name="whole")
    return whole, EGMM(density, params={"coupling": coupling}, obs=part, name="part", tolerance=1e-3)


@pytest.fixture
def x():
    return random_density().sample(50, [1.0], seed=1)


def test_hs3_refers_to_the_file_and_shares_parameters(pdfs, x):
    text = zfit.hs3.dumps(list(pdfs))
    assert text["distributions"]["whole"]["density"]["path"] == "signal.egmm"
    loaded = zfit.hs3.loads(text)["distributions"]
    for pdf in pdfs:
        assert np.array_equal(loaded[pdf.name].pdf(x).numpy(), pdf.pdf(x).numpy())
    assert np.array_equal(loaded["whole"].ext_pdf(x).numpy(), pdfs[0].ext_pdf(x).numpy())
    assert loaded["part"].tolerance == 1e-3
    assert loaded["part"].space == pdfs[1].space
    assert loaded["whole"].params["coupling"] is loaded["part"].params["coupling"]


def test_hs3_of_a_sum_and_several_parts(pdfs, x):
    parts = [{"mass": (100, 120), "jets": (-0.5, 3.5), "angle": (-2, 2)}]
    parts.append({"mass": (150, 200), "jets": (-0.5, 3.5), "angle": (-2, 2)})
    side = EGMM(pdfs[0].density, params={"coupling": 0.5}, limits=[space_of_ranges(p) for p in parts], name="side")
    plain = EGMM(pdfs[0].density, params=dict(pdfs[0].params), name="plain")
    total = zfit.pdf.SumPDF([plain, side], fracs=zfit.Parameter("fraction", 0.3, 0, 1))
    loaded = next(iter(zfit.hs3.loads(zfit.hs3.dumps(total))["distributions"].values()))
    assert np.allclose(loaded.pdf(x).numpy(), total.pdf(x).numpy(), rtol=1e-12)


def test_hs3_refuses_a_density_that_is_not_saved_changed_or_gone(pdfs, tmp_path):
    with pytest.raises(ValueError, match=r"save it first"):
        zfit.hs3.dumps(EGMM(random_density(), params={"coupling": 1.0}))
    text = zfit.hs3.dumps(pdfs[0])
    random_density(3).save("signal.egmm", overwrite=True)
    with pytest.raises(ModelFileError, match=r"signal.egmm is another density"):
        zfit.hs3.loads(text)
    (tmp_path / "signal.egmm").unlink()
    with pytest.raises(FileNotFoundError, match=r"relative to the folder"):
        zfit.hs3.loads(text)


def test_dill_keeps_values_and_shared_parameters(pdfs, x):
    whole, part = zfit.dill.loads(zfit.dill.dumps(list(pdfs)))
    assert np.array_equal(whole.pdf(x).numpy(), pdfs[0].pdf(x).numpy())
    assert np.array_equal(part.pdf(x).numpy(), pdfs[1].pdf(x).numpy())
    assert whole.params["coupling"] is part.params["coupling"]
    assert whole.density is part.density


def test_dill_of_a_loss_and_a_result(pdfs, x):
    loss = zfit.loss.ExtendedUnbinnedNLL(pdfs[0], zfit.Data(x, obs=pdfs[0].space))
    copy = zfit.dill.loads(zfit.dill.dumps(loss))
    assert float(copy.value()) == pytest.approx(float(loss.value()), rel=1e-12)
    result = zfit.minimize.Minuit(gradient="zfit").minimize(copy)
    result.freeze()
    loaded = zfit.dill.loads(zfit.dill.dumps(result))
    assert loaded.params["coupling"]["value"] == result.params["coupling"]["value"]


def _log_likelihood(pdf: EGMM, x: np.ndarray) -> float:
    return float(np.sum(pdf.log_pdf(x).numpy()))


def test_pickle_carries_a_pdf_to_another_process(pdfs, x):
    assert np.array_equal(pickle.loads(pickle.dumps(pdfs[1])).pdf(x).numpy(), pdfs[1].pdf(x).numpy())
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        found = pool.submit(_log_likelihood, pdfs[0], x).result()
    assert found == pytest.approx(_log_likelihood(pdfs[0], x), rel=1e-12)


def test_a_density_remembers_its_file(tmp_path):
    density = random_density()
    assert density.source is None
    path = density.save(tmp_path / "a.egmm")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert type(density).load(path).source == density.source
    assert pickle.loads(pickle.dumps(density)).source == density.source
