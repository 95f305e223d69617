"""Kind: what the author of a kind of density writes; everything else is in :class:`zfit_egmm.density.base.Density`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import tensorflow as tf

from zfit_egmm import registry
from zfit_egmm.density.axes import Axes
from zfit_egmm.density.conditionals import Conditionals
from zfit_egmm.density.state import State

if TYPE_CHECKING:
    from zfit_egmm.density.base import Density


class Kind(ABC):
    """The methods that tell one kind of density from another.

    Args:
        axes: Observables and parameters.
        training: Plain record of the training: configuration, history, summary.
    """

    kind: ClassVar[str] = ""
    is_normalised: ClassVar[bool] = True

    def __init_subclass__(cls, *, kind: str = "", **others: Any) -> None:
        super().__init_subclass__(**others)
        # A subclass without a name of its own must not be saved under that of its parent, which would be restored.
        cls.kind = kind
        if kind:
            registry.register("DENSITIES", kind, cls)

    def __init__(self, axes: Axes, training: Mapping[str, Any] | None = None) -> None:
        self.axes = axes
        self._training: dict[str, Any] = dict(training or {})

    @abstractmethod
    def _log_prob(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """Log density of events inside the box.

        Args:
            x: Float64, shape ``(n_events, n_observables)``, physical units.
            theta: Float64, shape ``(n_theta,)`` or ``(n_events, n_theta)``.

        Returns:
            Float64, shape ``(n_events,)``, nats.
        """

    @abstractmethod
    def state(self) -> State:
        """Everything that the density is made of besides its axes."""

    @classmethod
    @abstractmethod
    def from_state(cls, axes: Axes, state: State, training: Mapping[str, Any]) -> Density:
        """The density of a :meth:`state`.

        Raises:
            KeyError, TypeError, ValueError: If the state makes no sense; the message says why.
        """

    @property
    def has_conditionals(self) -> bool:
        """Whether the one-dimensional conditional distributions are known, see :meth:`conditionals`."""
        return type(self).conditionals is not Kind.conditionals

    def conditionals(self, theta: tf.Tensor) -> Conditionals:
        """The density at given parameters as factors of one axis after the other.

        Args:
            theta: Float64, shape ``(n_theta,)`` or ``(n_events, n_theta)``.

        Raises:
            TypeError: If this kind has none.
        """
        del theta
        raise TypeError(f"{self!r} has no conditional distributions")

    def guide(self) -> Density:
        """A density with conditionals near this one, whose points and proposals serve this one too.

        Default: itself if it has conditionals, else the uniform distribution.
        """
        if self.has_conditionals:
            return cast("Density", self)
        return registry.find("DENSITIES", "uniform")(self.axes)
