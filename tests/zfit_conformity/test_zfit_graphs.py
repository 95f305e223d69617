"""Graphs are traced once, and what they hold stays right."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import zfit
from conformity import relative


@pytest.fixture
def traces(monkeypatch, gauss):
    """Counts how often the density is built into a graph or evaluated outside of one."""
    calls = []
    original = gauss.density.log_prob_tensor

    def counted(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(gauss.density, "log_prob_tensor", counted)
    return calls


def test_resampling_does_not_trace_again(gauss, traces):
    sampler = gauss.pdf.create_sampler(n=40)
    loss = zfit.loss.UnbinnedNLL(gauss.pdf, sampler)
    counts, values = [], []
    for _ in range(5):
        sampler.resample()
        values.append(float(loss.value(full=True)))
        expected = -np.log(gauss.expected(sampler.value().numpy())).sum()
        assert values[-1] == pytest.approx(expected, rel=1e-9)
        counts.append(len(traces))
    assert counts[0] > 0
    assert len(set(counts)) == 1
    assert len(set(values)) == 5


def test_samples_are_traced_once(gauss, monkeypatch):
    traced = []
    original = gauss.density.inputs
    monkeypatch.setattr(gauss.density, "inputs", lambda theta: (traced.append(1), original(theta))[1])
    # As in a new process, where nothing has made zfit's generator yet.
    monkeypatch.setattr(zfit.z.random, "generator", None)
    sampler = gauss.pdf.create_sampler(n=40)
    assert len(traced) == 1
    for _ in range(2):
        # What the first call left behind is collected, as it is in the middle of a fit.
        gc.collect()
        sampler.resample()
    assert len(traced) == 1


def test_changed_parameters_do_not_trace_again(gauss, traces):
    loss = zfit.loss.UnbinnedNLL(gauss.pdf, zfit.Data(gauss.x, obs=gauss.pdf.space))
    loss.value()
    before = len(traces)
    for value in (-0.5, 0.5, 1.5):
        gauss.parameter.set_value(value)
        assert float(loss.value(full=True)) == pytest.approx(-np.log(gauss.expected(gauss.x)).sum(), rel=1e-9)
    assert len(traces) <= before + 1


def test_two_losses_in_a_row_keep_their_data(gauss):
    losses = [zfit.loss.UnbinnedNLL(gauss.pdf, zfit.Data(x, obs=gauss.pdf.space)) for x in (gauss.x[:20], gauss.x[20:])]
    expected = [-np.log(gauss.expected(x)).sum() for x in (gauss.x[:20], gauss.x[20:])]
    for _ in range(2):
        assert [float(loss.value(full=True)) for loss in losses] == pytest.approx(expected, rel=1e-9)


def test_both_modes_give_the_same(trained):
    part = trained.part()
    results = []
    for is_graph in (True, False):
        zfit.run.set_graph_mode(is_graph)
        loss = zfit.loss.UnbinnedNLL(trained.pdf, zfit.Data(trained.x, obs=trained.pdf.space))
        results.append([float(trained.pdf.integrate(part)[0]), float(loss.value(full=True))])
    assert relative(results[0], results[1]) < 1e-12


@pytest.mark.parametrize("kind", ["pdf", "sum", "loss"])
def test_stored_with_dill_and_read_back_is_the_same(gauss, kind):
    uniform = zfit.pdf.ProductPDF(
        [
            zfit.pdf.Uniform(*np.ravel(gauss.pdf.space.with_obs([n]).rect_limits_np), obs=gauss.pdf.space.with_obs([n]))
            for n in gauss.pdf.obs
        ],
        obs=gauss.pdf.space,
    )
    total = zfit.pdf.SumPDF([gauss.pdf, uniform], fracs=zfit.Parameter("fraction", 0.4, 0, 1))
    data = zfit.Data(gauss.x, obs=gauss.pdf.space)
    stored = {"pdf": gauss.pdf, "sum": total, "loss": zfit.loss.UnbinnedNLL(total, data)}[kind]
    again = zfit.dill.loads(zfit.dill.dumps(stored))
    if kind == "loss":
        assert float(again.value(full=True)) == pytest.approx(float(stored.value(full=True)), rel=1e-12)
    else:
        assert relative(again.pdf(gauss.x), stored.pdf(gauss.x)) < 1e-12
    assert {p.name for p in again.get_params()} == {p.name for p in stored.get_params()}
