"""What the package relies on in zfit and hepstats is there, and a silent change of it is noticed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import zfit
from hepstats.hypotests import calculators

from zfit_egmm import zfit_compat
from zfit_egmm.inference import AsymptoticCalculator, FromModel, Likelihood
from zfit_egmm.zfit_compat import IncompatibleVersionError, seeded, with_variable_observation

OBS = zfit.Space("x", -5, 5)


def constraint(kind: str):
    mean, width = zfit.Parameter("mean", 1.3), zfit.Parameter("width", 0.7)
    return {
        "gauss": lambda: zfit.constraint.GaussianConstraint(mean, 1.0, sigma=0.2),
        "two": lambda: zfit.constraint.GaussianConstraint([mean, width], [1.0, 2.0], cov=[[0.1, 0.02], [0.02, 0.2]]),
        "poisson": lambda: zfit.constraint.PoissonConstraint(mean, 3.0),
        "lognormal": lambda: zfit.constraint.LogNormalConstraint(mean, 1.0, 0.2),
    }[kind]()


@pytest.mark.parametrize("kind", ["gauss", "two", "poisson", "lognormal"])
def test_the_value_of_a_constraint_follows_its_observation(kind):
    original = constraint(kind)
    copied, variables = with_variable_observation(original)
    assert float(copied.value()) == pytest.approx(float(original.value()))
    before = float(copied.value())
    variables[0].assign(variables[0] + 0.5)
    assert float(copied.value()) != before
    assert float(original.value()) == pytest.approx(before)


def test_a_constraint_that_ignores_its_observation_is_noticed(monkeypatch):
    original = constraint("gauss")
    kept = float(original.value())
    monkeypatch.setattr(type(original), "value", lambda _: tf.constant(kept, tf.float64))
    with pytest.raises(IncompatibleVersionError, match="does not follow its observation"):
        with_variable_observation(original)


def test_random_numbers_go_on_as_if_nothing_had_happened():
    zfit.settings.set_seed(3)
    expected = zfit.z.random.uniform(shape=(3,)).numpy()
    zfit.settings.set_seed(3)
    with seeded(7):
        first = zfit.z.random.uniform(shape=(3,)).numpy()
    with seeded(7):
        assert np.array_equal(zfit.z.random.uniform(shape=(3,)).numpy(), first)
    assert np.array_equal(zfit.z.random.uniform(shape=(3,)).numpy(), expected)


def test_toys_leave_the_random_numbers_of_zfit_alone():
    model = zfit.pdf.Gauss(zfit.Parameter("mean", 0.0), 1.0, OBS)
    likelihood = Likelihood(zfit.loss.UnbinnedNLL(model, zfit.Data(np.zeros((10, 1)), obs=OBS)))
    zfit.settings.set_seed(5)
    expected = zfit.z.random.uniform(shape=(3,)).numpy()
    zfit.settings.set_seed(5)
    FromModel(likelihood)({"mean": 0.1}, np.random.default_rng(1))
    assert np.array_equal(zfit.z.random.uniform(shape=(3,)).numpy(), expected)


def test_another_generator_is_noticed(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(zfit.z.random, "uniform", lambda **_: tf.constant(rng.random(4)))
    zfit_compat._check_generator.cache_clear()
    with pytest.raises(IncompatibleVersionError, match="from another generator"), seeded(1):
        pass
    zfit_compat._check_generator.cache_clear()


def test_hepstats_without_the_hooks_is_noticed(monkeypatch):
    model = zfit.pdf.Gauss(zfit.Parameter("mean", 0.0), 1.0, OBS)
    loss = zfit.loss.UnbinnedNLL(model, zfit.Data(np.zeros((10, 1)), obs=OBS))
    monkeypatch.delattr(calculators.AsymptoticCalculator, "asimov_nll")
    with pytest.raises(IncompatibleVersionError, match="has no asimov_nll to replace"):
        AsymptoticCalculator(loss, zfit.minimize.Minuit())
