"""Long tables as lists of tiles of fixed length.

Tiles are why a prover compiles few kernels: a table of any length is a number of tiles. They also keep what one call
touches in a core's cache, let memory be freed as a round goes on, and let equal tiles be one object.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra.extension import Ext
from ..algebra.layout import Layout
from ..algebra.poly import num_bits
from .jit import jit

LOG_TAIL, LOG_SHORT = 12, 10
TAIL, SHORT = 1 << LOG_TAIL, 1 << LOG_SHORT  # entries; tables up to these lengths run in a step of fixed shape
LOG_TILE = 15  # of long tables: what one call touches stays in a core's cache
LOG_DEVICE_TILE = 22  # on accelerators, where a call costs more than its memory traffic


class Tiles(list):
    """A table as a list of tiles: tables of one length, one after another."""


@lru_cache(maxsize=4)
def zero_pair(size: int):
    """A tile of zeros over K."""
    return jnp.zeros(size, jnp.uint64), jnp.zeros(size, jnp.uint64)


def constant_pair(value: Ext, size: int):
    """A tile over K whose entries are all ``value``."""
    return tuple(np.full(size, c, dtype=np.uint64) for c in (value.c0, value.c1))


@partial(jit, static_argnames=("size",))
def _tile(table, start, *, size):
    return tuple(jax.lax.dynamic_slice_in_dim(c, start, size) for c in table)


def tile_size(num_vars: int) -> int:
    """Entries of a tile of tables of 2^num_vars entries: long tables have long tiles."""
    large = LOG_TILE if jax.default_backend() == "cpu" else LOG_DEVICE_TILE
    return 1 << large if num_vars > large else TAIL


def cut(table, size: int) -> Tiles:
    """A table, whole or in tiles, as tiles of ``size`` entries. Of a tile that is None all parts are None."""
    if isinstance(table, Tiles):
        parts = next(len(tile[0]) for tile in table if tile is not None) // size
        return Tiles(part for tile in table for part in ([None] * parts if tile is None else cut(tile, size)))
    length = table[0].shape[0]
    if length == size:
        return Tiles([table])
    if isinstance(table[0], np.ndarray):
        return Tiles(tuple(c[i : i + size] for c in table) for i in range(0, length, size))
    return Tiles(_tile(table, np.int32(i), size=size) for i in range(0, length, size))


def joined(table):
    """A table, whole or in tiles, as NumPy arrays."""
    if isinstance(table, Tiles):
        return tuple(np.concatenate([np.asarray(c) for c in component]) for component in zip(*table, strict=True))
    return tuple(np.asarray(c) for c in table)


def bit_reversed(tiles: Tiles) -> Tiles:
    """2^n tiles, each at the place whose number has the bits of its own, lowest first."""
    bits = num_bits(len(tiles))
    return Tiles(tiles[int(f"{i:0{bits}b}"[::-1], 2)] for i in range(len(tiles)))


def embed_tiles(layout: Layout, tensors: dict, num_vars: int, size: int, fill: tuple[int, ...]) -> Tiles:
    """A layout's blocks as tiles of ``size`` entries of a table of 2^num_vars.

    tensors: key to the table's components, each an array of the layout's shape or one uint64 that all entries share.
    fill: what the padding cells of each component hold, and blocks without a tensor. Tiles of equal entries are one object; where
    some blocks have no tensor, a tile with nothing but fill is None.
    """
    constants: dict = {}
    some_missing = any(key not in tensors for key in layout.shapes)

    def constant(value: int, length: int):
        if (value, length) not in constants:
            constants[value, length] = np.full(length, np.uint64(value))
        return constants[value, length]

    def filled(length: int):
        return tuple(constant(value, length) for value in fill)

    tiles, short, used, empty = Tiles(), [], 0, True
    for piece in layout.pieces:
        length = 1 << sum(piece.bits)
        used += length
        if piece.key not in tensors:
            if length >= size:
                tiles.extend([None] * (length // size))
                continue
            short.append(filled(length))
        else:
            components = []
            for component, outside in zip(tensors[piece.key], fill, strict=True):
                if isinstance(component, int) and piece.padded:
                    component = np.broadcast_to(np.uint64(component), layout.shapes[piece.key])
                if not isinstance(component, int):
                    component = piece.block(np.asarray(component), outside).astype(np.uint64, copy=False)
                components.append(component)
            if length >= size:  # larger blocks come first and are aligned
                for start in range(0, length, size):
                    tiles.append(tuple(constant(c, size) if isinstance(c, int) else c[start : start + size] for c in components))
                continue
            short.append(tuple(constant(c, length) if isinstance(c, int) else np.asarray(c) for c in components))
            empty = False
        if used % size == 0:
            tiles.append(None if empty and some_missing else _concatenated(short))
            short, empty = [], True
    if short:
        short.append(filled(-used % size))
        tiles.append(None if empty and some_missing else _concatenated(short))
    return Tiles([*tiles, *[None if some_missing else filled(size)] * ((1 << num_vars) // size - len(tiles))])


def _concatenated(parts):
    return tuple(np.concatenate(component) for component in zip(*parts, strict=True))
