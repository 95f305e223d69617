"""Figures of profiles, contours, limits and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from scipy.interpolate import Akima1DInterpolator

from zfit_egmm.inference.scans.contours import Contour
from zfit_egmm.inference.scans.profile import Profile

if TYPE_CHECKING:
    from zfit_egmm.inference.hypotheses.limits import Limits
    from zfit_egmm.inference.toys.coverage import Coverage, Estimate, PointCoverage

COLOURS = ("#1b1b1b", "#c23b22", "#3b7db8", "#e0a030", "#5a8f5a", "#8a6fae")
GREY = "0.45"
BANDS = ("#ffdd55", "#66c266")
LINE_STYLES = ("-", "--", ":", "-.")
HIGHEST = 12.0
"""Largest ``-2 Delta ln L`` that is drawn."""

LOWEST_CLS = 1e-3
FINE = 400


def plot_profile(
    profiles: Profile | Sequence[Profile],
    *,
    labels: Sequence[str] = (),
    true_value: float | None = None,
    axis_label: str | None = None,
) -> Figure:
    """Likelihood scan of a parameter, with lines at one and two standard deviations.

    Args:
        profiles: One profile, or several of the same parameter to compare.
        labels: One for each profile.
        true_value: Drawn where given.
        axis_label: Label of the parameter. Default: its name.

    Raises:
        ValueError: If the profiles are of different parameters, or the number of labels is wrong.
    """
    shown = [profiles] if isinstance(profiles, Profile) else list(profiles)
    names = _labels(shown, labels, {profile.parameter for profile in shown})
    figure = Figure(figsize=(6.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    low, high = min(one.values[0] for one in shown), max(one.values[-1] for one in shown)
    top = min(1.05 * max(float(one.minus2_log_ratio.max()) for one in shown), HIGHEST)
    for number, (profile, name) in enumerate(zip(shown, names, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        _draw_curve(axes, profile, colour)
        value = profile.best.values[profile.parameter]
        axes.axvline(value, color=colour, linewidth=0.9, linestyle="--")
        axes.plot([], [], color=colour, label=f"{name}, best fit {value:.3g}".lstrip(", "))
    for level, name in ((1.0, "1 σ"), (4.0, "2 σ")):
        if level < top:
            axes.axhline(level, color=GREY, linewidth=0.9, linestyle=":")
            axes.annotate(
                name, (1.01, level), xycoords=("axes fraction", "data"), color=GREY, va="center", annotation_clip=False
            )
    if true_value is not None:
        axes.axvline(true_value, color=GREY, linewidth=1.2, label=f"truth {true_value:.3g}")
    axes.set(xlim=(low, high), ylim=(0, top), ylabel=r"$-2\,\Delta\ln L$")
    axes.set_xlabel(axis_label or shown[0].parameter)
    figure.legend(loc="outside upper center", ncols=min(3, len(shown) + (true_value is not None)), frameon=False)
    return figure


def plot_contours(
    contours: Contour | Sequence[Contour],
    *,
    labels: Sequence[str] = (),
    true_point: Sequence[float] | None = None,
    axis_labels: Sequence[str] | None = None,
) -> Figure:
    """Joint regions of two parameters with the best fit.

    Args:
        contours: One contour, or several of the same parameters to compare.
        labels: One for each contour.
        true_point: Drawn where given, shape ``(2,)``.
        axis_labels: Labels of the two parameters. Default: their names.

    Raises:
        ValueError: If the contours are of different parameters, or the number of labels is wrong.
    """
    shown = [contours] if isinstance(contours, Contour) else list(contours)
    names = _labels(shown, labels, {contour.parameters for contour in shown})
    figure = Figure(figsize=(5.8, 5.0), layout="constrained")
    axes = figure.add_subplot()
    levels = sorted({region.level for contour in shown for region in contour.regions})
    for number, (contour, name) in enumerate(zip(shown, names, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        for region in contour.regions:
            if not region.rings:
                continue
            path = Path.make_compound_path(*(Path(ring, closed=True) for ring in region.rings))
            style = LINE_STYLES[levels.index(region.level) % len(LINE_STYLES)]
            axes.add_patch(PathPatch(path, fill=False, edgecolor=colour, linestyle=style, linewidth=1.6))
            if len(shown) == 1:
                axes.add_patch(PathPatch(path, facecolor=COLOURS[2], edgecolor="none", alpha=0.25))
        axes.plot(*(contour.best.values[p] for p in contour.parameters), "P", color=colour, label=f"{name} best fit")
    if true_point is not None:
        axes.plot(*true_point, "*", color=GREY, markersize=12, label="truth")
    styles = [
        Line2D([], [], color=GREY, linestyle=LINE_STYLES[n % len(LINE_STYLES)], label=f"{100 * level:.4g} %")
        for n, level in enumerate(levels)
    ]
    axes.autoscale_view()
    axes.margins(0.05)
    for axis, text in zip((axes.xaxis, axes.yaxis), axis_labels or shown[0].parameters, strict=True):
        axis.set_label_text(text)
    handles = [*axes.get_legend_handles_labels()[0], *styles]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)), frameon=False)
    return figure


def plot_limits(limits: Limits, *, axis_label: str | None = None) -> Figure:
    """CLs against the parameter, observed and expected without a signal, and the limits.

    Args:
        limits: What :func:`~zfit_egmm.inference.hypotheses.limits.upper_limit` returns.
        axis_label: Label of the parameter. Default: its name.
    """
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    x, expected = limits.values, np.maximum(limits.expected, LOWEST_CLS / 10)
    for (low, high), colour, name in zip(((0, 4), (1, 3)), BANDS, ("± 2 σ", "± 1 σ"), strict=True):
        axes.fill_between(x, expected[low], expected[high], color=colour, linewidth=0, label=f"expected {name}")
    axes.plot(x, expected[2], "--", color=COLOURS[0], label="expected median")
    errors = getattr(limits, "errors", None)
    axes.errorbar(x, np.maximum(limits.observed, LOWEST_CLS / 10), errors, fmt=".-", color=COLOURS[0], label="observed")
    axes.axhline(1 - limits.level, color=COLOURS[1], linewidth=1.2)
    axes.annotate(
        f"{100 * (1 - limits.level):.3g} %",
        (1.01, 1 - limits.level),
        xycoords=("axes fraction", "data"),
        color=COLOURS[1],
        va="center",
        annotation_clip=False,
    )
    for value, style in ((limits.observed_limit, "-"), (limits.expected_limits[2], "--")):
        if np.isfinite(value):
            axes.plot([value, value], [LOWEST_CLS, 1 - limits.level], style, color=COLOURS[1], linewidth=1.2)
    axes.set_yscale("log")
    axes.set(xlim=(x[0], x[-1]), ylim=(LOWEST_CLS, 1.2), ylabel=r"$\mathrm{CL_s}$")
    axes.set_xlabel(axis_label or limits.parameter)
    axes.set_title(
        f"{100 * limits.level:.3g} % limit: {limits.observed_limit:.4g} observed, "
        f"{limits.expected_limits[2]:.4g} expected",
        fontsize=11,
    )
    axes.legend(loc="best", frameon=False)
    return figure


def plot_coverage(coverage: Coverage) -> Figure:
    """Coverage of the joint region and of each interval at every true point, one panel per level.

    Args:
        coverage: What :func:`~zfit_egmm.inference.toys.coverage.coverage` returns.
    """
    entries = [*coverage.points, coverage.overall] if len(coverage.points) > 1 else list(coverage.points)
    first = "joint region" if len(coverage.interest) > 1 else f"interval of {coverage.interest[0]}"
    names = [first, *coverage.points[0].intervals]
    n_levels = len(coverage.levels)
    figure = Figure(figsize=(max(5.0, 1.6 + 0.85 * len(entries)), 1.2 + 2.2 * n_levels), layout="constrained")
    panels = figure.subplots(n_levels, 1, sharex=True, squeeze=False)[::-1, 0]
    for axes, level in zip(panels, coverage.levels, strict=True):
        axes.axhline(level, color=GREY, linewidth=1.0, linestyle="--")
        for number, name in enumerate(names):
            found = [_estimate(entry, name, number, level) for entry in entries]
            at = np.arange(len(entries)) + 0.14 * (number - 0.5 * (len(names) - 1))
            values, errors = [one.value for one in found], [one.error for one in found]
            axes.errorbar(at, values, errors, fmt="o", markersize=4, color=COLOURS[number % len(COLOURS)], label=name)
        if len(entries) > len(coverage.points):
            axes.axvline(len(entries) - 1.5, color=GREY, linewidth=0.8)
        axes.set_ylabel(f"coverage ({100 * level:.4g} %)")
        axes.margins(y=0.15)
    panels[0].set_xticks(range(len(entries)), _tick_labels(coverage, len(entries)))
    panels[0].set_xlim(-0.6, len(entries) - 0.4)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return figure


def _draw_curve(axes: Any, profile: Profile, colour: str) -> None:
    """A smooth curve through the points and the minima; points without a valid fit as crosses."""
    x, y = profile.values, profile.minus2_log_ratio
    for minimum in (profile.best, *profile.others):
        value = minimum.values[profile.parameter]
        number = int(np.searchsorted(x, value))
        # Next to a point it would only bend the curve.
        if 0 < number < len(x) and np.min(np.abs(x - value)) > 0.05 * (x[number] - x[number - 1]):
            x, y = np.insert(x, number, value), np.insert(y, number, 2 * (minimum.nll - profile.best.nll))
    if len(x) > 2:
        fine = np.union1d(np.linspace(x[0], x[-1], FINE), x)
        axes.plot(fine, Akima1DInterpolator(x, y)(fine), color=colour)
    axes.plot(profile.values, profile.minus2_log_ratio, ".", color=colour, markersize=4)
    failed = ~profile.is_valid
    if failed.any():
        axes.plot(profile.values[failed], profile.minus2_log_ratio[failed], "x", color=colour, label="fit not valid")


def _labels(shown: Sequence[Any], labels: Sequence[str], parameters: set[Any]) -> list[str]:
    """One label for each object, empty where none are given."""
    if len(parameters) != 1:
        raise ValueError(f"one figure is for the same parameters, got {sorted(parameters)}")
    if labels and len(labels) != len(shown):
        raise ValueError(f"there are {len(shown)} objects to draw, but {len(labels)} labels")
    return list(labels) or [""] * len(shown)


def _estimate(entry: PointCoverage, name: str, number: int, level: float) -> Estimate:
    return entry.region[level] if number == 0 else entry.intervals[name][level]


def _tick_labels(coverage: Coverage, n: int) -> list[str]:
    """The parameters of each point that are of interest or differ between points."""
    points = [entry.point for entry in coverage.points]
    names = [name for name in points[0] if name in coverage.interest or len({point[name] for point in points}) > 1]
    texts = ["\n".join(f"{name} = {point[name]:.3g}" for name in names) for point in points]
    return [*texts, "all"][:n]
