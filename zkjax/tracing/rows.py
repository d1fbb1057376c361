"""Rows of a tensor along an axis: a part of them, zeros around them, and those at constant indices that count up, as positions do.

Such indices are slices, which cost nothing, however many they are.
"""

from fractions import Fraction

import numpy as np

from .constants import Known

MOST_RUNS = 64  # slices that constant indices become


def padded(graph, x, axis: int, low: int, high: int, interior: int = 0):
    """Zeros before, after and between the entries along an axis."""
    padding = [(0, 0, 0)] * len(x.shape)
    padding[axis] = low, high, interior
    return graph.pad(x, Known.uniform(Fraction(0), ()), padding)


def sliced(graph, x, axis: int, place: int, length: int):
    """So many entries along an axis, from a place on."""
    start, limit = [0] * len(x.shape), list(x.shape)
    start[axis], limit[axis] = place, place + length
    return graph.slice(x, start, limit, None)


def runs(places: np.ndarray) -> list[tuple[int, int]] | None:
    """Indices as (the first one, how many) of runs in which each is one more than the one before; None for more than a few runs."""
    places = places.reshape(-1)
    starts = [0, *(1 + np.flatnonzero(np.diff(places) != 1)), places.size]
    found = [(int(places[a]), int(b - a)) for a, b in zip(starts, starts[1:], strict=False)]
    return found if len(found) <= MOST_RUNS else None


def gathered(graph, x, axis: int, found: list[tuple[int, int]], shape, offsets):
    """The rows of x along an axis at indices of this shape. found: their runs. offsets: where the other axes of x stand in the result."""
    rest = [d for d in range(len(x.shape)) if d != axis]
    rows = graph.concatenate([sliced(graph, x, axis, *run) for run in found], axis)
    rows = graph.reshape(graph.transpose(rows, (axis, *rest)), (*shape, *(x.shape[d] for d in rest)))
    moved, counted = {d: len(shape) + k for k, d in enumerate(offsets)}, iter(range(len(shape)))
    return graph.transpose(rows, tuple(moved[d] if d in moved else next(counted) for d in range(len(rows.shape))))


def added(graph, updates, axis: int, found: list[tuple[int, int]], shape, windows):
    """Zeros of this shape to which rows are added along an axis: ``gathered`` transposed. windows: the other axes in the updates."""
    rest = [d for d in range(len(shape)) if d != axis]
    updates = graph.transpose(updates, (*(d for d in range(len(updates.shape)) if d not in windows), *windows))
    rows, parts, at = graph.reshape(updates, (sum(count for _, count in found), *(shape[d] for d in rest))), [], 0
    for first, count in found:
        parts.append((1, padded(graph, sliced(graph, rows, 0, at, count), 0, first, shape[axis] - first - count)))
        at += count
    order = [axis, *rest]
    return graph.transpose(graph.linear(parts), tuple(order.index(d) for d in range(len(shape))))
