"""A density times a positive function, normalised over the box."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tensorflow as tf
from builders import random_density

from zfit_egmm import Density, EnsembleDensity
from zfit_egmm.density.composed.product import DensityRatio, ProductDensity, Reweighting
from zfit_egmm.density.state import State

THETA = [1.0]


class Tilt(Reweighting, kind="tilt of a test"):
    """Grows along the mass, faster for larger theta; ``sign`` of -1 makes it negative in a corner."""

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def log_ratio(self, x, theta):
        factor = 1 + 0.01 * (1 + theta[..., 0]) * (x[:, 0] - 100) * self.sign
        return tf.math.log(factor)

    def state(self):
        return State({"sign": self.sign})

    @classmethod
    def from_state(cls, axes, state):
        del axes
        return cls(state.manifest["sign"])


@pytest.fixture(scope="module")
def product() -> ProductDensity:
    return ProductDensity(random_density(), Tilt())


def grid(density: Density, m: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Events of the base with weights that integrate over the box: independent of the walk."""
    base = random_density()
    x = base.sample(2**m, THETA, seed=11)
    return x, np.exp(-base.log_prob(x, THETA)) / len(x)


def test_it_is_the_product_over_its_integral(product):
    x, weights = grid(product)
    factor = 1 + 0.02 * (x[:, 0] - 100)
    # The mean of the factor over events of the base: known to a few per mille.
    assert float(product.norm(THETA).value) == pytest.approx(factor.mean(), rel=0.01)
    assert product.norm(THETA).error < 2e-4 * product.norm(THETA).value
    expected = random_density().log_prob(x, THETA) + np.log(factor / product.norm(THETA).value)
    assert product.log_prob(x, THETA) == pytest.approx(expected, abs=1e-9)
    assert np.sum(np.exp(product.log_prob(x, THETA)) * weights) == pytest.approx(1, abs=0.01)


def test_events_are_those_of_the_product(product):
    events = product.sample(20_000, THETA, seed=1)
    x, weights = grid(product)
    p = np.exp(product.log_prob(x, THETA)) * weights
    error = events[:, 0].std() / np.sqrt(20_000)
    assert abs(events[:, 0].mean() - np.sum(p * x[:, 0]) / p.sum()) < 5 * error
    # The base alone is more than twenty errors away.
    assert abs(events[:, 0].mean() - x[:, 0].mean()) > 20 * error
    many = product.sample(4000, np.tile(THETA, (4000, 1)), seed=2)
    assert abs(many[:, 0].mean() - events[:, 0].mean()) < 6 * error


def test_parts_of_the_box_and_theta_per_event(product):
    low, high = [120, -0.5, -1], [160, 1.5, 1]
    mass = product.box_mass(low, high, THETA, tolerance=1e-3)
    events = product.sample(40_000, THETA, seed=3)
    share = np.all((events >= low) & (events <= high), axis=1).mean()
    assert abs(share - float(mass.value)) < 4 * np.sqrt(share / 40_000)
    rows = np.linspace(-0.5, 2, 5)[:, np.newaxis]
    alone = [product.log_prob(events[[n]], rows[n])[0] for n in range(5)]
    assert product.log_prob(events[:5], rows) == pytest.approx(alone, abs=1e-9)


def test_gradients_hold_the_norm(product):
    x = tf.constant(product.sample(200, THETA, seed=4))
    point = tf.constant(THETA, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = tf.reduce_sum(product.log_prob_tensor(x, point))
    up, down = (product.log_prob(x.numpy(), [THETA[0] + s]).sum() for s in (1e-5, -1e-5))
    assert float(tape.gradient(value, point)[0]) == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-4)


def test_files_and_pickles(product, tmp_path):
    x = product.sample(50, THETA, seed=5)
    for other in (Density.load(product.save(tmp_path / "a.egmm")), pickle.loads(pickle.dumps(product))):
        assert np.array_equal(other.log_prob(x, THETA), product.log_prob(x, THETA))
        assert other.fingerprint == product.fingerprint


def test_a_ratio_of_densities_gives_the_numerator(tmp_path):
    first, second = random_density(1), random_density(2)
    both = EnsembleDensity([first, second])
    # Half of the ensemble is the first density: the ratio is bounded by two.
    product = ProductDensity(both, DensityRatio(first, both))
    x = first.sample(100, THETA, seed=1)
    norm = product.norm(THETA)
    assert abs(float(norm.value) - 1) < 5 * float(norm.error) < 0.01
    assert product.log_prob(x, THETA) - first.log_prob(x, THETA) == pytest.approx(-np.log(norm.value), abs=1e-9)
    loaded = Density.load(product.save(tmp_path / "a.egmm"))
    assert [member.kind for member in loaded.state().members] == ["ensemble", "egmm", "ensemble"]


def test_a_factor_that_is_negative_or_has_no_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"negative, zero or not finite for \d+ of 1000 events of the base, the first"):
        ProductDensity(random_density(), Tilt(-1.0))

    class Nameless(Tilt):
        kind = ""

    with pytest.raises(TypeError, match=r"Nameless has no name for files.*kind='name'"):
        ProductDensity(random_density(), Nameless()).save(tmp_path / "a.egmm")
