"""Open many commitments at once in zero knowledge: prove <F, W> = value for the stacked matrix F and public weights W.

F stacks the rows of all commitments (see ``stack``); both sides know W, the prover as arrays, the verifier through its
multilinear extension. The row variables go in a sumcheck whose messages are one-time padded by s (the mask row S). Then
g, s' (mask rows G, S') hide everything that is sent in the clear: h = g + eps * fold(F) is uniform and goes to a recursion
without zero knowledge. Order matters: mu before eps; hp, s*, r* and the announcement of h before the queries.

Per opened column x, with t the most random coefficients of any row, the verifier checks
  S'(x) + eps S(x) = sum_i s*_i x^i + x^(2 l0) sum_j r*_j x^j
and learns  h(x) = G(x) + eps sum_i eq(gamma, i) F_i(x) - x^k sum_j hp_j x^j.

Zero knowledge: q columns in each of ``budget`` openings are uniform (their rows carry budget * q random coefficients); g
is uniform on all k + t coefficients; every round message has its own pad, and s is masked by s'.
Sources: VEIL (ePrint 2026/683) and HVZK-WHIR (ePrint 2026/391) for masks of the folded row and padded rounds; Longfellow
(ePrint 2024/2010) for deferred pads. Soundness: ``Geometry.error_terms``.
"""

from functools import lru_cache

import numpy as np

from .. import extension as ext
from .. import field
from ..errors import ConfigurationError, VerificationError
from ..extension import ONE, ZERO, Ext
from ..poly import eq_vector
from .commit import Commitment, Committed, stack
from .geometry import MASK_ROWS, Geometry
from .merkle import tree_tag
from .recursion import Folding, _roots, announce, fold_columns, open_columns, reduce_levels, round_claim

_WEIGHT_CELLS = 2**20  # weights asked from a callable at a time


def open_claim(stream, geometry: Geometry, committed: list[Committed], weights, value: Ext) -> None:
    """Prove <F, W> = value.

    stream:    Writer; all commitments are part of its statement or absorbed before W was fixed
    committed: one of them, the trace, with mask rows made for exactly this opening
    weights:   for each committed, in the same order, K[R, k], or a function (start, stop) -> K[stop - start, k]
    Transcript: absorbs the commitments and the value, then all messages, in the order of the module's docstring.
    Recompiles for: k, n, the levels' sizes, not for row counts.
    Raises: ConfigurationError - budgets, geometry or mask sizes do not fit together.
    """
    _open(stream, geometry, [c.commitment for c in committed], value, committed=committed, weights=weights)


def verify_claim(stream, geometry: Geometry, commitments: list[Commitment], evaluate, value: Ext) -> None:
    """Verify <F, W> = value.

    stream:   Reader at the opening's first message
    evaluate: (row_point, column_point) -> the multilinear extension of W there; l0 and log_row variables, top bit first
    Raises: VerificationError, FormatError.
    """
    try:
        _open(stream, geometry, commitments, value, evaluate=evaluate)
    except ConfigurationError as error:
        raise VerificationError("commitments", str(error)) from None


def check_opening(geometry: Geometry, commitments: list[Commitment]) -> tuple[list[int], int, int]:
    """Offsets of the stacked commitments, l0, and t. Raises ConfigurationError for what must not be opened together."""
    geometry.check()
    padding = [geometry.padding(c.budget) for c in commitments]
    masked = [c for c in commitments if c.masked]
    if len(masked) != 1 or masked[0].budget != 1:
        raise ConfigurationError("an opening takes exactly one commitment with mask rows, of budget 1")
    offsets, log_rows = stack([c.rows for c in commitments])
    if 2 * log_rows + geometry.queries > geometry.row + max(padding):
        raise ConfigurationError(f"rows of {geometry.row} are too short for the pads of {log_rows} row rounds")
    return offsets, log_rows, max(padding)


def _open(stream, geometry, commitments, value, *, committed=None, weights=None, evaluate=None):
    offsets, log_rows, padding = check_opening(geometry, commitments)
    stream.transcript.absorb("opening", b"".join(c.digest(geometry) for c in commitments) + ext_bytes(value))
    k, q, plan = geometry.row, geometry.queries, geometry.plan()
    if committed:
        g, s, s_dash = _masks(geometry, committed, log_rows, padding)
        folding = Folding(_tiles(committed, weights, offsets, k), 1 << log_rows)

    known, pads, row_point = value, [], []  # the running claim is known + <pads, s>
    for i in range(log_rows):
        message = None
        if committed:
            message = ext.sub(folding.message(), tuple(c[2 * i : 2 * i + 2] for c in s))
        constant, leading = ext.unstack(stream.elements("row round", 2, message))
        r = stream.transcript.challenge("row fold")
        known = round_claim(known, constant, leading, r)
        pads = [pad * r for pad in pads] + [ONE - r - r, r * r - r]
        row_point.append(r)
        if committed:
            folding.fold(r)

    mu = vector = column_weights = None
    if committed:
        fold, column_weights = folding.vectors()
        mu = ext.stack([_inner(_cut(g, 0, k), column_weights) - ext.dot(_cut(s_dash, 0, 2 * log_rows), ext.stack(pads))])
    mu = ext.unstack(stream.elements("mu", 1, mu))[0]
    eps = stream.transcript.challenge("eps")

    folded_padding = star = None
    if committed:
        factor = ext.stack([eps])
        vector = _combine(_cut(g, 0, k), fold, factor)
        folded = _fold_padding(committed, offsets, eq_vector(row_point), padding)
        folded_padding = ext.add(_cut(g, k, padding), ext.mul(folded, factor))
        star = ext.add(s_dash, ext.mul(s, factor))
    folded_padding = stream.elements("folded padding", padding, folded_padding)
    star = stream.elements("folded pads", 2 * log_rows + q, star)
    announced = announce(stream, plan, 0, vector)

    indices = sorted(set(stream.transcript.indices("queries", q, geometry.log_code)))
    columns = []
    for i, c in enumerate(commitments):
        prover = {"tree": committed[i].tree, "columns": committed[i].columns, "salts": committed[i].salts} if committed else {}
        tag = tree_tag(c.kind, c.number)
        columns.append(open_columns(stream, tag, geometry.log_code, indices, c.entries, c.root, salted=True, **prover))

    targets, claim = None, ZERO
    if not committed:
        targets = _check_columns(geometry, commitments, offsets, columns, indices, eq_vector(row_point), eps, folded_padding, star)
        claim = eps * known + mu + ext.dot(_cut(star, 0, 2 * log_rows), ext.stack(pads))
    reduce_levels(
        stream,
        plan,
        announced,
        (geometry.log_code, indices, targets),
        claim,
        weights=column_weights,
        evaluate_weights=lambda point: evaluate(row_point, point),
    )


def _check_columns(geometry, commitments, offsets, columns, indices, eq, eps, folded_padding, star):
    """Check the mask rows at the opened columns; returns the values of h there, a K array."""
    x = _roots(geometry.log_code, indices)
    factor = ext.stack([eps])
    total = None
    for c, offset, values in zip(commitments, offsets, columns, strict=True):
        part = fold_columns(_cut(eq, offset, c.rows), values[: c.rows])
        total = part if total is None else ext.add(total, part)
        if c.masked:
            g, s, s_dash = [(values[i], values[i + 1]) for i in range(c.rows, c.rows + MASK_ROWS, 2)]
    expected = ext.add(s_dash, ext.mul(s, factor))
    if not all(np.array_equal(a, b) for a, b in zip(expected, _values(star, x), strict=True)):
        raise VerificationError("mask", "the folded pads contradict the opened columns")
    high = ext.mul_base(_values(folded_padding, x), field.power(x, geometry.row))
    return ext.sub(ext.add(g, ext.mul(total, factor)), high)


def _values(coefficients, x: np.ndarray):
    """Values at all x of a polynomial over K."""
    powers, step = np.ones((len(x), 1), dtype=np.uint64), x[:, None]
    while powers.shape[1] < len(coefficients[0]):
        powers = np.concatenate([powers, field.mul(powers, step)], axis=1)
        step = field.mul(step, step)
    powers = powers[:, : len(coefficients[0])]
    return ext.sum(ext.mul_base(tuple(c[None] for c in coefficients), powers), axis=1)


def ext_bytes(value: Ext) -> bytes:
    """16 canonical bytes."""
    return value.c0.to_bytes(8, "little") + value.c1.to_bytes(8, "little")


# ---- prover only --------------------------------------------------------------------------------------------------


def _masks(geometry, committed, log_rows: int, padding: int):
    """G, S, S' of the masked commitment, after comparing their sizes with this opening's."""
    mask = next(c.mask for c in committed if c.commitment.masked)
    sizes = geometry.row + padding, 2 * log_rows + geometry.queries
    if (mask[0].shape[1], mask[1].shape[1]) != sizes:
        raise ConfigurationError(f"mask rows of {mask[0].shape[1]} and {mask[1].shape[1]} coefficients, this opening needs {sizes}")
    return [(row[0], row[1]) for row in mask]


def _tiles(committed, weights, offsets, k: int):
    """Position in the stack to (row, its weights), or None where no row stands."""
    block = max(1, _WEIGHT_CELLS // k)

    @lru_cache(maxsize=2)  # rows are read in pairs, one from each half of the stack
    def weight_block(i: int, start: int):
        return weights[i](start, min(start + block, committed[i].commitment.rows))

    def tile(position: int):
        for i, (c, offset) in enumerate(zip(committed, offsets, strict=True)):
            row = position - offset
            if 0 <= row < c.commitment.rows:
                source, at = (weight_block(i, row - row % block), row % block) if callable(weights[i]) else (weights[i], row)
                return c.rows[row], (source[0][at], source[1][at])
        return None

    return tile


def _fold_padding(committed, offsets, eq, padding: int):
    """The random coefficients folded like the rows: a K array of length ``padding``."""
    total = tuple(np.zeros(padding, dtype=np.uint64) for _ in range(2))
    for c, offset in zip(committed, offsets, strict=True):
        part = fold_columns(_cut(eq, offset, c.commitment.rows), c.padding)
        total = ext.add(total, tuple(np.pad(x, (0, padding - len(x))) for x in part))
    return total


def _combine(g, fold, factor):
    from ..kernels.opening import run, scaled_sum

    return run(scaled_sum, g, fold, factor)


def _inner(a, b) -> Ext:
    """<a, b> of two long K arrays."""
    from ..kernels.opening import halving_sum, products, run

    zero = ext.from_base(b[0] & np.uint64(0))
    total, _ = run(products, (zero, zero), a, a, b, b)
    return ext.unstack(run(halving_sum, total))[0]


def _cut(x, start: int, length: int):
    return tuple(c[start : start + length] for c in x)
