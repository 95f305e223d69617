"""How strongly the kernels of each factor decay: the less its conditions tell, the more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zfit_egmm.observables import LATENT_LIMIT, Observable

# Nats per event: a factor that gains less from its conditions has noise of the same size as what it learns, unless
# its kernels are held back. Measured on H -> 4l, where angles gain 0.01 to 0.04 and are the ones that carry theta.
WELL_KNOWN = 0.15
MOST_INCREASE, LARGEST_INCREASED = 10.0, 0.25

MOST_BINS, EVENTS_PER_BIN = 200, 200


def marginal_losses(observables: Sequence[Observable], u: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Loss of factors that know only the distribution of their observable over the whole sample.

    Args:
        observables: The observables.
        u: Latent coordinates, shape ``(n_events, n_observables)``.
        weights: Event weights, shape ``(n_events,)``.

    Returns:
        Entropies of the latent coordinates, from histograms, nats per event, shape ``(n_observables,)``.
    """
    bins = min(max(len(u) // EVENTS_PER_BIN, 10), MOST_BINS)
    losses = []
    for observable, column in zip(observables, u.T, strict=True):
        if observable.is_discrete:
            contents, size = np.bincount(np.unique(column, return_inverse=True)[1], weights), 1.0
        else:
            limits = (-LATENT_LIMIT, LATENT_LIMIT)
            contents, size = np.histogram(column, bins, limits, weights=weights)[0], 2 * LATENT_LIMIT / bins
        share = contents[contents > 0] / contents[contents > 0].sum()
        losses.append(-float(np.sum(share * np.log(share / size))))
    return np.array(losses)


def decay_factors(weight_decay: float, marginal: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Decay of the kernels of every factor.

    Args:
        weight_decay: Decay where the conditions, theta and the observables before, tell much. The first factor has it
            in any case: theta alone leaves little to learn, and little noise.
        marginal: The :func:`marginal_losses`.
        losses: Lowest validation losses so far, nats per event; infinite where there is none yet.

    Returns:
        Float32, shape ``(n_factors,)``: at least ``weight_decay``, which it is before there are losses.
    """
    gain = np.maximum(marginal - losses, WELL_KNOWN / MOST_INCREASE)
    increase = np.where(np.isfinite(losses), np.maximum(WELL_KNOWN / gain, 1.0), 1.0)
    increase[0] = 1.0
    return np.minimum(weight_decay * increase, max(weight_decay, LARGEST_INCREASED)).astype(np.float32)
