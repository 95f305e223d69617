"""The list of diagnostics: what the report, the thresholds, the results and the numbers are made from."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields

import numpy as np
import pytest
from scipy import stats

from zfit_egmm import EnsembleDensity, EventSample, Observable
from zfit_egmm.density.axes import Axes
from zfit_egmm.density.uniform import UniformDensity
from zfit_egmm.diagnostics import Thresholds, evaluate
from zfit_egmm.diagnostics.entry import Content, Entry, Task, Threshold
from zfit_egmm.diagnostics.report import evaluation, page, summary, verdict
from zfit_egmm.diagnostics.report.entries import ENTRIES, Results
from zfit_egmm.diagnostics.report.evaluation import in_order
from zfit_egmm.diagnostics.statistics.auc import share_below
from zfit_egmm.diagnostics.statistics.chi_square import ChiSquare
from zfit_egmm.diagnostics.statistics.means import weighted_mean

AXES = Axes((Observable("x", 0, 1), Observable("y", -2, 2)))


class OnlyLogDensity(UniformDensity, kind="test-only-log-density"):
    """Without conditionals."""

    @property
    def has_conditionals(self):
        return False

    def conditionals(self, theta):
        del theta
        raise TypeError("no conditional distributions here")


class Largest(Entry):
    """A diagnostic as somebody may add it."""

    name = "largest"
    title = "Largest value"
    reading = "The largest value of the first observable."
    good = "anything."
    thresholds = (Threshold("largest", 0.5, "largest value"),)
    keys = ("largest_value",)

    def run(self, task):
        return float(task.sample.x[:, 0].max())

    def findings(self, result, judge):
        return [judge.effect("largest", result, 0.0, f"The largest value is {result:.3f}.")]

    def numbers(self, result):
        return (result,)

    def content(self, result):
        return Content(items=[f"It is {result:.3f}."])


def _by_name(name):
    return next(entry for entry in ENTRIES if entry.name == name)


def _sample(n=200):
    return EventSample(AXES.observables, UniformDensity(AXES).sample(n, seed=1))


def test_names_and_keys_are_those_of_one_diagnostic_each():
    names = [entry.name for entry in ENTRIES]
    keys = [key for entry in ENTRIES for key in entry.keys]
    assert len(set(names)) == len(names)
    assert len(set(keys)) == len(keys)
    assert [entry.name for entry in fields(Results)] == names
    assert {name for entry in ENTRIES for name in (*entry.needs, *entry.uses)} <= set(names)
    assert all(entry.title and entry.reading and entry.good and entry.cost > 0 for entry in ENTRIES)


def test_diagnostics_run_after_those_whose_results_they_take():
    for entries in (ENTRIES, ENTRIES[::-1]):
        order = [entry.name for entry in in_order(entries)]
        assert sorted(order) == sorted(entry.name for entry in entries)
        for entry in entries:
            assert all(order.index(name) < order.index(entry.name) for name in (*entry.needs, *entry.uses))
    assert [entry.name for entry in in_order([_by_name("bias")])] == ["bias"]


def test_a_diagnostic_whose_input_is_missing_is_skipped():
    task = Task(UniformDensity(AXES), _sample(), 1.0, 0)
    assert "it needs the result of 'classifier'" in _by_name("worst_regions").why_not(task)


def test_the_calibration_asks_the_density_itself():
    members = [UniformDensity(AXES), UniformDensity(AXES)]
    for density in (members[0], EnsembleDensity(members)):
        assert _by_name("calibration").why_not(Task(density, _sample(), 1.0, 0)) is None
    for density in (OnlyLogDensity(AXES), EnsembleDensity([OnlyLogDensity(AXES)])):
        reason = _by_name("calibration").why_not(Task(density, _sample(), 1.0, 0))
        assert "has no map to uniform numbers: no conditional distributions here" in reason


def test_a_diagnostic_is_added_by_a_line_in_the_list(monkeypatch):
    # Thresholds and results are made from the list when the package is imported, so their names are taken from there.
    one = Largest()
    one.name, one.keys = "energy", ("energy_test",)
    one.thresholds = (Threshold("energy_p_value", 0.5, "largest value"),)
    monkeypatch.setattr(Largest, "findings", lambda _, r, judge: [judge.effect("energy_p_value", r, 0, f"It is {r}.")])
    for module in (evaluation, page, summary, verdict):
        monkeypatch.setattr(module, "ENTRIES", (one,))
    found = evaluate(UniformDensity(AXES), _sample(), thresholds=Thresholds(energy_p_value=0.5), progress=False)
    assert found.results.energy == found.sample.x[:, 0].max()
    assert [finding.status for finding in found.verdict.findings] == ["bad"]
    assert summary.summary(found)["energy_test"] == found.results.energy
    assert "The largest value of the first observable." in page.html(found)


def test_an_error_while_asking_whether_a_diagnostic_applies_loses_no_other(monkeypatch):
    class Broken(Largest):
        def why_not(self, task):
            del task
            raise ZeroDivisionError("of no use")

    monkeypatch.setattr(Broken, "name", "coverage")
    monkeypatch.setattr(Largest, "name", "energy")
    monkeypatch.setattr(evaluation, "ENTRIES", (Broken(), Largest()))
    monkeypatch.setattr(verdict, "ENTRIES", ())
    found = evaluate(UniformDensity(AXES), _sample(), progress=False)
    assert found.failed == {"coverage": "ZeroDivisionError: of no use"}
    assert found.results.energy is not None


def test_thresholds_are_made_from_the_list_and_do_not_change():
    thresholds = Thresholds(auc=0.01, decisive=("auc",))
    assert (thresholds.auc, thresholds["auc"], thresholds.theta_bias) == (0.01, 0.01, 0.3)
    assert set(thresholds) == set(Thresholds.names()) == {t.name for e in ENTRIES for t in e.thresholds}
    assert Thresholds().decisive == ("theta_bias", "auc", "visible")
    for other in (copy.deepcopy(thresholds), pickle.loads(pickle.dumps(thresholds))):
        assert (dict(other), other.decisive) == (dict(thresholds), ("auc",))
    with pytest.raises(ValueError, match="no threshold 'aux'; there are theta_bias, auc"):
        Thresholds(aux=1)
    with pytest.raises(ValueError, match="no threshold 'aux'"):
        Thresholds(decisive=("aux",))
    with pytest.raises(AttributeError, match="with_values"):
        thresholds.auc = 0.5
    with pytest.raises(AttributeError, match="no threshold 'aux'"):
        _ = thresholds.aux


def test_the_chi_square_does_not_depend_on_units():
    rng = np.random.default_rng(1)
    values = rng.normal(0.1, 1, (500, 3)) @ rng.normal(size=(3, 3))
    values = np.concatenate([values, values[:, :1] + values[:, 1:2]], axis=1)
    mean, covariance = values.mean(axis=0), np.cov(values.T) / 500
    known = mean[:3] @ np.linalg.solve(covariance[:3, :3], mean[:3])
    for unit in (np.ones(4), np.array([1e-9, 1e6, 1.0, 1e3])):
        found = ChiSquare.of_means(mean * unit, covariance * np.outer(unit, unit))
        assert (found.value, found.ndf) == (pytest.approx(known, rel=1e-6), 3)
    assert found.p_value == pytest.approx(stats.chi2.sf(known, 3), rel=1e-5)
    assert ChiSquare.of_means(np.zeros(2), np.zeros((2, 2))) == ChiSquare(0.0, 0, 1.0)


def test_means_and_shares_are_those_of_the_definition():
    rng = np.random.default_rng(2)
    values, weights = rng.normal(size=200).round(1), rng.choice([-1.0, 0.5, 2.0], 200, p=[0.1, 0.5, 0.4])
    at = rng.normal(size=50).round(1)
    below = (values[:, None] < at) + 0.5 * (values[:, None] == at)
    assert np.allclose(share_below(values, weights, at), weights @ below / weights.sum())
    mean, error = weighted_mean(values, np.ones(200))
    assert (mean, error) == (pytest.approx(values.mean()), pytest.approx(stats.sem(values)))
