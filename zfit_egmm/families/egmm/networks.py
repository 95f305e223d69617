"""Networks that turn theta and the observables before into the parameters of a conditional factor.

A conditioner is only a description; its weights travel beside it as a mapping from names to arrays,
so that the same code serves training (variables) and evaluation (constants).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from zfit_egmm.families.egmm.mixture import MixtureParameters

Weights = Mapping[str, tf.Tensor]
MIN_WIDTH = 1e-4
LAYERS_OF_THETA = 1
LEAKY_SLOPE = 0.2
CATEGORICAL_HIDDEN = (300, 200)


@dataclass(frozen=True)
class SmoothNetwork:
    """The default network: fully connected layers with SiLU, smooth in theta.

    Args:
        hidden: Widths of the hidden layers. The first observable, which depends on theta alone, has only
            the first of them: more would interpolate between few values of theta with detours.
        n_components: Gaussian components per continuous observable.
        width_fraction: Initial width of a component in units of their spacing.
        physical_inputs: Whether the networks see the observables before also in physical units, not only on the
            latent axes. One observable often follows another along a line that is straight in physical units.
    """

    hidden: tuple[int, ...] = (96, 96)
    n_components: int = 20
    width_fraction: float = 0.5
    physical_inputs: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(int(width) for width in self.hidden))
        _check_positive(self, n_components=self.n_components, width_fraction=self.width_fraction)
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must list at least one positive layer width, got {self.hidden}")
        if not isinstance(self.physical_inputs, bool):
            raise ValueError(f"physical_inputs must be true or false, got {self.physical_inputs!r}")


@dataclass(frozen=True)
class PaperNetwork:
    """The published network, with LeakyReLU and one branch each for theta and the observables.

    Args:
        n_components: Gaussian components per continuous observable, N_G.
        a1: Width of the theta branch is ``a1 + a2 * n_theta``.
        a2: See ``a1``.
        b1: Width of the branch of preceding observables is ``b1 + b2 * n_preceding``.
        b2: See ``b1``.
        n_layers: Number of layers after the branches join, C.
        head_factor: Hidden width of each head in units of ``n_components``, D.
        logit_scale: Scale of the amplitudes' outputs, s_f.
        mean_scale: Scale of the means' outputs, s_mu.
        width_scale: Scale of the widths' outputs, s_sigma.
        width_fraction: Initial width of a component in units of their spacing, f_sigma.

    Source:
        Figure 4 of Menary and Price, "Learning to discover".
    """

    n_components: int = 20
    a1: int = 50
    a2: int = 0
    b1: int = 50
    b2: int = 20
    n_layers: int = 2
    head_factor: int = 3
    logit_scale: float = 0.01
    mean_scale: float = 0.01
    width_scale: float = 0.01
    width_fraction: float = 0.25

    def __post_init__(self) -> None:
        _check_positive(
            self,
            n_components=self.n_components,
            head_factor=self.head_factor,
            logit_scale=self.logit_scale,
            mean_scale=self.mean_scale,
            width_scale=self.width_scale,
            width_fraction=self.width_fraction,
        )
        if min(self.a1, self.a2, self.b1, self.b2, self.n_layers) < 0:
            raise ValueError("a1, a2, b1, b2 and n_layers must not be negative")


Network = SmoothNetwork | PaperNetwork
NETWORKS: Mapping[str, type[SmoothNetwork] | type[PaperNetwork]] = {"smooth": SmoothNetwork, "paper": PaperNetwork}


def network_kind(network: Network) -> str:
    """Name of a network's kind, as files spell it."""
    return next(name for name, cls in NETWORKS.items() if type(network) is cls)


def _check_positive(owner: Network, **values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{type(owner).__name__}: {name} must be positive, got {value!r}")


@dataclass(frozen=True)
class SmoothLayers:
    """Fully connected layers with SiLU; theta, its bends and the preceding observables enter the first one.

    The kernel of the bends starts at zero.
    """

    n_theta: int
    n_features: int
    n_outputs: int
    hidden: tuple[int, ...]
    n_bends: int = 0

    def initial_weights(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Random kernels and zero biases, float32."""
        weights = {}
        first = self.hidden[0]
        n_inputs = max(self.n_theta + self.n_features, 1)
        if self.n_theta:
            weights["theta"] = rng.normal(size=(self.n_theta, first)) / math.sqrt(n_inputs)
        if self.n_features:
            weights["features"] = rng.normal(size=(self.n_features, first)) / math.sqrt(n_inputs)
        if self.n_bends:
            weights["bends"] = np.zeros((self.n_bends, first))
        weights["bias_0"] = 0.1 * rng.normal(size=first)
        for number, (before, width) in enumerate(zip(self.hidden, self.hidden[1:], strict=False), start=1):
            weights[f"kernel_{number}"] = rng.normal(size=(before, width)) * math.sqrt(2 / before)
            weights[f"bias_{number}"] = np.zeros(width)
        weights["kernel_out"] = 0.1 * rng.normal(size=(self.hidden[-1], self.n_outputs)) / math.sqrt(self.hidden[-1])
        weights["bias_out"] = np.zeros(self.n_outputs)
        return {name: value.astype(np.float32) for name, value in weights.items()}

    def __call__(self, weights: Weights, theta: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """Outputs in the type of the weights, shape ``(n_events or 1, n_outputs)``."""
        dtype = weights["bias_out"].dtype
        value = weights["bias_0"][tf.newaxis, :]
        if self.n_theta:
            value += tf.cast(theta[:, : self.n_theta] if self.n_bends else theta, dtype) @ weights["theta"]
        if self.n_bends:
            value += tf.cast(theta[:, self.n_theta :], dtype) @ weights["bends"]
        if self.n_features:
            value += tf.cast(features, dtype) @ weights["features"]
        value = _silu(value)
        for number in range(1, len(self.hidden)):
            value = _silu(value @ weights[f"kernel_{number}"] + weights[f"bias_{number}"])
        return value @ weights["kernel_out"] + weights["bias_out"]


@dataclass(frozen=True)
class PaperLayers:
    """The layers of the published Figure 4, with one output block per entry of ``blocks``."""

    n_theta: int
    n_features: int
    network: PaperNetwork

    @property
    def _branches(self) -> tuple[int, int]:
        n1 = self.network.a1 + self.network.a2 * self.n_theta if self.n_theta else 0
        n2 = self.network.b1 + self.network.b2 * self.n_features if self.n_features else 0
        return n1, n2

    @property
    def _joined(self) -> int:
        # Without theta and preceding observables the network degenerates to constants.
        return sum(self._branches) or 1

    def initial_weights(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Kernels uniform in ``+-L / sqrt(n_in)`` with L = 10/3 for the inputs, 2.5 elsewhere; zero biases."""
        n1, n2 = self._branches
        joined, head, n_g = (
            self._joined,
            self.network.head_factor * self.network.n_components,
            self.network.n_components,
        )
        layers: list[tuple[str, int, int, float]] = []
        if n1:
            layers.append(("theta", self.n_theta, n1, 10 / 3))
        if n2:
            layers.append(("features", self.n_features, n2, 10 / 3))
        layers += [(f"joined_{number}", joined, joined, 2.5) for number in range(self.network.n_layers)]
        for block in ("logit", "mean", "width"):
            layers += [(f"{block}_hidden", joined, head, 2.5), (f"{block}_out", head, n_g, 2.5)]
        weights = {}
        for name, n_in, n_out, scale in layers:
            limit = scale / math.sqrt(n_in)
            weights[f"{name}_kernel"] = rng.uniform(-limit, limit, size=(n_in, n_out)).astype(np.float32)
            weights[f"{name}_bias"] = np.zeros(n_out, dtype=np.float32)
        return weights

    def __call__(self, weights: Weights, theta: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """Outputs of the three heads side by side, shape ``(n_events or 1, 3 n_components)``."""

        def dense(name: str, value: tf.Tensor) -> tf.Tensor:
            return value @ weights[f"{name}_kernel"] + weights[f"{name}_bias"]

        def activate(value: tf.Tensor) -> tf.Tensor:
            return tf.nn.leaky_relu(value, alpha=LEAKY_SLOPE)

        dtype = weights["logit_out_bias"].dtype
        theta, features = tf.cast(theta, dtype), tf.cast(features, dtype)
        n1, n2 = self._branches
        n_events = tf.maximum(tf.shape(theta)[0], tf.shape(features)[0]) if n1 and n2 else None
        parts = []
        if n1:
            branch = activate(dense("theta", theta))
            parts.append(branch if n_events is None else tf.broadcast_to(branch, (n_events, n1)))
        if n2:
            branch = activate(dense("features", features))
            parts.append(branch if n_events is None else tf.broadcast_to(branch, (n_events, n2)))
        value = tf.concat(parts, axis=-1) if parts else tf.ones((1, 1), dtype)
        for number in range(self.network.n_layers):
            value = activate(dense(f"joined_{number}", value))
        blocks = [
            dense(f"{block}_out", activate(dense(f"{block}_hidden", value))) for block in ("logit", "mean", "width")
        ]
        return tf.concat(blocks, axis=-1)


@dataclass(frozen=True)
class MixtureConditioner:
    """Layers followed by the map from their outputs to amplitudes, means and widths.

    Args:
        layers: The network.
        network: Its configuration.
        latent_range: Lowest and highest latent coordinate of the training events; the components
            start equally spaced between them.
    """

    layers: SmoothLayers | PaperLayers
    network: Network
    latent_range: tuple[float, float]

    def initial_weights(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights of the layers."""
        return self.layers.initial_weights(rng)

    def __call__(self, weights: Weights, theta: tf.Tensor, features: tf.Tensor) -> MixtureParameters:
        """Mixture of each event.

        Args:
            weights: Weights by name; their type is the type of the computation.
            theta: Scaled parameters, shape ``(n_events or 1, n_theta)``.
            features: Scaled preceding observables, shape ``(n_events, n_features)``.

        Returns:
            Parameters of shape ``(n_events or 1, n_components)``.
        """
        logit, mean, width = tf.split(self.layers(weights, theta, features), 3, axis=-1)
        low, high, spacing = self._spacing()
        if isinstance(self.network, PaperNetwork):
            logit, mean, width = (
                self.network.logit_scale * logit,
                self.network.mean_scale * mean,
                self.network.width_scale * width,
            )
        start = math.log(math.expm1(self.network.width_fraction * spacing))
        centres = tf.constant(np.linspace(low, high, self.network.n_components), mean.dtype)
        return MixtureParameters(logit, mean + centres, _softplus(width + start) + MIN_WIDTH)

    def _spacing(self) -> tuple[float, float, float]:
        """First and last initial mean, and the unit of the initial widths."""
        lowest, highest = self.latent_range
        margin = (highest - lowest) / (2 * self.network.n_components)
        low, high = lowest + margin, highest - margin
        # One component starts in the middle, as wide as the data.
        return (
            low,
            high,
            ((high - low) if self.network.n_components > 1 else highest - lowest) / self.network.n_components,
        )


def _silu(value: tf.Tensor) -> tf.Tensor:
    """SiLU as two operations; ``tf.nn.silu`` makes a function with a gradient of its own, slow to trace."""
    return value * tf.sigmoid(value)


def _softplus(value: tf.Tensor) -> tf.Tensor:
    """Softplus; TensorFlow's own takes as long as two exponentials more in double precision.

    Below -36 it is zero here, where a width has ``MIN_WIDTH`` beside it, and above 60 constant, which no width reaches.
    """
    if value.dtype != tf.float64:
        return tf.nn.softplus(value)
    return tf.math.log(1 + tf.exp(tf.minimum(value, tf.constant(60.0, tf.float64))))


def _hidden(network: SmoothNetwork, n_features: int) -> tuple[int, ...]:
    """Hidden layers of a factor."""
    return network.hidden if n_features else network.hidden[:LAYERS_OF_THETA]


def mixture_conditioner(
    network: Network, n_theta: int, n_features: int, latent_range: tuple[float, float], n_bends: int = 0
) -> MixtureConditioner:
    """Conditioner of a continuous observable."""
    layers: SmoothLayers | PaperLayers
    if isinstance(network, PaperNetwork):
        layers = PaperLayers(n_theta, n_features, network)
    else:
        layers = SmoothLayers(n_theta, n_features, 3 * network.n_components, _hidden(network, n_features), n_bends)
    return MixtureConditioner(layers, network, latent_range)


def categorical_conditioner(
    network: Network, n_theta: int, n_features: int, n_categories: int, n_bends: int = 0
) -> SmoothLayers:
    """Conditioner of a discrete observable: logits of its categories.

    Source:
        The paper uses two hidden layers of 300 and 200 units; so does its preset here.
    """
    hidden = CATEGORICAL_HIDDEN if isinstance(network, PaperNetwork) else _hidden(network, n_features)
    return SmoothLayers(n_theta, n_features, n_categories, hidden, n_bends)
