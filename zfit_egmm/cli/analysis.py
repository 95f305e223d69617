"""Configuration file of ``zfit-egmm fit``, ``scan``, ``limit``, ``toys`` and ``coverage``, checked before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from zfit_egmm.cli.config import Strict, read_file

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
    # held_out: {files: test.root, tree: signal, theta: {theta: theta}}   # events for toys --from-events
  background:
    model: egmm_demo/background.egmm
    yield: n_background

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

Number = Annotated[float, Field(allow_inf_nan=False)]


class DataConfig(Strict):
    """Events to fit."""

    files: str | list[str]
    tree: str
    cut: str | None = None


class HeldOutConfig(Strict):
    """Simulated events that were not trained on, to make toys of."""

    files: str | list[str]
    tree: str
    theta: dict[str, str] = Field(default_factory=dict)
    weights: str | None = None
    cut: str | None = None


class ComponentConfig(Strict):
    """A density with its parameters and yield."""

    model: str
    params: dict[str, str | Number] = Field(default_factory=dict)
    expected: str | Number | None = Field(None, alias="yield")
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
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)]


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
        used = self.parameter_names()
        for where, names in (
            ("parameters", self.parameters),
            ("constraints", [entry.parameter for entry in self.constraints]),
            ("starts", {name for start in self.starts for name in start}),
        ):
            unknown = sorted(set(names) - set(used))
            if unknown:
                raise ValueError(f"{where}: {', '.join(unknown)} is used by no component; there are {', '.join(used)}")
        return self

    def parameter_names(self) -> list[str]:
        """Names of the parameters that the components use."""
        names: dict[str, None] = {}
        for entry in self.components.values():
            values = [*entry.params.values(), entry.expected]
            names |= {value: None for value in values if isinstance(value, str)}
        return list(names)

    def path(self, name: str) -> str:
        """A path of the file as seen from the current folder."""
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
