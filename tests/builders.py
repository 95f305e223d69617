"""Densities that need no training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zfit_egmm import Observable
from zfit_egmm.coordinates.projection import build_projection
from zfit_egmm.coordinates.theta import Bend, Stretch, ThetaScaling
from zfit_egmm.families.egmm.autoregressive import Autoregressive
from zfit_egmm.families.egmm.density import MixtureDensity
from zfit_egmm.families.egmm.networks import SmoothNetwork


def random_density(seed: int = 0, physical_inputs: bool = True, is_bent: bool = False) -> MixtureDensity:
    """Two continuous observables and a discrete one given one theta, with random weights and random projections.

    A bent one has two kinks in theta, which it also sees on a stretched axis.
    """
    rng = np.random.default_rng(seed)
    observables = (
        Observable("mass", 100, 200, unit="GeV", linear_fraction=0.2),
        Observable("jets", 0, 3, kind="discrete"),
        Observable("angle", -2, 2, linear_fraction=0.8),
    )
    events = {"mass": 100 + rng.exponential(20, 2000) % 100, "angle": rng.normal(0, 0.7, 2000).clip(-1.9, 1.9)}
    network = SmoothNetwork(hidden=(8, 6), n_components=4, physical_inputs=physical_inputs)
    scaling = ThetaScaling.from_values(rng.uniform(-1, 3, (50, 1)))
    if is_bent:
        scaling = replace(scaling, stretches=(Stretch(0.5, 0.8),), bends=(Bend(0, 0.0, 0.1), Bend(0, 2.0, 0.1)))
    latent_ranges = ((-4.5, 4.0), (0.0, 3.0), (-4.0, 4.8))
    projections = tuple(None if o.is_discrete else build_projection(o, events[o.name]) for o in observables)
    autoregressive = Autoregressive(
        observables, network, scaling.n_theta, latent_ranges, projections, len(scaling.bends)
    )
    weights = autoregressive.initial_weights(rng)
    return MixtureDensity(
        observables,
        ("coupling",),
        scaling,
        network=network,
        projections=projections,
        latent_ranges=latent_ranges,
        # The initial outputs are small; noise on top makes every weight matter.
        weights=[
            {name: value + 0.3 * rng.normal(size=value.shape).astype(np.float32) for name, value in factor.items()}
            for factor in weights
        ],
        training={
            "config": {"seed": seed},
            "summary": {"verdict": "It was not trained.", "validation_loss": {"mass": 1.5, "jets": 0.25, "angle": 2.0}},
        },
    )
