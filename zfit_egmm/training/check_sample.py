"""check_sample: whether a density can be learned from a sample at all."""

from __future__ import annotations

from zfit_egmm.events.sample import EventSample
from zfit_egmm.events.weight_checks import check_weights

FEWEST_EVENTS = 100
FEWEST_PER_COLUMN = 25


def check_sample(sample: EventSample) -> None:
    """Check that a density can be learned from the sample at all.

    Raises:
        TypeError: If it is not an :class:`EventSample`.
        ValueError: If there are too few events, a parameter takes a single value, or weights sum to a negative
            number somewhere.
    """
    if not isinstance(sample, EventSample):
        raise TypeError(
            f"train needs an EventSample, got {type(sample).__name__}; build one with EventSample(observables, x) or "
            "EventSample.from_root(path, tree, observables)"
        )
    for name, (low, high) in zip(sample.theta_names, sample.theta_range, strict=True):
        if low == high:
            raise ValueError(
                f"theta {name!r} takes the single value {low:g} in all {sample.n_events} events, so the dependence on "
                "it cannot be learned; add samples at other values, or leave it out of theta"
            )
    columns = len(sample.observables) + len(sample.theta_names)
    needed = max(FEWEST_EVENTS, FEWEST_PER_COLUMN * columns)
    if sample.effective_events < needed:
        raise ValueError(
            f"the sample has {sample.n_events} events with the statistical power of {sample.effective_events:.0f} "
            f"unweighted ones; {len(sample.observables)} observables and {len(sample.theta_names)} parameters need at "
            f"least {needed}. Add events, or drop observables"
        )
    check_weights(sample)
