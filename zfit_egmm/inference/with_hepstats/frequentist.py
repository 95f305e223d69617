"""FrequentistCalculator: that of hepstats, with toys whose size fluctuates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hepstats.hypotests import calculators
from hepstats.utils import base_sample

from zfit_egmm.inference.likelihood.components import components_of
from zfit_egmm.inference.likelihood.weighted import INSTEAD, check_unweighted_loss
from zfit_egmm.inference.with_hepstats.minimizer import NaturalMinimizer


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
        sampler: Makes the samplers of models for numbers of events.
        sample: Draws from samplers.

    Raises:
        ValueError: If events of the loss are weighted.
    """

    def __init__(
        self,
        input: Any,  # noqa: A002
        minimizer: Any,
        ntoysnull: int = 100,
        ntoysalt: int = 100,
        sampler: Callable = poisson_sampler,
        sample: Callable = base_sample,
    ) -> None:
        super().__init__(input, NaturalMinimizer(minimizer), ntoysnull, ntoysalt, sampler=sampler, sample=sample)
        check_unweighted_loss(self.loss, f"toys are events of equal weight; {INSTEAD}")

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

    @classmethod
    def from_yaml(
        cls,
        filename: str,
        input: Any,  # noqa: A002
        minimizer: Any,
        sampler: Callable = poisson_sampler,
        sample: Callable = base_sample,
        **numbers: int,
    ) -> FrequentistCalculator:
        """Calculator with the toys of a file, as :meth:`to_yaml` writes it; further ones fluctuate in size, too.

        Args:
            filename: The file.
            input: Loss or fit result.
            minimizer: Minimiser for all fits.
            sampler: Makes the samplers of models for numbers of events.
            sample: Draws from samplers.
            **numbers: ``ntoysnull`` and ``ntoysalt``, by default 100.
        """
        calculator = cls(input, minimizer, sampler=sampler, sample=sample, **numbers)
        for toys in calculator.toysresults_from_yaml(filename):
            calculator.add_toyresult(toys)
        return calculator
