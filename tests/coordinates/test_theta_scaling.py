from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from builders import random_density

from zfit_egmm import Density
from zfit_egmm.coordinates.theta import Bend, Stretch, ThetaScaling

RANGE = ((-8.0, 8.0), (0.0, 2.0))


def _inputs(scaling: ThetaScaling, theta) -> np.ndarray:
    return scaling(tf.constant(theta, tf.float64)).numpy()


def test_a_parameter_is_scaled_to_its_range():
    scaling = ThetaScaling.from_values(np.array([[-8.0, 0.0], [8.0, 2.0], [1.0, 0.5]]))
    assert scaling.trained_range == RANGE
    np.testing.assert_allclose(_inputs(scaling, [[-8, 0], [0, 1], [8, 2]]), [[-2, -2], [0, 0], [2, 2]], atol=1e-15)


def test_a_stretched_parameter_is_finer_at_the_centre_and_its_neighbour_stays_straight():
    scaling = ThetaScaling(RANGE, (Stretch(0.0, 2.0), None))
    inputs = _inputs(scaling, [[-8, 0], [0, 0.5], [1, 1], [8, 2]])
    np.testing.assert_allclose(inputs[:, 0], [-2, 0, 2 * np.arcsinh(0.5) / np.arcsinh(4), 2], atol=1e-12)
    np.testing.assert_allclose(inputs[:, 1], [-2, -1, 0, 2], atol=1e-15)


def test_a_bend_is_a_kink_that_is_rounded_within_its_radius():
    scaling = ThetaScaling(RANGE, bends=(Bend(1, 0.5, 0.01),))
    assert scaling.n_theta == 2
    values = np.array([0.0, 0.3, 0.5, 0.7, 2.0])
    inputs = _inputs(scaling, np.column_stack([np.zeros(5), values]))
    assert inputs.shape == (5, 3)
    slopes = np.diff(inputs[:, 2]) / np.diff(values)
    np.testing.assert_allclose(slopes[[0, 3]], [-2, 2], rtol=1e-2)
    assert inputs[2, 2] == pytest.approx(2 * (0.01 - 0.5))
    assert np.abs(inputs).max() < 2.001


@pytest.fixture(scope="module")
def bent() -> Density:
    return random_density(is_bent=True)


def test_the_slope_of_a_bent_density_in_theta_is_exact(bent):
    x = np.array([[150.0, 1.0, 0.5], [120.0, 2.0, -1.0]])

    def slope(at: float) -> np.ndarray:
        theta = tf.Variable([at], dtype=tf.float64)
        with tf.GradientTape() as tape:
            value = bent.log_prob_tensor(tf.constant(x), theta)
        return tape.jacobian(value, theta).numpy()[:, 0]

    for at in (-0.3, 0.0, 0.02, 1.0, 2.0):
        step = 1e-6
        numeric = (bent.log_prob(x, [at + step]) - bent.log_prob(x, [at - step])) / (2 * step)
        np.testing.assert_allclose(slope(at), numeric, rtol=1e-5, atol=1e-7)


def test_a_bent_density_is_the_same_after_a_file(bent, tmp_path):
    loaded = Density.load(bent.save(tmp_path / "bent.egmm"))
    assert loaded.scaling == bent.scaling
    x, theta = bent.sample(200, [0.1], seed=1), np.linspace(-0.9, 2.9, 200)[:, np.newaxis]
    np.testing.assert_array_equal(loaded.log_prob(x, theta), bent.log_prob(x, theta))
