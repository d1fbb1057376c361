"""Tracing: a JAX loss and an optax optimizer to a ``Circuit`` of exact integer operations.

Three stages. (1) The jaxpr of ``jax.vjp(loss)`` is interpreted over *expressions*: real-valued tensors with exact
rational constants. The seed cotangent is the constant 1 with a tag, so that whatever depends on it is known to be a
gradient. (2) Operands of products are *demanded* narrow; a demand belongs to the tensor, so every reader of a tensor
reads the same narrow value. (3) Expressions are emitted as integer nodes, each with a rational factor: value = factor *
integer. Powers of two and constants move into the factor and are rounded once, where a rescale reads them.

This is the only module that knows JAX's primitives.
"""

import inspect
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from . import exact
from .circuit import LINEAR_OPS, MAX_CONSTANT, MAX_JOINT_AXIS, Circuit, Input, Loss, Node, Parameter, Update, node_bound
from .config import Precision
from .errors import DataError, PrecisionError, UnsupportedOperationError

CONSTANT_BITS = 12  # significant bits of a constant that has to be rounded
ALIGNED_BITS = 16  # significant bits of a coefficient in a sum
HEADROOM = 4  # a default format is widened until it holds this many times the largest value seen
MAX_FORMAT_BITS = 15  # a default format is widened by bits up to here, then by a coarser scale


def trace(loss, optimizer, params, *, batch, precision: Precision | None = None, steps: int | None = None, chunk: int = 16) -> Circuit:
    """Trace one training step ``params - rate * gradient(loss)`` to a circuit.

    loss:      ``loss(params, *batch)`` as for ``jax.grad``: a scalar, from linear operations, products and ReLU.
    optimizer: an optax optimizer whose updates are ``-rate * gradient``: ``optax.sgd``, with a constant rate or a schedule.
    params:    pytree of floating-point arrays (``nnx.State``, a linen dict, ...) or of ``jax.ShapeDtypeStruct``.
    batch:     tuple of arrays (or ShapeDtypeStructs), batch axis first; default formats are chosen to hold it.
    steps:     the number of steps for which a learning-rate schedule is tabulated; not needed for a constant rate.
    chunk:     the number of steps that one proof is planned to hold: bounds must hold for it, and table sizes suit it.

    The circuit is public, and holds nothing of params and batch but the formats chosen to hold them. With every format
    given in ``precision``, shapes suffice: an auditor gets the same digest from the same source without the data.

    Raises: UnsupportedOperationError - no exact counterpart; names the primitive and the line of the user's source.
            PrecisionError - a bound could reach 2^63 within ``chunk`` steps. DataError - malformed params or batch.
    """
    precision = Precision() if precision is None else precision
    if chunk < 1 or (steps is not None and steps < 1):
        raise DataError(f"chunk is {chunk} and steps is {steps}; both must be at least 1")
    leaves = _parameters(params)
    batch = _batch(batch)
    program = _program(loss, params, leaves, batch)
    rates = _learning_rates(optimizer, params, leaves, steps)
    formats = _default_formats(program, batch, precision)
    circuit, kinds = _emit(program, rates, leaves, formats, steps)
    seen = _largest_values(circuit, leaves, batch)
    if seen is not None:
        widened = _widened(formats, circuit, kinds, seen, precision)
        if widened != formats:
            formats = widened
            circuit, kinds = _emit(program, rates, leaves, formats, steps)
    circuit = _with_tables(circuit, precision, min(chunk, steps or chunk))
    circuit.check()
    shifts = (exact.coarse_shift(leaf.largest, circuit.weight_scale, circuit.table_bits) for leaf in leaves)
    circuit.bounds(tuple(circuit.coarse_bound(s) for s in shifts), min(chunk, steps or chunk))
    return circuit


# ---- arguments -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Leaf:
    """A parameter: its path, shape, and array (None where only the shape is known)."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype
    array: np.ndarray | None

    @cached_property
    def largest(self) -> float:
        """Largest absolute value; 1 where the array is not known."""
        return 1.0 if self.array is None else float(np.abs(self.array).max())


def _parameters(params) -> list[_Leaf]:
    leaves = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        # nnx.State wraps each array in a variable, whose attribute is no part of the user's path
        keys = [k for k in path if not (isinstance(k, jax.tree_util.GetAttrKey) and k.name == "value")]
        name = jax.tree_util.keystr(tuple(keys), simple=True, separator="/") or "params"
        known = not isinstance(leaf, jax.ShapeDtypeStruct)
        if known and not hasattr(leaf, "dtype"):
            leaf = np.asarray(leaf, dtype=np.float32)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise UnsupportedOperationError(
                f"parameter {name} has dtype {leaf.dtype}; only floating-point parameters can be trained. "
                f"Keep counters and random keys out of params, for example with nnx.split(model, nnx.Param, ...)"
            )
        if math.prod(leaf.shape) == 0:
            raise DataError(f"parameter {name} of shape {leaf.shape} is empty")
        array = np.asarray(leaf) if known else None
        if known and not np.isfinite(array).all():
            raise DataError(f"parameter {name} of shape {leaf.shape} holds values that are not finite")
        leaves.append(_Leaf(name, tuple(leaf.shape), np.dtype(leaf.dtype), array))
    if not leaves:
        raise DataError("params holds no arrays")
    return leaves


def _batch(batch) -> tuple:
    if not isinstance(batch, (tuple, list)) or not batch:
        raise DataError(f"batch is {type(batch).__name__}; give a tuple of arrays, for example batch=(x[:64], y[:64])")
    arrays = []
    for i, x in enumerate(batch):
        if not isinstance(x, jax.ShapeDtypeStruct):
            x = np.asarray(x)
            if x.dtype.kind not in "fiub" and not jnp.issubdtype(x.dtype, jnp.floating):
                raise DataError(f"batch[{i}] has dtype {x.dtype}; give real numbers")
            if not np.isfinite(x.astype(np.float64)).all():
                raise DataError(f"batch[{i}] holds values that are not finite")
        if math.prod(x.shape) == 0 or x.shape[:1] != (arrays or [x])[0].shape[:1] or not x.shape:
            raise DataError(f"batch[{i}] has shape {tuple(x.shape)}; every array needs the same, non-empty first axis: the batch")
        arrays.append(x)
    return tuple(arrays)


def _program(loss, params, leaves, batch) -> "_Program":
    """Stage one: the loss and the gradients as expressions."""
    try:
        inspect.signature(loss).bind(params, *batch)
    except ValueError:  # a callable without a signature
        pass
    except TypeError as error:
        raise DataError(f"loss(params, *batch) does not take params and the {len(batch)} arrays of the batch: {error}") from None
    structure = jax.tree.structure(params)
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    data = [jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)) for x in batch]
    names = _input_names(loss, len(batch))

    def applied(leaves, *batch):
        return loss(jax.tree.unflatten(structure, leaves), *batch)

    value = jax.eval_shape(applied, shapes, *data)
    if not hasattr(value, "shape") or value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise DataError(f"the loss returns {value}; it must return one floating-point scalar, as for jax.grad")

    def value_and_pullback(leaves, seed, *batch):
        value, pullback = jax.vjp(lambda p: applied(p, *batch), leaves)
        return value, pullback(seed)[0]

    closed = jax.make_jaxpr(value_and_pullback)(shapes, jax.ShapeDtypeStruct((), value.dtype), *data)
    graph = _Graph()
    parameters = [graph.node("param", (), (i,), leaf.shape) for i, leaf in enumerate(leaves)]
    inputs = [graph.node("input", (), (i,), x.shape) for i, x in enumerate(data)]
    seed = _Known.uniform(1, (), tagged=True)
    value, *gradients = _interpret(graph, closed, [*parameters, seed, *inputs], "the loss or its gradient")
    for expression, leaf in zip(parameters, leaves, strict=True):
        graph.labels[expression] = leaf.path
    for expression, name in zip(inputs, names, strict=True):
        graph.labels[expression] = name
    return _Program(graph, value, gradients, names)


def _input_names(loss, count: int) -> tuple[str, ...]:
    try:
        names = [p.name for p in inspect.signature(loss).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        names = []
    names = names[1 : count + 1]
    return tuple(names) if len(names) == count else tuple(f"batch[{i}]" for i in range(count))


class _Refusal(UnsupportedOperationError):
    """Raised by a rule, which does not know its place in the user's source; ``_interpret`` adds it."""


# ---- exact constants -------------------------------------------------------------------------------------------------


def _simplest(value, dtype) -> Fraction:
    """The simplest rational that rounds to this float, so that 0.1 means 1/10; short dyadic values stay as they are."""
    exactly = Fraction(float(value))
    if not np.isfinite(value) or abs(exactly.numerator).bit_length() <= CONSTANT_BITS:
        return exactly
    half = Fraction(float(np.spacing(np.abs(np.asarray(value, dtype=dtype))))) / 2
    size = abs(exactly)
    simple = _between(size - half, size + half)
    return simple if exactly > 0 else -simple


def _between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of least denominator in [low, high], 0 < low < high."""
    floor = math.floor(low)
    if floor == low:
        return low
    if floor + 1 <= high:
        return Fraction(floor + 1)
    return floor + 1 / _between(1 / (high - floor), 1 / (low - floor))


@dataclass(frozen=True, eq=False)
class _Known:
    """A constant: exact rationals (or booleans) as an object array that broadcasts to ``shape``; one entry if uniform.

    tagged: depends on the seed cotangent.
    """

    values: np.ndarray
    shape: tuple[int, ...]
    tagged: bool = False

    @staticmethod
    def uniform(value, shape, tagged=False) -> "_Known":
        return _Known(_objects(value), tuple(shape), tagged)

    @staticmethod
    def of(array) -> "_Known":
        """From an array of any real dtype."""
        array = np.asarray(array)
        if array.size and (array == array.flat[0]).all():
            return _Known.uniform(_rational(array.flat[0], array.dtype), array.shape)
        if array.size > MAX_CONSTANT:
            raise _Refusal(
                f"a captured array of shape {array.shape} has more than {MAX_CONSTANT} entries; pass it as a parameter or as data"
            )
        flat = [_rational(v, array.dtype) for v in array.reshape(-1)]
        return _Known(_objects(*flat).reshape(array.shape), array.shape)

    @property
    def scalar(self):
        """The value of all entries, or None if they differ."""
        return self.values.reshape(-1)[0] if self.values.size == 1 else None

    def full(self) -> np.ndarray:
        return np.broadcast_to(self.values, self.shape)

    def reshaped(self, function, shape) -> "_Known":
        """``function`` moves entries of the full array; it is not needed if they are all equal."""
        return _Known(self.values if self.values.ndim == 0 else function(self.full()), tuple(shape), self.tagged)

    def compact(self) -> tuple[np.ndarray, tuple[int, ...]]:
        """The entries over the axes along which they differ, and these axes."""
        if self.scalar is not None:
            return self.values.reshape(()), ()
        full, axes = self.full(), []
        for axis in reversed(range(full.ndim)):
            first = full.take([0], axis=axis)
            if (full == first).all():
                full = first.squeeze(axis)
            else:
                axes.insert(0, axis)
        return full, tuple(axes)


def _objects(*values) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array if len(values) > 1 else array.reshape(())


def _rational(value, dtype):
    if np.dtype(dtype).kind == "b":
        return bool(value)
    if not np.isfinite(value):
        raise _Refusal(f"the constant {value} is not finite")
    return Fraction(int(value)) if np.dtype(dtype).kind in "iu" else _simplest(value, dtype)


def _map(function, shape, *known: _Known) -> _Known:
    """``function`` entry by entry on constants that broadcast to ``shape``."""
    tagged = any(k.tagged for k in known)
    if all(k.values.size == 1 for k in known):
        return _Known.uniform(function(*(k.scalar for k in known)), shape, tagged)
    arrays = [np.broadcast_to(k.values if k.values.ndim else k.full(), shape) for k in known]
    values = np.frompyfunc(function, len(arrays), 1)(*arrays)
    return _Known(values, tuple(shape), tagged)


# ---- expressions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Expression:
    """A real-valued tensor. The operations are those of the circuit, without rounding, with two differences:

    ``linear`` has rational coefficients (one input: a scaling, which costs nothing); ``mask`` is 1 where its input is
    above 0. ``gate`` multiplies a mask and a tensor. index: creation order, inputs first. tagged: a gradient.
    """

    op: str
    inputs: tuple["_Expression", ...]
    attributes: tuple
    shape: tuple[int, ...]
    tagged: bool
    index: int


@dataclass(frozen=True)
class _Mask:
    """A boolean tensor: where ``expression`` (of zeros and ones) is 1, or where it is 0."""

    expression: _Expression
    positive: bool = True

    @property
    def shape(self):
        return self.expression.shape

    @property
    def tagged(self):
        return self.expression.tagged


@dataclass
class _Program:
    graph: "_Graph"
    loss: object
    gradients: list
    input_names: tuple[str, ...]


class _Graph:
    """Makes expressions; equal ones are made once, so that every reader of a tensor reads the same one."""

    def __init__(self):
        self.expressions: list[_Expression] = []
        self.labels: dict[_Expression, str] = {}
        self._made: dict = {}

    def node(self, op, inputs, attributes, shape, tagged=False) -> _Expression:
        tagged = tagged or any(x.tagged for x in inputs)
        key = op, tuple(x.index for x in inputs), attributes, tuple(shape), tagged
        if key not in self._made:
            self._made[key] = _Expression(op, tuple(inputs), attributes, tuple(shape), tagged, len(self.expressions))
            self.expressions.append(self._made[key])
        return self._made[key]

    # ---- constants and masks as tensors
    def tensor(self, x) -> _Expression:
        """An expression for anything; a constant is stored over the axes along which it varies."""
        if isinstance(x, _Expression):
            return x
        if isinstance(x, _Mask):
            return x.expression if x.positive else self.linear([(1, _Known.uniform(1, x.shape)), (-1, x.expression)])
        values, axes = x.compact()
        if values.size > MAX_CONSTANT:
            raise _Refusal(
                f"a captured array of shape {values.shape} has more than {MAX_CONSTANT} entries; pass it as a parameter or as data"
            )
        constant = self.node("const", (), tuple(values.reshape(-1)), values.shape, x.tagged)
        return self.broadcast(constant, x.shape, axes)

    # ---- linear maps
    def linear(self, terms, tagged=False):
        """Sum of (rational, tensor or constant) terms of one shape."""
        shape, merged = terms[0][1].shape, {}
        for c, x in terms:
            if isinstance(x, _Known):
                if x.scalar == 0:
                    tagged = tagged or x.tagged
                    continue
                x = self.tensor(x)
            if x.op == "linear" and len(x.inputs) == 1:
                c, x, tagged = c * x.attributes[0], x.inputs[0], tagged or x.tagged
            merged[x] = merged.get(x, 0) + Fraction(c)
        merged = {x: c for x, c in merged.items() if c}
        if not merged:
            return _Known.uniform(Fraction(0), shape, tagged)
        tagged = tagged or any(x.tagged for x in merged)
        if len(merged) == 1 and [*merged.values()] == [1] and [*merged][0].tagged == tagged:
            return [*merged][0]
        return self.node("linear", tuple(merged), tuple(merged.values()), shape, tagged)

    def tag(self, x, tagged: bool):
        """x, tagged also if ``tagged``."""
        if not tagged or x.tagged:
            return x
        return _Known(x.values, x.shape, True) if isinstance(x, _Known) else self.linear([(1, x)], True)

    def times(self, known: _Known, x: _Expression):
        """A constant times a tensor, of one shape."""
        if known.scalar is not None:
            return self.linear([(known.scalar, x)], known.tagged)
        values, axes = known.compact()
        constant = self.tensor(_Known(values, values.shape, known.tagged))
        return self.node("scale", (x, constant), axes, x.shape)

    def product(self, x, y):
        """Entry by entry, of one shape."""
        if isinstance(x, _Known) and isinstance(y, _Known):
            return _map(lambda a, b: a * b, x.shape, x, y)
        if isinstance(x, _Known) or isinstance(y, _Known):
            return self.times(x, self.tensor(y)) if isinstance(x, _Known) else self.times(y, self.tensor(x))
        if y.op == "mask":
            x, y = y, x
        if x.op == "mask":
            if y.op == "linear" and len(y.inputs) == 1 and y.inputs[0] is x.inputs[0]:
                return self.linear([(y.attributes[0], self.product(x, y.inputs[0]))], y.tagged)
            return self.node("gate", (x, y), (), x.shape)
        axes = tuple(range(len(x.shape)))
        return self.node("dot", (x, y), (((), ()), (axes, axes)), x.shape)

    def dot(self, x, y, contract, batch, shape):
        """``lax.dot_general``; transposes of operands and of the result are absorbed where the axes allow it."""
        if isinstance(x, _Known) and x.scalar is not None:
            x, y, contract, batch, swapped = y, x, contract[::-1], batch[::-1], True
        else:
            swapped = False
        if isinstance(y, _Known) and y.scalar is not None:
            kept = [*batch[0], *(d for d in range(len(x.shape)) if d not in contract[0] + batch[0])]
            order = {d: i for i, d in enumerate(sorted(kept))}
            x = self.transpose(self.sum(x, contract[0]), tuple(order[d] for d in kept))
            extra = len(shape) - len(x.shape)  # free axes of the constant, which repeat
            b = len(batch[0])
            axes = tuple(d if d < b or not swapped else d + extra for d in range(len(x.shape)))
            return self.product(_Known.uniform(y.scalar, shape, y.tagged), self.broadcast(x, shape, axes))
        x, contract, batch = self._untransposed(self.tensor(x), contract, batch, 0)
        y, contract, batch = self._untransposed(self.tensor(y), contract, batch, 1)
        return self.node("dot", (x, y), (contract, batch), shape)

    def _untransposed(self, x, contract, batch, side):
        if x.op != "transpose":
            return x, contract, batch
        p = x.attributes
        mine = contract[side], batch[side]
        free = [p[d] for d in range(len(p)) if d not in mine[0] + mine[1]]
        if free != sorted(free):
            return x, contract, batch
        mine = [tuple(p[d] for d in axes) for axes in mine]
        pairs = ((m, other[1]) if side == 0 else (other[0], m) for m, other in zip(mine, (contract, batch), strict=True))
        return (x.inputs[0], *pairs)

    # ---- moving entries
    def reshape(self, x, shape):
        shape = tuple(shape)
        if isinstance(x, _Known):
            return x.reshaped(lambda a: a.reshape(shape), shape)
        if isinstance(x, _Mask):
            return _Mask(self.reshape(x.expression, shape), x.positive)
        if x.op == "reshape":
            x = x.inputs[0]
        if x.shape == shape:
            return x
        _check_joint(x.shape, shape)
        return self.node("reshape", (x,), shape, shape)

    def transpose(self, x, permutation):
        permutation = tuple(permutation)
        if isinstance(x, _Known):
            return x.reshaped(lambda a: a.transpose(permutation), [x.shape[d] for d in permutation])
        if isinstance(x, _Mask):
            return _Mask(self.transpose(x.expression, permutation), x.positive)
        if x.op == "transpose":
            x, permutation = x.inputs[0], tuple(x.attributes[d] for d in permutation)
        if permutation == tuple(range(len(permutation))):
            return x
        shape = tuple(x.shape[d] for d in permutation)
        if x.op == "dot" and not x.attributes[1][0]:
            free = len(x.inputs[0].shape) - len(x.attributes[0][0])
            if permutation == (*range(free, len(shape)), *range(free)):
                (cx, cy), _ = x.attributes
                return self.node("dot", x.inputs[::-1], ((cy, cx), ((), ())), shape)
        return self.node("transpose", (x,), permutation, shape)

    def broadcast(self, x, shape, axes):
        """Axis i of x becomes axis axes[i]; a length of 1 may become longer, as in ``lax.broadcast_in_dim``."""
        shape, axes = tuple(shape), tuple(int(d) for d in axes)
        if isinstance(x, _Known):

            def place(a):
                lengths = dict(zip(axes, a.shape, strict=True))
                return np.broadcast_to(a.reshape([lengths.get(d, 1) for d in range(len(shape))]), shape)

            return x.reshaped(place, shape)
        if isinstance(x, _Mask):
            return _Mask(self.broadcast(x.expression, shape, axes), x.positive)
        if x.shape != shape:
            kept = [i for i, d in enumerate(axes) if not (x.shape[i] == 1 and shape[d] != 1)]
            x, axes = self.reshape(x, [x.shape[i] for i in kept]), tuple(axes[i] for i in kept)
        if x.shape == shape and axes == tuple(range(len(shape))):
            return x
        if math.prod(x.shape) == math.prod(shape):
            return self.reshape(x, shape)
        return self.node("broadcast", (x,), axes, shape)

    def expand(self, x, shape):
        """Broadcasting of NumPy: scalars, and axes of length 1."""
        return x if x.shape == tuple(shape) else self.broadcast(x, shape, range(len(shape) - len(x.shape), len(shape)))

    def sum(self, x, axes):
        axes = tuple(sorted(int(d) for d in axes))
        shape = tuple(n for d, n in enumerate(x.shape) if d not in axes)
        if isinstance(x, _Known):
            if x.scalar is not None:
                return _Known.uniform(x.scalar * math.prod(x.shape[d] for d in axes), shape, x.tagged)
            total = np.asarray(x.full().sum(axis=axes), dtype=object)
            return _Known(total, shape, x.tagged)
        if all(x.shape[d] == 1 for d in axes):
            return self.reshape(x, shape)
        return self.node("sum", (x,), axes, shape)

    def structural(self, op, x, attributes, shape, function):
        """Slices and flips, of constants by ``function``."""
        if isinstance(x, _Known):
            return x.reshaped(function, shape)
        if isinstance(x, _Mask):
            return _Mask(self.structural(op, x.expression, attributes, shape, function), x.positive)
        return self.node(op, (x,), attributes, shape)

    def slice(self, x, start, limit, stride):
        start, limit = tuple(map(int, start)), tuple(map(int, limit))
        stride = (1,) * len(start) if stride is None else tuple(map(int, stride))
        where = tuple(slice(*s) for s in zip(start, limit, stride, strict=True))
        shape = tuple(-(-(b - a) // s) for a, b, s in zip(start, limit, stride, strict=True))
        return x if shape == x.shape else self.structural("slice", x, (start, limit, stride), shape, lambda a: a[where])

    def pad(self, x, value, configuration):
        """Zeros around and between entries; negative padding cuts entries off."""
        if not isinstance(value, _Known) or value.scalar != 0:
            raise _Refusal("padding with a value other than 0; pad with zeros and add the value where it belongs")
        low, high, interior = (tuple(int(c[i]) for c in configuration) for i in range(3))
        if min(low + high, default=0) < 0:
            if any(interior):
                raise _Refusal("padding that is both negative and interior; slice first, then pad")
            start = [max(0, -v) for v in low]
            x = self.slice(x, start, [n - max(0, -v) for n, v in zip(x.shape, high, strict=True)], None)
            low, high = (tuple(max(0, v) for v in side) for side in (low, high))
        if not any(low + high + interior):
            return x
        shape = tuple(a + n + (n - 1) * i + b for n, a, b, i in zip(x.shape, low, high, interior, strict=True))
        if isinstance(x, _Known):
            values = np.full(shape, Fraction(0), dtype=object)
            values[tuple(slice(a, a + (n - 1) * (i + 1) + 1, i + 1) for n, a, i in zip(x.shape, low, interior, strict=True))] = x.full()
            return _Known(values, shape, x.tagged)
        return self.node("pad", (self.tensor(x),), (low, high, interior), shape)

    def concatenate(self, xs, axis):
        shape = list(xs[0].shape)
        shape[axis] = sum(x.shape[axis] for x in xs)
        if all(isinstance(x, _Known) for x in xs):
            return _Known(np.concatenate([x.full() for x in xs], axis=axis), tuple(shape), any(x.tagged for x in xs))
        return self.node("concatenate", [self.tensor(x) for x in xs], (axis,), shape) if len(xs) > 1 else xs[0]

    # ---- comparisons and choices
    def greater(self, x, y, shape) -> "_Mask | _Known":
        """x > y as a mask of the tensor x - y."""
        x, y = self.expand(x, shape), self.expand(y, shape)
        difference = self.linear([(1, x), (-1, y)])
        if isinstance(difference, _Known):
            return _map(lambda v: v > 0, shape, difference)
        return _Mask(self.node("mask", (difference,), (), shape))

    def select(self, condition, no, yes):
        """``yes`` where the condition holds, else ``no``."""
        if isinstance(no, _Mask) or isinstance(yes, _Mask):
            raise _Refusal("a choice between two conditions; choose between numbers")
        if isinstance(condition, _Known):
            if condition.scalar is not None:
                return self.tag(yes if condition.scalar else no, condition.tagged)
            ones = _map(lambda c: Fraction(int(c)), condition.shape, condition)
            zeros = _map(lambda c: 1 - c, condition.shape, ones)
            return self.linear([(1, self.product(ones, yes)), (1, self.product(zeros, no))])
        if not condition.positive:
            no, yes = yes, no
        mask = condition.expression
        (c, x), (d, y) = _scaling(no), _scaling(yes)
        if x is y and not isinstance(x, _Known):  # c x + mask (d - c) x: one gate where the user wrote two branches
            return self.linear([(c, x), (d - c, self.product(mask, x))], no.tagged or yes.tagged)
        return self.linear([(1, no), (-1, self.product(mask, no)), (1, self.product(mask, yes))])


def _scaling(x):
    """A tensor as (coefficient, base)."""
    return (x.attributes[0], x.inputs[0]) if isinstance(x, _Expression) and x.op == "linear" and len(x.inputs) == 1 else (Fraction(1), x)


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
            raise _Refusal(
                f"the reshape from {before} to {after} joins axes to a length of {a}, beyond {MAX_JOINT_AXIS}; reshape fewer axes at once"
            )


# ---- primitives ------------------------------------------------------------------------------------------------------


def _elementwise(function):
    """A rule for a binary primitive on operands that broadcast."""

    def rule(graph, eqn, x, y):
        shape = eqn.outvars[0].aval.shape
        return function(graph, graph.expand(x, shape), graph.expand(y, shape))

    return rule


def _comparison(swap: bool, negate: bool):
    def rule(graph, eqn, x, y):
        result = graph.greater(*((y, x) if swap else (x, y)), eqn.outvars[0].aval.shape)
        return _negated(result) if negate else result

    return rule


def _negated(x):
    return _Mask(x.expression, not x.positive) if isinstance(x, _Mask) else _map(lambda v: not v, x.shape, x)


def _add(graph, x, y):
    return _sum_of(graph, (1, x), (1, y))


def _sub(graph, x, y):
    return _sum_of(graph, (1, x), (-1, y))


def _sum_of(graph, *terms):
    if all(isinstance(x, _Known) for _, x in terms):
        return _map(lambda *values: sum(c * v for (c, _), v in zip(terms, values, strict=True)), terms[0][1].shape, *(x for _, x in terms))
    return graph.linear([(c, x if isinstance(x, _Known) else graph.tensor(x)) for c, x in terms])


def _product(graph, x, y):
    return graph.product(*(x if isinstance(x, _Known) else graph.tensor(x) for x in (x, y)))


def _div(graph, x, y):
    if not isinstance(y, _Known):
        raise _Refusal("division by a tensor has no exact counterpart; divide by constants only")
    if any(v == 0 for v in y.values.reshape(-1)):
        raise _Refusal("division by zero")
    return _product(graph, x, _map(lambda v: 1 / Fraction(v), y.shape, y))


def _power(graph, x, exponent: int):
    if isinstance(x, _Known):
        return _map(lambda v: Fraction(v) ** exponent, x.shape, x)
    if exponent < 1:
        raise _Refusal(f"the power {exponent} of a tensor has no exact counterpart; use positive powers")
    return reduce(lambda a, b: graph.product(a, b), [graph.tensor(x)] * exponent)


def _maximum(graph, eqn, x, y, inside_custom_jvp):
    # The derivative of a maximum at a tie is one half; inside a custom_jvp the user's rule gives it (0 for jax.nn.relu).
    if not inside_custom_jvp:
        raise _Refusal("the derivative of a maximum at a tie is not that of ReLU; use jax.nn.relu(x)")
    shape = eqn.outvars[0].aval.shape
    x, y = graph.expand(x, shape), graph.expand(y, shape)
    return graph.select(graph.greater(x, y, shape), y, x)


def _convert(graph, eqn, x):
    kind = jnp.dtype(eqn.params["new_dtype"])
    if isinstance(x, _Mask):
        return x if kind.kind == "b" else graph.tensor(x)
    if isinstance(x, _Known):
        return _map(lambda v: bool(v) if kind.kind == "b" else Fraction(v), x.shape, x)
    if not jnp.issubdtype(kind, jnp.floating) and jnp.issubdtype(eqn.invars[0].aval.dtype, jnp.floating):
        raise _Refusal(f"conversion of a tensor to {kind} rounds or truncates; keep it floating-point")
    return x


def _dynamic_slice(graph, eqn, x, *starts):
    starts = _static(starts, x.shape, eqn.params["slice_sizes"])
    return graph.slice(x, starts, [a + n for a, n in zip(starts, eqn.params["slice_sizes"], strict=True)], None)


def _dynamic_update_slice(graph, eqn, x, part, *starts):
    if not isinstance(x, _Known) or x.scalar != 0:
        raise _Refusal("an update of a slice; build the array with concatenate")
    starts = _static(starts, x.shape, part.shape)
    padding = [(a, n - a - m, 0) for a, n, m in zip(starts, x.shape, part.shape, strict=True)]
    return graph.pad(part, _Known.uniform(Fraction(0), ()), padding)


def _static(starts, shape, sizes) -> list[int]:
    if not all(isinstance(s, _Known) for s in starts):
        raise _Refusal("an index that depends on data or parameters; index with Python integers")
    return [min(max(int(s.scalar), 0), n - m) for s, n, m in zip(starts, shape, sizes, strict=True)]


def _squeeze(graph, eqn, x):
    return graph.reshape(x, eqn.outvars[0].aval.shape)


def _reverse(graph, eqn, x):
    axes = tuple(int(d) for d in eqn.params["dimensions"])
    return graph.structural("reverse", x, axes, x.shape, lambda a: np.flip(a, axes))


def _dot_general(graph, eqn, x, y):
    (contract, batch), shape = eqn.params["dimension_numbers"], eqn.outvars[0].aval.shape
    contract, batch = (tuple(tuple(int(d) for d in side) for side in pair) for pair in (contract, batch))
    if isinstance(x, _Known) and isinstance(y, _Known):
        return _evaluated(eqn, x, y)
    return graph.dot(x, y, contract, batch, shape)


def _split(graph, eqn, x):
    axis, parts, position = eqn.params["axis"], [], 0
    for size in eqn.params["sizes"]:
        start, limit = [0] * len(x.shape), list(x.shape)
        start[axis], limit[axis] = position, position + size
        parts.append(graph.slice(x, start, limit, None))
        position += size
    return parts


RULES = {
    "add": _elementwise(_add),
    "add_any": _elementwise(_add),
    "sub": _elementwise(_sub),
    "mul": _elementwise(_product),
    "div": _elementwise(_div),
    "neg": lambda graph, eqn, x: _sum_of(graph, (-1, x)),
    "square": lambda graph, eqn, x: _power(graph, x, 2),
    "integer_pow": lambda graph, eqn, x: _power(graph, x, eqn.params["y"]),
    "gt": _comparison(swap=False, negate=False),
    "lt": _comparison(swap=True, negate=False),
    "le": _comparison(swap=False, negate=True),
    "ge": _comparison(swap=True, negate=True),
    "not": lambda graph, eqn, x: _negated(x),
    "select_n": lambda graph, eqn, c, no, yes: graph.select(c if c.shape == no.shape else graph.broadcast(c, no.shape, ()), no, yes),
    "dot_general": _dot_general,
    "reduce_sum": lambda graph, eqn, x: graph.sum(x, eqn.params["axes"]),
    "transpose": lambda graph, eqn, x: graph.transpose(x, eqn.params["permutation"]),
    "reshape": lambda graph, eqn, x: graph.reshape(x, eqn.outvars[0].aval.shape),
    "squeeze": _squeeze,
    "expand_dims": _squeeze,
    "broadcast_in_dim": lambda graph, eqn, x: graph.broadcast(x, eqn.params["shape"], eqn.params["broadcast_dimensions"]),
    "slice": lambda graph, eqn, x: graph.slice(x, eqn.params["start_indices"], eqn.params["limit_indices"], eqn.params["strides"]),
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "pad": lambda graph, eqn, x, value: graph.pad(x, value, eqn.params["padding_config"]),
    "concatenate": lambda graph, eqn, *xs: graph.concatenate(xs, int(eqn.params["dimension"])),
    "split": _split,
    "rev": _reverse,
    "convert_element_type": _convert,
    **dict.fromkeys(("copy", "stop_gradient", "reduce_precision", "sharding_constraint"), lambda graph, eqn, x: x),
    "optimization_barrier": lambda graph, eqn, *x: list(x),
}

CALLS = ("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")

CURES = {
    "max": "use jax.nn.relu(x) for ReLU",
    "conv_general_dilated": "write the convolution as slices and a matrix product",
    "while": "write the loop in Python, so that it unrolls",
    "scan": "write the loop in Python, so that it unrolls",
    "cond": "choose with jnp.where(x > 0, ...), or in Python before tracing",
    "gather": "index with Python integers or slices",
    "scatter": "build the array with jnp.concatenate or jnp.pad",
    "scatter-add": "index with Python integers or slices",
    **dict.fromkeys(("exp", "exp2", "log", "log1p", "logistic", "tanh", "erf", "pow", "sin", "cos"), "use ReLU and a quadratic loss"),
    **dict.fromkeys(("sqrt", "rsqrt"), "leave normalisation by data-dependent values out"),
    **dict.fromkeys(("abs", "sign", "reduce_max", "reduce_min", "argmax", "sort", "min"), "use ReLU, sums and products"),
    **dict.fromkeys(("random_bits", "random_wrap", "random_seed", "threefry2x32"), "leave dropout and other randomness out"),
    "clamp": "leave clipping out; the formats of the circuit bound every value",
    "eq": "give targets as numbers or one-hot vectors in the data",
}


def _interpret(graph, closed, arguments, place: str, inside_custom_jvp=False) -> list:
    """Run a jaxpr on expressions and constants; nested jaxprs are flattened. place: where, if JAX does not know the line."""
    jaxpr = closed.jaxpr if isinstance(closed, ClosedJaxpr) else closed
    constants = closed.consts if isinstance(closed, ClosedJaxpr) else ()
    environment = dict(zip(jaxpr.invars, arguments, strict=True))
    for variable, value in zip(jaxpr.constvars, constants, strict=True):
        environment[variable] = _Known.of(value)

    def read(atom):
        return _Known.of(atom.val) if isinstance(atom, Literal) else environment[atom]

    for eqn in jaxpr.eqns:
        values = [read(x) for x in eqn.invars]
        name, where = eqn.primitive.name, source_info_util.summarize(eqn.source_info) or place
        inner = next((p for p in eqn.params.values() if isinstance(p, (ClosedJaxpr, Jaxpr))), None)
        try:
            if name in CALLS and inner is not None:
                results = _interpret(graph, inner, values, where, inside_custom_jvp or name == "custom_jvp_call")
            elif name in ("max", "min") and not all(isinstance(x, _Known) for x in values):
                if name == "min":
                    raise _Refusal(CURES["min"])
                results = _maximum(graph, eqn, *values, inside_custom_jvp)
            elif name in RULES:
                results = RULES[name](graph, eqn, *values)
            elif all(isinstance(x, _Known) for x in values):
                results = _evaluated(eqn, *values)
            else:
                raise _Refusal(CURES.get(name, "it has no exact counterpart; use linear operations, products and ReLU"))
        except _Refusal as error:
            shapes = [tuple(x.aval.shape) for x in eqn.invars]
            raise UnsupportedOperationError(f"primitive '{name}' on shapes {shapes} at {where}: {error}") from None
        for variable, value in zip(eqn.outvars, results if isinstance(results, list) else [results], strict=True):
            environment[variable] = value
    return [read(x) for x in jaxpr.outvars]


def _evaluated(eqn, *known):
    """An operation on constants for which there is no exact rule, in floating point."""
    if max([math.prod(v.aval.shape) for v in eqn.outvars], default=0) > 2**22:
        raise _Refusal("a large array of constants; pass it as a parameter or as data")
    arrays = [jnp.asarray(np.array(k.full().tolist(), dtype=float), dtype=v.aval.dtype) for k, v in zip(known, eqn.invars, strict=True)]
    results = eqn.primitive.bind(*arrays, **eqn.params)
    tagged = any(k.tagged for k in known)
    results = [_Known.of(r) for r in (results if eqn.primitive.multiple_results else [results])]
    return [_Known(r.values, r.shape, tagged) for r in results]


# ---- learning rates --------------------------------------------------------------------------------------------------


def _learning_rates(optimizer, params, leaves, steps) -> list[tuple[Fraction, ...]]:
    """The exact rate of each parameter: one, or one a step; (0,) for a frozen parameter."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise UnsupportedOperationError(f"the optimizer is {type(optimizer).__name__}; give an optax optimizer such as optax.sgd(1 / 64)")
    structure = jax.tree.structure(params)
    shapes = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves])
    state = jax.eval_shape(optimizer.init, shapes)
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        if leaf.shape != ():
            raise UnsupportedOperationError(
                f"the optimizer keeps an array per parameter ({jax.tree_util.keystr(path)}, shape {leaf.shape}): momentum, Adam and the "
                f"like would have to round it at every step; use optax.sgd(rate) without momentum"
            )
    scalars = jax.tree.unflatten(structure, [jnp.zeros((), x.dtype) for x in leaves])
    first = [np.asarray(x) for x in jax.tree.leaves(optimizer.init(scalars))]
    closed = jax.make_jaxpr(lambda g, s, p: jax.tree.leaves(optimizer.update(g, s, p)[0]))(shapes, state, shapes)
    graph = _Graph()
    gradients = [graph.node("gradient", (), (i,), x.shape) for i, x in enumerate(leaves)]
    weights = [graph.node("param", (), (i,), x.shape) for i, x in enumerate(leaves)]
    known = [_Known(k.values, k.shape, True) for k in (_Known.of(x) for x in first)]  # tagged: depends on the step
    rates, changing = [], False
    try:
        results = _interpret(graph, closed, [*gradients, *known, *weights], "the optimizer")
    except UnsupportedOperationError as error:
        raise UnsupportedOperationError(f"the optimizer's update is not -rate * gradient; use optax.sgd(rate). {error}") from None
    for gradient, leaf, result in zip(gradients, leaves, results, strict=True):
        if isinstance(result, _Known) and result.scalar == 0:
            c, base = Fraction(0), gradient
        else:
            c, base = _scaling(result)
        if base is not gradient:
            raise UnsupportedOperationError(
                f"the update of parameter {leaf.path} is not -rate * gradient; weight decay, clipping and normalised updates would "
                f"have to round a parameter at every step; use optax.sgd(rate)"
            )
        changing = changing or result.tagged
        rates.append((-c,))
    if not changing:
        return rates
    if steps is None:
        raise UnsupportedOperationError("the learning rate depends on the step; give trace(..., steps=...) the number of steps to tabulate")
    return _schedule(optimizer, scalars, steps)


def _schedule(optimizer, scalars, steps: int) -> list[tuple[Fraction, ...]]:
    """Rates of every step, evaluated in floating point on scalar parameters; refuses an optimizer with a memory of gradients."""
    structure, count = jax.tree.structure(scalars), len(jax.tree.leaves(scalars))

    def run(gradients):
        def body(state, g):
            tree = jax.tree.unflatten(structure, [g.astype(x.dtype) for x in jax.tree.leaves(scalars)])
            updates, state = optimizer.update(tree, state, scalars)
            return state, jnp.stack([u.astype(jnp.float32) for u in jax.tree.leaves(updates)])

        return np.asarray(jax.lax.scan(body, optimizer.init(scalars), jnp.asarray(gradients, jnp.float32))[1])

    updates = run(np.ones(steps))
    probe = np.random.default_rng(0).uniform(0.5, 2.0, steps) * np.where(np.arange(steps) % 2, 1, -1)
    if not np.allclose(run(probe), updates * probe[:, None], rtol=1e-3, atol=1e-9):
        raise UnsupportedOperationError("the optimizer's update depends on earlier gradients; use optax.sgd(schedule) without momentum")
    memo: dict = {}
    tables = [tuple(memo.setdefault(u, -_simplest(u, np.float32)) for u in updates[:, i]) for i in range(count)]
    return [table if len(set(table)) > 1 else table[:1] for table in tables]


def _rounded_rates(rates: tuple[Fraction, ...], tolerance: Fraction) -> tuple[tuple[int, ...], int]:
    """Integers n and the least b >= 0 with n_t * 2^-b within ``tolerance`` of every rate. Short dyadic rates stay exact.

    In a table, a rate below a sixteenth of the largest may be off by ``tolerance`` of that sixteenth: a cosine's last
    steps would otherwise cost bits that every step pays for.
    """
    if all(r.denominator & (r.denominator - 1) == 0 and abs(r.numerator).bit_length() <= 8 for r in rates):
        b = max(r.denominator.bit_length() - 1 for r in rates)
        return tuple(int(r * 2**b) for r in rates), b
    floor = max(abs(r) for r in rates) / 16
    for b in range(62):
        n = tuple(math.floor(r * 2**b + Fraction(1, 2)) for r in rates)
        if all(abs(Fraction(v, 2**b) - r) <= tolerance * max(abs(r), floor) for v, r in zip(n, rates, strict=True)):
            return n, b
    raise PrecisionError(f"the learning rate {float(rates[0])} cannot be written as n * 2^-b; raise Precision.rate_tolerance")


# ---- narrow on demand ------------------------------------------------------------------------------------------------

_MOVES = ("transpose", "reshape", "broadcast", "slice", "pad", "concatenate", "reverse")
_FIXED = {"rescale", "sign", "gate", "input", "const"}


@dataclass(frozen=True)
class _Formats:
    """Integers of the two formats: scale and bits; data_bits of each input."""

    activation_scale: int
    activation_bits: int
    gradient_scale: int
    gradient_bits: int
    data_bits: tuple[int, ...]
    rate_tolerance: Fraction
    notes: tuple[str, ...] = ()

    def of(self, tagged: bool) -> tuple[int, int]:
        return (self.gradient_scale, self.gradient_bits) if tagged else (self.activation_scale, self.activation_bits)


@dataclass(frozen=True)
class _Demands:
    """narrow: expressions that some product reads. quotients: those that must be a rescale themselves, for a sign or gate."""

    narrow: frozenset
    quotients: frozenset
    needed: tuple
    losses: tuple  # (coefficient, scalar leaf expression, gradient whose quadratic form stands for it or None)


def _demands(program: _Program, trained) -> _Demands:
    """The least set of rescaled tensors with which every product reads narrow operands."""
    narrow, quotients, seen = set(), set(), set()

    def demand(x):
        if x.op in _MOVES:
            for y in x.inputs:
                demand(y)
        elif x.op not in ("input", "param", "const", "mask", "gate"):
            narrow.add(x)

    def visit(x):
        stack = [x]
        while stack:
            x = stack.pop()
            if x in seen:
                continue
            seen.add(x)
            if x.op == "dot":
                for y in x.inputs:
                    demand(y)
            elif x.op in ("mask", "gate"):
                quotients.add(x.inputs[-1])
            stack.extend(x.inputs)

    for x in trained:
        visit(x)
    losses = []
    scalings = {}  # residual r to its narrow gradient c * r
    for x in sorted(narrow, key=lambda x: x.index):
        c, base = _scaling(x)
        if base is not x and x.tagged and not base.tagged:
            scalings.setdefault(base, x)
    for c, leaf in _loss_leaves(program.graph, program.loss):
        residual = _squared(leaf)
        if residual is not None and residual not in narrow and residual in scalings:
            losses.append((c, leaf, scalings[residual]))
        else:
            losses.append((c, leaf, None))
            visit(leaf)
    needed = tuple(sorted(seen, key=lambda x: x.index))
    return _Demands(frozenset(narrow), frozenset(quotients), needed, tuple(losses))


def _loss_leaves(graph, loss) -> list:
    """The loss as a sum of (rational, expression whose entries are summed)."""
    leaves: dict = {}

    def total(c, x):
        if x.op == "linear":
            for k, y in zip(x.attributes, x.inputs, strict=True):
                total(c * k, y)
        elif x.op in ("sum", "reshape", "transpose", "reverse"):
            total(c, x.inputs[0])
        else:
            leaves[x] = leaves.get(x, 0) + c

    total(Fraction(1), graph.tensor(loss))
    return [(c, x) for x, c in leaves.items() if c]


def _squared(x):
    """r if the entries of x sum up to <r, r>, else None."""
    if x.op != "dot" or x.inputs[0] is not x.inputs[1]:
        return None
    (cx, cy), (bx, by) = x.attributes
    return x.inputs[0] if (cx, bx) == (cy, by) and len(cx) + len(bx) == len(x.inputs[0].shape) else None


# ---- emission --------------------------------------------------------------------------------------------------------


class _Builder:
    """Nodes of the circuit, each with a bound (None: depends on a parameter) and the operations its linear walk reaches."""

    def __init__(self, inputs: tuple[Input, ...]):
        self.inputs, self.nodes, self.bounds, self.reach, self._made = inputs, [], [], [], {}

    def add(self, op, inputs, attributes: dict, shape, factor: Fraction, label: str) -> int:
        key = op, tuple(inputs), tuple(sorted(attributes.items())), tuple(shape)
        if key in self._made:
            return self._made[key]
        scale = _valuation(factor)
        self.nodes.append(Node(op, tuple(inputs), tuple(shape), attributes, scale, label))
        shapes = [self.nodes[i].shape for i in inputs]
        self.bounds.append(node_bound(self.nodes[-1], [self.bounds[i] for i in inputs], shapes, self.inputs, None))
        read = inputs[:1] if op == "scale" else inputs
        self.reach.append(frozenset().union(*(self.reach[i] for i in read)) if op in LINEAR_OPS else frozenset([op]))
        self._made[key] = len(self.nodes) - 1
        return self._made[key]


def _valuation(factor: Fraction) -> int:
    """The s with factor = 2^-s * odd / odd."""
    return (factor.denominator & -factor.denominator).bit_length() - (factor.numerator & -factor.numerator).bit_length()


def _dyadic(value: Fraction, bits: int) -> tuple[int, int]:
    """(n, s), n odd, with value = n * 2^-s, exactly if n has at most ``bits`` bits, else rounded to that many."""
    s = _valuation(value)
    odd = value * Fraction(2) ** s
    if odd.denominator == 1 and abs(odd.numerator).bit_length() <= bits:
        return odd.numerator, s
    k = bits - 1 - (math.floor(math.log2(abs(odd))))
    n = math.floor(odd * Fraction(2) ** k + Fraction(1, 2))
    zeros = (n & -n).bit_length() - 1
    return n >> zeros, s + k - zeros


def _emit(program: _Program, rates, leaves, formats: _Formats, steps) -> tuple[Circuit, dict[int, bool]]:
    """Stages two and three. Returns the circuit (of the widest table) and, for each rescale, whether it is a gradient.

    The weight scale is what the updates need; their nodes do not depend on it, except through the alignment of sums, so
    one repetition settles it.
    """
    weight_scale = formats.activation_scale + formats.gradient_scale
    for _ in range(4):
        emitter = _Emitter(program, leaves, formats, weight_scale)
        circuit, needed = emitter.circuit(rates, steps)
        if needed == weight_scale:
            return circuit, emitter.kinds
        weight_scale = needed
    raise PrecisionError(f"no weight scale fits all updates (the last two tried: {weight_scale}, {needed}); use dyadic learning rates")


class _Emitter:
    def __init__(self, program, leaves, formats, weight_scale):
        self.program, self.leaves, self.formats, self.weight_scale = program, leaves, formats, weight_scale
        inputs = [x for x in program.graph.expressions if x.op == "input"]
        self.inputs = tuple(
            Input(name, x.shape, formats.activation_scale, bits)
            for name, x, bits in zip(program.input_names, inputs, formats.data_bits, strict=True)
        )
        self.builder = _Builder(self.inputs)
        self.values: dict[_Expression, tuple[Fraction, int]] = {}
        self.labels = dict(program.graph.labels)
        self.kinds: dict[int, bool] = {}
        self.units: dict[_Expression, Fraction] = {}  # value of one unit of a quotient, before its constant was rounded
        self.notes: list[str] = []

    def circuit(self, rates, steps) -> tuple[Circuit, int]:
        graph = self.program.graph
        trained = [
            None if rate == (0,) or isinstance(g, _Known) and g.scalar == 0 else graph.tensor(g)
            for g, rate in zip(self.program.gradients, rates, strict=True)
        ]
        demands = _demands(self.program, [g for g in trained if g is not None])
        for g, leaf in zip(trained, self.leaves, strict=True):
            for _, x in _terms(g) if g is not None else ():
                self.labels.setdefault(x, f"{leaf.path} gradient")
        leaves = [x for x in graph.expressions if x.op in ("input", "param")]  # also those that nothing reads: they are committed
        for x in dict.fromkeys((*leaves, *demands.needed)):
            self.values[x] = self._narrowed(x, self._emit(x), demands)
        parameters, needed = self._updates(trained, rates)
        losses = tuple(self._loss(*loss) for loss in demands.losses)
        circuit = Circuit(
            nodes=tuple(self.builder.nodes),
            inputs=self.inputs,
            parameters=parameters,
            losses=losses,
            weight_scale=self.weight_scale,
            table_bits=20,
            max_steps=steps if any(len(u.rates) > 1 for p in parameters for u in p.updates) else None,
            notes=tuple(dict.fromkeys((*self.formats.notes, *self.notes))),
        )
        return circuit, needed

    def _label(self, x) -> str:
        if x not in self.labels:
            if x.op == "dot":
                owners = [o for o in map(_owner, x.inputs) if o is not None]
                self.labels[x] = f"{self.labels[owners[0]]} {'backward' if x.tagged else 'forward'}" if owners else "product"
            else:
                names = [self._label(y) for y in (x.inputs[-1:] if x.op == "gate" else x.inputs) if y.op != "const"]
                # a sum is named after the product in it: bias and residual are beside the point
                name = next((n for n in names if " " in n), names[0] if names else "constant")
                error = x.tagged and not any(y.tagged for y in x.inputs)  # where the seed enters: prediction - target
                self.labels[x] = name.removesuffix(" forward") + " error" if error else name
        return self.labels[x]

    def _emit(self, x) -> tuple[Fraction, int]:
        """(factor, node) of an expression whose inputs are emitted."""
        label = self._label(x)
        values = [self.values[y] for y in x.inputs]
        one = Fraction(1)
        if x.op in ("input", "param"):
            factor = Fraction(1, 2 ** (self.formats.activation_scale if x.op == "input" else self.weight_scale))
            return factor, self._add(x.op, (), {"index": x.attributes[0]}, x.shape, factor, label)
        if x.op == "const":
            factor, integers = self._integers(x.attributes, "constants", CONSTANT_BITS)
            return factor, self._add("const", (), {"shape": x.shape, "values": integers}, x.shape, factor, label)
        if x.op == "linear":
            if len(values) == 1:
                return x.attributes[0] * values[0][0], values[0][1]
            factor, integers = self._integers([c * f for c, (f, _) in zip(x.attributes, values, strict=True)], label, ALIGNED_BITS)
            nodes = [n for _, n in values]
            return factor, self._add("linear", nodes, {"coefficients": integers}, x.shape, factor, label)
        if x.op == "concatenate":
            factor, integers = self._integers([f for f, _ in values], label, ALIGNED_BITS)
            nodes = [self._times(c, n, factor, label) for c, (_, n) in zip(integers, values, strict=True)]
            return factor, self._add(x.op, nodes, {"axis": x.attributes[0]}, x.shape, factor, label)
        if x.op == "mask":
            return one, self._add("sign", [values[0][1]], {}, x.shape, one, label)
        if x.op == "gate":
            factor = values[1][0]
            return factor, self._add("gate", [n for _, n in values], {}, x.shape, factor, label)
        if x.op == "dot":
            factor = values[0][0] * values[1][0]
            return factor, self._add("dot", [n for _, n in values], dict(zip(("contract", "batch"), x.attributes)), x.shape, factor, label)
        if x.op == "scale":
            factor = values[0][0] * values[1][0]
            return factor, self._add("scale", [n for _, n in values], {"axes": x.attributes}, x.shape, factor, label)
        names = {
            "transpose": ("permutation",),
            "reshape": ("shape",),
            "sum": ("axes",),
            "reverse": ("axes",),
            "broadcast": ("axes",),
            "slice": ("start", "limit", "stride"),
            "pad": ("low", "high", "interior"),
        }[x.op]
        attributes = dict(zip(names, (x.attributes,) if len(names) == 1 else x.attributes, strict=True))
        if x.op == "broadcast":
            attributes["shape"] = x.shape
        return values[0][0], self._add(x.op, [values[0][1]], attributes, x.shape, values[0][0], label)

    def _add(self, op, inputs, attributes, shape, factor, label) -> int:
        return self.builder.add(op, tuple(inputs), attributes, shape, factor, label)

    def _times(self, c: int, node: int, factor: Fraction, label: str) -> int:
        if c == 1:
            return node
        return self._add("linear", [node], {"coefficients": (c,)}, self.builder.nodes[node].shape, factor, label)

    def _integers(self, rationals, label: str, bits: int) -> tuple[Fraction, tuple[int, ...]]:
        """A common factor and integers: exact, unless the integers had more than ``bits`` significant bits."""
        rationals = [Fraction(r) for r in rationals]
        factor = _common(rationals)
        integers = [int(r / factor) for r in rationals]
        if max((v // (v & -v) if v else 0).bit_length() for v in map(abs, integers)) > bits:
            rounded = [Fraction(n) * Fraction(2) ** -s for n, s in (_dyadic(r, bits) if r else (0, 0) for r in rationals)]
            error = max(abs(a - b) / abs(b) for a, b in zip(rounded, rationals, strict=True) if b)
            if error:
                self.notes.append(f"{label}: coefficients rounded to {bits} bits (largest relative error {float(error):.1e})")
            factor = _common(rounded)
            integers = [int(r / factor) for r in rounded]
            if max(map(abs, integers)) >= 2**62:
                low, high = (float(f(map(abs, rationals))) for f in (min, max))
                raise PrecisionError(f"{label}: coefficients {low} and {high} of a sum cannot be aligned; bring them closer together")
        return factor, tuple(integers)

    def _narrowed(self, x, value, demands: _Demands) -> tuple[Fraction, int]:
        """``value``, through a rescale if x is demanded narrow and is not so already."""
        factor, node = value
        forced = x in demands.quotients
        if forced:
            if self.builder.nodes[node].op == "rescale" and factor > 0:
                return value
        elif x not in demands.narrow or self._is_operand(x, factor, node):
            return value
        return self._rescaled(x, factor, node)

    def _is_operand(self, x, factor: Fraction, node: int) -> bool:
        """Whether a node may be read by a product as it is: committed tensors or parameters, within the format.

        A constant such as 1/3 is better absorbed by a rescale than carried on into the rounding of a learning rate.
        """
        if factor.denominator & (factor.denominator - 1):
            return False
        reach, bound = self.builder.reach[node], self.builder.bounds[node]
        return "param" in reach and reach <= _FIXED | {"param"} or reach <= _FIXED and bound <= 2 ** self.formats.of(x.tagged)[1]

    def _rescaled(self, x, factor: Fraction, node: int) -> tuple[Fraction, int]:
        scale, bits = self.formats.of(x.tagged)
        label = self._label(x)
        target = factor * 2**scale
        n, shift = _dyadic(target, CONSTANT_BITS)
        if shift > 62:
            raise PrecisionError(
                f"{label}: the constant {float(factor)} is too small for {scale} bits after the point; raise the format's scale"
            )
        if shift <= 0:  # already as coarse as the format: the quotient is the integer itself
            shift, n, result = 0, 1 if factor > 0 else -1, abs(factor)
        else:
            result = Fraction(1, 2**scale)
            error = abs(Fraction(n, 2**shift) / target - 1) if shift > 0 else 0
            if error:
                odd = factor * Fraction(2) ** _valuation(factor)
                power = shift - _valuation(factor) + scale
                self.notes.append(f"{label}: constant {odd} rounded to {n} * 2^-{power} (relative error {float(error):.1e})")
        quotient = self._add("rescale", [self._times(n, node, factor, label)], {"shift": shift, "bits": bits}, x.shape, result, label)
        self.kinds[quotient] = x.tagged
        self.units[x] = factor * Fraction(2**shift, n)
        return result, quotient

    def _updates(self, trained, rates) -> tuple[tuple[Parameter, ...], int]:
        """The parameters with their integer rates, and the weight scale that these need."""
        uses, needed = [], 0
        for g, rate, leaf in zip(trained, rates, self.leaves, strict=True):
            uses.append([])
            for c, x in _terms(g) if g is not None else ():
                factor, node = self.values[x]
                self._check_update(leaf, node)
                whole = c * factor
                s = _valuation(whole)
                wanted = tuple(r * whole * Fraction(2) ** s for r in rate)
                n, b = _rounded_rates(wanted, self.formats.rate_tolerance)
                if not any(n):
                    continue
                uses[-1].append((node, n, b + s))
                needed = max(needed, b + s)
                self._note_rates(leaf, rate, wanted, n, b)
        needed = needed or self.weight_scale

        def update(node, n, b):
            return Update(node, tuple(v * 2 ** max(0, self.weight_scale - b) for v in n))

        parameters = (
            Parameter(leaf.path, leaf.shape, tuple(update(*use) for use in using)) for leaf, using in zip(self.leaves, uses, strict=True)
        )
        return tuple(parameters), needed

    def _check_update(self, leaf, node: int):
        """A parameter stays an exact integer only while its update reads no parameter."""
        nodes, reach, stack = self.builder.nodes, self.builder.reach, [node]
        while stack:
            i = stack.pop()
            if "param" in reach[i] or nodes[i].op == "dot" and any("param" in reach[j] for j in nodes[i].inputs):
                raise UnsupportedOperationError(
                    f"the update of parameter {leaf.path} depends on a parameter without rounding in between; penalties on weights and "
                    f"products of parameters would have to round a parameter at every step. Leave them out"
                )
            if nodes[i].op in LINEAR_OPS:
                stack.extend(nodes[i].inputs[: 1 if nodes[i].op == "scale" else None])

    def _note_rates(self, leaf, rate, wanted, n, b):
        errors = [(abs(Fraction(v, 2**b) / w - 1) if w else Fraction(0), t) for t, (v, w) in enumerate(zip(n, wanted, strict=True))]
        error, t = max(errors)
        if len(n) > 1:
            self.notes.append(
                f"learning rate: schedule of {len(n)} steps as n * 2^-{b}, n = {min(n)}..{max(n)} "
                f"(largest relative error {float(error):.1e}, at step {t})"
            )
        elif error:
            self.notes.append(f"learning rate: {float(wanted[0]):.6g} as {n[0]}/{2**b} (relative error {float(error):.1e})")
        else:
            self.notes.append(f"learning rate: {Fraction(n[0], 2**b)}")

    def _loss(self, c: Fraction, leaf, gradient) -> Loss:
        """One summand of the loss, exact: the traced one, or the quadratic form of the narrow output gradient."""
        if gradient is not None:
            factor, node = self.values[gradient]
            unit, (k, _) = self.units.get(gradient, factor), _scaling(gradient)
            axes = tuple(range(len(gradient.shape)))
            form = self._add("dot", [node, node], {"contract": (axes, axes), "batch": ((), ())}, (), factor * factor, "loss")
            return Loss(form, c * (unit / k) ** 2)
        factor, node = self.values[leaf]
        if leaf.op == "dot" and leaf.attributes[1][0]:  # entry by entry: contract instead of summing afterwards
            values = [self.values[y][1] for y in leaf.inputs]
            axes = tuple(leaf.attributes[0][i] + leaf.attributes[1][i] for i in range(2))
            free = [len(y.shape) - len(a) for y, a in zip(leaf.inputs, axes, strict=True)]
            if not any(free):
                return Loss(self._add("dot", values, {"contract": axes, "batch": ((), ())}, (), factor, "loss"), c * factor)
        if leaf.shape:
            node = self._add("sum", [node], {"axes": tuple(range(len(leaf.shape)))}, (), factor, "loss")
        return Loss(node, c * factor)


def _terms(x) -> list[tuple[Fraction, _Expression]]:
    """The uses of a parameter whose gradient is x."""
    return list(zip(x.attributes, x.inputs, strict=True)) if x.op == "linear" else [(Fraction(1), x)]


def _owner(x):
    """The parameter that x is a moved copy of, or None."""
    while x.op in _MOVES and len(x.inputs) == 1:
        x = x.inputs[0]
    return x if x.op == "param" else None


def _common(rationals) -> Fraction:
    """The greatest rational of which all are integer multiples; 1 for zeros only."""
    denominator = math.lcm(*(r.denominator for r in rationals))
    return Fraction(math.gcd(*(int(r * denominator) for r in rationals)) or denominator, denominator)


# ---- formats ---------------------------------------------------------------------------------------------------------


def _default_formats(program, batch, precision: Precision) -> _Formats:
    a = precision.activation_scale
    bits = a + 3 if precision.activation_bits is None else precision.activation_bits
    gradient_bits = 13 if precision.gradient_bits is None else precision.gradient_bits
    gradient_scale = precision.gradient_scale
    if gradient_scale is None:
        # A range of +-4 divided by the loss's mean divisor: the constants that carry the seed into the graph.
        seeds = [abs(c) for x in program.graph.expressions if x.tagged and not any(y.tagged for y in x.inputs) for c in _seed_constants(x)]
        largest = max(seeds, default=Fraction(1)) or Fraction(1)
        gradient_scale = max(0, gradient_bits - math.ceil(math.log2(4 * largest)))
    data_bits = precision.data_bits
    if data_bits is None:
        data_bits = tuple(bits if isinstance(x, jax.ShapeDtypeStruct) else _data_bits(x, a) for x in batch)
    if len(data_bits) != len(batch):
        raise DataError(f"Precision.data_bits has {len(data_bits)} entries for {len(batch)} arrays in the batch")
    return _Formats(a, bits, gradient_scale, gradient_bits, tuple(data_bits), Fraction(precision.rate_tolerance))


def _seed_constants(x) -> tuple:
    return x.attributes if x.op in ("linear", "const") else ()


def _data_bits(x, scale: int) -> int:
    """Bits that hold the batch, and one to spare."""
    largest = math.floor(math.ldexp(float(np.abs(x.astype(np.float64)).max()), scale) + 0.5)
    return max(1, largest.bit_length()) + 1


def _largest_values(circuit: Circuit, leaves, batch) -> dict[int, float] | None:
    """The largest quotient of each rescale on this batch, in floating point; None if only shapes are known."""
    if any(leaf.array is None for leaf in leaves) or any(isinstance(x, jax.ShapeDtypeStruct) for x in batch):
        return None
    parameters = [leaf.array.astype(np.float64) * 2.0**circuit.weight_scale for leaf in leaves]
    inputs = [x.astype(np.float64) * 2.0**y.scale for x, y in zip(batch, circuit.inputs, strict=True)]
    values = exact.evaluate(circuit, [(exact.WHOLE, exact.WHOLE)] * len(circuit.nodes), parameters, inputs)
    return {i: float(np.abs(values[i]).max()) for i in circuit.of("rescale")}


def _widened(formats: _Formats, circuit: Circuit, kinds, seen, precision: Precision) -> _Formats:
    """Formats in which every value seen has two bits of headroom, where the user has not chosen them."""
    changes: dict = {}
    notes = []
    for tagged, name in ((False, "activation"), (True, "gradient")):
        if getattr(precision, f"{name}_bits") is not None:
            continue
        scale, bits = formats.of(tagged)
        largest, where = max(((seen[i], i) for i, kind in kinds.items() if kind == tagged), default=(0.0, 0))
        needed = math.ceil(math.log2(largest * HEADROOM)) if largest else 0
        if needed <= bits:
            continue
        fixed_scale = not tagged or precision.gradient_scale is not None
        changes[f"{name}_bits"] = needed if fixed_scale else min(needed, MAX_FORMAT_BITS)
        if not fixed_scale:
            changes["gradient_scale"] = scale - max(0, needed - MAX_FORMAT_BITS)
        value = f"a value of {largest * 2.0**-scale:.3g} on the given batch"
        if changes[f"{name}_bits"] > 19 or changes.get("gradient_scale", 0) < 0:
            raise PrecisionError(
                f"{circuit.describe(where)}: {value} needs {needed} bits at scale {scale}, beyond the largest table; "
                f"scale data or parameters down, or use a smaller Precision.{name}_scale"
            )
        chosen = changes.get("gradient_scale", scale) if tagged else scale
        notes.append(
            f"{name} format widened to {changes[f'{name}_bits']} bits at scale {chosen}: the batch left less than two bits of headroom"
        )
    return _Formats(**{**formats.__dict__, **changes, "notes": (*formats.notes, *notes)}) if changes else formats


def _with_tables(circuit: Circuit, precision: Precision, chunk: int) -> Circuit:
    """The circuit with the cheapest table width: fewest cells, lookups and table entries in a chunk."""
    least = max([circuit.nodes[i]["bits"] + 1 for i in circuit.of("rescale")] + [x.bits + 1 for x in circuit.inputs] + [4])
    if precision.table_bits is not None:
        if precision.table_bits < least:
            raise PrecisionError(
                f"Precision.table_bits is {precision.table_bits}, but the formats need {least}; use fewer bits in the formats"
            )
        return circuit.with_table_bits(precision.table_bits)
    if least > 20:
        raise PrecisionError(f"the formats need tables of {least} bits, beyond 20; use fewer activation, gradient or data bits")
    return min((circuit.with_table_bits(b) for b in range(least, 21)), key=lambda c: c.counts(chunk).cost)
