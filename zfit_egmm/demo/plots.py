"""Figures of the demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zfit_egmm.demo.fit import DemoFit

FORMATS = ("png", "pdf")


def plot_demo_profile(fit: DemoFit, injected: float, stem: Path) -> None:
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
    save(figure, stem)


def plot_training(histories: dict[str, list[dict]], stem: Path) -> None:
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
    save(figure, stem)


def save(figure: object, stem: Path) -> None:
    """Write a figure as PNG and PDF."""
    for suffix in FORMATS:
        figure.savefig(stem.with_suffix(f".{suffix}"), dpi=130)  # type: ignore[attr-defined]
