"""ProjectionToys: toys of a fitted model, fitted again and compared with their fit in bins of observables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zfit_egmm.inference.goodness.projections import Projection, chi_square, projections_of
from zfit_egmm.inference.likelihood.asimov import covering_sample
from zfit_egmm.inference.likelihood.components import traced_density
from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.minimum import fit
from zfit_egmm.inference.toys.model_toys import ModelToys
from zfit_egmm.inference.toys.toy_fit import Row


class ProjectionToys(ModelToys):
    """Toys whose chi-squares in projections are wanted.

    A row of results has ``chi_square_0``, ``chi_square_1`` and so on for the projections.

    Args:
        loss: An unbinned zfit loss.
        fitted: Parameters as fitted to the data.
        sizes: Events of the data of each model.
        n_reference: Events drawn from each model.
        seed: Of these events.
        starts: Further starts of every fit.

    Raises:
        ValueError: If there are too few events for any bins.
    """

    def __init__(
        self,
        loss: Any,
        *,
        fitted: Mapping[str, float],
        sizes: Sequence[int],
        n_reference: int,
        seed: int,
        starts: Sequence[Mapping[str, float]] = (),
    ) -> None:
        super().__init__(loss, starts)
        self._fitted, self._n_reference, self._seed = dict(fitted), n_reference, seed
        with self.likelihood.restored():
            self.likelihood.set_values(fitted)
            self._references = [
                _Reference(self.likelihood, index, size, n_reference, seed + index) for index, size in enumerate(sizes)
            ]
        self.projections = [one for reference in self._references for one in reference.projections]
        if not self.projections:
            raise ValueError(f"there are too few events ({', '.join(map(str, sizes))}) for any two bins")

    def describe(self) -> dict[str, Any]:
        """What decides the results, for the head of their file."""
        return self._described(
            kind="goodness of fit", fitted=self._fitted, n_reference=self._n_reference, reference_seed=self._seed
        )

    def run(self, point: Mapping[str, float], seed: np.random.SeedSequence) -> Row:
        """Draw one toy, fit it and compare it with its fit.

        Args:
            point: True values of all free parameters.
            seed: Of everything random in this toy.
        """
        likelihood, retry = self.likelihood, self._draw(point, seed)
        best = fit(likelihood, start=point, starts=self._starts, hesse=False, seed=retry)
        row: Row = {"n_events": likelihood.n_events, "valid": best.is_valid}
        return row | {f"chi_square_{n}": value for n, value in enumerate(self.chi_squares(best.values).tolist())}

    def chi_squares(self, values: Mapping[str, float]) -> np.ndarray:
        """Chi-squares of the present data in all projections, shape ``(n_projections,)``.

        Args:
            values: Parameters of the model to compare with.
        """
        with self.likelihood.restored():
            self.likelihood.set_values(values)
            return np.concatenate([reference.chi_squares() for reference in self._references])


class _Reference:
    """Events that follow one model of a likelihood as it was fitted, and with weights as it is."""

    def __init__(self, likelihood: Likelihood, index: int, size: int, n_events: int, seed: int) -> None:
        self._likelihood, self._index = likelihood, index
        model = likelihood.models[index]
        events, weights = covering_sample(model, n_events, seed)
        self._x, self._weights = events.value(), weights
        self._parts = [part for number, part in likelihood.flat if number == index]
        self._functions = [traced_density(part, model) for part in self._parts]
        self._known: dict[int, tuple[tuple[float, ...], np.ndarray]] = {}
        self._first = self._density()
        x = self._x.numpy()
        found = projections_of(x, weights, model.obs, size)
        self._bins = [one.bins(x) for one in found]
        prefix = f"{model.name}: " if len(likelihood.models) > 1 else ""
        self.projections = [Projection(prefix + one.name, one.axes, one.edges, one.bin_of_cell) for one in found]

    def chi_squares(self) -> np.ndarray:
        """Chi-squares of the data of the likelihood at its present parameters, shape ``(n_projections,)``."""
        x = self._likelihood.x[self._index].numpy()
        ratio = np.divide(self._density(), self._first, out=np.zeros_like(self._first), where=self._first > 0)
        weights = self._weights * ratio
        weights = weights * (self._n_expected(len(x)) / weights.sum())
        found = []
        for projection, bins in zip(self.projections, self._bins, strict=True):
            observed = np.bincount(projection.bins(x), minlength=projection.n_bins)
            found.append(chi_square(observed, np.bincount(bins, weights, projection.n_bins)))
        return np.array(found)

    def _n_expected(self, n_data: int) -> float:
        if not self._likelihood.is_extended:
            return float(n_data)
        return sum(float(part.coefficient()) for part in self._parts)

    def _density(self) -> np.ndarray:
        """Density of the events, shape ``(n_events,)``; only terms whose shape has changed are evaluated again."""
        values = self._likelihood.values
        total, norm = np.zeros(len(self._weights)), 0.0
        for number, part in enumerate(self._parts):
            at = tuple(value for name, value in values.items() if name in part.shape_parameters)
            if number not in self._known or self._known[number][0] != at:
                self._known[number] = (at, self._functions[number](self._x).numpy())
            coefficient = float(part.coefficient())
            total += coefficient * self._known[number][1]
            norm += coefficient
        return np.maximum(total / norm, 0.0)
