"""EnsembleDensity: the mean of its members in everything, and usable as a density in zfit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tensorflow as tf
import zfit
from builders import random_density

from zfit_egmm import Density
from zfit_egmm.archive import ModelFileError
from zfit_egmm.density.composed.ensemble import EnsembleDensity
from zfit_egmm.density.files import load_density
from zfit_egmm.families.egmm.density import MixtureDensity
from zfit_egmm.pdf import EGMM

POINT = [0.7]
BOX = ([105, -0.5, -1.0], [150, 1.5, 1.2])


@pytest.fixture(scope="module")
def members():
    return [random_density(seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def ensemble(members):
    return EnsembleDensity(members)


@pytest.fixture(scope="module")
def single(members):
    return EnsembleDensity(members[:1])


@pytest.fixture(scope="module")
def x(ensemble):
    return ensemble.sample(3000, POINT, seed=5)


def test_an_ensemble_of_one_is_its_member(members, single, x):
    member = members[0]
    theta = np.linspace(0, 2, len(x))[:, None]
    for point in (POINT, theta):
        assert np.abs(single.log_prob(x, point) - member.log_prob(x, point)).max() < 1e-12
        assert np.array_equal(single.sample(len(x), point, seed=3), member.sample(len(x), point, seed=3))
    assert single.box_mass(*BOX, POINT) == member.box_mass(*BOX, POINT)
    kept = x[:20, [2, 0]]
    ours, theirs = (d.marginal_prob(["angle", "mass"], kept, POINT).value for d in (single, member))
    assert np.allclose(ours, theirs, rtol=1e-12)
    assert np.allclose(single.to_uniform(x, POINT), member.to_uniform(x, POINT), rtol=1e-12)
    numbers = [_uniform(4), _uniform(4)]
    drawn = [
        d.region(*BOX).sample(tf.constant(200), tf.constant(POINT, tf.float64), uniform)
        for d, uniform in zip((single, member), numbers, strict=True)
    ]
    assert np.array_equal(*drawn)


def test_density_is_the_mean_of_the_members(members, ensemble, x):
    for point in (POINT, np.linspace(0, 2, len(x))[:, None]):
        wanted = np.log(np.mean([np.exp(member.log_prob(x, point)) for member in members], axis=0))
        assert np.allclose(ensemble.log_prob(x, point), wanted, rtol=0, atol=1e-12)
        tensor = ensemble.log_prob_tensor(tf.constant(x), tf.constant(point, tf.float64), chunk_size=700)
        assert np.allclose(tensor, wanted, rtol=0, atol=1e-12)
        assert np.allclose(ensemble.log_prob(tf.constant(x), tf.constant(point, tf.float64)), wanted, atol=1e-12)


def test_is_normalised_exactly(ensemble):
    everything = [list(ends) for ends in zip(*(o.limits for o in ensemble.observables), strict=True)]
    assert ensemble.box_mass(*everything, POINT).value == 1.0
    halves = [ensemble.box_mass([100, -0.5, -2], [140, 3.5, 2], POINT).value]
    halves.append(ensemble.box_mass([140, -0.5, -2], [200, 3.5, 2], POINT).value)
    assert sum(halves) == pytest.approx(1, abs=1e-12)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    density = ensemble.marginal_prob(["mass"], 150 + 50 * nodes[:, None], POINT).value
    assert 50 * weights @ density == pytest.approx(1, abs=1e-3)


def test_probabilities_marginals_and_samples_agree(members, ensemble):
    # 200,000 events see a probability of 0.1 that is wrong by 3 % with four standard deviations.
    events = ensemble.sample(200_000, POINT, seed=1)
    count = np.all((events >= BOX[0]) & (events <= BOX[1]), axis=1).mean()
    error = np.sqrt(count * (1 - count) / len(events))
    assert abs(ensemble.box_mass(*BOX, POINT).value - count) < 4 * error
    assert any(abs(member.box_mass(*BOX, POINT).value - count) > 4 * error for member in members)
    region = ensemble.region(*BOX)
    inside = region.sample(tf.constant(50_000), tf.constant(POINT, tf.float64), _uniform(2)).numpy()
    wanted = events[np.all((events >= BOX[0]) & (events <= BOX[1]), axis=1)]
    assert np.all((inside >= BOX[0]) & (inside <= BOX[1]))
    for ours, theirs in zip(inside.T, wanted.T, strict=True):
        error = np.hypot(ours.std() / np.sqrt(len(ours)), theirs.std() / np.sqrt(len(theirs)))
        assert abs(ours.mean() - theirs.mean()) < 4 * error
    # No part of the events may come from one member alone.
    first, second = np.array_split(inside[:, 0], 2)
    assert abs(first.mean() - second.mean()) < 4 * inside[:, 0].std() / np.sqrt(len(inside) / 4)


def test_theta_of_every_event_is_its_own(members, ensemble):
    theta = np.repeat([[0.0], [2.0]], 20_000, axis=0)
    events = ensemble.sample(len(theta), theta, seed=2)
    for point in (0.0, 2.0):
        column = events[theta[:, 0] == point, 0]
        wanted = np.mean([m.sample(20_000, [point], seed=7)[:, 0].mean() for m in members])
        assert column.mean() == pytest.approx(wanted, abs=6 * column.std() / np.sqrt(20_000))
    assert abs(events[:20_000, 0].mean() - events[20_000:, 0].mean()) > 1
    assert ensemble.sample(0, POINT).shape == (0, 3)
    assert np.array_equal(ensemble.sample(10, POINT, seed=1), ensemble.sample(10, POINT, seed=1))


def test_the_map_to_uniform_numbers_is_right_for_own_events_only(members, ensemble):
    # A Kolmogorov-Smirnov test of 20,000 events sees a distribution that is off by 0.014 anywhere.
    from scipy.stats import kstest

    events = ensemble.sample(20_000, POINT, seed=3)
    ours = ensemble.to_uniform(events, POINT, seed=1)
    assert all(kstest(column, "uniform").pvalue > 1e-3 for column in ours.T)
    for member in members:
        assert min(kstest(column, "uniform").pvalue for column in member.to_uniform(events, POINT).T) < 1e-6


def test_gradients_are_finite_and_agree_with_differences(ensemble, x):
    events = tf.constant(np.vstack([x, [[1e3, 0, 0]]]))
    point = tf.constant(POINT, tf.float64)
    for chunk_size in (10_000, 500):
        with tf.GradientTape() as tape:
            tape.watch(point)
            value = ensemble.log_prob_tensor(events, point, chunk_size=chunk_size)
            total = tf.reduce_sum(value[:-1])
        step = 1e-5
        up, down = (ensemble.log_prob(x, [POINT[0] + s]).sum() for s in (step, -step))
        assert tape.gradient(total, point).numpy()[0] == pytest.approx((up - down) / (2 * step), rel=1e-6)
        assert value[-1] == -np.inf


def test_spread_is_that_of_the_members(members, ensemble, single, x):
    outside = np.vstack([x, [[1e3, 0, 0]]])
    spread = ensemble.spread(outside, POINT)
    wanted = np.std([member.log_prob(x, POINT) for member in members], axis=0, ddof=1)
    assert np.allclose(spread[:-1], wanted)
    assert np.isnan(spread[-1])
    with pytest.raises(ValueError, match="at least two members"):
        single.spread(x, POINT)


def test_describes_itself(members, ensemble):
    assert ensemble.observables == members[0].observables
    assert ensemble.theta_names == ("coupling",)
    lows, highs = zip(*(member.theta_range[0] for member in members), strict=True)
    assert ensemble.theta_range == ((max(lows), min(highs)),)
    assert ensemble.n_weights == sum(member.n_weights for member in members)
    assert len(ensemble.training["members"]) == 3
    assert "3 members" in repr(ensemble)


def test_refuses_what_makes_no_sense(members, ensemble, plain_density):
    with pytest.raises(ValueError, match="at least one"):
        EnsembleDensity([])
    with pytest.raises(ValueError, match="same axes"):
        EnsembleDensity([members[0], plain_density])
    with pytest.raises(TypeError, match="Density objects, got str"):
        EnsembleDensity([members[0], "density"])
    with pytest.raises(ValueError, match="non-negative"):
        ensemble.sample(-1, POINT)
    with pytest.raises(ValueError, match="shape"):
        ensemble.sample(3, [[0.1], [0.2]])
    with pytest.raises(ValueError, match="columns"):
        ensemble.log_prob(np.zeros((3, 2)), POINT)


def test_saves_to_one_file_and_comes_back(ensemble, members, x, tmp_path):
    path = ensemble.save(tmp_path / "three.egmm")
    assert list(tmp_path.iterdir()) == [path]
    again = EnsembleDensity.load(path)
    assert np.array_equal(again.log_prob(x, POINT), ensemble.log_prob(x, POINT))
    assert again.source == ensemble.source
    assert isinstance(load_density(path), EnsembleDensity)
    one = members[0].save(tmp_path / "one.egmm")
    assert isinstance(load_density(one), Density)
    with pytest.raises(FileExistsError):
        ensemble.save(path)
    assert isinstance(Density.load(path), EnsembleDensity)
    with pytest.raises(TypeError, match=r"one.egmm holds MixtureDensity\(mass, .*no EnsembleDensity; use Density.load"):
        EnsembleDensity.load(one)
    with pytest.raises(TypeError, match=r"three.egmm holds EnsembleDensity\(.*no MixtureDensity; use Density.load"):
        MixtureDensity.load(path)


def test_an_ensemble_may_hold_ensembles(members, x, tmp_path):
    nested = EnsembleDensity([members[0], EnsembleDensity(members[1:])])
    halves = [members[0].log_prob(x, POINT), np.logaddexp(*(m.log_prob(x, POINT) for m in members[1:])) - np.log(2)]
    wanted = np.logaddexp(*halves) - np.log(2)
    assert np.allclose(nested.log_prob(x, POINT), wanted, rtol=0, atol=1e-12)
    parts = [nested.members[0].box_mass(*BOX, POINT).value, nested.members[1].box_mass(*BOX, POINT).value]
    assert nested.box_mass(*BOX, POINT).value == pytest.approx(np.mean(parts), rel=1e-12)
    assert nested.n_weights == sum(member.n_weights for member in members)
    again = load_density(nested.save(tmp_path / "nested.egmm"))
    assert np.array_equal(again.log_prob(x, POINT), nested.log_prob(x, POINT))
    assert again.fingerprint == nested.fingerprint == pickle.loads(pickle.dumps(nested)).fingerprint
    events = nested.sample(20_000, POINT, seed=3)
    inside = np.all((events >= BOX[0]) & (events <= BOX[1]), axis=1).mean()
    assert inside == pytest.approx(np.mean(parts), abs=4 * np.sqrt(np.mean(parts) / 20_000))
    whole = nested.to_uniform(events, POINT, seed=1)
    assert np.abs(whole.mean(axis=0) - 0.5).max() < 4 * np.sqrt(1 / 12 / 20_000)


def test_broken_files_are_refused(ensemble, tmp_path):
    path = ensemble.save(tmp_path / "three.egmm")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    for load in (EnsembleDensity.load, load_density):
        with pytest.raises(ModelFileError):
            load(path)
    with pytest.raises(FileNotFoundError):
        load_density(tmp_path / "nothing.egmm")


def test_pickles(ensemble, x):
    again = pickle.loads(pickle.dumps(ensemble))
    assert np.array_equal(again.log_prob(x, POINT), ensemble.log_prob(x, POINT))


def test_without_theta(plain_density):
    ensemble = EnsembleDensity([plain_density, plain_density])
    x = ensemble.sample(100, seed=1)
    assert np.allclose(ensemble.log_prob(x), plain_density.log_prob(x), atol=1e-12)
    assert ensemble.theta_range == ()


def test_in_zfit_it_evaluates_truncates_projects_and_samples(members, x):
    ensemble = EnsembleDensity(members[:2])
    pdf = EGMM(ensemble, params={"coupling": zfit.Parameter("coupling_pdf", POINT[0], 0, 2)}, tolerance=1e-3)
    assert np.allclose(pdf.log_pdf(x), ensemble.log_prob(x, POINT), atol=1e-10)
    part = zfit.Space("mass", 105, 150) * zfit.Space("jets", -0.5, 1.5) * zfit.Space("angle", -1, 1.2)
    mass = ensemble.box_mass(*BOX, POINT, tolerance=1e-3).value
    assert pdf.integrate(part, norm=False).numpy()[0] == pytest.approx(mass, rel=1e-10)
    truncated = pdf.to_truncated(limits=part)
    events = truncated.sample(2000).value().numpy()
    assert np.all((events >= BOX[0]) & (events <= BOX[1]))
    assert np.allclose(truncated.log_pdf(events), ensemble.log_prob(events, POINT) - np.log(mass), atol=1e-8)
    projected = pdf.create_projection_pdf(obs=["angle"])
    wanted = ensemble.marginal_prob(["angle"], x[:20, 2:], POINT, tolerance=1e-2).value
    assert np.allclose(projected.pdf(x[:20, 2:]), wanted, rtol=1e-6)
    again = pickle.loads(zfit.dill.dumps(pdf.density))
    assert np.array_equal(again.log_prob(x, POINT), ensemble.log_prob(x, POINT))


def test_in_zfit_a_fit_finds_theta(ensemble):
    theta = zfit.Parameter("coupling_fit", 1.0, 0, 2)
    pdf = EGMM(ensemble, params={"coupling": theta})
    data = zfit.Data(ensemble.sample(3000, POINT, seed=11), obs=pdf.space)
    result = zfit.minimize.Minuit(gradient="zfit").minimize(zfit.loss.UnbinnedNLL(pdf, data))
    error = result.hesse()[theta]["error"]
    assert result.valid
    assert 0.001 < error < 0.2
    assert abs(result.params[theta]["value"] - POINT[0]) < 4 * error


def _uniform(seed):
    generator = tf.random.Generator.from_seed(seed)
    return lambda shape: generator.uniform(shape, dtype=tf.float64)
