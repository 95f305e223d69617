"""What every projection satisfies, whatever the spectrum: forty random ones of each kind."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from zfit_egmm import Observable
from zfit_egmm.coordinates.projection import build_projection
from zfit_egmm.observables import LATENT_LIMIT


def random_spectrum(seed: int):
    """An observable of any scale and place with events that fall, peak, or crowd at an end, weights of both signs."""
    rng = np.random.default_rng([7, seed])
    scale, origin = 10.0 ** rng.uniform(-9, 9), rng.normal()
    shapes = (rng.beta(*rng.uniform(0.5, 5, 2), 4000), rng.exponential(0.2, 4000) % 1, rng.normal(0.5, 0.02, 4000) % 1)
    unit = rng.choice(np.concatenate(shapes), 3000)
    observable = Observable("x", origin * scale, (origin + 1) * scale, linear_fraction=float(rng.uniform(0.05, 1)))
    weights = np.where(rng.random(3000) < 0.1, -1.0, 1.0) if seed % 2 else None
    values = np.clip(observable.low + unit * (observable.high - observable.low), observable.low, observable.high)
    return observable, values, weights


@pytest.mark.parametrize("kind", ["smooth", "linear"])
def test_a_projection_is_increasing_invertible_and_has_the_slope_that_it_states(kind):
    for seed in range(40):
        observable, values, weights = random_spectrum(seed)
        width = observable.high - observable.low
        projection = build_projection(observable, values, weights, kind=kind)
        x = observable.low + width * np.sort(np.random.default_rng(seed).uniform(1e-6, 1 - 1e-6, 400))
        u, log_slope = (part.numpy() for part in projection.latent(tf.constant(x)))
        assert np.all(np.diff(u) > 0), seed
        assert np.abs(u).max() <= LATENT_LIMIT, seed
        assert np.abs(projection.physical(tf.constant(u)).numpy() - x).max() < 1e-9 * width, seed
        ends = projection.latent(tf.constant([observable.low, observable.high], tf.float64))[0].numpy()
        assert ends == pytest.approx([-LATENT_LIMIT, LATENT_LIMIT]), seed
        with tf.GradientTape() as tape:
            point = tf.constant(x)
            tape.watch(point)
            moved = projection.latent(point)[0]
        assert np.log(tape.gradient(moved, point).numpy()) == pytest.approx(log_slope, abs=1e-6), seed
