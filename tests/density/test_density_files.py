from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from builders import random_density

from zfit_egmm import Density, archive
from zfit_egmm.archive import ModelFileError
from zfit_egmm.density.files import FORMAT_VERSION, described, load_density
from zfit_egmm.families.egmm.density import MixtureDensity

MANIFEST = {"title": "two arrays", "numbers": [1, 0.1, -1e-300], "nested": {"b": None, "a": True}}
ARRAYS = {"w": np.arange(60.0).reshape(3, 20), "count": np.array([1, 2, 3], dtype=np.int32)}


@pytest.fixture(scope="module")
def density() -> MixtureDensity:
    return random_density()


@pytest.fixture(scope="module")
def model(density, tmp_path_factory) -> Path:
    """A saved model, not to be changed."""
    return density.save(tmp_path_factory.mktemp("model") / "model.egmm")


@pytest.fixture
def small(tmp_path) -> Path:
    """A small file of another kind."""
    return archive.write(tmp_path / "small.zip", MANIFEST, ARRAYS, kind="numbers", version=1)


def _read(path: Path) -> tuple[dict, dict]:
    return archive.read(path, kind="numbers", version=1)


def _events(n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = np.stack([rng.uniform(95, 205, n), rng.integers(0, 4, n), rng.uniform(-2, 2, n)], axis=1)
    return x, rng.uniform(-0.9, 2.9, (n, 1))


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def _zip(path: Path, members: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return path


def _write(path: Path, manifest: dict, arrays: dict[str, np.ndarray], **options) -> Path:
    """A file with a checksum that is right."""
    return archive.write(path, manifest, arrays, **{"kind": "density", "version": FORMAT_VERSION, **options})


# Round trips


def test_the_model_gives_the_same_densities_and_events(density, model):
    loaded = Density.load(model)
    x, theta = _events()
    expected = density.log_prob(x, theta)
    assert 0 < np.isfinite(expected).sum() < len(x)
    # The density depends on theta.
    assert np.ptp(density.log_prob([[150.0, 1.0, 0.5]] * 2, [[0.0], [2.0]])) > 1e-3
    np.testing.assert_allclose(loaded.log_prob(x, theta), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(loaded.sample(100, [0.5], seed=1), density.sample(100, [0.5], seed=1))


def test_the_model_keeps_its_description(density, model):
    loaded = load_density(str(model))
    assert loaded.observables == density.observables
    assert loaded.theta_names == density.theta_names == ("coupling",)
    assert loaded.theta_range == density.theta_range
    assert loaded.scaling == density.scaling
    assert loaded.autoregressive == density.autoregressive
    assert loaded.training == density.training
    assert described(loaded)[0] == described(density)[0]
    for found, expected in zip(loaded.weights, density.weights, strict=True):
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in found)
        assert all(found[name].dtype == expected[name].dtype for name in found)


def test_saving_what_was_loaded_gives_the_same_content(model, tmp_path):
    again = load_density(model).save(tmp_path / "again.egmm")
    assert _members(again) == _members(model)


def test_another_process_computes_the_same_densities(density, model, tmp_path):
    x, theta = _events()
    np.savez(tmp_path / "events.npz", x=x, theta=theta)
    program = (
        "import sys, numpy as np; from zfit_egmm import Density; events = np.load('events.npz');"
        "np.save('log_prob.npy', Density.load(sys.argv[1]).log_prob(events['x'], events['theta']));"
        "assert 'zfit' not in sys.modules"
    )
    command = [sys.executable, "-c", program, str(model)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    found = np.load(tmp_path / "log_prob.npy")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, density.log_prob(x, theta), rtol=0, atol=1e-12)


def test_the_file_is_an_ordinary_zip_archive(density, model):
    members = _members(model)
    manifest = json.loads(members["manifest.json"])
    assert (manifest["producer"], manifest["kind"], manifest["format_version"]) == (
        "zfit_egmm",
        "density",
        FORMAT_VERSION,
    )
    assert [entry["name"] for entry in manifest["observables"]] == ["mass", "jets", "angle"]
    arrays = [name for name in members if name != "manifest.json"]
    assert all(name.startswith("arrays/") and name.endswith(".npy") for name in arrays)
    assert sum(name.startswith("arrays/factor_") for name in arrays) == sum(len(factor) for factor in density.weights)


@pytest.mark.parametrize(
    "array",
    [
        np.float64(3.5),
        np.array(7, dtype=np.int64),
        np.empty((0, 3)),
        np.arange(12.0, dtype=">f4").reshape(3, 4).T,
        np.array([np.nan, -np.inf, -0.0]),
        np.array([True, False]),
    ],
    ids=["scalar", "no axis", "empty", "transposed", "not finite", "boolean"],
)
def test_arrays_keep_shape_type_and_values(tmp_path, array):
    path = archive.write(tmp_path / "a.zip", {}, {"a": array}, kind="numbers", version=1)
    found = _read(path)[1]["a"]
    assert found.shape == array.shape
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_the_manifest_is_kept(small):
    manifest, arrays = _read(small)
    assert manifest.items() >= MANIFEST.items()
    assert arrays.keys() == ARRAYS.keys()


# Where to write


def test_an_existing_file_is_kept(density, tmp_path):
    path = tmp_path / "model.egmm"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"model.egmm exists already; choose another name, or .*overwrit"):
        density.save(path)
    assert path.read_text() == "precious"
    density.save(path, overwrite=True)
    assert load_density(path).observables == density.observables
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.egmm"]


def test_outputs_that_cannot_be_written(density, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"cannot write .*m.egmm: the folder .*missing does not exist; create it"
    ):
        density.save(tmp_path / "missing" / "m.egmm")
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file in it"):
        density.save(tmp_path, overwrite=True)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"cannot write .*file/m.egmm: .*file"):
        density.save(tmp_path / "file" / "m.egmm")
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.parametrize(
    ("manifest", "arrays"), [({}, {"a": np.array([{}], dtype=object)}), ({"a": object()}, {}), ({"a": {1, 2}}, {})]
)
def test_a_failed_write_leaves_nothing_behind(small, manifest, arrays):
    before = small.read_bytes()
    with pytest.raises((TypeError, ValueError), match=r"."):
        archive.write(small, manifest, arrays, kind="numbers", version=1, overwrite=True)
    assert [entry.name for entry in small.parent.iterdir()] == [small.name]
    assert small.read_bytes() == before


# Files that are no models


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_truncated_model(model, tmp_path, share):
    content = model.read_bytes()
    path = tmp_path / "cut.egmm"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        ModelFileError, match=r"cut.egmm is not a zfit_egmm density file, or it is truncated or corrupted"
    ):
        load_density(path)


def test_every_flipped_bit_is_noticed_or_harmless(small, tmp_path):
    """Some bytes of a zip archive, such as time stamps, do not matter; everything else must be noticed."""
    content = small.read_bytes()
    manifest, arrays = _read(small)
    path = tmp_path / "flipped.zip"
    n_noticed = 0
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found, found_arrays = _read(path)
            except ModelFileError:
                n_noticed += 1
                continue
        assert found == manifest, position
        assert all(np.array_equal(found_arrays[name], array) for name, array in arrays.items()), position
    assert n_noticed > 0.6 * len(content)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
def test_flipped_byte_in_a_model(model, tmp_path, share):
    content = bytearray(model.read_bytes())
    content[int(share * len(content))] ^= 0xFF
    path = tmp_path / "flipped.egmm"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"flipped.egmm .*corrupted.*copy or create it again"):
        load_density(path)


@pytest.mark.parametrize(
    "content", [b"", b"observables: [mass]\n", bytes(range(256)) * 20], ids=["empty", "text", "bytes"]
)
def test_foreign_file(tmp_path, content):
    path = tmp_path / "foreign.egmm"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"foreign.egmm is not a zfit_egmm density file.*; copy or create it"):
        load_density(path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"word/document.xml": "<w/>"}, "is an archive of something else: it holds no manifest.json"),
        ({"manifest.json": "{"}, "manifest.json is not valid JSON"),
        ({"manifest.json": b"\xff\xfe\x00"}, "manifest.json is not valid JSON"),
        ({"manifest.json": "[1, 2]"}, "manifest.json does not hold an object"),
        ({"manifest.json": "{}"}, r"was not written by zfit_egmm \(producer None\)"),
        ({"manifest.json": '{"producer": "other"}'}, r"was not written by zfit_egmm \(producer 'other'\)"),
    ],
)
def test_foreign_archive(tmp_path, members, message):
    path = _zip(tmp_path / "foreign.egmm", members)
    with pytest.raises(ModelFileError, match=rf"foreign.egmm:? .*{message}"):
        load_density(path)


def test_missing_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none.egmm \(looked from .*\)"):
        load_density(tmp_path / "none.egmm")
    with pytest.raises(FileNotFoundError, match="no file"):
        load_density(tmp_path)


def test_another_kind(density, tmp_path):
    path = _write(tmp_path / "a.checkpoint", *described(density), kind="checkpoint")
    with pytest.raises(ModelFileError, match=r"a.checkpoint holds a 'checkpoint', not a 'density'"):
        load_density(path)


def test_newer_format(density, tmp_path):
    newer = FORMAT_VERSION + 1
    path = _write(tmp_path / "new.egmm", *described(density), version=newer)
    message = rf"new.egmm has format version {newer}, but this zfit_egmm reads up to {FORMAT_VERSION}; update"
    with pytest.raises(ModelFileError, match=message):
        load_density(path)


@pytest.mark.parametrize("version", ["1", 0, None, 1.5])
def test_invalid_format_version(tmp_path, version):
    path = _write(tmp_path / "a.egmm", {}, {}, version=version)
    with pytest.raises(ModelFileError, match=r"a.egmm states no valid format version \("):
        load_density(path)


# Files that were tampered with


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"high": 200.0', '"high": 300.0'),
        ('"coupling"', '"other"'),
        ('"format_version": 1,', '"format_version": 1, "a": 1,'),
    ],
)
def test_manifest_edited_by_hand(model, tmp_path, old, new):
    members = _members(model)
    text = members["manifest.json"].decode()
    assert old in text
    path = _zip(tmp_path / "edited.egmm", members | {"manifest.json": text.replace(old, new, 1)})
    with pytest.raises(ModelFileError, match=r"edited.egmm is corrupted: its checksum does not match its content"):
        load_density(path)


def test_repacked_without_changes(model, tmp_path, density):
    path = _zip(tmp_path / "repacked.egmm", _members(model))
    assert load_density(path).theta_range == density.theta_range


@pytest.mark.parametrize("change", ["remove", "add", "values"])
def test_arrays_edited_by_hand(model, tmp_path, change):
    members = _members(model)
    name = "arrays/factor_0_bias_0.npy"
    if change == "remove":
        del members[name]
    elif change == "add":
        members["arrays/factor_9_bias.npy"] = members[name]
    else:
        members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])
    with pytest.raises(ModelFileError, match="checksum does not match"):
        load_density(_zip(tmp_path / "edited.egmm", members))


class _Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickles_are_never_opened(model, tmp_path):
    sprung = tmp_path / "sprung"
    trap = tmp_path / "trap.npy"
    np.save(trap, np.array([_Trap(sprung)], dtype=object), allow_pickle=True)
    name = "arrays/factor_0_bias_0.npy"
    path = _zip(tmp_path / "trap.egmm", _members(model) | {name: trap.read_bytes()})
    with pytest.raises(ModelFileError, match=rf"trap.egmm: {name} is not a plain array of numbers"):
        load_density(path)
    assert not sprung.exists()
    # The trap works.
    np.load(trap, allow_pickle=True)
    assert sprung.exists()


HUGE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000000,)}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps([1]),
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x04\x00((((",
        b"\x93NUMPY\x01\x00" + len(HUGE).to_bytes(2, "little") + HUGE,
    ],
    ids=["empty", "pickle", "no header", "broken header", "more than memory holds"],
)
def test_array_that_is_no_array(model, tmp_path, content):
    path = _zip(tmp_path / "bad.egmm", _members(model) | {"arrays/factor_0_bias_0.npy": content})
    with pytest.raises(ModelFileError, match=r"bad.egmm.*(is not a plain array of numbers|truncated or corrupted)"):
        load_density(path)


# Files with a valid checksum that describe no density


OWN = ("family", "observables", "theta_names", "theta_range", "state", "members", "training")
OF_THE_MIXTURE = ("scaling", "network", "projections", "latent_ranges")


@pytest.mark.parametrize("key", OWN + OF_THE_MIXTURE)
def test_incomplete_manifest(density, tmp_path, key):
    manifest, arrays = described(density)
    del (manifest if key in OWN else manifest["state"])[key]
    path = _write(tmp_path / "a.egmm", manifest, arrays)
    with pytest.raises(ModelFileError, match=rf"a.egmm does not describe a usable density: KeyError: '{key}'"):
        load_density(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor_1_bias_0": None}, "the weights of observable 'jets' do not fit its network"),
        ({"factor_0_bias_0": np.zeros(7)}, "the weights of observable 'mass' do not fit its network"),
        ({"factor_2_extra": np.zeros(1)}, "the weights of observable 'angle' do not fit its network"),
        ({"factor_2_bias_0": np.full(8, np.nan)}, "the weights of observable 'angle' are not finite"),
        ({"projection_0_knots_x": None}, "knots_x"),
        ({"projection_0_knots_x": np.zeros(5)}, "knots and slopes need one common shape"),
    ],
)
def test_arrays_that_do_not_fit(density, tmp_path, change, message):
    manifest, arrays = described(density)
    arrays = {name: array for name, array in (arrays | change).items() if array is not None}
    path = _write(tmp_path / "a.egmm", manifest, arrays)
    with pytest.raises(ModelFileError, match=rf"a.egmm does not describe a usable density: .*{message}"):
        load_density(path)


@pytest.mark.parametrize(
    "change",
    [
        {"network": {"kind": "unknown"}},
        {"network": {"kind": "smooth", "depth": 3}},
        {"network": "smooth"},
        {"projections": [None, None, None]},
        {"projections": ["smooth", "smooth", "smooth"]},
        {"projections": ["smooth"]},
        {"theta_names": ["coupling", "other"]},
        {"theta_range": [[0, 1], [0, 1]]},
        {"scaling": {"stretches": [[0, 1], None]}},
        {"scaling": {"stretches": [[0, 0]]}},
        {"scaling": {"bends": [[1, 0, 0.1]]}},
        {"scaling": {"bends": [[0, 0, 0]]}},
        {"scaling": {"bends": [[0, 0, 0.1]]}},
        {"scaling": "straight"},
        {"members": [{}]},
        {"state": None},
        {"latent_ranges": [[0, 1]]},
        {"observables": [{"name": "mass"}]},
        {"observables": "mass"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_manifests_that_contradict_themselves(density, tmp_path, change):
    manifest, arrays = described(density)
    for key, value in change.items():
        # What a density is made of besides its axes stands in its state.
        holder = manifest["state"] if key in OF_THE_MIXTURE else manifest
        holder[key] = {**holder[key], **value} if key == "scaling" and isinstance(value, dict) else value
    path = _write(tmp_path / "a.egmm", manifest, arrays)
    with pytest.raises(ModelFileError, match=r"a.egmm does not describe a usable density: \w+Error: "):
        load_density(path)


def test_a_density_of_a_kind_that_nobody_knows_is_refused(density, tmp_path):
    manifest, arrays = described(density)
    path = _write(tmp_path / "a.egmm", manifest | {"family": "flow"}, arrays)
    with pytest.raises(
        ModelFileError, match=r"a.egmm: it holds a density of the kind 'flow', .*knows.* egmm, .*Import the package"
    ):
        load_density(path)


def test_densities_nested_without_end_are_refused(density, tmp_path):
    manifest, arrays = described(density)
    for _ in range(20):
        manifest = {**manifest, "family": "ensemble", "state": {}, "members": [manifest]}
        arrays = {f"member_0_{name}": array for name, array in arrays.items()}
    with pytest.raises(ModelFileError, match="nested more than 8 deep"):
        load_density(_write(tmp_path / "a.egmm", manifest, arrays))


def test_a_subclass_without_a_name_of_its_own_is_not_saved_under_that_of_its_parent(density, tmp_path):
    class Special(type(density)):
        def _log_prob(self, x, theta):
            return super()._log_prob(x, theta) + 1.0

    special = object.__new__(Special)
    special.__dict__.update(vars(density))
    with pytest.raises(TypeError, match=r"its class has no name for files. Define it as class Special\(Density, kind="):
        special.save(tmp_path / "special.egmm")
