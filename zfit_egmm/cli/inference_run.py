"""What ``fit``, ``scan``, ``limit``, ``toys`` and ``coverage`` do: run, write numbers and figures, tell."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from zfit_egmm.archive import check_output_folder
from zfit_egmm.cli.analysis import read_analysis
from zfit_egmm.cli.analysis_model import Analysis, build, held_out, make_loss, make_toy_fit
from zfit_egmm.inference import (
    Likelihood,
    Minimum,
    ToyResults,
    contour,
    coverage,
    discovery,
    interval,
    profile,
    run_toys,
    upper_limit,
)
from zfit_egmm.inference import fit as run_minuit
from zfit_egmm.inference.likelihood.minimum import check_values
from zfit_egmm.inference.likelihood.undefined_shapes import undefined_shapes
from zfit_egmm.inference.toys.campaign import check_path
from zfit_egmm.plain import plain

DRAWN = 100_000


def run_fit(config: Path, out: Path, *, overwrite: bool) -> None:
    """Fit, and write ``fit.json`` and ``observables.pdf/png``."""
    folder = check_output_folder(out, ["fit.json"], overwrite=overwrite)
    analysis = build(read_analysis(config))
    console = _tell_data(analysis)
    likelihood = Likelihood(analysis.loss)
    best = _best_fit(analysis, likelihood, console)
    intervals = {name: interval(likelihood, name, minimum=best) for name in best.errors}
    table = Table()
    for header in ("parameter", "best fit", "Hesse error", "68.3 % interval"):
        table.add_column(header, justify="left" if header == "parameter" else "right")
    for name in best.errors:
        ends = " and ".join(f"{a:.4g} to {b:.4g}" for a, b in intervals[name].parts)
        table.add_row(name, f"{best.values[name]:.4g}", f"{best.errors[name]:.2g}", ends)
    console.print(table)
    notes = [*_notes(best), *(note for one in intervals.values() for note in one.notes)]
    for note in dict.fromkeys(notes):
        console.print(f"note: {note}")
    _write(
        folder / "fit.json",
        {**plain(best), "intervals": intervals, "notes": [*_undeclared(analysis), *notes], **_inputs(analysis)},
    )
    from zfit_egmm.pdf.plots import plot_fit

    figure = plot_fit(*_fitted_components(analysis, likelihood, best))
    _save(figure, folder / "observables")
    console.print(f"wrote {folder}/fit.json, observables.pdf and observables.png")


def run_scan(
    config: Path,
    out: Path,
    parameters: Sequence[str],
    n_points: int,
    ends: tuple[float, float] | None,
    *,
    overwrite: bool,
) -> None:
    """Scan one or two parameters, and write ``scan.json`` and ``scan.pdf/png``."""
    from zfit_egmm.inference.plots import plot_contours, plot_profile

    folder = check_output_folder(out, ["scan.json"], overwrite=overwrite)
    description = read_analysis(config)
    description.check_free(parameters, "-p")
    analysis = build(description)
    console = _tell_data(analysis)
    likelihood = Likelihood(analysis.loss)
    # Before the fit, which may take long.
    now = likelihood.values
    for name in parameters:
        for value in ends or (now.get(name, 0.0),):
            check_values(likelihood, {name: value})
    best = _best_fit(analysis, likelihood, console)
    found: Any
    if len(parameters) == 1:
        values = None if ends is None else np.linspace(*ends, n_points)
        found = profile(
            likelihood,
            parameters[0],
            values=values,
            n_points=n_points,
            minimum=best,
            starts=analysis.config.starts,
        )
        figure = plot_profile(found)
    else:
        found = contour(likelihood, (parameters[0], parameters[1]), n_points=n_points, minimum=best)
        figure = plot_contours(found)
    for note in found.notes:
        console.print(f"note: {note}")
    _write(folder / "scan.json", {**plain(found), **_inputs(analysis)})
    _save(figure, folder / "scan")
    console.print(f"wrote {folder}/scan.json, scan.pdf and scan.png")


def run_limit(
    config: Path, out: Path, parameter: str, level: float, n_toys: int | None, workers: int, *, overwrite: bool
) -> None:
    """Set an upper limit, and write ``limit.json`` and ``limit.pdf/png``."""
    from zfit_egmm.inference.plots import plot_limits

    folder = check_output_folder(out, ["limit.json"], overwrite=overwrite)
    description = read_analysis(config)
    description.check_free([parameter], "-p")
    analysis = build(description)
    console = _tell_data(analysis)
    held = {} if n_toys is not None else _hold_undefined(analysis, parameter, config)
    for name, value in held.items():
        console.print(
            f"note: without {parameter} there is no {name}: it is held at {value:g}, its value in {config}, for which "
            "alone the results hold; with --toys it floats"
        )
    options: dict[str, Any] = {} if n_toys is None else {"method": "toys", "n_toys": n_toys, "workers": workers}
    if n_toys is not None:
        options |= {"seed": description.seed, "make": functools.partial(make_loss, description)}
    likelihood = Likelihood(analysis.loss)
    significance = discovery(likelihood, parameter, **options)
    limits = upper_limit(likelihood, parameter, level=level, **options)
    console.print(str(limits))
    console.print(str(significance))
    _write(folder / "limit.json", {"limit": limits, "discovery": significance, "held": held, **_inputs(analysis)})
    _save(plot_limits(limits), folder / "limit")
    console.print(f"wrote {folder}/limit.json, limit.pdf and limit.png")


def run_toy_campaign(
    config: Path,
    path: Path,
    n_toys: int,
    at: Sequence[str],
    interest: Sequence[str] | None,
    workers: int,
    *,
    from_events: bool,
) -> ToyResults:
    """Make toys at the given points, or at the best fit."""
    points = [_point(text) for text in at]
    description = read_analysis(config)
    check_path(path, description.seed)
    description.check_free(interest or (), "-p")
    for point in points:
        description.check_free(point, "--at")
    analysis = build(description)
    console = _tell_data(analysis)
    source = held_out(analysis) if from_events else None
    if not points:
        best = _best_fit(analysis, Likelihood(analysis.loss), console)
        point = {name: float(f"{best.values[name]:.6g}") for name in best.errors}
        points = [point if source is None else source.nearest(point)]
        if points != [point]:
            console.print(f"true values, where events were simulated: {_short(points[0])}")
    make = functools.partial(make_toy_fit, description, interest, from_events)
    return run_toys(make, n_toys, points=points, seed=description.seed, path=path, workers=workers)


def tell_toys(results: ToyResults, path: Path) -> None:
    """Summary of toys in words."""
    console = Console(highlight=False)
    console.print(str(coverage(results)))
    if results.n_failed:
        console.print(f"note: {results.n_failed} of {len(results)} toys have no valid fit; they are in the file")
    console.print(f"toys are in {path}; read them with zfit_egmm.inference.ToyResults.load")


def run_coverage(
    config: Path,
    out: Path,
    n_toys: int,
    at: Sequence[str],
    interest: Sequence[str] | None,
    workers: int,
    *,
    from_events: bool,
    overwrite: bool,
) -> None:
    """Make toys, and write ``coverage.json`` and ``coverage.pdf/png``."""
    from zfit_egmm.inference.plots import plot_coverage

    folder = check_output_folder(out, ["coverage.json"], overwrite=overwrite)
    path = folder / "toys.jsonl"
    results = run_toy_campaign(config, path, n_toys, at, interest, workers, from_events=from_events)
    found = coverage(results)
    tell_toys(results, path)
    _write(folder / "coverage.json", plain(found))
    _save(plot_coverage(found), folder / "coverage")
    print_ = Console(highlight=False).print
    print_(f"wrote {folder}/coverage.json, coverage.pdf and coverage.png")


def _best_fit(analysis: Analysis, likelihood: Likelihood, console: Console) -> Minimum:
    best = run_minuit(likelihood, starts=analysis.config.starts)
    if not best.is_valid:
        raise ValueError(
            f"the fit found no valid minimum in {best.n_tries} tries, last at {_short(best.values)}; try other starts, "
            "narrower limits, or fix a parameter that the data does not determine"
        )
    console.print(f"best fit: {_short(best.values)}")
    return best


def _short(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:.4g}" for name, value in values.items())


def _notes(best: Minimum) -> list[str]:
    notes = [*best.notes, *(f"{name} ends at its limit: its Hesse error means nothing" for name in best.at_limit)]
    if best.covariance is None:
        notes.append("the second derivatives are not positive definite: the errors are rough")
    return notes


def _hold_undefined(analysis: Analysis, parameter: str, config: Path) -> dict[str, float]:
    """Fix what means nothing without a signal at its value in the file, and return it.

    Raises:
        ValueError: If the file gives no value.
    """
    undefined = undefined_shapes(Likelihood(analysis.loss), parameter, 0.0)
    held = {}
    for one in analysis.loss.get_params():
        if one.name in undefined:
            entry = analysis.config.parameters.get(one.name)
            if entry is None or entry.value is None:
                raise ValueError(
                    f"without {parameter} there is no {one.name}: give the value at which it is held in {config}, "
                    f"parameters: {{{one.name}: {{value: ...}}}}, or use --toys, in which it floats"
                )
            one.floating = False
            held[one.name] = float(entry.value)
    return held


def _undeclared(analysis: Analysis) -> list[str]:
    """Sentences on parameters that may be misspelt."""
    notes = []
    for one in analysis.loss.get_params():
        if one.name in analysis.config.undeclared():
            limits = f"from {float(one.lower):g} to {float(one.upper):g}"
            notes.append(f"{one.name} stands once in the configuration, and not under parameters: it floats {limits}")
    return notes


def _tell_data(analysis: Analysis) -> Console:
    console = Console(highlight=False)
    cut = analysis.n_read - analysis.n_events
    text = f"; {cut} outside the ranges of the observables are cut" if cut else ""
    console.print(f"{analysis.n_events} events{text}; components: {', '.join(analysis.pdfs)}")
    for note in _undeclared(analysis):
        console.print(f"note: {note}")
    return console


def _fitted_components(analysis: Analysis, likelihood: Likelihood, best: Minimum) -> tuple[Any, np.ndarray, dict]:
    """Observables, data and events drawn from the fitted components, for a figure."""
    components = {}
    with likelihood.restored():
        likelihood.set_values(best.values)
        for name, pdf in reversed(analysis.pdfs.items()):
            expected = float(pdf.get_yield().value()) if pdf.is_extended else float(analysis.n_events)
            components[name] = (np.asarray(pdf.sample(DRAWN).value()), expected)
    observables = next(iter(analysis.pdfs.values())).density.observables
    return observables, np.asarray(analysis.loss.data[0].value()), components


def _inputs(analysis: Analysis) -> dict[str, Any]:
    """What the results rest on."""
    from zfit_egmm import __version__

    models = {name: pdf.density.source for name, pdf in analysis.pdfs.items()}
    return {
        "models": {
            name: source and {"path": str(source.path), "sha256": source.sha256} for name, source in models.items()
        },
        "n_events": analysis.n_events,
        "version": __version__,
        "configuration": analysis.config.model_dump(mode="json", by_alias=True),
    }


def _point(text: str) -> dict[str, float]:
    values = {}
    for entry in text.split(","):
        name, _, value = entry.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise ValueError(f"--at {text}: write NAME=VALUE[,NAME=VALUE], such as --at theta=1,n_signal=300") from None
    return values


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(plain(content), indent=2) + "\n")


def _save(figure: Any, stem: Path) -> None:
    for suffix in ("pdf", "png"):
        figure.savefig(stem.with_suffix(f".{suffix}"), dpi=130)
