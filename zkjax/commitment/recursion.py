"""From one claim about a committed vector over K to a short vector in the clear: interleaved Reed-Solomon recursion.

Each level holds a vector h as a matrix of few rows, encoded row by row. Its claim <h, w> = y loses the row variables in a
sumcheck; the folded vector is announced (the root of the next level, or the entries themselves), then random columns of
the level are opened, and each turns into a claim about the folded vector: its value at x is the column's fold. No zero
knowledge here: the first level's mask has made h uniform.

Sources: Novakovic and Angeris, Ligerito (ePrint 2025/1187); Arnon, Chiesa, Fenzi, Yogev, WHIR (ePrint 2024/1586); here
with unique decoding at every level, hence without out-of-domain samples.

PROTOCOL.md, section 16.
"""

from dataclasses import dataclass

import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import DEGREE, ONE, Ext
from ..algebra.field import P, root_of_unity
from ..algebra.hashing import CHUNK, DIGEST
from ..algebra.poly import eq_vector, evaluate, pow_evaluation
from ..circuit.parts import CELLS
from ..errors import VerificationError
from .commit import encode_leaves, kept_columns, tree_over
from .geometry import SALT, Level
from .merkle import leaf, pair, part_tag, root_of, siblings_bytes


class Folding:
    """The prover's sumcheck tables for <f, w>: K vectors of equal length, highest variable first."""

    def __init__(self, f, w):
        self._pair = f, w

    def message(self):
        """Constant and leading coefficient of the round polynomial, as a NumPy K array of two."""
        from ..kernels.opening import round_message

        return ext.stack(round_message(*self._halves()))

    def fold(self, r: Ext) -> None:
        """Fix the highest variable."""
        from ..kernels.opening import fold

        self._pair = tuple(fold(a, b, ext.stack([r])) for a, b in zip(*self._halves(), strict=True))

    def vectors(self):
        """f and w, folded."""
        return self._pair

    def _halves(self):
        half = self._pair[1][0].shape[0] // 2
        parts = slice(half), slice(half, None)
        return tuple(tuple(tuple(np.asarray(c)[part] for c in x) for x in self._pair) for part in parts)


def round_claim(claim: Ext, constant: Ext, leading: Ext, r: Ext) -> Ext:
    """p(r), for p of degree 2 with these coefficients and p(0) + p(1) = claim."""
    return claim * r + constant * (ONE - r - r) + leading * (r * r - r)


class CommittedVector:
    """The prover's side of one level: a K vector as rows of two entries (c0, c1), without salts."""

    def __init__(self, vector, level: Level, tag: bytes):
        self._rows = [np.asarray(c).reshape(1 << level.log_rows, -1) for c in vector]
        self._level = level
        leaves, self._codewords = encode_leaves(self._polynomials, entries_of(level), level.log_code, tag, keep=True)
        self.tree, self.members, self.closed = tree_over(leaves), (self,), ()

    def _polynomials(self, start: int) -> np.ndarray:
        return np.stack([c[start // DEGREE] for c in self._rows])

    def columns(self, indices: list[int]) -> np.ndarray:
        return kept_columns(self._codewords, entries_of(self._level), indices)


@dataclass(frozen=True)
class Announced:
    """A vector that the prover is bound to: the ``root`` of its level, or its entries ``clear``; the prover has more."""

    root: bytes | None = None
    clear: tuple | None = None
    vector: tuple | None = None
    opener: CommittedVector | None = None


def announce(stream, plan, number: int, vector=None) -> Announced:
    """Send the vector of level ``number``: a root while levels remain, else all entries. vector: K array, prover only."""
    levels, log_clear = plan
    if number == len(levels):
        return Announced(clear=stream.elements("final vector", 1 << log_clear, vector), vector=vector)
    opener = CommittedVector(vector, levels[number], part_tag("level", number, CELLS)) if stream.proving else None
    return Announced(root=stream.raw("level root", DIGEST, opener and opener.tree.root), vector=vector, opener=opener)


def reduce_levels(stream, plan, announced: Announced, claims, claim: Ext, *, weights=None, evaluate_weights=None) -> None:
    """Prove or verify  <h, w> = claim  and  <h, (1, x, x^2, ..)> = target  for all (x, target) in ``claims``.

    plan:      levels and log2 of the final vector, see ``Geometry.plan``
    announced: h
    claims:    (log of the domain, indices of the x, targets as a K array or None for the prover)
    weights:   w as a K array, prover only; evaluate_weights(point): its multilinear extension, verifier only
    Transcript: for each level draws the batching challenge, then rounds and folds, the next announcement, queries, columns.
    Raises: FormatError, VerificationError.
    """
    levels, log_clear = plan
    batches, point = [], []
    for number in range(len(levels) + 1):
        level = levels[number] if number < len(levels) else None
        log_code, indices, targets = claims
        factors = ext.powers(stream.transcript.challenge("level batching"), len(indices) + 1)[1:]
        batches.append((len(point), roots(log_code, indices), factors))
        if stream.proving:
            weights = _add_powers(weights, log_code, indices, factors)
            folding = Folding(announced.vector, weights)
        else:
            claim = claim + ext.dot(targets, ext.stack(factors))
        for _ in range(level.log_rows if level else log_clear):
            constant, leading = ext.unstack(stream.elements("level round", 2, folding.message() if stream.proving else None))
            point.append(stream.transcript.challenge("level fold"))
            claim = round_claim(claim, constant, leading, point[-1])
            if stream.proving:
                folding.fold(point[-1])
        if level:
            vector, weights = folding.vectors() if stream.proving else (None, None)
            following = announce(stream, plan, number + 1, vector)
            indices = sorted(set(stream.transcript.indices("level queries", level.queries, level.log_code)))
            parts = [(part_tag("level", number, CELLS), entries_of(level))]
            (columns,) = open_columns(stream, parts, level.log_code, indices, announced.root, opener=announced.opener)
            targets = None if stream.proving else fold_columns(eq_vector(point[-level.log_rows :]), columns)
            claims, announced = (level.log_code, indices, targets), following
    if not stream.proving:
        total = evaluate_weights(point)
        for start, x, factors in batches:
            total = total + ext.dot(pow_evaluation(x, point[start:]), ext.stack(factors))
        if evaluate(announced.clear, point[len(point) - log_clear :]) * total != claim:
            raise VerificationError("opening", "the final vector contradicts the claim")


def open_columns(stream, parts, log_code: int, indices, root: bytes, *, salted=False, opener=None) -> list[np.ndarray]:
    """Send, or read and check, columns of a tree: of each opened part (entries, len(indices)) uint64.

    parts: of the tree, one or two, (tag, entries) each; entries None: it stays closed, and the digests of its columns are sent
    indices: sorted and distinct; opener: the prover's ``Committed`` or ``CommittedVector``.
    Raises: FormatError, VerificationError.
    """
    count, columns, digests = len(indices), [], {}
    opened, closed = ([j for j, (_, entries) in enumerate(parts) if (entries is None) == shut] for shut in (False, True))
    for j, member in zip(opened, opener.members if opener else [None] * len(opened), strict=True):
        tag, entries = parts[j]
        salts = stream.raw("salts", SALT * count, member and member.salts(indices)) if salted else bytes(SALT * count)
        values = stream.base("columns", count * entries, member and member.columns(indices).T).reshape(count, entries)
        columns.append(values.T)
        if not stream.proving:
            digests[j] = [leaf(tag, i, salts[SALT * at : SALT * (at + 1)], values[at]) for at, i in enumerate(indices)]
    for j, member in zip(closed, opener.closed if opener else [None] * len(closed), strict=True):
        raw = stream.raw("other leaves", DIGEST * count, member and member.leaves(indices))
        digests[j] = [raw[at : at + DIGEST] for at in range(0, len(raw), DIGEST)]
    siblings = stream.raw("siblings", siblings_bytes(indices, log_code), opener and opener.tree.siblings(indices))
    if not stream.proving:
        leaves = digests[0] if len(parts) == 1 else list(map(pair, digests[0], digests[1]))
        if root_of(leaves, indices, siblings, log_code) != root:
            raise VerificationError("Merkle path", "opened columns do not belong to the root")
    return columns


def fold_columns(weights, columns):
    """Fold rows over F, or pairs of rows (c0, c1) over K, with a weight over K each: a K array."""
    paired = len(columns) != len(weights[0])
    weights = tuple(c[:, None] for c in weights)
    return ext.sum(ext.mul(weights, (columns[0::2], columns[1::2])) if paired else ext.mul_base(weights, columns), axis=0)


def entries_of(level: Level) -> int:
    """Base elements of a column."""
    return DEGREE << level.log_rows


def roots(log_code: int, indices) -> np.ndarray:
    """The points of the code's domain with these indices."""
    root = root_of_unity(log_code)
    return np.array([pow(root, i, P) for i in indices], dtype=np.uint64)


def _add_powers(weights, log_code: int, indices, factors):
    """w + sum_j factor_j (1, x_j, x_j^2, ..): a transform of the vector that holds factor_j at the index of x_j."""
    from ..kernels.opening import scaled_sum

    if 1 << log_code < CHUNK:
        from ..algebra.ntt import encode
    else:
        from ..kernels.ntt import encode
    sparse = np.zeros((DEGREE, 1 << log_code), dtype=np.uint64)
    sparse[:, indices] = ext.stack(factors)
    powers = encode(sparse, log_code)[:, : weights[0].shape[0]]
    return scaled_sum(weights, (powers[0], powers[1]), ext.stack([ONE]))
