"""Open many commitments at once in zero knowledge: prove <F, W> = value for the stacked matrix F and public weights W.

F stacks the rows of all opened parts of commitments (see ``stack``); both sides know W, the prover as arrays, the verifier through its
multilinear extension. The row variables go in a sumcheck, lowest first, whose messages are one-time padded by s (the mask row S). Then
g, s' (mask rows G, S') hide everything that is sent in the clear: h = g + eps * fold(F) is uniform and goes to a recursion
without zero knowledge. Order matters: mu before eps; hp, s*, r* and the announcement of h before the queries.

Per opened column x, with t the most random coefficients of any row, the verifier checks
  S'(x) + eps S(x) = sum_i s*_i x^i + x^(2 l0) sum_j r*_j x^j
and learns  h(x) = G(x) + eps sum_i eq(gamma, i) F_i(x) - x^k sum_j hp_j x^j.

Zero knowledge: q columns in each of ``budget`` openings are uniform (their rows carry budget * q random coefficients); g
is uniform on all k + t coefficients; every round message has its own pad, and s is masked by s'.
Sources: VEIL (ePrint 2026/683) and HVZK-WHIR (ePrint 2026/391) for masks of the folded row and padded rounds; Longfellow
(ePrint 2024/2010) for deferred pads. Soundness: ``Geometry.error_terms``.

PROTOCOL.md, sections 15, 17.
"""

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.extension import ONE, ZERO, Ext
from ..algebra.poly import eq_vector
from ..errors import ConfigurationError, VerificationError
from ..protocol.transcript import element_bytes
from ..work import CALL, ENTRY, HASH, PASSING, PRODUCT, SCALAR, TERM, Meter
from .commit import Committed, Opened, members, stack
from .geometry import MASK_ROWS, Geometry
from .merkle import part_tag
from .recursion import announce, entries_of, fold_columns, open_columns, reduce_levels, roots, round_claim
from .rows import RowRounds, one_lane_a_row

_POWERS = 2**10  # of each opened point, at a time


def open_claim(stream, geometry: Geometry, committed: list[Committed], weights, value: Ext) -> None:
    """Prove <F, W> = value.

    stream:    Writer; all commitments are part of its statement or absorbed before W was fixed
    committed: one of them, the trace, with mask rows made for exactly this opening
    weights:   for each part that they open, in the same order, its lanes (see ``rows``), or K (R, k)
    Transcript: absorbs the commitments and the value, then all messages, in the order of the module's docstring.
    Recompiles for: k, n, the levels' sizes, not for row counts.
    Raises: ConfigurationError - budgets, geometry or mask sizes do not fit together.
    """
    _open(stream, geometry, [c.opens for c in committed], value, prover=_Prover(geometry, committed, weights))


def verify_claim(stream, geometry: Geometry, opened: list[Opened], evaluate, value: Ext) -> None:
    """Verify <F, W> = value.

    stream:   Reader at the opening's first message
    evaluate: (row_point, column_point) -> the multilinear extension of W there; l0 and log_row variables, top bit first
    Raises: VerificationError, FormatError.
    """
    try:
        _open(stream, geometry, opened, value, evaluate=evaluate)
    except ConfigurationError as error:
        raise VerificationError("commitments", str(error)) from None


def opening_work(geometry: Geometry, rows: list[int], budget: int, meter: Meter) -> None:
    """Charge what ``verify_claim`` takes of columns, paths and levels, besides ``evaluate``.

    rows: of the opened parts; budget: the largest of theirs. Each is charged a path of its own.
    """
    q, padding = geometry.queries, geometry.padding(budget)
    _, log_rows = stack(rows)
    entries, tallest = sum(rows) + MASK_ROWS, max(rows) + MASK_ROWS
    meter.charge("row rounds", (TERM + SCALAR * log_rows) * log_rows)
    meter.charge("row weights", CALL * log_rows + (2 * PRODUCT << log_rows), ENTRY << log_rows, PASSING << log_rows)
    columns = CALL * len(rows) + PRODUCT * q * entries + HASH * q * len(rows) * (geometry.log_code + 1)
    meter.charge("opened columns", columns, 16 * q * entries, PASSING * q * tallest)
    coefficients = 2 * log_rows + q + padding
    values = 2 * CALL * (1 + coefficients // _POWERS) + PRODUCT * q * (coefficients + 2 * _POWERS) + HASH * q
    meter.charge("folded padding", values, ENTRY * coefficients, PASSING * q * _POWERS)
    levels, log_clear = geometry.plan()
    opened = q
    for level in levels:
        height = entries_of(level)
        columns = PRODUCT * level.queries * height + HASH * level.queries * (level.log_code + 2)
        meter.charge("levels", columns + level.log_rows * (TERM + CALL) + geometry.log_row * (CALL + 2 * PRODUCT * opened))
        opened = level.queries
    meter.charge("final vector", 2 * CALL * log_clear + (4 * PRODUCT << log_clear) + geometry.log_row * (CALL + 2 * PRODUCT * opened))


def check_opening(geometry: Geometry, opened: list[Opened]) -> tuple[list[int], int, int]:
    """Offsets of the stacked parts, l0, and t. Raises ConfigurationError for what must not be opened together."""
    geometry.check()
    padding = [geometry.padding(part.budget) for part in members(opened)]
    masked = [x for x in opened if x.commitment.masked]
    if len(masked) != 1 or [part.budget for part in masked[0].parts] != [1]:
        raise ConfigurationError("an opening takes exactly one commitment with mask rows, of budget 1")
    offsets, log_rows = stack([part.rows for part in members(opened)])
    if 2 * log_rows + geometry.queries > geometry.row + max(padding):
        raise ConfigurationError(f"rows of {geometry.row} are too short for the pads of {log_rows} row rounds")
    return offsets, log_rows, max(padding)


def _open(stream, geometry, opened, value, *, prover=None, evaluate=None):
    """Both sides of the protocol; ``prover`` is None for the verifier."""
    offsets, log_rows, padding = check_opening(geometry, opened)
    q, plan = geometry.queries, geometry.plan()
    names = b"".join(x.commitment.part_digest(geometry, name) for x in opened for name in x.names)
    stream.transcript.absorb("opening", names + element_bytes(ext.stack([value])))

    known, pads, row_point = value, [], []  # the running claim is known + <pads, s>
    for i in range(log_rows):
        constant, leading = ext.unstack(stream.elements("row round", 2, prover and prover.round(i)))
        r = stream.transcript.challenge("row fold")
        known = round_claim(known, constant, leading, r)
        pads = [pad * r for pad in pads] + [ONE - r - r, r * r - r]
        row_point = [r, *row_point]
        if prover:
            prover.fold(r)

    [mu] = ext.unstack(stream.elements("mu", 1, prover and prover.mu(pads)))
    eps = stream.transcript.challenge("eps")
    vector, folded_padding, folded_pads = prover.combine(row_point, eps) if prover else (None, None, None)
    folded_padding = stream.elements("folded padding", padding, folded_padding)
    folded_pads = stream.elements("folded pads", 2 * log_rows + q, folded_pads)
    announced = announce(stream, plan, 0, vector)

    indices = sorted(set(stream.transcript.indices("queries", q, geometry.log_code)))
    columns = []
    for x, side in zip(opened, prover.committed if prover else [None] * len(opened), strict=True):
        columns += open_columns(stream, _shown(x), geometry.log_code, indices, x.commitment.root, salted=True, opener=side)
    claim, targets = ZERO, None
    if not prover:
        claim = eps * known + mu + ext.dot(_cut(folded_pads, 0, 2 * log_rows), ext.stack(pads))
        folded, mask = _fold(opened, offsets, columns, row_point)
        targets = _check_columns(geometry, folded, mask, indices, eps, folded_padding, folded_pads)
    reduce_levels(
        stream,
        plan,
        announced,
        (geometry.log_code, indices, targets),
        claim,
        weights=prover and prover.weights,
        evaluate_weights=lambda column_point: evaluate(row_point, column_point),
    )


def _shown(x: Opened) -> list[tuple[bytes, int | None]]:
    """What ``open_columns`` needs to know of the tree's parts."""
    c = x.commitment
    entries = [part.rows + MASK_ROWS * c.masked if part in x.parts else None for part in c.parts]
    return [(part_tag(c.kind, c.number, part.name), count) for part, count in zip(c.parts, entries, strict=True)]


def _fold(opened, offsets, columns, row_point):
    """The stack's opened columns, folded, and the entries of the mask rows in them."""
    eq, folded = eq_vector(row_point), ext.stack([ZERO] * columns[0].shape[1])
    masked = [x.commitment.masked for x in opened for _ in x.parts]
    for part, offset, values, with_mask in zip(members(opened), offsets, columns, masked, strict=True):
        folded = ext.add(folded, fold_columns(_cut(eq, offset, part.rows), values[: part.rows]))
        if with_mask:
            mask = values[part.rows :]
    return folded, mask


def _check_columns(geometry, folded, mask, indices, eps, folded_padding, folded_pads):
    """Check the mask rows at the opened columns; returns the values of h there, a K array."""
    x, factor = roots(geometry.log_code, indices), ext.stack([eps])
    g, s, s_dash = [(mask[i], mask[i + 1]) for i in range(0, MASK_ROWS, 2)]
    expected = ext.add(s_dash, ext.mul(s, factor))
    if not all(np.array_equal(a, b) for a, b in zip(expected, _values(folded_pads, x), strict=True)):
        raise VerificationError("mask", "the folded pads contradict the opened columns")
    high = ext.mul_base(_values(folded_padding, x), field.power(x, geometry.row))
    return ext.sub(ext.add(g, ext.mul(folded, factor)), high)


def _values(coefficients, x: np.ndarray):
    """Values at all x of a polynomial over K, by blocks of coefficients: the powers of one block serve all of them."""
    powers, step = np.ones((len(x), 1), dtype=np.uint64), x[:, None]
    while powers.shape[1] < min(len(coefficients[0]), _POWERS):
        powers = np.concatenate([powers, field.mul(powers, step)], axis=1)
        step = field.mul(step, step)
    width, total = powers.shape[1], None
    for start in reversed(range(0, len(coefficients[0]), width)):
        block = tuple(c[None, start : start + width] for c in coefficients)
        value = ext.sum(ext.mul_base(block, powers[:, : block[0].shape[1]]), axis=1)
        total = value if total is None else ext.add(ext.mul_base(total, step[:, 0]), value)
    return total


def _cut(x, start: int, length: int):
    return tuple(c[start : start + length] for c in x)


class _Prover:
    """Computes the prover's messages: the sumcheck's tables, then ``weights``, the folded W."""

    def __init__(self, geometry: Geometry, committed: list[Committed], weights):
        self.offsets, log_rows, self.padding = check_opening(geometry, [c.opens for c in committed])
        self.k, self.pads = geometry.row, 2 * log_rows
        self.committed, self.weights = committed, None
        self._members = [x for c in committed for x in c.members]
        mask = next(x.mask for x in self._members if x.mask is not None)
        lengths, needed = (mask[0].shape[1], mask[1].shape[1]), (self.k + self.padding, self.pads + geometry.queries)
        if lengths != needed:
            raise ConfigurationError(f"mask rows of {lengths} coefficients; this opening needs {needed}, see Mask.of")
        self._g, self._s, self._s_dash = [(row[0], row[1]) for row in mask]
        lanes = [w if isinstance(w, list) else one_lane_a_row(w) for w in weights]
        rows = [x.rows for x in self._members]
        self._rounds = RowRounds(list(zip(self.offsets, rows, lanes, strict=True)))

    def round(self, i: int):
        """The round polynomial's two coefficients, minus their pads."""
        return ext.sub(self._rounds.message(), _cut(self._s, 2 * i, 2))

    def fold(self, r: Ext) -> None:
        self._rounds.fold(r)

    def mu(self, pads: list[Ext]):
        """<g, w> - <pads, s'> for the folded weights w."""
        from ..kernels.opening import inner_product

        self._fold, self.weights = self._rounds.vectors()
        inner = inner_product(_cut(self._g, 0, self.k), self.weights)
        return ext.stack([inner - ext.dot(_cut(self._s_dash, 0, self.pads), ext.stack(pads))])

    def combine(self, row_point: list[Ext], eps: Ext):
        """Mask plus eps times secret: h, the folded random coefficients, the pads with their random coefficients."""
        from ..kernels.opening import scaled_sum

        factor, eq = ext.stack([eps]), eq_vector(row_point)
        folded = ext.stack([ZERO] * self.padding)
        for x, offset in zip(self._members, self.offsets, strict=True):
            own = fold_columns(_cut(eq, offset, x.part.rows), x.padding)
            folded = ext.add(folded, tuple(np.pad(c, (0, self.padding - len(c))) for c in own))
        vector = scaled_sum(_cut(self._g, 0, self.k), self._fold, factor)
        folded_padding = ext.add(_cut(self._g, self.k, self.padding), ext.mul(folded, factor))
        return vector, folded_padding, ext.add(self._s_dash, ext.mul(self._s, factor))
