"""Scatters at constant indices: which entry of an array each update meets."""

import math

import numpy as np

from .constants import MAX_FOLDED, Known
from .series import Refusal


def window_sizes(eqn) -> tuple[int, ...]:
    """The lengths, along each axis of the array, of what one index updates."""
    numbers = eqn.params["dimension_numbers"]
    single, lengths = (
        (*numbers.inserted_window_dims, *numbers.operand_batching_dims),
        (eqn.invars[2].aval.shape[d] for d in numbers.update_window_dims),
    )
    return tuple(1 if d in single else next(lengths) for d in range(len(eqn.invars[0].aval.shape)))


def targets(eqn, indices: Known, dropping: bool = False) -> np.ndarray:
    """Of each entry of the updates its place among all entries of the array: what JAX's gather of the same windows reads. dropping: -1
    of what JAX drops, as it is not within the array."""
    from jax import lax

    array, updates = eqn.invars[0].aval.shape, eqn.invars[2].aval.shape
    if max(math.prod(array), math.prod(updates)) > MAX_FOLDED:
        raise Refusal("a large array that is updated at constant indices; pass it as a parameter or as data")
    if indices.moving:
        raise Refusal("an index that depends on the step", "index with slices")
    numbers = eqn.params["dimension_numbers"]
    window = lax.GatherDimensionNumbers(
        offset_dims=numbers.update_window_dims,
        collapsed_slice_dims=numbers.inserted_window_dims,
        start_index_map=numbers.scatter_dims_to_operand_dims,
        operand_batching_dims=numbers.operand_batching_dims,
        start_indices_batching_dims=numbers.scatter_indices_batching_dims,
    )
    places = np.arange(math.prod(array), dtype=np.int32).reshape(array)
    mode = eqn.params["mode"] if eqn.params["mode"] == lax.GatherScatterMode.CLIP else lax.GatherScatterMode.FILL_OR_DROP
    starts = np.array(indices.full(), dtype=eqn.invars[1].aval.dtype)
    found = np.asarray(lax.gather(places, starts, window, window_sizes(eqn), mode=mode, fill_value=-1))
    if not dropping and (found < 0).any():
        raise Refusal("an index beyond the array")
    return found


def read(eqn, indices: Known) -> np.ndarray:
    """Of each entry of what a gather reads its place among all entries of the array."""
    array = eqn.invars[0].aval.shape
    places = np.arange(math.prod(array), dtype=np.int32).reshape(array)
    return np.asarray(eqn.primitive.bind(places, np.array(indices.full(), dtype=eqn.invars[1].aval.dtype), **eqn.params))


def combined(function, eqn, x: Known, indices: Known, updates: Known) -> np.ndarray:
    """An array of constants with the function of its entries and of the updates that meet them, one after another."""
    found = np.array(x.full(), dtype=object).reshape(-1)
    for place, value in zip(targets(eqn, indices, dropping=True).reshape(-1), updates.full().reshape(-1), strict=True):
        if place >= 0:
            found[place] = function(found[place], value)
    return found.reshape(x.shape)
