"""A kind of density that has nothing but a log density goes through the whole chain.

Its formula is written down twice: in TensorFlow for the density, and with SciPy for what is expected of it.
"""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
import tensorflow as tf
import zfit
from scipy import stats

from zfit_egmm import Density, EnsembleDensity, EventSample, Observable, load_density
from zfit_egmm.density.axes import Axes
from zfit_egmm.density.state import State
from zfit_egmm.density.uniform import UniformDensity
from zfit_egmm.diagnostics.shapes.transforms import calibration
from zfit_egmm.diagnostics.theta.score import score_test
from zfit_egmm.inference import Likelihood, ToyFit, run_toys, upper_limit
from zfit_egmm.pdf import EGMM

AXES = Axes(
    (Observable("x", -3, 3), Observable("k", 0, 2, kind="discrete"), Observable("y", -2, 4)), ("t",), ((-1.0, 1.0),)
)
SHARES = (0.5, 0.3, 0.2)
WIDTH, FOLLOWS, PER_CATEGORY = 0.8, 0.6, 0.3
POINT = [0.4]
PART = ([-1.0, 0.5, -0.5], [2.0, 2.5, 1.5])


class Leaning(Density, kind="test-leaning"):
    """x follows t, y follows x and k; all that is known of it is its log density."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__(AXES)
        self.slope = slope

    def _log_prob(self, x, theta):
        first = _gauss(x[:, 0], self.slope * theta[..., 0], 1.0, *AXES.observables[0].limits)
        last = _gauss(x[:, 2], FOLLOWS * x[:, 0] + PER_CATEGORY * x[:, 1], WIDTH, *AXES.observables[2].limits)
        return first + last + tf.gather(np.log(SHARES), tf.cast(tf.round(x[:, 1]), tf.int32))

    def state(self):
        return State({"slope": self.slope})

    @classmethod
    def from_state(cls, axes, state, training):
        del training
        if axes != AXES:
            raise ValueError("other axes")
        return cls(float(state.manifest["slope"]))


def _gauss(x, mean, width, low, high):
    """Log density of a Gaussian that is cut off at two ends."""
    below, above = (tf.math.erf((end - mean) / (width * math.sqrt(2))) for end in (low, high))
    return -0.5 * ((x - mean) / width) ** 2 - tf.math.log(width * math.sqrt(math.pi / 2) * (above - below))


def _exact(x, k, y, t):
    """The density by SciPy, from arrays that are broadcast."""
    mean = FOLLOWS * x + PER_CATEGORY * k
    first = stats.truncnorm.pdf(x, -3 - t, 3 - t, loc=t)
    return first * np.array(SHARES)[k] * stats.truncnorm.pdf(y, (-2 - mean) / WIDTH, (4 - mean) / WIDTH, mean, WIDTH)


def _nodes(low, high, n=40):
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return low + 0.5 * (high - low) * (nodes + 1), 0.5 * (high - low) * weights


def _mass(x_range, k, y_range, t):
    (x, dx), (y, dy) = _nodes(*x_range), _nodes(*y_range)
    return dx @ _exact(x[:, None], k, y[None, :], t) @ dy


def _chi_square(events, t):
    """p-value of counts in cells against the exact density at one t."""
    edges = (-3, -0.5, 0.5, 1.2, 3), (-2, 0, 0.8, 1.6, 4)
    counts, expected = [], []
    for x_range, k, y_range in itertools.product(itertools.pairwise(edges[0]), range(3), itertools.pairwise(edges[1])):
        is_in_x, is_in_y = ((c >= a) & (c < b) for c, (a, b) in ((events[:, 0], x_range), (events[:, 2], y_range)))
        counts.append(np.sum(is_in_x & is_in_y & (events[:, 1] == k)))
        expected.append(len(events) * _mass(x_range, k, y_range, t))
    return stats.chisquare(counts, np.array(expected) * len(events) / np.sum(expected)).pvalue


@pytest.fixture(scope="module")
def density():
    return Leaning()


@pytest.fixture(scope="module")
def events(density):
    return density.sample(20_000, POINT, seed=1)


def test_its_log_density_is_the_formula_inside_and_nothing_outside(density, events):
    x = events[:1000]
    wanted = np.log(_exact(x[:, 0], x[:, 1].astype(int), x[:, 2], POINT[0]))
    assert np.allclose(density.log_prob(x, POINT), wanted, rtol=0, atol=1e-12)
    assert density.log_prob([[3.1, 0, 0], [0, 0, -2.1]], POINT).tolist() == [-np.inf, -np.inf]
    assert not density.has_conditionals
    assert repr(density) == "Leaning(x, k, y | t)"


def test_events_are_drawn_from_it(density, events):
    # 20,000 events see t that is off by 0.1 with p far below 1e-6.
    assert _chi_square(events, POINT[0]) > 1e-3
    assert _chi_square(events, POINT[0] + 0.1) < 1e-6
    assert np.array_equal(events, density.sample(20_000, POINT, seed=1))


def test_events_are_drawn_at_the_theta_of_each(density):
    theta = np.tile([[-0.8], [0.7]], (15_000, 1))
    drawn = density.sample(len(theta), theta, seed=2)
    for t in (-0.8, 0.7):
        assert _chi_square(drawn[theta[:, 0] == t], t) > 1e-3
    assert _chi_square(drawn, -0.05) < 1e-6


def test_probabilities_and_marginals_agree_with_quadrature_within_their_errors(density):
    low, high = PART
    found = density.box_mass(low, high, POINT, tolerance=1e-3)
    wanted = sum(_mass((low[0], high[0]), k, (low[2], high[2]), POINT[0]) for k in (1, 2))
    assert abs(found.value - wanted) < 5 * found.error + 1e-12
    assert 0 < found.error < 1e-3 * found.value
    other = sum(_mass((low[0], high[0]), k, (low[2], high[2]), POINT[0] - 0.6) for k in (1, 2))
    assert abs(found.value - other) > 5 * found.error
    y, k = np.array([-0.5, 0.3, 1.0, 2.5]), np.array([0, 2, 1, 0])
    marginal = density.marginal_prob(["y", "k"], np.column_stack([y, k]), POINT, tolerance=1e-3)
    x, dx = _nodes(-3, 3)
    wanted = dx @ _exact(x[:, None], k[None, :], y[None, :], POINT[0])
    assert np.all(np.abs(marginal.value - wanted) < 5 * marginal.error + 1e-12)
    assert np.all(marginal.error < 0.01 * wanted)


def test_files_pickles_and_fingerprints_hold_it(density, events, tmp_path):
    x = events[:100]
    path = density.save(tmp_path / "leaning.egmm")
    for again in (load_density(path), Density.load(path), Leaning.load(path), pickle.loads(pickle.dumps(density))):
        assert type(again) is Leaning
        assert np.array_equal(again.log_prob(x, POINT), density.log_prob(x, POINT))
        assert again.fingerprint == density.fingerprint
        assert again.source == density.source
    assert Leaning(0.9).fingerprint != density.fingerprint


def test_an_ensemble_of_it_is_the_mean_and_can_be_saved(density, events, tmp_path):
    members = [density, Leaning(0.8)]
    ensemble = load_density(EnsembleDensity(members).save(tmp_path / "both.egmm"))
    x = events[:500]
    wanted = np.log(np.mean([np.exp(member.log_prob(x, POINT)) for member in members], axis=0))
    assert np.allclose(ensemble.log_prob(x, POINT), wanted, rtol=0, atol=1e-12)
    parts = [member.box_mass(*PART, POINT, tolerance=1e-3) for member in members]
    found = ensemble.box_mass(*PART, POINT, tolerance=1e-3)
    assert found.value == pytest.approx(np.mean([one.value for one in parts]), rel=1e-12)
    drawn = ensemble.sample(20_000, POINT, seed=4)
    inside = np.all((drawn >= PART[0]) & (drawn <= PART[1]), axis=1).mean()
    assert inside == pytest.approx(float(found.value), abs=4 * np.sqrt(found.value / len(drawn)))


def _model(name):
    """Signal, which knows t, and a flat background."""
    t = zfit.Parameter(f"t_{name}", 0.1, -1, 1)
    yields = [zfit.Parameter(f"n_{part}_{name}", start, 0, 5000) for part, start in (("s", 500.0), ("b", 100.0))]
    signal = EGMM(Leaning(), params={"t": t}, extended=yields[0], tolerance=1e-2)
    flat = EGMM(UniformDensity(Axes(AXES.observables)), extended=yields[1], name="flat")
    return t, yields, zfit.pdf.SumPDF([signal, flat])


def test_in_zfit_it_integrates_truncates_projects_and_samples(density, events):
    pdf = EGMM(density, params={"t": zfit.Parameter("t_pdf", POINT[0], -1, 1)}, tolerance=1e-3)
    part = zfit.Space("x", PART[0][0], PART[1][0]) * zfit.Space("k", 0.5, 2.5) * zfit.Space("y", -0.5, 1.5)
    mass = sum(_mass((-1.0, 2.0), k, (-0.5, 1.5), POINT[0]) for k in (1, 2))
    assert pdf.integrate(part, norm=False).numpy()[0] == pytest.approx(mass, rel=2e-3)
    x = events[:100]
    assert np.allclose(pdf.log_pdf(x), density.log_prob(x, POINT), atol=1e-10)
    truncated = pdf.to_truncated(limits=part)
    drawn = truncated.sample(2000).value().numpy()
    assert np.all((drawn >= PART[0]) & (drawn <= PART[1]))
    assert np.allclose(truncated.log_pdf(drawn), density.log_prob(drawn, POINT) - np.log(mass), atol=2e-3)
    y = np.array([[-1.0], [0.5], [2.0]])
    (nodes, dx), wanted = _nodes(-3, 3), np.zeros(3)
    for k in range(3):
        wanted += dx @ _exact(nodes[:, None], k, y.T, POINT[0])
    projected = pdf.create_projection_pdf(obs=["y"]).pdf(y)
    # Projections aim for an error of one per cent of their mean.
    assert np.allclose(projected, wanted, rtol=0, atol=0.015 * wanted.mean())


def test_a_fit_and_a_limit_find_what_was_put_in(events):
    t, (n_signal, n_flat), model = _model("fit")
    rng = np.random.default_rng(5)
    low, high = AXES.box
    flat = low + (high - low) * rng.random((120, 3))
    flat[:, 1] = np.round(flat[:, 1])
    data = zfit.Data(np.concatenate([events[:600], flat.clip(*np.array([[-3, 0, -2], [3, 2, 4]]))]), obs=model.space)
    likelihood = Likelihood(zfit.loss.ExtendedUnbinnedNLL(model, data))
    result = zfit.minimize.Minuit(gradient="zfit").minimize(likelihood.loss)
    assert result.valid
    errors = result.hesse()
    for parameter, truth in ((t, POINT[0]), (n_signal, 600), (n_flat, 120)):
        error = errors[parameter]["error"]
        assert abs(result.params[parameter]["value"] - truth) < 4 * error
    assert 0.03 < errors[t]["error"] < 0.08
    limits = upper_limit(likelihood, n_flat, level=0.95, asimov_events=1000, progress=False)
    # Far from zero, CLs is one-sided: the best fit and 1.64 errors.
    wanted = result.params[n_flat]["value"] + 1.645 * errors[n_flat]["error"]
    assert limits.observed_limit == pytest.approx(wanted, rel=0.05)


def test_toys_are_drawn_and_fitted():
    def make():
        t, _, model = _model("toys")
        return ToyFit(zfit.loss.ExtendedUnbinnedNLL(model, model.create_sampler()), interest=[t.name])

    results = run_toys(make, 2, points=[{"t_toys": 0.3}], seed=1, progress=False)
    assert results.n_failed == 0
    assert np.all(np.abs(results.column("t_toys") - 0.3) < 0.25)


def test_diagnostics_take_it_or_say_what_it_lacks(density):
    theta = np.repeat([-0.5, 0.0, 0.5], 3000)
    x = density.sample(len(theta), theta[:, None], seed=6)
    sample = EventSample(density.observables, x, theta=theta, theta_names=("t",))
    assert score_test(density, sample).p_value > 0.01
    assert score_test(Leaning(1.3), sample).p_value < 1e-6
    with pytest.raises(TypeError, match=r"Leaning\(x, k, y \| t\) has no conditional distributions"):
        calibration(density, sample)
