"""Figures of the demo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zfit_egmm.demo.fit import DemoFit
from zfit_egmm.observables import Observable

COLOURS = {"signal": "#c23b22", "background": "#6d9dc5", "total": "#1b1b1b"}
LABELS = {
    "m4l": r"$m_{4\ell}$ [GeV]",
    "mz2": r"$m_{Z_2}$ [GeV]",
    "cos_theta1": r"$\cos\theta_1$",
    "cos_theta2": r"$\cos\theta_2$",
    "phi": r"$\phi$ [rad]",
}
FORMATS = ("png", "pdf")


def draw_observables(
    observables: Sequence[Observable], data: np.ndarray, components: dict[str, tuple[np.ndarray, float]], stem: Path
) -> None:
    """Data with the fitted components, one panel per observable, with pulls below.

    Args:
        observables: The axes.
        data: Events, shape ``(n_events, n_observables)``.
        components: Events drawn from each component, and its fitted yield.
        stem: Path of the figure without suffix.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 8.2), layout="constrained")
    grid = figure.add_gridspec(4, 3, height_ratios=[3, 1, 3, 1])
    for number, observable in enumerate(observables):
        row, column = 2 * (number // 3), number % 3
        main = figure.add_subplot(grid[row, column])
        pulls = figure.add_subplot(grid[row + 1, column], sharex=main)
        edges = np.linspace(observable.low, observable.high, 26)
        centres, counts = 0.5 * (edges[1:] + edges[:-1]), np.histogram(data[:, number], edges)[0]
        base = np.zeros(len(centres))
        for name in ("background", "signal"):
            events, expected = components[name]
            shape = np.histogram(events[:, number], edges)[0] * expected / len(events)
            main.stairs(base + shape, edges, baseline=base, fill=True, color=COLOURS[name], alpha=0.75, label=name)
            base = base + shape
        main.stairs(base, edges, color=COLOURS["total"], linewidth=1.2)
        main.errorbar(centres, counts, np.sqrt(np.maximum(counts, 1)), fmt="k.", capsize=0, label="pseudo-data")
        main.set_ylabel(f"events / {edges[1] - edges[0]:.2g} {observable.unit}".strip())
        main.set_ylim(0, None)
        main.tick_params(labelbottom=False)
        pulls.axhspan(-1, 1, color="0.9")
        pulls.axhline(0, color="0.5", linewidth=0.8)
        pulls.plot(centres, (counts - base) / np.sqrt(np.maximum(base, 0.5)), "k.")
        pulls.set_ylim(-4, 4)
        pulls.set_ylabel("pull")
        pulls.set_xlabel(LABELS.get(observable.name, observable.label))
        pulls.set_xlim(observable.low, observable.high)
        if number == 0:
            handles, names = main.get_legend_handles_labels()
    legend = figure.add_subplot(grid[2:, 2])
    legend.axis("off")
    legend.legend(handles[::-1], names[::-1], loc="center", frameon=False, fontsize=13)
    _save(figure, stem)


def draw_profile(fit: DemoFit, injected: float, stem: Path) -> None:
    """Profile likelihood of theta with the best fit, its interval and the injected value."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.6), layout="constrained")
    axes = figure.add_subplot()
    best = fit.values["theta"]
    axes.axvspan(best.lower, best.upper, color="#6d9dc5", alpha=0.3, label="68.3 % interval")
    axes.plot(fit.profile_theta, fit.profile, color="k")
    axes.axvline(best.value, color="k", linewidth=0.8, label=f"best fit {best.value:.2f}")
    axes.axvline(injected, color="#c23b22", linestyle="--", label=f"injected {injected:g}")
    top = min(float(fit.profile.max()) * 1.05, 25.0)
    for level, name in ((1.0, "68.3 %"), (3.84, "95 %")):
        if level < top:
            axes.axhline(level, color="0.6", linestyle=":")
            axes.text(fit.profile_theta[-1], level, name, ha="right", va="bottom", color="0.4", fontsize=9)
    axes.set_xlim(fit.profile_theta[0], fit.profile_theta[-1])
    axes.set_ylim(0, top)
    axes.set_xlabel(r"CP mixing $\theta$")
    axes.set_ylabel(r"$-2\,\Delta\ln L$ (yields profiled)")
    axes.legend(framealpha=0.9, loc="upper center")
    _save(figure, stem)


def draw_training(histories: dict[str, list[dict]], stem: Path) -> None:
    """Training and validation loss per epoch, one panel per density."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for number, (name, rows) in enumerate(histories.items()):
        axes = figure.add_subplot(1, len(histories), number + 1)
        epochs = [row["epoch"] for row in rows]
        for kind, style in (("training", "-"), ("validation", "--")):
            axes.plot(epochs, [sum(row[kind]) for row in rows], style, label=kind, color="k")
        last = sum(rows[-1]["validation"])
        axes.set_ylim(last - 0.05, max(last + 0.15, np.quantile([sum(r["validation"]) for r in rows], 0.7)))
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss [nats per event]")
        axes.legend(frameon=False)
    _save(figure, stem)


def _save(figure: object, stem: Path) -> None:
    for suffix in FORMATS:
        figure.savefig(stem.with_suffix(f".{suffix}"), dpi=130)  # type: ignore[attr-defined]
