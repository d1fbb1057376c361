"""Transpose, reshape, broadcast, slice, pad, concatenate, reverse: entries are moved, copied or dropped, never computed.

Bounds      the input's (of a concatenation, the largest).
Claims      weights are moved back; of entries that were copied, they are added up. No message, no cell, no lookup.
Liars       nothing to lie about.

PROTOCOL.md, sections 5.2, 12.2.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..algebra import extension as ext
from .operation import Operation, dims, require
from .window import Window

MAX_APART = 3  # entries of two axes that were joined, as those within a window, whose weights become terms with a vector for each


@dataclass(frozen=True)
class Transpose(Operation):
    """numpy.transpose."""

    name: ClassVar[str] = "transpose"
    as_stored: ClassVar[bool] = True
    permutation: tuple[int, ...]

    def infer_shape(self, x, leaves):
        require(sorted(self.permutation) == list(range(len(x[0]))), "not a permutation")
        return tuple(x[0][d] for d in self.permutation)

    def pull(self, i, node, term, walk):
        return [walk.relabel(term, node.inputs[0], node.shape, dict(enumerate(self.permutation)))]

    def evaluate(self, x, node, shapes, limbs):
        return x[0].transpose(self.permutation)

    def fold(self, i, node, groups, kept, prover):
        to = self.permutation
        if any(len(axes) > 1 for axes, _ in groups):  # whose vectors would have to be transposed
            return super().fold(i, node, groups, kept, prover)
        return prover.fold(node.inputs[0], [((to[axes[0]],) if axes else (), v) for axes, v in groups], tuple(to[d] for d in kept))


@dataclass(frozen=True)
class Reshape(Operation):
    """numpy.reshape. Axes that it mixes are joined: their weights become one vector."""

    name: ClassVar[str] = "reshape"
    as_stored: ClassVar[bool] = True
    shape: tuple[int, ...]

    def infer_shape(self, x, leaves):
        shape = dims(self.shape)
        require(math.prod(shape) == math.prod(x[0]), "sizes differ")
        return shape

    def pull(self, i, node, term, walk):
        below = walk.shape(node.inputs[0])
        groups = tuple(tuple(d for d in group if node.shape[d] > 1) for group in term.groups)
        term, runs = walk.drop_empty(term._replace(groups=groups)), _runs(below, node.shape)
        for _, outs in runs:
            term = walk.join(term, outs, node.shape, i)
        groups = [tuple(d for ins, outs in runs if set(outs) & set(group) for d in ins) for group in term.groups]
        fresh = [d for d, n in enumerate(below) if n == 1]
        vectors = term.vectors + tuple(walk.vectors.ones(1) for _ in fresh)
        terms = [term._replace(key=("node", node.inputs[0]), groups=(*groups, *((d,) for d in fresh)), vectors=vectors)]
        for axes in self._joined(below, node.shape):
            terms = [part for term in terms for part in walk.apart(term, axes, node.inputs[0])]
        return terms

    def passes(self, i, node, walk):
        below = walk.shape(node.inputs[0])
        return math.prod(min(below[d] for d in axes) for axes in self._joined(below, node.shape))

    @staticmethod
    def _joined(below, shape) -> list[tuple[int, int]]:
        """Pairs of short axes that become one, such as those within a window."""
        pairs = [ins for ins, outs in _runs(below, shape) if len(outs) == 1 and len(ins) == 2]
        return [axes for axes in pairs if max(below[d] for d in axes) <= MAX_APART]

    def evaluate(self, x, node, shapes, limbs):
        return x[0].reshape(node.shape)

    def places(self, i, node, prover):
        below = prover.places(node.inputs[0])
        firsts = [] if below is None else [k for k in range(len(node.shape)) if math.prod(node.shape[:k]) == below[0].size]
        return below.reshape(-1, *node.shape[: firsts[0]]) if firsts else None

    def fold(self, i, node, groups, kept, prover):
        """Where only axes of one entry come and go, the input's, folded."""
        below = prover.shape(node.inputs[0])
        above, under = ([d for d, n in enumerate(shape) if n > 1] for shape in (node.shape, below))
        if [node.shape[d] for d in above] != [below[d] for d in under] or not {*kept} <= {*above}:
            return super().fold(i, node, groups, kept, prover)
        to, factor = dict(zip(above, under, strict=True)), ext.stack([1])
        moved = [((d,), factor) for d, n in enumerate(below) if n == 1]
        for axes, vector in groups:
            if {*axes} & {*to}:
                moved.append((tuple(to[d] for d in axes if d in to), vector))
            else:
                factor = ext.mul(factor, vector)
        folded = prover.fold(node.inputs[0], moved, tuple(to[d] for d in kept))
        return folded if (factor[0][0], factor[1][0]) == (1, 0) else prover.multiply(folded, factor)


@dataclass(frozen=True)
class Broadcast(Operation):
    """Axis i of x becomes axis axes[i]; along the others x repeats."""

    name: ClassVar[str] = "broadcast"
    as_stored: ClassVar[bool] = True
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def infer_shape(self, x, leaves):
        axes, shape = self.axes, dims(self.shape)
        require(len(axes) == len(x[0]) and len(set(axes)) == len(axes), "axes")
        require(all(0 <= d < len(shape) and shape[d] == n for d, n in zip(axes, x[0], strict=True)), "axis lengths differ")
        return shape

    def pull(self, i, node, term, walk):
        kept = {d: j for j, d in enumerate(self.axes)}
        groups, vectors = [], []
        for group, vector in zip(term.groups, term.vectors, strict=True):
            lost = tuple(j for j, d in enumerate(group) if d not in kept)
            if lost:
                lengths = tuple(node.shape[d] for d in group)
                length = math.prod(n for j, n in enumerate(lengths) if j not in lost)
                vector = walk.derive(("sum", lengths, lost), vector, length, lambda v: _sum_axes(v, lengths, lost))  # noqa: B023
            groups.append(tuple(d for d in group if d in kept))
            vectors.append(vector)
        term = walk.drop_empty(term._replace(groups=tuple(groups), vectors=tuple(vectors)))
        return [walk.relabel(term, node.inputs[0], node.shape, kept)]

    def evaluate(self, x, node, shapes, limbs):
        return x[0].__array_namespace__().broadcast_to(aligned(x[0], self.axes, len(node.shape)), node.shape)


@dataclass(frozen=True)
class Slice(Operation):
    """x[start:limit:stride]."""

    name: ClassVar[str] = "slice"
    as_stored: ClassVar[bool] = True
    start: tuple[int, ...]
    limit: tuple[int, ...]
    stride: tuple[int, ...]

    def infer_shape(self, x, leaves):
        lengths = []
        for n, start, limit, stride in zip(x[0], self.start, self.limit, self.stride, strict=True):
            require(0 <= start < limit <= n and stride >= 1, "slice bounds")
            lengths.append(-(-(limit - start) // stride))
        return tuple(lengths)

    def pull(self, i, node, term, walk):
        below = walk.shape(node.inputs[0])
        axes = [d for d in range(len(below)) if below[d] != node.shape[d]]

        def place(c, group):
            result = np.zeros(tuple(below[d] for d in group), dtype=np.uint64)
            result[tuple(slice(self.start[d], self.limit[d], self.stride[d]) for d in group)] = c
            return result

        return [walk.along(term, ("slice", i), node.shape, below, axes, place)._replace(key=("node", node.inputs[0]))]

    def evaluate(self, x, node, shapes, limbs):
        return x[0][_slices(self.start, self.limit, self.stride)]

    def places(self, i, node, prover):
        below, last = prover.places(node.inputs[0]), len(node.shape) - 1
        begins = not any(self.start) and set(self.stride) == {1} and self.limit[:last] == prover.shape(node.inputs[0])[:last]
        return None if below is None or not begins or below.ndim != len(node.shape) else np.where(below < self.limit[last], below, -1)


@dataclass(frozen=True)
class Pad(Operation):
    """Zeros around and between the entries: y[low + (interior + 1) j] = x[j] along every axis."""

    name: ClassVar[str] = "pad"
    low: tuple[int, ...]
    high: tuple[int, ...]
    interior: tuple[int, ...]

    def infer_shape(self, x, leaves):
        lengths = []
        for n, low, high, interior in zip(x[0], self.low, self.high, self.interior, strict=True):
            require(low >= 0 and high >= 0 and interior >= 0, "negative padding")
            lengths.append(low + n + (n - 1) * interior + high)
        return dims(tuple(lengths))

    def pull(self, i, node, term, walk):
        below = walk.shape(node.inputs[0])
        axes = [d for d in range(len(below)) if below[d] != node.shape[d]]

        def take(c, group):
            return c[self._places(below, group)]

        return [walk.along(term, ("pad", i), node.shape, below, axes, take)._replace(key=("node", node.inputs[0]))]

    def evaluate(self, x, node, shapes, limbs):
        where = self._places(shapes[0], range(len(shapes[0])))
        zeros = x[0].__array_namespace__().zeros(node.shape, dtype=x[0].dtype)
        if isinstance(x[0], np.ndarray):
            zeros[where] = x[0]
            return zeros
        return zeros.at[where].set(x[0])

    def _places(self, shape, axes) -> tuple[slice, ...]:
        """Where the entries stand, along these axes. shape: before the padding."""
        steps = [self.interior[d] + 1 for d in axes]
        return tuple(slice(self.low[d], self.low[d] + (shape[d] - 1) * s + 1, s) for d, s in zip(axes, steps, strict=True))


@dataclass(frozen=True)
class Concatenate(Operation):
    """numpy.concatenate. A claim falls into one for each part."""

    name: ClassVar[str] = "concatenate"
    arity: ClassVar[int | None] = None
    axis: int

    def infer_shape(self, x, leaves):
        axis = self.axis
        require(isinstance(axis, int) and 0 <= axis < len(x[0]), "axis")
        require(all(s[:axis] + s[axis + 1 :] == x[0][:axis] + x[0][axis + 1 :] for s in x), "shapes differ")
        return x[0][:axis] + (sum(s[axis] for s in x),) + x[0][axis + 1 :]

    def pull(self, i, node, term, walk):
        axis, start, result = self.axis, 0, []
        for below in node.inputs:
            stop = start + walk.shape(below)[axis]

            def take(c, group, start=start, stop=stop):
                return c[tuple(slice(start, stop) if d == axis else slice(None) for d in group)]

            part = walk.along(term, ("part", i, start), node.shape, walk.shape(below), (axis,), take)
            result.append(part._replace(key=("node", below)))
            start = stop
        return result

    def evaluate(self, x, node, shapes, limbs):
        return x[0].__array_namespace__().concatenate(x, axis=self.axis)


@dataclass(frozen=True)
class Reverse(Operation):
    """numpy.flip."""

    name: ClassVar[str] = "reverse"
    as_stored: ClassVar[bool] = True
    axes: tuple[int, ...]

    def infer_shape(self, x, leaves):
        require(len(set(self.axes)) == len(self.axes) and all(0 <= d < len(x[0]) for d in self.axes), "axes")
        return x[0]

    def pull(self, i, node, term, walk):
        def flip(c, group):
            return np.flip(c, tuple(j for j, d in enumerate(group) if d in self.axes))

        return [walk.along(term, ("reverse", i), node.shape, node.shape, self.axes, flip)._replace(key=("node", node.inputs[0]))]

    def evaluate(self, x, node, shapes, limbs):
        return x[0][tuple(slice(None, None, -1 if d in self.axes else 1) for d in range(x[0].ndim))]


MOVES = (Transpose, Reshape, Broadcast, Slice, Pad, Concatenate, Reverse, Window)


def aligned(x, axes, rank: int):
    """x with axis i moved to axis axes[i] of ``rank`` axes; the others have length 1."""
    order = sorted(range(len(axes)), key=lambda i: axes[i])
    lengths = {axes[i]: x.shape[i] for i in order}
    return x.transpose(order).reshape([lengths.get(d, 1) for d in range(rank)])


def _slices(starts, limits, steps) -> tuple[slice, ...]:
    return tuple(slice(*bounds) for bounds in zip(starts, limits, steps, strict=True))


def _sum_axes(vector, lengths, axes):
    array = tuple(c.reshape(lengths) for c in vector)
    for axis in sorted(axes, reverse=True):
        array = ext.sum(array, axis=axis)
    return tuple(np.asarray(c).reshape(-1) for c in array)


def _runs(below: tuple[int, ...], shape: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cut two shapes of equal size into the finest runs of axes with equal products: (axes below, axes); those of one entry are in none."""
    ins, outs = ([d for d, n in enumerate(lengths) if n > 1] for lengths in (below, shape))
    runs = []
    while ins:
        run: tuple[list, list] = [ins.pop(0)], [outs.pop(0)]
        sizes = [below[run[0][0]], shape[run[1][0]]]
        while sizes[0] != sizes[1]:
            side, lengths, rest = (0, below, ins) if sizes[0] < sizes[1] else (1, shape, outs)
            run[side].append(rest.pop(0))
            sizes[side] *= lengths[run[side][-1]]
        runs.append((tuple(run[0]), tuple(run[1])))
    return runs
