"""scan_grid: the profile likelihood of two parameters on a grid, fitted only where it matters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import Akima1DInterpolator
from scipy.ndimage import binary_dilation

from zfit_egmm.inference.likelihood.profiled import NOISE, Point, Profiled
from zfit_egmm.inference.scans.line_search import FAR
from zfit_egmm.inference.scans.progress import ScanProgress

STRIDE = 4
"""Nodes of the grid per node of the first, coarse grid."""

SMOOTH = 0.05
"""Largest error of ``-2 Delta ln L`` interpolated at every second node for which those between are not fitted."""

JUMP = 1.0
"""Neighbours whose other parameters differ by more errors than this may lie in different minima."""

Node = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Grid:
    """Profile likelihood of two parameters on a grid.

    Args:
        x: Values of the first parameter, shape ``(n,)``.
        y: Values of the second, shape ``(n,)``.
        minus2_log_ratio: ``-2 Delta ln L`` against the best fit, shape ``(n, n)``, the first axis for ``x``.
        is_fitted: Where the others were fitted, same shape; elsewhere ``-2 Delta ln L`` is interpolated.
        is_valid: Where the fit is valid or there is none, same shape.
    """

    x: np.ndarray
    y: np.ndarray
    minus2_log_ratio: np.ndarray
    is_fitted: np.ndarray
    is_valid: np.ndarray


def scan_grid(
    profiled: Profiled, ranges: Sequence[tuple[float, float]], n_points: int, threshold: float, bar: ScanProgress
) -> Grid:
    """Fit a coarse grid, and finer ones where ``-2 Delta ln L`` is below a threshold.

    Nodes of the finest grid are interpolated where that is precise at the nodes around.

    Args:
        profiled: Profile likelihood of two parameters.
        ranges: Of the two parameters.
        n_points: Nodes per parameter, one more than a multiple of four.
        threshold: Highest ``-2 Delta ln L`` of interest.
        bar: Counts the fits.
    """
    nodes = _Nodes(profiled, [np.linspace(*ends, n_points) for ends in ranges], threshold, bar)
    steps = range(0, n_points, STRIDE)
    nodes.fit((i, j) for i in steps for j in steps)
    values, is_rough = nodes.ratios(STRIDE), np.ones((len(steps), len(steps)), dtype=bool)
    stride = STRIDE
    while stride > 1:
        stride //= 2
        values, is_rough = _refined(nodes, stride, values, is_rough, threshold)
    shape = (n_points, n_points)
    is_fitted, is_valid = np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool)
    for node, point in nodes.found.items():
        is_fitted[node], is_valid[node] = True, point.is_valid
    return Grid(nodes.axes[0], nodes.axes[1], values, is_fitted, is_valid)


def interpolated(
    x: np.ndarray, y: np.ndarray, values: np.ndarray, fine_x: np.ndarray, fine_y: np.ndarray
) -> np.ndarray:
    """Values on a finer grid, shape ``(n_fine_x, n_fine_y)``: exact for parabolas, and local (Akima)."""
    return Akima1DInterpolator(y, Akima1DInterpolator(x, values, axis=0)(fine_x), axis=1)(fine_y)


def _refined(
    nodes: _Nodes, stride: int, coarse: np.ndarray, is_rough: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Values at half the spacing, and where interpolation to them was too rough, both of the new shape."""
    x, y = (axis[::stride] for axis in nodes.axes)
    predicted = interpolated(x[::2], y[::2], coarse, x, y)
    values = predicted.copy()
    is_wanted, is_off = _spread(is_rough), np.zeros(values.shape, dtype=bool)
    around_best = np.logical_and.outer(
        *(
            np.abs(axis[::stride] - nodes.profiled.best.values[name]) <= 1.5 * stride * (axis[1] - axis[0])
            for axis, name in zip(nodes.axes, nodes.profiled.names, strict=True)
        )
    )
    while True:
        is_near = binary_dilation((values < threshold) | around_best, np.ones((3, 3)))
        is_new = is_near & (is_wanted | around_best) & np.isnan(nodes.ratios(stride))
        if not is_new.any():
            return values, is_off
        nodes.fit([(stride * i, stride * j) for i, j in np.argwhere(is_new).tolist()])
        fitted = nodes.ratios(stride)
        values = np.where(np.isnan(fitted), values, fitted)
        is_off |= is_new & (np.abs(values - predicted) > SMOOTH)
        is_wanted |= binary_dilation(is_off, np.ones((5, 5)))


def _spread(is_rough: np.ndarray) -> np.ndarray:
    """A mask of nodes on the grid of half the spacing, with the nodes around."""
    fine = np.zeros([2 * n - 1 for n in is_rough.shape], dtype=bool)
    fine[::2, ::2] = is_rough
    return binary_dilation(fine, np.ones((5, 5)))


class _Nodes:
    """Fits at nodes of a grid, each started from the nearest one known."""

    def __init__(self, profiled: Profiled, axes: Sequence[np.ndarray], threshold: float, bar: ScanProgress) -> None:
        self.profiled = profiled
        self.axes = list(axes)
        self.found: dict[Node, Point] = {}
        self._threshold = threshold
        self._bar = bar
        self._known = [(self._position(minimum.values), minimum.values) for minimum in profiled.minima]

    def fit(self, wanted: Iterable[Node]) -> None:
        """Fit nodes, from the best fit outwards."""
        nodes = np.array(list(wanted))
        self._bar.plan(len(nodes))
        order = np.argsort(np.hypot(*(nodes - self._known[0][0]).T), kind="stable")
        others = [minimum.values for minimum in self.profiled.minima[1:]]
        for i, j in nodes[order].tolist():
            distances = np.hypot(*(np.array([place for place, _ in self._known]) - (i, j)).T)
            nearest = self._known[int(np.argmin(distances))][1]
            self._keep((i, j), self.profiled.at(self._at((i, j)), nearest, *others))
            self._bar.advance()
        for i, j in nodes.tolist():
            self._compare((i, j))

    def ratios(self, stride: int) -> np.ndarray:
        """``-2 Delta ln L`` on the grid with a stride, NaN where nothing was fitted."""
        values = np.full([len(axis[::stride]) for axis in self.axes], np.nan)
        for (i, j), point in self.found.items():
            if i % stride == j % stride == 0:
                values[i // stride, j // stride] = self.profiled.ratio(point)
        return values

    def _keep(self, node: Node, point: Point) -> None:
        self.found[node] = point
        self._known.append((np.array(node, float), point.values))

    def _compare(self, node: Node) -> None:
        """Fit again from neighbours with very different parameters, as they may lie in another minimum."""
        left = [node]
        while left:
            here = left.pop()
            for there in [there for there in _around(here) if there in self.found]:
                for start, end in ((here, there), (there, here)):
                    if not self._is_jump(start, end):
                        continue
                    point = self.profiled.at(self._at(end), self.found[start].values)
                    if point.nll < self.found[end].nll - NOISE:
                        self._keep(end, point)
                        left.append(end)

    def _is_jump(self, start: Node, end: Node) -> bool:
        """Whether another minimum may make a difference at the end."""
        one, other = self.found[start], self.found[end]
        return self.profiled.ratio(other) < FAR * self._threshold and any(
            abs(one.values[name] - other.values[name]) > JUMP * self.profiled.error(name)
            for name in self.profiled.nuisances
        )

    def _at(self, node: Node) -> list[float]:
        return [float(axis[number]) for axis, number in zip(self.axes, node, strict=True)]

    def _position(self, values: Mapping[str, float]) -> np.ndarray:
        """A point in units of nodes."""
        return np.array(
            [
                (values[n] - axis[0]) / (axis[1] - axis[0])
                for n, axis in zip(self.profiled.names, self.axes, strict=True)
            ]
        )


def _around(node: Node) -> Iterator[Node]:
    for stride in (1, 2, STRIDE):
        for i, j in ((stride, 0), (-stride, 0), (0, stride), (0, -stride)):
            yield node[0] + i, node[1] + j
