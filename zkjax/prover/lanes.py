"""The opening's weights on a commitment as few vectors: terms on tensors become lanes of the rows that their blocks fill.

A block of a tensor stands in its layout row-major. Where it spans many rows, the leading axes number the rows and give each
a factor, the trailing ones give all of them the same vector; an axis that is cut by the end of a row does both, if its
vector is a product, as eq vectors are; else each of its parts has a lane. Blocks of equal shapes at the same place of a row share their
lanes. Weights of axes that interleave, and those of small blocks, are added up in one lane for each of their rows.
"""

import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import Ext
from ..algebra.layout import Layout, Piece
from ..algebra.low_rank import factorised
from ..algebra.poly import eq_vector, num_bits
from ..algebra.vectors import Vector
from ..commitment.rows import Lane, single_row_lane
from ..kernels.host import multiply, outer_product
from ..kernels.sites import low_rank
from ..protocol.claims import Term
from ..protocol.disclosure import HIDDEN, Point
from ..protocol.links import LinkClaims
from .aggregate import over_sites

_SMALL = 16  # blocks below this part of a row are added up
_MANY, _WHOLE = 16, 2**22  # and those of more terms, up to so many entries: a lane for each term would take longer
_PARTS = 8  # of the vector of an axis that the end of a row cuts: so many lanes at most
_SHORT, _LONG = 2**4, 2**10  # trailing axes are joined up to the second length, and anyway if they are below the first


def row_lanes(layout: Layout, by_key: dict, count: int, row: int) -> list[Lane]:
    """Lanes of the terms on a layout's tensors, for its cells as ``count`` rows.

    by_key: tensor to terms. Recompiles, above 2^18 entries, for shapes of large blocks whose weights are no products.
    """
    lanes: dict = {}  # (start, name): (vectors of its axes, K factors of the rows)
    rest: dict = {}  # row: K (row,), the weights that are added up
    parts: dict = {}  # what terms have in common
    for piece in layout.pieces:
        size, (first, start) = 1 << sum(piece.bits), divmod(piece.offset, row)
        loose, terms = [], by_key.get(piece.key, [])
        added = size * _SMALL < row or len(terms) > _MANY and size <= _WHOLE
        for term in terms:
            axes = _axes(term, piece, layout.shapes[piece.key], parts)
            found = None if added else _as_lanes(axes, term.scalar, max(0, sum(piece.bits) - num_bits(row)), parts)
            if found is None:
                loose.append((axes, term.scalar))
            for name, factors, vectors in found or ():
                if (start, name) not in lanes:
                    lanes[start, name] = vectors, tuple(np.zeros(count, dtype=np.uint64) for _ in range(2))
                _add_to(lanes[start, name][1], first, factors)
        if loose:
            _add_block(rest, piece, loose, row)
    by_name = {name: vectors for (_, name), (vectors, _) in lanes.items()}  # at several places of a row the same
    joined = {name: _head_and_tail(vectors) for name, vectors in by_name.items()}
    result = [Lane(factors, start, *joined[name]) for (start, name), (_, factors) in lanes.items()]
    return result + [single_row_lane(i, count, vector) for i, vector in rest.items()]


def link_lanes(claims: LinkClaims, place: int) -> list[Lane]:
    """Lanes of the links that lead from or to the matrix at this place of the stack: of all its rows and columns."""
    lanes = []
    for pair, scalar in zip(claims.links.pairs, claims.scalars, strict=True):
        for at, factor in ((pair.source, -scalar), (pair.to, scalar)):
            if at == place:
                lanes.append(point_lane(ext.mul(eq_vector(claims.high(pair), pair.rows), ext.stack([factor])), claims.low))
    return lanes


def point_lane(factors, low: list[Ext]) -> Lane:
    """The lane of factors (x) eq(low) on all columns. factors: K (R,), of the rows."""
    cut = max(0, len(low) - num_bits(_LONG))
    return Lane(factors, 0, eq_vector(low[:cut]), eq_vector(low[cut:]))


def cell_lanes(point: Point, offset: int, cells: np.ndarray) -> list[Lane]:
    """Lanes of a point's weights on the public cells of a matrix whose rows begin at this one of the stack: a lane where all cells are."""
    factors, shown = tuple(c[offset : offset + len(cells)] for c in eq_vector(point.high)), cells != HIDDEN
    if shown.all():
        return [point_lane(factors, point.low)]
    columns, used = eq_vector(point.low), np.flatnonzero(shown.any(axis=1))
    lanes = [single_row_lane(i, len(cells), ext.mul_base(columns, shown[i].astype(np.uint64))) for i in used]
    return [lane._replace(factors=ext.mul(lane.factors, factors)) for lane in lanes]


def _head_and_tail(vectors):
    """The product of K vectors as one of two, the second one long enough to work along it."""
    *rest, tail = vectors
    while rest and (len(tail[0]) < _SHORT or len(rest[-1][0]) * len(tail[0]) <= _LONG):
        tail = outer_product(rest.pop(), tail)
    head = ext.stack([1])
    for vector in rest:
        head = outer_product(head, vector)
    return head, tail


def _axes(term: Term, piece: Piece, shape: tuple[int, ...], parts: dict) -> list[tuple]:
    """(axes, vector, its name in ``parts``) of a term, restricted to the piece and padded as its block is; in order of the first axes."""
    first = term.step is not None
    groups = [((0,), term.step)] if first else []
    groups += [(tuple(d + first for d in group), vector) for group, vector in zip(term.groups, term.vectors, strict=True)]
    result = []
    for group, vector in sorted(groups, key=lambda item: item[0]):
        name = vector, tuple((shape[d], piece.starts[d], piece.lengths[d]) for d in group)
        if name not in parts:
            box = tuple(slice(piece.starts[d], piece.starts[d] + piece.lengths[d]) for d in group)
            there, lengths = tuple(slice(piece.lengths[d]) for d in group), tuple(1 << piece.bits[d] for d in group)
            block = np.zeros((2, *lengths), dtype=np.uint64)
            for target, c in zip(block, vector, strict=True):
                target[there] = np.asarray(c).reshape([shape[d] for d in group])[box]
            parts[name] = Vector(c.reshape(-1) for c in block)
        result.append((group, parts[name], name))
    return result


def _as_lanes(axes, scalar: Ext, row_variables: int, parts: dict):
    """(name, K factors of the block's rows, vectors of the lane's axes) of the lanes of one term on one block, or None.

    Several where the vector of an axis that the end of a row cuts is no product; None where groups of axes interleave, or it falls into
    many parts. parts: as for ``_axes``.
    """
    found, following = [((), ext.stack([scalar]), [])], 0
    for group, vector, name in axes:
        if group != tuple(range(following, following + len(group))):
            return None
        following += len(group)
        variables = num_bits(len(vector[0]))
        above = min(variables, row_variables)
        row_variables -= above
        if above == variables:
            found = [(names, outer_product(factors, vector), vectors) for names, factors, vectors in found]
            continue
        if (name, above) not in parts:
            parts[name, above] = _cut(tuple(c.reshape(1 << above, -1) for c in vector))
        if len(parts[name, above]) > _PARTS:
            return None
        found = [
            ((*names, (name, above, j)), outer_product(factors, upper), [*vectors, lower])
            for names, factors, vectors in found
            for j, (upper, lower) in enumerate(parts[name, above])
        ]
    return found


def _cut(table) -> list:
    """Pairs of vectors (a, b) with table = sum of a (x) b; K (rows, columns): one pair if the table is a product, else one for each row."""
    found = np.argwhere(table[0] | table[1])
    if not len(found):
        return [(tuple(c[:, 0] for c in table), tuple(c[0] for c in table))]
    i, j = found[0]
    inverse = Ext(int(table[0][i, j]), int(table[1][i, j])).inverse()
    a, b = ext.mul(tuple(c[:, j] for c in table), ext.stack([inverse])), tuple(c[i] for c in table)
    if all(np.array_equal(x, y.reshape(x.shape)) for x, y in zip(table, outer_product(a, b), strict=True)):
        return [(a, b)]
    rows = range(len(table[0]))
    return [(ext.from_base(np.eye(1, len(rows), i, dtype=np.uint64)[0]), tuple(c[i] for c in table)) for i in rows]


def _add_block(rest: dict, piece: Piece, terms: list, row: int):
    """Add the weights of terms, given as (axes, scalar), on a block to those of its rows."""
    products = [[((), Vector(ext.stack([scalar]))), *((group, vector) for group, vector, _ in axes)] for axes, scalar in terms]
    factors = factorised(products, tuple(1 << b for b in piece.bits), multiply)
    (block,) = over_sites(low_rank, [factors], [1 << sum(piece.bits)])
    flat = [np.asarray(c).reshape(-1) for c in block]
    for start in range(piece.offset, piece.offset + len(flat[0]), row):
        i, at = divmod(start, row)
        if i not in rest:
            rest[i] = tuple(np.zeros(row, dtype=np.uint64) for _ in range(2))
        _add_to(rest[i], at, tuple(c[start - piece.offset :][:row] for c in flat))


def _add_to(weights, start: int, part):
    """In place."""
    end = start + len(part[0])
    for target, total in zip(weights, ext.add(tuple(c[start:end] for c in weights), part), strict=True):
        target[start:end] = total
