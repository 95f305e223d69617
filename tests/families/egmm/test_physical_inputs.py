"""Networks see the observables before both on the latent axes and in physical units."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from builders import random_density

from zfit_egmm import EventSample, Observable, SmoothNetwork, TrainingConfig
from zfit_egmm.density.files import described, rebuilt


def test_latent_and_physical_coordinates_are_scaled_alike():
    density = random_density()
    x = density.sample(200, [1.0], seed=1)
    u, _ = density.latent(tf.constant(x))
    places = density.latent_map.places(tf.constant(x))
    mass, jets = (density.autoregressive.features(axis, u[:, axis], places[:, axis]).numpy() for axis in (0, 1))
    assert mass == pytest.approx(np.column_stack([2 * u[:, 0] / 5, 2 * (x[:, 0] - 150) / 50]))
    # One column per number of jets.
    assert np.array_equal(mass.shape + jets.shape, (200, 2, 200, 4))
    computed = density.autoregressive.features(0, u[:, 0]).numpy()
    assert computed == pytest.approx(mass, abs=1e-9)


def test_events_far_outside_leave_gradients_finite():
    density = random_density()
    x = density.sample(5, [1.0], seed=1)
    x[1:3, 0] = 1e30, -np.inf
    theta = tf.constant([1.0], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(theta)
        values = density.log_prob(tf.constant(x), theta)
        total = tf.reduce_sum(tf.where(tf.math.is_finite(values), values, tf.zeros_like(values)))
    assert np.isneginf(values.numpy()[1:3]).all()
    assert np.isfinite(tape.gradient(total, theta).numpy()).all()


def test_without_physical_inputs_there_are_fewer_weights_and_a_file_says_so():
    without = random_density(physical_inputs=False)
    loaded = rebuilt(*described(without))
    x = without.sample(50, [1.0], seed=1)
    assert loaded.autoregressive.network == without.autoregressive.network
    assert np.array_equal(loaded.log_prob(x, [1.0]), without.log_prob(x, [1.0]))
    # Two factors see the mass, in a first layer of eight.
    assert loaded.n_weights == random_density().n_weights - 2 * 8


def test_a_choice_that_is_none_is_refused():
    with pytest.raises(ValueError, match="physical_inputs must be true or false, got 'no'"):
        SmoothNetwork(physical_inputs="no")


def test_a_file_that_does_not_state_a_choice_is_refused():
    density = random_density()
    manifest, arrays = described(density)
    del manifest["state"]["network"]["physical_inputs"]
    with pytest.raises(ValueError, match=r"lacks physical_inputs: was the file made by an older version\?"):
        rebuilt(manifest, arrays)


def test_places_keep_their_precision_far_from_zero():
    # In single precision, times in seconds since 1970 have steps of 128 s.
    x = 1.7e9 + 100 * np.random.default_rng(1).random((500, 1))
    sample = EventSample([Observable("time", 1.7e9, 1.7e9 + 100)], x)
    config = TrainingConfig(validation_fraction=0.0)
    _, places, _ = config.settings.prepare(sample, config).training.arrays
    assert places.dtype == np.float32
    assert places == pytest.approx((x - 1.7e9 - 50) / 50, abs=1e-6)
