from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot
import yaml
from builders import random_density
from command_line import PROGRAM, Result

import zfit_egmm
from zfit_egmm import Density, MixtureSettings, Observable, archive
from zfit_egmm.cli.config import example_text, read_config
from zfit_egmm.cli.output import theta_values
from zfit_egmm.events.root import write_columns
from zfit_egmm.families.egmm.networks import PaperNetwork, SmoothNetwork

COMMANDS = ("demo", "train", "sample", "info")


def _run_apart(*arguments: object, folder: Path) -> Result:
    """The command in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    return Result(result.returncode, result.stdout, result.stderr)


@pytest.fixture(scope="module")
def density() -> Density:
    return random_density()


@pytest.fixture(scope="module")
def model(density, tmp_path_factory) -> Path:
    """A model file, not to be changed."""
    return density.save(tmp_path_factory.mktemp("model") / "model.egmm")


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Path:
    """A ROOT file with a mass and a number of jets at two values of theta."""
    rng = np.random.default_rng(0)
    columns = {"mass": rng.uniform(0, 10, 600), "jets": rng.integers(0, 3, 600), "c": rng.choice([-1.0, 1.0], 600)}
    path = tmp_path_factory.mktemp("events") / "events.root"
    write_columns(path, "tree", columns)
    return path


TRAIN_TOML = """\
output = "learned.egmm"
theta = {{ coupling = "c" }}
observables = [
    {{ name = "mass", low = 0, high = 10, unit = "GeV" }},
    {{ name = "jets", low = 0, high = 2, kind = "discrete" }},
]

[input]
files = "{files}"
tree = "tree"
cut = "mass > 0.1"

[training]
preset = "fast"
epochs = 2
model = {{ name = "egmm", network = {{ kind = "smooth", hidden = [6], n_components = 3 }} }}
"""

SMALL = {
    "input": {"files": "events.root", "tree": "tree"},
    "observables": [{"name": "mass", "low": 0, "high": 10}],
    "theta": {"coupling": "c"},
    "training": {"preset": "fast", "epochs": 1},
}


def _config(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump({**SMALL, **changes}))
    return path


# Help


def test_start_is_quick_and_without_tensorflow(tmp_path):
    program = (
        "import sys\nfrom zfit_egmm.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'tensorflow', 'zfit', 'matplotlib', 'uproot'} & set(sys.modules)\nassert not heavy, heavy"
    )
    command = [sys.executable, "-c", program, "--version"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout == f"zfit-egmm {zfit_egmm.__version__}\n"
    assert (result.returncode, result.stderr) == (0, "")


def test_installed_command(tmp_path):
    command = shutil.which("zfit-egmm", path=str(Path(sys.executable).parent))
    assert command, "the package is not installed with its command"
    result = subprocess.run([command, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0
    assert all(name in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_lists_the_commands(run, arguments):
    result = run(*arguments)
    text = result.out + result.err
    assert all(name in text for name in COMMANDS)
    assert "zfit-egmm demo" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", ("--out", "--seed", "--overwrite")),
        ("train", ("CONFIG", "--example", "--out", "--members", "--overwrite")),
        ("sample", ("MODEL", "--out", "-n", "--theta", "--seed", "--overwrite")),
        ("info", ("MODEL", "--json")),
    ],
)
def test_help_of_every_command(run, command, options):
    result = run(command, "--help")
    assert result.code == 0
    assert result.err == ""
    text = re.sub(r"\x1b\[[0-9;]*m", "", result.out)
    missing = [option for option in options if option.casefold() not in text.casefold()]
    assert not missing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unknown",), "No such command 'unknown'"),
        (("sample", "model.egmm"), "--out"),
        (("sample", "model.egmm", "--out", "a.root", "-n", "0"), "--events"),
        (("info",), "MODEL"),
        (("train",), "use --example to see one"),
        (("info", "model.egmm", "--yaml"), "No such option"),
    ],
)
def test_wrong_usage(run, arguments, message):
    result = run(*arguments)
    assert result.code == 2
    assert message.casefold() in result.err.casefold()
    assert "Traceback" not in result.err


# Configuration files


def test_the_example_is_a_valid_configuration(run, tmp_path):
    result = run("train", "--example")
    assert result.code == 0
    path = tmp_path / "train.yaml"
    path.write_text(result.out)
    config = read_config(path)
    assert [entry.name for entry in config.observables] == ["m4l", "mz2", "phi", "channel"]
    assert config.theta == {"theta": "theta"}
    assert config.output == "model.egmm"
    assert config.training.config() == zfit_egmm.TrainingConfig.preset("fast")
    sample = config.sample()
    assert sample.n_events > 1000
    assert sample.theta_names == ("theta",)


def test_the_commented_options_of_the_example_are_valid(tmp_path):
    text = re.sub(r"^  # (weights|time_budget|epochs|model(?=: {)):", r"  \1:", example_text(), flags=re.MULTILINE)
    path = tmp_path / "train.yaml"
    path.write_text(text)
    config = read_config(path)
    assert config.input.weights == "event_weight"
    assert config.training.config().time_budget == 600
    assert config.training.config().epochs == 40
    assert config.training.config().model == MixtureSettings(SmoothNetwork((96, 96), n_components=20))


def test_config_fields_arrive(tmp_path):
    training = {
        "preset": "paper-toy",
        "seed": 3,
        "time_budget": 20,
        "epochs": 7,
        "batch_size": 64,
        "learning_rate": 0.01,
        "validation_fraction": 0.25,
        "model": {"name": "egmm", "projection": "smooth", "network": {"kind": "paper", "n_components": 5, "b2": 4}},
    }
    axes = [{"name": "mass", "low": 0, "high": 10, "unit": "GeV", "linear_fraction": 0.2}]
    config = read_config(_config(tmp_path / "a.yaml", training=training, observables=axes, output="b.egmm")).training
    found = config.config()
    assert found == zfit_egmm.TrainingConfig.preset(
        "paper-toy",
        seed=3,
        time_budget=20,
        epochs=7,
        batch_size=64,
        learning_rate=0.01,
        validation_fraction=0.25,
        model=MixtureSettings(PaperNetwork(n_components=5, b2=4), projection="smooth"),
    )


@pytest.mark.parametrize("suffix", ["yaml", "toml"])
def test_both_formats(tmp_path, events, suffix):
    path = tmp_path / f"train.{suffix}"
    if suffix == "toml":
        path.write_text(TRAIN_TOML.format(files=events))
    else:
        axes = [
            {"name": "mass", "low": 0, "high": 10, "unit": "GeV"},
            {"name": "jets", "low": 0, "high": 2, "kind": "discrete"},
        ]
        _config(path, input={"files": [str(events)], "tree": "tree", "cut": "mass > 0.1"}, observables=axes)
    sample = read_config(path).sample()
    assert sample.observables == (Observable("mass", 0, 10, unit="GeV"), Observable("jets", 0, 2, kind="discrete"))
    assert sample.theta_names == ("coupling",)
    assert 0.1 < sample.column("mass").min() < 0.5


def test_missing_config(run, tmp_path):
    assert re.search(
        r"^no configuration file none.yaml; zfit-egmm train --example prints one$", run("train", "none.yaml").error
    )
    assert "no configuration file" in run("train", tmp_path).error


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"trainig": {}}, ["  trainig: Extra inputs are not permitted"]),
        ({"training": {"epoch": 3}}, ["  training.epoch: Extra inputs are not permitted"]),
        ({"training": {"epochs": "many"}}, ["  training.epochs: Input should be a valid integer"]),
        ({"input": {"tree": "tree"}}, ["  input.files: Field required"]),
        ({"observables": []}, ["  observables: List should have at least 1 item"]),
        ({"observables": [{"name": "m", "low": 0}]}, ["  observables.0.high: Field required"]),
        (
            {"observables": [{"name": "m", "low": 0, "high": 1, "kind": "int"}]},
            ["  observables.0.kind: Input should be 'co"],
        ),
        ({"theta": ["c"]}, ["  theta: Input should be a valid dictionary"]),
        ({"input": 3, "output": 4}, ["  input: Input should be", "  output: Input should be a valid string"]),
    ],
    ids=str,
)
def test_config_with_wrong_entries(run, tmp_path, changes, lines):
    path = _config(tmp_path / "train.yaml", **changes)
    found = run("train", path).errors.splitlines()
    assert found[0] == f"{path} is not a valid configuration:"
    assert found[-1] == "zfit-egmm train --example prints a valid one"
    assert len(found) == 2 + len(lines)
    assert all(line.startswith(start) for line, start in zip(found[1:], lines, strict=False))


def _mixture(network: dict) -> dict:
    """Settings of the mixture family with a network."""
    return {"name": "egmm", "network": network}


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"preset": "quick"}, "no preset 'quick'; there are: fast, standard"),
        ({"epochs": -1}, "epochs must be positive.*, got -1"),
        ({"seed": -1}, "seed must be a non-negative integer, got -1"),
        ({"model": "flow"}, "training: model: name must be one of .*egmm.*, got 'flow'"),
        ({"model": {"network": None}}, "training: model: name must be one of .*egmm.*, got None"),
        ({"model": {"name": "egmm", "depth": 3}}, "the model egmm has no depth; it has network and projection"),
        ({"model": _mixture({"kind": "deep"})}, "network: kind must be one of .*smooth.*, got 'deep'"),
        ({"model": _mixture({"kind": "smooth", "depth": 3})}, "network: a smooth network has no depth; it has hidden"),
        ({"model": _mixture({"kind": "paper", "n_components": 0})}, "n_components must be positive, got 0"),
        ({"model": _mixture({"hidden": [0]})}, "hidden must list at least one positive layer width"),
        ({"model": _mixture({"hidden": ["wide"]})}, "'wide'"),
    ],
    ids=str,
)
def test_config_with_wrong_training_values(run, tmp_path, training, message):
    assert re.search(message, run("train", _config(tmp_path / "a.yaml", training=training)).error)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", b"", "a.yaml does not hold a configuration; zfit-egmm train --example prints one"),
        ("a.yaml", b"- 1\n- 2\n", "a.yaml does not hold a configuration"),
        ("a.yaml", b"input: [1", "a.yaml cannot be parsed: "),
        ("a.toml", b"input = = 1", "a.toml cannot be parsed: .*line 1"),
        ("a.yaml", b"1: 2\n", "a.yaml is not a valid configuration"),
        ("a.yaml", b"\xff\xfe\x00\x81", "a.yaml cannot be parsed: "),
        ("a.toml", b"\xff\xfe\x00\x81", "a.toml cannot be parsed: "),
    ],
)
def test_config_that_is_none(run, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert re.search(message, run("train", name).errors)


# train


def test_training_refuses_outputs_before_any_event_is_read(run, tmp_path):
    """The ROOT file of this configuration does not exist; the output is what is wrong first."""
    precious = tmp_path / "model.egmm"
    precious.write_text("precious")
    config = _config(tmp_path / "a.yaml")
    assert re.search(r"model.egmm exists already; .*overwrit", run("train", config).error)
    assert "no ROOT file matches 'events.root'" in run("train", config, "--overwrite").error
    assert re.search(
        "cannot write none/m.egmm: the folder none does not", run("train", config, "--out", "none/m.egmm").error
    )
    assert "cannot write model.egmm/m.egmm" in run("train", config, "--out", "model.egmm/m.egmm").error
    assert "is a folder; give the name of a file" in run("train", config, "--out", tmp_path).error
    assert precious.read_text() == "precious"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.yaml", "model.egmm"]


def test_an_existing_output_names_the_option(run, tmp_path):
    (tmp_path / "model.egmm").write_text("precious")
    assert "--overwrite" in run("train", _config(tmp_path / "a.yaml")).error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": {"tree": "three"}}, r"no tree 'three' in .*events.root; did you mean 'tree'\?"),
        (
            {"theta": {"coupling": "d"}},
            r"no branch 'd' in tree 'tree' of .*events.root; there are: 'mass', 'jets', 'c'",
        ),
        ({"observables": [{"name": "mas", "low": 0, "high": 1}]}, r"no branch 'mas' in .*; did you mean 'mass'\?"),
        (
            {"observables": [{"name": "mass", "low": 0, "high": 5}]},
            r"'mass': \d+ of 600 events lie outside \[0, 5\], .*cut=",
        ),
        ({"observables": [{"name": "mass", "low": 5, "high": 0}]}, r"'mass': the range \[5, 0\] is empty"),
        ({"input": {"cut": "mass > 99"}}, r"no event passes the cut 'mass > 99'"),
        ({"input": {"cut": "mass >"}}, r"'mass >' is neither a branch nor a valid expression"),
        (
            {"input": {"cut": "c > 0"}},
            r"theta 'coupling' takes the single value 1 in all \d+ events.*leave it out of theta",
        ),
        ({"input": {"cut": "mass < 1"}}, r"the sample has \d\d events .*need at least 100. Add events"),
        ({"input": {"weights": "c - 2"}}, r"the weights sum to -\d+; a density needs a positive total weight"),
        (
            {"training": {"model": _mixture({"hidden": [3000]})}},
            r"weights for \d+ effective training events; leave its size to be chosen",
        ),
    ],
    ids=str,
)
def test_training_on_bad_events(run, tmp_path, events, changes, message):
    changes["input"] = {"files": str(events), "tree": "tree", **changes.get("input", {})}
    assert re.search(message, run("train", _config(tmp_path / "a.yaml", **changes)).error)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.yaml"]


def test_train_from_toml_then_look_and_sample(run, tmp_path, events):
    """From a ROOT file to a model and to new events, the training in a process of its own."""
    (tmp_path / "train.toml").write_text(TRAIN_TOML.format(files=events))
    result = _run_apart("train", "train.toml", folder=tmp_path)
    assert result.code == 0, result.err
    assert "Traceback" not in result.err
    assert re.search(r"EventSample\(59\d events of \(mass, jets\) given coupling\)", result.out)
    assert result.out.endswith("saved learned.egmm; look at it with: zfit-egmm info learned.egmm\n")
    # The checkpoint is gone.
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["learned.egmm", "train.toml"]

    shown = run("info", "learned.egmm").out
    assert "Density(mass, jets | coupling)" in shown
    assert "parameter coupling: trained from -1 to 1" in shown
    assert re.search(r"training: 2 epochs over \d+ events", shown)
    described = json.loads(run("info", "learned.egmm", "--json").out)
    assert described["state"]["network"] == {
        "kind": "smooth",
        "hidden": [6],
        "n_components": 3,
        "width_fraction": 0.5,
        "physical_inputs": True,
    }
    assert [row["epoch"] for row in described["training"]["history"]] == [1, 2]

    assert run("sample", "learned.egmm", "--theta", "coupling=0", "-n", 50, "--out", "new.npz").code == 0
    new = np.load(tmp_path / "new.npz")
    assert set(np.unique(new["jets"])) <= {0.0, 1.0, 2.0}
    assert "exists already" in run("train", "train.toml").error


# sample


@pytest.mark.parametrize("suffix", ["root", "npz", "csv"])
def test_sample_writes_the_events_of_the_density(run, density, model, tmp_path, suffix):
    path = tmp_path / f"events.{suffix}"
    result = run("sample", model, "--theta", "coupling=0.5", "-n", 40, "--seed", 3, "--out", path)
    assert (result.code, result.err) == (0, "")
    assert result.out == f"wrote 40 events to {path}\n"
    if suffix == "root":
        with uproot.open(path) as handle:
            columns = handle["events"].arrays(library="np")
    elif suffix == "npz":
        columns = dict(np.load(path))
    else:
        with path.open(newline="") as stream:
            rows = list(csv.reader(stream))
        columns = {name: np.array(column, dtype=float) for name, *column in zip(*rows, strict=True)}
    assert list(columns) == ["mass", "jets", "angle"]
    expected = density.sample(40, [0.5], seed=3)
    np.testing.assert_array_equal(np.stack(list(columns.values()), axis=1), expected)


def test_sample_depends_on_seed_and_theta(run, model):
    for name, options in {"a": (0, 0.5), "b": (0, 0.5), "c": (1, 0.5), "d": (0, -0.5)}.items():
        seed, theta = options
        run("sample", model, "--theta", f"coupling={theta}", "-n", 30, "--seed", seed, "--out", f"{name}.npz")
    a, b, c, d = (np.load(f"{name}.npz")["mass"] for name in "abcd")
    np.testing.assert_array_equal(a, b)
    assert not np.isclose(a, c).any()
    assert not np.isclose(a, d, rtol=1e-10).all()


def test_sample_outside_the_trained_range_warns(run, model, tmp_path):
    with pytest.warns(UserWarning, match=r"coupling in \[9, 9\] leaves the trained range .*extrapolation"):
        run("sample", model, "--theta", "coupling=9", "-n", 5, "--out", "a.npz")
    assert len(np.load(tmp_path / "a.npz")["mass"]) == 5


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["couplin=1"], "unknown parameter in --theta couplin=1: this model has coupling"),
        (["1"], "unknown parameter in --theta 1: this model has coupling"),
        ([], "this model needs --theta coupling=VALUE"),
        (["coupling=a"], "--theta coupling=a: 'a' is no number; write --theta coupling=0.5"),
        (["coupling"], "--theta coupling: '' is no number"),
        (["coupling=nan"], "theta holds NaN or infinite values"),
        (["coupling=1", "coupling=2"], "parameter 'coupling' is given twice"),
    ],
)
def test_sample_at_a_wrong_theta(run, model, tmp_path, entries, message):
    options = [text for entry in entries for text in ("--theta", entry)]
    assert message in run("sample", model, *options, "--out", "a.npz").error
    assert list(tmp_path.iterdir()) == []


def test_theta_values():
    assert theta_values(["b=2", "a=-1e-3"], ("a", "b")).tolist() == [-0.001, 2.0]
    assert theta_values([], ()).shape == (0,)
    with pytest.raises(ValueError, match="unknown parameter in --theta a=1: this model has no parameters"):
        theta_values(["a=1"], ())
    with pytest.raises(ValueError, match=r"this model needs --theta a=VALUE --theta c=VALUE$"):
        theta_values(["b=1"], ("a", "b", "c"))


def test_sample_refuses_outputs(run, model, tmp_path):
    (tmp_path / "old.npz").write_text("precious")
    options = ("sample", model, "--theta", "coupling=1", "-n", 5, "--out")
    assert "old.npz exists already" in run(*options, "old.npz").error
    assert "cannot write none/a.npz: the folder none does not exist" in run(*options, "none/a.npz").error
    assert "cannot write old.npz/a.npz" in run(*options, "old.npz/a.npz").error
    assert "is a folder" in run(*options, tmp_path).error
    assert "cannot write a.txt: use the suffix .root, .npz or .csv" in run(*options, "a.txt").error
    assert (tmp_path / "old.npz").read_text() == "precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.npz"]
    assert run(*options, "old.npz", "--overwrite").code == 0
    assert len(np.load("old.npz")["mass"]) == 5


# info


def test_info(run, model):
    result = run("info", model)
    assert (result.code, result.err) == (0, "")
    for text in (
        "Density(mass, jets, angle | coupling)",
        "kind egmm",
        "100 to 200",
        "GeV",
        "discrete",
        "parameter coupling: trained from -0.99",
        "training: It was not trained.",
        "held-out loss [nats]: mass 1.5000, jets 0.2500, angle 2.0000",
    ):
        assert text in result.out


def test_info_shows_names_as_they_are(run, model, tmp_path):
    copy = shutil.copy(model, tmp_path / "model[bold].egmm")
    assert "model[bold].egmm" in run("info", copy.name).out


def test_info_as_json(run, model, density):
    described = json.loads(run("info", model, "--json").out)
    assert [entry["name"] for entry in described["observables"]] == ["mass", "jets", "angle"]
    assert described["theta_names"] == ["coupling"]
    assert described["theta_range"] == [list(pair) for pair in density.theta_range]
    assert described["n_weights"] == density.n_weights
    assert described["training"] == density.training
    assert described["versions"]["zfit_egmm"] == zfit_egmm.__version__


def test_an_ensemble_is_trained_looked_at_and_sampled(run, tmp_path, events):
    _config(tmp_path / "train.yaml", input={"files": str(events), "tree": "tree"}, output="many.egmm")
    result = run("train", "train.yaml", "--members", 2)
    assert result.code == 0, result.err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["many.egmm", "train.yaml"]
    shown = run("info", "many.egmm").out
    assert "EnsembleDensity(2 members, MixtureDensity(mass | coupling))" in shown
    assert re.search("member 1, training: .*\n.*\nmember 2, training: ", shown)
    members = json.loads(run("info", "many.egmm", "--json").out)["members"]
    assert [entry["theta_names"] for entry in members] == [["coupling"]] * 2
    assert run("sample", "many.egmm", "--theta", "coupling=0", "-n", 50, "--out", "new.npz").code == 0
    assert len(np.load(tmp_path / "new.npz")["mass"]) == 50


# Files that are no models


@pytest.mark.parametrize("command", ["info", "sample"])
def test_unusable_models(run, model, tmp_path, command):
    options = ("--out", "a.npz", "--theta", "coupling=1") if command == "sample" else ()
    (tmp_path / "text.egmm").write_text("not a model")
    (tmp_path / "short.egmm").write_bytes(model.read_bytes()[:3000])
    archive.write(tmp_path / "other.egmm", {}, {}, kind="checkpoint", version=1)
    archive.write(tmp_path / "newer.egmm", {}, {}, kind="density", version=99)
    for name, message in {
        "none.egmm": r"^no file none.egmm \(looked from .*\)$",
        "text.egmm": r"^text.egmm is not a zfit_egmm density file, or it is truncated or corrupted \(.*; copy or",
        "short.egmm": r"^short.egmm is not a zfit_egmm density file, or it is truncated or corrupted",
        "other.egmm": r"^other.egmm holds a 'checkpoint', not a 'density'$",
        "newer.egmm": r"^newer.egmm has format version 99, but this zfit_egmm reads up to \d+; update zfit_egmm$",
    }.items():
        assert re.search(message, run(command, name, *options).error)
    assert not (tmp_path / "a.npz").exists()


def test_errors_in_a_process_of_its_own(tmp_path):
    (tmp_path / "text.egmm").write_text("not a model")
    result = _run_apart("info", "text.egmm", folder=tmp_path)
    assert result.code == 1
    assert result.out == ""
    assert "Traceback" not in result.err
    # TensorFlow may write lines of its own before.
    assert result.err.splitlines()[-1].startswith("error: text.egmm is not a zfit_egmm density file")


def test_full_tracebacks_on_demand(run, monkeypatch):
    monkeypatch.setenv("ZFIT_EGMM_DEBUG", "1")
    with pytest.raises(FileNotFoundError, match=r"no configuration file none\.yaml"):
        run("train", "none.yaml")
