"""FrequentistCalculator: that of hepstats, with toys whose size fluctuates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hepstats.hypotests import calculators
from hepstats.utils import base_sample

from zfit_egmm.inference.components import components_of
from zfit_egmm.inference.hepstats_minimizer import NaturalMinimizer


def poisson_sampler(models: Sequence[Any], n_events: Sequence[Any]) -> list[Any]:
    """Samplers whose number of events is drawn anew for every toy if the model is extended."""
    return [
        model.create_sampler(n="extended") if model.is_extended else model.create_sampler(n=n)
        for model, n in zip(models, n_events, strict=True)
    ]


class FrequentistCalculator(calculators.FrequentistCalculator):
    """Calculator with toys; the numbers of events of extended models follow a Poisson distribution.

    In hepstats one Poisson number is drawn and used for all toys.

    Args:
        input: Loss or fit result.
        minimizer: Minimiser of zfit for fits that fail in natural steps of the parameters, which are tried first.
        ntoysnull: Toys for each null hypothesis.
        ntoysalt: Toys for the alternative hypothesis.
    """

    def __init__(self, input: Any, minimizer: Any, ntoysnull: int = 100, ntoysalt: int = 100) -> None:  # noqa: A002
        super().__init__(
            input, NaturalMinimizer(minimizer), ntoysnull, ntoysalt, sampler=poisson_sampler, sample=base_sample
        )

    def sample(self, sampler: Any, ntoys: int, poi: Any, constraints: Any = None) -> Any:
        """Samples for a value of the parameter of interest; as in hepstats.

        Raises:
            ValueError: If a yield is negative there, which zfit cannot draw.
        """
        with poi.parameter.set_value(poi.value):
            for model in self.model:
                for part in components_of(model):
                    if float(part.coefficient()) < 0:
                        raise ValueError(
                            f"the toys of {model.name} at {poi.name} = {poi.value:g} would have {part.pdf.name} with "
                            f"the negative yield {float(part.coefficient()):g}, which zfit cannot draw; give yields a "
                            "lower limit of zero, or use upper_limit, discovery or run_toys of this package"
                        )
        return super().sample(sampler, ntoys, poi, constraints)
