"""One-hots, and what is picked by an index that depends on data: products with the one-hot of the index.

An index is a function of a tensor of integers (JAX adds the length to negative ones); a table holds its one-hot for every integer that
the data may have.
"""

import math
import operator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from ..algebra import functions as programs
from ..ops.leaves import MAX_CONSTANT
from ..ops.moves import Broadcast, Concatenate, Reshape
from . import digits, ignored, keys
from .constants import Known
from .expressions import Drawn, Expression, Mask, Numbers
from .functions import picked, unary
from .rows import added, gathered, padded, runs, sliced
from .scatters import combined, window_sizes
from .series import Refusal

NOWHERE = programs.number(Fraction(-1))
FILL, DROP = "FILL_OR_DROP", "nowhere"  # JAX's mode: beyond the axis a gather has no number, a scatter adds nothing
NAN = programs.joined("div", programs.number(Fraction(0)), programs.number(Fraction(0)))


# ---- one-hots --------------------------------------------------------------------------------------------------------


def equal_index(graph, x, y) -> Mask | None:
    """x == y of integers: with the numbers 0, 1, .. along an axis, or of two indices of which one is known to be below some number."""
    for index, other in ((x, y), (y, x)):
        if index in graph.one_hots and isinstance(other, Known) and isinstance(other.scalar, int):
            return Mask(place(graph, graph.one_hots[index], other.scalar)) if 0 <= other.scalar < graph.one_hots[index].shape[-1] else None
        if isinstance(other, Known) and isinstance(index, Expression | Drawn) and not other.moving:
            found = _numbered(graph, index, other)
            if found is not None:
                return Mask(found)
        if index in graph.one_hots and isinstance(other, Expression):
            first = graph.one_hots[index]
            second = one_hot(graph, other, first.shape[-1])
            if second is not None:
                axes = tuple(range(len(index.shape)))
                last = (len(axes),)
                return Mask(graph.dot(first, second, (last, last), (axes, axes), index.shape))
    return None


def _numbered(graph, index: Expression | Drawn, numbers: Known) -> Expression | None:
    values, axes = numbers.compact()
    last = index.words if isinstance(index, Drawn) else index  # what moved it
    if len(axes) != 1 or not last.does(Broadcast, Reshape) or not _count_up(values):
        return None
    (axis,), size = axes, values.size
    rest = tuple(n for d, n in enumerate(index.shape) if d != axis)
    if last.does(Broadcast) and axis not in last.operation.axes:
        kept = tuple(d - (d > axis) for d in last.operation.axes)
        repeated = replace(index, words=last.inputs[0]) if isinstance(index, Drawn) else last.inputs[0]
        below = graph.broadcast(repeated, rest, kept)
    elif size == 1:
        below = graph.reshape(index, rest)
    else:
        return None
    found = one_hot(graph, below, size)
    if found is None:
        return None
    order = [*range(len(rest))]
    order.insert(axis, len(rest))
    return graph.transpose(found, tuple(order))


def one_hot(graph, index: Expression | Drawn, size: int, program=None) -> Expression | None:
    """1 where the index is the place along a further, last axis; program: of what it is a function of. None if it is none."""
    if isinstance(index, Drawn):
        if (found := keys.one_hot(graph, index, size)) is not None:
            return found
        index = keys.read(graph, index)
    if index in graph.one_hots and graph.one_hots[index].shape[-1] == size and program is None:
        return graph.one_hots[index]
    found = unary(graph, index)
    if found.base is None or size > digits.MOST:
        return None
    return picked(graph, found.program if program is None else programs.after(program, found.program), found.base, size)


def shares(graph, which, cases: int) -> list:
    """Of an integer that chooses among so many cases: for each of them ones where it is chosen. Beyond the ends it chooses the end."""
    own = which in graph.one_hots and graph.one_hots[which].shape[-1] == cases
    found = one_hot(graph, which, cases, None if own else within(cases, "CLIP"))
    if found is not None:
        return [place(graph, found, k) for k in range(cases)]
    above = [graph.tensor(graph.greater(which, Known.uniform(k, which.shape), which.shape)) for k in range(cases - 1)]
    ends = [Known.uniform(Fraction(1), which.shape), *above, Known.uniform(Fraction(0), which.shape)]
    return [graph.linear([(1, here), (-1, beyond)]) for here, beyond in pairwise(ends)]


def place(graph, hot: Expression, k: int) -> Expression:
    """Place k of one-hots: ones where it is the one."""
    return graph.reshape(sliced(graph, hot, len(hot.shape) - 1, k, 1), hot.shape[:-1])


# ---- gather and scatter ----------------------------------------------------------------------------------------------


def within(size: int, mode: str):
    """What an index becomes: clipped, or a function that has no value beyond the axis, or is -1 there."""
    x, low, high = programs.IDENTITY, programs.number(Fraction(0)), programs.number(Fraction(size - 1))
    if mode == "CLIP":
        return programs.joined("min", programs.joined("max", x, low), high)
    inside = programs.joined("and", programs.joined("ge", x, low), programs.joined("le", x, high))
    return programs.joined("select", inside, NOWHERE if mode == DROP else NAN, x)


def _one_hot_of(graph, indices, place: int, length: int, size: int, mode: str) -> Expression:
    """Of column ``place`` of the last axis of indices, which has this length: shape (.., K)."""
    column = graph.reshape(_column(graph, indices, place) if length > 1 else indices, indices.shape[:-1])
    if isinstance(column, Known):
        if column.moving or column.values.size * size > MAX_CONSTANT:
            raise Refusal("an index that is a large constant; index with slices")
        chosen = _constant_places(column, size, mode).reshape(-1)
        table = np.array([[Fraction(int(v == k)) for k in range(size)] for v in chosen], dtype=object)
        return graph.tensor(Known.spread(table.reshape(*column.shape, size), (*column.shape, size), False))
    found = one_hot(graph, column, size, within(size, mode))
    if found is None:
        several = f"an index into an axis of {size} entries, or one that follows from several tensors"
        raise Refusal(several, f"index with up to {digits.MOST:,} classes")
    if mode == FILL:
        ignored.noted(graph, found, one_hot(graph, column, size, within(size, DROP)))
    return found


def _constant_places(column: Known, size: int, mode: str) -> np.ndarray:
    """Of constant indices into an axis of so many entries: those that JAX reads."""
    if column.moving:
        raise Refusal("an index that depends on the step", "index with slices")
    found = np.array(column.full(), dtype=np.int64)
    found = np.clip(found, 0, size - 1) if mode == "CLIP" else found
    if not ((0 <= found) & (found < size)).all():
        raise Refusal("an index beyond the array")
    return found


def _column(graph, indices, place: int):
    """One column of indices that were put together along the last axis."""
    if isinstance(indices, Expression) and indices.does(Concatenate) and indices.operation.axis == len(indices.shape) - 1:
        for part in indices.inputs:
            if place < part.shape[-1]:
                return _known(part) or sliced(graph, part, len(part.shape) - 1, place, 1)
            place -= part.shape[-1]
    return sliced(graph, indices, len(indices.shape) - 1, place, 1)


def _known(x: Expression) -> Known | None:
    """The constants that a tensor is made of, moved."""
    if x.does(Numbers):
        values = np.array(x.operation.values, dtype=object).reshape(x.shape)
        return Known.spread(values, x.shape, x.tagged)
    below = _known(x.inputs[0]) if x.does(Broadcast, Reshape) else None
    if below is None:
        return None
    if x.does(Reshape):
        return below.reshaped(lambda a: a.reshape(x.shape), x.shape)
    lengths = dict(zip(x.operation.axes, below.shape, strict=True))
    spread = below.full().reshape([lengths.get(d, 1) for d in range(len(x.shape))])
    return Known.spread(np.broadcast_to(spread, x.shape), x.shape, x.tagged)


class _Places:
    """How a gather or scatter-add pairs axes: batch pairs (axis of the array, of the indices), and the axis that the index is of.

    Where several indices are given, all but one count along axes of the indices, as ``x[jnp.arange(n), y]`` does, or are of axes that are
    whole. sizes: of the part that begins at an index.
    """

    def __init__(self, graph, shape, sizes, indices, axes, batch, mode: str):
        self.batch = [(int(a), int(b)) for a, b in zip(*batch, strict=True)]
        self.axis, self.one_hot = None, None
        for place, axis in enumerate(int(d) for d in axes):
            if mode == "CLIP" and sizes[axis] == shape[axis] > 1:  # which begins at 0
                continue
            column = _column(graph, indices, place) if len(axes) > 1 else indices
            along = _counts(column, shape[axis]) if len(axes) > 1 else None
            if isinstance(column, Known) and column.scalar == 0 and sizes[axis] == shape[axis] > 1:
                continue
            if along is not None:
                self.batch.append((axis, along))
            elif self.axis is None:
                self.axis, self.one_hot = axis, _one_hot_of(graph, indices, place, len(axes), shape[axis] - sizes[axis] + 1, mode)
            else:
                raise Refusal("several indices that depend on data", "index one axis at a time")
        if self.axis is None:
            raise Refusal("index with Python integers or slices")


def _counts(column, length: int) -> int | None:
    """The axis of the indices along which they are 0, 1, .., length - 1."""
    if not isinstance(column, Known):
        return None
    values, axes = column.compact()
    return axes[0] if len(axes) == 1 and values.size == length and _count_up(values) else None


def _count_up(values) -> bool:
    """Whether constants are 0, 1, 2, .."""
    return all(int(v) == k for k, v in enumerate(values.reshape(-1)))


def gather(graph, eqn, x, indices):
    """What is picked by an index: the product with its one-hot."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    x, mode = graph.tensor(x), _mode(eqn)
    if isinstance(indices, Known) and (found := _static(graph, numbers, sizes, x, indices, mode)) is not None:
        return found
    if isinstance(indices, Known) and len(numbers.start_index_map) > 1 and not numbers.operand_batching_dims:
        return _picked(graph, eqn, numbers, x, indices)
    batch = numbers.operand_batching_dims, numbers.start_indices_batching_dims
    if (found := _counted(x.shape, sizes, indices, numbers.start_index_map, numbers.collapsed_slice_dims, batch, mode)) is not None:
        return gathered(graph, x, *found, indices.shape[:-1], numbers.offset_dims)
    places, rank = _Places(graph, x.shape, sizes, indices, numbers.start_index_map, batch, mode), len(x.shape)
    whole = [d for d in range(rank) if d != places.axis and d not in [a for a, _ in places.batch]]
    if any(sizes[d] != x.shape[d] for d in whole) or any(sizes[a] != 1 for a, _ in places.batch):
        raise Refusal("an index of parts of an array", "index whole rows")
    shape, one, length = eqn.outvars[0].aval.shape, places.one_hot, sizes[places.axis]
    if length > 1:  # all parts, each at where it begins, with a further axis
        starts = [sliced(graph, x, places.axis, k, x.shape[places.axis] - length + 1) for k in range(length)]
        x, whole = graph.concatenate([graph.reshape(part, (*part.shape, 1)) for part in starts], rank), [*whole, rank]
    last = len(one.shape) - 1
    (a, b) = (tuple(side) for side in zip(*places.batch, strict=True)) if places.batch else ((), ())
    free = [d for d in range(last) if d not in b]
    order = [("index", d) for d in b] + [("index", d) for d in free] + [("whole", d) for d in whole]
    sizes = [one.shape[d] for _, d in order[: len(b) + len(free)]] + [x.shape[d] for d in whole]
    product = graph.dot(one, x, ((last,), (places.axis,)), (b, a), tuple(sizes))
    kept = [d for d in range(rank) if d not in numbers.collapsed_slice_dims and d not in numbers.operand_batching_dims]
    wanted, offsets, counted = [], {int(d): k for k, d in enumerate(numbers.offset_dims)}, iter(range(last))
    for d in range(len(shape)):
        if d not in offsets:
            wanted.append(("index", next(counted)))
        elif kept[offsets[d]] != places.axis:
            wanted.append(("whole", kept[offsets[d]]))
        elif length > 1:  # else it leaves one entry, if it stays
            wanted.append(("whole", rank))
    if set(wanted) != set(order):
        raise Refusal("an index of parts of an array", "index whole rows")
    return graph.reshape(graph.transpose(product, tuple(order.index(w) for w in wanted)), shape)


def scattered(graph, eqn, shape, indices, updates):
    """What is added at an index to an array of this shape: the transposed product."""
    numbers, mode = eqn.params["dimension_numbers"], _mode(eqn)
    if isinstance(indices, Known) and isinstance(updates, Known):
        return Known.spread(combined(operator.add, eqn, Known.uniform(Fraction(0), shape), indices, updates), shape, updates.tagged)
    if isinstance(indices, Known) and not numbers.operand_batching_dims:
        if (found := _static_add(graph, numbers, shape, window_sizes(eqn), indices, updates, mode)) is not None:
            return found
    if isinstance(indices, Known) and len(numbers.scatter_dims_to_operand_dims) > 1 and not numbers.operand_batching_dims:
        return _placed(graph, eqn, numbers, shape, indices, updates)
    updates = updates.finite() if isinstance(updates, Known) else updates
    batch = numbers.operand_batching_dims, numbers.scatter_indices_batching_dims
    sizes, wide, axes = window_sizes(eqn), list(shape), numbers.scatter_dims_to_operand_dims
    if (found := _counted(shape, sizes, indices, axes, numbers.inserted_window_dims, batch, mode)) is not None:
        return added(graph, updates, *found, shape, [int(d) for d in numbers.update_window_dims])
    places = _Places(graph, shape, sizes, indices, axes, batch, mode)
    one, length = ignored.dropping(graph, places.one_hot) if mode == FILL else places.one_hot, sizes[places.axis]
    last = len(one.shape) - 1
    windows = [int(d) for d in numbers.update_window_dims]
    kept = [d for d in range(len(shape)) if d not in numbers.inserted_window_dims and d not in numbers.operand_batching_dims]
    if length > 1:  # each part at where it begins, with a further axis
        kept, wide[places.axis] = [len(shape) if d == places.axis else d for d in kept], shape[places.axis] - length + 1
        wide.append(length)
    elif places.axis in kept:  # one entry of the axis of the index
        single = windows.pop(kept.index(places.axis))
        kept.remove(places.axis)
        updates = graph.reshape(updates, [n for d, n in enumerate(updates.shape) if d != single])
        windows = [d - (d > single) for d in windows]
    counted = [d for d in range(len(updates.shape)) if d not in windows]  # axes of updates, in the order of the indices'
    (a, b) = (tuple(side) for side in zip(*places.batch, strict=True)) if places.batch else ((), ())
    summed = [d for d in range(last) if d not in b]
    contract = tuple(summed), tuple(counted[d] for d in summed)
    order = [*a, places.axis, *kept]
    if set(order) != set(range(len(wide))) or [wide[d] for d in kept] != [updates.shape[d] for d in windows]:
        raise Refusal("an update of parts of an array", "update whole rows")
    product = graph.dot(one, updates, contract, (b, tuple(counted[d] for d in b)), tuple(wide[d] for d in order))
    landed = graph.transpose(product, tuple(order.index(d) for d in range(len(order))))
    if length == 1:
        return landed
    parts = (graph.reshape(sliced(graph, landed, len(shape), k, 1), wide[:-1]) for k in range(length))
    return graph.linear([(1, padded(graph, part, places.axis, k, length - 1 - k)) for k, part in enumerate(parts)])


def _mode(eqn) -> str:
    return str(eqn.params["mode"]).rsplit(".", 1)[-1].split("(")[0].strip()


def _counted(shape, sizes, indices, axes, single, batch, mode: str) -> tuple[int, list[tuple[int, int]]] | None:
    """The axis, and the runs, of many constant indices of whole rows that count up; None of others. single: axes without a window."""
    if not isinstance(indices, Known) or indices.moving or len(axes) != 1 or any(batch) or [*single] != [*axes]:
        return None
    (axis,) = map(int, axes)
    few = math.prod(indices.shape[:-1]) * shape[axis] <= MAX_CONSTANT  # whose one-hots are a constant
    if few or any(sizes[d] != n for d, n in enumerate(shape) if d != axis):
        return None
    found = runs(_constant_places(indices, shape[axis], mode))
    return None if found is None else (axis, found)


def _joint(graph, eqn, axes, shape, indices: Known) -> Expression:
    """Of constant indices of several axes the one-hots of their places among all entries of these axes."""
    lengths = [shape[d] for d in axes]
    places = [_constant_places(_column(graph, indices, k), n, _mode(eqn)) for k, n in enumerate(lengths)]
    joint = Known.of(np.ravel_multi_index(places, lengths), np.dtype(np.int64))
    return _one_hot_of(graph, joint, 0, 1, math.prod(lengths), "")


def _picked(graph, eqn, numbers, x: Expression, indices: Known):
    """Entries of several axes by constant indices, whole along the others."""
    axes = [int(d) for d in numbers.start_index_map]
    rest = [d for d in range(len(x.shape)) if d not in axes]
    whole = all(eqn.params["slice_sizes"][d] == (1 if d in axes else x.shape[d]) for d in range(len(x.shape)))
    if not whole or {*axes} != {*numbers.collapsed_slice_dims}:
        raise Refusal("an index of parts of an array", "index whole rows")
    one, last = _joint(graph, eqn, axes, x.shape, indices), len(indices.shape) - 1
    joined = graph.reshape(graph.transpose(x, (*axes, *rest)), (math.prod(x.shape[d] for d in axes), *(x.shape[d] for d in rest)))
    product = graph.dot(one, joined, ((last,), (0,)), ((), ()), (*indices.shape[:-1], *(x.shape[d] for d in rest)))
    offsets, counted = {int(d): last + k for k, d in enumerate(numbers.offset_dims)}, iter(range(last))
    return graph.transpose(product, tuple(offsets[d] if d in offsets else next(counted) for d in range(len(product.shape))))


def _placed(graph, eqn, numbers, shape, indices: Known, updates):
    """Zeros, and at constant indices of several axes what is added there."""
    axes = [int(d) for d in numbers.scatter_dims_to_operand_dims]
    rest = [d for d in range(len(shape)) if d not in axes]
    windows = [int(d) for d in numbers.update_window_dims]
    if {*axes} != {*numbers.inserted_window_dims} or [updates.shape[d] for d in windows] != [shape[d] for d in rest]:
        raise Refusal("an update of parts of an array", "update whole rows")
    one, last = _joint(graph, eqn, axes, shape, indices), len(indices.shape) - 1
    counted = tuple(d for d in range(len(updates.shape)) if d not in windows)
    lengths, beside = [shape[d] for d in axes], [shape[d] for d in rest]
    product = graph.dot(one, updates, (tuple(range(last)), counted), ((), ()), (math.prod(lengths), *beside))
    order = [*axes, *rest]
    return graph.transpose(graph.reshape(product, (*lengths, *beside)), tuple(order.index(d) for d in range(len(shape))))


def _corner(index_map, indices: Known, shape, sizes, mode: str) -> list[int] | None:
    """Where a part of these sizes begins, by one constant index; None of anything else, and where JAX drops or fills what is beyond."""
    if indices.moving or math.prod(indices.shape[:-1]) != 1:
        return None
    found = [0] * len(shape)
    for axis, place in zip(index_map, indices.full().reshape(-1), strict=True):
        most = shape[axis] - sizes[axis]
        found[axis] = min(max(int(place), 0), most) if mode == "CLIP" else int(place)
        if not 0 <= found[axis] <= most:
            return None
    return found


def _static(graph, numbers, sizes, x: Expression, indices: Known, mode: str):
    start = None if numbers.operand_batching_dims else _corner(numbers.start_index_map, indices, x.shape, sizes, mode)
    if start is None:
        return None
    part = graph.slice(x, start, [a + n for a, n in zip(start, sizes, strict=True)], None)
    shape = [n for d, n in enumerate(part.shape) if d not in numbers.collapsed_slice_dims]
    for d in range(len(indices.shape) - 1):  # axes of the indices, all of one entry
        places = [k for k in range(len(shape) + 1) if k not in numbers.offset_dims]
        shape.insert(places[d], 1)
    return graph.reshape(part, shape)


def _static_add(graph, numbers, whole, sizes, indices: Known, updates, mode: str):
    start = _corner(numbers.scatter_dims_to_operand_dims, indices, whole, sizes, mode)
    if start is None:
        return None
    padding = [(a, n - a - m, 0) for a, n, m in zip(start, whole, sizes, strict=True)]
    return graph.pad(graph.reshape(updates, sizes), Known.uniform(Fraction(0), ()), padding)
