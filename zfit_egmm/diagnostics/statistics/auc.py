"""Area under the ROC curve, with weights of either sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def share_below(scores: np.ndarray, weights: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Share of the weight whose scores lie below given ones, ties counted half.

    Args:
        scores: Shape ``(n_events,)``.
        weights: Shape ``(n_events,)``, with a positive sum.
        at: Shape ``(n,)``.

    Returns:
        Shape ``(n,)``. Its mean over the scores of other events is the area under the ROC curve.
    """
    order = np.argsort(scores)
    ordered, share = scores[order], np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    return 0.5 * sum(share[np.searchsorted(ordered, at, side=side)] for side in ("left", "right"))


@dataclass(frozen=True)
class ScoredPairs:
    """Scores of simulated events and of their partners from the model, which have the same weights.

    Args:
        simulation: Shape ``(n_pairs,)``.
        model: Shape ``(n_pairs,)``; higher scores are to mean the model.
        weights: Shape ``(n_pairs,)``; their sum is positive.
    """

    simulation: np.ndarray
    model: np.ndarray
    weights: np.ndarray

    @property
    def _shares(self) -> np.ndarray:
        return self.weights / self.weights.sum()

    def auc(self) -> tuple[float, float]:
        """Area under the ROC curve and its standard error.

        The area is the probability that a model event has the higher score, ties counted half; one half if the scores
        tell nothing. The error takes into account that the two of a pair have the same theta.

        Source:
            DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
            characteristic curves", here with weights and pairs.
        """
        below = share_below(self.simulation, self.weights, self.model)
        above = 1 - share_below(self.model, self.weights, self.simulation)
        auc = float(self._shares @ below)
        influence = self._shares * (below + above - 2 * auc)
        return auc, float(np.sqrt(np.sum(np.square(influence))))

    def swapped_aucs(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """Areas after random swaps of the two of each pair, shape ``(number,)``."""
        rank, n_ranks = self._ranks()
        share = self._shares
        both = np.bincount(rank, np.concatenate([share, share]), n_ranks)
        result = np.empty(number)
        for k in range(number):
            signed = np.where(rng.random(len(share)) < 0.5, share, -share)
            difference = np.bincount(rank, np.concatenate([-signed, signed]), n_ranks)
            simulated, modelled = 0.5 * (both - difference), 0.5 * (both + difference)
            result[k] = modelled @ (np.cumsum(simulated) - 0.5 * simulated)
        return result

    def p_value(self, n_permutations: int, rng: np.random.Generator) -> float:
        """Probability of a larger area if the two of each pair are exchangeable, by swaps; ties are broken at random.

        It is exactly uniform for scores that were made without knowledge of which event is which.
        """
        observed = self.auc()[0]
        swapped = self.swapped_aucs(n_permutations, rng)
        n_ties = np.sum(np.abs(swapped - observed) <= 1e-12)
        n_larger = np.sum(swapped > observed + 1e-12)
        return float((n_larger + rng.random() * (1 + n_ties)) / (1 + n_permutations))

    def roc(self, n_points: int = 200) -> tuple[np.ndarray, np.ndarray]:
        """Fractions of the simulation and of the model above decreasing thresholds, each from 0 to 1.

        Args:
            n_points: About how many points of the curve to return.
        """
        rank, n_ranks = self._ranks()
        n = len(self.weights)
        curves = [np.bincount(one, self._shares, n_ranks)[::-1] for one in (rank[:n], rank[n:])]
        at = np.unique(np.linspace(0, n_ranks, n_points).astype(int))
        simulated, modelled = (np.concatenate([[0.0], np.cumsum(curve)])[at] for curve in curves)
        return simulated, modelled

    def _ranks(self) -> tuple[np.ndarray, int]:
        """Rank of each score among all, equal for ties, the simulation first; and the number of ranks."""
        values, rank = np.unique(np.concatenate([self.simulation, self.model]), return_inverse=True)
        return rank.reshape(-1), len(values)
