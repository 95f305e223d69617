# %% [markdown]
# # Fitting the CP mixing of H → ZZ* → 4ℓ, step by step
#
# This tutorial learns two densities from simulated events and fits them to a small data set:
#
# * the signal, p(m4l, mz2, cos θ1, cos θ2, φ | theta), where theta is a CP-mixing parameter: 0 is a CP-even
#   Higgs boson, a large |theta| is CP-odd, and the sign of theta is the sign of the interference;
# * the background q q̄ → ZZ, which has no parameter.
#
# Both become ordinary zfit PDFs. Their sum is fitted without bins to pseudo-data, with theta and the two
# yields free. The events come with the package, so nothing has to be downloaded.
#
# Run it as a script, or cell by cell in an editor that knows `# %%` cells:
#
#     python tutorials/h4l_step_by_step.py
#
# Figures and models are written to the folder named by the environment variable `TUTORIAL_OUT`.

# %%
import os
import warnings
from importlib.resources import as_file, files
from pathlib import Path

os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib as mpl
import numpy as np
import zfit
from scipy.interpolate import CubicSpline

from zfit_egmm import Density, EventSample, Observable, TrainingConfig, train
from zfit_egmm.coordinates.projection import build_projection
from zfit_egmm.pdf import EGMM

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

OUT = Path(os.environ.get("TUTORIAL_OUT", "tutorial_output"))
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# `TUTORIAL_FAST=1` makes a quick run, to see that everything works. It changes only the numbers below: two
# epochs of training instead of those that the preset chooses, coarser scans of theta, and fewer events drawn
# from the models for comparisons and figures. The densities are then rough, and so is the fit.

# %%
FAST = os.environ.get("TUTORIAL_FAST") == "1"
EPOCHS = 2 if FAST else None
N_PROFILE = 9 if FAST else 33
N_SCAN = 17 if FAST else 65
N_DRAWN = 20_000 if FAST else 200_000
N_PER_HELD_EVENT = 2 if FAST else 10
SEED = 0

# %% [markdown]
# ## 1. Observables
#
# Every observable has a name (the branch in the ROOT file) and a hard range. The density is zero outside the
# range and integrates to exactly one inside, so choose ranges that the selection really imposes.
#
# `linear_fraction` says how much of a straight line goes into the map to the latent axis (section 3). Use 0.2
# for narrow peaks and falling spectra, and 0.8 for angles, which are almost flat already.
#
# The order matters a little: every observable is described given those before it.

# %%
observables = (
    Observable("m4l", 105, 140, unit="GeV", linear_fraction=0.2),
    Observable("mz2", 12, 65, unit="GeV"),
    Observable("cos_theta1", -1, 1, linear_fraction=0.8),
    Observable("cos_theta2", -1, 1, linear_fraction=0.8),
    Observable("phi", -np.pi, np.pi, unit="rad", linear_fraction=0.8),
)

# %% [markdown]
# ## 2. Events
#
# The signal tree holds samples at nine values of theta between -8 and 8, in one tree with a branch `theta`.
# Which value an event was generated with is all that the training needs to know about theta. The cut keeps
# the events inside the range of `mz2`; an event outside a range is an error, never dropped silently.

# %%
with as_file(files("zfit_egmm") / "data" / "h4l_demo.root") as path:
    all_signal = EventSample.from_root(path, "signal", observables, theta={"theta": "theta"}, cut="mz2 < 65")
    all_background = EventSample.from_root(path, "background", observables, cut="mz2 < 65")
print(all_signal)
print(all_background)
print("values of theta:", np.unique(all_signal.theta))

# %% [markdown]
# ### Pseudo-data
#
# Set 15 % of the events aside before any training. `split` keeps the share of every value of theta. From the
# held-out events take 300 signal events at theta = 1 and 200 background events: these 500 are "the data". The
# model never sees them in the training, just as it never sees real data.

# %%
TRUTH = {"theta": 1.0, "n_signal": 300, "n_background": 200}

signal_events, held_signal = all_signal.split(0.85, 0.15, seed=SEED)
background_events, held_background = all_background.split(0.85, 0.15, seed=SEED)

rng = np.random.default_rng([SEED, 3])
at_truth = held_signal.x[held_signal.theta[:, 0] == TRUTH["theta"]]
data = np.concatenate(
    [
        at_truth[rng.choice(len(at_truth), TRUTH["n_signal"], replace=False)],
        held_background.x[rng.choice(len(held_background), TRUTH["n_background"], replace=False)],
    ]
)
data = rng.permutation(data)
print(f"{len(signal_events)} signal and {len(background_events)} background events to train with")
print(f"{len(data)} other events as data")

# %% [markdown]
# ## 3. The latent projection
#
# A mixture of Gaussians is bad at hard edges and at narrow peaks on a wide range. So each observable is first
# mapped onto a latent axis u from -5 to 5 on which its spectrum is nearly flat and falls off smoothly at the
# ends. `train` derives these maps by itself; here one is built by hand, only to look at it.
#
# The figure shows `m4l`, with its narrow peak, and `phi`. Left: the spectrum. Middle: the map. Right: the same
# events on the latent axis. A straight-line share of 0.2 stretches the peak over most of the axis; a share of
# 0.8 leaves an angle almost as it is.

# %%
figure, panels = plt.subplots(2, 3, figsize=(11, 6.2), layout="constrained")
for (left, middle, right), name in zip(panels, ("m4l", "phi"), strict=True):
    observable = next(entry for entry in observables if entry.name == name)
    values = signal_events.column(name)
    projection = build_projection(observable, values)
    grid = np.linspace(observable.low, observable.high, 1001)
    left.hist(values, 70, range=(observable.low, observable.high), color="#c23b22", alpha=0.75)
    left.set(xlabel=observable.label, ylabel="events")
    middle.plot(grid, projection.latent(grid)[0], color="k")
    middle.set(xlabel=observable.label, ylabel="latent coordinate u")
    right.hist(projection.latent(values)[0], 70, range=(-5, 5), color="#6d9dc5")
    right.set(xlabel=f"u of {name}", ylabel="events")
figure.savefig(OUT / "latent_projection.png", dpi=110)
plt.close(figure)

# %% [markdown]
# ## 4. Training
#
# `TrainingConfig.preset("fast")` is meant for a first look. `"standard"`, the default, takes longer and gives better
# densities; the mean of several of them, from `train_ensemble`, is better still. Everything else, the size of the
# networks included, is chosen from the size of the sample. The seed fixes everything random.

# %%
config = TrainingConfig.preset("fast", seed=SEED, epochs=EPOCHS)
signal = train(signal_events, config)
background = train(background_events, config)

# %% [markdown]
# ### The verdict
#
# Every density carries a record of its training. The verdict says in words whether the training has converged
# and whether it over-fits: whether held-out events are described worse than the training events.

# %%
for name, density in (("signal", signal), ("background", background)):
    print(f"{name}: {density.training['summary']['verdict']}")

figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for axes, (name, density) in zip(panels, (("signal", signal), ("background", background)), strict=True):
    history = density.training["history"]
    epochs = [row["epoch"] for row in history]
    training, validation = ([sum(row[kind]) for row in history] for kind in ("training", "validation"))
    axes.plot(epochs, training, ".-", color="0.6", label="training events")
    axes.plot(epochs, validation, ".-", color="k", label="held-out events")
    # The first points of the training loss are far above everything else.
    axes.set_ylim(min(training + validation) - 0.01, max(validation) + 0.06)
    axes.set(title=name, xlabel="epoch", ylabel="loss [nats per event]")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.legend(frameon=False)
figure.savefig(OUT / "training.png", dpi=110)
plt.close(figure)

# %% [markdown]
# ## 5. Does the density describe events it has not seen?
#
# A verdict is about the training, not about physics: compare with the held-out 15 %.
#
# First the spectra. `sample` takes one theta per event, so the generated events can have exactly the mixture of
# theta that the held-out events have. Cut every axis into 25 bins of equal expected content and compute a
# chi-square. With 24 degrees of freedom one value in twenty exceeds 36 by chance.
#
# The second column compares the held-out events with the training events. Where both columns are large, the
# held-out events fluctuate; where only the first is, the density is wrong.

# %%
N_BINS = 25


def chi_square(events, reference, edges):
    """Chi-square between two samples of the same density, with the Poisson fluctuations of both."""
    scale = len(events) / len(reference)
    counts = np.histogram(events, edges)[0]
    expected = np.histogram(reference, edges)[0] * scale
    return np.sum((counts - expected) ** 2 / (expected * (1 + scale)))


many_theta = np.repeat(held_signal.theta, N_PER_HELD_EVENT, axis=0)
generated = signal.sample(len(many_theta), many_theta, seed=SEED + 1)
print(f"chi-square of {len(held_signal)} held-out signal events of all theta for {N_BINS - 1} degrees of freedom")
print("             against the model   against the training events")
for column, observable in enumerate(observables):
    edges = np.quantile(generated[:, column], np.linspace(0, 1, N_BINS + 1))
    edges[[0, -1]] = observable.low, observable.high
    held, trained = held_signal.x[:, column], signal_events.x[:, column]
    to_model, to_training = chi_square(held, generated[:, column], edges), chi_square(held, trained, edges)
    print(f"   {observable.name:<12} {to_model:8.1f} {to_training:20.1f}")

# %% [markdown]
# The fit lives on the dependence on theta, so look at that too. The angle `phi` between the decay planes tells
# the sign of theta, and `cos_theta1` its size. Points are held-out events, lines are the model.

# %%
COLOURS = ("#c23b22", "k", "#3b6ea5")
figure, panels = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained")
for axes, name, theta_values in zip(panels, ("phi", "cos_theta1"), ((-2.0, 0.0, 2.0), (0.0, 2.0, 8.0)), strict=True):
    column = [entry.name for entry in observables].index(name)
    observable = observables[column]
    edges = np.linspace(observable.low, observable.high, 11)
    centres = 0.5 * (edges[1:] + edges[:-1])
    for number, (theta_value, colour) in enumerate(zip(theta_values, COLOURS, strict=True)):
        events = held_signal.x[held_signal.theta[:, 0] == theta_value, column]
        counts = np.histogram(events, edges)[0]
        per_unit = len(events) * (edges[1] - edges[0])
        # Shifted a little, so that the error bars do not hide each other.
        shifted = centres + 0.12 * (number - 1) * (edges[1] - edges[0])
        axes.errorbar(shifted, counts / per_unit, np.sqrt(counts) / per_unit, fmt=".", color=colour, capsize=0)
        drawn = signal.sample(N_DRAWN, [theta_value], seed=SEED + 2)[:, column]
        density = np.histogram(drawn, edges, density=True)[0]
        axes.stairs(density, edges, baseline=None, color=colour, label=f"theta = {theta_value:g}")
    bottom, top = axes.get_ylim()
    axes.set(xlabel=observable.label, ylabel="density", ylim=(bottom, top + 0.12 * (top - bottom)))
    axes.legend(frameon=False, loc="upper center", ncols=3)
figure.savefig(OUT / "held_out.png", dpi=110)
plt.close(figure)

# %% [markdown]
# ### Closure in theta
#
# The sharpest test asks the question of the analysis: which theta do events of a known theta prefer? Take all
# held-out signal events of one theta, about 1500, and scan the likelihood. A density without error would give
# the true theta within the quoted 68.3 % range about two times in three.
#
# Shifts well beyond that range are errors of the density. It was trained with 8500 events per value of theta, only
# some 30 times as many as there are signal events in the data, and has partly learned their statistical
# fluctuations. The intervals of the fit below know nothing of this, because they take the density as exact. So
# here they tend to be too narrow. A real analysis trains on more events, and fits pseudo-data made of simulated
# events to measure how often its intervals hold the true value.

# %%
low, high = signal.theta_range[0]
scan, fine = np.linspace(low, high, N_SCAN), np.linspace(low, high, 1601)
print("true theta   preferred   68.3 % range")
for value in np.unique(held_signal.theta):
    events = held_signal.x[held_signal.theta[:, 0] == value]
    rise = CubicSpline(scan, [-2 * signal.log_prob(events, [point]).sum() for point in scan])(fine)
    inside = fine[rise - rise.min() <= 1]
    print(f"   {value:5.1f}       {fine[rise.argmin()]:5.2f}     {inside.min():5.2f} to {inside.max():5.2f}")

# %% [markdown]
# ## 6. The zfit model
#
# From here on it is plain zfit. `EGMM` wraps a density as a PDF; its parameter is a zfit parameter of your own,
# and its limits should be the trained range: outside, the density is an extrapolation and says so in a warning.
# With `extended` the PDF has a yield, and `SumPDF` adds signal and background. All PDFs of one sum describe the
# same observables in the same box.

# %%
theta = zfit.Parameter("theta", 0.0, low, high)
n_signal = zfit.Parameter("n_signal", len(data) / 2, 0, 2 * len(data))
n_background = zfit.Parameter("n_background", len(data) / 2, 0, 2 * len(data))
parameters = [theta, n_signal, n_background]

model = zfit.pdf.SumPDF(
    [
        EGMM(signal, params={"theta": theta}, extended=n_signal, name="signal"),
        EGMM(background, extended=n_background, name="background"),
    ]
)
loss = zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(data, obs=model.space))

# %% [markdown]
# ## 7. The fit
#
# `gradient="zfit"` gives Minuit exact derivatives, by automatic differentiation, instead of numerical ones.
#
# A likelihood in theta can have more than one minimum: the size of the CP-odd part is often better known than
# the sign of the interference. Minuit walks downhill to the nearest minimum, so start from several values of
# theta and keep the best.

# %%
minimizer = zfit.minimize.Minuit(gradient="zfit")
results = []
for start in (-3.0, 0.0, 3.0):
    zfit.param.set_values(parameters, [start, len(data) / 2, len(data) / 2])
    results.append(minimizer.minimize(loss))
    reached = float(results[-1].params[theta]["value"])
    print(f"start at {start:+g}: theta = {reached:+.2f}, -ln L = {float(results[-1].fmin):.3f}")
best = min(results, key=lambda result: float(result.fmin))

# %% [markdown]
# Hesse gives symmetric errors from the curvature at the minimum. Minos follows the likelihood to where
# -2 ln L has risen by one and gives an asymmetric interval. If Minos meets a lower minimum on its way, zfit
# hands back the new one.

# %%
best.update_params()
best.hesse(name="hesse")
minos, lower_minimum = best.errors(name="minos")
if lower_minimum is not None:
    best = lower_minimum
    best.update_params()
    best.hesse(name="hesse")
    minos, _ = best.errors(name="minos")
fitted = {parameter: float(best.params[parameter]["value"]) for parameter in parameters}
print("valid minimum:", best.valid)
for parameter in parameters:
    hesse = float(best.params[parameter]["hesse"]["error"])
    side = minos[parameter]
    print(
        f"   {parameter.name:<12} = {fitted[parameter]:7.2f}   Hesse +-{hesse:.2f}   "
        f"Minos {side['lower']:+.2f} {side['upper']:+.2f}   injected {TRUTH[parameter.name]:g}"
    )

# %% [markdown]
# ## 8. The profile of theta
#
# An interval of two numbers hides the shape of the likelihood. The profile shows it: fix theta at a value, fit
# the yields, plot the rise of -2 ln L. Going outwards from the best fit, every fit starts close to its solution.

# %%
points = np.union1d(np.linspace(low, high, N_PROFILE), [fitted[theta]])
middle = int(np.searchsorted(points, fitted[theta]))
profile = np.zeros(len(points))
for side in (range(middle, len(points)), range(middle - 1, -1, -1)):
    zfit.param.set_values([n_signal, n_background], [fitted[n_signal], fitted[n_background]])
    for number in side:
        theta.set_value(points[number])
        with warnings.catch_warnings():
            # Only the two yields float, which zfit mentions at every point.
            warnings.simplefilter("ignore")
            result = minimizer.minimize(loss, params=[n_signal, n_background])
        profile[number] = 2 * (float(result.fmin) - float(best.fmin))
best.update_params()

# %% [markdown]
# The 68.3 % interval of theta is that of Minos. Where Minos does not find a crossing, for example because the
# likelihood stays low up to the end of the trained range, the interval is read off the profile instead: from the
# lowest to the highest theta at which it is below one.

# %%
if minos[theta]["is_valid"]:
    lower, upper = fitted[theta] + minos[theta]["lower"], fitted[theta] + minos[theta]["upper"]
else:
    fine = np.linspace(low, high, 4001)
    inside = np.append(fine[np.interp(fine, points, profile) <= 1], fitted[theta])
    lower, upper = inside.min(), inside.max()
print(f"theta = {fitted[theta]:.4f} {lower:.4f} {upper:.4f}")

figure, axes = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
axes.axvspan(lower, upper, color="#6d9dc5", alpha=0.3, label="68.3 % interval")
axes.plot(points, profile, "k.-", linewidth=1)
axes.axvline(fitted[theta], color="k", linewidth=0.8, label=f"best fit {fitted[theta]:.2f}")
axes.axvline(TRUTH["theta"], color="#c23b22", linestyle="--", label=f"injected {TRUTH['theta']:g}")
top = min(1.05 * float(profile.max()), 25.0)
for level, name in ((1.0, "68.3 %"), (3.84, "95 %")):
    if level < top:
        axes.axhline(level, color="0.6", linestyle=":")
        axes.text(low + 0.1, level, name, ha="left", va="bottom", color="0.4", fontsize=9)
axes.set(xlabel="theta", ylabel=r"$-2\,\Delta\ln L$, yields profiled", xlim=(low, high), ylim=(0, top))
axes.legend(framealpha=0.9)
figure.savefig(OUT / "profile_theta.png", dpi=110)
plt.close(figure)

# %% [markdown]
# ## 9. Data with the fitted components
#
# The fit has no bins; the figure does. Draw many events from each density, scale them to the fitted yields, and
# compare with the data. The lower panels show (data - model) / sqrt(model).

# %%
drawn_signal = signal.sample(N_DRAWN, [fitted[theta]], seed=SEED + 3)
drawn_background = background.sample(N_DRAWN, seed=SEED + 4)
labels = (r"$m_{4\ell}$ [GeV]", r"$m_{Z_2}$ [GeV]", r"$\cos\theta_1$", r"$\cos\theta_2$", r"$\phi$ [rad]")

figure = plt.figure(figsize=(13, 8), layout="constrained")
cells = figure.add_gridspec(4, 3, height_ratios=[3, 1, 3, 1])
for column, observable in enumerate(observables):
    row = 2 * (column // 3)
    main = figure.add_subplot(cells[row, column % 3])
    pulls = figure.add_subplot(cells[row + 1, column % 3], sharex=main)
    edges = np.linspace(observable.low, observable.high, 26)
    centres = 0.5 * (edges[1:] + edges[:-1])
    counts = np.histogram(data[:, column], edges)[0]
    below = np.histogram(drawn_background[:, column], edges)[0] * fitted[n_background] / N_DRAWN
    total = below + np.histogram(drawn_signal[:, column], edges)[0] * fitted[n_signal] / N_DRAWN
    main.stairs(total, edges, baseline=below, fill=True, color="#c23b22", alpha=0.75, label="signal")
    main.stairs(below, edges, fill=True, color="#6d9dc5", alpha=0.75, label="background")
    main.errorbar(centres, counts, np.sqrt(np.maximum(counts, 1)), fmt="k.", capsize=0, label="pseudo-data")
    main.set(ylabel=f"events / {edges[1] - edges[0]:.2g} {observable.unit}".strip(), ylim=(0, None))
    main.tick_params(labelbottom=False)
    main.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    pulls.axhspan(-1, 1, color="0.9")
    pulls.plot(centres, (counts - total) / np.sqrt(np.maximum(total, 0.5)), "k.")
    pulls.set(xlabel=labels[column], ylabel="pull", ylim=(-4, 4), xlim=(observable.low, observable.high))
    if column == 0:
        handles, names = main.get_legend_handles_labels()
corner = figure.add_subplot(cells[2:, 2])
corner.axis("off")
corner.legend(handles, names, loc="center", frameon=False, fontsize=13)
figure.savefig(OUT / "data_and_fit.png", dpi=110)
plt.close(figure)

# %% [markdown]
# ## 10. Save, load, use again
#
# A density is one file. A colleague who loads it needs neither the training events nor the configuration, and
# gets exactly the same values.

# %%
signal.save(OUT / "signal.egmm", overwrite=True)
background.save(OUT / "background.egmm", overwrite=True)

loaded = Density.load(OUT / "signal.egmm")
same = np.array_equal(loaded.log_prob(data, [1.0]), signal.log_prob(data, [1.0]))
print(f"{loaded}, trained for theta in {loaded.theta_range[0]}; same values as before saving: {same}")
print(f"figures and models are in {OUT}")
