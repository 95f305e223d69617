"""Diagnostics against independent programs and against exact values, on the toy whose density is known.

Prints one line of JSON:

- ``auc``: the classifier test of this package, trees and network, on the very same events the same trees in the cross
  validation of scikit-learn and the same network in the ``c2st`` of sbi (if it is installed), and the largest area that
  any classifier can reach;
- ``kl``: Kullback-Leibler divergence per event from the truth, of this package and by a sum written out here;
- ``calibration``: p-values of each factor from this package, and from scipy on the same transforms.

    python benchmarks/diagnostics.py --events 40000
    python benchmarks/diagnostics.py --model toy.egmm --seed 1
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from scipy import stats
from threadpoolctl import threadpool_limits

from zfit_egmm import Density, TrainingConfig, train
from zfit_egmm.demo import toy
from zfit_egmm.diagnostics.samples import log_densities, model_events
from zfit_egmm.diagnostics.shapes.classifier import classifier_test, untrained
from zfit_egmm.diagnostics.shapes.divergences import true_divergence
from zfit_egmm.diagnostics.shapes.transforms import N_BINS, calibration
from zfit_egmm.diagnostics.statistics.auc import ScoredPairs
from zfit_egmm.events.sample import EventSample

VALUES = (-1.0, -0.5, 0.0, 0.5, 1.0)
EXACT_FACTOR = 4
N_FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a density of the toy; by default one is trained for a short time")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6, help="of the training")
    options = parser.parse_args()
    density = Density.load(options.model) if options.model else trained(options.epochs, options.seed)
    sample = toy.grid_sample(options.events // len(VALUES) ** 2, VALUES, seed=1000 + options.seed)
    result = {
        "n_events": sample.n_events,
        "auc": areas(density, sample, options.seed),
        "kl": divergences(density, sample),
        "calibration": p_values(density, sample, options.seed),
    }
    print(json.dumps(result))


def trained(epochs: int, seed: int) -> Density:
    events = toy.grid_sample(1000, VALUES, seed=seed)
    return train(events, TrainingConfig.preset("fast", seed=seed, epochs=epochs), progress=False)


def areas(density: Density, sample: EventSample, seed: int) -> dict:
    """Areas of this package, of other programs, and the largest possible one with its error."""
    model = model_events(density, sample, seed=seed)
    sides = [np.concatenate([events.x, events.theta], axis=1) for events in (sample, model)]
    result: dict = {}
    for classifier, other in (("trees", scikit_learn_area), ("network", sbi_area)):
        start = time.monotonic()
        with threadpool_limits(1, user_api="openmp"):
            ours = classifier_test(density, sample, classifier=classifier, max_events=sample.n_events, seed=seed)
            seconds = [time.monotonic() - start]
            start = time.monotonic()
            theirs = other(*sides, seed)
            seconds.append(time.monotonic() - start)
        result[classifier] = {
            "zfit_egmm": [ours.auc, ours.auc_error],
            "p_value": ours.p_value,
            other.__name__.removesuffix("_area"): theirs,
            "seconds": [round(one, 1) for one in seconds],
        }
    many = toy.grid_sample(EXACT_FACTOR * sample.n_events // len(VALUES) ** 2, VALUES, seed=2000 + seed)
    partners = model_events(density, many, seed=seed + 1)
    scores = [
        log_densities(density, events.x, events.theta) - toy.log_prob(events.x, events.theta)
        for events in (many, partners)
    ]
    return {**result, "largest_possible": list(ScoredPairs(*scores, many.weights).auc())}


def scikit_learn_area(simulation: np.ndarray, model: np.ndarray, seed: int) -> float:
    """Area from ordinary cross validation with the same trees."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import KFold, cross_val_predict

    label = np.repeat([0, 1], [len(simulation), len(model)])
    trees = untrained("trees", len(label) * (N_FOLDS - 1) // N_FOLDS, seed)
    folds = KFold(N_FOLDS, shuffle=True, random_state=seed)
    rows = np.concatenate([simulation, model])
    return float(roc_auc_score(label, cross_val_predict(trees, rows, label, cv=folds, method="predict_proba")[:, 1]))


def sbi_area(simulation: np.ndarray, model: np.ndarray, seed: int) -> float | None:
    """Area from sbi with the same network."""
    try:
        import torch
        from sbi.utils.metrics import c2st
    except ImportError:
        return None
    network = untrained("network", (len(simulation) + len(model)) * (N_FOLDS - 1) // N_FOLDS, seed)[-1].get_params()
    del network["random_state"]
    sides = [torch.from_numpy(side) for side in (simulation, model)]
    return float(
        c2st(*sides, seed=seed, n_folds=N_FOLDS, metric="roc_auc", classifier="mlp", classifier_kwargs=network)
    )


def divergences(density: Density, sample: EventSample) -> dict:
    """The divergence from the truth, by the package and by hand."""
    ours = true_divergence(density, sample, toy.log_prob)
    by_hand = toy.log_prob(sample.x, sample.theta) - density.log_prob(sample.x, sample.theta)
    return {
        "zfit_egmm": [ours.value, ours.error],
        "by_hand": [float(by_hand.mean()), float(by_hand.std() / np.sqrt(len(by_hand)))],
    }


def p_values(density: Density, sample: EventSample, seed: int) -> dict:
    """Tests of uniformity, factor by factor; the chi squares are of the same bins and have to agree."""
    ours = calibration(density, sample, seed=seed)
    transforms = density.to_uniform(sample.x, sample.theta, seed=seed)
    counts = [np.histogram(u, np.linspace(0, 1, N_BINS + 1))[0] for u in transforms.T]
    return {
        "zfit_egmm_smooth": [factor.smooth.p_value for factor in ours.factors],
        "zfit_egmm_binned": [factor.binned.p_value for factor in ours.factors],
        "scipy_chisquare": [float(stats.chisquare(count).pvalue) for count in counts],
        "scipy_kstest": [float(stats.kstest(u, "uniform").pvalue) for u in transforms.T],
    }


if __name__ == "__main__":
    main()
