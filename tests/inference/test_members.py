"""The spread of an ensemble in a fit: covariance of best fits, and fractions as nuisance parameters."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from builders import random_density

from zfit_egmm.coordinates.theta import ThetaScaling
from zfit_egmm.density.composed.ensemble import EnsembleDensity
from zfit_egmm.families.egmm.density import MixtureDensity
from zfit_egmm.inference.members import ensemble_spread, member_fractions
from zfit_egmm.pdf import EGMM

TRUE = 0.8
SHIFTS = (-0.05, 0.0, 0.025, 0.06)


def _shifted(density, shift):
    """The same density as a function of theta + shift, so that its best fit moves by -shift."""
    low, high = density.theta_range[0]
    return MixtureDensity(
        density.observables,
        density.theta_names,
        ThetaScaling(((low - shift, high - shift),)),
        network=density.autoregressive.network,
        projections=density.projections,
        latent_ranges=density.autoregressive.latent_ranges,
        weights=density.weights,
        training=density.training,
    )


@pytest.fixture(scope="module")
def ensemble():
    density = random_density(1)
    return EnsembleDensity([_shifted(density, shift) for shift in SHIFTS])


@pytest.fixture(scope="module")
def events():
    return random_density(1).sample(1500, [TRUE], seed=4)


@pytest.fixture
def theta(request):
    return zfit.Parameter(f"theta_{request.node.name}", 0.7, 0, 2)


def _loss(density, theta, events, **kwargs):
    pdf = EGMM(density, params={"coupling": theta})
    return zfit.loss.UnbinnedNLL(pdf, zfit.Data(events, obs=pdf.space), **kwargs)


def test_best_fits_move_with_the_members(ensemble, events, theta):
    spread = ensemble_spread(ensemble, lambda density: _loss(density, theta, events))
    assert spread.is_valid.all()
    assert spread.names == (theta.name,)
    assert np.allclose(spread.values[:, 0] - spread.values[1, 0], -np.array(SHIFTS), atol=2e-3)
    assert spread.error[0] == pytest.approx(np.std(SHIFTS, ddof=1), rel=0.02)
    assert float(theta.value()) == 0.7


def test_fractions_widen_the_error_as_the_covariance_does(ensemble, events, theta):
    # The two agree to first order in the spread; without the constraint's factors they would differ by 1.7.
    minimizer = zfit.minimize.Minuit(gradient="zfit")
    single = minimizer.minimize(_loss(ensemble.members[1], theta, events))
    statistical = single.hesse(name="h")[theta]["error"]
    fractions, constraint = member_fractions(4, name="member")
    parts = [EGMM(member, params={"coupling": theta}) for member in ensemble.members]
    model = zfit.pdf.SumPDF(parts, fracs=fractions)
    data = zfit.Data(events, obs=parts[0].space)
    result = minimizer.minimize(zfit.loss.UnbinnedNLL(model, data, constraints=constraint))
    error = result.hesse(name="h")[theta]["error"]
    wanted = np.hypot(statistical, np.std(SHIFTS, ddof=1))
    assert result.valid
    assert wanted > 1.5 * statistical
    assert error == pytest.approx(wanted, rel=0.1)


def test_constraint_has_the_covariance_that_is_stated():
    fractions, constraint = member_fractions(5, name="five")
    assert len(fractions) == 4
    covariance = np.asarray(constraint.covariance)
    # Any last fraction is as free as the others.
    assert np.allclose(np.diag(covariance), 0.2)
    assert covariance.sum() == pytest.approx(0.2)
    # Shifts of the members by s give the sum the variance of s.
    shifts = np.random.default_rng(1).normal(size=5)
    relative = shifts[:-1] - shifts[-1]
    assert relative @ covariance @ relative == pytest.approx(np.var(shifts, ddof=1))


def test_refuses_what_makes_no_sense(ensemble, events, theta):
    with pytest.raises(ValueError, match="at least two"):
        ensemble_spread(EnsembleDensity(ensemble.members[:1]), lambda density: _loss(density, theta, events))
    with pytest.raises(ValueError, match="at least two"):
        member_fractions(1)
    made = iter(range(10))
    with pytest.raises(ValueError, match="outside of build_loss"):
        ensemble_spread(
            ensemble,
            lambda density: _loss(density, zfit.Parameter(f"{theta.name}_{next(made)}", 0.7, 0, 2), events),
        )
