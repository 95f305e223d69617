"""goodness_of_fit: whether a fitted model describes the data, from toys, with the place where it does so worst."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from zfit_egmm.inference.goodness.toys import ProjectionToys
from zfit_egmm.inference.hypotheses.profile_ratio import kept
from zfit_egmm.inference.likelihood.minimum import as_likelihood, fit
from zfit_egmm.inference.likelihood.weighted import check_unweighted
from zfit_egmm.inference.toys.settings import ToySettings, notes_on_toys, rounded


@dataclass(frozen=True)
class ProjectionFit:
    """Agreement in the bins of one or two observables.

    Args:
        name: Names of the observables.
        chi_square: Chi-square between the data and the fitted model.
        n_bins: Number of bins.
        toy_mean: Mean chi-square of toys.
        p_value: Part of the toys with a larger chi-square, the data counted as one of them.
    """

    name: str
    chi_square: float
    n_bins: int
    toy_mean: float
    p_value: float


@dataclass(frozen=True, eq=False)
class GoodnessOfFit:
    """Agreement of data with a fitted model.

    Args:
        statistic: Sum of the chi-squares of all projections.
        p_value: Probability of a larger one if the model is right, the data counted as one of the toys.
        error: Error of the p-value from the number of toys.
        toys: Statistic of the toys with a valid fit, shape ``(n_toys,)``.
        projections: Agreement in each projection.
        notes: What the reader should know, in sentences.
    """

    statistic: float
    p_value: float
    error: float
    toys: np.ndarray
    projections: tuple[ProjectionFit, ...]
    notes: tuple[str, ...]

    @property
    def n_toys(self) -> int:
        """Toys with a valid fit."""
        return len(self.toys)

    @property
    def worst(self) -> ProjectionFit:
        """The projection that the model describes worst."""
        return min(self.projections, key=lambda one: (one.p_value, one.toy_mean - one.chi_square))

    def __str__(self) -> str:
        width = max(len(one.name) for one in self.projections)
        head = f"chi-square {self.statistic:.1f}, toys {self.toys.mean():.1f} +- {self.toys.std():.1f}: p-value"
        lines = [
            f"{head} {self.p_value:.3f} +- {self.error:.3f} ({self.n_toys} toys)",
            f"{'':{width}}  chi-square  toys  bins  p-value",
        ]
        lines += [
            f"{one.name:{width}}  {one.chi_square:10.1f}  {one.toy_mean:4.0f}  {one.n_bins:4d}  {one.p_value:7.3f}"
            for one in self.projections
        ]
        return "\n".join([*lines, *self.notes])


def goodness_of_fit(  # noqa: PLR0913 - toys
    loss: Any,
    *,
    n_toys: int = 200,
    seed: int = 0,
    workers: Any = 1,
    make: Callable[[], Any] | None = None,
    path: Any = None,
    progress: bool = True,
    starts: Sequence[Mapping[str, float]] = (),
    n_reference: int | None = None,
) -> GoodnessOfFit:
    """Test whether a model describes the data that it is fitted to.

    The statistic is the sum of chi-squares between data and fitted model in bins of all observables and in coarse bins
    of all pairs. Bins hold equal parts of events drawn once from the model as fitted to the data. Every toy is drawn
    from that model and fitted again, and the drawn events are weighted by the ratio of its best fit to the first one.
    So it counts that parameters were adjusted to the data, and that projections share events.

    Args:
        loss: An unbinned zfit loss, or a :class:`~zfit_egmm.inference.likelihood.loss.Likelihood`, with the data.
        n_toys: Number of toys.
        seed: Seed of everything random.
        workers: Where toys run: 1 for this process, a larger number for that many new ones, or a Dask client.
        make: Function that returns the loss, for toys in other processes.
        path: File for the results of toys; the same call goes on where it was interrupted.
        progress: Whether to show a progress bar of toys.
        starts: Further starts of every fit, where several minima are expected.
        n_reference: Events drawn from each model. Default: five times the data, at least 20 thousand.

    Raises:
        ValueError: If events are weighted, there are too few of them for any bins, or an argument makes no sense.
        RuntimeError: If the fit to the data fails.
    """
    likelihood = as_likelihood(loss)
    check_unweighted(likelihood)
    settings = ToySettings(n_toys, seed, workers, make, path, progress)
    with kept(likelihood):
        best = fit(likelihood, starts=starts, hesse=False, seed=seed)
        if not best.is_valid:
            raise RuntimeError("the fit to the data is not valid, so that there is nothing to compare them with")
        fitted = rounded(likelihood, best.values)
        sizes = tuple(len(x) for x in likelihood.x)
        n_reference = n_reference or max(20_000, 5 * max(sizes))
        build = partial(
            ProjectionToys, fitted=fitted, sizes=sizes, n_reference=n_reference, seed=seed, starts=tuple(starts)
        )
        own = build(likelihood)
        chi_squares = own.chi_squares(fitted)
        results = settings.run(likelihood, build, [fitted])
    columns = np.stack([results.column(f"chi_square_{n}", valid=True) for n in range(len(chi_squares))], axis=1)
    return _result(own, chi_squares, columns, notes_on_toys(results))


def _result(
    experiment: ProjectionToys, chi_squares: np.ndarray, toys: np.ndarray, notes: Sequence[str]
) -> GoodnessOfFit:
    p_values = (np.sum(toys >= chi_squares, axis=0) + 1) / (len(toys) + 1)
    projections = tuple(
        ProjectionFit(projection.name, float(value), projection.n_bins, float(mean), float(p_value))
        for projection, value, mean, p_value in zip(
            experiment.projections, chi_squares, toys.mean(axis=0), p_values, strict=True
        )
    )
    statistic, totals = float(chi_squares.sum()), toys.sum(axis=1)
    p_value = float(np.sum(totals >= statistic) + 1) / (len(toys) + 1)
    result = GoodnessOfFit(
        statistic=statistic,
        p_value=p_value,
        error=math.sqrt(p_value * (1 - p_value) / (len(toys) + 1)),
        toys=totals,
        projections=projections,
        notes=(),
    )
    worst = result.worst
    words = (
        f"It fits worst in {worst.name}: chi-square {worst.chi_square:.1f} against {worst.toy_mean:.1f} in toys, "
        f"p-value {worst.p_value:.3g}, the smallest of {len(projections)}."
    )
    return GoodnessOfFit(**{**vars(result), "notes": (words, *notes)})
