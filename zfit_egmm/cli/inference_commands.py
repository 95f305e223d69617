"""The commands that fit: ``fit``, ``scan``, ``limit``, ``toys`` and ``coverage``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Config = Annotated[Path | None, typer.Argument(help="YAML or TOML file; see zfit-egmm fit --example.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results of an earlier run.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes, of one thread each.")]
At = Annotated[
    list[str] | None,
    typer.Option(help="True values as NAME=VALUE[,NAME=VALUE]; repeat for several points. Default: the best fit."),
]
Interest = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", help="Parameter of interest; repeatable.", show_default=False)
]
FromEvents = Annotated[
    bool, typer.Option("--from-events", help="Make toys of the held_out events rather than of the models.")
]
NumberOfToys = Annotated[int, typer.Option("-n", "--toys", min=2, help="Toys at each point.")]


def _needed(config: Path | None) -> Path:
    if config is None:
        raise typer.BadParameter("name a configuration file, or use zfit-egmm fit --example", param_hint="CONFIG")
    return config


def fit(
    config: Config = None,
    example: Annotated[bool, typer.Option("--example", help="Print an example configuration and exit.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for numbers and figures.")] = Path("egmm_fit"),
    overwrite: Overwrite = False,
) -> None:
    """Fit all parameters to data: best fit, Hesse errors, likelihood intervals, figure of data and model.

    Example: zfit-egmm demo; zfit-egmm fit --example > fit.yaml; zfit-egmm fit fit.yaml
    """
    if example:
        from zfit_egmm.cli.analysis import EXAMPLE

        typer.echo(EXAMPLE, nl=False)
        return
    from zfit_egmm.cli.inference_run import run_fit

    run_fit(_needed(config), out, overwrite=overwrite)


def scan(
    config: Config = None,
    parameter: Interest = None,
    points: Annotated[int, typer.Option(min=5, help="Points on each axis.")] = 41,
    low: Annotated[float | None, typer.Option(help="Lowest value of a scan of one parameter.")] = None,
    high: Annotated[float | None, typer.Option(help="Highest value.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for numbers and figures.")] = Path("egmm_scan"),
    overwrite: Overwrite = False,
) -> None:
    """Scan the profile likelihood of one parameter, or contours of two.

    Examples: zfit-egmm scan fit.yaml -p theta; zfit-egmm scan fit.yaml -p theta -p n_signal
    """
    from zfit_egmm.cli.inference_run import run_scan

    if not parameter or len(parameter) > 2:
        raise typer.BadParameter("name one or two parameters", param_hint="--parameter")
    if (low is None) != (high is None):
        raise typer.BadParameter("give both ends of the scan, or none", param_hint="--low/--high")
    values = None if low is None or high is None else (low, high)
    run_scan(_needed(config), out, parameter, points, values, overwrite=overwrite)


def limit(
    config: Config = None,
    parameter: Annotated[str, typer.Option("--parameter", "-p", help="Parameter to limit, such as a yield.")] = "",
    level: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Confidence level.")] = 0.95,
    toys: Annotated[
        int | None, typer.Option("-n", "--toys", min=10, help="Use this many toys per scanned value.")
    ] = None,
    workers: Workers = 1,
    out: Annotated[Path, typer.Option(help="Folder for numbers and figures.")] = Path("egmm_limit"),
    overwrite: Overwrite = False,
) -> None:
    """CLs upper limit on a parameter, observed and expected with bands, and the significance of a signal.

    Asymptotic formulae, or toys with --toys. The range of the scan is found by itself.

    Example: zfit-egmm limit fit.yaml -p n_signal
    """
    from zfit_egmm.cli.inference_run import run_limit

    if not parameter:
        raise typer.BadParameter("name the parameter to limit", param_hint="--parameter")
    run_limit(_needed(config), out, parameter, level, toys, workers, overwrite=overwrite)


def toys(
    config: Config = None,
    toys: Annotated[int, typer.Option("-n", "--toys", min=2, help="Toys at each point.")] = 100,
    at: At = None,
    parameter: Interest = None,
    from_events: FromEvents = False,
    workers: Workers = 1,
    out: Annotated[Path, typer.Option(help="File of the results; an interrupted run goes on.")] = Path("toys.jsonl"),
) -> None:
    """Make and fit toys; the results are appended to a file as they come.

    The same command goes on where it was interrupted, and with a larger number of toys adds to them.

    Example: zfit-egmm toys fit.yaml -n 1000 --at theta=1,n_signal=300 --workers 2
    """
    from zfit_egmm.cli.inference_run import run_toy_campaign, tell_toys

    results = run_toy_campaign(_needed(config), out, toys, at or [], parameter, workers, from_events=from_events)
    tell_toys(results, out)


def coverage(
    config: Config = None,
    toys: Annotated[int, typer.Option("-n", "--toys", min=2, help="Toys at each point.")] = 100,
    at: At = None,
    parameter: Interest = None,
    from_events: FromEvents = False,
    workers: Workers = 1,
    out: Annotated[Path, typer.Option(help="Folder for toys, numbers and figures.")] = Path("egmm_coverage"),
    overwrite: Overwrite = False,
) -> None:
    """Coverage of intervals and regions, pulls and biases from toys at chosen true values.

    The toys are kept in OUT/toys.jsonl; the same command goes on from there. By default toys are drawn from the
    models (closure). With --from-events they are made of the held_out events of the configuration, which also tests
    the densities.

    Example: zfit-egmm coverage fit.yaml -n 500 --at theta=0 --at theta=1 -p theta --workers 2
    """
    from zfit_egmm.cli.inference_run import run_coverage

    run_coverage(_needed(config), out, toys, at or [], parameter, workers, from_events=from_events, overwrite=overwrite)


def register(app: Any) -> None:
    """Add the commands to the command line."""
    for command in (fit, scan, limit, toys, coverage):
        app.command()(command)
