"""Jitted hashing of many columns: BLAKE2s over tiles that stay in the cache, chunks of columns on all cores."""

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import hashing
from ..algebra.hashing import BLOCK, BLOCK_ROWS, CHUNK, LEAF, NODE, initial_state, row_blocks
from .jit import jit
from .threads import in_parallel

_TILE = 1024  # columns of one tile on a CPU


def hash_columns(header, groups, entries: int, person: bytes = LEAF) -> np.ndarray:
    """``hashing.hash_columns`` for a multiple of CHUNK columns; each group has two rows.

    Recompiles for: N.
    """
    count = header.shape[1]
    state, zero = np.tile(initial_state(person), CHUNK), jnp.zeros((2, count), jnp.uint64)
    states = _each(count, lambda start: _compress(state, header[:, start : start + CHUNK], np.uint32(BLOCK), np.uint32(0)))
    for rows, length, last in row_blocks(groups, entries):
        rows = jax.block_until_ready((*rows, *[zero] * (BLOCK_ROWS // 2 - len(rows))))
        ends = np.uint32(length), np.uint32(last)
        states = _each(count, lambda start: _absorb(states[start // CHUNK], rows, start, *ends))  # noqa: B023
    return np.concatenate([np.asarray(state) for state in states], axis=1)


def compress(state, block, length, last) -> np.ndarray:
    """``hashing.compress`` for any number of columns; what does not fill a chunk stays on the host."""
    whole, count, ends = np.tile(state, CHUNK), block.shape[1], (np.uint32(length), np.uint32(last))
    parts = _each(count - count % CHUNK, lambda start: _compress(whole, block[:, start : start + CHUNK], *ends))
    if count % CHUNK:
        parts.append(hashing.compress(state, block[:, count - count % CHUNK :], length, last))
    return np.concatenate([np.asarray(part) for part in parts], axis=1)


def parents(nodes: np.ndarray) -> np.ndarray:
    """Inner nodes of a Merkle tree: (8, 2N) to (8, N) uint32 for a multiple of CHUNK."""
    state = np.tile(initial_state(NODE), CHUNK)
    parts = _each(nodes.shape[1] // 2, lambda start: _join(state, nodes[:, 2 * start : 2 * (start + CHUNK)]))
    return np.concatenate([np.asarray(part) for part in parts], axis=1)


def _each(count: int, work) -> list:
    """``work(start)`` for the first column of every chunk. Threads wait for their own results, else all calls queue in one."""

    def share(part):
        return [work(CHUNK * i).block_until_ready() for i in part]

    return [result for results in in_parallel(share, count // CHUNK) for result in results]


@jit
def _compress(state, block, length, last):
    """(8, CHUNK) and (16, CHUNK) to (8, CHUNK)."""
    return _tiled(state, lambda at, tile: _columns(block, at, tile), length, last)


@jit
def _join(state, nodes):
    """(8, CHUNK) and (8, 2 CHUNK) to (8, CHUNK): the nodes above neighbours."""
    pairs = jnp.concatenate([nodes[:, 0::2], nodes[:, 1::2]])
    return _tiled(state, lambda at, tile: _columns(pairs, at, tile), np.uint32(BLOCK), np.uint32(1))


@jit
def _absorb(state, rows, start, length, last):
    """Absorb eight rows, a tuple of (2, N) uint64 arrays, of the CHUNK columns from ``start`` on."""

    def words(at, tile):
        entries = jnp.concatenate([_columns(pair, start + at, tile) for pair in rows])
        halves = jnp.stack([entries.astype(jnp.uint32), (entries >> np.uint64(32)).astype(jnp.uint32)], axis=1)
        return halves.reshape(2 * BLOCK_ROWS, tile)

    return _tiled(state, words, length, last)


def _tiled(state, words, length, last):
    tile = _TILE if jax.default_backend() == "cpu" else CHUNK

    def step(i, out):
        part = hashing.compress(_columns(state, i * tile, tile), words(i * tile, tile), length, last)
        return jax.lax.dynamic_update_slice(out, part, (0, i * tile))

    return jax.lax.fori_loop(0, CHUNK // tile, step, jnp.zeros((8, CHUNK), jnp.uint32))


def _columns(array, start, count: int):
    return jax.lax.dynamic_slice(array, (0, start), (array.shape[0], count))
