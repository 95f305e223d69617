"""The commands of ``zfit-egmm``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from zfit_egmm.cli.evaluate import evaluate
from zfit_egmm.cli.inference_commands import register

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Learn densities p(x | theta) from simulated events and fit with them in zfit.",
    epilog="Start with: zfit-egmm demo. Set ZFIT_EGMM_DEBUG=1 to see full tracebacks.",
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        from zfit_egmm import __version__

        typer.echo(f"zfit-egmm {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Learn densities p(x | theta) from simulated events and fit with them in zfit."""
    del version


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for models, figures and demo.json.")] = Path("egmm_demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, the trainings and the pseudo-data.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of an earlier run.")] = False,
) -> None:
    """Train on real simulated H -> 4l events and fit theta, signal and background (a few minutes).

    The events come with the package. A signal density given the CP-mixing parameter theta and a
    background density are trained; then an extended unbinned fit with Minuit determines theta and
    both yields from events that were not used in the training.
    """
    from zfit_egmm.demo.run import run

    run(out, seed=seed, overwrite=overwrite)


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(help="YAML or TOML file; see --example.")] = None,
    example: Annotated[bool, typer.Option("--example", help="Print an example configuration and exit.")] = False,
    out: Annotated[Path | None, typer.Option(help="Model file; replaces 'output' of the configuration.")] = None,
    members: Annotated[
        int, typer.Option(min=1, help="Train an ensemble of so many densities, each on its own draw of the events.")
    ] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model file.")] = False,
) -> None:
    """Train a density from ROOT files as described by a small configuration file.

    An interrupted training goes on from its last checkpoint when the same command runs again.
    With --members 5 the model is the mean of five densities, and their spread tells how far a fit
    depends on the training; it takes five times as long, to train and to fit.

    Example: zfit-egmm train --example > train.yaml; zfit-egmm train train.yaml
    """
    from zfit_egmm.cli.config import example_text, read_config

    if example:
        typer.echo(example_text())
        return
    if config is None:
        raise typer.BadParameter("name a configuration file, or use --example to see one", param_hint="CONFIG")

    chosen = read_config(config)
    from zfit_egmm.archive import check_output
    from zfit_egmm.density.base import Density
    from zfit_egmm.training.ensemble import train_ensemble
    from zfit_egmm.training.train import train as run_training

    target = check_output(out or chosen.output, overwrite=overwrite)
    sample = chosen.sample()
    typer.echo(f"{sample}, effective events {sample.effective_events:.0f}")
    training = chosen.training.config()
    density: Density
    if members == 1:
        density = run_training(sample, training, checkpoint=f"{target}.checkpoint")
    else:
        density = train_ensemble(sample, training, members, checkpoint=f"{target}.members")
    density.save(target, overwrite=overwrite)
    typer.echo(f"saved {target}; look at it with: zfit-egmm info {target}")


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(help="Model file (.egmm).")],
    out: Annotated[Path, typer.Option(help="Output: .root (tree 'events'), .npz or .csv.")],
    n: Annotated[int, typer.Option("-n", "--events", min=1, help="Number of events.")] = 10_000,
    theta: Annotated[
        list[str] | None, typer.Option(help="Parameter as NAME=VALUE; repeat for several parameters.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the events.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Draw events from a model and write them to a file.

    Example: zfit-egmm sample signal.egmm --theta theta=2 -n 100000 --out events.root
    """
    from zfit_egmm.archive import check_output
    from zfit_egmm.cli.output import check_suffix, theta_values, write_events
    from zfit_egmm.density.files import load_density

    target = check_suffix(check_output(out, overwrite=overwrite))
    density = load_density(model)
    values = theta_values(theta or [], density.theta_names)
    events = density.sample(n, values, seed=seed)
    write_events(target, {o.name: column for o, column in zip(density.observables, events.T, strict=True)})
    typer.echo(f"wrote {n} events to {target}")


@app.command()
def info(
    model: Annotated[Path, typer.Argument(help="Model file (.egmm).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show what a model describes, how it was trained, and whether its training went well."""
    from zfit_egmm import archive
    from zfit_egmm.cli.output import print_model
    from zfit_egmm.density.files import FORMAT_VERSION, KIND, load_density

    density = load_density(model)
    if as_json:
        typer.echo(json.dumps(archive.read(model, kind=KIND, version=FORMAT_VERSION)[0], indent=2))
    else:
        print_model(density, model)


app.command()(evaluate)
register(app)
