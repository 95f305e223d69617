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
from zfit_egmm.inference.toys.sources import rows_at
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
    source = held_out(analysis) if from_events else None
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
        raise ValueError(
            f"components: {name}: params: {', '.join(unknown)} is unknown; {entry.model} {_theta_of(density)}"
        )
    missing = [own for own in density.theta_names if own not in entry.params]
    if missing:
        example = ", ".join(f"{own}: {own}" for own in missing)
        raise ValueError(
            f"components: {name}: params: {entry.model} depends on {', '.join(missing)}; add params: {{{example}}}, or "
            "give a number"
        )


def _theta_of(density: Density) -> str:
    return f"has {', '.join(density.theta_names)}" if density.theta_names else "has no parameters"


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


def held_out(analysis: Analysis) -> FromEvents:
    """Toys of the simulated events that the configuration names.

    Raises:
        ValueError: If a component has none, or they cannot be used.
    """
    config = analysis.config
    samples, expected = [], []
    for name, entry in config.components.items():
        try:
            samples.append(_held_out_sample(config, entry, analysis.pdfs[name].density))
        except ValueError as error:
            raise ValueError(f"components: {name}: held_out: {error}") from error
        expected.append(float(analysis.n_events) if entry.expected is None else entry.expected)
    return FromEvents(samples, expected, analysis.model.obs)


def _held_out_sample(config: AnalysisFile, entry: ComponentConfig, density: Density) -> EventSample:
    """Events inside the ranges; those of parameters that are numbers are chosen, others keep the values of theta."""
    given = entry.held_out
    if given is None:
        raise ValueError("toys from events need held_out events of every component; there are none for this one")
    unknown = sorted(set(given.theta) - set(density.theta_names))
    if unknown:
        raise ValueError(f"theta: {', '.join(unknown)} is unknown; {entry.model} {_theta_of(density)}")
    missing = [own for own in density.theta_names if own not in given.theta]
    if missing:
        example = ", ".join(f"{own}: {own}" for own in missing)
        raise ValueError(f"{entry.model} depends on {', '.join(missing)}; name the branch, theta: {{{example}}}")
    sample = EventSample.from_root(
        config.paths(given.files),
        given.tree,
        density.observables,
        theta={own: given.theta[own] for own in density.theta_names},
        weights=given.weights,
        cut=given.cut,
    )
    if np.any(sample.weights < 0):
        raise ValueError("events of negative weight cannot be drawn as toys; use events without weights")
    low, high = np.array([_ranges(config, one.name, one.limits) for one in density.observables]).T
    sample = sample.select(np.all((sample.x >= low) & (sample.x <= high), axis=1))
    numbers = {own: value for own, value in entry.params.items() if not isinstance(value, str)}
    names = [str(entry.params[own]) for own in density.theta_names if own not in numbers]
    if not numbers:
        return _with_theta(sample, np.arange(len(sample)), range(len(names)), names)
    is_number = [own in numbers for own in density.theta_names]
    rows = rows_at(sample.theta[:, is_number], list(numbers), [numbers[own] for own in numbers])
    return _with_theta(sample, rows, np.flatnonzero(~np.array(is_number)), names)


def _with_theta(
    sample: EventSample, rows: np.ndarray, columns: Sequence[int] | np.ndarray, names: Sequence[str]
) -> EventSample:
    """Some events, with some columns of theta under the names of the fit's parameters."""
    return EventSample(
        sample.observables,
        sample.x[rows],
        theta=sample.theta[rows][:, list(columns)] if names else None,
        theta_names=tuple(names),
        weights=sample.weights[rows] if sample.is_weighted else None,
    )
