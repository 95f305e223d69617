"""Configuration file of ``zfit-egmm fit``, ``scan``, ``limit``, ``toys`` and ``coverage``, checked before any work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from zfit_egmm.cli.config_file import Expression, Number, NumberOrName, Strict, read_file
from zfit_egmm.events.files import is_address

EXAMPLE = """\
# Configuration of: zfit-egmm fit | scan | limit | toys | coverage CONFIG.
# Paths are relative to this file. As it stands it works beside the folder that zfit-egmm demo leaves.
data:
  files: egmm_demo/data.root            # one file, a pattern, or a list
  tree: events
  # cut: "(m4l > 118) & (m4l < 130)"    # optional; events outside the ranges are cut anyhow, and counted

components:                             # densities made by zfit-egmm train
  signal:
    model: egmm_demo/signal.egmm
    params: {theta: theta}              # parameter of the density: parameter of the fit, or a number
    yield: n_signal                     # expected number of events: a parameter or a number
    # events for --from-events, which were not trained on; theta: parameter of the density: branch
    held_out: {files: egmm_demo/held_out.root, tree: signal, theta: {theta: theta}}
  background:
    model: egmm_demo/background.egmm
    yield: n_background
    held_out: {files: egmm_demo/held_out.root, tree: background}

parameters:                             # start, and limits: by default the trained range, or zero for yields
  theta: {value: 0.5, low: -8, high: 8}
  n_signal: {value: 250, low: 0, high: 1000}
  n_background: {value: 250, low: 0, high: 1000}
  # a parameter with fixed: true does not float

# ranges:                               # optional: cut observables; the densities are normalised to what is left
#   m4l: [115, 135]

# constraints:                          # optional: auxiliary measurements, randomised in toys
#   - {parameter: n_background, value: 200, sigma: 20}

starts:                                 # optional: further starts of the fit, where several minima are expected
  - {theta: -3}
  - {theta: 3}

seed: 0
"""


class DataConfig(Strict):
    """Events to fit."""

    files: str | list[str]
    tree: str
    cut: str | None = None


class HeldOutConfig(Strict):
    """Simulated events that were not trained on, to make toys of."""

    files: str | list[str]
    tree: str
    theta: dict[str, Expression] = Field(default_factory=dict)
    weights: str | None = None
    cut: str | None = None


class ComponentConfig(Strict):
    """A density with its parameters and yield."""

    model: str
    params: dict[str, NumberOrName] = Field(default_factory=dict)
    expected: NumberOrName | None = Field(None, alias="yield")
    held_out: HeldOutConfig | None = None


class ParameterConfig(Strict):
    """Start and limits of a parameter."""

    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    fixed: bool = False


class ConstraintConfig(Strict):
    """A Gaussian constraint."""

    parameter: str
    value: Number
    sigma: Annotated[Number, Field(gt=0)]


class AnalysisFile(Strict):
    """The whole configuration file."""

    data: DataConfig
    components: dict[str, ComponentConfig] = Field(min_length=1)
    parameters: dict[str, ParameterConfig] = Field(default_factory=dict)
    ranges: dict[str, tuple[Number, Number]] = Field(default_factory=dict)
    constraints: list[ConstraintConfig] = Field(default_factory=list)
    starts: list[dict[str, Number]] = Field(default_factory=list)
    seed: int = Field(0, ge=0)
    folder: str = "."

    @model_validator(mode="after")
    def _agrees(self) -> AnalysisFile:
        with_yield = [name for name, entry in self.components.items() if entry.expected is not None]
        if len(self.components) > 1 and len(with_yield) < len(self.components):
            missing = sorted(set(self.components) - set(with_yield))
            raise ValueError(f"every component of a sum needs a yield; there is none for {', '.join(missing)}")
        used, free = self.parameter_names(), self.free_names()
        for where, names, known in (
            ("parameters", set(self.parameters), used),
            ("constraints", {entry.parameter for entry in self.constraints}, used),
            ("starts", {name for start in self.starts for name in start}, free),
        ):
            unknown = sorted(names - set(used))
            if unknown:
                raise ValueError(f"{where}: {', '.join(unknown)} is used by no component; there are {', '.join(used)}")
            fixed = sorted(names - set(known))
            if fixed:
                raise ValueError(f"{where}: {', '.join(fixed)} is fixed; remove it there, or remove fixed: true")
        if not free:
            raise ValueError("no parameter is free: there is nothing to fit")
        return self

    def parameter_names(self) -> list[str]:
        """Names of the parameters that the components use."""
        return list(dict.fromkeys(self._uses()))

    def free_names(self) -> list[str]:
        """Names of the parameters that float."""
        fixed = {name for name, entry in self.parameters.items() if entry.fixed}
        return [name for name in self.parameter_names() if name not in fixed]

    def undeclared(self) -> list[str]:
        """Names that a component uses once and that stand nowhere else, as misspelt ones do."""
        uses = self._uses()
        declared = {*self.parameters, *(entry.parameter for entry in self.constraints)}
        declared |= {name for start in self.starts for name in start}
        return [name for name in self.parameter_names() if uses.count(name) == 1 and name not in declared]

    def _uses(self) -> list[str]:
        values = [value for entry in self.components.values() for value in (*entry.params.values(), entry.expected)]
        return [value for value in values if isinstance(value, str)]

    def check_free(self, names: Iterable[str], option: str) -> None:
        """Check that parameters that an option of the command line names can be fitted.

        Raises:
            ValueError: If one of them is none, or fixed.
        """
        for name in names:
            if name not in self.parameter_names():
                near = difflib.get_close_matches(name, self.free_names(), n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.free_names())}"
                raise ValueError(f"{option} {name}: the configuration has no parameter of this name; {hint}")
            if name not in self.free_names():
                raise ValueError(f"{option} {name}: the parameter is fixed in the configuration; remove fixed: true")

    def path(self, name: str) -> str:
        """A path of the file as seen from the current folder; an address stays what it is."""
        if is_address(name):
            return name
        return str(Path(self.folder) / Path(name).expanduser())

    def paths(self, names: str | list[str]) -> list[str]:
        """The same for one or several."""
        return [self.path(name) for name in ([names] if isinstance(names, str) else names)]


def read_analysis(path: Path) -> AnalysisFile:
    """Read and check a configuration file.

    Raises:
        FileNotFoundError: If there is no such file, or a model file that it names.
        ValueError: If it is not valid; the message names every wrong entry.
    """
    content = read_file(path, AnalysisFile, "zfit-egmm fit --example")
    result: Any = content.model_copy(update={"folder": str(path.parent)})
    for name, entry in result.components.items():
        if not Path(result.path(entry.model)).is_file():
            raise FileNotFoundError(
                f"{path}: components: {name}: there is no model file {result.path(entry.model)}; paths are relative to "
                "the configuration file"
            )
    return result
