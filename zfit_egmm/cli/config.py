"""Configuration file of ``zfit-egmm train``: YAML or TOML, checked before any event is read."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable
from zfit_egmm.training.config import TrainingConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

File = TypeVar("File", bound=BaseModel)

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
  # network: {{kind: smooth, hidden: [96, 96], n_components: 20}}   # default: chosen from the sample

output: model.egmm
"""


class Strict(BaseModel):
    """A part of a configuration in which unknown entries are errors."""

    model_config = ConfigDict(extra="forbid")


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
    low: float
    high: float
    kind: Literal["continuous", "discrete"] = "continuous"
    unit: str = ""
    linear_fraction: float = 0.5


class NetworkConfig(BaseModel):
    """A network: its kind, and the fields of :mod:`zfit_egmm.density.conditioners`."""

    model_config = ConfigDict(extra="allow")
    kind: Literal["smooth", "paper"] = "smooth"


class TrainingSection(Strict):
    """A preset with the fields of :class:`zfit_egmm.TrainingConfig` to change."""

    preset: str = "standard"
    seed: int = 0
    time_budget: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    stop_patience: int | None = None
    weight_decay: float | None = None
    validation_fraction: float | None = None
    projection: Literal["smooth", "linear"] | None = None
    network: NetworkConfig | None = None

    def config(self) -> TrainingConfig:
        """The training configuration.

        Raises:
            ValueError: If a value makes no sense.
        """
        from zfit_egmm.density.conditioners import NETWORKS

        changes = self.model_dump(exclude={"preset", "network"}, exclude_none=True)
        if self.network is not None:
            try:
                changes["network"] = NETWORKS[self.network.kind](**(self.network.model_extra or {}))
            except (TypeError, ValueError) as error:
                raise ValueError(f"training: network: {error}") from error
        return TrainingConfig.preset(self.preset, **changes)


class TrainFile(Strict):
    """The whole configuration file."""

    input: InputConfig
    observables: list[ObservableConfig] = Field(min_length=1)
    theta: dict[str, str] = {}
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


def read_file(path: Path, kind: type[File], help_command: str) -> File:
    """Read a YAML or TOML file and check it.

    Args:
        path: The file.
        kind: What it holds.
        help_command: The command that prints a valid one.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not valid; the message names every wrong entry.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no configuration file {path}; {help_command} prints one")
    content = _parse(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a configuration; {help_command} prints one")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        lines = [f"  {'.'.join(str(part) for part in e['loc']) or 'file'}: {e['msg']}" for e in error.errors()]
        raise ValueError(
            f"{path} is not a valid configuration:\n" + "\n".join(lines) + f"\n{help_command} prints a valid one"
        ) from error


def _parse(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be parsed: {error}") from error
