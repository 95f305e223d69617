"""The expressive Gaussian mixture model: one truncated mixture per observable, conditioned by networks."""

DENSITIES = {"egmm": "zfit_egmm.families.egmm.density:MixtureDensity"}
MODELS = {"egmm": "zfit_egmm.families.egmm.settings:MixtureSettings"}
PRESETS = {
    "paper-toy": "zfit_egmm.families.egmm.presets:PAPER_TOY",
    "paper-ewzjj-4d": "zfit_egmm.families.egmm.presets:PAPER_EWZJJ_4D",
    "paper-ewzjj-12d": "zfit_egmm.families.egmm.presets:PAPER_EWZJJ_12D",
}
