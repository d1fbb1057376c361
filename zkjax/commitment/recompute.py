"""The root of a tree whose randomness is public, from the rows that it holds: what anybody can work out, with NumPy alone.

A tree of one part follows from its rows, its sizes and the seed of its random coefficients and salts. Whoever gets to the root from
rows and a seed knows that the commitment holds these rows and no others: two ways to one root would be a collision of the hash.

PROTOCOL.md, section 8.6.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..algebra.hashing import CHUNK, field_stream, hash_columns, stream_blocks
from ..algebra.ntt import encode
from ..work import CALL, HASH, Meter
from .commit import Commitment
from .geometry import Geometry
from .merkle import Tree, leaf_headers, part_tag

MOST_THREADS = 4
THREADS = min(MOST_THREADS, os.cpu_count() or 1)  # NumPy works on rows without Python's lock
BUTTERFLY = 5  # units of work: a multiplication and two additions, on vectors that no cache holds


def recomputed_root(rows: np.ndarray, commitment: Commitment, geometry: Geometry, stream: bytes) -> bytes:
    """The root of an unmasked tree of one part. Its own root is not looked at.

    rows:   (R, k) uint64 below p, R as the commitment says
    stream: 32 bytes, the seed of the part's random coefficients and salts
    """
    (part,) = commitment.parts
    n = geometry.code
    padding = field_stream(stream, "padding", part.rows * geometry.padding(part.budget)).reshape(part.rows, -1)
    halves = stream_blocks(stream, "salt", 0, n // 2)
    salts = np.stack([halves[:4], halves[4:]], axis=2).reshape(4, n)
    code = np.empty((part.rows, n), dtype=np.uint64)

    def encoded(i: int) -> None:
        code[i] = encode(np.concatenate([rows[i], padding[i]])[None], geometry.log_code)[0]

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(encoded, range(part.rows)))
    header = leaf_headers(part_tag(commitment.kind, commitment.number, part.name), part.rows, salts)
    slabs = (slice(start, start + CHUNK) for start in range(0, n, CHUNK))
    return Tree(np.concatenate([hash_columns(header[:, x], [code[:, x]], part.rows) for x in slabs], axis=1)).root


def recompute_work(rows: int, budget: int, geometry: Geometry, meter: Meter) -> None:
    """Charge what ``recomputed_root`` takes for so many rows."""
    n = geometry.code
    coefficients = rows * geometry.padding(budget)
    meter.charge("random coefficients", CALL + HASH * coefficients)
    butterflies = BUTTERFLY * rows * geometry.log_code * n // 2
    meter.charge("codewords of disclosed rows", CALL * rows * geometry.log_code + butterflies, 0, 8 * n * (rows + 10 * MOST_THREADS))
    blocks = 1 + rows // 8
    meter.charge("trees of disclosed rows", CALL * (1 + n // CHUNK) + n * (3 * HASH + blocks * HASH // 4), 0, n * (8 * rows + 512))
