"""The error of a learned density in a fit, from the spread of an ensemble: as a covariance, or as nuisance parameters.

Both ways rest on the same members and say the same as long as the spread is small. A covariance needs one fit per
member and is added to the statistical one afterwards. Nuisance parameters stay in the likelihood, so that profiles and
limits hold the error of the density too, at the price of all members in every evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import zfit

from zfit_egmm.density.base import Density
from zfit_egmm.density.composed.ensemble import EnsembleDensity

BuildLoss = Callable[[Density], Any]


@dataclass(frozen=True, eq=False)
class EnsembleSpread:
    """Best fits of the members of an ensemble to the same data.

    Args:
        names: Names of the floating parameters.
        values: Best fits, shape ``(n_members, n_parameters)``.
        is_valid: Whether each fit converged, shape ``(n_members,)``; only these count below.
    """

    names: tuple[str, ...]
    values: np.ndarray
    is_valid: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the best fits, shape ``(n_parameters, n_parameters)``, to add to the statistical one."""
        return np.atleast_2d(np.cov(self.values[self.is_valid], rowvar=False))

    @property
    def error(self) -> np.ndarray:
        """Standard deviation of the best fits, shape ``(n_parameters,)``; known to ``1 / sqrt(2 (n_members - 1))``."""
        return np.sqrt(np.diag(self.covariance))


def ensemble_spread(ensemble: EnsembleDensity, build_loss: BuildLoss, *, minimizer: Any = None) -> EnsembleSpread:
    """Fit the same data with each member of an ensemble.

    The covariance of the best fits estimates the error from training a single density. With bootstrapped members it
    is, too, the error of a fit with the ensemble itself, as all members share the training events; it is not to be
    divided by the number of members. It holds nothing of a bias that all members have in common: see
    :func:`zfit_egmm.diagnostics.theta_bias` for that.

    Args:
        ensemble: The ensemble, of at least two members.
        build_loss: Function of a density that returns a zfit loss. The data and the zfit parameters have to be the
            same in every call.
        minimizer: Minimiser of zfit. Default: Minuit with automatic gradients.

    Returns:
        The best fits. All of them start from the current values of the parameters, which are restored at the end.

    Raises:
        ValueError: If there are fewer than two members, or the losses do not have the same floating parameters.
        RuntimeError: If fewer than two fits converge.
    """
    if len(ensemble.members) < 2:
        raise ValueError("a spread needs an ensemble of at least two members, this one has one")
    minimizer = zfit.minimize.Minuit(gradient="zfit") if minimizer is None else minimizer
    losses = [build_loss(member) for member in ensemble.members]
    parameters = sorted(losses[0].get_params(), key=lambda parameter: parameter.name)
    for number, loss in enumerate(losses):
        if set(loss.get_params()) != set(parameters):
            raise ValueError(
                f"the loss of member {number} floats {sorted(p.name for p in loss.get_params())}, that of member 0 "
                f"{[p.name for p in parameters]}; create the parameters once, outside of build_loss"
            )
    start = [float(parameter.value()) for parameter in parameters]
    values, valid = [], []
    try:
        for loss in losses:
            zfit.param.set_values(parameters, start)
            result = minimizer.minimize(loss)
            values.append([float(result.params[parameter]["value"]) for parameter in parameters])
            valid.append(bool(result.valid))
    finally:
        zfit.param.set_values(parameters, start)
    if sum(valid) < 2:
        raise RuntimeError(
            f"only {sum(valid)} of {len(valid)} fits converged; look at minimizer.minimize(build_loss(m))"
        )
    return EnsembleSpread(tuple(p.name for p in parameters), np.array(values), np.array(valid))


def member_fractions(n_members: int, *, name: str = "fraction") -> tuple[list[zfit.Parameter], Any]:
    """Fractions of a sum over the members of an ensemble, with the constraint that makes them nuisance parameters.

    The sum ``p = sum_k f_k p_k`` is the ensemble at ``f_k = 1/K``. To first order in the differences of the members its
    best fit is the sum of theirs with the same fractions. A Gaussian constraint with the covariance ``(1 - 1/K) / (K -
    1)`` on the diagonal and ``-1 / (K (K - 1))`` off it then gives the best fit the covariance of
    :func:`~zfit_egmm.inference.ensemble_spread`, beside the statistical one::

        fractions, constraint = member_fractions(len(ensemble.members))
        model = zfit.pdf.SumPDF([EGMM(m, params=params) for m in ensemble.members], fracs=fractions)
        loss = zfit.loss.UnbinnedNLL(model, data, constraints=constraint)

    Limits: fractions may become negative, as they must. The sum stays normalised, but it is a density only as long as
    the members differ by less than about their mean, which fails first in sparse tails. Only the ``K - 1`` directions
    between the members are explored. Prefer :func:`~zfit_egmm.inference.ensemble_spread` where the spread is not small.

    Args:
        n_members: Number of members, at least two.
        name: Start of the names of the parameters.

    Returns:
        ``n_members - 1`` parameters (the last fraction is what is left to one), and their constraint.

    Raises:
        ValueError: If there are fewer than two members.
    """
    if n_members < 2:
        raise ValueError(f"fractions need at least two members, got {n_members}")
    mean = 1 / n_members
    covariance = (np.eye(n_members - 1) - mean) / (n_members - 1)
    width = float(np.sqrt(covariance[0, 0]))
    fractions = [
        zfit.Parameter(f"{name}_{number}", mean, mean - 5 * width, mean + 5 * width, stepsize=0.1 * width)
        for number in range(n_members - 1)
    ]
    return fractions, zfit.constraint.GaussianConstraint(fractions, [mean] * (n_members - 1), cov=covariance)
