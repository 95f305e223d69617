"""Energy distance between simulation and model, in all observables and theta at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Entry, Finding, Judge, Task, Threshold
from zfit_egmm.diagnostics.samples import Progress, advance, check_match, model_events, subsample, within
from zfit_egmm.events.sample import EventSample


@dataclass(frozen=True)
class EnergyTest:
    """Test of all observables and theta at once.

    Args:
        distance: Squared energy distance of ranks, each scaled to [0, 1].
        expected: Its mean if the model is right.
        p_value: Probability of a larger distance if the model is right, by permutation.
        n_events: Simulated events that were used, next to as many model events.
    """

    distance: float
    expected: float
    p_value: float
    n_events: int


def energy_test(
    density: Density,
    sample: EventSample,
    *,
    n_events: int = 2000,
    n_permutations: int = 999,
    seed: int = 0,
    progress: Progress = None,
) -> EnergyTest:
    """Energy distance between simulation and model in all observables and theta, on part of the events.

    Every column is replaced by its rank among both samples, so that units and tails do not matter.

    Args:
        density: The density.
        sample: Simulated events that it was not trained with.
        n_events: Most simulated events to use; time and memory grow with the square.
        n_permutations: Swaps of events with their partners.
        seed: Seed of the choice, the model events and the swaps.
        progress: Called with the fraction that is done.

    Raises:
        ValueError: If the density and the sample do not match.

    Source:
        Szekely and Rizzo, "Energy statistics: a class of statistics based on distances".
    """
    check_match(density, sample)
    chosen = subsample(sample, n_events, seed=seed)
    model = model_events(density, chosen, seed=seed, progress=within(progress, 0.0, 0.2))
    n = len(chosen)
    rows = np.concatenate([np.concatenate([events.x, events.theta], axis=1) for events in (chosen, model)])
    ranks = rankdata(rows, axis=0) / len(rows)
    simulated, modelled = ranks[:n], ranks[n:]
    cross = cdist(simulated, modelled)
    # The distance is a quadratic form of signs: plus one for an event in its place, minus one if swapped.
    kernel = cross + cross.T - cdist(simulated, simulated) - cdist(modelled, modelled)
    share = chosen.weights / chosen.weights.sum()
    kernel *= share[:, np.newaxis] * share
    advance(progress, 0.5)
    signs = 2.0 * np.random.default_rng([seed, 2]).integers(0, 2, (n_permutations, n)) - 1
    permuted = np.einsum("bi,bi->b", signs @ kernel, signs)
    distance = float(kernel.sum())
    advance(progress, 1.0)
    p_value = (1 + int(np.sum(permuted >= distance))) / (1 + n_permutations)
    return EnergyTest(distance, float(np.trace(kernel)), p_value, n)


class EnergyEntry(Entry):
    name = "energy"
    title = "Energy test"
    reading = "A distance between model and simulation in all observables and theta at once, with few events."
    good = "a p-value that is not tiny."
    thresholds = (Threshold("energy_p_value", None, "smallest p-value of the energy test"),)
    keys = ("energy_test",)

    def run(self, task: Task) -> EnergyTest:
        """With 2000 events at most."""
        return energy_test(task.density, task.sample, seed=task.seed, progress=task.progress)

    def findings(self, result: EnergyTest, judge: Judge) -> list[Finding]:
        return [judge.p_value("energy_p_value", result.p_value, "the energy test")]

    def numbers(self, result: EnergyTest) -> tuple[EnergyTest]:
        return (result,)

    def content(self, result: EnergyTest) -> Content:
        text = f"Squared distance {result.distance:.3g} with {result.n_events} events; "
        return Content(items=[text + f"{result.expected:.3g} expected if right."])
