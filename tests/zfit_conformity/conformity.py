"""Cases that every conformity test runs on: a learned density as a PDF, next to the same from zfit's own.

The weights of the factors are set by hand, without any influence of the preceding observables: each factor is then a
sum of truncated Gauss distributions, whose parameters follow from theta by a formula that is written out here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import zfit
from scipy.special import ndtr
from zfit.core.space import supports

from zfit_egmm import Density, Observable
from zfit_egmm.coordinates.projection import Projection
from zfit_egmm.coordinates.theta import ThetaScaling
from zfit_egmm.families.egmm.density import MixtureDensity
from zfit_egmm.families.egmm.networks import SmoothNetwork
from zfit_egmm.pdf import EGMM

RANGES = {"a": (-2.0, 3.0), "b": (0.0, 10.0), "c": (-1.0, 1.0)}
LATENT_RANGE = (-4.5, 4.0)
THETA_RANGE = (-1.0, 2.0)
HIDDEN = (3,)


@dataclass
class Case:
    """A PDF of a density, the same from zfit's own PDFs if there is one, and what it depends on."""

    name: str
    pdf: EGMM
    oracle: zfit.pdf.BasePDF | None
    factors: dict[str, zfit.pdf.BasePDF]
    theta: dict[str, zfit.Parameter]
    x: np.ndarray

    @property
    def density(self) -> Density:
        return self.pdf.density

    @property
    def point(self) -> list[float]:
        return [float(parameter.value()) for parameter in self.theta.values()]

    @property
    def parameter(self) -> zfit.Parameter:
        return next(iter(self.theta.values()))

    def part(self, low: float = 0.2, high: float = 0.7, names: tuple[str, ...] | None = None) -> zfit.Space:
        """A part of the box from one fraction of each range to another; discrete ones lose their lowest cell."""
        space = None
        for observable in self.density.observables:
            if names is not None and observable.name not in names:
                continue
            start, stop = observable.limits
            ends = (start + low * (stop - start), start + high * (stop - start))
            ends = (start + 1, stop) if observable.is_discrete else ends
            one = zfit.Space(observable.name, *ends)
            space = one if space is None else space * one
        return space

    def expected(self, x: np.ndarray) -> np.ndarray:
        """Density of events, from the oracle or from the density itself."""
        if self.oracle is None:
            return np.exp(self.density.log_prob(x, self.point))
        return self.oracle.pdf(x).numpy()

    def mass(self, space: zfit.Space) -> float:
        """Probability of a part of the box, from analytic integrals of the factors or by quadrature."""
        if self.oracle is None:
            return quadrature(self.density, self.point, dict(zip(space.obs, edges(space), strict=True)))
        return float(np.prod([factor_mass(self.factors[n], *e) for n, e in zip(space.obs, edges(space), strict=True)]))


def edges(space: zfit.Space) -> list[tuple[float, float]]:
    """Lower and upper limit of each axis."""
    return [(float(a), float(b)) for a, b in zip(*(np.ravel(end) for end in space.rect_limits_np), strict=True)]


def factor_mass(factor: zfit.pdf.BasePDF, low: float, high: float) -> float:
    """Integral of one factor of an oracle between two limits."""
    t = factor.theta["t"].value() if factor.theta else None
    logit, mean, width = (column.numpy() for column in factor.describe(t))

    def below(end: float) -> float:
        return float(np.sum(np.exp(logit) * ndtr((end - mean) / width)))

    whole = below(RANGES[factor.obs[0]][1]) - below(RANGES[factor.obs[0]][0])
    return (below(high) - below(low)) / whole


def network(n_components: int) -> SmoothNetwork:
    return SmoothNetwork(hidden=HIDDEN, n_components=n_components, width_fraction=0.5, physical_inputs=False)


def separate_weights(n_components: int, n_factors: int, n_theta: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Weights whose outputs depend on theta but not on the preceding observables, exact in float32."""
    rng = np.random.default_rng(seed)
    result = []
    for number in range(n_factors):
        weights = {
            "bias_0": rng.normal(size=HIDDEN),
            "kernel_out": rng.normal(size=(HIDDEN[0], 3 * n_components)) * 0.4,
            "bias_out": rng.normal(size=3 * n_components) * 0.3,
        }
        weights["bias_out"][-n_components:] -= 1.0
        if n_theta:
            weights["theta"] = rng.normal(size=(n_theta, HIDDEN[0])) * 0.6
        if number:
            weights["features"] = np.zeros((number, HIDDEN[0]))
        result.append({name: value.astype(np.float32) for name, value in weights.items()})
    return result


def density_of(weights: list[dict[str, np.ndarray]], n_components: int, names: tuple[str, ...] = ("a", "b", "c")):
    """A density with straight maps to the latent axis."""
    has_theta = "theta" in weights[0]
    projections = [
        Projection("linear", np.array(RANGES[name]), np.array([-5.0, 5.0]), np.full(2, 10 / np.ptp(RANGES[name])))
        for name in names
    ]
    return MixtureDensity(
        [Observable(name, *RANGES[name]) for name in names],
        ("t",) if has_theta else (),
        ThetaScaling((THETA_RANGE,) if has_theta else ()),
        network=network(n_components),
        projections=projections,
        latent_ranges=[LATENT_RANGE] * len(names),
        weights=weights,
    )


def components(weights: dict[str, np.ndarray], n_components: int, ends: tuple[float, float], t: Any = None) -> Any:
    """Logits, means and widths of the components given theta, in the unit of the observable."""
    low, high = ends
    unit = (high - low) / 10
    margin = (LATENT_RANGE[1] - LATENT_RANGE[0]) / (2 * n_components)
    first, last = LATENT_RANGE[0] + margin, LATENT_RANGE[1] - margin
    spacing = (last - first) / n_components if n_components > 1 else LATENT_RANGE[1] - LATENT_RANGE[0]
    start = np.log(np.expm1(0.5 * spacing))
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    before = tf.constant(w["bias_0"])
    if t is not None:
        before += 2 * (2 * (t - THETA_RANGE[0]) / (THETA_RANGE[1] - THETA_RANGE[0]) - 1) * w["theta"][0]
    outputs = tf.tensordot(before / (1 + tf.exp(-before)), w["kernel_out"], 1) + w["bias_out"]
    logit, mean, width = tf.split(outputs, 3)
    mean = low + unit * (mean + np.linspace(first, last, n_components) + 5)
    return logit, mean, unit * (tf.math.log1p(tf.exp(width + start)) + 1e-4)


def normal_cdf(z: Any) -> tf.Tensor:
    return 0.5 * tf.math.erfc(-z / np.sqrt(2))


class Mixture(zfit.pdf.BasePDF):
    """Sum of Gauss distributions, written with no other purpose than to be right."""

    def __init__(self, obs: zfit.Space, describe: Any, theta: dict[str, zfit.Parameter]) -> None:
        self._describe = describe
        super().__init__(obs=obs, params=dict(theta), name=f"mixture_{obs.obs[0]}")

    @supports()
    def _unnormalized_pdf(self, x: Any, params: Any) -> tf.Tensor:
        logit, mean, width = self._describe(params.get("t"))
        z = (x[self.obs[0]][:, None] - mean) / width
        return tf.reduce_sum(tf.exp(logit - 0.5 * z * z) / width, axis=-1) / np.sqrt(2 * np.pi)


def _mixture_integral(limits: Any, params: Any, model: Mixture) -> tf.Tensor:
    logit, mean, width = model._describe(params.get("t"))
    low, high = limits.limit1d
    return tf.reshape(
        tf.reduce_sum(tf.exp(logit) * (normal_cdf((high - mean) / width) - normal_cdf((low - mean) / width))), (1,)
    )


Mixture.register_analytic_integral(
    _mixture_integral, limits=zfit.Space(axes=0, limits=(zfit.Space.ANY, zfit.Space.ANY))
)


def zfit_factor(
    name: str,
    weights: dict[str, np.ndarray],
    n_components: int,
    theta: dict[str, zfit.Parameter],
    *,
    shift: float = 0.0,
) -> zfit.pdf.BasePDF:
    """The distribution of one observable from zfit's own PDFs; a shift of the means makes it wrong on purpose."""
    low, high = RANGES[name]
    space = zfit.Space(name, low, high)

    def describe(t: Any = None) -> Any:
        logit, mean, width = components(weights, n_components, (low, high), t)
        return logit, mean + shift, width

    factor = Mixture(space, describe, theta) if n_components > 1 else gausses(name, describe, n_components, theta)[0]
    factor.describe, factor.theta = describe, theta
    return factor


def gausses(name: str, describe: Any, n_components: int, theta: dict[str, zfit.Parameter]) -> list[Any]:
    """One PDF per component. Gauss in a range has finite derivatives, other than zfit's TruncatedGauss."""
    low, high = RANGES[name]

    def composed(kind: int, number: int) -> zfit.ComposedParameter:
        label = f"{('logit', 'mean', 'width')[kind]}_{name}_{number}_{id(describe)}"
        return zfit.ComposedParameter(label, lambda params: describe(params.get("t"))[kind][number], params=dict(theta))

    return [
        zfit.pdf.Gauss(composed(1, n), composed(2, n), obs=zfit.Space(name, low, high)) for n in range(n_components)
    ]


def sum_of_gausses(
    name: str, weights: dict[str, np.ndarray], n_components: int, theta: dict[str, zfit.Parameter]
) -> Any:
    """One factor as a sum of zfit's Gauss distributions, weighted by what of each is inside."""
    low, high = RANGES[name]

    def describe(t: Any = None) -> Any:
        return components(weights, n_components, (low, high), t)

    def fraction(params: Any, number: int) -> tf.Tensor:
        logit, mean, width = describe(params.get("t"))
        inside = tf.exp(logit) * (normal_cdf((high - mean) / width) - normal_cdf((low - mean) / width))
        return inside[number] / tf.reduce_sum(inside)

    def composed(number: int) -> zfit.ComposedParameter:
        unique = f"fraction_{name}_{number}_{id(describe)}"
        return zfit.ComposedParameter(unique, lambda params: fraction(params, number), params=dict(theta))

    fractions = [composed(number) for number in range(n_components - 1)]
    parts = gausses(name, describe, n_components, theta)
    return zfit.pdf.SumPDF(parts, fracs=fractions, obs=zfit.Space(name, low, high))


def separate_case(name: str, n_components: int, seed: int, *, has_theta: bool = True) -> Case:
    """A density of independent factors, and the product of the same factors made of zfit's PDFs."""
    weights = separate_weights(n_components, 3, int(has_theta), seed)
    density = density_of(weights, n_components)
    theta = {"t": zfit.Parameter(f"t_{name}", 0.37, *THETA_RANGE)} if has_theta else {}
    factors = {
        observable: zfit_factor(observable, factor, n_components, theta)
        for observable, factor in zip(RANGES, weights, strict=True)
    }
    x = np.random.default_rng(seed).uniform(*np.array(list(RANGES.values())).T, size=(60, 3))
    pdf = EGMM(density, params=theta)
    return Case(name, pdf, zfit.pdf.ProductPDF(list(factors.values()), obs=pdf.space), factors, theta, x)


def wrong_oracle(case: Case, shift: float) -> zfit.pdf.BasePDF:
    """The oracle of a case, with the means of the first observable shifted."""
    n_components = case.density.autoregressive.network.n_components
    first = zfit_factor("a", case.density.weights[0], n_components, case.theta, shift=shift)
    return zfit.pdf.ProductPDF([first, case.factors["b"], case.factors["c"]], obs=case.pdf.space)


def nodes(observable: Observable, low: float, high: float, n_panels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of an integral over one axis: Gauss-Legendre in panels, or the cells of a discrete one."""
    if observable.is_discrete:
        values = np.arange(np.ceil(low), np.floor(high) + 1)
        return values, np.ones(len(values))
    position, weight = np.polynomial.legendre.leggauss(8)
    grid = np.linspace(low, high, n_panels + 1)
    half = 0.5 * np.diff(grid)[:, None]
    return (grid[:-1, None] + half * (position + 1)).ravel(), (half * weight).ravel()


def quadrature(density: Density, point: list[float], ends: dict[str, tuple[float, float]]) -> float:
    """Integral of a density over a part of its box, without any of the code under test but its values."""
    n_continuous = sum(not observable.is_discrete for observable in density.observables)
    n_panels = 40 if n_continuous < 3 else 10
    axes = [nodes(o, *ends.get(o.name, o.limits), n_panels) for o in density.observables]
    x = np.array(list(itertools.product(*(values for values, _ in axes))))
    weights = np.prod(np.array(list(itertools.product(*(weight for _, weight in axes)))), axis=1)
    return float(weights @ np.exp(density.log_prob(x, point if density.theta_names else None)))


def relative(value: Any, expected: Any) -> float:
    """Largest deviation, relative to what is expected."""
    value, expected = np.asarray(value, dtype=float), np.asarray(expected, dtype=float)
    return float(np.max(np.abs(value - expected) / np.abs(expected)))


def blends(value: Any) -> tf.Tensor:
    """Three fixed random combinations of the elements of a tensor, which stand for all of them."""
    value = tf.reshape(tf.convert_to_tensor(value, tf.float64), (1, -1))
    weights = np.random.default_rng(0).uniform(0.5, 1.5, size=(3, int(value.shape[1])))
    return tf.reduce_sum(weights * np.array([[1.0], [-1.0], [1.0]]) * value, axis=1)


def derivative(function: Any, parameter: zfit.Parameter) -> np.ndarray:
    """Derivative of blends of what a function returns, by automatic differentiation."""
    with tf.GradientTape(persistent=True) as tape:
        values = tf.unstack(blends(function()))
    return np.array([float(tape.gradient(value, parameter)) for value in values])


def finite_difference(function: Any, parameter: zfit.Parameter, step: float = 1e-3) -> np.ndarray:
    """The same from values at four places, with an error of the fourth power of the step."""
    at = float(parameter.value())
    values = {}
    for k in (-2, -1, 1, 2):
        with parameter.set_value(at + k * step):
            values[k] = blends(np.asarray(function())).numpy()
    return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * step)
