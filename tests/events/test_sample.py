from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from zfit_egmm import EventSample, Observable, train
from zfit_egmm.training.check_sample import FEWEST_EVENTS, FEWEST_PER_COLUMN, check_sample

MASS = Observable("mass", 0, 10, unit="GeV")
ANGLE = Observable("angle", -1, 1)
JETS = Observable("jets", 0, 3, kind="discrete")
AXES = (MASS, ANGLE)


def _x(n: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform((0, -1), (10, 1), size=(n, 2))


def _grid_sample(n: int = 1000, *, negative: float = 0.3, seed: int = 1) -> EventSample:
    """Three grid values of theta with shares 50, 30 and 20 %, and weights that tell every event apart."""
    rng = np.random.default_rng(seed)
    theta = rng.choice([-1.0, 0.0, 2.0], size=n, p=[0.5, 0.3, 0.2])
    weights = (1 + 1e-3 * rng.permutation(n) / n) * np.where(rng.random(n) < negative, -1, 1)
    return EventSample(AXES, _x(n), theta=theta[:, None], theta_names=("c",), weights=weights)


def test_arrays_are_kept():
    x = _x()
    theta = np.stack([np.arange(20.0), np.arange(20.0) % 3], axis=1)
    weights = np.linspace(-0.5, 2, 20)
    sample = EventSample(AXES, x, theta=theta, theta_names=("a", "b"), weights=weights)
    assert sample.observables == AXES
    assert sample.theta_names == ("a", "b")
    np.testing.assert_array_equal(sample.x, x)
    np.testing.assert_array_equal(sample.theta, theta)
    np.testing.assert_array_equal(sample.weights, weights)
    np.testing.assert_array_equal(sample.column("angle"), x[:, 1])
    assert (len(sample), sample.n_events, sample.is_weighted) == (20, 20, True)
    assert sample.theta_range == ((0.0, 19.0), (0.0, 2.0))
    assert sample.effective_events == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert repr(sample) == "EventSample(20 events of (mass, angle) given a, b)"


def test_defaults():
    sample = EventSample([MASS], [[1], [2], [3]])
    assert sample.x.dtype == np.float64
    assert sample.theta.shape == (3, 0)
    assert sample.theta_range == ()
    assert sample.weights.tolist() == [1.0, 1.0, 1.0]
    assert not sample.is_weighted
    assert sample.effective_events == 3
    assert repr(sample) == "EventSample(3 events of (mass))"


def test_a_single_theta_may_be_flat():
    sample = EventSample(AXES, _x(4), theta=[0.1, 0.2, 0.3, 0.4], theta_names=["c"])
    assert sample.theta.tolist() == [[0.1], [0.2], [0.3], [0.4]]


def test_events_at_the_ends_of_the_range_are_inside():
    EventSample(AXES, [[0.0, -1.0], [10.0, 1.0]])
    EventSample([JETS], [[0], [3]])


def test_unknown_column():
    with pytest.raises(KeyError, match="no observable 'mas'; there are: mass, angle"):
        EventSample(AXES, _x()).column("mas")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            _x(20).T,
            r"shape \(n_events, 2\), one column per observable, got shape \(2, 20\); it looks transposed, use x.T",
        ),
        (_x(20)[:, :1], r"shape \(n_events, 2\).*got shape \(20, 1\)$"),
        (_x(20)[:, 0], r"shape \(n_events, 2\).*got shape \(20,\)$"),
        (_x(20)[None], r"got shape \(1, 20, 2\)$"),
        (np.empty((0, 2)), "the sample holds no events"),
        ([["a", "b"]], "x must be an array of numbers"),
        ([[1.0, 0.0], [1.0]], "x must be an array of numbers"),
        (None, "got shape"),
    ],
)
def test_wrong_shape_of_x(x, message):
    with pytest.raises(ValueError, match=message):
        EventSample(AXES, x)


def test_flat_x_of_one_observable_gets_a_hint():
    with pytest.raises(ValueError, match=r"got shape \(3,\); use x.reshape\(-1, 1\)"):
        EventSample([MASS], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad):
    x = _x(20)
    x[[7, 11], 1] = bad
    with pytest.raises(
        ValueError, match=r"'angle': 2 of 20 values are NaN or infinite, the first at row 7; remove .* cut"
    ):
        EventSample(AXES, x)


def test_events_outside_a_range():
    x = _x(20)
    x[[3, 5, 9], 0] = 11.5, -1, 12
    with pytest.raises(
        ValueError,
        match=r"'mass': 3 of 20 events lie outside \[0, 10\] GeV, the first at row 3 with 11.5; widen the range or cut "
        r'them, for example cut="\(mass >= 0\) & \(mass <= 10\)"',
    ):
        EventSample(AXES, x)


def test_columns_in_another_order_are_noticed_by_their_range():
    with pytest.raises(ValueError, match=r"'angle': .* events lie outside \[-1, 1\]"):
        EventSample(AXES, _x(20)[:, ::-1] * (1, 0.9) + (1, 0))


def test_discrete_observables_hold_integers():
    with pytest.raises(ValueError, match=r"'jets' is discrete, but row 1 holds 1.25, which is no integer; use kind="):
        EventSample([JETS], [[0], [1.25], [2]])
    with pytest.raises(ValueError, match=r"'jets': 1 of 2 events lie outside \[0, 3\], the first at row 1 with 4"):
        EventSample([JETS], [[0], [4]])


@pytest.mark.parametrize(
    ("theta", "names", "message"),
    [
        (np.ones((20, 2)), ("a",), r"expected theta of shape \(20, 1\).*\['a'\], got shape \(20, 2\)"),
        (np.ones((2, 20)), ("a", "b"), r"expected theta of shape \(20, 2\).*one row per event.*got shape \(2, 20\)"),
        (np.ones(20), ("a", "b"), r"expected theta of shape \(20, 2\).*got shape \(20,\)"),
        (np.ones(2), ("a", "b"), r"expected theta of shape \(20, 2\).*got shape \(2,\)"),
        (np.ones((19, 1)), ("a",), r"expected theta of shape \(20, 1\).*got shape \(19, 1\)"),
        (np.ones((20, 1)), (), "theta is given without theta_names; name its columns"),
        (None, ("a",), r"theta_names \('a',\) are given without theta"),
        (np.ones((20, 2)), ("a", "a"), r"theta_names must be different, non-empty texts, got \('a', 'a'\)"),
        (np.ones((20, 1)), ("",), "theta_names must be different, non-empty texts"),
        (np.ones((20, 1)), (3,), "theta_names must be different, non-empty texts"),
        (np.ones((20, 1)), "a", r"theta_names must be a list of names, got the text 'a'; write \('a',\)"),
        (["x"] * 20, ("a",), "theta must be an array of numbers"),
    ],
)
def test_bad_theta(theta, names, message):
    with pytest.raises(ValueError, match=message):
        EventSample(AXES, _x(20), theta=theta, theta_names=names)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_theta_that_is_not_finite(bad):
    theta = np.ones((20, 2))
    theta[4, 1] = bad
    with pytest.raises(ValueError, match="theta 'b' is NaN or infinite, first at row 4"):
        EventSample(AXES, _x(20), theta=theta, theta_names=("a", "b"))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(19), r"expected weights of shape \(20,\), one per event, got shape \(19,\)"),
        (np.ones((20, 1)), r"expected weights of shape \(20,\), one per event, got shape \(20, 1\)"),
        (2.0, r"expected weights of shape \(20,\)"),
        ([1.0] * 6 + [np.nan] * 14, "14 of 20 weights are NaN or infinite, the first at row 6"),
        ([1.0] * 19 + [np.inf], "1 of 20 weights are NaN or infinite, the first at row 19"),
        (np.zeros(20), "the weights sum to 0; a density needs a positive total weight"),
        ([1.0] * 10 + [-1.0] * 10, r"the weights sum to 0; .* \(10 of 20 weights are negative\)"),
        ([0.5] * 8 + [-1.0] * 12, r"the weights sum to -8; .* \(12 of 20 weights are negative\)"),
        (["heavy"] * 20, "weights must be an array of numbers"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        EventSample(AXES, _x(20), weights=weights)


def test_bad_observables():
    with pytest.raises(ValueError, match="more than once: mass"):
        EventSample([MASS, MASS], _x())
    with pytest.raises(TypeError, match="must be Observable objects"):
        EventSample(["mass", "angle"], _x())


@pytest.mark.parametrize("mask", [np.arange(20) % 3 == 0, np.array([5, 2, 2, 19])])
def test_select(mask):
    x, theta = _x(20), np.arange(20.0)[:, None]
    weights = np.linspace(1, 2, 20)
    part = EventSample(AXES, x, theta=theta, theta_names=("c",), weights=weights).select(mask)
    np.testing.assert_array_equal(part.x, x[mask])
    np.testing.assert_array_equal(part.theta, theta[mask])
    np.testing.assert_array_equal(part.weights, weights[mask])
    assert part.theta_names == ("c",)


def test_select_keeps_a_sample_unweighted_and_refuses_nothing():
    sample = EventSample(AXES, _x(20))
    assert not sample.select(np.arange(20) < 5).is_weighted
    with pytest.raises(ValueError, match="holds no events"):
        sample.select(np.zeros(20, dtype=bool))


def test_concatenate():
    first = EventSample(AXES, _x(5), theta=np.zeros(5), theta_names=("c",), weights=np.full(5, 0.5))
    second = EventSample(AXES, _x(3, seed=1), theta=np.ones(3), theta_names=("c",))
    joined = EventSample.concatenate([first, second])
    np.testing.assert_array_equal(joined.x, np.concatenate([first.x, second.x]))
    assert joined.theta[:, 0].tolist() == [0.0] * 5 + [1.0] * 3
    assert joined.weights.tolist() == [0.5] * 5 + [1.0] * 3
    assert joined.is_weighted
    assert joined.theta_names == ("c",)


def test_concatenate_without_theta_and_weights():
    joined = EventSample.concatenate([EventSample(AXES, _x(5)), EventSample(AXES, _x(3))])
    assert joined.n_events == 8
    assert not joined.is_weighted
    assert joined.theta_names == ()


@pytest.mark.parametrize(
    "other",
    [
        EventSample(AXES[::-1], _x(4)[:, ::-1], theta=np.ones(4), theta_names=("c",)),
        EventSample((Observable("mass", 0, 11, unit="GeV"), ANGLE), _x(4), theta=np.ones(4), theta_names=("c",)),
        EventSample(AXES, _x(4), theta=np.ones(4), theta_names=("d",)),
        EventSample(AXES, _x(4)),
    ],
)
def test_concatenate_refuses_other_axes(other):
    sample = EventSample(AXES, _x(5), theta=np.zeros(5), theta_names=("c",))
    with pytest.raises(ValueError, match=r"sample 2 has other observables or theta names than sample 0: .*\['c'\]"):
        EventSample.concatenate([sample, sample, other])


def test_concatenate_of_nothing():
    with pytest.raises(ValueError, match="no sample to concatenate"):
        EventSample.concatenate([])


def _rows(sample: EventSample) -> set[tuple[float, ...]]:
    return set(map(tuple, np.column_stack([sample.x, sample.theta, sample.weights])))


def _strata(sample: EventSample) -> Counter:
    return Counter(zip(sample.theta[:, 0], np.sign(sample.weights), strict=True))


@pytest.mark.parametrize("fractions", [(0.8, 0.2), (0.5, 0.3, 0.2), (0.07, 0.93)])
def test_split_keeps_theta_mixture_signs_and_events(fractions):
    sample = _grid_sample()
    parts = sample.split(*fractions, seed=3)
    assert len(parts) == len(fractions)
    # Every event with its theta and its weight, unchanged, exactly once.
    assert sum(len(part) for part in parts) == len(sample)
    assert set.union(*(_rows(part) for part in parts)) == _rows(sample)
    whole = _strata(sample)
    assert len(whole) == 6
    for part, fraction in zip(parts, fractions, strict=True):
        found = _strata(part)
        assert all(abs(found[key] - fraction * count) <= 1 for key, count in whole.items())


def test_split_is_random_and_reproducible():
    sample = _grid_sample()
    first, again, other = (sample.split(0.5, 0.5, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.x, again.x)
    shared = len(_rows(first) & _rows(other))
    # Half of the 500 events are shared by chance: 250 with a standard deviation of 11.
    assert 190 < shared < 310
    # The choice does not follow the order of the rows either.
    early = np.isin(sample.x[:, 0], first.x[:, 0])[:500].sum()
    assert 190 < early < 310


def test_split_with_theta_of_every_event():
    rng = np.random.default_rng(4)
    n = 5000
    theta = rng.uniform(-1, 1, (n, 1))
    weights = np.where(rng.random(n) < 0.2, -1.0, 1.0)
    sample = EventSample(AXES, _x(n), theta=theta, theta_names=("c",), weights=weights)
    small, large = sample.split(0.25, 0.75, seed=5)
    assert abs(len(small) - 1250) <= 2
    assert abs((small.weights < 0).sum() - 0.25 * (weights < 0).sum()) <= 1
    np.testing.assert_array_equal(np.sort(np.concatenate([small.theta, large.theta]), axis=0), np.sort(theta, axis=0))
    # Mean of 1250 uniform numbers: standard deviation 0.016.
    assert abs(small.theta.mean() - theta.mean()) < 0.06


def test_split_without_theta_and_weights():
    small, large = EventSample(AXES, _x(1000)).split(0.1, 0.9)
    assert abs(len(small) - 100) <= 1
    assert len(small) + len(large) == 1000
    assert not small.is_weighted


@pytest.mark.parametrize("fractions", [(), (1.0,), (0.5, 0.4), (0.7, 0.4), (1.2, -0.2), (1.0, 0.0), (np.nan, 0.5)])
def test_split_refuses_bad_fractions(fractions):
    with pytest.raises(ValueError, match=r"fractions must be positive and sum to one, got .*; for example 0.8, 0.2"):
        _grid_sample(50).split(*fractions)


def test_split_refuses_an_empty_part():
    with pytest.raises(ValueError, match=r"part 1 with fraction 1e-06 of 50 events would be empty"):
        EventSample(AXES, _x(50)).split(1 - 1e-6, 1e-6)


def test_training_needs_more_than_one_value_of_theta():
    theta = np.stack([np.arange(500.0), np.full(500, 0.25)], axis=1)
    sample = EventSample(AXES, _x(500), theta=theta, theta_names=("a", "b"))
    message = r"theta 'b' takes the single value 0.25 in all 500 events.*add samples at other values, or leave it out"
    with pytest.raises(ValueError, match=message):
        check_sample(sample)
    with pytest.raises(ValueError, match=message):
        train(sample, progress=False)


def test_training_needs_enough_events():
    check_sample(EventSample(AXES, _x(FEWEST_EVENTS)))
    with pytest.raises(ValueError, match=f"the sample has 99 events.*need at least {FEWEST_EVENTS}. Add events"):
        check_sample(EventSample(AXES, _x(99)))
    with pytest.raises(ValueError, match="the sample has 99 events"):
        train(EventSample(AXES, _x(99)), progress=False)


def test_training_needs_events_for_every_column():
    theta = np.random.default_rng(0).random((174, 5))
    names = tuple("abcde")
    needed = 7 * FEWEST_PER_COLUMN
    with pytest.raises(ValueError, match=f"2 observables and 5 parameters need at least {needed}"):
        check_sample(EventSample(AXES, _x(174), theta=theta, theta_names=names))


def test_negative_weights_reduce_the_events_that_count():
    weights = np.where(np.arange(300) < 200, 1.0, -1.0)
    sample = EventSample(AXES, _x(300), weights=weights)
    assert sample.effective_events == pytest.approx(100**2 / 300)
    with pytest.raises(ValueError, match="300 events with the statistical power of 33 unweighted ones"):
        check_sample(sample)


def test_training_needs_a_sample():
    with pytest.raises(
        TypeError, match=r"needs an EventSample, got ndarray; build one with EventSample\(observables, x\)"
    ):
        train(_x(500))


def test_a_split_is_independent_of_events_drawn_with_the_same_seed():
    for seed in range(3):
        x = np.random.default_rng(seed).random((10_000, 1))
        _, held = EventSample([Observable("x", 0, 1)], x).split(0.9, 0.1, seed=seed)
        # Five standard errors of the mean; using the same random numbers again would shift it by 0.45.
        assert abs(held.x.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 1000)
