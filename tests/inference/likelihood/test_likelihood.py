"""The compiled likelihood against zfit's own losses."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from builders import random_density

from zfit_egmm.inference.likelihood.constraints import Auxiliary
from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.pdf import EGMM

OBS = zfit.Space("x", 0, 10)
OTHER = zfit.Space("y", -2, 2)


def _parameters():
    return {
        "mu": zfit.Parameter("mu", 5.0, 2, 8),
        "sigma": zfit.Parameter("sigma", 1.0, 0.3, 3),
        "slope": zfit.Parameter("slope", -0.1, -1, 0.5),
        "n_s": zfit.Parameter("n_s", 80.0, 0, 1000),
        "n_b": zfit.Parameter("n_b", 110.0, 0, 1000),
        "fraction": zfit.Parameter("fraction", 0.4, 0, 1),
    }


def _pdfs(p, obs=OBS, **arguments):
    return [zfit.pdf.Gauss(p["mu"], p["sigma"], obs, **arguments), zfit.pdf.Exponential(p["slope"], obs, **arguments)]


def _extended(p, obs=OBS, **arguments):
    signal, background = _pdfs(p, obs, **arguments)
    return zfit.pdf.SumPDF([signal.create_extended(p["n_s"]), background.create_extended(p["n_b"])])


def _events(n=60, seed=0, low=0.01, high=9.99):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(5, 1, n // 2), rng.uniform(0, 10, n - n // 2)])
    return np.clip(x, low, high)[:, None]


def _data(obs=OBS, **arguments):
    return zfit.Data(_events(), obs=obs, **arguments)


def extended_sum():
    return zfit.loss.ExtendedUnbinnedNLL(_extended(_parameters()), _data())


def extended_sum_in_a_plain_fit():
    return zfit.loss.UnbinnedNLL(_extended(_parameters()), _data())


def fractions():
    p = _parameters()
    return zfit.loss.UnbinnedNLL(zfit.pdf.SumPDF(_pdfs(p), fracs=p["fraction"]), _data())


def fractions_and_own_yield():
    p = _parameters()
    model = zfit.pdf.SumPDF(_pdfs(p), fracs=p["fraction"], extended=p["n_s"])
    return zfit.loss.ExtendedUnbinnedNLL(model, _data())


def yields_and_own_yield():
    """The yield of the sum is another function of the yields of its terms than their sum."""
    p = _parameters()
    twice = zfit.ComposedParameter(
        "twice", lambda params: 2 * params["a"] + params["b"], params={"a": p["n_s"], "b": p["n_b"]}
    )
    terms = [pdf.create_extended(p[name]) for pdf, name in zip(_pdfs(p), ("n_s", "n_b"), strict=True)]
    return zfit.loss.ExtendedUnbinnedNLL(zfit.pdf.SumPDF(terms, extended=twice), _data())


def single():
    return zfit.loss.UnbinnedNLL(_pdfs(_parameters())[0], _data())


def product():
    p = _parameters()
    second = zfit.pdf.Gauss(zfit.Parameter("mu_y", 0.3, -1, 1), 0.8, OTHER)
    model = zfit.pdf.ProductPDF([_pdfs(p)[0], second], extended=p["n_s"])
    x = np.concatenate([_events(), np.random.default_rng(1).uniform(-2, 2, (60, 1))], axis=1)
    return zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(x, obs=OBS * OTHER))


def nested_sums():
    p = _parameters()
    inner = zfit.pdf.SumPDF(_pdfs(p), fracs=p["fraction"]).create_extended(p["n_s"])
    outer = zfit.pdf.Gauss(2.0, p["sigma"], OBS).create_extended(p["n_b"])
    return zfit.loss.ExtendedUnbinnedNLL(zfit.pdf.SumPDF([inner, outer]), _data())


def two_channels_one_weighted():
    p = _parameters()
    second = zfit.Space("z", 0, 10)
    other = zfit.pdf.Gauss(p["mu"], 2.0, second).create_extended(zfit.Parameter("n_2", 50.0, 0, 500))
    weights = np.random.default_rng(3).uniform(-0.2, 2, 60)
    data = [_data(weights=weights), zfit.Data(_events(40, seed=2), obs=second)]
    return zfit.loss.ExtendedUnbinnedNLL([_extended(p), other], data)


def constraints_and_composed_yield():
    p = _parameters()
    rate = zfit.ComposedParameter(
        "rate", lambda params: params["a"] ** 2 + params["b"], params={"a": p["n_s"], "b": p["mu"]}
    )
    model = zfit.pdf.SumPDF([pdf.create_extended(n) for pdf, n in zip(_pdfs(p), (rate, p["n_b"]), strict=True)])
    entries = [
        zfit.constraint.GaussianConstraint([p["mu"], p["slope"]], [5.1, -0.2], cov=[[0.04, 0.003], [0.003, 0.01]]),
        zfit.constraint.PoissonConstraint(p["n_b"], 120),
        zfit.constraint.LogNormalConstraint(p["sigma"], 0.1, 0.2),
        zfit.constraint.SimpleConstraint(lambda: (p["n_s"] - 70) ** 2 / 50, params=[p["n_s"]]),
    ]
    return zfit.loss.ExtendedUnbinnedNLL(model, _data(), constraints=entries)


def part_of_the_range():
    part = zfit.Space("x", 1, 6)
    return zfit.loss.ExtendedUnbinnedNLL(_extended(_parameters(), norm=part), _data(part))


def learned():
    """A learned density, truncated and with the observables in another order than its own, and a flat background."""
    theta = zfit.Parameter("theta", 0.5, -0.5, 2)
    yields = [zfit.Parameter("n_s", 60.0, 0, 500), zfit.Parameter("n_b", 90.0, 0, 500)]
    axes = [zfit.Space("angle", -2, 2), zfit.Space("mass", 110, 170), zfit.Space("jets", -0.5, 3.5)]
    space = axes[0] * axes[1] * axes[2]
    flat = [zfit.pdf.Uniform(axis.v1.lower, axis.v1.upper, axis) for axis in axes]
    density = random_density(1)
    signal = EGMM(density, params={"coupling": theta}, obs=space, extended=yields[0])
    model = zfit.pdf.SumPDF([signal, zfit.pdf.ProductPDF(flat, obs=space, extended=yields[1])])
    x = density.sample(80, [0.5], seed=1)[:, [2, 0, 1]]
    return zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(x, obs=space))


CASES = (
    extended_sum,
    extended_sum_in_a_plain_fit,
    fractions,
    fractions_and_own_yield,
    yields_and_own_yield,
    single,
    product,
    nested_sums,
    two_channels_one_weighted,
    constraints_and_composed_yield,
    part_of_the_range,
    learned,
)


def _points(likelihood, n=3, seed=5):
    """The current values and random ones around them, inside the limits."""
    rng = np.random.default_rng(seed)
    centre = np.array(list(likelihood.values.values()))
    low, high = np.array(list(likelihood.limits.values())).T
    moved = [np.clip(centre + 0.05 * rng.normal(size=len(centre)) * (high - low), low, high) for _ in range(n - 1)]
    return [centre, *moved]


def _of_zfit(loss, likelihood, at):
    """Value and gradient of zfit's loss."""
    likelihood.set_values(dict(zip(likelihood.names, at, strict=True)))
    value, gradient = loss.value_gradient(likelihood.parameters, full=True)
    return float(value), gradient.numpy()


def _compare(loss):
    likelihood = Likelihood(loss)
    points = _points(likelihood)
    values, gradients = zip(*(likelihood.value_and_gradient(at) for at in points), strict=True)
    theirs, their_gradients = zip(*(_of_zfit(loss, likelihood, at) for at in points), strict=True)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(
        np.subtract(values, values[0]), np.subtract(theirs, theirs[0]), rtol=0, atol=1e-9 * scale
    )
    np.testing.assert_allclose(gradients, their_gradients, rtol=1e-7, atol=1e-7 * np.abs(their_gradients).max(0).min())
    for at, value in zip(points, values, strict=True):
        assert likelihood.value(at) == pytest.approx(value, rel=1e-12)
    return likelihood, points, values, gradients


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_values_and_gradients_are_those_of_zfit(case):
    likelihood, points, values, gradients = _compare(case())
    # With only one parameter to vary, densities that do not depend on it are kept.
    for at, value, gradient in zip(points, values, gradients, strict=True):
        found, slopes = likelihood.value_and_gradient(at, [likelihood.names[-1]])
        assert found == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(slopes, [*np.zeros(len(at) - 1), gradient[-1]], rtol=1e-9, atol=1e-9)


def test_the_tolerance_of_the_comparison_notices_a_small_mistake():
    loss = extended_sum()
    likelihood = Likelihood(loss)
    first, *others = _points(likelihood)
    theirs = [_of_zfit(loss, likelihood, at)[0] for at in (first, *others)]
    x = likelihood.x[0].numpy()
    likelihood.set_data([x + np.where(np.arange(len(x)) == 7, 1e-5, 0.0)[:, None]])
    ours = [likelihood.value(at) for at in (first, *others)]
    assert np.abs((ours[1] - ours[0]) - (theirs[1] - theirs[0])) > 1e-9 * np.abs(theirs).max()


class _Counted(Likelihood):
    """Counts how often Python code runs, which happens only when a graph is traced."""

    n_traces = 0

    def _nll(self, *arguments):
        self.n_traces += 1
        return super()._nll(*arguments)

    def _traced_density(self, *arguments):
        self.n_traces += 1
        return super()._traced_density(*arguments)


def test_new_data_and_fixed_parameters_do_not_trace_again():
    p = _parameters()
    p["sigma"].floating = False
    p["mu"].floating = False
    loss = zfit.loss.ExtendedUnbinnedNLL(_extended(p), _data())
    likelihood = _Counted(loss)
    assert likelihood.names == ("n_b", "n_s", "slope")
    at = np.array([100.0, 70.0, -0.05])

    def kept_and_not():
        return [likelihood.value(at, floating) for floating in (["n_s"], ["slope"], None)]

    before = kept_and_not()
    n_traces = likelihood.n_traces
    # A graph for yields alone, one for the slope too, and one for each kept density.
    assert n_traces == 4
    assert before == pytest.approx([before[0]] * 3, rel=1e-12)
    p["sigma"].set_value(1.4)
    changed = kept_and_not()
    assert changed == pytest.approx([changed[0]] * 3, rel=1e-12)
    assert abs(changed[0] - before[0]) > 0.1
    likelihood.set_data([_events(45, seed=9)])
    other = kept_and_not()
    assert other == pytest.approx([other[0]] * 3, rel=1e-12)
    assert likelihood.n_traces == n_traces
    likelihood.set_data(loss.data)
    p["sigma"].set_value(1.0)
    assert kept_and_not() == pytest.approx(before, rel=1e-12)
    fresh = Likelihood(zfit.loss.ExtendedUnbinnedNLL(_extended(p), zfit.Data(_events(45, seed=9), obs=OBS)))
    p["sigma"].set_value(1.4)
    assert fresh.value(at) == pytest.approx(other[0], rel=1e-12)


def test_columns_of_data_are_found_by_name_and_weights_count():
    loss = product()
    likelihood = Likelihood(loss)
    at = _points(likelihood)[0]
    expected = likelihood.value(at)
    x = likelihood.x[0].numpy()
    likelihood.set_data([zfit.Data(x[:, ::-1], obs=OTHER * OBS)])
    assert likelihood.value(at) == expected
    likelihood.set_data([x[:, ::-1]])
    assert likelihood.value(at) != pytest.approx(expected, abs=0.1)
    # An event with weight two is the same as two events.
    likelihood.set_data([zfit.Data(x, obs=OBS * OTHER, weights=np.where(np.arange(60) == 4, 2.0, 1.0))])
    assert likelihood.n_events == 60
    doubled = likelihood.value(at)
    likelihood.set_data([np.concatenate([x, x[4:5]])])
    assert likelihood.n_events == 61
    assert likelihood.value(at) == pytest.approx(doubled, rel=1e-12)
    likelihood.set_data([x[:0]])
    assert likelihood.value(at) == pytest.approx(80.0)


def test_parameters_are_set_back_after_an_error():
    likelihood = Likelihood(extended_sum())
    before = likelihood.values

    def evaluate_and_fail():
        with likelihood.restored():
            likelihood.value(_points(likelihood)[1])
            assert likelihood.values != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate_and_fail()
    assert likelihood.values == before


def test_wrong_input_is_refused_and_changes_nothing():
    p = _parameters()
    loss = zfit.loss.ExtendedUnbinnedNLL(_extended(p), _data())
    likelihood = Likelihood(loss)
    at = _points(likelihood)[0]
    expected = likelihood.value(at)
    with pytest.raises(ValueError, match="1 models, but 2 data sets"):
        likelihood.set_data([_events(), _events()])
    with pytest.raises(ValueError, match=r"1 observables \(x\), but the data has the shape \(60, 2\)"):
        likelihood.set_data([np.ones((60, 2))])
    with pytest.raises(ValueError, match=r"no free parameter .'mass'.; there are .'mu'"):
        likelihood.set_values({"mass": 1.0})
    assert likelihood.value(at) == expected
    with pytest.raises(TypeError, match="unbinned zfit loss, got SimpleLoss"):
        Likelihood(zfit.loss.SimpleLoss(lambda: p["mu"] ** 2, params=[p["mu"]], errordef=0.5))
    with pytest.raises(ValueError, match="the loss is extended, but Gauss has no yield"):
        Likelihood(zfit.loss.ExtendedUnbinnedNLL(_pdfs(p)[0], _data()))
    with pytest.warns(UserWarning, match="fit_range"):
        ranged = zfit.loss.UnbinnedNLL(_pdfs(p)[0], _data(), fit_range=[(2, 7)])
    with pytest.raises(ValueError, match="has a fit_range"):
        Likelihood(ranged)
    for parameter in p.values():
        parameter.floating = False
    with pytest.raises(ValueError, match=r"no free parameter: set parameter\.floating"):
        Likelihood(loss)


def test_auxiliary_measurements_are_replaced_in_the_likelihood_and_nowhere_else():
    p = _parameters()
    parameters = [p["mu"], p["slope"]]

    def entries(mu, slope, n_b, sigma):
        return [
            zfit.constraint.GaussianConstraint(parameters, [mu, slope], cov=[[0.04, 0.003], [0.003, 0.01]]),
            zfit.constraint.PoissonConstraint(p["n_b"], n_b),
            zfit.constraint.LogNormalConstraint(p["sigma"], sigma, 0.2),
            zfit.constraint.SimpleConstraint(lambda: (p["n_s"] - 70) ** 2 / 50, params=[p["n_s"]]),
        ]

    original = entries(5.1, -0.2, 120.0, 0.1)
    auxiliary = Auxiliary(original)
    expected = float(sum(entry.value() for entry in original))
    assert float(auxiliary.value()) == pytest.approx(expected, rel=1e-12)
    auxiliary.set([np.array([4.8, -0.13]), np.array([97.0]), np.array([0.02])])
    other = float(sum(entry.value() for entry in entries(4.8, -0.13, 97.0, 0.02)))
    assert abs(other - expected) > 0.05
    assert float(auxiliary.value()) == pytest.approx(other, rel=1e-12)
    assert float(sum(entry.value() for entry in original)) == pytest.approx(expected, rel=1e-12)
    auxiliary.set(auxiliary.original)
    assert float(auxiliary.value()) == pytest.approx(expected, rel=1e-12)


def test_drawn_measurements_scatter_as_much_as_their_constraints_say():
    p = _parameters()
    covariance = np.array([[0.04, 0.012], [0.012, 0.01]])
    auxiliary = Auxiliary(
        [
            zfit.constraint.GaussianConstraint([p["mu"], p["slope"]], [5.1, -0.2], cov=covariance),
            zfit.constraint.PoissonConstraint(p["n_b"], 120),
            zfit.constraint.LogNormalConstraint(p["sigma"], 0.1, 0.2),
        ]
    )
    rng = np.random.default_rng(8)
    drawn = np.array([np.concatenate(auxiliary.draw(rng)) for _ in range(1000)])
    drawn -= [5.0, -0.1, 110.0, np.log(1.0)]
    decorrelated = np.linalg.solve(np.linalg.cholesky(covariance), drawn[:, :2].T).T
    pulls = np.column_stack([decorrelated, drawn[:, 2] / np.sqrt(110.0), drawn[:, 3] / 0.2])
    assert np.abs(pulls.mean(0)).max() < 4 / np.sqrt(1000)
    assert np.abs(np.corrcoef(pulls.T) - np.eye(4)).max() < 4 / np.sqrt(1000)
    # 1000 draws of four measurements: widths wrong by 10 % are more than eight standard deviations away.
    error = np.sqrt(2 / pulls.size)
    assert abs(np.square(pulls).mean() - 1) < 3 * error
    for scale in (0.9, 1.1):
        assert abs(np.square(scale * pulls).mean() - 1) > 3 * error


def test_a_constraint_of_unknown_kind_cannot_be_drawn():
    p = _parameters()

    class Other(zfit.core.constraint.TFProbabilityConstraint):
        pass

    source = zfit.constraint.GaussianConstraint(p["mu"], 5.0, sigma=0.1)
    other = Other([5.0], {"param_0": p["mu"]}, source._distribution, source.dist_params)
    with pytest.raises(TypeError, match="measurement behind Other fluctuates; use a Gaussian"):
        Auxiliary([other]).draw(np.random.default_rng(0))
