"""The prover's side of random forms: their values, which are exact sums of committed integers."""

from collections.abc import Iterator, Sequence
from itertools import groupby

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
    layout, blocks = ranged.layout(circuit, name), circuit.blocks[name][-1].end
    cells = embed(layout, dict(enumerate(committed)), blocks * sizes.BLOCK).reshape(blocks, sizes.BLOCK)
    np.subtract(cells, np.uint64(P), out=cells, where=cells > np.uint64(P // 2))  # in place: they may be gigabytes
    return cells.view(np.int64)


def norms(circuit: Circuit, name: str, committed: Sequence[np.ndarray]) -> np.ndarray:
    """The Euclidean norm of each block, float64."""
    tiles = _tiles(cells_of(circuit, name, committed))
    return np.sqrt(np.concatenate([np.square(tile.astype(np.float64)).sum(axis=1) for tile in tiles]))


def values_of_forms(plan: Plan, drawn: Forms, committed: Sequence[np.ndarray]) -> dict[ranged.Shown, np.ndarray]:
    """Those of all blocks that a plan shows in range by forms."""
    found = {}
    for name, own in groupby((x for x in plan.shown if x.tensor[0] == "form"), key=lambda x: x.tensor[1]):  # they stand together
        cells = cells_of(plan.circuit, name, committed)
        for x in own:
            _, _, first = x.tensor
            found[x] = form_values(drawn, cells[first : first + x.shape[0]])
    return found


def form_values(drawn: Forms, cells: np.ndarray) -> np.ndarray:
    """int64 (blocks, COUNT). Recompiles, above 2^18 cells, for the last tile's number of blocks."""
    found = [over_sites(sums, [(tile, drawn.factors)], [tile.size]) for tile in _tiles(cells)]
    return np.concatenate([np.asarray(values) for (values,) in found])


def _tiles(cells: np.ndarray) -> Iterator[np.ndarray]:
    return (cells[start : start + _TILE] for start in range(0, len(cells), _TILE))
