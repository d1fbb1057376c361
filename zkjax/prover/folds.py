"""Folds of tensors: sums over some axes of entries times vectors, the prover's way to what a product's sumcheck sees.

A one-hot is folded by the place of its one, for there is nothing else to add up: where the places are folded, a vector is read there; where
they are kept, weights are added up there. So a one-hot of 50,000 places is written out for no fold.
"""

from functools import reduce
from math import prod

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..kernels import sites as kernels
from ..kernels.host import multiply, outer_product
from ..kernels.products import times_vector
from .aggregate import HOST, one_site


def along_axes(values, first: tuple[int, ...], kept: list[int], vector, bits: int):
    """Fold the axes ``first`` of int64 (steps, axes) by one K vector over them, or one for each step: K (steps, kept axes), flat.

    first and kept are all axes. Where they stand in memory such that no copy is needed, none is made.
    """
    steps, shape = len(values), values.shape[1:]
    columns = len(first) == 1 and kept == sorted(kept) and max(kept, default=-1) > first[0]
    before = prod(shape[: first[0]]) if columns else 1
    columns = columns and (before == 1 or vector[0].ndim == 1)
    length = vector[0].shape[-1]
    if columns:
        x = values.reshape(steps * before, length, -1)
    else:
        x = values.transpose(0, *(d + 1 for d in (*kept, *first))).reshape(steps, -1, length)
    if len(x) == 1 and x.size >= HOST and kernels.is_wide(bits, length):
        return tuple(np.asarray(c) for c in times_vector(x[0], tuple(c.reshape(-1) for c in vector), columns=columns))
    return one_site(kernels.fold, x, vector, bits=bits, columns=columns)


def by_places(places: np.ndarray, shape: tuple[int, ...], groups: list, kept: tuple[int, ...]):
    """sum over all axes but ``kept`` of a one-hot's entries times the groups' vectors: K (steps, kept axes in the given order).

    places: as ``Operation.places``, for a tensor of this shape. A vector may have a row for each step. None where some axes of the places
    are kept and others folded, or where a group has such an axis and one before.
    """
    first = places.ndim - 1
    before = [group for group in groups if max(group[0], default=-1) < first]
    folded = sorted((group for group in groups if max(group[0], default=-1) >= first), key=lambda group: group[0])
    last, own = [*range(first, len(shape))], sorted(kept)
    if ([d for axes, _ in folded for d in axes], [d for d in own if d >= first]) not in ((last, []), ([], last)):
        return None
    weights = tuple(np.where(places < 0, np.uint64(0), c) for c in ext.stack([1]))
    for axes, vector in before:
        weights = multiply(weights, tuple(c.reshape(-1, *(shape[d] if d in axes else 1 for d in range(first))) for c in vector))
    if folded:
        read = (c.reshape(-1, prod(shape[first:])) for c in reduce(outer_product, (vector for _, vector in folded)))
        weights = multiply(weights, tuple(c[_along(len(c), places.ndim), places] for c in read))  # of no place the weight is 0
        for d in reversed(range(first)):
            weights = weights if d in own else ext.sum(weights, axis=d + 1)
    else:
        dims = [len(places), *(n if d in own else 1 for d, n in enumerate(shape[:first]))]
        rows = np.broadcast_to(np.arange(prod(dims)).reshape(dims), places.shape)
        weights = tuple(_added(c, rows, places, (prod(dims), prod(shape[first:]))) for c in weights)
    weights = (c.reshape(len(places), *(shape[d] for d in own)) for c in weights)
    return tuple(np.ascontiguousarray(c.transpose(0, *(1 + own.index(d) for d in kept))) for c in weights)


def _along(steps: int, rank: int) -> np.ndarray:
    """0, 1, .. along the first of so many axes."""
    return np.arange(steps).reshape(-1, *(1,) * (rank - 1))


def _added(weights: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Elements of F added up where they belong."""
    low, high = np.zeros(shape, dtype=np.uint64), np.zeros(shape, dtype=np.uint64)
    np.add.at(low, (rows, columns), weights & np.uint64(2**32 - 1))
    np.add.at(high, (rows, columns), weights >> np.uint64(32))
    return field.join(low, high)
