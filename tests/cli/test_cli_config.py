"""Configuration files: numbers are numbers however they are written, and names that may be misspelt are found."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from zfit_egmm.cli.analysis import EXAMPLE, AnalysisFile, read_analysis
from zfit_egmm.cli.config import read_config
from zfit_egmm.cli.config_file import read_file

NUMBERS = {"1e0": 1, "1.0e0": 1, "2e2": 200, "'2e2'": 200, '"0.5"': 0.5, "+3": 3, "-.5": -0.5, "010": 10, "1_000": 1000}


def analysis(tmp_path: Path, text: str) -> AnalysisFile:
    path = tmp_path / "analysis.yaml"
    path.write_text(text)
    return read_file(path, AnalysisFile, "zfit-egmm fit --example")


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_is_no_parameter_however_it_is_written(tmp_path, text):
    changed = EXAMPLE.replace("params: {theta: theta}", f"params: {{theta: {text}}}")
    changed = changed.replace("n_background\n", f"{text}\n").replace("starts:", "starts: []")
    unused = ("  theta: {", "  n_background: {", "  - {theta")
    found = analysis(tmp_path, "\n".join(line for line in changed.splitlines() if not line.startswith(unused)))
    assert found.parameter_names() == ["n_signal"]
    assert found.components["signal"].params == {"theta": NUMBERS[text]}
    assert found.components["background"].expected == NUMBERS[text]


def test_numbers_of_toml(tmp_path):
    content = yaml.safe_load(EXAMPLE)
    path = tmp_path / "a.toml"
    path.write_text(
        'data = {files = "a.root", tree = "t"}\n'
        'components = {signal = {model = "m.egmm", params = {theta = "1e0"}, yield = "n_signal"}}\n'
        "parameters = {n_signal = {value = 1e2}}\n"
    )
    found = read_file(path, AnalysisFile, "zfit-egmm fit --example")
    assert found.components["signal"].params == {"theta": 1.0}
    assert content["parameters"]["n_signal"]["value"] == 250


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{theta: theta}", "{theta: 1/2}", "components.signal.params.theta: '1/2' is neither a number nor the name"),
        ("{theta: theta}", "{theta: '1,5'}", "'1,5' is neither a number nor the name"),
        ("{theta: theta}", "{theta: -theta}", "'-theta' is neither a number nor the name"),
        ("{theta: theta}", "{theta: nan}", "components.signal.params.theta: nan is no number"),
        ("{theta: theta}", "{theta: .inf}", "components.signal.params.theta: inf is no number"),
        ("{theta: theta}", "{theta: true}", "components.signal.params.theta: true is no number"),
        ("{value: 0.5, low", "{value: true, low", "parameters.theta.value: true is no number"),
        ("{value: 0.5, low", "{value: 12:30, low", "parameters.theta.value"),
        ("  background:\n", "  signal:\n", "the entry 'signal' is there twice"),
        ("- {theta: -3}", "- {tehta: -3}", "starts: tehta is used by no component; there are theta, n_signal"),
        ("low: -8, high: 8}", "fixed: true}", "starts: theta is fixed; remove it there"),
    ],
)
def test_what_is_neither_a_number_nor_a_name_is_refused(tmp_path, old, new, message):
    assert old in EXAMPLE
    with pytest.raises(ValueError, match=r"analysis.yaml (is not a valid configuration|cannot be parsed)") as caught:
        analysis(tmp_path, EXAMPLE.replace(old, new))
    assert message in str(caught.value)


def test_words_of_yaml_are_texts(tmp_path):
    """``no`` once was a truth value, and that the number zero."""
    found = analysis(tmp_path, EXAMPLE.replace("{theta: theta}", "{theta: no}").split("\nparameters:")[0])
    assert found.components["signal"].params == {"theta": "no"}
    assert found.undeclared() == ["no", "n_signal", "n_background"]


def test_names_that_stand_once_and_nowhere_else_are_found(tmp_path):
    assert analysis(tmp_path, EXAMPLE).undeclared() == []
    assert analysis(
        tmp_path,
        EXAMPLE.replace("{theta: theta} ", "{theta: thetta} ")
        .split("\nstarts")[0]
        .replace("  theta: {value: 0.5, low: -8, high: 8}\n", ""),
    ).undeclared() == ["thetta"]


def test_nothing_to_fit_is_told(tmp_path):
    text = EXAMPLE.split("\nstarts")[0].replace("high: 8}", "fixed: true}").replace("high: 1000}", "fixed: true}")
    with pytest.raises(ValueError, match="no parameter is free: there is nothing to fit"):
        analysis(tmp_path, text)


def test_addresses_do_not_become_paths_beside_the_file(tmp_path):
    path = tmp_path / "analysis.yaml"
    path.write_text(EXAMPLE)
    for name in ("signal", "background"):
        (tmp_path / "egmm_demo").mkdir(exist_ok=True)
        (tmp_path / "egmm_demo" / f"{name}.egmm").touch()
    found = read_analysis(path)
    assert found.paths(["root://host//a.root", "b.root"]) == ["root://host//a.root", str(tmp_path / "b.root")]


def test_truth_values_are_no_limits_of_observables(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("input: {files: a, tree: t}\nobservables: [{name: a, low: false, high: 1e2}]\n")
    with pytest.raises(ValueError, match=r"observables.0.low: false is no number"):
        read_config(path)
