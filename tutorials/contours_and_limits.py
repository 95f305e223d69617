# %% [markdown]
# # Exclusion contours, a limit, and whether to believe them
#
# The [first tutorial](tutorial.md) went from events to a fit. This one goes from a fit to statements that a
# review asks for:
#
# 1. joint regions of two parameters, from a learned likelihood and from the true one side by side. This needs
#    events whose density is known: a toy of four observables and two parameters;
# 2. an upper limit on the yield of a signal in H → ZZ* → 4ℓ, from the simulated events of the package;
# 3. the coverage of that limit.
#
# Run it as a script, or cell by cell in an editor that knows `# %%` cells:
#
#     python tutorials/contours_and_limits.py
#
# It takes five to ten minutes on two cores. Figures go to the folder named by the environment variable
# `TUTORIAL_OUT`.

# %%
import os
from importlib.resources import as_file, files
from pathlib import Path

os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import zfit
from matplotlib.figure import Figure
from scipy.stats import chi2

from zfit_egmm import EventSample, TrainingConfig, train
from zfit_egmm.demo import toy
from zfit_egmm.demo.events import load_events
from zfit_egmm.inference import FromEvents, Likelihood, contour, run_toys, upper_limit
from zfit_egmm.inference.plots import plot_limits
from zfit_egmm.pdf import EGMM

OUT = Path(os.environ.get("TUTORIAL_OUT", "tutorial_output"))
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# `TUTORIAL_FAST=1` makes a quick run, to see that everything works. It changes only the numbers below.

# %%
FAST = os.environ.get("TUTORIAL_FAST") == "1"
EVENTS_PER_POINT = 500 if FAST else 10_000
EPOCHS = 2 if FAST else None
N_POINTS = 9 if FAST else 31
N_TOYS = 2 if FAST else 50
SEED = 1

# %% [markdown]
# ## 1. Regions of two parameters
#
# The toy has four observables: a falling spectrum, a second one that is close to it, an angle, and a box with
# soft edges whose position depends on the others. Both parameters, `cx` and `cy`, act on several of them, and
# the truth has a kink where one of them is zero. Events are simulated at nine values of each.

# %%
sample = toy.grid_sample(EVENTS_PER_POINT, values=toy.DENSE, seed=SEED)
density = train(sample, TrainingConfig.preset("fast", seed=SEED, epochs=EPOCHS))

# %% [markdown]
# The data are 400 events at a point that was not simulated.

# %%
TRUE = {"cx": 0.8, "cy": -0.3}
x = toy.sample(400, (TRUE["cx"], TRUE["cy"]), seed=SEED)

parameters = {name: zfit.Parameter(name, 0.5, -1.5, 1.5) for name in TRUE}
pdf = EGMM(density, params=parameters)
loss = zfit.loss.UnbinnedNLL(pdf, zfit.Data(x, obs=pdf.space))
learned = contour(loss, ("cx", "cy"), n_points=N_POINTS)
print("best fit:", {name: round(value, 3) for name, value in learned.best.values.items()})

# %% [markdown]
# The true likelihood on the same events, at the same points. A joint region of two parameters at 68.27 % holds
# all points with -2 Δln L below 2.30, at 95.45 % below 6.18: quantiles of a chi-square distribution with two
# degrees of freedom.

# %%
first, second = learned.grid.x, learned.grid.y
truth = np.array([[-2 * toy.log_prob(x, np.array([a, b])).sum() for b in second] for a in first])
truth -= truth.min()

figure = Figure(figsize=(6.4, 5.2), layout="constrained")
axes = figure.add_subplot()
levels = [chi2.ppf(level, 2) for level in (0.6827, 0.9545)]
axes.contour(first, second, truth.T, levels, colors="k", linestyles="--")
axes.contour(first, second, learned.grid.minus2_log_ratio.T, levels, colors="#c23b22")
axes.plot([], [], "k--", label="true likelihood")
axes.plot([], [], color="#c23b22", label="learned likelihood")
axes.plot(TRUE["cx"], TRUE["cy"], "k*", label="true point")
axes.set(xlabel="cx", ylabel="cy")
axes.legend(loc="lower right")
figure.savefig(OUT / "contours.png", dpi=110)

# %% [markdown]
# ```{figure} images/contours.png
# :alt: Two pairs of contours, dashed for the true and red for the learned likelihood, close to each other
#
# Joint regions at 68.27 % and 95.45 %.
# ```
#
# The size of the regions agrees; the learned ones are shifted by a third (cx) and a half (cy) of the statistical error,
# after a minute of training. The default preset on five times as many events leaves a quarter and a sixth.
#
# One data set proves little. `benchmarks/coverage.py` repeats this with many, and counts how often the regions
# hold the true point; see [what was measured](explanation/measurements.md).
#
# ## 2. An upper limit
#
# Now a search: background events of q q̄ → ZZ, and maybe a few of H → ZZ* → 4ℓ. The signal has theta = 0, which is
# fixed: without a signal, its theta would mean nothing. A part of the events is set aside before the training,
# for data and toys.

# %%
observables = load_events(theta=0.0, n_signal=0, n_background=0, seed=SEED).signal.observables
with as_file(files("zfit_egmm") / "data" / "h4l_demo.root") as path:
    all_signal = EventSample.from_root(path, "signal", observables, cut="(mz2 < 65) & (theta == 0)")
    all_background = EventSample.from_root(path, "background", observables, cut="mz2 < 65")
signal_events, held_signal = all_signal.split(0.7, 0.3, seed=SEED)
background_events, held_background = all_background.split(0.7, 0.3, seed=SEED)
config = TrainingConfig.preset("fast", seed=SEED, epochs=EPOCHS)
signal, background = train(signal_events, config), train(background_events, config)

# %% [markdown]
# The data are 150 held-out background events, without any signal.

# %%
data = held_background.x[np.random.default_rng(SEED).choice(len(held_background), 150, replace=False)]
n_signal = zfit.Parameter("n_signal", 5, 0, 200)
n_background = zfit.Parameter("n_background", 150, 0, 500)
model = zfit.pdf.SumPDF(
    [EGMM(signal, extended=n_signal, name="signal"), EGMM(background, extended=n_background, name="background")]
)
likelihood = Likelihood(zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(data, obs=model.space)))
limits = upper_limit(likelihood, "n_signal", level=0.95)
print(limits)
plot_limits(limits).savefig(OUT / "limit.png", dpi=110)

# %% [markdown]
# ```{figure} images/limit.png
# :alt: CLs falling with the number of signal events, with the expected median and bands
#
# CLs against the number of signal events, observed and expected without a signal.
# ```
#
# ## 3. Does the limit hold?
#
# A limit at 95 % must lie above the true yield in at least 95 % of all experiments; CLs gives more for signals that the
# experiment hardly sees. `run_toys` takes any object that makes one toy from a point and a seed. This one draws
# held-out simulated events, so that it tests the densities too, and sets a limit.


# %%
class LimitToy:
    """Sets a limit on a data set of held-out events."""

    def __init__(self) -> None:
        columns = [observable.name for observable in observables]
        self.source = FromEvents([held_signal, held_background], ["n_signal", "n_background"], columns)

    def describe(self) -> dict:
        return {"kind": "limit", "level": 0.95}

    def check(self, point: dict) -> None:
        pass

    def run(self, point: dict, seed: np.random.SeedSequence) -> dict:
        likelihood.set_data(self.source(point, np.random.default_rng(seed)))
        limit = upper_limit(likelihood, "n_signal", asimov_events=2000).observed_limit
        return {"limit": limit, "holds": bool(limit >= point["n_signal"])}


points = [{"n_signal": n, "n_background": 150.0} for n in (5.0, 20.0)]
toys = run_toys(LimitToy, N_TOYS, points=points, seed=SEED, progress=False)
for number, point in enumerate(points):
    holds = toys.column("holds", number)
    error = np.sqrt(max(holds.mean() * (1 - holds.mean()), 1 / len(holds)) / len(holds))
    print(
        f"{point['n_signal']:g} signal events: limits hold in {100 * holds.mean():.1f} +- {100 * error:.1f} % of toys"
    )
