"""Where the events of a toy come from: the model itself, simulated events that were held out, or a function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import zfit

from zfit_egmm.events.sample import EventSample
from zfit_egmm.inference.likelihood.asimov import check_positive, covering_sample
from zfit_egmm.inference.likelihood.components import traced_density
from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.pdf.limits_in_graphs import lifted_limits
from zfit_egmm.zfit_compat import seeded

N_PLACES = 10_000
"""Where a total density with negative terms is looked at before toys are made."""

Source = Callable[[Mapping[str, float], np.random.Generator], Sequence[Any]]
"""Events of one toy, an array or a ``zfit.Data`` for each model, from the true parameters, fixed ones included, and a
generator of random
numbers."""


class FromModel:
    """Toys drawn from the models of a likelihood.

    The number of events of every term of an extended model follows a Poisson distribution; any other model has as
    many events as its data. With a negative yield, events of the positive terms are kept with the probability that the
    total density has of theirs: exact wherever the total is positive.

    Args:
        likelihood: The likelihood; its data is only counted.
    """

    def __init__(self, likelihood: Likelihood) -> None:
        self._likelihood = likelihood
        self._sizes = [len(x) for x in likelihood.x]
        self._functions: dict[tuple[str, int], Callable] = {}

    def __call__(self, true: Mapping[str, float], rng: np.random.Generator) -> list[np.ndarray]:
        """Events of one toy for each model, shape ``(n_events, n_observables)``.

        Raises:
            ValueError: If the density of a model is negative at one of the events.
        """
        likelihood = self._likelihood
        with seeded(int(rng.integers(2**31))), likelihood.restored():
            likelihood.set_values(true)
            coefficients = np.array([float(part.coefficient()) for _, part in likelihood.flat])
            drawn = []
            for index, size in enumerate(self._sizes):
                numbers = [number for number, (model, _) in enumerate(likelihood.flat) if model == index]
                own = coefficients[numbers]
                needed = None if likelihood.is_extended else size
                draw = self._thinned if np.any(own < 0) else self._all
                drawn.append(rng.permutation(draw(index, numbers, own, needed, rng)))
            return drawn

    def check(self, true: Mapping[str, float]) -> None:
        """Check that events can be drawn.

        Raises:
            ValueError: If the density of a model is negative somewhere.
        """
        likelihood = self._likelihood
        with likelihood.restored():
            likelihood.set_values({name: true[name] for name in likelihood.names if name in true})
            negative = {index for index, part in likelihood.flat if float(part.coefficient()) < 0}
            for index in sorted(negative):
                covering_sample(likelihood.models[index], N_PLACES, 0)

    def describe(self) -> dict[str, Any]:
        """What decides the events, besides the models, in terms of JSON."""
        return {"kind": "model", "sizes": "Poisson" if self._likelihood.is_extended else self._sizes}

    def _all(
        self, index: int, numbers: Sequence[int], coefficients: np.ndarray, size: int | None, rng: np.random.Generator
    ) -> np.ndarray:
        """Events of all terms of a model, those with negative coefficients left out."""
        positive = np.maximum(coefficients, 0)
        counts = rng.poisson(positive) if size is None else rng.multinomial(size, positive / positive.sum())
        none = np.zeros((0, len(self._likelihood.models[index].obs)))
        return np.concatenate(
            [none, *(self._draw(number, count) for number, count in zip(numbers, counts, strict=True) if count)]
        )

    def _thinned(
        self, index: int, numbers: Sequence[int], coefficients: np.ndarray, size: int | None, rng: np.random.Generator
    ) -> np.ndarray:
        """Events of the total density, where some coefficients are negative."""
        if coefficients.sum() <= 0:
            raise ValueError(
                f"{self._likelihood.models[index].name} has {coefficients.sum():.4g} events in total, so that no toy "
                "can be drawn; choose other true values"
            )
        kept: list[np.ndarray] = []
        while True:
            x = self._all(index, numbers, coefficients, size, rng)
            densities = np.stack([self._density(number, x) for number in numbers])
            share = coefficients @ densities / (np.maximum(coefficients, 0) @ densities)
            model = self._likelihood.models[index]
            check_positive(model, share, zfit.Data.from_numpy(obs=model.space, array=x))
            kept.append(x[rng.random(len(x)) < share])
            if size is None:
                return kept[0]
            if sum(map(len, kept)) >= size:
                return np.concatenate(kept)[:size]

    def _draw(self, number: int, size: int) -> np.ndarray:
        key = ("sample", number)
        if key not in self._functions:
            self._functions[key] = self._traced(number)
        return self._functions[key](tf.constant(size, tf.int64)).numpy()

    def _density(self, number: int, x: np.ndarray) -> np.ndarray:
        key = ("density", number)
        if key not in self._functions:
            index, part = self._likelihood.flat[number]
            self._functions[key] = traced_density(part, self._likelihood.models[index])
        return self._functions[key](tf.constant(x, tf.float64)).numpy()

    def _traced(self, number: int) -> Callable:
        index, part = self._likelihood.flat[number]
        obs = self._likelihood.models[index].obs

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int64)])
        def sample(n: tf.Tensor) -> tf.Tensor:
            return part.pdf.sample(n).with_obs(obs).value()

        with lifted_limits(part.pdf.get_params(floating=None)):
            return sample.get_concrete_function()


class FromEvents:
    """Toys drawn from simulated events, with replacement, with a Poisson number of events.

    Use events that no density was trained on.

    Args:
        samples: Events with their weights for each component, such as signal and background; they share the order
            of observables.
        expected: For each the expected number of events: a number or the name of a parameter.
        columns: Names of the observables in the order of the model's space.
        tolerance: How far the theta of an event may be from the true value, in units of the range of all events, or of
            the value of theta if they have one only.

    Raises:
        ValueError: If a weight is negative, or a sample lacks one of the columns.
    """

    def __init__(
        self,
        samples: Sequence[EventSample],
        expected: Sequence[float | str],
        columns: Sequence[str],
        tolerance: float = 1e-6,
    ) -> None:
        if len(samples) != len(expected):
            raise ValueError(f"there are {len(samples)} samples, but {len(expected)} expected numbers of events")
        for number, sample in enumerate(samples):
            if np.any(sample.weights < 0):
                raise ValueError(
                    f"sample {number} has events of negative weight, which cannot be drawn as toys; use unweighted "
                    "events, or draw from the model"
                )
            missing = set(columns) - {observable.name for observable in sample.observables}
            if missing:
                raise ValueError(f"sample {number} has no observables {sorted(missing)}")
        self._samples = list(samples)
        self._expected = [one if isinstance(one, str) else float(one) for one in expected]
        self._columns = [[[o.name for o in sample.observables].index(c) for c in columns] for sample in samples]
        self._tolerance = tolerance

    def __call__(self, true: Mapping[str, float], rng: np.random.Generator) -> list[np.ndarray]:
        """Events of one toy, shape ``(n_events, n_observables)``.

        Raises:
            ValueError: If a parameter has no true value, or there are no events at it.
        """
        self._check_names(true)
        drawn = []
        for sample, expected, columns in zip(self._samples, self._expected, self._columns, strict=True):
            rows = self._rows_at(sample, true)
            n = rng.poisson(true[expected] if isinstance(expected, str) else expected)
            weights = sample.weights[rows]
            drawn.append(sample.x[rng.choice(rows, n, p=weights / weights.sum())][:, columns])
        return [rng.permutation(np.concatenate(drawn))]

    def describe(self) -> dict[str, Any]:
        """What decides the events, in terms of JSON."""
        content = hashlib.sha256()
        for sample in self._samples:
            for array in (sample.x, sample.theta, sample.weights):
                content.update(np.ascontiguousarray(array).tobytes())
        return {"kind": "events", "expected": self._expected, "events": content.hexdigest()[:16]}

    def _check_names(self, true: Mapping[str, float]) -> None:
        needed = {name for sample in self._samples for name in sample.theta_names}
        missing = sorted((needed | {one for one in self._expected if isinstance(one, str)}) - set(true))
        if missing:
            raise ValueError(
                f"the toys have no true values of {missing}, only of {sorted(true)}: these names must be those of "
                "parameters that are free or fixed in the fit"
            )

    def check(self, true: Mapping[str, float]) -> None:
        """Check that there are events to draw from.

        Raises:
            ValueError: If a parameter has no true value, or there are no events at it.
        """
        self._check_names(true)
        for sample in self._samples:
            self._rows_at(sample, true)

    def nearest(self, true: Mapping[str, float]) -> dict[str, float]:
        """True values with those of theta moved to the nearest at which events were simulated."""
        result = dict(true)
        for sample in self._samples:
            own = [name for name in sample.theta_names if name in result]
            theta = sample.theta[:, [sample.theta_names.index(name) for name in own]]
            spread = np.maximum(np.ptp(theta, axis=0), 1e-300)
            distance = np.sum(np.square((theta - [result[name] for name in own]) / spread), axis=1)
            result |= dict(zip(own, theta[np.argmin(distance)].tolist(), strict=True))
        return result

    def _rows_at(self, sample: EventSample, true: Mapping[str, float]) -> np.ndarray:
        if not sample.theta_names:
            return np.arange(len(sample.x))
        at = [true[name] for name in sample.theta_names]
        return rows_at(sample.theta, sample.theta_names, at, self._tolerance)


def rows_at(theta: np.ndarray, names: Sequence[str], at: Sequence[float], tolerance: float = 1e-6) -> np.ndarray:
    """Numbers of the events that were simulated at a point.

    Args:
        theta: Parameters of the events, shape ``(n_events, n_theta)``.
        names: Names of the parameters.
        at: The point, shape ``(n_theta,)``.
        tolerance: How far the theta of an event may be away, in units of their range, or of their only value.

    Raises:
        ValueError: If there is none.
    """
    spread = np.ptp(theta, axis=0)
    scale = np.where(spread > 0, spread, np.abs(theta).max(axis=0))
    rows = np.flatnonzero(np.all(np.abs(theta - np.asarray(at)) <= tolerance * scale, axis=1))
    if not len(rows):
        there = np.unique(theta, axis=0)
        raise ValueError(
            f"no simulated events at {dict(zip(names, map(float, at), strict=True))}; there are events at "
            f"{there[:10].tolist()}" + (" ..." if len(there) > 10 else "")
        )
    return rows


def draw_toy(
    likelihood: Likelihood,
    source: Source,
    true: Mapping[str, float],
    rng: np.random.Generator,
    *,
    randomise: bool = True,
) -> None:
    """Give a likelihood true parameters, a toy's events and, if wanted, auxiliary measurements that fluctuate."""
    likelihood.set_values(true)
    # A model has its fixed parameters; other sources have to be told.
    known = true if isinstance(source, FromModel) else {**likelihood.fixed_values, **true}
    likelihood.set_data(source(known, rng))
    if randomise:
        likelihood.auxiliary.set(likelihood.auxiliary.draw(rng))
