"""EnsembleRegion: a part of the box of an ensemble, with its probability, its marginals and events inside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from zfit_egmm.density.integral import Integral, mean_integral
from zfit_egmm.density.region import Region


class EnsembleRegion:
    """Part of the box of an ensemble; same methods as :class:`~zfit_egmm.density.region.Region`.

    Args:
        parts: The region in every member.
    """

    def __init__(self, parts: Sequence[Region]) -> None:
        self.parts = tuple(parts)

    @property
    def is_everything(self) -> bool:
        """Whether nothing is cut off and nothing is given."""
        return self.parts[0].is_everything

    def mass(self, theta: tf.Tensor) -> tf.Tensor:
        """Probability of the region, see :meth:`Region.mass`."""
        return tf.reduce_mean(tf.stack([part.mass(theta) for part in self.parts]))

    def marginal(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """Density of the given observables, see :meth:`Region.marginal`."""
        return tf.reduce_mean(tf.stack([part.marginal(x, theta) for part in self.parts]), axis=0)

    def sample(self, n: tf.Tensor, theta: tf.Tensor, uniform: Any) -> tf.Tensor:
        """Events inside the region, see :meth:`Region.sample`; members count with their probability in it."""
        if len(self.parts) == 1:
            return self.parts[0].sample(n, theta, uniform)
        n = tf.cast(n, tf.int32)
        edges = tf.cumsum(tf.stack([part.mass(theta) for part in self.parts]))
        number = tf.searchsorted(edges[:-1] / edges[-1], uniform((n,)), side="right")
        return by_member(self.parts, number, lambda part, rows: part.sample(tf.size(rows), theta, uniform))

    def integral(self, theta: np.ndarray, x: np.ndarray | None = None) -> Integral:
        """Probability, or marginal density of events, with the numerical error; outside of graphs."""
        return mean_integral([part.integral(theta, x) for part in self.parts])


def by_member(members: Sequence[Any], number: tf.Tensor, draw: Callable[[Any, tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Rows drawn from the member with each row's number; ``draw`` gets a member and the numbers of its rows."""
    rows = tf.dynamic_partition(tf.range(tf.size(number)), number, len(members))
    return tf.dynamic_stitch(rows, [draw(member, own) for member, own in zip(members, rows, strict=True)])
