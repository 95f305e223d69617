"""The PDF in parts of its box."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from conformity import edges, quadrature, relative

from zfit_egmm.pdf import EGMM


def inside(x, space):
    low, high = np.array(edges(space)).T
    return np.all((x >= low) & (x <= high), axis=1)


def halves(case):
    rest = case.part(0.0, 1.0, ("b", "c"))
    return [zfit.Space("a", *ends) * rest for ends in ((-2, -0.5), (0.5, 3))]


def test_truncated_pdf_is_the_pdf_over_its_mass(known):
    part = known.part()
    pdf = known.pdf.to_truncated(part)
    expected = np.where(inside(known.x, part), known.expected(known.x) / known.mass(part), 0)
    value = pdf.pdf(known.x).numpy()
    assert np.array_equal(value == 0, expected == 0)
    assert relative(value[expected > 0], expected[expected > 0]) < 1e-9


def test_space_with_limits_truncates_too(gauss):
    part = gauss.part()
    pdf = EGMM(gauss.density, params=gauss.theta, obs=part)
    assert np.array_equal(pdf.pdf(gauss.x), gauss.pdf.to_truncated(obs=part).pdf(gauss.x))


def test_truncated_trained_pdf_integrates_to_one(trained):
    part = trained.part()
    pdf = trained.pdf.to_truncated(part)
    x = trained.x[inside(trained.x, part)]
    mass = quadrature(trained.density, trained.point, dict(zip(part.obs, edges(part), strict=True)))
    assert relative(pdf.pdf(x), trained.expected(x) / mass) < 1e-3
    assert float(pdf.integrate(part)[0]) == pytest.approx(1, rel=1e-9)


def test_several_limits_leave_a_gap(gauss):
    parts = halves(gauss)
    pdf = gauss.pdf.to_truncated(parts)
    mass = sum(gauss.mass(part) for part in parts)
    is_inside = inside(gauss.x, parts[0]) | inside(gauss.x, parts[1])
    assert 0 < is_inside.sum() < len(is_inside)
    value = pdf.pdf(gauss.x).numpy()
    assert np.array_equal(value > 0, is_inside)
    assert relative(value[is_inside], gauss.expected(gauss.x)[is_inside] / mass) < 1e-9
    assert float(pdf.integrate(pdf.space)[0]) == pytest.approx(1, rel=1e-9)
    assert float(pdf.integrate(parts[0])[0]) == pytest.approx(gauss.mass(parts[0]) / mass, rel=1e-9)


def test_yield_is_scaled_to_the_part(gauss):
    pdf = gauss.pdf.create_extended(zfit.Parameter("n", 200.0))
    parts = halves(gauss)
    scaled = pdf.to_truncated(parts, extended=True)
    for value in (0.37, 1.5):
        gauss.parameter.set_value(value)
        mass = sum(gauss.mass(part) for part in parts)
        assert float(scaled.get_yield().value()) == pytest.approx(200 * mass, rel=1e-9)
        x = gauss.x[inside(gauss.x, parts[0])]
        assert relative(scaled.ext_pdf(x), pdf.ext_pdf(x)) < 1e-9
    assert float(pdf.to_truncated(parts).get_yield().value()) == 200
    assert float(pdf.to_truncated(parts, extended=70.0).get_yield().value()) == 70


def test_overlapping_limits_are_refused(gauss):
    with pytest.raises(ValueError, match="overlap"):
        gauss.pdf.to_truncated([gauss.part(0.1, 0.5), gauss.part(0.4, 0.9)])


def test_limits_beyond_the_box_are_refused(gauss):
    with pytest.raises(ValueError, match="not a part of the box"):
        gauss.pdf.to_truncated(gauss.part(-0.1, 0.5))


def test_truncated_twice_is_truncated_to_the_smaller_part(gauss):
    inner = gauss.part(0.3, 0.6)
    twice = gauss.pdf.to_truncated(gauss.part()).to_truncated(inner)
    x = gauss.x[inside(gauss.x, inner)]
    assert len(x)
    assert relative(twice.pdf(x), gauss.expected(x) / gauss.mass(inner)) < 1e-9
