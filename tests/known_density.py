"""KnownDensity: a density that a test writes down, to compare with what is known of it."""

from __future__ import annotations

from zfit_egmm import Density
from zfit_egmm.density.axes import Axes
from zfit_egmm.density.state import State


class KnownDensity(Density):
    """A density with the arguments of its constructor as attributes and as state.

    Args:
        axes: Observables and parameters.
        choices: The arguments.
    """

    def __init__(self, axes: Axes, **choices) -> None:
        super().__init__(axes)
        self._choices = choices
        for name, value in choices.items():
            setattr(self, name, value)

    def state(self) -> State:
        return State(self._choices)

    @classmethod
    def from_state(cls, axes, state, training):
        del axes, training
        return cls(**state.manifest)
