"""From the configuration of an analysis to zfit: parameters, PDFs, data and loss."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zfit

from zfit_egmm.cli.analysis import AnalysisFile, ComponentConfig
from zfit_egmm.density.base import Density
from zfit_egmm.density.files import load_density
from zfit_egmm.events.root import read_columns
from zfit_egmm.events.sample import EventSample
from zfit_egmm.inference import FromEvents, ToyFit
from zfit_egmm.pdf import EGMM


@dataclass(frozen=True, eq=False)
class Analysis:
    """An analysis that is ready to be fitted.

    Args:
        config: Its configuration.
        pdfs: A PDF for each component.
        model: Their sum, or the only one.
        loss: Negative log-likelihood with the data and the constraints.
        n_read: Events read from the file; those outside the ranges are not in the loss.
    """

    config: AnalysisFile
    pdfs: dict[str, EGMM]
    model: Any
    loss: Any
    n_read: int

    @property
    def n_events(self) -> int:
        """Events inside the ranges."""
        return int(self.loss.data[0].nevents)


def build(config: AnalysisFile) -> Analysis:
    """Load densities and data, and make the loss.

    Raises:
        ValueError: If densities, parameters, ranges and data do not fit together; the message says what to change.
    """
    densities = {name: load_density(config.path(entry.model)) for name, entry in config.components.items()}
    _check_observables(densities)
    for name, entry in config.components.items():
        _check_params(name, entry, densities[name])
    parameters = _parameters(config, densities)
    space = _space(config, next(iter(densities.values())))
    pdfs = {}
    for name, entry in config.components.items():
        density = densities[name]
        expected = None if entry.expected is None else _value(entry.expected, parameters)
        values = {own: _value(value, parameters) for own, value in entry.params.items()}
        pdfs[name] = EGMM(density, params=values, obs=space, extended=expected, name=name)
    model = zfit.pdf.SumPDF(list(pdfs.values())) if len(pdfs) > 1 else next(iter(pdfs.values()))
    columns = read_columns(config.paths(config.data.files), config.data.tree, list(space.obs), cut=config.data.cut)
    x = np.column_stack([columns[name].astype(float) for name in space.obs])
    data = zfit.Data(x, obs=space)
    if not int(data.nevents):
        raise ValueError(f"none of the {len(x)} events lies inside the ranges of the observables")
    constraints = [
        zfit.constraint.GaussianConstraint(parameters[entry.parameter], observation=entry.value, sigma=entry.sigma)
        for entry in config.constraints
    ]
    kind = zfit.loss.ExtendedUnbinnedNLL if model.is_extended else zfit.loss.UnbinnedNLL
    return Analysis(config, pdfs, model, kind(model, data, constraints=constraints), len(x))


def make_loss(config: AnalysisFile) -> Any:
    """The loss alone, for other processes."""
    return build(config).loss


def make_toy_fit(config: AnalysisFile, interest: Sequence[str] | None, from_events: bool) -> ToyFit:
    """The experiment of a campaign of toys, for other processes."""
    analysis = build(config)
    source = _held_out(analysis) if from_events else None
    return ToyFit(analysis.loss, interest=interest, source=source, starts=config.starts)


def _parameters(config: AnalysisFile, densities: dict[str, Density]) -> dict[str, zfit.Parameter]:
    """Zfit parameters, with what the file leaves open taken from the densities."""
    ranges: dict[str, tuple[float, float]] = {}
    for name, entry in config.components.items():
        for own, (low, high) in zip(densities[name].theta_names, densities[name].theta_range, strict=True):
            value = entry.params[own]
            if isinstance(value, str):
                before = ranges.get(value, (low, high))
                ranges[value] = (max(low, before[0]), min(high, before[1]))
    yields = {entry.expected for entry in config.components.values() if isinstance(entry.expected, str)}
    result = {}
    for name in config.parameter_names():
        given = config.parameters.get(name)
        low, high = ranges.get(name, (0.0, np.inf))
        low = given.low if given is not None and given.low is not None else low
        high = given.high if given is not None and given.high is not None else high
        start = given.value if given is not None else None
        if start is None and name in yields:
            raise ValueError(f"parameters: {name}: give a start, such as {name}: {{value: 100, low: 0, high: 1000}}")
        start = 0.5 * (low + high) if start is None else start
        if not low <= start <= high:
            raise ValueError(f"parameters: {name}: the start {start:g} lies outside the limits [{low:g}, {high:g}]")
        upper = None if np.isinf(high) else high
        result[name] = zfit.Parameter(name, start, low, upper, floating=not (given is not None and given.fixed))
    return result


def _value(entry: str | float, parameters: dict[str, zfit.Parameter]) -> Any:
    return parameters[entry] if isinstance(entry, str) else entry


def _check_params(name: str, entry: ComponentConfig, density: Density) -> None:
    unknown = sorted(set(entry.params) - set(density.theta_names))
    if unknown:
        there = f"has {', '.join(density.theta_names)}" if density.theta_names else "has no parameters"
        raise ValueError(f"components: {name}: params: {', '.join(unknown)} is unknown; {entry.model} {there}")
    missing = [own for own in density.theta_names if own not in entry.params]
    if missing:
        example = ", ".join(f"{own}: {own}" for own in missing)
        raise ValueError(
            f"components: {name}: params: {entry.model} depends on {', '.join(missing)}; add params: {{{example}}}, or "
            "give a number"
        )


def _check_observables(densities: dict[str, Density]) -> None:
    (first, reference), *others = densities.items()
    expected = {observable.name: observable.limits for observable in reference.observables}
    for name, density in others:
        found = {observable.name: observable.limits for observable in density.observables}
        if found != expected:
            raise ValueError(
                f"components {first} and {name} do not describe the same observables in the same ranges: "
                f"{expected} and {found}; train them with the same observables"
            )


def _space(config: AnalysisFile, density: Density) -> zfit.Space:
    limits = {observable.name: observable.limits for observable in density.observables}
    unknown = sorted(set(config.ranges) - set(limits))
    if unknown:
        raise ValueError(f"ranges: {', '.join(unknown)} is no observable; there are {', '.join(limits)}")
    spaces = [zfit.Space(name, *_ranges(config, name, limits[name])) for name in limits]
    return functools.reduce(operator.mul, spaces)


def _ranges(config: AnalysisFile, name: str, limits: tuple[float, float]) -> tuple[float, float]:
    return config.ranges.get(name, limits)


def _held_out(analysis: Analysis) -> FromEvents:
    config = analysis.config
    samples, expected = [], []
    for name, entry in config.components.items():
        held_out = entry.held_out
        if held_out is None:
            raise ValueError(f"toys from events need held_out events of every component; there are none for {name}")
        density = analysis.pdfs[name].density
        theta = {entry.params.get(own, own): branch for own, branch in held_out.theta.items()}
        samples.append(
            EventSample.from_root(
                config.paths(held_out.files),
                held_out.tree,
                density.observables,
                theta={str(parameter): branch for parameter, branch in theta.items()},
                weights=held_out.weights,
                cut=held_out.cut,
            )
        )
        sample = samples[-1]
        low, high = np.array([_ranges(config, o.name, o.limits) for o in density.observables]).T
        samples[-1] = sample.select(np.all((sample.x >= low) & (sample.x <= high), axis=1))
        size = entry.expected if entry.expected is not None else float(analysis.n_events)
        expected.append(size)
    return FromEvents(samples, expected, analysis.model.obs)
