"""Products of NumPy tables: long ones by kernels of few fixed lengths.

The prover's tables have as many shapes as its circuit has tensors. A kernel compiled for each of them would take longer than all
proofs of a session, and NumPy takes thirty passes over memory for a product: ten times as long. So a table's entries are
multiplied in pieces of two lengths, the last of which is padded.
"""

import jax.numpy as jnp
import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.extension import ZERO, Ext
from .jit import jit
from .products import ALWAYS, GROUP, add, inner, inner_products, stored

SHORT, LONG = 2**12, 2**15  # entries of a piece
_LEAST = 2**11  # shorter tables stay in NumPy
ROWS = 4  # that one call multiplies by one vector


def multiply(a, b, total=None):
    """a * b, plus ``total`` if it is given: K arrays, or one of them over F; shapes are broadcast. NumPy, a K array.

    a, b: tuples of one or two arrays; total: a K array of the result's shape.
    """
    shape = np.broadcast_shapes(a[0].shape, b[0].shape)
    size = int(np.prod(shape))
    if size < _LEAST:
        if len(a) < len(b):
            a, b = b, a
        found = ext.mul(a, b) if len(b) == 2 else ext.mul_base(a, b[0])
        return found if total is None else ext.add(total, found)
    tables = [tuple(np.broadcast_to(c, shape).reshape(-1) for c in x) for x in (a, b)] + [total and tuple(c.reshape(-1) for c in total)]
    result = np.empty((2, size), dtype=np.uint64)
    for part, pieces in _pieces(size, *tables):
        for target, c in zip(result, _multiply(*pieces), strict=True):
            target[part] = np.asarray(c)[: size - part.start]
    return tuple(c.reshape(shape) for c in result)


def outer_product(a, b):
    """The products of each entry of a with each of b, K vectors of NumPy: K (m,) and (n,) to (m n,)."""
    return tuple(c.reshape(-1) for c in multiply(tuple(c[:, None] for c in a), tuple(c[None] for c in b)))


def dots(vector, rows) -> list[Ext]:
    """<vector, row> of a NumPy vector over K with each row over F; up to ``ROWS`` rows."""
    if len(vector[0]) < _LEAST:
        return [Ext(*map(int, ext.sum(ext.mul_base(vector, row)))) for row in rows]
    tables = [vector, *((row,) for row in rows)]
    tables += [tables[-1]] * (ROWS + 1 - len(tables)) if len(rows) > 1 else []  # two kernels: of one row, and of so many
    totals = [ZERO] * len(rows)
    for _, (piece, *others) in _pieces(len(vector[0]), *tables):
        sums = np.asarray(_dots(piece, [x for (x,) in others], ALWAYS)).tolist()
        totals = [total + Ext(*found) for total, found in zip(totals, sums, strict=False)]
    return totals


def _pieces(size: int, *tables):
    """Slices that make up ``size`` entries, and the tables' entries there, filled up with zeros."""
    start = 0
    while start < size:
        length = LONG if size - start > LONG // 2 else SHORT
        part = slice(start, start + length)
        missing = (0, max(0, start + length - size))
        yield part, [x and tuple(np.pad(c[part], missing) if missing[1] else c[part] for c in x) for x in tables]
        start += length


@jit
def _multiply(a, b, total):
    found = inner_products([(a, b)])
    return found if total is None else add(found, total)


@jit
def _dots(vector, rows, always):
    """uint64 (rows, 2)."""

    def products(vector, rows):
        rows = jnp.stack(rows).reshape(len(rows), GROUP, -1)  # one expression for all rows: compiled in half the time
        vector = [c.reshape(GROUP, -1) for c in vector]
        return jnp.stack([inner([(c[i], rows[:, i]) for i in range(GROUP)]) for c in vector], axis=1)

    return field.sum(stored(always, products, vector, rows), axis=-1)
