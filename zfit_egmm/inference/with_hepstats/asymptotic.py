"""AsymptoticCalculator: that of hepstats with an unbinned Asimov sample, for any number of observables.

hepstats bins its Asimov data set, which needs millions of integrals in four dimensions. Here it is a weighted sample of
events, see :mod:`zfit_egmm.inference.likelihood.asimov`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import zfit
from hepstats.hypotests import calculators
from hepstats.hypotests.parameters import POI, POIarray

from zfit_egmm.inference.likelihood.asimov import ASIMOV_EVENTS, asimov_sample
from zfit_egmm.inference.likelihood.weighted import check_unweighted_loss
from zfit_egmm.inference.with_hepstats.minimizer import NaturalMinimizer
from zfit_egmm.zfit_compat import check_asimov_is_used

N_TRIALS = 5


class AsymptoticCalculator(calculators.AsymptoticCalculator):
    """Calculator with asymptotic formulae of the likelihood ratio, for unbinned losses.

    Args:
        input: Loss or fit result.
        minimizer: Minimiser of zfit for fits that fail in natural steps of the parameters, which are tried first.
        asimov_events: Events in the Asimov sample of each model. More of them give less noise and slower fits.
        seed: Seed of the Asimov sample.

    Raises:
        ValueError: If events of the loss are weighted.

    Source:
        Cowan, Cranmer, Gross and Vitells, "Asymptotic formulae for likelihood-based tests of new physics".
    """

    def __init__(self, input: Any, minimizer: Any, *, asimov_events: int = ASIMOV_EVENTS, seed: int = 0) -> None:  # noqa: A002
        super().__init__(input, NaturalMinimizer(minimizer))
        check_asimov_is_used(self)
        check_unweighted_loss(self.loss, "use zfit_egmm.inference.upper_limit, discovery or interval, which correct it")
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
            samples = [
                asimov_sample(model, _expected(model, data), n_events=self.asimov_events, seed=self.seed + number)
                for number, (model, data) in enumerate(zip(self.model, self.data, strict=True))
            ]
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
            # zfit calls a fit invalid that is within a share of the range from a limit, even of one far away.
            if minimum.converged and np.isfinite(minimum.fmin):
                zfit.param.set_values(others, [minimum.params[parameter]["value"] for parameter in others])
                return
            steps = self.minimizer.steps(self.loss, others)
            shifted = [_inside(p, v + s * rng.normal()) for p, v, s in zip(others, start, steps, strict=True)]
            zfit.param.set_values(others, shifted)
        raise RuntimeError(
            f"no valid fit with {poi.name} = {poi.value:g} in {n_trials} trials, so that there is no Asimov sample; "
            "look at minimizer.minimize(loss) with this parameter fixed"
        )


def _expected(model: Any, data: Any) -> float:
    """Expected number of events, of the data where the model does not tell."""
    if model.is_extended:
        return float(model.get_yield().value())
    return float(np.sum(data.weights)) if data.has_weights else float(data.nevents)


def _inside(parameter: Any, value: float) -> float:
    if not parameter.has_limits:
        return value
    return float(np.clip(value, float(parameter.lower), float(parameter.upper)))
