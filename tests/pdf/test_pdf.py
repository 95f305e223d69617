"""The zfit PDF: equal to the density, normalised without numeric integration, at home in zfit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tensorflow as tf
import zfit
from scipy.special import gammaln

from zfit_egmm.pdf import EGMM, box


def _params(density, **fixed):
    middle = {n: 0.6 * a + 0.4 * b for n, (a, b) in zip(density.theta_names, density.theta_range, strict=True)}
    return {
        name: zfit.Parameter(f"par_{name}", fixed.get(name, value), *limits)
        for (name, value), limits in zip(middle.items(), density.theta_range, strict=True)
    }


@pytest.fixture
def no_numeric_integration(monkeypatch):
    """Makes zfit's numeric integration fail loudly."""

    def refuse(*args, **kwargs):
        raise AssertionError("numeric integration was used")

    monkeypatch.setattr("zfit.core.integration.numeric_integrate", refuse, raising=False)
    monkeypatch.setattr("zfit.core.integration.mc_integrate", refuse)
    monkeypatch.setattr("zfit.core.basemodel.BaseModel._auto_numeric_integrate", refuse)


def test_the_guard_against_numeric_integration_works(no_numeric_integration):
    class Plain(zfit.pdf.ZPDF):
        _PARAMS = ("slope",)

        def _unnormalized_pdf(self, x):
            return 1 + self.params["slope"] * x["x"] ** 2

    pdf = Plain(obs=zfit.Space("x", 0, 1), slope=zfit.Parameter("slope", 1.0))
    with pytest.raises(AssertionError, match="numeric integration"):
        pdf.pdf(np.array([0.5]))


@pytest.mark.parametrize("is_graph", [True, False])
def test_equals_the_density(density, theta, is_graph, no_numeric_integration):
    if not is_graph:
        zfit.run.set_graph_mode(False)
    pdf = EGMM(density, params=_params(density))
    x = density.sample(400, theta, seed=1)
    expected = density.log_prob(x, theta)
    assert np.abs(pdf.log_pdf(x).numpy() - expected).max() < 1e-10
    assert np.abs(np.log(pdf.pdf(x).numpy()) - expected).max() < 1e-10
    assert float(pdf.integrate(pdf.space)[0]) == 1.0
    assert float(pdf.integrate(box(density))[0]) == 1.0
    assert pdf.pdf(x).dtype == tf.float64


def test_loss_is_the_density_without_numeric_integration(
    h4l_density, h4l_background, h4l_events, no_numeric_integration
):
    params = _params(h4l_density)
    signal = EGMM(h4l_density, params=params, extended=zfit.Parameter("n_s", 280.0))
    background = EGMM(h4l_background, extended=zfit.Parameter("n_b", 210.0))
    model = zfit.pdf.SumPDF([signal, background])
    loss = zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(h4l_events.data, obs=model.space))
    point = [float(p.value()) for p in params.values()]
    density = 280 * np.exp(h4l_density.log_prob(h4l_events.data, point)) + 210 * np.exp(
        h4l_background.log_prob(h4l_events.data)
    )
    # zfit writes the factorial of N with Stirling, good to 1 / (12 N).
    assert float(loss.value(full=True)) == pytest.approx(
        490 - np.log(density).sum() + gammaln(len(density) + 1), abs=1e-3
    )
    step = 1e-3
    parameter = params["theta"]
    values = []
    for shift in (step, -step):
        with parameter.set_value(point[0] + shift):
            values.append(float(loss.value(full=False)))
    slopes = dict(zip(loss.get_params(), loss.gradient(), strict=True))
    assert float(slopes[parameter]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-5)


def test_columns_may_come_in_another_order(toy_density):
    params = _params(toy_density)
    pdf = EGMM(toy_density, params=params)
    turned = EGMM(toy_density, params=params, obs=["x3", "x1", "x0", "x2"], name="turned")
    point = [float(params[name].value()) for name in toy_density.theta_names]
    x = toy_density.sample(300, point, seed=1)
    expected = toy_density.log_prob(x, point)
    data = zfit.Data(x[:, [3, 1, 0, 2]], obs=turned.space)
    assert np.abs(pdf.log_pdf(data).numpy() - expected).max() < 1e-10
    assert np.abs(turned.log_pdf(data).numpy() - expected).max() < 1e-10
    assert np.abs(turned.log_pdf(x[:, [3, 1, 0, 2]]).numpy() - expected).max() < 1e-10
    sample = turned.sample(2000)
    low, high = np.array([o.limits for o in toy_density.observables])[[3, 1, 0, 2]].T
    assert np.all((sample.value().numpy() >= low) & (sample.value().numpy() <= high))
    assert sample.value().numpy()[:, 2].mean() == pytest.approx(x[:, 0].mean(), rel=0.1)


def test_is_zero_outside_the_range(density, theta):
    pdf = EGMM(density, params=_params(density))
    x = density.sample(3, theta, seed=1)
    x[1, 0] = density.observables[0].limits[1] + 1
    values = pdf.pdf(x).numpy()
    assert values[1] == 0
    assert np.all(values[[0, 2]] > 0)


def test_samples_follow_the_parameters_and_the_seed(toy_density):
    params = _params(toy_density, cx=-0.8, cy=0.0)
    pdf = EGMM(toy_density, params=params)
    draws = []
    for seed in (5, 5, 6):
        zfit.settings.set_seed(seed)
        draws.append(pdf.sample(20_000).value().numpy())
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    params["cx"].set_value(0.8)
    zfit.settings.set_seed(5)
    other = pdf.sample(20_000).value().numpy()
    # cx shifts the mean of sin(x2); the expected difference is about 0.25 with an error of 0.007.
    difference = np.sin(other[:, 2]).mean() - np.sin(draws[0][:, 2]).mean()
    expected = [np.sin(toy_density.sample(50_000, [cx, 0.0], seed=1)[:, 2]).mean() for cx in (-0.8, 0.8)]
    assert difference == pytest.approx(expected[1] - expected[0], abs=0.03)
    assert abs(difference) > 0.1


def test_sampler_fluctuates_and_resamples(toy_density):
    params = _params(toy_density, cx=-0.5)
    pdf = EGMM(toy_density, params=params, extended=zfit.Parameter("n", 300.0, 0, 1000))
    sampler = pdf.create_sampler(n="extended")
    loss = zfit.loss.ExtendedUnbinnedNLL(pdf, sampler)
    sizes, values = [], []
    for _ in range(4):
        sampler.resample()
        sizes.append(int(sampler.nevents))
        values.append(float(loss.value()))
    assert len(set(sizes)) > 1
    assert len(set(values)) == 4
    sampler.resample(params={params["cx"]: 0.9})
    assert float(params["cx"].value()) == -0.5


def test_sum_with_other_zfit_pdfs(plain_density):
    space = box(plain_density)
    fraction = zfit.Parameter("fraction", 0.3, 0, 1)
    flat = zfit.pdf.Uniform(0, 10, obs=space)
    learned = EGMM(plain_density, obs=space)
    total = zfit.pdf.SumPDF([learned, flat], fracs=fraction)
    x = np.linspace(0.1, 9.9, 50)[:, None]
    expected = 0.3 * np.exp(plain_density.log_prob(x)) + 0.7 * 0.1
    assert np.allclose(total.pdf(x).numpy(), expected, rtol=1e-10)


def test_fit_recovers_theta_within_its_errors(toy_density):
    truth = np.array([0.5, -0.4])
    params = _params(toy_density, cx=0.3, cy=-0.2)
    pdf = EGMM(toy_density, params=params)
    data = zfit.Data(toy_density.sample(2000, truth, seed=8), obs=pdf.space)
    result = zfit.minimize.Minuit(gradient="zfit").minimize(zfit.loss.UnbinnedNLL(pdf, data))
    result.hesse(name="hesse")
    assert result.valid
    for (name, parameter), value in zip(params.items(), truth, strict=True):
        error = result.params[parameter]["hesse"]["error"]
        assert 0.001 < error < 0.2, name
        assert abs(result.params[parameter]["value"] - value) < 4 * error


def test_copies_and_extended_copies(toy_density):
    params = _params(toy_density)
    pdf = EGMM(toy_density, params=params, name="first")
    x = toy_density.sample(50, [0, 0], seed=1)
    copy = pdf.copy(name="second")
    assert copy.name == "second"
    assert copy.space == pdf.space
    assert np.array_equal(copy.pdf(x).numpy(), pdf.pdf(x).numpy())
    extended = pdf.create_extended(zfit.Parameter("n", 100.0))
    assert extended.is_extended
    assert not pdf.is_extended
    assert np.allclose(extended.ext_pdf(x).numpy(), 100 * pdf.pdf(x).numpy())
    assert extended.copy().is_extended
    other = pdf.copy(params={"cx": zfit.Parameter("another", 0.9, -1, 1)})
    assert not np.allclose(other.pdf(x).numpy(), pdf.pdf(x).numpy())


def test_a_theta_outside_the_trained_range_warns_once_with_both_ranges(toy_density):
    params = {name: zfit.Parameter(f"wide_{name}", 0.0, -5, 5) for name in toy_density.theta_names}
    pdf = EGMM(toy_density, params=params)
    x = toy_density.sample(5, [0, 0], seed=1)
    pdf.pdf(x)
    params["cx"].set_value(2.5)
    with pytest.warns(UserWarning, match=r"(?s)limits \[-5, 5\].*\[-1, 1\]"):
        pdf.pdf(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pdf.pdf(x)


@pytest.mark.parametrize("limits", [(), (-3, 3)])
def test_a_fit_that_may_leave_the_trained_range_warns_once(toy_density, limits):
    params = {name: zfit.Parameter(f"free_{name}", 0.1, *limits) for name in toy_density.theta_names}
    pdf = EGMM(toy_density, params=params)
    loss = zfit.loss.UnbinnedNLL(pdf, zfit.Data(toy_density.sample(20, [0, 0], seed=1), obs=pdf.space))
    with pytest.warns(UserWarning, match=r"a fit of cx .*limits.* may leave the range \[-1, 1\]"):
        loss.value()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*in which it was trained")
        loss.gradient()
        inside = EGMM(toy_density, params=_params(toy_density))
        zfit.loss.UnbinnedNLL(inside, zfit.Data(toy_density.sample(20, [0, 0], seed=1), obs=pdf.space)).value()


def test_numbers_are_constant_parameters(toy_density):
    pdf = EGMM(toy_density, params={"cx": 0.5, "cy": -0.5})
    x = toy_density.sample(5, [0.5, -0.5], seed=1)
    assert np.allclose(pdf.log_pdf(x).numpy(), toy_density.log_prob(x, [0.5, -0.5]), atol=1e-10)
    assert not pdf.get_params(floating=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"missing \['cx', 'cy'\].*zfit.Parameter\('cx'"),
        ({"params": {"cx": 0.0}}, r"missing \['cy'\]"),
        ({"params": {"cx": 0.0, "cy": 0.0, "cz": 0.0}}, r"unknown \['cz'\]"),
        ({"params": {"cx": 0.0, "cy": 0.0}, "obs": ["x0", "x1", "x2"]}, r"\['x0', 'x1', 'x2'\].*'x3'"),
        ({"params": {"cx": 0.0, "cy": 0.0}, "obs": ["a", "x1", "x2", "x3"]}, "'a'"),
    ],
)
def test_what_does_not_match_the_density_is_refused(toy_density, arguments, message):
    with pytest.raises(ValueError, match=message):
        EGMM(toy_density, **arguments)


@pytest.mark.parametrize("limits", [(-1, 5), (3, 11), (-2, 12)])
def test_limits_beyond_the_box_are_refused(plain_density, limits):
    with pytest.raises(ValueError, match=r"not a part of the box of the density: mass \[0, 10\]"):
        EGMM(plain_density, obs=zfit.Space("mass", *limits))


def test_truncating_twice_keeps_the_first_cut(plain_density):
    x = np.array([[1.0], [3.0], [5.0], [7.0]])
    windows = [zfit.Space("mass", 0, 4), zfit.Space("mass", 6, 10)]
    once = EGMM(plain_density, extended=zfit.Parameter("n", 100.0)).to_truncated(windows)
    twice = once.to_truncated(zfit.Space("mass", 2, 10), extended=True)
    assert np.array_equal(once.pdf(x).numpy() > 0, [True, True, False, True])
    assert np.array_equal(twice.pdf(x).numpy() > 0, [False, True, False, True])
    parts = [float(plain_density.box_mass([a], [b]).value) for a, b in ((0, 4), (6, 10), (2, 4))]
    share = (parts[2] + parts[1]) / (parts[0] + parts[1])
    assert float(twice.get_yield().value()) == pytest.approx(100 * share)
    expected = np.exp(plain_density.log_prob(x[1:2])) / (parts[2] + parts[1])
    assert twice.pdf(x[1:2]).numpy() == pytest.approx(expected)
    with pytest.raises(ValueError, match="is zero in all of the limits"):
        once.to_truncated(zfit.Space("mass", 4.5, 5.5))


def test_something_else_than_a_density_is_refused():
    with pytest.raises(TypeError, match=r"Density.load"):
        EGMM("model.egmm")


@pytest.mark.gpu
def test_log_density_on_a_gpu_equals_the_cpu(toy_density):
    x = toy_density.sample(1000, [0, 0], seed=1)
    point = tf.zeros(2, tf.float64)
    values = []
    for device in ("/CPU:0", "/GPU:0"):
        with tf.device(device):
            values.append(tf.function(toy_density.log_prob_tensor, jit_compile=True)(tf.constant(x), point).numpy())
    assert np.allclose(*values, atol=1e-9)
