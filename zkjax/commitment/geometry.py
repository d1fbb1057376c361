"""The public shape of every commitment of a chain: row length, rate, queries, and the plan of an opening.

One geometry belongs to a dataset and to all weights of a chain. All sizes of an opening follow from it and from the
statement; none is read from a proof.

PROTOCOL.md, section 7.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from math import log2
from typing import NamedTuple

from ..algebra.extension import DEGREE
from ..algebra.field import TWO_ADICITY, P
from ..algebra.poly import num_bits
from ..errors import ConfigurationError, FormatError
from ..protocol.transcript import PROTOCOL_VERSION

HASH = "blake2s-256"
SALT = 16  # bytes in front of each column of a hiding tree
MASK_ROWS = 3 * DEGREE  # base rows of G, S and S' at the end of a masked tree's columns
_MAX_DEEP_RATE = 6  # deep levels use rates 1/2 .. 1/64
_CELLS_PER_BYTE = 128  # of the recursion: encoding this many base elements more is worth one byte of proof
# The same for the first level, where almost all of them are, by what is preferred: small proofs, or proofs that are made fast.
CELLS_PER_BYTE = {"time": 256, "bytes": 4096}
COLUMN_CELLS = 20  # hashing a column's salt, header and inner node costs as much as this many entries
_RATES = range(1, 5)  # log_inverse_rate


def check_preferred(prefer: str) -> None:
    """ConfigurationError for what no geometry is chosen for."""
    if prefer not in CELLS_PER_BYTE:
        raise ConfigurationError(f"prefer is {prefer!r:.80}; choose one of {', '.join(map(repr, CELLS_PER_BYTE))}")


class Level(NamedTuple):
    """One level of the recursion: a K vector of 2^log_length entries, committed as 2^log_rows rows."""

    log_length: int
    log_rows: int
    log_inverse_rate: int
    queries: int

    @property
    def log_row(self) -> int:
        return self.log_length - self.log_rows

    @property
    def log_code(self) -> int:
        return self.log_row + self.log_inverse_rate


class Term(NamedTuple):
    """A source of soundness error: at most 2^-bits."""

    name: str
    bits: float


def radius(code: int, dimension: int) -> int:
    """Errors that a Reed-Solomon code of this length and dimension decodes uniquely."""
    return max(0, (code - dimension) // 2)


def _missed(code: int, errors: int, queries: int, bits: int) -> bool:
    """Whether that many queries may all miss a set of more than ``errors`` columns with probability above 2^-bits."""
    return ((code - errors) ** queries << bits) > code**queries


@lru_cache(maxsize=256)
def _queries(row: int, code: int, budget: int, bits: int) -> int:
    """The least q with (1 - e/n)^q <= 2^-bits, where the radius e leaves room for budget * q random coefficients.

    A radius below a sixteenth of the columns is refused before any power of it is computed: so q is some thousand at the most,
    and the radius of what ``Geometry.check`` lets pass is above a fifth of them.
    """
    q = 1
    while True:
        errors = radius(code, row + budget * q)
        if errors < max(1, code // 16) or budget * q > row:
            raise ConfigurationError(
                f"no number of queries reaches {bits} bits with rows of {row}, code length {code} and opening budget "
                f"{budget}; choose longer rows or a smaller budget"
            )
        needed = q
        while _missed(code, errors, needed, bits):
            step = int(bits / -log2(1 - errors / code)) if needed == q else 0
            needed = max(needed + 1, step - 1)
        if needed == q:
            return q
        q = needed


@dataclass(frozen=True)
class Geometry:
    """Shape and security of all commitments of a chain.

    log_row:          kappa; a row holds k = 2^kappa cells
    log_inverse_rate: code length n = k << log_inverse_rate, 1 .. 4
    max_budget:       b_max, the largest opening budget of a commitment
    level_bits:       target of each level's queries: (1 - e/n)^q <= 2^-level_bits
    """

    log_row: int
    log_inverse_rate: int
    max_budget: int
    level_bits: int = 104

    def __post_init__(self):
        if not all(type(v) is int for v in (self.log_row, self.log_inverse_rate, self.max_budget, self.level_bits)):
            raise ConfigurationError("the fields of a geometry are integers")
        if not (1 <= self.log_inverse_rate <= 4 and 2 <= self.log_row <= TWO_ADICITY - 8 and self.max_budget >= 1):
            raise ConfigurationError(f"{self}: rate 1/2 to 1/16, rows of 2^2 to 2^{TWO_ADICITY - 8} cells, budget at least 1")
        if self.max_budget > self.row // 8:
            raise ConfigurationError(f"an opening budget of {self.max_budget} needs rows longer than {self.row} cells")
        if not 1 <= self.level_bits <= 256:
            raise ConfigurationError(f"level_bits is {self.level_bits}; choose 1 to 256")

    @property
    def row(self) -> int:
        """k: cells of a row."""
        return 1 << self.log_row

    @property
    def log_code(self) -> int:
        return self.log_row + self.log_inverse_rate

    @property
    def code(self) -> int:
        """n: code length, the number of columns of a commitment."""
        return 1 << self.log_code

    @property
    def queries(self) -> int:
        """q: draws with replacement at the first level."""
        return _queries(self.row, self.code, self.max_budget, self.level_bits)

    @property
    def errors(self) -> int:
        """e: one decoding radius for every proof of a chain, whatever its own padding.

        Otherwise one word could decode to different messages in two proofs.
        """
        return radius(self.code, self.row + self.max_budget * self.queries)

    def padding(self, budget: int) -> int:
        """Random coefficients of each row of a commitment with this opening budget."""
        if not 1 <= budget <= self.max_budget:
            raise ConfigurationError(f"opening budget {budget} is outside 1 .. {self.max_budget}")
        return budget * self.queries

    def check(self) -> "Geometry":
        """Refuse a geometry whose random coefficients take more than an eighth of a row; returns itself."""
        if self.max_budget * self.queries > self.row // 8:
            raise ConfigurationError(
                f"opening budget {self.max_budget} with {self.queries} queries needs {self.max_budget * self.queries} random "
                f"coefficients a row, above an eighth of {self.row}: choose longer rows, or commit again for more openings"
            )
        return self

    def plan(self) -> tuple[tuple[Level, ...], int]:
        """Levels of the recursion below the first, and log2 of the final vector that is sent in the clear."""
        return _plan(self.log_row, self.level_bits)[1:3]

    @classmethod
    def cheapest(cls, cells, *, rates=_RATES, max_budget: int = 4, level_bits: int = 104, prefer: str = "time") -> "Geometry":
        """The geometry that weighs best a proof's bytes against the prover's work.

        cells: of each commitment in an opening, a sequence of integers. rates: allowed values of log_inverse_rate. prefer: of
        CELLS_PER_BYTE. Long codes save queries and hence bytes, short ones work: a large circuit gets rate 1/2, a small one a lower rate.
        """
        best = None
        for log_row, rate in product(range(6, TWO_ADICITY - 7), rates):
            try:
                geometry = cls(log_row, rate, max_budget, level_bits).check()
            except ConfigurationError:
                continue
            rows = [-(-count // geometry.row) for count in cells]
            work = geometry.code * sum(count + COLUMN_CELLS for count in rows)
            cost = geometry._bytes(rows, _plan(log_row, level_bits)[0]) + work // CELLS_PER_BYTE[prefer]
            if best is None or cost < best[0]:
                best = cost, geometry
        if best is None:
            raise ConfigurationError(f"no row length carries an opening budget of {max_budget} at {level_bits} bits")
        return best[1]

    def opening_bytes(self, row_counts, second: int = 0) -> int:
        """An estimate of an opening's length: columns, salts, paths, clear vectors, deeper levels.

        row_counts: of the opened parts, of which so many are the second ones of their trees.
        """
        return self._bytes(row_counts, _plan(self.log_row, self.level_bits)[3]) - second * _path_bytes(self.log_code, self.queries)

    def _bytes(self, row_counts, deeper: int) -> int:
        q = self.queries
        columns = sum(q * (8 * rows + SALT) + _path_bytes(self.log_code, q) for rows in row_counts)
        return columns + q * 8 * MASK_ROWS + 16 * (self.max_budget * q + q + 4 * num_bits(sum(row_counts))) + deeper

    def error_terms(self, row_variables: int) -> list[Term]:
        """Named soundness errors of one opening with 2^row_variables stacked rows (l0 = row_variables).

        Folds: each challenge of a fold errs with 2/|K| (a round of degree 2) plus the proximity gap n/|K| of the code,
        which neither interleaving of rows nor the correlated form enlarges within the unique decoding radius.
        Sources: Ben-Sasson, Carmon, Ishai, Kopparty, Saraf, ePrint 2020/654, theorem 1.4; Diamond and Gruen, ePrint
        2024/1351; Arnon, Chiesa, Fenzi, Yogev (WHIR), ePrint 2024/1586, lemma 4.10.
        """
        field = DEGREE * log2(P)
        terms = [
            Term("opening: row folds", field - log2(max(1, row_variables) * (self.code + 2))),
            Term("opening: mask", field - log2(self.code + 1)),
            Term("opening: queries", -self.queries * log2(1 - self.errors / self.code)),
        ]
        levels, clear = self.plan()
        queries = self.queries
        for number, level in enumerate(levels, 1):
            code = 1 << level.log_code
            errors = radius(code, 1 << level.log_row)
            terms += [
                Term(f"opening: level {number} batching", field - log2(queries)),
                Term(f"opening: level {number} folds", field - log2(level.log_rows * (code + 2))),
                Term(f"opening: level {number} queries", -level.queries * log2(1 - errors / code)),
            ]
            queries = level.queries
        return terms + [
            Term("opening: last batching", field - log2(queries)),
            Term("opening: closing rounds", field - log2(2 * max(1, clear))),
        ]

    def to_json(self) -> dict:
        return asdict(self) | {"hash": HASH}

    @classmethod
    def from_json(cls, data) -> "Geometry":
        """Raises FormatError for anything that is not exactly a geometry."""
        names = set(cls.__dataclass_fields__)
        if not isinstance(data, dict) or set(data) != names | {"hash"} or data["hash"] != HASH:
            raise FormatError(f"geometry: expected the fields {sorted(names)} and the hash {HASH}")
        try:
            return cls(**{name: data[name] for name in names})
        except ConfigurationError as error:
            raise FormatError(f"geometry: {error}") from None

    def digest(self) -> bytes:
        """Binds all that fixes the sizes of an opening."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(b"zkjax geometry %d\0" % PROTOCOL_VERSION + text.encode()).digest()


def _path_bytes(log_code: int, queries: int) -> int:
    """About the bytes of a multiproof; integers only, so that every machine derives the same plan."""
    return 32 * queries * max(1, log_code - queries.bit_length() + 1)


@lru_cache(maxsize=256)
def _plan(log_length: int, bits: int):
    """(cost, levels, log2 of the clear vector, proof bytes) of the cheapest recursion for a K vector of that length."""
    best = (16 << log_length, (), log_length, 16 << log_length)
    for log_rows in range(2, min(8, log_length - 2)):
        rest_cost, rest, clear, rest_bytes = _plan(log_length - log_rows, bits)
        for rate in range(1, _MAX_DEEP_RATE + 1):
            log_row = log_length - log_rows
            code = 1 << (log_row + rate)
            q = _queries(1 << log_row, code, 0, bits)
            if q > code // 2 or log_row + rate > TWO_ADICITY:
                continue
            size = q * (16 << log_rows) + _path_bytes(log_row + rate, q) + 32 * (log_rows + 1)
            cost = rest_cost + size + (DEGREE << log_length + rate) // _CELLS_PER_BYTE
            if cost < best[0]:
                best = cost, (Level(log_length, log_rows, rate, q), *rest), clear, rest_bytes + size
    return best
