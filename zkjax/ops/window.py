"""Windows that slide along an axis: of x all entries that a convolution or a pool reads together, side by side.

    y[o, k] = x[stride o + dilation k - pad],  0 where x has no such entry

along one axis, which becomes two: the places of the window, and the places in it. A convolution is a window along each of its spatial axes
and one ``dot``, and so are both of its derivatives; a pool is a window and a sum or a maximum.

Bounds      the input's.
Claims      weights are moved back: v[h] = sum of w[o, k] over stride o + dilation k - pad = h. No message, no cell, no lookup.
Liars       nothing to lie about.

PROTOCOL.md, sections 5.2, 12.2.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..algebra import field
from ..algebra.vectors import Vector
from .operation import Operation, dims, require


@dataclass(frozen=True)
class Window(Operation):
    """Axis ``axis`` becomes axes of ``out`` and ``size`` entries. pad: zeros before the first entry; negative: entries that are skipped."""

    name: ClassVar[str] = "window"
    axis: int
    out: int
    size: int
    stride: int
    dilation: int
    pad: int

    def infer_shape(self, x, leaves):
        require(all(isinstance(n, int) for n in self.attributes().values()), "attributes are integers")
        require(0 <= self.axis < len(x[0]), "axis")
        require(self.stride >= 1 and self.dilation >= 1, "stride and dilation must be positive")
        return dims((*x[0][: self.axis], self.out, self.size, *x[0][self.axis + 1 :]))

    def pull(self, i, node, term, walk):
        axis, (below,) = self.axis, node.inputs
        term = walk.join(term, (axis, axis + 1), node.shape, i)
        groups, vectors = [], []
        for group, vector in zip(term.groups, term.vectors, strict=True):
            if axis in group:
                place, shape = group.index(axis), tuple(node.shape[d] for d in group)
                length = walk.shape(below)[axis]
                size = math.prod(shape) // (self.out * self.size) * length
                vector = walk.derive(("window", i, group), vector, size, lambda v: self._moved_back(v, shape, place, length))  # noqa: B023
                group = tuple(d for d in group if d != axis + 1)
            groups.append(self._below(group))
            vectors.append(vector)
        return [term._replace(key=("node", below), groups=tuple(groups), vectors=tuple(vectors))]

    def evaluate(self, x, node, shapes, limbs):
        return self.windows(x[0], self.axis)

    def over_steps(self, x, node, shapes, limbs):
        return self.windows(x[0], self.axis + 1)

    def fold(self, i, node, groups, kept, prover):
        """Other axes are folded first, so that only what is left of x is written side by side."""
        axis, (below,) = self.axis, node.inputs
        own, met = {axis, axis + 1} & {*kept}, [g for g in groups if {axis, axis + 1} & {*g[0]}]
        if any(not {*axes} <= {axis, axis + 1} for axes, _ in met) or any({*axes} & own for axes, _ in met):
            return super().fold(i, node, groups, kept, prover)
        others = [(self._below(axes), v) for axes, v in groups if not {axis, axis + 1} & {*axes}]
        if not own:
            first, *second = (v for _, v in sorted(met, key=lambda group: group[0]))
            if second:
                first = prover.multiply(tuple(c[:, None] for c in first), tuple(c[None] for c in second[0]))
            moved = self._moved_back(first, (self.out, self.size), 0, prover.shape(below)[axis])
            return prover.fold(below, [*others, ((axis,), Vector(moved))], self._below(kept))
        rest = tuple(d for d in kept if d not in own)
        table = prover.fold(below, others, (*self._below(rest), axis))
        table = tuple(np.asarray(c) for c in table)
        if len(own) == 2:
            table = tuple(self.windows(c, c.ndim - 1) for c in table)
        else:
            table = self._summed(table, own == {axis}, met[0][1], prover.multiply)
        order = [*rest, *sorted(own)]
        return tuple(np.ascontiguousarray(c.transpose(0, *(1 + order.index(d) for d in kept))) for c in table)

    def _summed(self, table, over_size: bool, vector, multiply):
        """Windows along the last axis of a K array, summed over one of the two axes with these weights: the other one is left."""
        length, shape = table[0].shape[-1], (*table[0].shape[:-1], self.out if over_size else self.size)
        total = tuple(np.zeros(shape, dtype=np.uint64) for _ in range(2))
        for j in range(len(vector[0])):
            left, at = self._along_out(j, length) if over_size else self._along_size(j, length)
            part, weight = tuple(c[..., at] for c in table), tuple(c[j : j + 1] for c in vector)
            if part[0].size:
                found = multiply(part, weight, tuple(c[..., left] for c in total))
                for target, c in zip(total, found, strict=True):
                    target[..., left] = c
        return total

    def windows(self, x, axis: int):
        """The windows of an array along an axis: the shorter one of the two new axes entry by entry."""
        arrays, length = x.__array_namespace__(), x.shape[axis]
        by_size = self.size <= self.out
        parts = []
        for j in range(self.size if by_size else self.out):
            to, at = self._along_out(j, length) if by_size else self._along_size(j, length)
            part = x[(slice(None),) * axis + (at,)]
            widths = [(0, 0)] * x.ndim
            widths[axis] = to.start, (self.out if by_size else self.size) - to.stop
            parts.append(arrays.pad(part, widths))
        return arrays.stack(parts, axis=axis + by_size)

    def _moved_back(self, vector, shape: tuple[int, ...], place: int, length: int):
        """The transpose of the map: from a K vector over ``shape``, whose axes ``place`` and the next one are the two, to one over x's."""
        result = tuple(np.zeros((*shape[:place], length, *shape[place + 2 :]), dtype=np.uint64) for _ in range(2))
        by_size, before = self.size <= self.out, (slice(None),) * place
        for j in range(self.size if by_size else self.out):
            to, at = self._along_out(j, length) if by_size else self._along_size(j, length)
            for target, c in zip(result, vector, strict=True):
                part = np.asarray(c).reshape(shape)[(*before, *((to, j) if by_size else (j, to)))]
                target[(*before, at)] = field.add(target[(*before, at)], part)
        return tuple(c.reshape(-1) for c in result)

    def _along_out(self, k: int, length: int) -> tuple[slice, slice]:
        """Where the window's entry k is one of x: places of the window, and entries of x."""
        return meeting(self.stride, self.dilation * k - self.pad, self.out, length)

    def _along_size(self, o: int, length: int) -> tuple[slice, slice]:
        """At the window's place o: places in it, and entries of x."""
        return meeting(self.dilation, self.stride * o - self.pad, self.size, length)

    def _below(self, axes) -> tuple[int, ...]:
        return tuple(d - (d > self.axis) for d in axes)


def meeting(step: int, start: int, count: int, length: int) -> tuple[slice, slice]:
    """The j < count with 0 <= start + step j < length, and these places."""
    first = max(0, -(start // step))
    last = min(count, (length - 1 - start) // step + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    return slice(first, last), slice(start + step * first, start + step * (last - 1) + 1, step)
