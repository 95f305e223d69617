"""Published configurations of the mixture family: tables 6, 5 and 3 of Menary and Price, "Learning to discover"."""

from __future__ import annotations

from dataclasses import replace

from zfit_egmm.families.egmm.networks import PaperNetwork
from zfit_egmm.families.egmm.settings import MixtureSettings
from zfit_egmm.training.config import TrainingConfig

_PAPER = TrainingConfig(
    model=MixtureSettings(PaperNetwork(), projection="linear"),
    schedule="plateau",
    learning_rate=1e-3,
    epochs=200,
    average_decay=0.0,
    weight_decay=0.0,
)

PAPER_TOY = replace(_PAPER, batch_size=500, rate_patience=2, stop_patience=8, min_delta=1e-6, validation_fraction=0.4)
PAPER_EWZJJ_4D = replace(
    _PAPER,
    model=MixtureSettings(
        PaperNetwork(n_components=30, logit_scale=0.125, mean_scale=0.125, width_scale=0.125), projection="linear"
    ),
    batch_size=5000,
    rate_patience=3,
    stop_patience=15,
    min_delta=1e-10,
    validation_fraction=0.0,
)
PAPER_EWZJJ_12D = replace(
    _PAPER,
    model=MixtureSettings(PaperNetwork(a1=200, b1=200, b2=50, n_layers=3, width_fraction=0.5), projection="linear"),
    batch_size=1000,
    epochs=400,
    rate_patience=3,
    stop_patience=12,
    validation_fraction=0.0,
)
