"""Hiding commitments to matrices over F: encode the rows, hash the columns.

Row i is the polynomial  P_i = sum_j rows[i, j] X^j + X^k sum_j R_ij X^j  with budget * q random coefficients R_ij, so any
q columns in each of ``budget`` openings are independent of the rows. Everything random comes from one secret seed: the
same rows and seed give the same tree again.

A tree holds one matrix or two, its *parts*, each with rows, openings, random coefficients and salts of its own: a proof opens the
parts that it reads, and the others stay hidden behind their unopened salts, however often.

PROTOCOL.md, sections 8.1, 8.4, 10.5, 20.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ..algebra.extension import DEGREE, ONE, Ext
from ..algebra.field import P
from ..algebra.hashing import CHUNK, compress, field_stream, stream_block, stream_blocks
from ..algebra.poly import num_bits
from ..circuit.parts import CELLS, OTHER, PARAMETERS
from ..errors import ConfigurationError, FormatError
from .geometry import MASK_ROWS, SALT, Geometry
from .merkle import Tree, leaf, leaf_headers, paired, part_tag

PARTS = {"weights": (PARAMETERS, OTHER), "frozen": (CELLS,), "shard": (CELLS,), "trace": (CELLS,), "stage": (CELLS,), "noise": (CELLS,)}
SEED = 32  # bytes
TREE_SEED = b"zkjxtsed"  # personalisation: no other use of the hash can stand for it
KEPT_CODE = 2**28  # bytes of codewords that are kept until they are opened


class Part(NamedTuple):
    """Rows of a commitment with randomness of their own. budget: number of openings that it allows."""

    name: str
    rows: int
    budget: int


@dataclass(frozen=True)
class Commitment:
    """What a verifier knows of a tree over one committed matrix, or over two side by side.

    kind, number: what the tree holds ("weights", "frozen", "shard" 7, "trace"), part of every leaf
    parts:        one or two, in the order of ``PARTS``; rows without the mask rows
    root:         32 bytes
    masked:       its columns end in the six entries of the mask rows G, S, S'
    """

    kind: str
    number: int
    parts: tuple[Part, ...]
    root: bytes
    masked: bool = False

    @staticmethod
    def of(kind: str, number: int, rows: int, budget: int, root: bytes, masked: bool = False) -> "Commitment":
        """Of one part, the first one of its kind."""
        return Commitment(kind, number, (Part(PARTS[kind][0], rows, budget),), root, masked)

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    def opened(self, *names: str) -> "Opened":
        """These parts of it, or all."""
        return Opened(self, tuple(part for part in self.parts if not names or part.name in names))

    def digest(self, geometry: Geometry) -> bytes:
        """Binds every field, and the geometry."""
        parts = b"".join(f"{part.name} {part.rows} {part.budget} ".encode() for part in self.parts)
        numbers = b"%d %d " % (self.number, self.masked)
        return hashlib.blake2s(geometry.digest() + self.root + numbers + parts + self.kind.encode(), person=b"zkjxcomm").digest()

    def part_digest(self, geometry: Geometry, name: str) -> bytes:
        """Names a part, through the whole: nothing shorter binds it."""
        return part_digest(self.digest(geometry), name)

    def to_json(self) -> dict:
        return {
            "kind": self.kind,
            "number": self.number,
            "parts": [part._asdict() for part in self.parts],
            "root": self.root.hex(),
            "masked": self.masked,
        }

    @classmethod
    def from_json(cls, data) -> "Commitment":
        """Raises FormatError for anything that is not exactly a commitment."""
        _check_fields("commitment", data, {"kind": str, "number": int, "parts": list, "root": str, "masked": bool})
        if data["kind"] not in PARTS:
            raise FormatError(f"commitment: kind is none of {', '.join(PARTS)}")
        root = data["root"]
        if len(root) != 64 or root.strip("0123456789abcdef"):
            raise FormatError("commitment: root is not 32 bytes in lower-case hex")
        if not 0 <= data["number"] < 2**63:
            raise FormatError("commitment: number out of range")
        for part in data["parts"]:
            _check_fields("part of a commitment", part, {"name": str, "rows": int, "budget": int})
            if not (1 <= part["rows"] < 2**32 and 1 <= part["budget"] < 2**32):
                raise FormatError("commitment: rows or budget out of range")
        names, known = [part["name"] for part in data["parts"]], PARTS[data["kind"]]
        if not names or names != [name for name in known if name in names]:
            raise FormatError(f"commitment: its parts are some of {', '.join(known)}, in this order")
        return cls(data["kind"], data["number"], tuple(Part(**part) for part in data["parts"]), bytes.fromhex(root), data["masked"])


def _check_fields(what: str, data, types: dict) -> None:
    if not isinstance(data, dict) or set(data) != set(types):
        raise FormatError(f"{what}: expected the fields {sorted(types)}")
    for name, kind in types.items():
        if type(data[name]) is not kind:
            raise FormatError(f"{what}: {name} is {data[name]!r:.80}, expected {kind.__name__}")


def part_digest(commitment: bytes, name: str) -> bytes:
    """The digest of a part of the commitment with this digest."""
    return hashlib.blake2s(commitment + name.encode(), person=b"zkjxpart").digest()


class Opened(NamedTuple):
    """What an opening shows of a commitment: some of its parts, or all. Each is a member of the stack."""

    commitment: Commitment
    parts: tuple[Part, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.name for part in self.parts)


def members(opened: Sequence[Opened]) -> list[Part]:
    """The parts that an opening stacks."""
    return [part for x in opened for part in x.parts]


@dataclass(frozen=True)
class Mask:
    """Sizes of the mask rows in a trace tree: they follow from the opening that the tree is made for.

    log_rows: l0, row variables of the stack
    padding:  t, the most random coefficients per row of any part in it
    """

    log_rows: int
    padding: int

    @classmethod
    def of(cls, geometry: Geometry, row_counts: list[int], budgets: list[int]) -> "Mask":
        """For an opening of parts with these row counts and budgets."""
        return cls(stack(row_counts)[1], geometry.padding(max(budgets)))


def stack(row_counts) -> tuple[list[int], int]:
    """Where each part's rows stand in the stacked matrix, and l0 = log2 of its height.

    Largest first, ties in the given order; each takes an aligned power-of-two range.
    """
    row_counts = list(row_counts)
    offsets, height = [0] * len(row_counts), 0
    for i in sorted(range(len(row_counts)), key=lambda i: -row_counts[i]):
        offsets[i] = height
        height += 1 << num_bits(row_counts[i])
    return offsets, num_bits(height)


def within(row_point: list[Ext], offset: int, rows: int) -> tuple[Ext, list[Ext]]:
    """The weight, at a point of the stack's row variables, of the range that a part's rows take there, and the point within it."""
    high = len(row_point) - num_bits(rows)
    weight = ONE
    for variable, r in enumerate(row_point[:high]):
        weight = weight * (r if offset >> (len(row_point) - 1 - variable) & 1 else 1 - r)
    return weight, row_point[high:]


def encode_leaves(polynomials, entries: int, log_code: int, tag: bytes, salts=None, keep: bool = False) -> tuple[np.ndarray, list | None]:
    """Encode, hash the columns: their digests (8, n) uint32, and the codewords in pairs (2, n) if they are to be kept.

    polynomials(start): coefficients of rows start and start + 1 as (2, width) uint64, zero beyond the last row
    entries, log_code:  rows, log2 of the code length n
    tag, salts:         name what is hashed, hide its leaves: (4, n) uint32, or None for a tree that hides nothing
    """
    n = 1 << log_code
    if n < CHUNK:
        from ..algebra.hashing import hash_columns
        from ..algebra.ntt import encode
    else:
        from ..kernels.merkle import hash_columns
        from ..kernels.ntt import encode
    kept = [] if keep else None

    def codewords():
        for start in range(0, entries, 2):
            pair = encode(polynomials(start), log_code)
            if keep:
                kept.append(pair)
            yield pair

    header = leaf_headers(tag, entries, np.zeros((4, n), dtype=np.uint32) if salts is None else salts)
    return hash_columns(header, codewords(), entries), kept


def tree_over(*leaves: np.ndarray) -> Tree:
    """The tree above the digests (8, n) of the columns of one part, or of two."""
    if leaves[0].shape[1] < CHUNK:
        return Tree(paired(leaves, compress))
    from ..kernels import merkle

    return Tree(paired(leaves, merkle.compress), merkle.parents)


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
class Encoded:
    """The prover's side of a part; everything in it follows from rows, seed and sizes.

    rows:      (R, k) uint64
    padding:   (R, budget * q) uint64, the random coefficients R_ij
    mask:      coefficients of G, S and S', arrays (2, length); None without mask rows
    seed:      of its streams (``tree_seed``)
    tag:       names it in its leaves
    codewords: in pairs, of a matrix with mask rows, which is opened once and soon, and of small ones; others are encoded again
    """

    part: Part
    log_code: int
    rows: np.ndarray = field(repr=False)
    padding: np.ndarray = field(repr=False)
    mask: tuple | None = field(repr=False)
    seed: bytes = field(repr=False)
    tag: bytes
    codewords: list | None = field(default=None, repr=False)

    @property
    def entries(self) -> int:
        """Field elements of a column."""
        return self.part.rows + MASK_ROWS * (self.mask is not None)

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about."""
        return self.rows.nbytes + self.padding.nbytes + sum(pair.nbytes for pair in self.codewords or ())

    def polynomials(self, start: int) -> np.ndarray:
        """Coefficients of entries start and start + 1 of a column: (2, width)."""
        count, k = self.rows.shape
        width = k + max(self.padding.shape[1], self.mask[0].shape[1] - k if self.mask else 0)
        pair = np.zeros((2, width), dtype=np.uint64)
        for line, i in zip(pair, range(start, min(start + 2, self.entries))):
            if i < count:
                line[:k], line[k : k + self.padding.shape[1]] = self.rows[i], self.padding[i]
            else:
                polynomial = self.mask[(i - count) // DEGREE][(i - count) % DEGREE]
                line[: len(polynomial)] = polynomial
        return pair

    def columns(self, indices: list[int]) -> np.ndarray:
        """(entries, len(indices)) uint64."""
        if self.codewords is not None:
            return kept_columns(self.codewords, self.entries, indices)
        return encoded_columns(self.polynomials, self.entries, self.log_code, indices)

    def salts(self, indices: list[int]) -> bytes:
        """Salts of these columns, one after another."""
        halves = ((stream_block(self.seed, "salt", i >> 1), SALT * (i & 1)) for i in indices)
        return b"".join(block[at : at + SALT] for block, at in halves)

    def leaves(self, indices: list[int]) -> bytes:
        """Digests of these columns, one after another."""
        columns, salts = self.columns(indices), self.salts(indices)
        return b"".join(leaf(self.tag, i, salts[SALT * j : SALT * (j + 1)], columns[:, j]) for j, i in enumerate(indices))


@dataclass(frozen=True)
class Committed:
    """The prover's side of a commitment.

    opens: what an opening shows of it. parts: all that it has. tree: the digests above their leaves.
    """

    opens: Opened
    geometry: Geometry
    parts: tuple[Encoded, ...]
    tree: Tree = field(repr=False)

    @property
    def commitment(self) -> Commitment:
        return self.opens.commitment

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about."""
        return sum(part.nbytes for part in self.parts) + self.tree.nbytes

    def only(self, *names: str) -> "Committed":
        """Of which no more than these parts are opened."""
        return replace(self, opens=self.commitment.opened(*names))

    @property
    def members(self) -> list[Encoded]:
        """The parts that are opened."""
        return [x for x in self.parts if x.part in self.opens.parts]

    @property
    def closed(self) -> list[Encoded]:
        """The others."""
        return [x for x in self.parts if x.part not in self.opens.parts]


def tree_seed(seed: bytes, geometry: Geometry, kind: str, number: int, part: Part) -> bytes:
    """The seed of a part's random coefficients and salts: its own for each geometry, kind, number, name, height and budget.

    One stream under two budgets or geometries would give two trees the same coefficients: opened both, they would leave fewer of
    them unknown than columns are seen. So would one stream for both parts of a tree.
    """
    name = f"{kind} {number} {part.name} {part.rows} {part.budget}"
    return hashlib.blake2s(geometry.digest() + name.encode(), key=seed, person=TREE_SEED).digest()


def commit(
    rows, *, kind: str, number: int, budget: int | Sequence[int], geometry: Geometry, seed: bytes, mask: Mask | None = None
) -> Committed:
    """Commit to the rows of a matrix over F, or of two matrices, the parts of one tree.

    rows:   (R, k) uint64 below p, NumPy or jax.numpy; the array is kept, not copied, where NumPy allows it; or a sequence of such arrays
    budget: of each part, or one for all
    seed:   32 secret bytes; the same rows, seed and sizes give the same commitment, and other sizes other random coefficients
    mask:   for a trace tree, which is opened once: sizes of the mask rows
    Recompiles for: k + random coefficients, n.
    Raises: ConfigurationError - geometry, budget or mask are out of range.
    """
    geometry.check()
    matrices = [np.asarray(x) for x in (rows if isinstance(rows, list | tuple) else [rows])]
    budgets = [budget] * len(matrices) if isinstance(budget, int) else budget
    if len(seed) != SEED:
        raise ValueError(f"a seed has {SEED} bytes")
    if mask and (len(matrices) > 1 or budgets[0] != 1):
        raise ConfigurationError(f"{kind} {number} holds mask rows, which serve one opening of one part; its budget is 1, not {budget}")
    found, leaves = [], []
    for name, matrix, allowed in zip(PARTS[kind][: len(matrices)], matrices, budgets, strict=True):
        part, digests = _encoded(matrix, name, kind, number, allowed, geometry, seed, mask)
        found.append(part)
        leaves.append(digests)
    tree = tree_over(*leaves)
    commitment = Commitment(kind, number, tuple(x.part for x in found), tree.root, mask is not None)
    return Committed(commitment.opened(), geometry, tuple(found), tree)


def _encoded(rows, name: str, kind: str, number: int, budget: int, geometry: Geometry, seed: bytes, mask) -> tuple[Encoded, np.ndarray]:
    """A part, and the digests of its columns."""
    if rows.dtype != np.uint64 or rows.ndim != 2 or not len(rows) or rows.shape[1] != geometry.row:
        raise ValueError(f"rows of {kind} {number} are {rows.dtype} {rows.shape}, expected uint64 (R, {geometry.row})")
    if int(rows.max()) >= P:
        raise ValueError(f"rows of {kind} {number} hold an integer that is not below p")
    fast = None
    if geometry.code >= CHUNK:
        from ..kernels.merkle import compress as fast
    part, q, n = Part(name, len(rows), budget), geometry.queries, geometry.code
    stream = tree_seed(seed, geometry, kind, number, part)
    padding = field_stream(stream, "padding", len(rows) * geometry.padding(budget), fast).reshape(len(rows), -1)
    lengths = {"mask g": geometry.row + mask.padding, "mask s": 2 * mask.log_rows + q, "mask s'": 2 * mask.log_rows + q} if mask else {}
    masks = tuple(field_stream(stream, name, DEGREE * length, fast).reshape(DEGREE, -1) for name, length in lengths.items())
    halves = np.asarray(stream_blocks(stream, "salt", 0, n // 2, fast))
    salts = np.stack([halves[:4], halves[4:]], axis=2).reshape(4, n)
    bare = Encoded(part, geometry.log_code, rows, padding, masks or None, stream, part_tag(kind, number, name))
    keep = mask is not None or 8 * n * bare.entries <= KEPT_CODE
    digests, codewords = encode_leaves(bare.polynomials, bare.entries, geometry.log_code, bare.tag, salts, keep)
    return replace(bare, codewords=codewords), digests
