"""Configuration file of ``zfit-egmm train``: YAML or TOML, checked before any event is read."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from zfit_egmm import registry
from zfit_egmm.cli.config_file import Expression, Number, Strict, read_file
from zfit_egmm.coordinates.transformation import transform_of_text
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable
from zfit_egmm.training.config import TrainingConfig
from zfit_egmm.training.model import ModelSettings

EXAMPLE = """\
# Configuration of: zfit-egmm train CONFIG. Paths are relative to the current folder.
# As it stands it trains on the simulated H -> 4l events that come with the package.
input:
  files: {file}      # one file, a pattern such as "ntuples/*.root", or a list
  tree: signal
  cut: "(m4l > 105) & (m4l < 140)"      # optional
  # weights: event_weight               # optional branch; negative weights are fine
  # event_id: [run, event]              # optional, if events stand in several rows; found from equal rows else

observables:                            # their order is the order of the columns
  - {{name: m4l, low: 105, high: 140, unit: GeV, linear_fraction: 0.2}}   # 0.2: peaks, steep spectra
  - {{name: mz2, low: 12, high: 65, unit: GeV}}                          # 0.5 is the default
  - {{name: phi, low: -3.141592653589793, high: 3.141592653589793, unit: rad, linear_fraction: 0.8}}
  - {{name: channel, low: 0, high: 3, kind: discrete}}                   # integers

theta:                                  # optional: parameter name -> branch
  theta: theta

training:
  preset: fast                          # fast, standard, thorough, paper-toy, paper-ewzjj-4d, paper-ewzjj-12d
  seed: 0
  # time_budget: 600                    # seconds; the learning rate is scheduled to end in time
  # epochs: 40
  # model: egmm                         # the default; or its settings:
  # transform: [{{kind: log, name: m4l}}]  # learn in functions of the observables: log, fraction, difference, ratio
  # model: {{name: egmm, network: {{kind: smooth, hidden: [96, 96], n_components: 20}}}}

output: model.egmm
"""


class InputConfig(Strict):
    """Which events to read."""

    files: str | list[str]
    tree: str
    cut: str | None = None
    weights: str | None = None
    event_id: str | list[str] | None = None


class ObservableConfig(Strict):
    """One observable; see :class:`zfit_egmm.Observable`."""

    name: str
    low: Number
    high: Number
    kind: Literal["continuous", "discrete"] = "continuous"
    unit: str = ""
    linear_fraction: Number = 0.5


class TrainingSection(Strict):
    """A preset with the fields of :class:`zfit_egmm.TrainingConfig` to change."""

    preset: str = "standard"
    seed: int = 0
    time_budget: Number | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: Number | None = None
    stop_patience: int | None = None
    weight_decay: Number | None = None
    validation_fraction: Number | None = None
    model: str | dict[str, Any] | None = None
    transform: list[dict[str, Any]] = Field(default_factory=list)

    def config(self) -> TrainingConfig:
        """The training configuration.

        Raises:
            ValueError: If a value makes no sense.
        """
        changes = self.model_dump(exclude={"preset", "model", "transform"}, exclude_none=True)
        try:
            changes["transform"] = transform_of_text(self.transform)
        except ValueError as error:
            raise ValueError(f"training: transform: {error}") from error
        if self.model is not None:
            changes["model"] = _model_settings(self.model)
        return TrainingConfig.preset(self.preset, **changes)


def _model_settings(entry: str | dict[str, Any]) -> ModelSettings:
    """Settings of a model that is given by its name, or by its name and what to change."""
    text = {"name": entry} if isinstance(entry, str) else dict(entry)
    name = text.pop("name", None)
    known = registry.names("MODELS")
    if name not in known:
        raise ValueError(f"training: model: name must be one of {', '.join(known)}, got {name!r}")
    try:
        return registry.find("MODELS", name).of_text(text)
    except (TypeError, ValueError) as error:
        raise ValueError(f"training: model: {error}") from error


class TrainFile(Strict):
    """The whole configuration file."""

    input: InputConfig
    observables: list[ObservableConfig] = Field(min_length=1)
    theta: dict[str, Expression] = Field(default_factory=dict)
    training: TrainingSection = TrainingSection()
    output: str = "model.egmm"

    def sample(self) -> EventSample:
        """Read the events."""
        observables = [Observable(**entry.model_dump()) for entry in self.observables]
        return EventSample.from_root(
            self.input.files,
            self.input.tree,
            observables,
            theta=self.theta,
            weights=self.input.weights,
            cut=self.input.cut,
            event_id=self.input.event_id,
        )


def example_text() -> str:
    """An example configuration that works as it is."""
    return EXAMPLE.format(file=files("zfit_egmm") / "data" / "h4l_demo.root")


def read_config(path: Path) -> TrainFile:
    """Read and check a configuration file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not valid; the message names every wrong entry.
    """
    result = read_file(path, TrainFile, "zfit-egmm train --example")
    result.training.config()
    return result
