"""Jitted hashing of many columns: BLAKE2s over tiles that stay in the cache, chunks of columns on all cores."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .. import hashing
from ..hashing import BLOCK, BLOCK_ROWS, CHUNK, LEAF, initial_state, row_blocks

_TILE = 1024  # columns of one tile on a CPU


def hash_columns(header, groups, entries: int, person: bytes = LEAF) -> np.ndarray:
    """``hashing.hash_columns`` for a multiple of CHUNK columns; each group has two rows.

    Recompiles for: N.
    """
    count = header.shape[1]
    starts = range(0, count, CHUNK)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        state, zero = np.tile(initial_state(person), CHUNK), jnp.zeros((2, count), jnp.uint64)
        first = np.uint32(BLOCK), np.uint32(0)
        states = [_compress(state, header[:, start : start + CHUNK], *first) for start in starts]
        for rows, length, last in row_blocks(groups, entries):
            rows = jax.block_until_ready((*rows, *[zero] * (BLOCK_ROWS // 2 - len(rows))))
            absorb = partial(_absorb_now, rows, np.uint32(length), np.uint32(last))
            states = list(pool.map(absorb, states, starts))
    return np.concatenate([np.asarray(state) for state in states], axis=1)


def _absorb_now(rows, length, last, state, start):
    """One thread's share: it waits for its result, else all calls queue in one; 64-bit types are a thread's own switch."""
    with jax.enable_x64(True):
        return _absorb(state, rows, start, length, last).block_until_ready()


def compress(state, block, length, last) -> np.ndarray:
    """``hashing.compress`` for any number of columns; what does not fill a chunk stays on the host."""
    parts = []
    for start in range(0, block.shape[1], CHUNK):
        part = block[:, start : start + CHUNK]
        if part.shape[1] < CHUNK:
            parts.append(hashing.compress(state, part, length, last))
        else:
            whole = np.broadcast_to(state, (8, CHUNK))
            parts.append(_compress(whole, part, np.uint32(length), np.uint32(last)))
    return np.concatenate([np.asarray(part) for part in parts], axis=1)


@jax.jit
def _compress(state, block, length, last):
    """(8, CHUNK) and (16, CHUNK) to (8, CHUNK)."""
    return _tiled(state, lambda at, tile: _columns(block, at, tile), length, last)


@jax.jit
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
