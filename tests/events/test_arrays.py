"""Data frames keep their names, masked arrays are not unmasked."""

from __future__ import annotations

import numpy as np
import pytest

from zfit_egmm import EventSample, Observable

AXES = (Observable("mass", 0, 10), Observable("angle", -1, 1))


class Frame:
    """The part of a data frame that is used."""

    def __init__(self, **columns):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._columns[name]

    def __array__(self, dtype=None, copy=None):
        return np.stack(list(self._columns.values()), axis=1)


MASS, ANGLE = np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])
FIELDS = np.array(list(zip(ANGLE, MASS, strict=True)), dtype=[("angle", float), ("mass", float)])


@pytest.mark.parametrize("x", [Frame(angle=ANGLE, mass=MASS, other=MASS), FIELDS], ids=["frame", "fields"])
def test_columns_are_taken_by_name(x):
    # As plain numbers the columns would be swapped, and both values lie inside both ranges.
    sample = EventSample([Observable("mass", -5, 5), Observable("angle", -5, 5)], x)
    np.testing.assert_array_equal(sample.x, np.stack([MASS, ANGLE], axis=1))


def test_theta_is_taken_by_name():
    theta = Frame(b=ANGLE, a=MASS)
    sample = EventSample(AXES, np.stack([MASS, ANGLE], axis=1), theta=theta, theta_names=("a", "b"))
    np.testing.assert_array_equal(sample.theta, np.stack([MASS, ANGLE], axis=1))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (Frame(mas=MASS, angle=ANGLE), "x has no column 'mass'; did you mean 'mas'?"),
        (Frame(e=MASS, f=ANGLE), "x has no column 'mass'; there are: 'e', 'f'"),
    ],
)
def test_columns_that_are_missing(x, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        EventSample(AXES, x)


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"angle": ANGLE, "mass": MASS, "w": [1.0, 2.0, 4.0]})
    sample = EventSample(AXES, frame, weights=frame["w"])
    np.testing.assert_array_equal(sample.x, np.stack([MASS, ANGLE], axis=1))
    assert EventSample(AXES, pandas.DataFrame(np.stack([MASS, ANGLE], axis=1))).x.tolist() == sample.x.tolist()
    with pytest.raises(ValueError, match="several columns of the same name"):
        EventSample(AXES, pandas.concat([frame, frame], axis=1))
    # Sorted columns would be combined with weights of other events.
    other = frame.sort_values("mass", ascending=False)
    with pytest.raises(ValueError, match=r"rows of weights have other labels than those of x.*weights.loc\[x.index\]"):
        EventSample(AXES, other, weights=frame["w"])
    matched = EventSample(AXES, other, weights=frame["w"].loc[other.index])
    assert matched.weights.tolist() == [4.0, 2.0, 1.0]
    holes = frame.astype({"mass": "Float64"})
    holes.loc[1, "mass"] = pandas.NA
    with pytest.raises(ValueError, match=r"NaN|must be an array of numbers"):
        EventSample(AXES, holes)


def test_masked_entries_are_refused_and_counted():
    x = np.stack([MASS, ANGLE], axis=1)
    masked = np.ma.masked_array(x, mask=[[False, False], [True, True], [False, True]])
    with pytest.raises(
        ValueError, match=r"x: 3 of 6 entries are masked, the first in row 1; leave .* x.filled\(value\)"
    ):
        EventSample(AXES, masked)
    with pytest.raises(ValueError, match="weights: 1 of 3 entries are masked, the first in row 2"):
        EventSample(AXES, x, weights=np.ma.masked_greater(MASS, 2.5))
    with pytest.raises(ValueError, match="theta: 1 of 3 entries are masked, the first in row 0"):
        EventSample(AXES, x, theta=np.ma.masked_less(MASS, 1.5), theta_names=("c",))
    with pytest.raises(ValueError, match="event_id: 1 of 3 entries are masked, the first in row 0"):
        EventSample(AXES, x, event_id=np.ma.masked_less(np.arange(3), 1))
    np.testing.assert_array_equal(EventSample(AXES, np.ma.masked_greater(x, 99)).x, x)
    fields = np.ma.masked_array(FIELDS, mask=[(0, 0), (0, 1), (0, 0)])
    with pytest.raises(ValueError, match="x: 1 of 6 entries are masked, the first in row 1"):
        EventSample(AXES, fields)


def test_masked_columns_in_a_list_are_refused():
    with pytest.raises(ValueError, match="x: 1 of 4 entries are masked, the first in row 1"):
        EventSample(AXES, [np.ma.masked_array([1.0, 0.1]), np.ma.masked_array([2.0, 0.2], mask=[False, True])])
