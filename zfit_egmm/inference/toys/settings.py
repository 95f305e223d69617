"""ToySettings: how the toys of a limit, a discovery, a confidence set or a goodness of fit are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.weighted import check_unweighted
from zfit_egmm.inference.toys.campaign import ToyResults
from zfit_egmm.inference.toys.run import Experiment, check_campaign, run_toys

DIGITS = 9
"""Of true values, so that a rounding error of a fit does not make another campaign, and enough for an error of a
millionth."""


@dataclass(frozen=True)
class ToySettings:
    """How toys are run.

    Args:
        n_toys: Toys at each point.
        seed: Seed of all toys.
        workers: 1 for this process, more for that many new ones, or a Dask client.
        make: Function without arguments that returns the loss; other processes build theirs with it.
        path: File for the results, to go on after an interruption.
        progress: Whether to show a progress bar.

    Raises:
        CampaignError: If the file holds something else.
        OSError: If it cannot be written.
        ValueError: If a number makes no sense, or other processes have no loss.
    """

    n_toys: int
    seed: int = 0
    workers: Any = 1
    make: Callable[[], Any] | None = None
    path: Any = None
    progress: bool = True

    def __post_init__(self) -> None:
        check_campaign(self.n_toys, self.seed, self.workers, self.path)
        if self._is_elsewhere and self.make is None:
            raise ValueError(
                "other processes have to build the loss themselves: give make=, a function that returns it, or use "
                "workers=1"
            )

    @property
    def _is_elsewhere(self) -> bool:
        return not (isinstance(self.workers, int) and self.workers == 1)

    def run(
        self, likelihood: Likelihood, build: Callable[[Any], Experiment], points: Sequence[Mapping[str, float]]
    ) -> ToyResults:
        """Run the toys of an experiment.

        Args:
            likelihood: The likelihood, with the data.
            build: Makes the experiment from a loss; it can be pickled.
            points: True values of all free parameters.

        Raises:
            ValueError: If the events are weighted.
        """
        check_unweighted(likelihood)
        make: Callable[[], Experiment] = partial(build, likelihood)
        if self._is_elsewhere:
            make = self.elsewhere(build)
        return run_toys(
            make,
            self.n_toys,
            points=[rounded(likelihood, point) for point in points],
            seed=self.seed,
            path=self.path,
            workers=self.workers,
            progress=self.progress,
        )

    def elsewhere(self, build: Callable[[Any], Experiment]) -> Callable[[], Experiment]:
        """What other processes make the experiment with."""
        return partial(_built, self.make, build)


def notes_on_toys(results: ToyResults) -> list[str]:
    """Sentences on toys that do not count."""
    if not results.n_failed:
        return []
    return [f"{results.n_failed} of {len(results)} toys have no valid fit and are left out."]


def rounded(likelihood: Likelihood, values: Mapping[str, float]) -> dict[str, float]:
    """Values with nine significant digits, inside their limits."""
    limits = likelihood.limits
    return {name: float(np.clip(round_value(value), *limits[name])) for name, value in values.items()}


def rounded_values(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Tested values with as many digits as true values have."""
    return np.array([round_value(value) for value in values])


def round_value(value: float) -> float:
    """A true value as toys have it."""
    return float(f"{value:.{DIGITS}g}")


def _built(make: Any, build: Callable[[Any], Experiment]) -> Experiment:
    return build(make())
