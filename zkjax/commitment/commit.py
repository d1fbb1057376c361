"""Hiding commitments to matrices over F: encode the rows, hash the columns.

Row i is the polynomial  P_i = sum_j rows[i, j] X^j + X^k sum_j R_ij X^j  with budget * q random coefficients R_ij, so any
q columns in each of ``budget`` openings are independent of the rows. Everything random comes from one secret seed: the
same rows and seed give the same tree again.

PROTOCOL.md, sections 8.1, 8.4, 10.5, 20.
"""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np

from ..algebra.extension import DEGREE, ONE, Ext
from ..algebra.field import P
from ..algebra.hashing import CHUNK, field_stream, stream_block, stream_blocks
from ..algebra.poly import num_bits
from ..errors import ConfigurationError, FormatError
from .geometry import MASK_ROWS, SALT, Geometry
from .merkle import Tree, leaf_headers, tree_tag

KINDS = ("weights", "shard", "trace")
SEED = 32  # bytes
TREE_SEED = b"zkjxtsed"  # personalisation: no other use of the hash can stand for it
KEPT_CODE = 2**28  # bytes of codewords that are kept until they are opened


@dataclass(frozen=True)
class Commitment:
    """What a verifier knows of a committed matrix.

    kind, number: what the tree holds ("weights", "shard" 7, "trace"), part of every leaf
    rows:         rows of the matrix, the mask rows not counted
    budget:       number of openings its randomness allows
    root:         32 bytes
    masked:       its columns end in the six entries of the mask rows G, S, S'
    """

    kind: str
    number: int
    rows: int
    budget: int
    root: bytes
    masked: bool = False

    @property
    def entries(self) -> int:
        """Field elements of a column."""
        return self.rows + MASK_ROWS * self.masked

    def digest(self, geometry: Geometry) -> bytes:
        """Binds every field, and the geometry."""
        numbers = b"%d %d %d %d " % (self.number, self.rows, self.budget, self.masked)
        return hashlib.blake2s(geometry.digest() + self.root + numbers + self.kind.encode(), person=b"zkjxcomm").digest()

    def to_json(self) -> dict:
        return {
            "kind": self.kind,
            "number": self.number,
            "rows": self.rows,
            "budget": self.budget,
            "root": self.root.hex(),
            "masked": self.masked,
        }

    @classmethod
    def from_json(cls, data) -> "Commitment":
        """Raises FormatError for anything that is not exactly a commitment."""
        types = {"kind": str, "number": int, "rows": int, "budget": int, "root": str, "masked": bool}
        if not isinstance(data, dict) or set(data) != set(types):
            raise FormatError(f"commitment: expected the fields {sorted(types)}")
        for name, kind in types.items():
            if type(data[name]) is not kind:
                raise FormatError(f"commitment: {name} is {data[name]!r}, expected {kind.__name__}")
        if data["kind"] not in KINDS:
            raise FormatError(f"commitment: kind is none of {', '.join(KINDS)}")
        root = data["root"]
        if len(root) != 64 or root.strip("0123456789abcdef"):
            raise FormatError("commitment: root is not 32 bytes in lower-case hex")
        if not (0 <= data["number"] < 2**63 and 1 <= data["rows"] < 2**32 and 1 <= data["budget"] < 2**32):
            raise FormatError("commitment: number, rows or budget out of range")
        return cls(**{**data, "root": bytes.fromhex(root)})


@dataclass(frozen=True)
class Mask:
    """Sizes of the mask rows in a trace tree: they follow from the opening that the tree is made for.

    log_rows: l0, row variables of the stack
    padding:  t, the most random coefficients per row of any commitment in it
    """

    log_rows: int
    padding: int

    @classmethod
    def of(cls, geometry: Geometry, row_counts: list[int], budgets: list[int]) -> "Mask":
        """For an opening of commitments with these row counts and budgets."""
        return cls(stack(row_counts)[1], geometry.padding(max(budgets)))


def stack(row_counts) -> tuple[list[int], int]:
    """Where each commitment's rows stand in the stacked matrix, and l0 = log2 of its height.

    Largest first, ties in the given order; each takes an aligned power-of-two range.
    """
    row_counts = list(row_counts)
    offsets, height = [0] * len(row_counts), 0
    for i in sorted(range(len(row_counts)), key=lambda i: -row_counts[i]):
        offsets[i] = height
        height += 1 << num_bits(row_counts[i])
    return offsets, num_bits(height)


def within(row_point: list[Ext], offset: int, rows: int) -> tuple[Ext, list[Ext]]:
    """The weight, at a point of the stack's row variables, of the range that a commitment's rows take there, and the point within it."""
    high = len(row_point) - num_bits(rows)
    weight = ONE
    for variable, r in enumerate(row_point[:high]):
        weight = weight * (r if offset >> (len(row_point) - 1 - variable) & 1 else 1 - r)
    return weight, row_point[high:]


def encode_tree(polynomials, entries: int, log_code: int, tag: bytes, salts=None, keep: bool = False) -> tuple[Tree, list | None]:
    """Encode, hash the columns: the tree, and the codewords in pairs (2, n) if they are to be kept.

    polynomials(start): coefficients of rows start and start + 1 as (2, width) uint64, zero beyond the last row
    entries, log_code:  rows, log2 of the code length n
    tag, salts:         name the tree, hide its leaves: (4, n) uint32, or None for a tree that hides nothing
    """
    n = 1 << log_code
    if n < CHUNK:
        from ..algebra.hashing import hash_columns
        from ..algebra.ntt import encode

        parents = None
    else:
        from ..kernels.merkle import hash_columns, parents
        from ..kernels.ntt import encode
    kept = [] if keep else None

    def codewords():
        for start in range(0, entries, 2):
            pair = encode(polynomials(start), log_code)
            if keep:
                kept.append(pair)
            yield pair

    header = leaf_headers(tag, entries, np.zeros((4, n), dtype=np.uint32) if salts is None else salts)
    return Tree(hash_columns(header, codewords(), entries), parents), kept


def encoded_columns(polynomials, entries: int, log_code: int, indices: list[int]) -> np.ndarray:
    """Columns of codewords that were not kept: (entries, len(indices)) uint64."""
    if 1 << log_code < CHUNK:
        from ..algebra.ntt import evaluate
    else:
        from ..kernels.ntt import evaluate
    return evaluate((polynomials(start) for start in range(0, entries, 2)), log_code, indices)[:entries]


def kept_columns(codewords: list, entries: int, indices: list[int]) -> np.ndarray:
    """The same of codewords that were kept."""
    return np.concatenate([np.asarray(pair)[:, indices] for pair in codewords])[:entries]


@dataclass(frozen=True)
class Committed:
    """The prover's side of a commitment; everything in it follows from rows, seed and sizes.

    rows:      (R, k) uint64
    padding:   (R, budget * q) uint64, the random coefficients R_ij
    mask:      coefficients of G, S and S', arrays (2, length); None without mask rows
    tree:      all digests
    seed:      of its streams (``tree_seed``)
    codewords: in pairs, of a matrix with mask rows, which is opened once and soon, and of small ones; others are encoded again
    """

    commitment: Commitment
    geometry: Geometry
    rows: np.ndarray = field(repr=False)
    padding: np.ndarray = field(repr=False)
    mask: tuple | None = field(repr=False)
    seed: bytes = field(repr=False)
    tree: Tree | None = field(default=None, repr=False)
    codewords: list | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about."""
        codewords = sum(pair.nbytes for pair in self.codewords or ())
        return self.rows.nbytes + self.padding.nbytes + codewords + (self.tree.nbytes if self.tree else 0)

    def polynomials(self, start: int) -> np.ndarray:
        """Coefficients of entries start and start + 1 of a column: (2, width)."""
        count, k = self.rows.shape
        width = k + max(self.padding.shape[1], self.mask[0].shape[1] - k if self.mask else 0)
        pair = np.zeros((2, width), dtype=np.uint64)
        for line, i in zip(pair, range(start, min(start + 2, self.commitment.entries))):
            if i < count:
                line[:k], line[k : k + self.padding.shape[1]] = self.rows[i], self.padding[i]
            else:
                polynomial = self.mask[(i - count) // DEGREE][(i - count) % DEGREE]
                line[: len(polynomial)] = polynomial
        return pair

    def columns(self, indices: list[int]) -> np.ndarray:
        """(entries, len(indices)) uint64."""
        if self.codewords is not None:
            return kept_columns(self.codewords, self.commitment.entries, indices)
        return encoded_columns(self.polynomials, self.commitment.entries, self.geometry.log_code, indices)

    def salts(self, indices: list[int]) -> bytes:
        """Salts of these columns, one after another."""
        halves = ((stream_block(self.seed, "salt", i >> 1), SALT * (i & 1)) for i in indices)
        return b"".join(block[at : at + SALT] for block, at in halves)


def tree_seed(seed: bytes, geometry: Geometry, kind: str, number: int, rows: int, budget: int) -> bytes:
    """The seed of a tree's random coefficients and salts: its own for each geometry, kind, number, height and budget.

    One stream under two budgets or geometries would give two trees the same coefficients: opened both, they would leave fewer of
    them unknown than columns are seen.
    """
    return hashlib.blake2s(geometry.digest() + f"{kind} {number} {rows} {budget}".encode(), key=seed, person=TREE_SEED).digest()


def commit(rows, *, kind: str, number: int, budget: int, geometry: Geometry, seed: bytes, mask: Mask | None = None) -> Committed:
    """Commit to the rows of a matrix over F.

    rows:   (R, k) uint64 below p, NumPy or jax.numpy; the array is kept, not copied, where NumPy allows it
    seed:   32 secret bytes; the same rows, seed and sizes give the same commitment, and other sizes other random coefficients
    mask:   for a trace tree, which is opened once: sizes of the mask rows
    Recompiles for: k + random coefficients, n.
    Raises: ConfigurationError - geometry, budget or mask are out of range.
    """
    geometry.check()
    rows = np.asarray(rows)
    if rows.dtype != np.uint64 or rows.ndim != 2 or not len(rows) or rows.shape[1] != geometry.row:
        raise ValueError(f"rows of {kind} {number} are {rows.dtype} {rows.shape}, expected uint64 (R, {geometry.row})")
    if int(rows.max()) >= P:
        raise ValueError(f"rows of {kind} {number} hold an integer that is not below p")
    if len(seed) != SEED:
        raise ValueError(f"a seed has {SEED} bytes")
    if mask and budget != 1:
        raise ConfigurationError(f"{kind} {number} holds mask rows, which serve one opening; its budget is 1, not {budget}")
    fast = None
    if geometry.code >= CHUNK:
        from ..kernels.merkle import compress as fast
    count, q, n = len(rows), geometry.queries, geometry.code
    stream = tree_seed(seed, geometry, kind, number, count, budget)
    padding = field_stream(stream, "padding", count * geometry.padding(budget), fast).reshape(count, -1)
    lengths = {"mask g": geometry.row + mask.padding, "mask s": 2 * mask.log_rows + q, "mask s'": 2 * mask.log_rows + q} if mask else {}
    masks = tuple(field_stream(stream, name, DEGREE * length, fast).reshape(DEGREE, -1) for name, length in lengths.items())
    commitment = Commitment(kind, number, count, budget, b"", bool(mask))
    bare = Committed(commitment, geometry, rows, padding, masks or None, stream)
    halves = np.asarray(stream_blocks(stream, "salt", 0, n // 2, fast))
    salts = np.stack([halves[:4], halves[4:]], axis=2).reshape(4, n)
    tag, keep = tree_tag(kind, number), mask is not None or 8 * n * commitment.entries <= KEPT_CODE
    tree, codewords = encode_tree(bare.polynomials, commitment.entries, geometry.log_code, tag, salts, keep)
    return replace(bare, commitment=replace(commitment, root=tree.root), tree=tree, codewords=codewords)
