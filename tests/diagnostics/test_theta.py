"""Tests of the dependence on theta: right densities pass, slightly wrong ones do not, biases come out as known."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from builders import random_density
from scipy import stats
from theta_truths import Gaussian, Plane, ToyTruth

from zfit_egmm import EventSample
from zfit_egmm.demo import toy
from zfit_egmm.density.composed.ensemble import EnsembleDensity
from zfit_egmm.diagnostics import (
    classifier_comparison,
    closure_fits,
    information_test,
    plot_bias,
    plot_closure,
    plot_information,
    plot_reweighting,
    plot_scores,
    reweighting_closure,
    score_test,
    theta_bias,
)
from zfit_egmm.diagnostics.theta.derivatives import Derivatives

RIGHT, STEEP = Gaussian(), Gaussian(slope=1.1)
POINTS = (-1.0, 0.0, 1.0)
TOY_POINTS = [(-0.7, 0.6), (0.4, -0.9), (0.8, 0.8)]


@pytest.fixture(scope="module")
def sample():
    return RIGHT.events(5000, POINTS, 1)


@pytest.fixture(scope="module")
def toy_events():
    x = np.concatenate([toy.sample(8000, point, seed) for seed, point in enumerate(TOY_POINTS)])
    theta = np.repeat(TOY_POINTS, 8000, axis=0)
    return EventSample(toy.observables(), x, theta=theta, theta_names=("cx", "cy"))


@pytest.mark.parametrize("kind", ["one", "ensemble"])
def test_derivatives_agree_with_differences(kind):
    members = [random_density(seed) for seed in (1, 2)]
    density = members[0] if kind == "one" else EnsembleDensity(members)
    theta = np.random.default_rng(0).uniform(0, 2, (2500, 1))
    x = density.sample(len(theta), theta, seed=1)
    derivatives, step = Derivatives(density), 1e-4
    log_prob, score = derivatives.log_prob_and_score(x, theta)
    (up, score_up), (down, score_down) = (derivatives.log_prob_and_score(x, theta + s) for s in (step, -step))
    assert np.allclose(log_prob, density.log_prob(x, theta), atol=1e-12)
    assert np.allclose(score[:, 0], (up - down) / (2 * step), atol=1e-5)
    curvature = derivatives.curvatures(x, theta)
    assert curvature.shape == (2500, 1, 1)
    assert np.allclose(curvature[:, 0], -(score_up - score_down) / (2 * step), atol=1e-4)


def test_derivatives_of_two_parameters_are_those_of_the_formula():
    density = Plane()
    sample = density.events(60, [(0.3, -0.2), (-0.5, 0.5)], 1)
    derivatives, matrix = Derivatives(density), np.array(density.matrix)
    wanted = (sample.x - sample.theta @ matrix.T) @ matrix
    assert np.allclose(derivatives.scores(sample.x, sample.theta), wanted, atol=1e-12)
    assert np.allclose(derivatives.curvatures(sample.x, sample.theta), matrix.T @ matrix, atol=1e-12)


@pytest.mark.statistical
@pytest.mark.parametrize("has_weights", [False, True])
def test_p_values_are_uniform_for_the_right_density(has_weights):
    # 200 repetitions, each at its own theta: Kolmogorov and Smirnov see a distribution off by 0.12 anywhere, the sum of
    # the squared pulls an error that is wrong by 30 %.
    sample = RIGHT.events(1000, np.linspace(-1, 1, 200), 3, has_weights=has_weights)
    result = score_test(RIGHT, sample)
    assert result.p_values.shape == (200,)
    assert stats.kstest(result.p_values, "uniform").pvalue > 0.01
    assert stats.kstest(information_test(RIGHT, sample).p_values, "uniform").pvalue > 0.01
    part = sample.select(sample.theta[:, 0] < -0.5)
    fits = closure_fits(RIGHT, part)
    assert fits.is_valid.all()
    assert stats.kstest(fits.p_values, "uniform").pvalue > 0.01
    assert stats.kstest(fits.pull[:, 0], "norm").pvalue > 0.01
    squares = np.sum((result.mean / result.error) ** 2)
    low, high = stats.chi2.ppf([0.005, 0.995], 200)
    assert low < squares < high
    assert not low < 1.3**2 * squares < high
    assert not low < squares / 1.3**2 < high


def test_a_dependence_off_by_ten_percent_is_seen(sample):
    # A tenth of a standard deviation per unit of theta; 5000 events at theta = 1 see 0.06 with four sigma.
    for test in (score_test, closure_fits):
        assert test(RIGHT, sample).p_value > 0.01
        assert test(STEEP, sample).p_value < 1e-6
    right, wrong = (reweighting_closure(density, sample) for density in (RIGHT, Gaussian(slope=1.15)))
    assert min(one.p_value for one in right) > 0.01
    assert min(one.p_value for one in wrong) < 1e-3


@pytest.mark.statistical
def test_on_the_toy_a_dependence_off_by_ten_percent_is_seen(toy_events):
    theta, x = toy_events.theta, toy_events.x
    values = ToyTruth().log_prob_tensor(tf.constant(x), tf.constant(theta)).numpy()
    assert np.allclose(values, toy.log_prob(x, theta), atol=1e-9)
    for test in (score_test, closure_fits):
        assert test(ToyTruth(), toy_events).p_value > 0.01
        assert test(ToyTruth(1.1), toy_events).p_value < 1e-6
    assert information_test(ToyTruth(), toy_events).p_value > 0.01
    bias = theta_bias(ToyTruth(1.1), toy_events, 400)
    # The likelihood finds the right cx at 1 / 1.1 of its value, whatever cy is.
    assert np.all(np.abs(bias.shift[:, 0] + np.array(TOY_POINTS)[:, 0] / 11) < 4 * bias.shift_error[:, 0] + 0.01)


def test_a_wrong_spread_is_seen_in_the_information(sample):
    right, wide = (information_test(density, sample) for density in (RIGHT, Gaussian(width=1.05)))
    assert right.p_value > 0.01
    assert np.all(np.abs(right.ratio - 1) < 4 * right.ratio_error)
    assert wide.p_value < 1e-6
    # Scores have the variance 1 / width^4, the curvature is 1 / width^2.
    assert np.allclose(wide.ratio, 1.05**2, atol=4 * wide.ratio_error.max())
    assert score_test(Gaussian(width=1.05), sample).p_value > 0.01


def test_bias_is_the_known_one(sample):
    bias = theta_bias(STEEP, sample, 400)
    wanted = np.array(POINTS) * (1 / 1.1 - 1)
    assert np.all(np.abs(bias.shift[:, 0] - wanted) < 4 * bias.shift_error[:, 0])
    sigma = 1 / (1.1 * np.sqrt(400))
    assert np.allclose(bias.sigma, sigma, rtol=0.05)
    assert np.allclose(bias.over_sigma, bias.shift / bias.sigma)
    assert np.allclose(bias.over_sigma_error, np.sqrt(400 / 5000), rtol=0.05)
    assert np.allclose(bias.distance, np.abs(bias.over_sigma[:, 0]))
    assert np.allclose(bias.distance_of_noise, bias.over_sigma_error[:, 0])
    expected = np.sqrt(np.mean((wanted / sigma) ** 2))
    assert bias.typical[0] == pytest.approx(expected, abs=0.35)
    assert theta_bias(RIGHT, sample, 400).typical[0] < 0.3
    more = theta_bias(STEEP, sample, 1600)
    assert np.allclose(more.over_sigma, 2 * bias.over_sigma)


def test_bias_of_two_parameters_uses_the_whole_matrix():
    truth, density = Plane(), Plane(((1.1, 0.5), (0.0, 1.0)))
    sample = truth.events(20_000, [(1.0, 0.5), (-0.5, 1.0)], 5)
    bias = theta_bias(density, sample, 100)
    model, matrix = np.array(density.matrix), np.array(truth.matrix)
    information = model.T @ model
    for group, theta in enumerate(bias.theta):
        shift = np.linalg.solve(model, matrix @ theta) - theta
        error = np.sqrt(np.diag(np.linalg.inv(information)) / 20_000)
        assert np.all(np.abs(bias.shift[group] - shift) < 4 * error)
        assert np.allclose(bias.information[group], information, atol=0.1)
        assert np.allclose(bias.sigma[group], np.sqrt(np.diag(np.linalg.inv(information)) / 100), rtol=0.05)
        assert bias.distance[group] == pytest.approx(np.sqrt(100 * shift @ information @ shift), abs=0.4)
        assert bias.distance_of_noise[group] == pytest.approx(np.sqrt(2 * 100 / 20_000), rel=0.05)


def test_fits_give_large_biases_exactly():
    density = Gaussian(bend=1.0)
    sample = RIGHT.events(20_000, [0.9], 6)
    fits = closure_fits(density, sample)
    linear, fitted = (theta_bias(density, sample, 400, fits=one) for one in (None, fits))
    # The root of theta + theta^2 = 0.9.
    wanted = 0.5 * (np.sqrt(1 + 4 * 0.9) - 1) - 0.9
    assert fits.is_valid.all()
    assert fitted.shift[0, 0] == pytest.approx(wanted, abs=4 * fits.error[0, 0])
    assert abs(linear.shift[0, 0] - wanted) > 6 * linear.shift_error[0, 0]


def test_a_fit_that_leaves_the_allowed_range_is_not_valid():
    # The best fit is at 2.5, the trained range ends at one.
    density = Gaussian(slope=0.4)
    sample = RIGHT.events(2000, [0.0, 1.0], 6)
    fits = closure_fits(density, sample)
    assert fits.is_valid.tolist() == [True, False]
    assert np.isnan(fits.p_values).tolist() == [False, True]
    assert fits.p_value == fits.p_values[0]
    linear, fitted = (theta_bias(density, sample, 400, fits=one) for one in (None, fits))
    assert fitted.shift[1, 0] == linear.shift[1, 0]
    assert np.isnan(closure_fits(density, sample.select(sample.theta[:, 0] == 1)).p_value)


@pytest.mark.statistical
def test_a_classifier_beats_a_wrong_ratio_but_not_the_right_one():
    # With 20,000 events at each theta a slope wrong by 30 % is found, one by 10 % is not.
    sample = RIGHT.events(20_000, [0.0, 1.0], 7)
    (right,) = classifier_comparison(RIGHT, sample, seed=1)
    (wrong,) = classifier_comparison(Gaussian(slope=1.3), sample, seed=1)
    assert right.p_value > 0.5
    assert wrong.p_value < 1e-3
    assert right.log_loss < wrong.log_loss
    assert right.auc == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=0.01)
    assert right.classifier_auc == pytest.approx(right.auc, abs=0.01)
    assert right.classifier_log_loss - right.log_loss == pytest.approx(right.difference, abs=1e-12)
    assert classifier_comparison(RIGHT, sample, seed=1)[0].difference == right.difference


@pytest.mark.statistical
def test_negative_weights_count():
    sample = RIGHT.events(20_000, [0.0, 1.0], 8, has_weights=True)
    assert (sample.weights < 0).mean() > 0.05
    assert score_test(RIGHT, sample).p_value > 0.01
    (closed,) = reweighting_closure(RIGHT, sample, pairs=[(0, 1)])
    assert closed.p_value > 0.01
    assert abs(closed.normalisation - 1) < 4 * closed.normalisation_error
    (one,) = classifier_comparison(RIGHT, sample)
    assert one.auc == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=0.02)
    # Without their weights the events have the same distribution; without the negative ones they have another.
    unweighted = EventSample(sample.observables, sample.x, theta=sample.theta, theta_names=("t",))
    assert score_test(RIGHT, unweighted).p_value > 0.01
    assert score_test(RIGHT, unweighted.select(sample.weights > 0)).p_value < 1e-6


def test_reweighting_reproduces_all_spectra(toy_events):
    closed = reweighting_closure(ToyTruth(), toy_events, pairs=[((0.4, -0.9), (0.8, 0.8))])[0]
    assert [spectrum.name for spectrum in closed.spectra] == ["x0", "x1", "x2", "x3", "log ratio"]
    assert closed.p_value > 0.01
    assert closed.theta_to.tolist() == [0.8, 0.8]
    for spectrum in closed.spectra:
        assert spectrum.test.ndf == len(spectrum.target) - 1
        for shares in (spectrum.before, spectrum.reweighted, spectrum.target):
            assert shares.sum() == pytest.approx(1)
    assert closed.effective_events < 8000
    distance = max(np.abs(s.before - s.target).max() / s.error.max() for s in closed.spectra)
    assert distance > 5


def test_a_real_density_with_a_discrete_observable():
    density = random_density(1)
    theta = np.repeat([0.4, 1.0, 1.6], 3000)
    x = density.sample(len(theta), theta[:, None], seed=2)
    own, moved = (EventSample(density.observables, x, theta=t, theta_names=("coupling",)) for t in (theta, theta + 0.2))
    assert score_test(density, own).p_value > 0.01
    assert score_test(density, moved).p_value < 1e-6
    assert closure_fits(density, own).p_value > 0.01
    fits = closure_fits(density, moved)
    assert np.all(np.abs(fits.shift[:, 0] + 0.2) < 4 * fits.error[:, 0])
    closed = reweighting_closure(density, own)
    assert min(one.p_value for one in closed) > 0.01
    jets = closed[0].spectra[1]
    assert np.array_equal(jets.edges, [-0.5, 0.5, 1.5, 2.5, 3.5])


def test_theta_may_differ_from_event_to_event():
    values = np.random.default_rng(2).uniform(-1, 1, 20_000)
    sample = RIGHT.events(1, values, 4)
    result = score_test(RIGHT, sample)
    assert 4 <= len(result.theta) <= 16
    assert np.all(np.diff(result.theta[:, 0]) > 0)
    assert result.p_value > 0.01
    assert score_test(STEEP, sample).p_value < 1e-6
    assert closure_fits(RIGHT, sample).p_value > 0.01
    with pytest.raises(ValueError, match="event to event"):
        reweighting_closure(RIGHT, sample)


def test_says_what_it_cannot_do(sample):
    with pytest.raises(ValueError, match="but the sample has"):
        score_test(ToyTruth(), sample)
    few = RIGHT.events(30, POINTS, 1)
    many = EventSample.concatenate([few, RIGHT.events(300, (0.5,), 2)])
    with pytest.raises(ValueError, match="only 30 held-out events"):
        score_test(RIGHT, many)
    with pytest.raises(ValueError, match=r"no events at theta = \[3.\]"):
        reweighting_closure(RIGHT, sample, pairs=[(0, 3)])
    with pytest.raises(ValueError, match="two theta at least"):
        reweighting_closure(RIGHT, RIGHT.events(300, (0.5,), 2))
    with pytest.raises(ValueError, match="n_expected"):
        theta_bias(RIGHT, sample, 0)
    with pytest.raises(ValueError, match="another sample"):
        theta_bias(RIGHT, sample, 400, fits=closure_fits(RIGHT, many.select(many.theta[:, 0] == 0.5)))
    flat = Gaussian(slope=0.0)
    for function in (closure_fits, lambda *args: theta_bias(*args, 400)):
        with pytest.raises(ValueError, match="'t'"):
            function(flat, sample)
    with pytest.raises(ValueError, match="density zero"):
        Derivatives(random_density(1)).scores(np.array([[300.0, 0.0, 0.0]]), np.array([[0.5]]))


def test_figures_show_every_theta(sample, toy_events):
    fits = closure_fits(RIGHT, sample)
    for figure in (
        plot_scores(score_test(RIGHT, sample)),
        plot_information(information_test(RIGHT, sample)),
        plot_bias(theta_bias(RIGHT, sample, 400, fits=fits)),
        plot_closure(fits),
    ):
        (axes,) = figure.axes
        assert axes.containers[0].lines[0].get_xdata().tolist() == list(POINTS)
    panels = plot_scores(score_test(ToyTruth(), toy_events)).axes
    assert [axes.get_ylabel().split()[3] for axes in panels] == ["cx", "cy"]
    assert [text.get_text() for text in panels[1].get_xticklabels()] == ["(-0.7, 0.6)", "(0.4, -0.9)", "(0.8, 0.8)"]
    figure = plot_reweighting(reweighting_closure(ToyTruth(), toy_events, pairs=[TOY_POINTS[1:]])[0])
    assert [axes.get_xlabel() for axes in figure.axes] == ["x0", "x1", "x2", "x3", "log ratio"]
    figure.draw_without_rendering()
