"""A likelihood follows what is changed between two fits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import zfit
from builders import random_density
from scipy.optimize import minimize

from zfit_egmm.inference import FromModel, Likelihood, ToyFit, contour, fit, interval, profile, upper_limit
from zfit_egmm.pdf import EGMM

WIDE = 60.0
OBS = zfit.Space("x", -WIDE, WIDE)


class _Counted(Likelihood):
    """Counts how often a graph is traced."""

    n_traces = 0

    def _make(self, *arguments):
        self.n_traces += 1
        return super()._make(*arguments)

    def _traced_density(self, *arguments):
        self.n_traces += 1
        return super()._traced_density(*arguments)


class _Situation:
    """A Gaussian of free mean and width with a sampler as its data, and the same likelihood by hand."""

    def __init__(self):
        self.mean, self.width = zfit.Parameter("mean", 0.5, -1.0, 1.5), zfit.Parameter("width", 1.5, 0.5, 2.0)
        self.known = zfit.Parameter("known", 2.0, floating=False)
        model = zfit.pdf.Gauss(self.mean, self.width, OBS)
        self.data = model.create_sampler(n=300, params={self.mean: 1.0, self.width: 1.0})
        # Independent of what other tests have drawn.
        self.data.update_data(np.random.default_rng(0).normal(1.2, 1.3, (300, 1)))
        self.constraints = []
        self.loss = zfit.loss.UnbinnedNLL(model, self.data)
        self.parameters = {"mean": self.mean, "width": self.width}

    def by_hand(self):
        """Best fit and error of the parameters that float, from the present state."""
        x = self.data.value().numpy()[:, 0]
        now = {name: float(parameter.value()) for name, parameter in self.parameters.items()}
        names = [name for name, parameter in self.parameters.items() if parameter.floating]
        ends = {n: (float(self.parameters[n].lower), float(self.parameters[n].upper)) for n in names}
        if "width" in ends:
            ends["width"] = (max(ends["width"][0], 0.1), ends["width"][1])

        def nll(at):
            mean, width = {**now, **dict(zip(names, at, strict=True))}.values()
            total = len(x) * np.log(width) + 0.5 * np.sum(np.square((x - mean) / width))
            return total + sum(0.5 * ((mean - float(o)) / sigma) ** 2 for o, sigma in self.constraints)

        found = minimize(nll, [now[name] for name in names], bounds=[ends[name] for name in names], tol=1e-12)
        return {**now, **dict(zip(names, found.x, strict=True))}

    def change(self, kind, rng):
        name = rng.choice(["mean", "width"])
        parameter, other = self.parameters[name], self.parameters["width" if name == "mean" else "mean"]
        if kind == "limits":
            centre = {"mean": 1.0, "width": 1.2}[name]
            reach = rng.choice([0.05, 0.3, 0.6])
            parameter.lower, parameter.upper = centre - reach, centre + reach
            parameter.set_value(centre + 0.5 * reach * rng.uniform(-1, 1))
        elif kind == "no limits":
            parameter.lower, parameter.upper = None, None
        elif kind == "floating":
            parameter.floating = not parameter.floating
            other.floating = True
        elif kind == "fixed value":
            parameter.floating, other.floating = False, True
            low, high = np.clip([float(parameter.lower), float(parameter.upper)], 0.8, 1.4)
            parameter.set_value(rng.uniform(low, high))
        elif kind == "data":
            self.data.update_data(rng.normal(rng.uniform(0.7, 1.3), 1.2, (int(rng.integers(200, 400)), 1)))
        elif kind == "constraint":
            self.constraints.append((self.known, 0.1))
            self.loss.add_constraints(zfit.constraint.GaussianConstraint(self.mean, self.known, sigma=0.1))
        elif kind == "observation":
            self.known.set_value(rng.uniform(0.5, 2.0))
        elif kind == "step size":
            parameter.stepsize = 10 ** rng.uniform(-6, 3)


KINDS = ("limits", "no limits", "floating", "fixed value", "data", "constraint", "observation", "step size")


def test_a_fit_after_any_change_is_that_of_the_present_state():
    rng, here = np.random.default_rng(3), _Situation()
    likelihood = Likelihood(here.loss)
    kinds = [*KINDS, *rng.choice([kind for kind in KINDS if kind != "constraint"], 16)]
    n_moved, before = 0, fit(likelihood).values
    for kind in kinds:
        here.change(kind, rng)
        expected = here.by_hand()
        found = fit(likelihood)
        now = {**likelihood.fixed_values, **found.values}
        for name, value in expected.items():
            assert now[name] == pytest.approx(value, abs=2e-4), (kind, name)
        assert set(found.errors) == {name for name, parameter in here.parameters.items() if parameter.floating}
        n_moved += any(abs(now[name] - before.get(name, value)) > 0.01 for name, value in expected.items())
        before = now
    # Most changes matter: a likelihood that stays what it was fails.
    assert n_moved > 8


def test_wider_narrower_and_no_limits_trace_nothing_again():
    here = _Situation()
    here.data.update_data(np.random.default_rng(0).normal(3.0, 1.0, (300, 1)))
    likelihood = _Counted(here.loss)
    x = here.data.value().numpy()
    fit(likelihood)
    n_traces = likelihood.n_traces
    for low, high in ((-1.0, 0.5), (-1.0, 5.0), (0.0, 2.6), (None, None)):
        here.mean.lower, here.mean.upper = low, high
        here.mean.set_value(0.3)
        expected = x.mean() if high is None else np.clip(x.mean(), low, high)
        assert fit(likelihood).values["mean"] == pytest.approx(expected, abs=1e-3)
    assert likelihood.n_traces == n_traces
    # What was known once is known again.
    here.width.floating = False
    fit(likelihood)
    n_traces = likelihood.n_traces
    here.width.floating = True
    fit(likelihood)
    assert likelihood.n_traces == n_traces


def test_the_limits_themselves_stay():
    a, b, c = zfit.Parameter("a", 0.0, -1, 2), zfit.Parameter("b", 1.0, 0.5), zfit.Parameter("c", 0.0)
    mean = zfit.ComposedParameter("mean", lambda params: params["a"] + params["c"], params={"a": a, "c": c})
    model = zfit.pdf.Gauss(mean, b, OBS)
    loss = zfit.loss.UnbinnedNLL(model, zfit.Data(np.linspace(-1, 2, 30)[:, None], obs=OBS))
    likelihood = Likelihood(loss)
    likelihood.value_and_gradient(np.array([0.1, 1.0, 0.2]))
    FromModel(likelihood)({"a": 0.0, "b": 1.0, "c": 0.0}, np.random.default_rng(0))
    assert likelihood.limits == {"a": (-1, 2), "b": (0.5, np.inf), "c": (-np.inf, np.inf)}
    assert [parameter.has_limits for parameter in (a, b, c)] == [True, True, False]
    with pytest.raises(ValueError, match="invalid for parameter a"):
        a.set_value(3.0)


def test_scans_and_limits_follow_too():
    here = _Situation()
    here.data.update_data(np.random.default_rng(1).normal(3.0, 1.0, (100, 1)))
    x = here.data.value().numpy()[:, 0]
    likelihood = Likelihood(here.loss)
    assert interval(likelihood, "mean").upper == pytest.approx(1.5)
    here.mean.upper = 6.0
    found = interval(likelihood, "mean")
    # The profile likelihood ratio of the mean of a Gaussian of unknown width is a known function.
    reach = x.std() * np.sqrt(np.expm1(found.threshold / len(x)))
    assert [found.lower, found.upper] == pytest.approx([x.mean() - reach, x.mean() + reach], abs=0.01 * reach)
    here.width.set_value(1.0)
    here.width.floating = False
    found = interval(likelihood, "mean")
    assert [found.lower, found.upper] == pytest.approx([x.mean() - 0.1, x.mean() + 0.1], abs=1e-3)
    with pytest.raises(ValueError, match="'width' is no free parameter"):
        contour(likelihood, ("mean", "width"))
    here.mean.lower = 0.0
    limits = upper_limit(likelihood, "mean", asimov_events=2000)
    assert limits.observed_limit == pytest.approx(x.mean() + 0.1645, abs=0.01)
    # The data of the loss are followed after a limit, which gives the likelihood others in between.
    here.data.update_data(np.random.default_rng(2).normal(2.0, 1.0, (100, 1)))
    assert fit(likelihood).values["mean"] == pytest.approx(here.data.value().numpy().mean(), abs=1e-3)


def test_results_of_other_limits_are_refused_or_extended():
    here = _Situation()
    likelihood = Likelihood(here.loss)
    best, x = fit(likelihood), here.data.value().numpy()[:, 0]
    scan = profile(likelihood, "mean", n_points=9, progress=False)
    here.mean.lower, here.mean.upper = None, None
    found = interval(likelihood, "mean", profile=scan, level=0.9999)
    reach = x.std() * np.sqrt(np.expm1(found.threshold / len(x)))
    assert [found.lower, found.upper] == pytest.approx([x.mean() - reach, x.mean() + reach], abs=0.01 * reach)
    here.mean.upper = best.values["mean"] + 0.1
    with pytest.raises(ValueError, match=r"mean = .* lies outside the limits"):
        interval(likelihood, "mean", profile=scan)
    here.mean.upper = best.values["mean"] - 0.1
    with pytest.raises(ValueError, match=r"mean = .* lies outside the limits"):
        contour(likelihood, ("mean", "width"), minimum=best)


def test_toys_are_drawn_beyond_limits_that_were_narrower():
    here = _Situation()
    toys = ToyFit(here.loss, interest=["mean"])
    seeds = np.random.SeedSequence(1).spawn(2)
    assert toys.run({"mean": 1.4, "width": 1.0}, seeds[0])["valid"]
    here.mean.upper = 5.0
    beyond = toys.run({"mean": 4.0, "width": 1.0}, seeds[1])
    assert beyond["valid"]
    assert beyond["mean"] == pytest.approx(4.0, abs=0.25)
    assert beyond["mean_error"] == pytest.approx(1 / np.sqrt(300), rel=0.1)


def test_data_that_were_given_stay_and_those_of_the_loss_come_back():
    here = _Situation()
    likelihood = Likelihood(here.loss)
    before, x = likelihood.data, np.random.default_rng(5).normal(0.3, 1.0, (200, 1))
    likelihood.set_data([x])
    here.data.update_data(np.random.default_rng(6).normal(1.0, 1.0, (250, 1)))
    assert fit(likelihood).values["mean"] == pytest.approx(x.mean(), abs=1e-3)
    likelihood.set_data(before)
    assert fit(likelihood).values["mean"] == pytest.approx(here.data.value().numpy().mean(), abs=1e-3)
    plain = zfit.Data(x, obs=OBS)
    here.loss.data[0] = plain
    assert fit(likelihood).values["mean"] == pytest.approx(x.mean(), abs=1e-3)


def test_what_cannot_be_followed_is_refused_with_the_reason():
    here = _Situation()
    likelihood = Likelihood(here.loss)
    here.width.floating = False
    with pytest.raises(ValueError, match=r"expected values of mean, which float now; got 2 values"):
        likelihood.value(np.array([1.0, 1.0]))
    here.width.upper = 1.2
    with pytest.raises(
        ValueError, match=r"width is fixed at 1.5, outside its limits \[0.5, 1.2\], into which zfit moves"
    ):
        fit(likelihood)
    here.width.set_value(1.1)
    fit(likelihood)
    here.mean.floating = False
    with pytest.raises(ValueError, match=r"no free parameter: set parameter\.floating"):
        fit(likelihood)


def test_a_learned_density_still_warns_of_limits_beyond_its_range():
    density = random_density(1)
    low, high = density.theta_range[0]

    def evaluated(upper):
        theta = zfit.Parameter("theta", 0.5 * (low + high), low, upper)
        model = EGMM(density, params={"coupling": theta})
        data = zfit.Data(density.sample(20, [0.5], seed=1), obs=model.space)
        Likelihood(zfit.loss.UnbinnedNLL(model, data)).value(np.array([0.5]))

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*in which it was trained")
        evaluated(high)
    with pytest.warns(UserWarning, match=rf"limits \[{low:g}, {high + 1:g}\]\) may leave the range"):
        evaluated(high + 1)
