"""AsymptoticCalculator: that of hepstats with an unbinned Asimov sample, for any number of observables.

hepstats bins its Asimov data set, which needs millions of integrals in four dimensions. Here it is a weighted sample
of events drawn from the model. What is left of their statistical noise is removed to first order: the weights are
changed, as little as possible, such that the likelihood is stationary at the parameters that the sample was
drawn with, as it is for the true Asimov data set.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import zfit
from hepstats.hypotests import calculators
from hepstats.hypotests.parameters import POI, POIarray

ASIMOV_EVENTS = 20_000
STEP = 1e-3
N_TRIALS = 5


class AsymptoticCalculator(calculators.AsymptoticCalculator):
    """Calculator with asymptotic formulae of the likelihood ratio, for unbinned losses.

    Args:
        input: Loss or fit result.
        minimizer: Minimiser for all fits.
        asimov_events: Events in the Asimov sample of each model. More of them give less noise and slower fits.
        seed: Seed of the Asimov sample.

    Source:
        Cowan, Cranmer, Gross and Vitells, "Asymptotic formulae for likelihood-based tests of new physics".
    """

    def __init__(self, input: Any, minimizer: Any, *, asimov_events: int = ASIMOV_EVENTS, seed: int = 0) -> None:  # noqa: A002
        super().__init__(input, minimizer)
        self.asimov_events = asimov_events
        self.seed = seed
        self._nll_by_alternative: dict[POI, dict[POI, float]] = {}

    def _get_binned_loss(self) -> bool:
        return False

    def asimov_dataset(self, poi: POI, ntrials_fit: int | None = None) -> list[zfit.Data]:
        """Asimov sample of each model for a value of the parameter of interest, the others as fitted to the data.

        Args:
            poi: Value of the parameter of interest of the alternative hypothesis.
            ntrials_fit: Most fits to try.

        Raises:
            RuntimeError: If none of the fits converges.
        """
        if poi in self._asimov_dataset:
            return self._asimov_dataset[poi]
        parameters = list(self.loss.get_params(floating=None, extract_independent=True))
        before = [float(parameter.value()) for parameter in parameters]
        is_floating = poi.parameter.floating
        try:
            self._profile(poi, ntrials_fit or N_TRIALS)
            poi.parameter.floating = is_floating
            with _Seeded(self.seed):
                samples = [self._asimov_sample(*pair) for pair in zip(self.model, self.data, strict=True)]
        finally:
            poi.parameter.floating = is_floating
            zfit.param.set_values(parameters, before)
        self._asimov_dataset[poi] = samples
        return samples

    def asimov_nll(self, pois: POIarray, poialt: POI) -> np.ndarray:
        """Profiled negative log-likelihoods of the Asimov sample of an alternative, kept for each alternative."""
        self._asimov_nll = self._nll_by_alternative.setdefault(poialt, {})
        return super().asimov_nll(pois, poialt)

    def _profile(self, poi: POI, n_trials: int) -> None:
        """Set the other parameters to their best fit at a value of the parameter of interest."""
        self.set_params_to_bestfit()
        poi.parameter.set_value(poi.value)
        poi.parameter.floating = False
        others = list(self.loss.get_params())
        if not others:
            return
        rng = np.random.default_rng(self.seed)
        start = [float(parameter.value()) for parameter in others]
        for _ in range(n_trials):
            minimum = self.minimizer.minimize(loss=self.loss)
            if minimum.valid:
                zfit.param.set_values(others, [minimum.params[parameter]["value"] for parameter in others])
                return
            shifted = [_inside(p, v * rng.normal(1, 0.02)) for p, v in zip(others, start, strict=True)]
            zfit.param.set_values(others, shifted)
        raise RuntimeError(
            f"no valid fit with {poi.name} = {poi.value:g} in {n_trials} trials, so that there is no Asimov sample; "
            "look at minimizer.minimize(loss) with this parameter fixed"
        )

    def _asimov_sample(self, model: Any, data: Any) -> zfit.Data:
        events = model.sample(n=self.asimov_events)
        weights = _stationary_weights(model, events, float(np.sum(data.weights)) if data.has_weights else data.nevents)
        return zfit.Data.from_numpy(obs=model.space, array=events.value().numpy(), weights=weights)


class _Seeded:
    """Random numbers of zfit from a seed, and afterwards again from a fresh one."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        zfit.settings.set_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        zfit.settings.set_seed()


def _stationary_weights(model: Any, events: zfit.Data, n_observed: float) -> np.ndarray:
    """Weights of events drawn from a model that make its likelihood stationary at the current parameters.

    With the intensity f, normalised to the expected number N of events, ``sum_i w_i d ln f(x_i) / d p`` must be
    ``dN/dp`` for every parameter p, and the sum of the weights N.
    """
    values, total = _log_intensity(model, events), _expected(model, n_observed)
    columns, wanted = [np.ones(len(values))], [total]
    for parameter in model.get_params(floating=True):
        centre, step = float(parameter.value()), _step(parameter)
        low, high = _inside(parameter, centre - step), _inside(parameter, centre + step)
        slopes = []
        for value in (low, high):
            with parameter.set_value(value):
                slopes.append((_log_intensity(model, events), _expected(model, n_observed)))
        columns.append((slopes[1][0] - slopes[0][0]) / (high - low))
        wanted.append((slopes[1][1] - slopes[0][1]) / (high - low))
    scores = np.stack(columns, axis=1)
    scale = np.maximum(np.abs(scores).mean(axis=0), 1e-300)
    scores, target = scores / scale, np.array(wanted) / scale
    first = np.full(len(values), total / len(values))
    missing = target - first @ scores
    change = np.linalg.lstsq(scores.T @ (first[:, np.newaxis] * scores), missing, rcond=1e-10)[0]
    return first * (1 + scores @ change)


def _log_intensity(model: Any, events: zfit.Data) -> np.ndarray:
    density = model.ext_pdf(events) if model.is_extended else model.pdf(events)
    return np.log(np.maximum(density.numpy(), 1e-300))


def _expected(model: Any, n_observed: float) -> float:
    return float(model.get_yield().value()) if model.is_extended else float(n_observed)


def _step(parameter: Any) -> float:
    """A small step in units of what is known of the size of a parameter."""
    if parameter.has_limits and np.isfinite(float(parameter.upper) - float(parameter.lower)):
        return STEP * float(parameter.upper - parameter.lower)
    return STEP * max(abs(float(parameter.value())), 1.0)


def _inside(parameter: Any, value: float) -> float:
    if not parameter.has_limits:
        return value
    return float(np.clip(value, float(parameter.lower), float(parameter.upper)))
