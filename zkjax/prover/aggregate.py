"""Aggregation over layers and steps: sites of equal shape are stacked and a kernel is vmapped over them.

Steps are an axis of every tensor. Layers, and the different kinds of sites within a layer, become a stacked axis where
their shapes agree, and neighbouring blocks of one ``Layout`` where they do not: the protocol sees blocks only. Small sites
run on the host: compiling for each of their shapes would take longer than all of them together.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import field
from ..algebra.layout import Layout
from ..kernels.jit import jit
from ..kernels.threads import in_parallel

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
            results[i] = jax.tree.map(lambda x: np.asarray(x)[j], values)  # noqa: B023
    return results


def one_site(kernel, *arguments, **static):
    """``kernel(*arguments, **static)``, on the host or compiled, by size. K results as NumPy arrays."""
    (result,) = over_sites(kernel, [arguments], [arguments[0][0].size * len(arguments[0])], **static)
    return tuple(np.asarray(c) for c in result)


@lru_cache(maxsize=64)
def _compiled(kernel, static: tuple, many: bool):
    function = partial(kernel, **dict(static))
    return jit(jax.vmap(function) if many else function)


def embed(layout: Layout, tensors: dict, size: int | None = None) -> np.ndarray:
    """The layout's blocks as one array of ``size`` (default: 2^num_vars) uint64 entries; padding cells hold 0.

    tensors: key to an array of integers of the layout's shape, signed ones as field elements.
    """
    result = np.empty(1 << layout.num_vars if size is None else size, dtype=np.uint64)
    result[layout.size :] = 0

    pieces = [*layout.pieces[::2], *layout.pieces[1::2]]  # by size: threads share large ones

    def place(part):
        for piece in (pieces[i] for i in part):
            block = result[piece.offset : piece.offset + (1 << sum(piece.bits))].reshape([1 << b for b in piece.bits])
            if piece.padded:
                block[...] = 0
            source = np.asarray(tensors[piece.key])[piece.box]
            target = block[(..., *(slice(n) for n in piece.lengths))]
            np.copyto(target, source, casting="unsafe")
            if source.dtype.kind == "i":  # as field.from_int, in place
                np.subtract(target, field.EPSILON, out=target, where=source < 0)

    in_parallel(place, len(pieces))
    return result
