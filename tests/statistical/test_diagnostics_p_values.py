"""P-values of the diagnostics are uniform for a right model: 200 repetitions, small samples, fixed seeds.

A Kolmogorov-Smirnov test of 200 p-values at 0.1 % notices a distribution that is off by 0.14 somewhere. Of uniform
ones 10 +- 2 % lie in the outermost 5 % on either side. Repetitions with a wrong model must fail.
"""

from __future__ import annotations

import numpy as np
import pytest
from gaussian_density import GaussianDensity, events
from scipy import stats
from sklearn.linear_model import LogisticRegression

from zfit_egmm.diagnostics.samples import model_events
from zfit_egmm.diagnostics.shapes import classifier as two_sample
from zfit_egmm.diagnostics.shapes.classifier import classifier_test
from zfit_egmm.diagnostics.shapes.coverage import highest_density_coverage
from zfit_egmm.diagnostics.shapes.divergences import observable_divergences
from zfit_egmm.diagnostics.shapes.energy import energy_test
from zfit_egmm.diagnostics.shapes.transforms import calibration
from zfit_egmm.diagnostics.statistics.auc import ScoredPairs

RIGHT = GaussianDensity(correlation=0.3)
REPETITIONS = 200


def _calibration(density, sample, seed):
    return calibration(density, sample, seed=seed).p_value


def _coverage(density, sample, seed):
    return highest_density_coverage(density, sample, copies=9, max_events=400, seed=seed)[0].test.p_value


def _energy(density, sample, seed):
    return energy_test(density, sample, n_events=250, n_permutations=99, seed=seed).p_value


def _chi_square(density, sample, seed):
    return observable_divergences(density, sample, n_permutations=99, seed=seed)[0].chi_square.p_value


def _classifier(density, sample, seed):
    return classifier_test(density, sample, seed=seed).p_value


def _ordinary_cross_validation(density, sample, seed):
    """P-value of the mean area if every fold is scored by a classifier trained with all others."""
    model = model_events(density, sample, seed=seed)
    rng = np.random.default_rng(seed)
    folds = np.array_split(rng.permutation(len(sample)), 5)
    areas, swapped = [], []
    for number, rows in enumerate(folds):
        known = np.concatenate(folds[:number] + folds[number + 1 :])
        machine = LogisticRegression()
        machine.fit(np.concatenate([sample.x[known], model.x[known]]), np.repeat([0, 1], len(known)))
        scores = [machine.predict_proba(events.x[rows])[:, 1] for events in (sample, model)]
        pairs = ScoredPairs(*scores, sample.weights[rows])
        areas.append(pairs.auc()[0])
        swapped.append(pairs.swapped_aucs(99, rng))
    return (1 + np.sum(np.mean(swapped, axis=0) >= np.mean(areas))) / 100


@pytest.fixture(autouse=True)
def _quick_classifier(monkeypatch):
    # Linear classifiers take no time, and depend on the labels that they are trained with as much as any.
    monkeypatch.setattr(two_sample, "untrained", lambda *_: LogisticRegression())
    monkeypatch.setattr(two_sample, "N_PERMUTATIONS", 99)


def _p_values(function, density, kind, n_events, repetitions):
    return np.array([function(density, events(RIGHT, n_events, seed, kind=kind), seed) for seed in range(repetitions)])


def _share_in_tails(p_values):
    return np.mean((p_values <= 0.05) | (p_values > 0.95))


NARROW, SHIFTED = GaussianDensity(correlation=0.3, width=0.7), GaussianDensity(correlation=0.3, shift=0.4)


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("function", "kind", "n_events", "wrong"),
    [
        (_calibration, "plain", 3000, GaussianDensity(correlation=0.3, width=1.05)),
        (_calibration, "negative", 3000, GaussianDensity(correlation=0.3, width=1.05)),
        (_coverage, "plain", 1000, NARROW),
        (_energy, "plain", 300, SHIFTED),
        (_energy, "negative", 300, SHIFTED),
        (_chi_square, "weighted", 1000, SHIFTED),
        (_classifier, "negative", 300, SHIFTED),
    ],
)
def test_p_values_are_uniform_for_a_right_model_only(function, kind, n_events, wrong):
    p_values = _p_values(function, RIGHT, kind, n_events, REPETITIONS)
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    assert _share_in_tails(p_values) < 0.17
    assert stats.kstest(_p_values(function, wrong, kind, n_events, 50), "uniform").pvalue < 1e-6


@pytest.mark.statistical
def test_ordinary_cross_validation_would_find_fault_with_right_models_too_often():
    # Why the classifier test uses its folds in order. The mean area has twice the variance that swaps of labels give:
    # 12 % instead of 5 % of the p-values lie below 0.05.
    assert _share_in_tails(_p_values(_ordinary_cross_validation, RIGHT, "plain", 300, REPETITIONS)) > 0.17
