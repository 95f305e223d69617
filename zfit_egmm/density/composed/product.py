"""ProductDensity: a density times a positive function, normalised over the box."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from zfit_egmm import registry
from zfit_egmm.density.axes import Axes
from zfit_egmm.density.base import Density, Uniform
from zfit_egmm.density.integral import Integral
from zfit_egmm.density.state import State

NORM_TOLERANCE = 3e-4
"""Relative error that the normalisation aims for at several theta."""

CHECK_EVENTS = 1000
"""Events of the base at which the factor must be finite."""


class Reweighting(ABC):
    """A positive function of events and parameters, such as a learned likelihood ratio.

    A class with a name for files, ``class Mine(Reweighting, kind="mine")``, can be saved with its density.
    """

    kind: ClassVar[str] = ""

    def __init_subclass__(cls, *, kind: str = "", **others: Any) -> None:
        super().__init_subclass__(**others)
        # See Kind: a name is not inherited.
        cls.kind = kind
        if kind:
            registry.register("REWEIGHTINGS", kind, cls)

    @abstractmethod
    def log_ratio(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """Logarithm of the function.

        Args:
            x: Events inside the box, float64, shape ``(n_events, n_observables)``, physical units.
            theta: Float64, shape ``(n_theta,)`` or ``(n_events, n_theta)``.

        Returns:
            Float64, shape ``(n_events,)``.
        """

    @abstractmethod
    def state(self) -> State:
        """Everything that the function is made of."""

    @classmethod
    @abstractmethod
    def from_state(cls, axes: Axes, state: State) -> Reweighting:
        """The function of a :meth:`state`."""


class DensityRatio(Reweighting, kind="density ratio"):
    """Ratio of two densities of the same observables and parameters.

    Args:
        numerator: A density.
        denominator: A density that is positive wherever the numerator is.
    """

    def __init__(self, numerator: Density, denominator: Density) -> None:
        if numerator.observables != denominator.observables or numerator.theta_names != denominator.theta_names:
            raise ValueError(f"{numerator!r} and {denominator!r} do not have the same axes and theta")
        self.numerator, self.denominator = numerator, denominator

    def log_ratio(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """See :meth:`Reweighting.log_ratio`."""
        return self.numerator._log_prob(x, theta) - self.denominator._log_prob(x, theta)

    def state(self) -> State:
        """See :meth:`Reweighting.state`."""
        return State(members=(self.numerator, self.denominator))

    @classmethod
    def from_state(cls, axes: Axes, state: State) -> DensityRatio:
        """See :meth:`Reweighting.from_state`."""
        del axes
        return cls(*state.members)


class ProductDensity(Density, kind="product"):
    """``p(x | theta) = q(x | theta) r(x, theta) / Z(theta)`` with ``Z`` the integral of the product over the box.

    ``Z`` is integrated on a fixed sequence of points drawn from the base, smooth in theta; :meth:`norm` gives its
    error.

    Args:
        base: The density q.
        reweighting: The positive function r, of the same observables and parameters.

    Raises:
        ValueError: If the function is not finite on events of the base, as a negative factor is not; the message says
            how many and which first.
    """

    def __init__(self, base: Density, reweighting: Reweighting) -> None:
        self.base, self.reweighting = base, reweighting
        super().__init__(base.axes)
        self._unnormalised = _Unnormalised(base, reweighting)
        self._check()

    @property
    def training(self) -> dict[str, Any]:
        """Record of the training of the base."""
        return self.base.training

    def norm(self, theta: Any = None) -> Integral:
        """Integral of the product over the box, with its numerical error."""
        return self._norm_region.integral(self.axes.checked_theta(theta, -1))

    def guide(self) -> Density:
        """That of the base."""
        return self.base.guide()

    def state(self) -> State:
        """See :meth:`Density.state`."""
        if not self.reweighting.kind:
            raise TypeError(
                f"{self!r} cannot be saved: {type(self.reweighting).__name__} has no name for files. Define it as "
                f"class {type(self.reweighting).__name__}(Reweighting, kind='name')"
            )
        state = self.reweighting.state()
        manifest = {"reweighting": self.reweighting.kind, "state": dict(state.manifest)}
        return State(manifest, state.arrays, (self.base, *state.members))

    @classmethod
    def from_state(cls, axes: Axes, state: State, training: Mapping[str, Any]) -> ProductDensity:
        """See :meth:`Density.from_state`."""
        del training
        kind = state.manifest["reweighting"]
        if kind not in registry.names("REWEIGHTINGS"):
            raise ValueError(f"unknown reweighting {kind!r}; there are: {', '.join(registry.names('REWEIGHTINGS'))}")
        base, *members = state.members
        own = State(state.manifest["state"], state.arrays, tuple(members))
        density = cls(base, registry.find("REWEIGHTINGS", kind).from_state(axes, own))
        if density.axes != axes:
            raise ValueError(f"the base describes p({density.axes}), not p({axes}) in these ranges")
        return density

    @property
    def _norm_region(self) -> Any:
        return self._unnormalised.region(None, None, tolerance=NORM_TOLERANCE)

    def log_prob(self, x: Any, theta: Any = None) -> Any:
        """Log density of events, see :meth:`Density.log_prob`; the norm is integrated once for equal parameters."""
        if tf.is_tensor(x) or tf.is_tensor(theta) or np.ndim(theta) < 2:
            return super().log_prob(x, theta)
        values = self._unnormalised.log_prob(x, theta)
        points, index = np.unique(self._checked_theta(theta, len(values)), axis=0, return_inverse=True)
        log_norms = np.log([float(self._norm_region.integral(point).value) for point in points])
        return values - log_norms[index.reshape(-1)]

    def _sample(self, n: Any, theta: tf.Tensor, uniform: Uniform) -> tf.Tensor:
        return self._unnormalised._sample(n, theta, uniform)

    def _log_prob(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        return self._unnormalised._log_prob(x, theta) - self._log_norm(theta)

    def _log_norm(self, theta: tf.Tensor) -> tf.Tensor:
        region = self._norm_region
        if theta.shape.rank == 1:
            return tf.math.log(region.mass(theta))
        # Every row has its own; graphs cannot tell which are equal.
        return tf.map_fn(lambda point: tf.math.log(region.mass(point)), theta, parallel_iterations=1)

    def _check(self) -> None:
        low, high = np.array(self.theta_range).reshape(-1, 2).T
        x = self.base.sample(CHECK_EVENTS, 0.5 * (low + high) if len(low) else None, seed=0)
        values = self.reweighting.log_ratio(tf.constant(x), tf.constant(0.5 * (low + high))).numpy()
        is_bad = ~np.isfinite(values)
        if is_bad.any():
            row = int(np.argmax(is_bad))
            point = ", ".join(f"{name} = {value:g}" for name, value in zip(self.axes.names, x[row], strict=True))
            raise ValueError(
                f"the factor of the product is negative, zero or not finite for {is_bad.sum()} of {len(x)} events of "
                f"the base, the first with {point}"
            )


class _Unnormalised(Density):
    """The product without its norm, for integrals only."""

    is_normalised: ClassVar[bool] = False

    def __init__(self, base: Density, reweighting: Reweighting) -> None:
        super().__init__(base.axes)
        self.base, self.reweighting = base, reweighting

    def guide(self) -> Density:
        return self.base.guide()

    def _log_prob(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        return self.base._log_prob(x, theta) + self.reweighting.log_ratio(x, theta)

    def state(self) -> State:
        raise TypeError("a product without its norm has no state")

    @classmethod
    def from_state(cls, axes: Axes, state: State, training: Mapping[str, Any]) -> Density:
        del axes, state, training
        raise TypeError("a product without its norm has no state")
