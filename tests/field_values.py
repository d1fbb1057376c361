"""Values that tests of field arithmetic draw from, and weights and layouts written out."""

import numpy as np
from hypothesis import strategies as st

from zkjax.algebra import extension as ext
from zkjax.algebra.extension import Ext
from zkjax.algebra.field import P
from zkjax.algebra.vectors import Vector

EDGES = [0, 1, 2, 7, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1, 2**63, 2**63 + 1, P // 2, P - 2**32, P - 2, P - 1]
UINT64_EDGES = [*EDGES, P, P + 1, 2**64 - 2**31, 2**64 - 1]

elements = st.one_of(st.sampled_from(EDGES), st.integers(0, P - 1))
extension_elements = st.builds(Ext, elements, elements)
EXTENSION_EDGES = [Ext(a, b) for a in (0, 1, 2**32 - 1, 2**32, 2**63, P - 1) for b in (0, 1, 2**32, P - 1)]


def arrays_over_k(draw, size):
    """``size`` elements of K from a drawn seed: edges and random ones mixed."""
    return [draw.choice(EXTENSION_EDGES) if draw.random() < 0.2 else Ext(draw.randrange(P), draw.randrange(P)) for _ in range(size)]


def random_vector(rng, length: int) -> Vector:
    """A K vector of a generator's elements."""
    return Vector(rng.integers(0, P, length, dtype=np.uint64) for _ in range(2))


def dense(lanes, count: int, row: int):
    """The weights that an opening's lanes add up to, NumPy K (count, row)."""
    weights = tuple(np.zeros((count, row), dtype=np.uint64) for _ in range(2))
    for lane in lanes:
        product = ext.mul(tuple(c[:, None] for c in lane.head), tuple(c[None] for c in lane.tail))
        vector = tuple(c.reshape(-1) for c in product)
        part = slice(lane.start, lane.start + lane.length)
        for i in range(count):
            added = ext.add(tuple(c[i, part] for c in weights), ext.mul(vector, tuple(c[i : i + 1] for c in lane.factors)))
            for target, total in zip(weights, added, strict=True):
                target[i, part] = total
    return weights


def blocks(layout, values, fill=0) -> list:
    """A layout's blocks, flat, in order; padding cells hold ``fill``."""
    return [piece.block(values[piece.key], fill) for piece in layout.pieces]
