"""Points in the unit cube to integrate with, deterministic, and what they say about the error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import qmc

N_SCRAMBLINGS = 8
PANEL = 8
SEED = 20_260_101
TRIAL_SEED = SEED + 1
WIDTH_OF_STUDENT = math.sqrt((N_SCRAMBLINGS - 1) / (N_SCRAMBLINGS - 3))
"""Few scramblings know their spread badly: deviations over it follow Student's distribution, which is that wide."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points with weights, in groups that each give an estimate of the integral.

    Args:
        positions: In (0, 1), float64, shape ``(n_points, n_dimensions)``.
        weights: Of the points in the estimate, shape ``(n_points,)``, sum one.
        kind: ``"exact"``, ``"gauss"`` (Gauss-Legendre) or ``"sobol"``.
    """

    positions: np.ndarray
    weights: np.ndarray
    kind: str

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def make(cls, choices: tuple[int, ...], n_points: int, is_trial: bool = False) -> Points:
        """Points for dimensions that are continuous (zero) or have a number of equal categories.

        Nothing to integrate needs a single point, one discrete dimension one point per category, one
        continuous dimension is left to Gauss and Legendre. More dimensions get several scramblings of a Sobol
        sequence.

        Args:
            choices: Number of categories per dimension, zero for a continuous one.
            n_points: About how many points to use, where the number is free.
            is_trial: Whether they only tell how many are enough, and so have scramblings of their own.
        """
        return _make(choices, n_points, TRIAL_SEED if is_trial else SEED)

    def estimate(self, values: np.ndarray, share: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Integral and its standard error: deviations over it have a width of one.

        Args:
            values: Of the integrand at the points, shape ``(..., n_points)``.
            share: Use only one point in ``share`` of a Sobol sequence, a power of two.

        Returns:
            Both of the shape of ``values`` without the last axis. One dimension has no error estimate of its
            own and states zero; see :func:`zfit_egmm.density.region.Region`.
        """
        if self.kind != "sobol":
            integral = values @ self.weights
            return integral, np.zeros_like(integral)
        groups = values.reshape(*values.shape[:-1], N_SCRAMBLINGS, -1)
        means = groups[..., : groups.shape[-1] // share].mean(axis=-1)
        error = WIDTH_OF_STUDENT * means.std(axis=-1, ddof=1) / math.sqrt(N_SCRAMBLINGS)
        return means.mean(axis=-1), error


@lru_cache(maxsize=16)
def _make(choices: tuple[int, ...], n_points: int, seed: int) -> Points:
    if not choices:
        return Points(np.zeros((1, 0)), np.ones(1), "exact")
    if len(choices) == 1 and choices[0]:
        positions = (np.arange(choices[0]) + 0.5) / choices[0]
        return Points(positions[:, np.newaxis], np.full(choices[0], 1 / choices[0]), "exact")
    if len(choices) == 1:
        nodes, weights = np.polynomial.legendre.leggauss(PANEL)
        n_panels = max(1, n_points // PANEL)
        positions = (np.arange(n_panels)[:, np.newaxis] + 0.5 * (nodes + 1)) / n_panels
        return Points(positions.reshape(-1, 1), np.tile(0.5 * weights / n_panels, n_panels), "gauss")
    power = max(0, int(np.ceil(np.log2(n_points / N_SCRAMBLINGS))))
    seeds = np.random.SeedSequence(seed).spawn(N_SCRAMBLINGS)
    groups = [qmc.Sobol(len(choices), rng=np.random.default_rng(one)).random_base2(power) for one in seeds]
    positions = np.clip(np.concatenate(groups), 1e-12, 1 - 1e-12)
    return Points(positions, np.full(len(positions), 1 / len(positions)), "sobol")
