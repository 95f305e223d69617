"""Files whose checksum is right but whose content was changed at random: refused when loaded, never found out in use.

Most changes make no sense, such as another kind, limits in the wrong order or numbers that are not finite. What loads
nevertheless is a density like others: its log densities are finite at all events inside its box.
"""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import tensorflow as tf
from builders import random_density

from zfit_egmm import archive
from zfit_egmm.archive import ModelFileError
from zfit_egmm.density.files import FORMAT_VERSION, KIND, described, load_density

N_FORGERIES = 300
VALUES = (
    None,
    True,
    0,
    1,
    -1,
    7,
    0.5,
    -0.0,
    1e-300,
    1e30,
    1e300,
    -1e300,
    2**70,
    "",
    "smooth",
    "nan",
    [],
    [0],
    {},
    [[]],
)
NUMBERS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-300, 1e10, -1e10, 1e30, 1e300, -1e300)


@pytest.fixture(scope="module")
def content():
    return described(random_density(5, is_bent=True))


def _places(node, path=()):
    """Paths to everything in nested data."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from _places(value, (*path, key))


def _forge_manifest(rng, manifest):
    """Replace, remove or double one entry, or multiply a number."""
    places = [path for path in _places(manifest) if path[0] not in ("training", "n_weights")]
    *path, key = places[rng.integers(len(places))]
    holder = manifest
    for step in path:
        holder = holder[step]
    change = rng.choice(["replace", "remove", "scale", "nan"])
    if change == "remove":
        del holder[key]
    elif change == "scale" and isinstance(holder[key], float):
        holder[key] *= float(rng.choice([-1.0, 0.5, 3.0, 1e200]))
    elif change == "nan":
        holder[key] = float(rng.choice([np.nan, np.inf, -np.inf]))
    else:
        holder[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    return f"manifest {path} {key} {change}"


def _forge_array(rng, arrays):
    """Change numbers, the shape, the type or the order of one array, or lose it."""
    name = sorted(arrays)[rng.integers(len(arrays))]
    array = arrays[name].copy()
    change = rng.choice(["number", "all", "shape", "type", "order", "remove", "scale"])
    if change == "remove":
        del arrays[name]
        return f"{name} {change}"
    if change == "number" and array.size:
        array.flat[rng.integers(array.size)] = NUMBERS[rng.integers(len(NUMBERS))]
    elif change == "all":
        array = np.full_like(array, NUMBERS[rng.integers(len(NUMBERS))])
    elif change == "shape":
        array = [array[:-1], array[np.newaxis], array.ravel()[:1], np.empty(0)][rng.integers(4)]
    elif change == "type":
        array = array.astype([np.int64, np.complex128, np.bool_, np.float16, "U5"][rng.integers(5)])
    elif change == "order":
        array = array[::-1].copy()
    else:
        array = array * array.dtype.type(rng.choice([-1.0, 1e6, 1e30]))
    arrays[name] = array
    return f"{name} {change}"


@pytest.mark.parametrize("part", range(4))
@pytest.mark.filterwarnings("ignore")
def test_a_forgery_is_refused_when_loaded_or_is_a_density_like_others(content, part, tmp_path):
    outcomes = {"refused": 0, "loaded": 0}
    faults = []
    for seed in range(part * N_FORGERIES // 4, (part + 1) * N_FORGERIES // 4):
        rng = np.random.default_rng([91, seed])
        manifest, arrays = copy.deepcopy(content[0]), dict(content[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            what = _forge_array(rng, arrays) if rng.random() < 0.5 else _forge_manifest(rng, manifest)
            path = archive.write(
                tmp_path / "a.egmm", manifest, arrays, kind=KIND, version=FORMAT_VERSION, overwrite=True
            )
            try:
                density = load_density(path)
            except ModelFileError:
                outcomes["refused"] += 1
                continue
            except Exception as error:
                faults.append(f"{seed}: {what}: loading raised {type(error).__name__}: {error}"[:300])
                continue
            outcomes["loaded"] += 1
            faults += [f"{seed}: {what}: {fault}" for fault in _faults(density, rng)]
    assert not faults, "\n".join(faults)
    # The forgeries are not all of one sort.
    assert outcomes["refused"] > 25
    assert outcomes["loaded"] > 3


def _faults(density, rng):
    """What goes wrong in the use of a density."""
    n = 40
    columns = []
    for observable in density.observables:
        column = observable.low + (observable.high - observable.low) * rng.random(n)
        column[:2] = observable.low, observable.high
        columns.append(np.round(column) if observable.is_discrete else column)
    low, high = np.array(density.theta_range).reshape(-1, 2).T
    try:
        x, theta = np.stack(columns, axis=1), low + (high - low) * rng.random(len(low))
        # Outside of a graph, which would cost a tracing per forgery.
        values = density.log_prob_tensor(tf.constant(x), tf.constant(theta)).numpy()
    except Exception as error:
        return [f"a log density raised {type(error).__name__}: {str(error)[:100]}"]
    return [] if np.isfinite(values).all() else [f"{(~np.isfinite(values)).sum()} log densities are not finite"]
