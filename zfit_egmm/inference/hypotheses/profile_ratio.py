"""Profile likelihood ratios of one parameter, and what tests of hypotheses have to know about a likelihood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from zfit_egmm.inference.likelihood.asimov import ASIMOV_EVENTS, asimov_sample
from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.minimum import NOISE, Minimum, fit, known_covariances
from zfit_egmm.inference.likelihood.weighted import note_on_weights

METHODS = ("asymptotic", "toys")


class ProfileRatio:
    """Profile likelihood ratio of a parameter for one data set.

    Every fit starts from the nearest one before. All values of the parameter stay inside its limits.

    Args:
        likelihood: The likelihood, with the data set; its data may be others later.
        parameter: Name of the parameter.
        start: Where the first fit starts. Default: the current values.
        starts: Further starts of every fit, where several minima are expected.
        undefined: For values of the parameter, other parameters that mean nothing there and are held, see
            :mod:`zfit_egmm.inference.likelihood.undefined_shapes`.
        seed: Of the starts of fits that fail.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        parameter: str,
        *,
        start: Mapping[str, float] | None = None,
        starts: Sequence[Mapping[str, float]] = (),
        undefined: Mapping[float, Sequence[str]] | None = None,
        seed: int = 0,
    ) -> None:
        self._likelihood = likelihood
        self._parameter = parameter
        self._starts = tuple(starts)
        self._undefined = dict(undefined or {})
        self._seed = seed
        self._data = likelihood.data
        self._observations = likelihood.auxiliary.observations
        self._found: dict[float, Minimum] = {}
        self._scale: tuple[Minimum, float] | None = None
        self.best = fit(likelihood, start=start, starts=self._starts, hesse=False, seed=seed)

    @property
    def estimate(self) -> float:
        """Best fit of the parameter."""
        return self.best.values[self._parameter]

    @property
    def typical_weight(self) -> float:
        """Weighted numbers of events divided by this are about numbers of events."""
        return self._data.unit

    @property
    def is_weighted(self) -> bool:
        """Whether the ratio is corrected for weights."""
        return self._data.has_weighted_errors

    @property
    def is_valid(self) -> bool:
        """Whether all fits so far are valid."""
        return self.best.is_valid and not self.failed

    @property
    def failed(self) -> list[float]:
        """Values at which the fit of the other parameters is not valid."""
        return [value for value, found in self._found.items() if not found.is_valid]

    def at(self, value: float) -> Minimum:
        """Fit of the other parameters."""
        if value not in self._found:
            self.activate()
            fits = [self.best, *self._found.values()]
            nearest = min(fits, key=lambda one: abs(one.values[self._parameter] - value))
            start = nearest.values
            fixed = {self._parameter: value, **{name: start[name] for name in self._undefined.get(value, ())}}
            found = fit(
                self._likelihood,
                start=start,
                fixed=fixed,
                starts=[one for one in self._starts if set(one) - set(fixed)],
                steps=self.best.errors,
                hesse=False,
                seed=self._seed,
            )
            self._found[value] = found
            if found.is_valid and found.nll < self.best.nll - NOISE * self._data.unit:
                again = fit(self._likelihood, start=found.values, hesse=False)
                self.best = min(self.best, again, key=lambda one: (not one.is_valid, one.nll))
        return self._found[value]

    def ratios(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """``-2 ln [L(value) / L(best)]``, corrected if events are weighted, shape ``(n_values,)``."""
        found = np.array([self.at(float(value)).nll for value in values])
        return self.scale * np.maximum(2 * (found - self.best.nll), 0.0)

    @property
    def scale(self) -> float:
        """What corrects the ratio for weights, see :mod:`zfit_egmm.inference.likelihood.weighted`; one without them.

        Raises:
            RuntimeError: If the second derivatives at the best fit are not positive definite.
        """
        if not self.is_weighted:
            return 1.0
        if self._scale is None or self._scale[0] is not self.best:
            self.activate()
            found = known_covariances(self._likelihood, self.best)
            self._scale = (self.best, found.scale({self._parameter: 0.0}))
        return self._scale[1]

    def q_limits(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """The same, but zero where the best fit is above the value: what speaks for smaller values only."""
        ratios = self.ratios(values)
        return np.where(self.estimate > np.asarray(values), 0.0, ratios)

    def q_discovery(self, null: float) -> float:
        """The same for one value, but zero where the best fit is below it: what speaks for larger values only."""
        ratio = float(self.ratios([null])[0])
        return 0.0 if self.estimate < null else ratio

    def activate(self) -> None:
        """Give the likelihood the data set of this object if it has another."""
        if self._likelihood.data is not self._data:
            self._likelihood.set_data(self._data)
            self._likelihood.auxiliary.set(self._observations)


@contextmanager
def kept(likelihood: Likelihood) -> Iterator[None]:
    """Give a likelihood its data, auxiliary measurements and parameters back at the end, whatever happens."""
    data, observations = likelihood.data, likelihood.auxiliary.observations
    try:
        with likelihood.restored():
            yield
    finally:
        likelihood.set_data(data)
        likelihood.auxiliary.set(observations)


def asimov_ratio(
    likelihood: Likelihood, parameter: str, true: Mapping[str, float], *, n_events: int = ASIMOV_EVENTS, seed: int = 0
) -> ProfileRatio:
    """Profile likelihood ratio of the Asimov sample at given parameters.

    Args:
        likelihood: The likelihood; it keeps the Asimov sample as its data.
        parameter: Name of the parameter.
        true: Values of all parameters.
        n_events: Events of the sample of each model.
        seed: Seed of the sample.
    """
    n_data = [float(tf.reduce_sum(weights)) for weights in likelihood.weights]
    with likelihood.restored():
        likelihood.set_values(true)
        samples = []
        for number, model in enumerate(likelihood.models):
            terms = [float(part.coefficient()) for index, part in likelihood.flat if index == number]
            n_expected = sum(terms) if likelihood.is_extended else n_data[number]
            samples.append(asimov_sample(model, n_expected, n_events=n_events, seed=seed + number))
        likelihood.set_data(samples, is_expectation=True)
        likelihood.auxiliary.set(likelihood.auxiliary.draw(None))
    return ProfileRatio(likelihood, parameter, start=true)


def name_of(likelihood: Likelihood, parameter: Any) -> str:
    """Name of a free parameter, given by its name or as the parameter itself.

    Raises:
        ValueError: If it is none of the free parameters.
    """
    name = getattr(parameter, "name", parameter)
    if name not in likelihood.names:
        raise ValueError(f"{name!r} is no free parameter of the loss; there are {', '.join(likelihood.names)}")
    return str(name)


def check_best(profile: ProfileRatio) -> None:
    """Check the fit to the data.

    Raises:
        RuntimeError: If it is not valid.
    """
    if not profile.best.is_valid:
        raise RuntimeError(
            f"the fit to the data is not valid ({profile.best.reason}), so that nothing can be tested; look at "
            "zfit_egmm.inference.fit(loss), and give other starting values or limits"
        )


def notes_on_fits(profile: ProfileRatio) -> list[str]:
    """Sentences on the data, and on fits to them that failed."""
    notes = list(profile.best.notes)
    if profile.is_weighted:
        notes.append(note_on_weights(profile.scale))
    if not profile.failed:
        return notes
    values = ", ".join(f"{value:.4g}" for value in profile.failed)
    return [*notes, f"The fits of the other parameters are not valid at {values}."]


def check_method(method: str) -> None:
    """Check the name of a method.

    Raises:
        ValueError: If there is none with this name.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
