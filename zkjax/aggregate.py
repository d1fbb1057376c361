"""Aggregation over layers and steps: sites of equal shape are stacked and a kernel is vmapped over them.

Steps are an axis of every tensor. Layers, and the different kinds of sites within a layer, become a stacked axis where
their shapes agree, and neighbouring blocks of one ``Layout`` where they do not: the protocol sees blocks only. Small sites
run on the host: compiling for each of their shapes would take longer than all of them together.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from .layout import Layout

HOST = 2**18  # entries; smaller work stays in NumPy


def over_sites(kernel, arguments: list, sizes: list[int], **static) -> list:
    """``[kernel(*a, **static) for a in arguments]``, with one vmapped call for each group of equal shapes.

    arguments: tuples of pytrees of arrays. sizes: entries that each call works on. Recompiles, above 2^18 entries, for:
    kernel, static, shapes, the size of a group.
    """
    groups: dict = {}
    results: list = [None] * len(arguments)
    for i, (argument, size) in enumerate(zip(arguments, sizes, strict=True)):
        if size < HOST:
            results[i] = kernel(*jax.tree.map(np.asarray, argument), **static)
            continue
        leaves, structure = jax.tree.flatten(argument)
        groups.setdefault((structure, tuple((np.shape(x), np.dtype(x.dtype)) for x in leaves)), []).append(i)
    for members in groups.values():
        compiled = _compiled(kernel, tuple(sorted(static.items())), len(members) > 1)
        if len(members) == 1:
            results[members[0]] = compiled(*arguments[members[0]])
            continue
        values = compiled(*jax.tree.map(lambda *x: jnp.stack(x), *(arguments[i] for i in members)))
        for j, i in enumerate(members):
            results[i] = jax.tree.map(lambda x: x[j], values)  # noqa: B023
    return results


@lru_cache(maxsize=64)
def _compiled(kernel, static: tuple, many: bool):
    function = partial(kernel, **dict(static))
    return jax.jit(jax.vmap(function) if many else function)


def embed(layout: Layout, tensors: dict, size: int | None = None, fill: int = 0):
    """The layout's blocks as one array of ``size`` (default: 2^num_vars) uint64 entries; padding cells hold ``fill``.

    tensors: key to an array of non-negative integers of the layout's shape. A NumPy array for small layouts, else a jax
    array. Recompiles, above 2^18 entries, for: the layout's pieces, dtypes.
    """
    size = 1 << layout.num_vars if size is None else size
    keys = tuple(dict.fromkeys(piece.key for piece in layout.pieces))
    arrays = tuple(tensors[key] for key in keys)
    numbers = {key: i for i, key in enumerate(keys)}
    pieces = tuple((numbers[p.key], p.starts, p.lengths) for p in layout.pieces)
    if size < 4 * HOST:
        return _blocks(tuple(np.asarray(a) for a in arrays), pieces, size, fill, np)
    return _embed(arrays, pieces=pieces, size=size, fill=fill)


def _blocks(arrays, pieces, size: int, fill: int, xp):
    blocks, used = [], 0
    for number, starts, lengths in pieces:
        box = arrays[number][tuple(slice(s, s + n) for s, n in zip(starts, lengths, strict=True))].astype(np.uint64)
        padding = [(0, (1 << (n - 1).bit_length()) - n) for n in lengths]
        box = xp.pad(box, padding, constant_values=np.uint64(fill)) if any(high for _, high in padding) else box
        blocks.append(box.reshape(-1))
        used += blocks[-1].shape[0]
    if used < size:
        blocks.append(xp.full(size - used, np.uint64(fill)))
    return xp.concatenate(blocks)


@partial(jax.jit, static_argnames=("pieces", "size", "fill"))
def _embed(arrays, *, pieces, size, fill):
    return _blocks(arrays, pieces, size, fill, jnp)
