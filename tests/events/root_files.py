"""Files that tests of reading write."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from zfit_egmm import Observable

N = 300
MASS = Observable("mass", 0, 10, unit="GeV")
ANGLE = Observable("angle", -1, 1)
AXES = (ANGLE, MASS)


def file_columns(n: int = N, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "mass": rng.uniform(0, 10, n),
        "angle": rng.uniform(-1, 1, n).astype(np.float32),
        "jets": rng.integers(0, 4, n).astype(np.int32),
        "charge": rng.choice([-1, 1], n).astype(np.int8),
        "event": rng.integers(0, 2**40, n).astype(np.uint64),
        "is_good": rng.random(n) < 0.6,
        "w_gen": rng.choice([-1.0, 1.0], n, p=[0.2, 0.8]),
        "w_pileup": rng.uniform(0.5, 1.5, n),
        "c_hw": rng.choice([-1.0, 0.0, 2.5], n),
        "c_hb": rng.normal(size=n),
    }


def write_file(path: Path, kind: str, columns: dict, *, tree: str = "events") -> Path:
    """A file with a TTree or an RNTuple, written in two pieces."""
    half = len(next(iter(columns.values()))) // 2
    with uproot.recreate(path) as file:
        if kind == "TTree":
            types = {
                name: value.dtype if isinstance(value, np.ndarray) else "var * float64"
                for name, value in columns.items()
            }
            file.mktree(tree, types)
        else:
            file.mkrntuple(tree, ak.Array({name: value[:0] for name, value in columns.items()}).layout.form)
        for part in (slice(half), slice(half, None)):
            file[tree].extend({name: value[part] for name, value in columns.items()})
        file["histogram"] = np.histogram([1.0, 2.0])
    return path
