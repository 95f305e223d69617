"""Integrals and normalisation over the box and its parts."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import zfit
from conformity import edges, nodes, quadrature, relative

# The integrals of cases with independent factors are exact; others aim for this relative error.
TOLERANCE = {"trained": 3e-4, "gauss": 1e-9, "independent": 1e-9}


def test_the_box_has_probability_one(case):
    assert float(case.pdf.integrate(case.pdf.space)[0]) == 1.0
    assert float(case.pdf.integrate(case.pdf.space, norm=False)[0]) == 1.0
    assert quadrature(case.density, case.point, {}) == pytest.approx(1, rel=1e-4)


def test_integral_over_a_part_is_that_of_the_oracle(case):
    for part in (case.part(), case.part(0.0, 0.5), case.part(0.4, 1.0)):
        value = case.pdf.integrate(part)
        assert value.shape == (1,)
        assert float(value[0]) == pytest.approx(case.mass(part), rel=TOLERANCE[case.name])
        assert float(case.pdf.integrate(part, norm=False)[0]) == pytest.approx(float(value[0]), rel=1e-12)


def test_integral_is_normalised_to_another_part(known):
    inner, outer = known.part(0.3, 0.5), known.part(0.2, 0.7)
    value = float(known.pdf.integrate(inner, norm=outer)[0])
    assert value == pytest.approx(known.mass(inner) / known.mass(outer), rel=1e-9)


def test_two_halves_make_a_whole(case):
    name = case.pdf.obs[0]
    ((low, high),) = edges(case.pdf.space.with_obs([name]))
    rest = case.part(0.1, 0.8, tuple(case.pdf.obs[1:]))
    values = [
        float(case.pdf.integrate(zfit.Space(name, *ends) * rest)[0])
        for ends in ((low, (low + high) / 2), ((low + high) / 2, high), (low, high))
    ]
    assert values[0] + values[1] == pytest.approx(values[2], rel=2 * TOLERANCE[case.name])


def test_values_normalised_to_a_part_integrate_to_one_there(case):
    part = case.part()
    ends = dict(zip(part.obs, edges(part), strict=True))
    axes = [nodes(o, *ends[o.name], 4) for o in case.density.observables]
    x = np.stack(np.meshgrid(*(values for values, _ in axes), indexing="ij"), axis=-1).reshape(-1, 3)
    weights = np.prod(np.meshgrid(*(weight for _, weight in axes), indexing="ij"), axis=0).ravel()
    assert weights @ case.pdf.pdf(x, norm=part).numpy() == pytest.approx(1, rel=1e-3)
    assert weights @ case.pdf.pdf(x).numpy() == pytest.approx(case.mass(part), rel=1e-3)
    assert relative(case.pdf.log_pdf(x[:5], norm=part), np.log(case.pdf.pdf(x[:5], norm=part).numpy())) < 1e-9


def test_values_normalised_to_a_part_are_those_of_the_oracle(known):
    part = known.part()
    assert relative(known.pdf.pdf(known.x, norm=part), known.oracle.pdf(known.x) / known.mass(part)) < 1e-9


def test_extended_integral_is_the_number_of_events(gauss):
    pdf = gauss.pdf.create_extended(zfit.Parameter("n", 400.0))
    part = gauss.part()
    assert float(pdf.ext_integrate(pdf.space)[0]) == pytest.approx(400)
    assert float(pdf.ext_integrate(part)[0]) == pytest.approx(400 * gauss.mass(part), rel=1e-9)
    assert float(pdf.ext_integrate(part, norm=part)[0]) == pytest.approx(400, rel=1e-9)
    assert float(pdf.integrate(part)[0]) == pytest.approx(gauss.mass(part), rel=1e-9)


def test_integral_over_a_tail_keeps_its_precision(known):
    corner = known.part(0.0, 0.02)
    assert known.mass(corner) < 1e-5
    assert float(known.pdf.integrate(corner)[0]) == pytest.approx(known.mass(corner), rel=1e-6)


def test_integral_of_what_reaches_out_of_the_box_counts_the_inside(gauss):
    limits = [(low - 1, high + 2) for low, high in edges(gauss.pdf.space)]
    wide = zfit.Space("a", *limits[0]) * zfit.Space("b", *limits[1]) * zfit.Space("c", *limits[2])
    assert float(gauss.pdf.integrate(wide)[0]) == pytest.approx(1.0, rel=1e-12)


def test_integral_with_tensors_as_limits_is_that_with_numbers(gauss):
    part = gauss.part()
    low, high = (tf.constant(end) for end in part.rect_limits_np)

    @tf.function(autograph=False)
    def integral(low, high):
        return gauss.pdf.integrate(zfit.Space(gauss.pdf.obs, limits=[low, high]), norm=False)

    assert float(integral(low, high)[0]) == pytest.approx(gauss.mass(part), rel=1e-9)


def test_stated_error_covers_the_deviation(trained):
    part = trained.part()
    found = trained.pdf.integral_with_error(part)
    exact = quadrature(trained.density, trained.point, dict(zip(part.obs, edges(part), strict=True)))
    assert abs(found.value - exact) < 5 * found.error + 1e-6


@pytest.mark.parametrize("n_kept", [1, 2])
def test_partial_integral_is_the_product_of_the_rest(known, n_kept):
    kept, gone = known.pdf.obs[:n_kept], known.pdf.obs[n_kept:]
    part = known.part(names=gone)
    x = zfit.Data(known.x[:20, :n_kept], obs=known.pdf.space.with_obs(kept))
    value = known.pdf.partial_integrate(x, limits=part)
    expected = np.prod([known.factors[n].pdf(known.x[:20, k]).numpy() for k, n in enumerate(kept)], axis=0)
    assert value.shape == (20,)
    assert relative(value, expected * known.mass(part)) < 1e-9


@pytest.mark.parametrize("kept", [("c",), ("b",), ("a", "c"), ("b", "c"), ("c", "a")])
def test_partial_integral_keeps_any_observables(gauss, kept):
    columns = [gauss.pdf.obs.index(name) for name in kept]
    part = gauss.part(names=tuple(n for n in gauss.pdf.obs if n not in kept))
    x = zfit.Data(gauss.x[:20, columns], obs=gauss.pdf.space.with_obs(kept))
    expected = np.prod(
        [gauss.factors[n].pdf(gauss.x[:20, k]).numpy() for k, n in zip(columns, kept, strict=True)], axis=0
    )
    assert relative(gauss.pdf.partial_integrate(x, limits=part), expected * gauss.mass(part)) < 1e-9


@pytest.mark.parametrize("kept", [("energy",), ("angle",), ("energy", "angle"), ("jets", "angle")])
def test_partial_integral_of_a_trained_density_is_that_of_quadrature(trained, kept):
    names = list(trained.pdf.obs)
    part = trained.part(names=tuple(n for n in names if n not in kept))
    ends = dict(zip(part.obs, edges(part), strict=True))
    columns = [names.index(name) for name in kept]
    rows = trained.x[:6, columns]
    axes = [nodes(o, *ends[o.name], 30) for o in trained.density.observables if o.name not in kept]
    grid = np.stack(np.meshgrid(*(v for v, _ in axes), indexing="ij"), axis=-1).reshape(-1, len(axes))
    weights = np.prod(np.meshgrid(*(w for _, w in axes), indexing="ij"), axis=0).ravel()
    expected = []
    for row in rows:
        x = np.empty((len(grid), 3))
        x[:, columns] = row
        x[:, [k for k in range(3) if k not in columns]] = grid
        expected.append(weights @ np.exp(trained.density.log_prob(x, trained.point)))
    x = zfit.Data(rows, obs=trained.pdf.space.with_obs(kept))
    assert relative(trained.pdf.partial_integrate(x, limits=part), expected) < 3e-3
