"""Likelihoods whose profiles are known, or that have the usual difficulties."""

from __future__ import annotations

import numpy as np
import zfit

from zfit_egmm.inference.likelihood.loss import Likelihood

WIDE = 60.0
"""Half the range of the observables: nothing of a Gaussian is cut off."""


def parameter(name, value, low=None, high=None, *, floating=True):
    return zfit.Parameter(name, value, low, high, floating=floating)


def composed(name, function, **params):
    return zfit.param.ComposedParameter(name, lambda params: function(**params), params=params)


def gauss(name, mean, sigma):
    return zfit.pdf.Gauss(mean, sigma, obs=zfit.Space(name, -WIDE, WIDE))


def loss_of(model, x, constraints=None):
    data = zfit.Data.from_numpy(obs=model.space, array=np.reshape(x, (len(x), -1)))
    return zfit.loss.UnbinnedNLL(model, data, constraints=constraints)


def events(n, mean, seed):
    """Events of width one with exactly the given mean, shape ``(n,)``."""
    x = np.random.default_rng(seed).normal(size=n)
    return x - x.mean() + mean


def gaussian_mean(n=50, mean=0.4, sigma=2.0, low=-10.0, high=10.0):
    """Mean ``mu`` of a Gaussian of known width: -2 Delta ln L is n (mu - mean)^2 / sigma^2."""
    mu = parameter("mu", 0.5, low, high)
    return loss_of(gauss("x", mu, sigma), sigma * events(n, mean / sigma, 1))


def gaussian_plane(n=40, means=(0.5, -0.3), mixing=1.5):
    """Two observables with the means ``a`` and ``mixing a + b``.

    Returns:
        The loss, the best fit of (a, b), and their covariance, both exact.
    """
    a, b = parameter("a", 0.1, -10, 10), parameter("b", 0.1, -10, 10)
    second = composed("second", lambda a, b: mixing * a + b, a=a, b=b)
    widths = np.array([1.0, 0.5])
    model = zfit.pdf.ProductPDF([gauss("x", a, widths[0]), gauss("y", second, widths[1])])
    x = [width * events(n, mean / width, seed) for width, mean, seed in zip(widths, means, (1, 2), strict=True)]
    inverse = np.linalg.inv(np.array([[1.0, 0.0], [mixing, 1.0]]))
    return loss_of(model, np.stack(x, axis=1)), inverse @ means, inverse @ np.diag(widths**2 / n) @ inverse.T


def squared_mean(n=50, mean=0.6, sigma=1.0):
    """A Gaussian with the mean theta^2: -2 Delta ln L is n (theta^2 - mean)^2 / sigma^2, with two minima."""
    theta = parameter("theta", 0.7, -4, 4)
    return loss_of(gauss("x", composed("mean", lambda t: t**2, t=theta), sigma), sigma * events(n, mean / sigma, 3))


def two_unequal_minima(n=50, pull=0.06):
    """Means theta^2 and pull * theta: of the minima near -0.8 and 0.8 the second is lower."""
    theta = parameter("theta", -0.7, -4, 4)
    first = composed("first", lambda t: t**2, t=theta)
    second = composed("second", lambda t: pull * t, t=theta)
    model = zfit.pdf.ProductPDF([gauss("x", first, 1.0), gauss("y", second, 1.0)])
    return loss_of(model, np.stack([events(n, 0.64, 3), events(n, 2 * pull, 4)], axis=1))


def switching_nuisance(n=50, *, free_width=False):
    """Means nu^2 and mu + nu, the second of width 2: the best nu changes its sign at mu = 0.

    But for a constant, -2 ln L is that of :func:`switching_ratio`, with minima at mu = 0.7, nu = -0.7 and at mu = -0.7,
    nu = 0.7. The width can be free, ``sigma``.
    """
    mu, nu = parameter("mu", 0.6, -5, 5), parameter("nu", -0.6, -5, 5)
    width = parameter("sigma", 2.0, 0.5, 5) if free_width else 2.0
    first = composed("first", lambda nu: nu**2, nu=nu)
    second = composed("second", lambda mu, nu: mu + nu, mu=mu, nu=nu)
    model = zfit.pdf.ProductPDF([gauss("x", first, 1.0), gauss("y", second, width)])
    y = events(n, 0.0, 6)
    return loss_of(model, np.stack([events(n, 0.5, 5), 2 * y / y.std()], axis=1))


def switching_ratio(mu, nu, sigma=2.0, n=50):
    """-2 Delta ln L of the same."""
    width = 2 * np.log(sigma / 2) + 4 / sigma**2 - 1
    return n * ((nu**2 - 0.5) ** 2 + (mu + nu) ** 2 / sigma**2 + width)


def constrained_shifts(n=40, mean=0.3):
    """Mean ``mu`` shifted by two correlated, constrained nuisance parameters.

    Returns:
        The loss, and the exact standard deviation of mu.
    """
    mu, first, second = parameter("mu", 0.1, -5, 5), parameter("nu1", 0.0, -3, 3), parameter("nu2", 0.0, -3, 3)
    weights, covariance = np.array([0.2, 0.5]), np.array([[1.0, 0.6], [0.6, 1.0]]) * 0.04
    total = composed("total", lambda mu, a, b: mu + weights[0] * a + weights[1] * b, mu=mu, a=first, b=second)
    constraint = zfit.constraint.GaussianConstraint([first, second], [0.0, 0.0], cov=covariance)
    loss = loss_of(gauss("x", total, 1.0), events(n, mean, 7), constraints=constraint)
    return loss, float(np.sqrt(1 / n + weights @ covariance @ weights))


def peak_on_exponential(seed=1):
    """An extended fit of five parameters to about 350 events."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(1.2, 0.1, 100), rng.exponential(0.8, 300)])
    obs = zfit.Space("x", 0.1, 3.0)
    mu, sigma = parameter("mu", 1.2, 0.5, 2), parameter("sigma", 0.1, 0.02, 0.5)
    slope = parameter("slope", -1.2, -5, 1)
    n_signal, n_background = parameter("n_signal", 100, 0, 1000), parameter("n_background", 300, 0, 2000)
    model = zfit.pdf.SumPDF(
        [
            zfit.pdf.Gauss(mu, sigma, obs=obs, extended=n_signal),
            zfit.pdf.Exponential(slope, obs=obs, extended=n_background),
        ]
    )
    data = zfit.Data.from_numpy(obs=obs, array=x[(x > 0.1) & (x < 3)][:, np.newaxis])
    return zfit.loss.ExtendedUnbinnedNLL(model, data)


def learned_toy(density, n=300, at=(0.5, -0.4), seed=3):
    """A learned density of two parameters fitted to events of the known truth.

    Returns:
        The likelihood, and a function that gives its value from the density alone, for points of shape ``(n, 2)``.
    """
    from zfit_egmm.demo import toy
    from zfit_egmm.pdf import EGMM

    x = toy.sample(n, at, seed)
    params = {name: parameter(name, value, -1, 1) for name, value in zip(("cx", "cy"), at, strict=True)}
    pdf = EGMM(density, params=params)

    def reference(points):
        return np.array([-density.log_prob(x, point).sum() for point in points])

    return Likelihood(zfit.loss.UnbinnedNLL(pdf, zfit.Data(x, obs=pdf.space))), reference
