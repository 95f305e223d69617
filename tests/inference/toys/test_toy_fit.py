"""Toy fits: their statistics, where their events come from, and that they leave nothing behind."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import psutil
import pytest
import zfit
from builders import random_density
from scipy import stats
from toy_experiments import learned_mixture

from zfit_egmm import EventSample, Observable
from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.toys.campaign import CampaignError
from zfit_egmm.inference.toys.run import run_toys
from zfit_egmm.inference.toys.sources import FromEvents, FromModel
from zfit_egmm.inference.toys.toy_fit import ToyFit
from zfit_egmm.pdf import EGMM

OBS = zfit.Space("x", 0, 10)
N_TOYS = 250
TRUE = {"mu": 4.5, "n_b": 150.0, "n_s": 120.0, "width": 0.8}


def _loss(**names):
    """A peak with a constrained width on a falling background."""
    p = {
        "mu": zfit.Parameter(names.get("mu", "mu"), 5.0, 2, 8),
        "n_b": zfit.Parameter("n_b", 140.0, 0, 1000),
        "n_s": zfit.Parameter("n_s", 110.0, 0, 1000),
        "width": zfit.Parameter("width", 0.8, 0.2, 3),
        "slope": zfit.Parameter("slope", -0.15, -1, 0, floating=False),
    }
    signal = zfit.pdf.Gauss(p["mu"], p["width"], OBS).create_extended(p["n_s"])
    background = zfit.pdf.Exponential(p["slope"], OBS).create_extended(p["n_b"])
    model = zfit.pdf.SumPDF([signal, background])
    constraint = zfit.constraint.GaussianConstraint(p["width"], 0.8, sigma=0.06)
    data = zfit.Data(np.linspace(0.1, 9.9, 30)[:, None], obs=OBS)
    return zfit.loss.ExtendedUnbinnedNLL(model, data, constraints=constraint), p


def _run(experiment, n_toys, **arguments):
    arguments = {"points": [TRUE], "seed": 11, "progress": False, **arguments}
    return run_toys(lambda: experiment, n_toys, **arguments)


class _Counted(Likelihood):
    """Counts how often Python code runs, which happens only when a graph is traced."""

    n_traces = 0

    def _nll(self, *arguments):
        self.n_traces += 1
        return super()._nll(*arguments)


@pytest.fixture(scope="module")
def experiment():
    return ToyFit(_Counted(_loss()[0]), interest=list(TRUE), intervals=False)


@pytest.fixture(scope="module")
def results(experiment):
    return _run(experiment, N_TOYS)


def _pulls(results):
    return np.array([(results.column(n) - true) / results.column(f"{n}_error") for n, true in TRUE.items()])


def _is_chi2(q, n_parameters):
    """Whether test statistics follow the distribution: by their sum and by their largest distance from it."""
    total = stats.chi2(n_parameters * len(q)).cdf(q.sum())
    return min(total, 1 - total) > 0.005 and stats.kstest(q, stats.chi2(n_parameters).cdf).pvalue > 0.01


def test_the_likelihood_ratio_of_the_truth_follows_its_distribution(results):
    assert results.n_failed == 0
    q = results.column("q")
    assert q.min() > -1e-6
    # With 250 toys of four parameters, errors wrong by 10 % change the sum by more than four standard deviations.
    assert _is_chi2(q, 4)
    for scale in (0.9, 1.1):
        assert not _is_chi2(q / scale**2, 4)


def test_pulls_have_mean_zero_and_width_one(results):
    pulls = _pulls(results)
    assert np.isfinite(pulls).all()
    # Shifts by 22 % of an error, and widths wrong by 16 %, are seen in every single parameter.
    assert np.abs(pulls.mean(1)).max() < 3.5 / np.sqrt(N_TOYS)
    assert np.abs(pulls.std(1) - 1).max() < 3.5 / np.sqrt(2 * N_TOYS)
    assert results.column("at_limit").tolist() == [""] * N_TOYS


def test_numbers_of_events_follow_poisson_distributions(results):
    sizes = results.column("n_events")
    expected = TRUE["n_s"] + TRUE["n_b"]
    assert abs(sizes.mean() - expected) < 3.5 * np.sqrt(expected / N_TOYS)
    # A standard deviation wrong by 16 % is seen.
    assert abs(sizes.var() / expected - 1) < 3.5 * np.sqrt(2 / N_TOYS)
    # The fit finds all events again.
    np.testing.assert_allclose(results.column("n_s") + results.column("n_b"), sizes, rtol=1e-4)


def test_without_fluctuating_measurements_the_pulls_of_a_constrained_parameter_are_too_narrow():
    kept = _run(ToyFit(_loss()[0], interest=list(TRUE), intervals=False, randomise=False), 50)
    pulls = dict(zip(TRUE, _pulls(kept), strict=True))
    assert pulls["width"].std() < 0.75
    assert 0.75 < pulls["mu"].std() < 1.25


def test_toys_do_not_depend_on_the_ones_before(experiment, results):
    for toy in (17, 3):
        zfit.settings.set_seed(toy)
        row = experiment.run(TRUE, np.random.SeedSequence(11, spawn_key=(0, toy)))
        assert {"point": 0, "toy": toy, **row} == {**results.rows[toy], "valid": True}
    # Another experiment with graphs of its own gives the same.
    other = ToyFit(_loss()[0], interest=list(TRUE), intervals=False)
    assert _run(other, 3).rows == results.rows[:3]


def test_columns_of_several_parameters_of_interest():
    loss, p = _loss()
    before = {name: float(parameter.value()) for name, parameter in p.items()}
    experiment = ToyFit(loss, interest=["mu", "n_s"])
    found = _run(experiment, 12)
    pulls = dict(zip(TRUE, _pulls(found), strict=True))
    for name in ("mu", "n_s"):
        ratio = found.column(f"q_{name}")
        assert ratio.min() > -1e-6
        np.testing.assert_allclose(ratio, np.square(pulls[name]), rtol=0.3, atol=0.05)
        assert np.all(found.column("q") > ratio - 1e-6)
    assert {name: float(parameter.value()) for name, parameter in p.items()} == before
    plain = ToyFit(loss, interest=["mu", "n_s"], intervals=False)
    row = plain.run(TRUE, np.random.SeedSequence(11, spawn_key=(0, 0)))
    assert set(found.rows[0]) - set(row) == {"q_mu", "q_n_s", "point", "toy"}
    assert row["q"] == pytest.approx(found.rows[0]["q"], abs=1e-5)
    assert ToyFit(loss).interest == ("mu", "width")


def test_starts_may_depend_on_the_truth():
    asked = []

    def starts(true):
        asked.append(true["mu"])
        return [{"mu": 6.0}]

    loss, _ = _loss()
    row = ToyFit(loss, interest=["mu"], starts=starts).run(TRUE, np.random.SeedSequence(1))
    plain = ToyFit(loss, interest=["mu"]).run(TRUE, np.random.SeedSequence(1))
    assert asked == [4.5]
    assert row["mu"] == pytest.approx(plain["mu"], abs=1e-3)


def test_a_file_knows_what_decides_the_results(tmp_path):
    loss, p = _loss()
    path = tmp_path / "toys.jsonl"
    _run(ToyFit(loss, interest=["mu"]), 1, path=path)
    for different in (
        ToyFit(loss, interest=["n_s"]),
        ToyFit(loss, interest=["mu"], randomise=False),
        ToyFit(loss, interest=["mu"], starts=[{"mu": 3.0}]),
        ToyFit(loss, interest=["mu"], source=lambda *_: [np.ones((3, 1))]),
    ):
        with pytest.raises(CampaignError, match="another campaign: experiment is"):
            _run(different, 1, path=path)
    p["slope"].set_value(-0.3)
    with pytest.raises(CampaignError, match=r'"slope": -0\.15.* there and .*"slope": -0\.3'):
        _run(ToyFit(loss, interest=["mu"]), 1, path=path)
    p["slope"].set_value(-0.15)
    assert len(_run(ToyFit(loss, interest=["mu"]), 1, path=path)) == 1


def test_wrong_parameters_are_refused(experiment):
    with pytest.raises(ValueError, match="'mass' is no free parameter of the loss; there are mu, n_b, n_s, width"):
        ToyFit(_loss()[0], interest=["mass"])
    with pytest.raises(ValueError, match="'slope' is no free parameter"):
        _run(experiment, 1, points=[{"slope": -0.2}])
    with pytest.raises(ValueError, match=r"mu = 9 lies outside the limits \[2, 8\]"):
        _run(experiment, 1, points=[TRUE, {"mu": 9.0}])
    for name in ("q", "toy", "n_s_error"):
        with pytest.raises(ValueError, match=f"^{name} would be two columns of the results"):
            ToyFit(_loss(mu=name)[0])


def test_many_toys_trace_nothing_anew_and_use_no_more_memory(experiment, results):
    n_traces, memory = experiment.likelihood.n_traces, psutil.Process().memory_info().rss
    assert 0 < n_traces < 8
    _run(experiment, 40, seed=12)
    assert experiment.likelihood.n_traces == n_traces
    # A new graph for every toy would take more than ten times as much.
    assert psutil.Process().memory_info().rss - memory < 40 * 0.2e6


def test_channels_and_fits_that_are_not_extended_have_the_sizes_of_their_data():
    mean, share = zfit.Parameter("mean", 5.0, 2, 8), zfit.Parameter("share", 0.3, 0, 1)
    other = zfit.Space("y", -2, 2)
    first = zfit.pdf.SumPDF([zfit.pdf.Gauss(mean, 0.5, OBS), zfit.pdf.Uniform(0, 10, OBS)], fracs=share)
    second = zfit.pdf.Gauss(0.0, 1.0, other)
    data = [zfit.Data(np.linspace(0, 10, 700)[:, None], obs=OBS), zfit.Data(np.zeros((40, 1)), obs=other)]
    source = FromModel(Likelihood(zfit.loss.UnbinnedNLL([first, second], data)))
    drawn = [source({"mean": 3.0, "share": 0.3}, np.random.default_rng(seed)) for seed in range(30)]
    assert {tuple(x.shape for x in one) for one in drawn} == {((700, 1), (40, 1))}
    near = np.array([np.sum(np.abs(one[0] - 3.0) < 2.0) for one in drawn])
    # Those near the peak are binomial; a share of the peak wrong by 4 % is seen.
    expected = 0.3 + 0.7 * 0.4
    assert abs(near.mean() / 700 - expected) < 3.5 * np.sqrt(expected * (1 - expected) / 700 / 30)
    # The events of both terms are mixed.
    is_near = np.abs(drawn[0][0][:, 0] - 3.0) < 2.0
    assert abs(is_near[:350].sum() - is_near[350:].sum()) < 100
    assert np.abs(drawn[0][1]).max() <= 2
    empty = source({"mean": 3.0, "share": 0.0}, np.random.default_rng(0))
    assert empty[0].shape == (700, 1)


def _simulated(weights=None):
    """Events whose first observable tells their theta, and whose second one is uniform."""
    rng = np.random.default_rng(3)
    theta = np.repeat([-1.0, 0.1 + 0.2, 1.0], 500)[:, None]
    x = np.column_stack([5 + 2 * theta[:, 0] + rng.uniform(-0.4, 0.4, 1500), rng.random(1500)])
    observables = (Observable("x", 0, 10), Observable("z", 0, 1))
    return EventSample(observables, x, theta=theta, theta_names=("theta",), weights=weights)


def test_simulated_events_are_those_of_the_true_theta_with_their_weights():
    sample = _simulated()
    heavy = sample.x[:, 1] > 0.5
    weighted = _simulated(np.where(heavy, 0.8, 0.2))
    background = EventSample(sample.observables[::-1], np.column_stack([np.full(20, 0.25), np.full(20, 9.0)]))
    source = FromEvents([weighted, background], ["n_s", 50.0], ["x", "z"])
    for theta, centre in ((-1.0, 3.0), (0.3, 5.6), (1.0, 7.0)):
        (x,) = source({"theta": theta, "n_s": 4000.0, "other": 1.0}, np.random.default_rng(5))
        is_background = x[:, 0] == 9.0
        assert np.abs(x[~is_background, 0] - centre).max() < 0.41
        assert abs(is_background.sum() - 50) < 4 * np.sqrt(50)
        assert abs((~is_background).sum() - 4000) < 4 * np.sqrt(4000)
        assert x[is_background, 1].tolist() == [0.25] * is_background.sum()
        assert len(np.unique(np.flatnonzero(is_background) // 1000)) > 2
        rows = np.abs(sample.x[:, 0] - centre) < 0.41
        share = 0.8 * heavy[rows].sum() / (0.8 * heavy[rows].sum() + 0.2 * (~heavy[rows]).sum())
        # Weights wrong by 15 % are seen.
        assert abs((x[~is_background, 1] > 0.5).mean() - share) < 3.5 * np.sqrt(share * (1 - share) / 4000)
    sizes = [len(source({"theta": 1.0, "n_s": 30.0}, np.random.default_rng(seed))[0]) for seed in range(300)]
    assert abs(np.var(sizes) / 80 - 1) < 3.5 * np.sqrt(2 / 300)
    again = source({"theta": 1.0, "n_s": 30.0}, np.random.default_rng(4))
    np.testing.assert_array_equal(again[0], source({"theta": 1.0, "n_s": 30.0}, np.random.default_rng(4))[0])


def test_simulated_events_that_do_not_fit_are_refused():
    sample = _simulated()
    source, rng = FromEvents([sample], ["n_s"], ["x"]), np.random.default_rng(0)
    with pytest.raises(
        ValueError, match=r"no simulated events at .'theta': 0.5.; there are events at \[\[-1.0\], \[0.3"
    ):
        source({"theta": 0.5, "n_s": 10.0}, rng)
    with pytest.raises(ValueError, match=r"no true values of \['theta'\], only of \['n_s'\].* fixed in the fit"):
        source({"n_s": 10.0}, rng)
    with pytest.raises(ValueError, match=r"no true values of \['n_s'\]"):
        source({"theta": 1.0}, rng)
    with pytest.raises(ValueError, match="sample 1 has events of negative weight"):
        FromEvents([sample, _simulated(np.where(np.arange(1500) % 9, 1.0, -1.0))], [1, 2], ["x"])
    with pytest.raises(ValueError, match=r"sample 0 has no observables \['mass'\]"):
        FromEvents([sample], [1], ["x", "mass"])
    with pytest.raises(ValueError, match="1 samples, but 2 expected numbers"):
        FromEvents([sample], [1, 2], ["x"])


def test_a_fit_of_simulated_events(tmp_path):
    theta = zfit.Parameter("theta", 0.0, -2, 2)
    mean = zfit.ComposedParameter("mean", lambda params: 5 + 2 * params["t"], params={"t": theta})
    model = zfit.pdf.Gauss(mean, 0.8 / np.sqrt(12), OBS).create_extended(zfit.Parameter("n_s", 200.0, 0, 1000))
    loss = zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(np.full((5, 1), 5.0), obs=OBS))
    source = FromEvents([_simulated()], ["n_s"], ["x"])
    experiment = ToyFit(loss, interest=["theta"], source=source)
    points = [{"theta": -1.0, "n_s": 200.0}, {"theta": 1.0, "n_s": 100.0}]
    found = _run(experiment, 10, points=points, path=tmp_path / "toys.jsonl")
    for number, point in enumerate(points):
        pulls = (found.column("theta", number) - point["theta"]) / found.column("theta_error", number)
        assert np.square(pulls).sum() < stats.chi2(10).isf(1e-4)
        assert found.column("n_s", number) == pytest.approx(found.column("n_events", number), rel=1e-4)
    other = ToyFit(loss, interest=["theta"], source=FromEvents([_simulated().split(0.5, 0.5)[0]], ["n_s"], ["x"]))
    with pytest.raises(CampaignError, match="another campaign: experiment"):
        _run(other, 10, points=points, path=tmp_path / "toys.jsonl")


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_simulated_events_of_a_fixed_theta(value):
    """A parameter that is fixed chooses the events as one does that floats."""
    theta = zfit.Parameter("theta", value, -2, 2, floating=False)
    mean = zfit.ComposedParameter("mean", lambda params: 5 + 2 * params["t"], params={"t": theta})
    n_signal = zfit.Parameter("n_s", 200.0, 0, 1000)
    model = zfit.pdf.Gauss(mean, 0.8 / np.sqrt(12), OBS).create_extended(n_signal)
    loss = zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(np.full((5, 1), 5.0), obs=OBS))
    experiment = ToyFit(loss, source=FromEvents([_simulated()], ["n_s"], ["x"]))
    experiment.check({})
    row = experiment.run({}, np.random.SeedSequence(1))
    assert row["n_s"] == pytest.approx(row["n_events"], rel=1e-4)
    (x,) = experiment.likelihood.x
    assert np.abs(x.numpy() - (5 + 2 * value)).max() < 0.41
    theta.set_value(0.5)
    with pytest.raises(ValueError, match=r"no simulated events at .'theta': 0.5."):
        experiment.check({})


def test_the_nearest_point_with_simulated_events():
    source = FromEvents([_simulated()], ["n_s"], ["x"])
    assert source.nearest({"theta": 0.5, "n_s": 3.0}) == {"theta": pytest.approx(0.3), "n_s": 3.0}
    assert source.nearest({"n_s": 3.0}) == {"n_s": 3.0}


def test_a_learned_mixture_in_two_processes_gives_the_same_as_here(tmp_path):
    paths = [random_density(seed).save(tmp_path / f"{seed}.egmm") for seed in (1, 2)]
    make = partial(learned_mixture, *paths)
    points = [{"theta": 0.0}, {"theta": 1.0}]
    there = run_toys(make, 3, points=points, seed=2, workers=2, path=tmp_path / "toys.jsonl", progress=False)
    here = run_toys(make, 3, points=points, seed=2, progress=False)
    assert there.n_failed == here.n_failed == 0
    for one, other in itertools.zip_longest(there.rows, here.rows):
        assert set(one) == set(other)
        for name, value in one.items():
            # Sums over events may be split over several threads here.
            same = value if isinstance(value, str) else pytest.approx(value, rel=1e-6, abs=1e-6)
            assert other[name] == same, name
    pulls = (there.column("theta") - np.repeat([0.0, 1.0], 3)) / there.column("theta_error")
    assert np.square(pulls).sum() < stats.chi2(6).isf(1e-4)
    assert there.head["experiment"]["densities"] == here.head["experiment"]["densities"]


def test_densities_that_were_never_saved_are_told_apart():
    def experiment(seed):
        theta = zfit.Parameter("theta", 0.5, -0.5, 2.5)
        model = EGMM(random_density(seed), params={"coupling": theta})
        data = zfit.Data(random_density(seed).sample(5, [0.5], seed=0), obs=model.space)
        return ToyFit(zfit.loss.UnbinnedNLL(model, data), interest=["theta"]).describe()["densities"]

    assert experiment(0) == experiment(0) != experiment(1)
