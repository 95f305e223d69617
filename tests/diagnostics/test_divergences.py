from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from gaussian_density import GaussianDensity, events
from known_density import KnownDensity
from scipy.integrate import quad
from scipy.stats import norm

from zfit_egmm import EventSample, Observable
from zfit_egmm.density.axes import Axes
from zfit_egmm.diagnostics.shapes.divergences import observable_divergences, true_divergence
from zfit_egmm.diagnostics.shapes.energy import energy_test

MEASURES = ("chi_square", "kullback_leibler", "jensen_shannon", "hellinger", "wasserstein")


def _jensen_shannon_of_shifted(shift):
    p, q = norm(0, 1).pdf, norm(shift, 1).pdf

    def integrand(x):
        middle = 0.5 * (p(x) + q(x))
        return 0.5 * (p(x) * np.log(p(x) / middle) + q(x) * np.log(q(x) / middle))

    return quad(integrand, -6, 6.5)[0]


@pytest.mark.parametrize("kind", ["plain", "weighted", "negative"])
def test_measures_of_shifted_gaussians_are_the_known_ones(kind):
    shift = 0.5
    sample = events(GaussianDensity(2, has_theta=False), 60_000, 1, kind=kind)
    found = observable_divergences(GaussianDensity(2, shift=shift, has_theta=False), sample, seed=2)[0]
    for name, expected, coarseness in (
        ("kullback_leibler", 0.5 * shift**2, 0.03),
        ("jensen_shannon", _jensen_shannon_of_shifted(shift), 0.02),
        ("hellinger", np.sqrt(1 - np.exp(-(shift**2) / 8)), 0.01),
        ("wasserstein", shift, 0.0),
    ):
        measure = getattr(found, name)
        # The bias is about the number of bins over that of events; the coarseness of the bins loses a small part.
        assert abs(measure.value - expected) < 4 * measure.error + coarseness * expected + 50 / len(sample), name
        assert 0 < measure.error < 0.1 * expected
        assert measure.p_value == pytest.approx(1e-3)
        assert measure.baseline < 0.2 * measure.value


@pytest.mark.parametrize("kind", ["plain", "weighted", "negative"])
def test_a_right_model_is_as_far_away_as_the_other_half(kind):
    density = GaussianDensity(correlation=0.3)
    for found in observable_divergences(density, events(density, 20_000, 3, kind=kind), seed=4):
        for name in MEASURES:
            measure = getattr(found, name)
            assert measure.p_value > 2e-3
            assert abs(measure.value - measure.baseline) < 5 * np.hypot(measure.error, measure.baseline_error)
        assert found.chi_square.value == pytest.approx(1, abs=0.8)


@pytest.mark.parametrize(
    ("truth", "model"),
    [
        (GaussianDensity(), GaussianDensity(width=1.05)),
        (GaussianDensity(), GaussianDensity(shift=0.04)),
        (GaussianDensity(tail=0.01), GaussianDensity()),
    ],
    ids=["width 5 %", "shift 4 %", "tail 1 %"],
)
def test_small_distortions_are_seen_in_their_observable_alone(truth, model):
    # With 2 x 40,000 events; the Wasserstein distance is the most sensitive to shifts, the others to widths and tails.
    sample = events(truth, 80_000, 15)
    first, *others = observable_divergences(model, sample, seed=6)
    assert min(getattr(first, name).p_value for name in MEASURES) == pytest.approx(1e-3)
    assert min(getattr(other, name).p_value for other in others for name in MEASURES) > 2e-3


def test_errors_of_the_jackknife_are_the_spread_of_repetitions():
    model = GaussianDensity(1, shift=0.3, has_theta=False)
    found = [
        observable_divergences(model, events(GaussianDensity(1, has_theta=False), 4000, s), seed=s, n_permutations=9)[0]
        for s in range(60)
    ]
    for name in ("kullback_leibler", "hellinger", "wasserstein"):
        spread = np.std([getattr(one, name).value for one in found], ddof=1)
        # 60 repetitions know the spread to 9 %.
        assert np.mean([getattr(one, name).error for one in found]) == pytest.approx(spread, rel=0.35)


def test_distance_of_discrete_observables():
    class Die(KnownDensity):
        def __init__(self, *shares):
            super().__init__(Axes((Observable("jets", 0, 3, kind="discrete"),)), shares=shares)

        def _log_prob(self, x, theta):
            del theta
            return tf.gather(np.log(self.shares), tf.cast(x[:, 0], tf.int32))

        def sample(self, n, theta=None, *, seed=None):
            del theta
            return np.random.default_rng(seed).choice(4, size=(n, 1), p=self.shares).astype(float)

    truth, model = Die(0.4, 0.3, 0.2, 0.1), Die(0.3, 0.3, 0.2, 0.2)
    sample = EventSample(truth.observables, truth.sample(40_000, seed=1))
    found = observable_divergences(model, sample)[0]
    # A tenth of the events moves by three.
    assert found.wasserstein.value == pytest.approx(0.3, abs=4 * found.wasserstein.error)
    exact = 0.4 * np.log(4 / 3) + 0.1 * np.log(0.5)
    assert found.kullback_leibler.value == pytest.approx(exact, abs=4 * found.kullback_leibler.error + 1e-3)
    divergence = true_divergence(model, sample, truth.log_prob)
    assert divergence.value == pytest.approx(exact, abs=4 * divergence.error)


@pytest.mark.parametrize("kind", ["plain", "weighted", "negative"])
def test_the_energy_test_passes_a_right_model_and_sees_a_shift_of_a_fifth_of_a_width(kind):
    density = GaussianDensity(correlation=0.3)
    sample = events(density, 4000, 7, kind=kind)
    right = energy_test(density, sample, seed=1)
    assert right.n_events == 2000
    assert right.p_value > 0.01
    assert right.distance < 2 * right.expected
    wrong = energy_test(GaussianDensity(correlation=0.3, shift=0.2), sample, seed=1)
    assert wrong.p_value < 0.01


def test_the_energy_test_sees_what_only_depends_on_theta():
    # The marginal spectrum hardly changes if the slope changes its sign.
    sample = events(GaussianDensity(slope=0.5), 2000, 8)
    assert energy_test(GaussianDensity(slope=-0.5), sample, seed=1).p_value < 0.01


@pytest.mark.parametrize("n_observables", [1, 12])
def test_one_and_twelve_observables(n_observables):
    density = GaussianDensity(n_observables)
    sample = events(density, 2000, 9)
    assert len(observable_divergences(density, sample, n_permutations=19)) == n_observables
    assert energy_test(density, sample, n_events=300, n_permutations=99).p_value > 0.01


@pytest.mark.parametrize("kind", ["plain", "weighted", "negative"])
def test_divergence_from_a_known_truth(kind):
    truth, model = GaussianDensity(), GaussianDensity(shift=0.2)
    sample = events(truth, 20_000, 10, kind=kind)
    done = []
    found = true_divergence(model, sample, truth.log_prob, progress=done.append)
    assert found.value == pytest.approx(0.02, abs=4 * found.error)
    assert 1e-4 < found.error < 5e-3
    assert done == [1.0]
    assert true_divergence(truth, sample, truth.log_prob).value == 0


def test_a_model_without_density_at_an_event_is_infinitely_far_away():
    class Half(GaussianDensity):
        def log_prob(self, x, theta=None):
            del theta
            return np.where(x[:, 0] > 0, 1.0, -np.inf)

    sample = events(GaussianDensity(), 100, 1)
    assert true_divergence(Half(), sample, GaussianDensity().log_prob).value == np.inf
    with pytest.raises(ValueError, match="100 finite values"):
        true_divergence(Half(), sample, Half().log_prob)
    with pytest.raises(ValueError, match="100 finite values"):
        true_divergence(Half(), sample, lambda *_: np.zeros(3))
