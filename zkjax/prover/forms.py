"""The prover's side of random forms: their values, which are exact sums of committed integers."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..algebra.field import P
from ..circuit import ranged
from ..circuit.circuit import Circuit
from ..kernels.forms import sums
from ..ops import forms as sizes
from ..protocol.forms import Forms
from ..protocol.plan import Plan
from .aggregate import embed, over_sites

_TILE = 2**8  # blocks that are summed at once


def cells_of(circuit: Circuit, name: str, committed: Sequence[np.ndarray]) -> np.ndarray:
    """The cells of a matrix, int64 (blocks, BLOCK). committed: the integers of all first states."""
    layout = ranged.layout(circuit, name)
    blocks, _ = sizes.shape(layout.size)
    cells = embed(layout, dict(enumerate(committed)), blocks * sizes.BLOCK).reshape(blocks, sizes.BLOCK)
    np.subtract(cells, np.uint64(P), out=cells, where=cells > np.uint64(P // 2))  # in place: they may be gigabytes
    return cells.view(np.int64)


def largest_norm(circuit: Circuit, name: str, committed: Sequence[np.ndarray]) -> float:
    """The largest Euclidean norm of a block."""
    return max(float(np.square(tile.astype(np.float64)).sum(axis=1).max()) for tile in _tiles(cells_of(circuit, name, committed))) ** 0.5


def values_of_forms(plan: Plan, drawn: Forms, committed: Sequence[np.ndarray]) -> dict[ranged.Shown, np.ndarray]:
    """Those of all matrices that a plan shows in range by forms."""
    shown = [x for x in plan.shown if x.tensor[0] == "form"]
    return {x: form_values(drawn, cells_of(plan.circuit, x.tensor[1], committed)) for x in shown}


def form_values(drawn: Forms, cells: np.ndarray) -> np.ndarray:
    """int64 (blocks, COUNT). Recompiles, above 2^18 cells, for the last tile's number of blocks."""
    found = [over_sites(sums, [(tile, drawn.factors)], [tile.size]) for tile in _tiles(cells)]
    return np.concatenate([np.asarray(values) for (values,) in found])


def _tiles(cells: np.ndarray) -> Iterator[np.ndarray]:
    return (cells[start : start + _TILE] for start in range(0, len(cells), _TILE))
