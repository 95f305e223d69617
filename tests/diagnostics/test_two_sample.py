from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from gaussian_density import TAIL, GaussianDensity, events
from known_density import KnownDensity
from scipy.special import ndtr
from sklearn.metrics import roc_auc_score
from theta_truths import ToyTruth

from zfit_egmm import EventSample, Observable
from zfit_egmm.demo import toy
from zfit_egmm.density.axes import Axes
from zfit_egmm.diagnostics.shapes.classifier import ClassifierTest, classifier_test
from zfit_egmm.diagnostics.shapes.divergences import true_divergence
from zfit_egmm.diagnostics.shapes.worst_regions import worst_regions
from zfit_egmm.diagnostics.statistics.auc import ScoredPairs


def _pairs(n, seed, *, separation=0.5, is_rounded=False, weights=None):
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.7, n)
    scores = [common + rng.normal(mean, 0.7, n) for mean in (0.0, separation)]
    scores = [score.round(1) if is_rounded else score for score in scores]
    return ScoredPairs(*scores, np.ones(n) if weights is None else weights)


@pytest.mark.parametrize("is_rounded", [False, True])
def test_the_area_is_that_of_the_definition(is_rounded):
    weights = np.random.default_rng(1).choice([-1.0, 0.5, 2.0], 300, p=[0.1, 0.5, 0.4])
    pairs = _pairs(300, 2, is_rounded=is_rounded, weights=weights)
    above = np.sign(pairs.model[:, None] - pairs.simulation)
    expected = weights @ (0.5 + 0.5 * above) @ weights / weights.sum() ** 2
    assert pairs.auc()[0] == pytest.approx(expected, abs=1e-12)
    positive = ScoredPairs(pairs.simulation, pairs.model, np.abs(weights))
    label = np.repeat([0, 1], 300)
    known = roc_auc_score(
        label, np.concatenate([pairs.simulation, pairs.model]), sample_weight=np.tile(abs(weights), 2)
    )
    assert positive.auc()[0] == pytest.approx(known, abs=1e-12)


@pytest.mark.parametrize("has_weights", [False, True])
def test_the_error_of_the_area_is_the_spread_of_repetitions(has_weights):
    found = []
    for seed in range(400):
        weights = np.random.default_rng(seed).choice([-1.0, 1.0, 3.0], 400, p=[0.1, 0.6, 0.3]) if has_weights else None
        found.append(_pairs(400, seed, weights=weights).auc())
    areas, errors = np.transpose(found)
    # 400 repetitions know the spread to 3.5 %. Scores of a pair are correlated: without that, it is 20 % wrong.
    assert errors.mean() == pytest.approx(areas.std(ddof=1), rel=0.12)
    # The scores have variance 2 * 0.49 each.
    assert areas.mean() == pytest.approx(ndtr(0.5 / np.sqrt(4 * 0.49)), abs=4 * areas.std() / 20)


def test_swaps_have_the_spread_of_scores_that_tell_nothing():
    pairs = _pairs(2000, 3, separation=0.0, is_rounded=True)
    swapped = pairs.swapped_aucs(2000, np.random.default_rng(1))
    assert swapped.mean() == pytest.approx(0.5, abs=4 * swapped.std() / np.sqrt(2000))
    assert swapped.std() == pytest.approx(pairs.auc()[1], rel=0.08)


def test_p_values_of_scores_without_any_information_are_not_all_one():
    equal = ScoredPairs(np.ones(50), np.ones(50), np.ones(50))
    assert equal.auc() == pytest.approx((0.5, 0.0))
    p_values = [equal.p_value(99, np.random.default_rng(seed)) for seed in range(50)]
    assert 0.3 < np.mean(p_values) < 0.7


def test_the_roc_curve_encloses_the_area():
    pairs = _pairs(5000, 4)
    simulated, modelled = pairs.roc(2000)
    assert (simulated[0], modelled[0]) == (0, 0)
    assert (simulated[-1], modelled[-1]) == pytest.approx((1, 1))
    assert np.trapezoid(modelled, simulated) == pytest.approx(pairs.auc()[0], abs=1e-4)


@pytest.mark.parametrize(
    ("classifier", "kind"),
    [("trees", "negative"), ("trees", "plain"), ("network", "weighted")],
)
def test_the_area_of_two_gaussians_is_the_known_one(classifier, kind):
    shift = 0.8
    sample = events(GaussianDensity(2, has_theta=False), 20_000, 1, kind=kind)
    done = []
    model = GaussianDensity(2, shift=shift, has_theta=False)
    found = classifier_test(model, sample, classifier=classifier, seed=2, progress=done.append)
    # No classifier can do better; a trained one loses up to 0.003 here.
    exact = ndtr(shift / np.sqrt(2))
    assert exact - 0.003 - 3 * found.auc_error < found.auc < exact + 3 * found.auc_error
    assert 0.002 < found.auc_error < 0.01
    assert found.p_value < 1e-6
    assert done[-1] == pytest.approx(1)
    # The true log ratio of the densities is shift * x0 - shift^2 / 2.
    if kind != "negative":
        ratio = np.log(found.density_ratios[1])
        in_bulk = np.abs(found.model.x[:, 0] - 0.4) < 1.5
        exact_ratio = shift * found.model.x[in_bulk, 0] - 0.5 * shift**2
        assert np.sqrt(np.mean(np.square(ratio[in_bulk] - exact_ratio))) < 0.15


class ToyAt(KnownDensity):
    """The toy's own density at one theta."""

    def __init__(self, theta):
        super().__init__(Axes(tuple(toy.observables())), theta=theta)

    def _log_prob(self, x, theta):
        del theta
        return ToyTruth()._log_prob(x, tf.constant(self.theta, tf.float64))

    def log_prob(self, x, theta=None):
        del theta
        return toy.log_prob(x, self.theta)

    def sample(self, n, theta=None, *, seed=None):
        del theta
        return toy.sample(n, self.theta, seed)


def test_area_and_divergence_between_two_theta_of_the_toy_are_the_known_ones():
    true, wrong = (0.8, -0.3), ToyAt((0.3, -0.3))
    rows = [toy.sample(100_000, theta, seed) for theta, seed in ((true, 5), (wrong.theta, 6))]
    ratios = [toy.log_prob(x, wrong.theta) - toy.log_prob(x, true) for x in rows]
    exact, _ = ScoredPairs(*ratios, np.ones(100_000)).auc()
    sample = EventSample(toy.observables(), toy.sample(20_000, true, 1))
    found = classifier_test(wrong, sample, seed=2)
    # A classifier of so many events finds nine tenths of the difference; with 60,000 all but 0.004 of the area.
    assert 0.5 + 0.85 * (exact - 0.5) - 2 * found.auc_error < found.auc < exact + 3 * found.auc_error
    assert exact > 0.5 + 20 * found.auc_error
    known = -ratios[0].mean()
    divergence = true_divergence(wrong, sample, ToyAt(true).log_prob)
    assert abs(divergence.value - known) < 3 * divergence.error
    assert divergence.error < 0.05 * known


@pytest.mark.parametrize(
    ("classifier", "kind"),
    [("trees", "grid"), ("network", "plain"), ("trees", "weighted"), ("network", "negative")],
)
def test_a_right_model_cannot_be_told(classifier, kind):
    density = GaussianDensity(correlation=0.3)
    found = classifier_test(density, events(density, 5000, 3, kind=kind), classifier=classifier, seed=4)
    assert found.p_value > 0.001
    assert abs(found.auc - 0.5) < 3 * found.auc_error
    assert len(found.fold_aucs) == 4
    assert len(found.simulation) == len(found.model) == len(found.model_score)
    np.testing.assert_array_equal(found.simulation.theta, found.model.theta)


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("truth", "model", "classifier"),
    [
        (GaussianDensity(), GaussianDensity(width=1.05), "trees"),
        (GaussianDensity(correlation=0.05), GaussianDensity(), "network"),
        (GaussianDensity(tail=0.01), GaussianDensity(), "trees"),
    ],
    ids=["width 5 %", "correlation 0.05", "tail 1 %"],
)
def test_small_distortions_are_told(truth, model, classifier):
    # With 60,000 events. A shift of 2 % of a width would need about 400,000: the calibration is the test for that.
    sample = events(truth, 60_000, 5)
    assert classifier_test(model, sample, classifier=classifier, seed=6).p_value < 1e-3


def test_negative_weights_are_not_taken_for_positive_ones():
    # A tenth of negative weights, more on one side: their absolute values would look like another spectrum.
    density = GaussianDensity(1, has_theta=False)
    sample = events(density, 20_000, 7, kind="negative")
    absolute = EventSample(sample.observables, sample.x, weights=np.abs(sample.weights))
    assert classifier_test(density, sample, seed=1).p_value > 0.01
    assert classifier_test(density, absolute, seed=1).p_value < 1e-3
    wrong = GaussianDensity(1, shift=0.15, has_theta=False)
    assert classifier_test(wrong, sample, seed=1).p_value < 1e-3


def test_a_wrong_dependence_on_theta_is_told_and_located():
    truth = GaussianDensity(slope=0.0)
    found = classifier_test(GaussianDensity(slope=0.5), events(truth, 20_000, 8), seed=1)
    assert found.p_value < 1e-4
    first = worst_regions(found)[0]
    assert {"theta", "x0"} <= {name for name, _, _ in first.limits}
    assert abs(first.difference) > 5 * first.error


def test_a_lost_tail_is_located_in_words():
    truth = GaussianDensity(tail=0.03)
    found = classifier_test(GaussianDensity(), events(truth, 40_000, 9), seed=1)
    first = worst_regions(found)[0]
    (low,) = (low for name, low, _ in first.limits if name == "x0")
    assert TAIL[0] - 0.3 < low < TAIL[1] - 0.3
    assert first.description.startswith("x0 above 2.")
    assert " GeV" in first.description
    assert "% fewer events in the model than in the simulation" in first.description
    # At most 3 % of the events, next to the tail of the Gaussians themselves.
    assert 0.005 < first.share < 0.04
    assert -1 < first.difference < -0.7
    assert abs(first.difference) > 10 * first.error


def test_regions_of_a_right_model_agree_within_errors():
    density = GaussianDensity()
    pulls = []
    for seed in range(12):
        found = classifier_test(density, events(density, 3000, seed), seed=seed, n_folds=2)
        pulls += [region.difference / region.error for region in worst_regions(found, seed=seed)]
    # Measured on events that did not choose the region: pulls are not inflated. 36 of them know the spread to 12 %.
    assert 0.6 < np.std(pulls) < 1.4


def _test_of(x_simulated, x_modelled, ratio_above, observable):
    """A made-up result whose classifier knows the answer."""
    score = [np.where(x[:, 0] > ratio_above, 0.7, 0.5) for x in (x_simulated, x_modelled)]
    samples = [EventSample([observable], x) for x in (x_simulated, x_modelled)]
    return ClassifierTest("trees", 0.5, 0.1, (0.5,), 0.5, *samples, *score)


@pytest.mark.parametrize(("above", "words"), [(0, "at least 1"), (1, "at least 2"), (2, "= 3")])
def test_integers_in_words(above, words):
    rng = np.random.default_rng(1)
    x_simulated, x_modelled = rng.integers(0, 4, (2, 4000, 1)).astype(float)
    observable = Observable("jets", 0, 3, kind="discrete")
    first = worst_regions(_test_of(x_simulated, x_modelled, above, observable), max_depth=1)[0]
    # The last integer of all is "at least 3".
    assert first.description.startswith(f"jets {words}" if above < 2 else "jets at least 3")
    assert first.share == pytest.approx((3 - above) / 4, abs=0.05)


def test_a_region_without_simulation():
    rng = np.random.default_rng(1)
    x_simulated, x_modelled = rng.uniform(0, 0.5, (4000, 1)), rng.uniform(0, 1, (4000, 1))
    first = worst_regions(_test_of(x_simulated, x_modelled, 0.5, Observable("y", 0, 1)), max_depth=1)[0]
    assert first.description.endswith("events in the model, but none in the simulation")
    assert first.difference == np.inf


@pytest.mark.parametrize("n_observables", [1, 12])
def test_one_and_twelve_observables_and_few_events(n_observables):
    density = GaussianDensity(n_observables, has_theta=n_observables == 1)
    for classifier in ("trees", "network"):
        found = classifier_test(density, events(density, 300, 10), classifier=classifier, n_folds=2)
        assert len(found.simulation) == 150
        assert worst_regions(found)


def test_at_most_so_many_events_are_used():
    density = GaussianDensity(2)
    assert len(classifier_test(density, events(density, 2000, 1), max_events=500).simulation) == 400


@pytest.mark.parametrize("wrong", [{"classifier": "forest"}, {"n_folds": 1}])
def test_bad_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="classifier must be"):
        classifier_test(GaussianDensity(), events(GaussianDensity(), 100, 0), **wrong)
