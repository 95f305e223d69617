"""Binned versions of the PDF."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import zfit
from conformity import edges, factor_mass, relative

# Said by zfit about every binned PDF that is turned into an unbinned one.
pytestmark = pytest.mark.filterwarnings("ignore:Flow currently not fully supported")


def binned(case, names, n_bins):
    spaces = [
        zfit.Space(
            name, binning=zfit.binned.RegularBinning(n_bins, *edges(case.pdf.space.with_obs([name]))[0], name=name)
        )
        for name in names
    ]
    space = spaces[0]
    for one in spaces[1:]:
        space = space * one
    return space


def masses(case, name, n_bins):
    low, high = edges(case.pdf.space.with_obs([name]))[0]
    grid = np.linspace(low, high, n_bins + 1)
    return np.array([factor_mass(case.factors[name], a, b) for a, b in itertools.pairwise(grid)])


@pytest.mark.parametrize("is_graph", [True, False])
@pytest.mark.parametrize("names", [("a",), ("c",), ("a", "b"), ("c", "b")])
def test_bins_hold_their_integrals(gauss, names, is_graph):
    zfit.run.set_graph_mode(is_graph)
    pdf = gauss.pdf.create_extended(zfit.Parameter("n", 100.0)).create_projection_pdf(obs=list(names))
    histogram = pdf.to_binned(binned(gauss, names, 4))
    expected = np.array(100.0)
    for name in names:
        expected = np.multiply.outer(expected, masses(gauss, name, 4))
    assert relative(histogram.counts(), expected) < 1e-7
    assert relative(histogram.rel_counts(), expected / 100) < 1e-7


def test_binned_loss_follows_theta(gauss):
    n = zfit.Parameter("n", 100.0)
    space = binned(gauss, ("a",), 5)
    histogram = gauss.pdf.create_extended(n).create_projection_pdf(obs="a").to_binned(space)
    data = zfit.Data(gauss.x[:, [0]], obs=zfit.Space("a", -2, 3)).to_binned(space)
    loss = zfit.loss.ExtendedBinnedNLL(histogram, data)
    slope = float(np.ravel(loss.gradient([gauss.parameter]))[0])
    values = []
    for shift in (1e-3, -1e-3):
        with gauss.parameter.set_value(0.37 + shift):
            values.append(float(loss.value(full=False)))
    assert slope == pytest.approx((values[0] - values[1]) / 2e-3, rel=1e-4)


def test_unbinned_again_is_flat_in_each_bin(gauss):
    pdf = gauss.pdf.create_extended(zfit.Parameter("n", 100.0)).create_projection_pdf(obs="a")
    unbinned = pdf.to_binned(binned(gauss, ("a",), 5)).to_unbinned()
    assert pdf.to_unbinned() is pdf
    x = np.array([-1.9, -1.1, 0.5])
    expected = masses(gauss, "a", 5)[[0, 0, 2]]
    assert relative(unbinned.pdf(x), expected) < 1e-7
