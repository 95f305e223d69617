"""State: everything that a density is made of, for files, for pickle, and for its fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from zfit_egmm.density.base import Density


@dataclass(frozen=True)
class State:
    """What a density is made of besides its axes.

    Args:
        manifest: Plain data that JSON can hold.
        arrays: Numbers by name, in the precision in which they are kept.
        members: Densities that it is composed of.
    """

    manifest: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    members: tuple[Density, ...] = ()
