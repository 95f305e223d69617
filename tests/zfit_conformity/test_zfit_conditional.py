"""A parameter of the density that comes with every event."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from builders import random_density

from zfit_egmm.pdf import EGMM


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore:.*EXPERIMENTAL.*")
def test_a_conditional_pdf_takes_theta_from_the_events():
    density = random_density()
    low, high = density.theta_range[0]
    coupling = zfit.Parameter("coupling", 0.5, low, high)
    pdf = EGMM(density, params={"coupling": coupling})
    space = zfit.Space("coupling_of_event", low, high)
    conditional = zfit.pdf.ConditionalPDFV1(pdf=pdf, cond={coupling: space})
    x = density.sample(5, [0.5], seed=1)
    theta = np.linspace(low, high, 5)[:, np.newaxis]
    found = conditional.pdf(zfit.Data(np.hstack([x, theta]), obs=pdf.space * space)).numpy()
    np.testing.assert_allclose(found, np.exp(density.log_prob(x, theta)), rtol=1e-12)
    assert float(coupling.value()) == 0.5
