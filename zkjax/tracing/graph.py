"""The graph of expressions: it makes each once, folds constants, and knows what is linear, a product, a mask.

The first stage of tracing runs a jaxpr on it. The seed cotangent is a constant with a tag, so that whatever depends on it is
known to be a gradient.
"""

import math
from dataclasses import replace
from fractions import Fraction
from functools import reduce

import numpy as np

from ..circuit.circuit import MAX_JOINT_AXIS
from ..ops.arithmetic import Scale, Sum
from ..ops.draw import Draw
from ..ops.leaves import MAX_CONSTANT
from ..ops.moves import Broadcast, Concatenate, Pad, Reshape, Reverse, Slice, Transpose
from ..ops.products import Dot, Gate
from . import functions, intervals, keys, shares, variances
from .constants import Known, factored, map_known, too_large
from .expressions import Above, Combination, Drawn, Expression, Mask, Numbers, Ratio, are_weights, is_choice, is_mask, scaling
from .series import Refusal, Series, values


class Graph:
    """Makes expressions; equal ones are made once, so that every reader of a tensor reads the same one.

    unusual: operations on random keys that are refused, and why, as ``arguments.unusual``.
    """

    def __init__(self, unusual: dict[str, str] | None = None):
        self.unusual = unusual or {}
        self.expressions: list[Expression] = []
        self.labels: dict[Expression, str] = {}
        self.lines: dict[Expression, str] = {}  # of the user's source that each was first made by, where one is known
        self.ranges: dict[Expression, tuple[int, int]] = {}  # of tensors of integers; those of inputs are their dtypes'
        self.unary: dict = {}  # of tensors: what they are as functions of one
        self.intervals: dict[Expression, tuple[float, float]] = {}
        self.assumed: dict[int, tuple[float, float]] = {}  # intervals of states, which a step keeps
        self.largest_of: dict[Expression, Expression] = {}  # a maximum, repeated: the tensor whose it is
        self.groups: dict = {}  # of maxima of groups, by ("largest", "read" or "first", tensor): see ``groups``
        self.one_along: dict[Expression, tuple[int, ...]] = {}  # the axes along which exactly one entry is 1, the others 0
        self.extremes: dict[Expression, tuple] = {}  # the larger or smaller of two: both, and "max" or "min"
        self.masked: dict = {}  # scores that a mask takes away: of each a ``masked.Masked``
        self.peaks: dict[Expression, Expression] = {}  # exp of what is less than its maximum, where it is not minus infinity: of what
        self.roots: dict[Expression, Expression] = {}
        self.cubes: dict[Expression, tuple] = {}  # of 1 / sqrt(y): its factors, which one after another keep small and large ones apart
        self.halves: set[str] = set()  # dtypes that round more than float32 does, in which the program computes
        self.normalised: set[Expression] = set()
        self.variances, self.means = {}, {}  # the mean that is squared in it, with all its bits; of what has a variance: mean and axes
        self.one_hots: dict[Expression, Expression] = {}  # an index: the one-hot whose place it is
        self.partial, self.spared = {}, {}  # one-hots without value beyond the axis: with zeros there; or where a choice leaves it out
        self.rows: dict[Expression | Mask | Drawn, tuple] = {}  # what a loop has stacked: row by row
        self.rectified: dict[Expression, tuple] = {}  # a gradient of a ReLU: of which tensor, and the gradient of that
        self._made: dict = {}

    def node(self, operation, inputs, shape, tagged=False) -> Expression:
        tagged = tagged or any(x.tagged for x in inputs)
        key = operation, tuple(x.index for x in inputs), tuple(shape), tagged
        if key not in self._made:
            self._made[key] = Expression(operation, tuple(inputs), tuple(shape), tagged, len(self.expressions))
            self.expressions.append(self._made[key])
        return self._made[key]

    # ---- constants and masks as tensors
    def tensor(self, x) -> Expression:
        """An expression for anything; a constant is stored over the axes along which it varies."""
        if isinstance(x, Expression):
            return x
        if isinstance(x, Mask):
            return x.expression if x.positive else self.linear([(1, Known.uniform(1, x.shape)), (-1, x.expression)])
        if isinstance(x, Drawn):
            return self.linear([(x.factor, x.words), (x.constant, Known.uniform(Fraction(1), x.shape))], x.tagged)
        if x.moving:
            return self.tensor(self.linear([(1, x)], x.tagged))
        values, axes = x.compact()
        if values.size > MAX_CONSTANT:
            raise Refusal(too_large(values.shape))
        constant = self.node(Numbers(tuple(values.reshape(-1))), (), values.shape, x.tagged)
        return self.broadcast(constant, x.shape, axes)

    def mask(self, x) -> "Mask | Known":
        """A tensor of zeros and ones as booleans."""
        return map_known(bool, x.shape, x) if isinstance(x, Known) else x if isinstance(x, Mask) else Mask(self.tensor(x))

    def range(self, x) -> tuple[int, int]:
        """The least and the largest value that a tensor of integers can take, whatever its inputs are."""
        if isinstance(x, Known):
            found = [v for entry in x.values.reshape(-1) for v in values(entry)]
            return min(found), max(found)
        if isinstance(x, Mask):
            return 0, 1
        if isinstance(x, Drawn):
            low, high = sorted(x.factor * v + x.constant for v in self.range(x.words))
            return low, high
        if x not in self.ranges:
            self.ranges[x] = intervals.whole(self, x)
        return self.ranges[x]

    # ---- linear maps
    def linear(self, terms, tagged=False):
        """Sum of (rational, tensor or constant) terms of one shape."""
        shape, merged = terms[0][1].shape, {}
        for c, x in terms:
            if isinstance(x, Known):
                if x.moving:
                    share, x = factored(x)
                    c = share * c
                if x.scalar == 0:
                    tagged = tagged or x.tagged
                    continue
                x = self.tensor(x)
            if x.is_scaling:
                c, x, tagged = c * x.operation.coefficients[0], x.inputs[0], tagged or x.tagged
            merged[x] = merged.get(x, 0) + (c if isinstance(c, Series) else Fraction(c))
        merged = {x: c for x, c in merged.items() if isinstance(c, Series) or c}
        if not merged:
            return Known.uniform(Fraction(0), shape, tagged)
        tagged = tagged or any(x.tagged for x in merged)
        if len(merged) > 1 and (fused := functions.fused_sum(self, merged)) is not None:
            return self.linear([(c, x) for x, c in fused.items()], tagged)
        if len(merged) == 1 and [*merged.values()] == [1] and [*merged][0].tagged == tagged:
            return [*merged][0]
        return self.node(Combination(tuple(merged.values())), tuple(merged), shape, tagged)

    def tag(self, x, tagged: bool):
        """x, tagged also if ``tagged``."""
        if not tagged or x.tagged:
            return x
        return replace(x, tagged=True) if isinstance(x, Known | Drawn) else self.linear([(1, x)], True)

    def times(self, known: Known, x: Expression):
        """A constant times a tensor, of one shape."""
        if known.scalar is not None:
            return self.linear([(known.scalar, x)], known.tagged)
        values, axes = known.compact()
        constant = self.tensor(Known(values, values.shape, known.tagged))
        return self.node(Scale(axes), (x, constant), x.shape)

    def product(self, x, y):
        """Entry by entry, of one shape."""
        if isinstance(x, Known) and isinstance(y, Known):
            return map_known(lambda a, b: a * b, x.shape, x, y)
        if isinstance(x, Known) or isinstance(y, Known):
            return self.times(x, self.tensor(y)) if isinstance(x, Known) else self.times(y, self.tensor(x))
        (c, left), (d, right) = scaling(self.tensor(x)), scaling(self.tensor(y))
        for a, b in ((left, right), (right, left)):
            found = reduce(self.product, self.cubes[b], a) if b in self.cubes and a not in self.cubes else None
            if found := found or shares.gradient(self, a, b) or variances.centred(self, a, b):
                return self.linear([(c * d, found)])
        if not isinstance(c, Series) and not isinstance(d, Series) and (fused := functions.fused_product(self, left, right)):
            return self.linear([(c * d, fused)])
        return self._outward(self.plain_product, x, y)

    def _outward(self, product, x, y):
        """product(x, y) with constants of functions and quotients taken out of it."""
        x, y = self.tensor(x), self.tensor(y)
        (c, left), (d, right) = functions.outward(self, x), functions.outward(self, y)
        return product(x, y) if c == d == 1 else self.linear([(c * d, product(left, right))], x.tagged or y.tagged)

    def plain_product(self, x, y) -> Expression:
        """The same of tensors, whatever they are functions of."""
        x, y = self.tensor(x), self.tensor(y)
        for a, b in ((x, y), (y, x)):  # a / b, and not a times a rounded 1 / b
            if b.does(Ratio) and functions.constant(b.inputs[0]) == 1 and not is_choice(a):
                c, a = scaling(a)
                return self.linear([(c, self.node(b.operation, (a, b.inputs[1]), a.shape))], x.tagged or y.tagged)
        if is_choice(y):
            x, y = y, x
        if is_choice(x) and not is_mask(y):  # one mask after another: nobody needs their product
            return self.product(x.inputs[0], self.product(x.inputs[1], y))
        if y.does(Above):
            x, y = y, x
        if x.does(Above) and not y.does(Draw):
            if y in self.rectified and self.rectified[y][0] is x.inputs[0]:
                return self.tag(self.rectified[y][1], x.tagged or y.tagged)
            if y.is_scaling and y.inputs[0] is x.inputs[0]:
                return self.linear([(y.operation.coefficients[0], self.product(x, y.inputs[0]))], y.tagged)
            return self.node(Gate(), (x, y), x.shape)
        if is_mask(y):
            x, y = y, x
        if is_mask(x) and y.is_scaling:
            return self.linear([(y.operation.coefficients[0], self.product(x, y.inputs[0]))], y.tagged)
        if functions.is_one_or_nothing(x) and not functions.is_one_or_nothing(y):  # which is committed: claims on the right are many
            x, y = y, x
        axes = tuple(range(len(x.shape)))
        return self.node(Dot(contract=((), ()), batch=(axes, axes)), (x, self._beside(x, y)), x.shape)

    def _beside(self, x, y) -> Expression:
        """y as an operand of a product with x: of weights times weights, which are wide, one is a copy, to be rounded (``demands``)."""
        return self.node(Combination((Fraction(1),)), (y,), y.shape) if are_weights(x) and are_weights(y) else y

    def dot(self, x, y, contract, batch, shape):
        """``lax.dot_general``; transposes of operands and of the result are absorbed where the axes allow it."""
        if isinstance(x, Known) and x.scalar is not None:
            x, y, contract, batch, swapped = y, x, contract[::-1], batch[::-1], True
        else:
            swapped = False
        if isinstance(y, Known) and y.scalar is not None:
            kept = [*batch[0], *(d for d in range(len(x.shape)) if d not in contract[0] + batch[0])]
            order = {d: i for i, d in enumerate(sorted(kept))}
            x = self.transpose(self.sum(x, contract[0]), tuple(order[d] for d in kept))
            extra = len(shape) - len(x.shape)  # free axes of the constant, which repeat
            b = len(batch[0])
            axes = tuple(d if d < b or not swapped else d + extra for d in range(len(x.shape)))
            return self.product(Known.uniform(y.scalar, shape, y.tagged), self.broadcast(x, shape, axes))
        return self._outward(lambda x, y: self._plain_dot(x, y, contract, batch, shape), x, y)

    def _plain_dot(self, x, y, contract, batch, shape):
        x, contract, batch = self._untransposed(x, contract, batch, 0)
        y, contract, batch = self._untransposed(y, contract, batch, 1)
        return self.node(Dot(contract, batch), (x, self._beside(x, y)), shape)

    def _untransposed(self, x, contract, batch, side):
        if not x.does(Transpose):
            return x, contract, batch
        p = x.operation.permutation
        mine = contract[side], batch[side]
        free = [p[d] for d in range(len(p)) if d not in mine[0] + mine[1]]
        if free != sorted(free):
            return x, contract, batch
        mine = [tuple(p[d] for d in axes) for axes in mine]
        pairs = ((m, other[1]) if side == 0 else (other[0], m) for m, other in zip(mine, (contract, batch), strict=True))
        return (x.inputs[0], *pairs)

    # ---- moving entries
    def moved(self, like: Expression, x, further: tuple[int, ...] = ()) -> Expression:
        """x moved as ``like`` moves its input; further: lengths of axes that x has more, at the end."""
        shape, operation, rank = (*like.shape, *further), like.operation, len(like.inputs[0].shape)
        if like.does(Transpose):
            return self.transpose(x, (*operation.permutation, *range(rank, rank + len(further))))
        if like.does(Broadcast):
            return self.broadcast(x, shape, (*operation.axes, *range(len(like.shape), len(shape))))
        return self.reshape(x, shape) if like.does(Reshape) else self.reverse(x, operation.axes)

    def reshape(self, x, shape):
        shape = tuple(shape)
        if isinstance(x, Known):
            return x.reshaped(lambda a: a.reshape(shape), shape)
        if isinstance(x, Mask | Drawn):
            return x.moved(lambda x: self.reshape(x, shape))
        if x.does(Reshape):
            x = x.inputs[0]
        if x.shape == shape:
            return x
        _check_joint(x.shape, shape)
        return self.node(Reshape(shape), (x,), shape)

    def transpose(self, x, permutation):
        permutation = tuple(permutation)
        if isinstance(x, Known):
            return x.reshaped(lambda a: a.transpose(permutation), [x.shape[d] for d in permutation])
        if isinstance(x, Mask | Drawn):
            return x.moved(lambda x: self.transpose(x, permutation))
        if x.does(Transpose):
            x, permutation = x.inputs[0], tuple(x.operation.permutation[d] for d in permutation)
        if permutation == tuple(range(len(permutation))):
            return x
        shape = tuple(x.shape[d] for d in permutation)
        if x.does(Dot) and not x.operation.batch[0]:
            cx, cy = x.operation.contract
            free = len(x.inputs[0].shape) - len(cx)
            if permutation == (*range(free, len(shape)), *range(free)):
                return self.node(Dot(contract=(cy, cx), batch=((), ())), x.inputs[::-1], shape)
        return self.node(Transpose(permutation), (x,), shape)

    def broadcast(self, x, shape, axes):
        """Axis i of x becomes axis axes[i]; a length of 1 may become longer, as in ``lax.broadcast_in_dim``."""
        shape, axes = tuple(shape), tuple(int(d) for d in axes)
        if isinstance(x, Known):

            def place(a):
                lengths = dict(zip(axes, a.shape, strict=True))
                return np.broadcast_to(a.reshape([lengths.get(d, 1) for d in range(len(shape))]), shape)

            return x.reshaped(place, shape)
        if isinstance(x, Mask | Drawn):
            return x.moved(lambda x: self.broadcast(x, shape, axes))
        if x.shape != shape:
            kept = [i for i, d in enumerate(axes) if not (x.shape[i] == 1 and shape[d] != 1)]
            x, axes = self.reshape(x, [x.shape[i] for i in kept]), tuple(axes[i] for i in kept)
        if x.shape == shape and axes == tuple(range(len(shape))):
            return x
        if math.prod(x.shape) == math.prod(shape):
            return self.reshape(x, shape)
        return self.node(Broadcast(shape, axes), (x,), shape)

    def expand(self, x, shape):
        """Broadcasting of NumPy: scalars, and axes of length 1."""
        return x if x.shape == tuple(shape) else self.broadcast(x, shape, range(len(shape) - len(x.shape), len(shape)))

    def sum(self, x, axes):
        axes = tuple(sorted(int(d) for d in axes))
        shape = tuple(n for d, n in enumerate(x.shape) if d not in axes)
        if isinstance(x, Known):
            if x.scalar is not None:
                return Known.uniform(x.scalar * math.prod(x.shape[d] for d in axes), shape, x.tagged)
            return Known.spread(x.full().sum(axis=axes), shape, x.tagged)
        x = self.tensor(x)
        if self.one_along.get(x) == axes:
            return Known.uniform(Fraction(1), shape, x.tagged)
        if all(x.shape[d] == 1 for d in axes):
            return self.reshape(x, shape)
        return self.node(Sum(axes), (x,), shape)

    def structural(self, operation, x, shape, function):
        """Slices and flips, of constants by ``function``."""
        if isinstance(x, Known):
            return x.reshaped(function, shape)
        if isinstance(x, Mask | Drawn):
            return x.moved(lambda x: self.structural(operation, x, shape, function))
        return self.node(operation, (x,), shape)

    def reverse(self, x, axes):
        return self.structural(Reverse(axes), x, x.shape, lambda a: np.flip(a, axes))

    def slice(self, x, start, limit, stride):
        start, limit = tuple(map(int, start)), tuple(map(int, limit))
        stride = (1,) * len(start) if stride is None else tuple(map(int, stride))
        where = tuple(slice(*s) for s in zip(start, limit, stride, strict=True))
        shape = tuple(-(-(b - a) // s) for a, b, s in zip(start, limit, stride, strict=True))
        if 0 in shape:
            return Known.uniform(Fraction(0), shape, x.tagged)
        return x if shape == x.shape else self.structural(Slice(start, limit, stride), x, shape, lambda a: a[where])

    def pad(self, x, value, configuration):
        """Zeros (for constants any value) around and between entries; negative padding cuts entries off."""
        if not isinstance(value, Known) or value.scalar is None or value.scalar != 0 and not isinstance(x, Known):
            raise Refusal("padding with a value other than 0; pad with zeros and add the value where it belongs")
        low, high, interior = (tuple(int(c[i]) for c in configuration) for i in range(3))
        if min(low + high, default=0) < 0:
            if any(interior):
                raise Refusal("padding that is both negative and interior; slice first, then pad")
            start = [max(0, -v) for v in low]
            x = self.slice(x, start, [n - max(0, -v) for n, v in zip(x.shape, high, strict=True)], None)
            low, high = (tuple(max(0, v) for v in side) for side in (low, high))
        if not any(low + high + interior):
            return x
        shape = tuple(a + n + max(0, n - 1) * i + b for n, a, b, i in zip(x.shape, low, high, interior, strict=True))
        if isinstance(x, Known):
            values = np.full(shape, value.scalar, dtype=object)
            if 0 not in x.shape:
                within = (slice(a, a + (n - 1) * (i + 1) + 1, i + 1) for n, a, i in zip(x.shape, low, interior, strict=True))
                values[tuple(within)] = x.full()
            return Known.spread(values, shape, x.tagged)
        return self.node(Pad(low, high, interior), (self.tensor(x),), shape)

    def concatenate(self, xs, axis):
        shape = list(xs[0].shape)
        shape[axis] = sum(x.shape[axis] for x in xs)
        xs = [x for x in xs if x.shape[axis]] or xs[:1]
        if all(isinstance(x, Known) for x in xs):
            return Known.spread(np.concatenate([x.full() for x in xs], axis=axis), shape, any(x.tagged for x in xs))
        return self.node(Concatenate(axis), [self.tensor(x) for x in xs], shape) if len(xs) > 1 else xs[0]

    # ---- comparisons and choices
    def above(self, x: Expression) -> Expression:
        """Where x is above 0."""
        return self.node(Above(), (x,), x.shape)

    def greater(self, x, y, shape) -> "Mask | Known":
        """x > y as a mask of the tensor x - y, or of random words as they are."""
        x, y = self.expand(x, shape), self.expand(y, shape)
        drawn = keys.compared(self, x, y)
        if drawn is not None:
            return drawn
        difference = self.linear([(c, z if isinstance(z, Known) else self.tensor(z)) for c, z in ((1, x), (-1, y))])
        if isinstance(difference, Known):
            return map_known(lambda v: v > 0, shape, difference)
        keys.check_comparison(difference)
        return Mask(self.above(difference))


def _check_joint(before, after):
    """A reshape joins the axes that it mixes into one; the verifier works in proportion to the joint length."""
    i = j = 0
    while i < len(before) and j < len(after):
        a, b, i, j = before[i], after[j], i + 1, j + 1
        mixed = a != b
        while a != b:
            if a < b:
                a, i = a * before[i], i + 1
            else:
                b, j = b * after[j], j + 1
        if mixed and a > MAX_JOINT_AXIS:
            raise Refusal(
                f"the reshape from {before} to {after} joins axes to a length of {a}, beyond {MAX_JOINT_AXIS}; reshape fewer axes at once"
            )
