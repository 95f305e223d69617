"""MixtureDensity: the density of the mixture family, in physical coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import tensorflow as tf

from zfit_egmm.archive import with_prefix
from zfit_egmm.coordinates.latent_map import LatentMap
from zfit_egmm.coordinates.projection import Projection
from zfit_egmm.coordinates.theta import ThetaScaling
from zfit_egmm.density.axes import Axes
from zfit_egmm.density.base import Density
from zfit_egmm.density.state import State
from zfit_egmm.families.egmm.autoregressive import Autoregressive
from zfit_egmm.families.egmm.factors import MixtureConditionals
from zfit_egmm.families.egmm.networks import NETWORKS, Network, network_kind
from zfit_egmm.observables import LATENT_LIMIT, Observable

PROJECTION_ARRAYS = ("knots_x", "knots_u", "slopes")


class MixtureDensity(Density, kind="egmm"):
    """Product of one-dimensional Gaussian mixtures on latent axes, each conditioned by a network.

    Args:
        observables: The axes, in their order.
        theta_names: Names of the parameters, possibly none.
        scaling: Map of the parameters to inputs of the networks, with their trained range.
        network: Configuration of the networks.
        projections: Map to the latent axis of each continuous observable, ``None`` for discrete ones.
        latent_ranges: Lowest and highest latent coordinate of the training events per observable.
        weights: Weights of the network of each observable, by name.
        training: Plain record of the training: configuration, history, summary.

    Source:
        Menary and Price, "Learning to discover: expressive Gaussian mixture models for multi-dimensional simulation
        and parameter inference in the physical sciences".
    """

    def __init__(
        self,
        observables: Sequence[Observable],
        theta_names: Sequence[str],
        scaling: ThetaScaling,
        *,
        network: Network,
        projections: Sequence[Projection | None],
        latent_ranges: Sequence[tuple[float, float]],
        weights: Sequence[Mapping[str, np.ndarray]],
        training: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(Axes(tuple(observables), tuple(theta_names), scaling.trained_range), training)
        self.scaling = scaling
        self.latent_map = LatentMap(self.observables, tuple(projections))
        self.autoregressive = Autoregressive(
            self.observables,
            network,
            scaling.n_theta,
            tuple((float(a), float(b)) for a, b in latent_ranges),
            self.latent_map.projections,
            len(scaling.bends),
        )
        self.weights = [dict(factor) for factor in weights]
        # Constants, not variables: a graph does not read them in order, and is traced in less time.
        with tf.init_scope():
            self._constants = [
                {name: tf.constant(value, dtype=tf.float64) for name, value in factor.items()} for factor in weights
            ]

    @property
    def projections(self) -> tuple[Projection | None, ...]:
        """Map to the latent axis of each observable, ``None`` for discrete ones."""
        return self.latent_map.projections

    @property
    def n_weights(self) -> int:
        """Number of trained weights."""
        return sum(value.size for factor in self.weights for value in factor.values())

    def latent(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Latent coordinates of events inside the box, and the log of the Jacobian: shapes (n, d) and (n,)."""
        return self.latent_map.latent(x)

    def inputs(self, theta: tf.Tensor) -> tf.Tensor:
        """Inputs of the networks, shape ``(n_events or 1, n_inputs)``, from parameters."""
        return self.scaling(theta if theta.shape.rank == 2 else theta[tf.newaxis, :])

    def conditionals(self, theta: tf.Tensor) -> MixtureConditionals:
        """See :meth:`Density.conditionals`."""
        return MixtureConditionals(self.autoregressive, self.latent_map, self._constants, self.inputs(theta))

    def state(self) -> State:
        """See :meth:`Density.state`."""
        network = self.autoregressive.network
        arrays: dict[str, np.ndarray] = {}
        for number, projection in enumerate(self.projections):
            if projection is not None:
                arrays |= {f"projection_{number}_{name}": getattr(projection, name) for name in PROJECTION_ARRAYS}
        for number, factor in enumerate(self.weights):
            arrays |= {f"factor_{number}_{name}": value for name, value in factor.items()}
        manifest = {
            "scaling": self.scaling.as_text(),
            "network": {"kind": network_kind(network), **asdict(network)},
            "projections": [None if projection is None else projection.kind for projection in self.projections],
            "latent_ranges": [list(pair) for pair in self.autoregressive.latent_ranges],
        }
        return State(manifest, arrays)

    @classmethod
    def from_state(cls, axes: Axes, state: State, training: Mapping[str, Any]) -> MixtureDensity:
        """See :meth:`Density.from_state`."""
        manifest, arrays = state.manifest, state.arrays
        n_axes = len(axes.observables)
        density = cls(
            axes.observables,
            axes.theta_names,
            ThetaScaling.of_text(axes.theta_range, manifest["scaling"]),
            network=_network(**manifest["network"]),
            projections=[
                _projection(observable, kind, with_prefix(arrays, f"projection_{number}_"))
                for number, (observable, kind) in enumerate(zip(axes.observables, manifest["projections"], strict=True))
            ],
            latent_ranges=_latent_ranges(manifest["latent_ranges"], n_axes),
            weights=[with_prefix(arrays, f"factor_{number}_") for number in range(n_axes)],
            training=training,
        )
        _check_weights(density)
        return density

    def _log_prob(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        u, log_jacobian = self.latent_map.latent(x)
        parts = self.autoregressive.log_densities(self._constants, self.inputs(theta), u, self.latent_map.places(x))
        return tf.add_n(parts) + log_jacobian

    def _sampling_conditionals(self, theta: tf.Tensor) -> MixtureConditionals:
        # Networks in single precision are twice as fast and change log densities by 6e-7, which no sample can show.
        weights = [{name: tf.cast(value, tf.float32) for name, value in factor.items()} for factor in self._constants]
        return MixtureConditionals(self.autoregressive, self.latent_map, weights, self.inputs(theta))


def _network(kind: str, **choices: Any) -> Network:
    """The network of a file, which must state every choice: defaults may have been others when it was written."""
    if kind not in NETWORKS:
        raise ValueError(f"unknown network {kind!r}; there are: {', '.join(NETWORKS)}")
    missing = {field.name for field in fields(NETWORKS[kind])} - set(choices)
    if missing:
        raise ValueError(f"the network lacks {', '.join(sorted(missing))}: was the file made by an older version?")
    return NETWORKS[kind](**choices)


def _projection(observable: Observable, kind: Any, arrays: Mapping[str, np.ndarray]) -> Projection | None:
    """The projection of an observable, which must cover its range."""
    if (kind is None) != observable.is_discrete:
        raise ValueError(f"observable {observable.name!r} is {observable.kind}, but its projection is {kind!r}")
    if kind is None:
        return None
    projection = Projection(kind, *(arrays[name] for name in PROJECTION_ARRAYS))
    ends = (projection.knots_x[0], projection.knots_x[-1])
    margin = 1e-9 * (observable.high - observable.low)
    if abs(ends[0] - observable.low) > margin or abs(ends[1] - observable.high) > margin:
        raise ValueError(f"the projection of {observable.name!r} covers {ends}, not its range {observable.limits}")
    if not np.allclose([projection.knots_u[0], projection.knots_u[-1]], [-LATENT_LIMIT, LATENT_LIMIT]):
        raise ValueError(f"the projection of {observable.name!r} does not end at the ends of the latent axis")
    return projection


def _latent_ranges(pairs: Sequence[Sequence[float]], n_axes: int) -> list[tuple[float, float]]:
    if len(pairs) != n_axes:
        raise ValueError(f"{len(pairs)} latent_ranges for {n_axes} observables")
    ranges = [(float(low), float(high)) for low, high in pairs]
    if not all(low < high and np.isfinite([low, high]).all() for low, high in ranges):
        raise ValueError("a range of latent_ranges is empty or not finite")
    return ranges


def _check_weights(density: MixtureDensity) -> None:
    """Compare names and shapes of the weights with what the network needs."""
    expected = density.autoregressive.initial_weights(np.random.default_rng(0))
    for observable, wanted, found in zip(density.observables, expected, density.weights, strict=True):
        if {n: a.shape for n, a in wanted.items()} != {n: a.shape for n, a in found.items()}:
            raise ValueError(f"the weights of observable {observable.name!r} do not fit its network")
        if not all(np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all() for array in found.values()):
            raise ValueError(f"the weights of observable {observable.name!r} are not finite numbers")
