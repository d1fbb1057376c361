"""Tracing: a JAX loss and an optax optimizer to a ``Circuit`` of exact integer operations.

Three stages. (1) The jaxpr of ``jax.vjp(loss)`` is interpreted over *expressions* (``expressions.py``): real-valued tensors
with exact rational constants. The seed cotangent is the constant 1 with a tag, so that whatever depends on it is known to
be a gradient. (2) and (3) Operands of products are made narrow, and expressions become integer nodes (``lowering.py``), in
formats that suit the given batch (``formats.py``).

This is the only module that knows JAX's primitives.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from . import exact
from .circuit import Circuit
from .config import Precision
from .errors import DataError, UnsupportedOperationError
from .expressions import Graph, Known, Mask, Program, Refusal, map_known, scaling, simplest
from .formats import Formats, default_formats, largest_values, widened, with_tables
from .kernels.settings import fixed
from .lowering import emit


def trace(
    loss: Callable[..., Any],
    optimizer: Any,
    params: Any,
    *,
    batch: Sequence[Any],
    precision: Precision | None = None,
    steps: int | None = None,
    chunk: int = 16,
) -> Circuit:
    """Trace one training step ``params - rate * gradient(loss)`` to a circuit.

    loss:      ``loss(params, *batch)`` as for ``jax.grad``: a scalar, from linear operations, products and ReLU.
               Arrays that it captures are public constants of at most 4,096 entries.
    optimizer: an optax optimizer whose updates are ``-rate * gradient``: ``optax.sgd``, with a constant rate or a schedule. Rates
               are rounded within ``Precision.rate_tolerance``; the circuit's notes say to what.
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
    source = read(loss, optimizer, params, batch, steps)
    formats = default_formats(source.program, source.batch, precision)
    circuit, _ = fit(source, formats, precision, min(chunk, steps or chunk), source.samples())
    return circuit


@dataclass(frozen=True, eq=False)
class Source:
    """What tracing has read of the user's program: the step as expressions, rates and parameters; no formats yet."""

    program: Program
    rates: list[tuple[Fraction, ...]]
    leaves: "list[_Leaf]"
    batch: tuple[Any, ...]
    steps: int | None

    def samples(self) -> list[tuple[list[Any], tuple[Any, ...]]]:
        """Parameters and batch as one sample of the values that occur; none where only shapes are known."""
        parameters = [leaf.array for leaf in self.leaves]
        return [(parameters, self.batch)] if all(isinstance(x, np.ndarray) for x in (*parameters, *self.batch)) else []


def read(loss, optimizer, params, batch, steps: int | None) -> Source:
    """The first stage, with every check of the arguments; as for ``trace``."""
    with fixed(x64=False):  # the same source gives the same circuit, whatever the process has set
        return _read(loss, optimizer, params, batch, steps)


def _read(loss, optimizer, params, batch, steps: int | None) -> Source:
    leaves = _parameters(params)
    batch = _batch(batch)
    program = _program(loss, params, leaves, batch)
    return Source(program, _learning_rates(optimizer, params, leaves, steps), leaves, batch, steps)


def fit(source: Source, formats: Formats, precision: Precision, chunk: int, samples) -> tuple[Circuit, Formats]:
    """The circuit in these formats, which are widened, where ``precision`` leaves that open, until they hold all samples.

    samples: pairs of parameters and batch, as lists of arrays.
    """
    circuit, kinds = emit(source.program, source.rates, source.leaves, formats, source.steps)
    wide = widened(formats, circuit, kinds, largest_values(circuit, samples), precision)
    if wide != formats:
        circuit, _ = emit(source.program, source.rates, source.leaves, wide, source.steps)
    circuit = with_tables(circuit, precision, chunk).check()
    shifts = (exact.coarse_shift(leaf.largest, circuit.weight_scale, circuit.table_bits) for leaf in source.leaves)
    circuit.bounds(tuple(circuit.coarse_bound(s) for s in shifts), chunk)
    return circuit, wide


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
    arrays: list[Any] = []
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


def _program(loss, params, leaves, batch) -> Program:
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
    graph = Graph()
    parameters = [graph.node("param", (), (i,), leaf.shape) for i, leaf in enumerate(leaves)]
    inputs = [graph.node("input", (), (i,), x.shape) for i, x in enumerate(data)]
    seed = Known.uniform(1, (), tagged=True)
    value, *gradients = _interpret(graph, closed, [*parameters, seed, *inputs], "the loss or its gradient")
    for expression, leaf in zip(parameters, leaves, strict=True):
        graph.labels[expression] = leaf.path
    for expression, name in zip(inputs, names, strict=True):
        graph.labels[expression] = name
    return Program(graph, value, gradients, names)


def _input_names(loss, count: int) -> tuple[str, ...]:
    try:
        names = [p.name for p in inspect.signature(loss).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        names = []
    names = names[1 : count + 1]
    return tuple(names) if len(names) == count else tuple(f"batch[{i}]" for i in range(count))


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
    return Mask(x.expression, not x.positive) if isinstance(x, Mask) else map_known(lambda v: not v, x.shape, x)


def _add(graph, x, y):
    return _sum_of(graph, (1, x), (1, y))


def _sub(graph, x, y):
    return _sum_of(graph, (1, x), (-1, y))


def _sum_of(graph, *terms):
    if all(isinstance(x, Known) for _, x in terms):
        return map_known(
            lambda *values: sum(c * v for (c, _), v in zip(terms, values, strict=True)), terms[0][1].shape, *(x for _, x in terms)
        )
    return graph.linear([(c, x if isinstance(x, Known) else graph.tensor(x)) for c, x in terms])


def _product(graph, x, y):
    return graph.product(*(x if isinstance(x, Known) else graph.tensor(x) for x in (x, y)))


def _div(graph, x, y):
    if not isinstance(y, Known):
        raise Refusal("division by a tensor has no exact counterpart; divide by constants only")
    if any(v == 0 for v in y.values.reshape(-1)):
        raise Refusal("division by zero")
    return _product(graph, x, map_known(lambda v: 1 / Fraction(v), y.shape, y))


def _power(graph, x, exponent: int):
    if isinstance(x, Known):
        return map_known(lambda v: Fraction(v) ** exponent, x.shape, x)
    if exponent < 1:
        raise Refusal(f"the power {exponent} of a tensor has no exact counterpart; use positive powers")
    return reduce(lambda a, b: graph.product(a, b), [graph.tensor(x)] * exponent)


def _maximum(graph, eqn, x, y, inside_custom_jvp):
    # The derivative of a maximum at a tie is one half; inside a custom_jvp the user's rule gives it (0 for jax.nn.relu).
    if not inside_custom_jvp:
        raise Refusal("the derivative of a maximum at a tie is not that of ReLU; use jax.nn.relu(x)")
    shape = eqn.outvars[0].aval.shape
    x, y = graph.expand(x, shape), graph.expand(y, shape)
    return graph.select(graph.greater(x, y, shape), y, x)


def _convert(graph, eqn, x):
    kind = jnp.dtype(eqn.params["new_dtype"])
    if isinstance(x, Mask):
        return x if kind.kind == "b" else graph.tensor(x)
    if isinstance(x, Known):
        return map_known(lambda v: bool(v) if kind.kind == "b" else Fraction(v), x.shape, x)
    if not jnp.issubdtype(kind, jnp.floating) and jnp.issubdtype(eqn.invars[0].aval.dtype, jnp.floating):
        raise Refusal(f"conversion of a tensor to {kind} rounds or truncates; keep it floating-point")
    return x


def _dynamic_slice(graph, eqn, x, *starts):
    starts = _static(starts, x.shape, eqn.params["slice_sizes"])
    return graph.slice(x, starts, [a + n for a, n in zip(starts, eqn.params["slice_sizes"], strict=True)], None)


def _dynamic_update_slice(graph, eqn, x, part, *starts):
    if not isinstance(x, Known) or x.scalar != 0:
        raise Refusal("an update of a slice; build the array with concatenate")
    starts = _static(starts, x.shape, part.shape)
    padding = [(a, n - a - m, 0) for a, n, m in zip(starts, x.shape, part.shape, strict=True)]
    return graph.pad(part, Known.uniform(Fraction(0), ()), padding)


def _static(starts, shape, sizes) -> list[int]:
    if not all(isinstance(s, Known) for s in starts):
        raise Refusal("an index that depends on data or parameters; index with Python integers")
    return [min(max(int(s.scalar), 0), n - m) for s, n, m in zip(starts, shape, sizes, strict=True)]


def _squeeze(graph, eqn, x):
    return graph.reshape(x, eqn.outvars[0].aval.shape)


def _reverse(graph, eqn, x):
    axes = tuple(int(d) for d in eqn.params["dimensions"])
    return graph.structural("reverse", x, axes, x.shape, lambda a: np.flip(a, axes))


def _dot_general(graph, eqn, x, y):
    (contract, batch), shape = eqn.params["dimension_numbers"], eqn.outvars[0].aval.shape
    contract, batch = (tuple(tuple(int(d) for d in side) for side in pair) for pair in (contract, batch))
    if isinstance(x, Known) and isinstance(y, Known):
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
        environment[variable] = Known.of(value)

    def read(atom):
        return Known.of(atom.val) if isinstance(atom, Literal) else environment[atom]

    for eqn in jaxpr.eqns:
        values = [read(x) for x in eqn.invars]
        name, where = eqn.primitive.name, source_info_util.summarize(eqn.source_info) or place
        inner = next((p for p in eqn.params.values() if isinstance(p, (ClosedJaxpr, Jaxpr))), None)
        try:
            if name in CALLS and inner is not None:
                results = _interpret(graph, inner, values, where, inside_custom_jvp or name == "custom_jvp_call")
            elif name in ("max", "min") and not all(isinstance(x, Known) for x in values):
                if name == "min":
                    raise Refusal(CURES["min"])
                results = _maximum(graph, eqn, *values, inside_custom_jvp)
            elif name in RULES:
                results = RULES[name](graph, eqn, *values)
            elif all(isinstance(x, Known) for x in values):
                results = _evaluated(eqn, *values)
            else:
                raise Refusal(CURES.get(name, "it has no exact counterpart; use linear operations, products and ReLU"))
        except Refusal as error:
            shapes = [tuple(x.aval.shape) for x in eqn.invars]
            raise UnsupportedOperationError(f"primitive '{name}' on shapes {shapes} at {where}: {error}") from None
        for variable, value in zip(eqn.outvars, results if isinstance(results, list) else [results], strict=True):
            environment[variable] = value
    return [read(x) for x in jaxpr.outvars]


def _evaluated(eqn, *known):
    """An operation on constants for which there is no exact rule, in floating point."""
    if max([math.prod(v.aval.shape) for v in eqn.outvars], default=0) > 2**22:
        raise Refusal("a large array of constants; pass it as a parameter or as data")
    arrays = [jnp.asarray(np.array(k.full().tolist(), dtype=float), dtype=v.aval.dtype) for k, v in zip(known, eqn.invars, strict=True)]
    results = eqn.primitive.bind(*arrays, **eqn.params)
    tagged = any(k.tagged for k in known)
    results = [Known.of(r) for r in (results if eqn.primitive.multiple_results else [results])]
    return [Known(r.values, r.shape, tagged) for r in results]


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
    try:
        closed = jax.make_jaxpr(lambda g, s, p: jax.tree.leaves(optimizer.update(g, s, p)[0]))(shapes, state, shapes)
    except TypeError as error:  # of a rate that is a Fraction, for one
        cure = "give the learning rate as a number, such as 1 / 64, or as an optax schedule"
        raise UnsupportedOperationError(f"the optimizer cannot update parameters: {error}; {cure}") from None
    graph = Graph()
    gradients = [graph.node("gradient", (), (i,), x.shape) for i, x in enumerate(leaves)]
    weights = [graph.node("param", (), (i,), x.shape) for i, x in enumerate(leaves)]
    known = [Known(k.values, k.shape, True) for k in (Known.of(x) for x in first)]  # tagged: depends on the step
    rates: list[tuple[Fraction, ...]] = []
    changing = False
    try:
        results = _interpret(graph, closed, [*gradients, *known, *weights], "the optimizer")
    except UnsupportedOperationError as error:
        raise UnsupportedOperationError(f"the optimizer's update is not -rate * gradient; use optax.sgd(rate). {error}") from None
    for gradient, leaf, result in zip(gradients, leaves, results, strict=True):
        if isinstance(result, Known) and result.scalar == 0:
            c, base = Fraction(0), gradient
        else:
            c, base = scaling(result)
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
    tables = [tuple(memo.setdefault(u, -simplest(u, np.float32)) for u in updates[:, i]) for i in range(count)]
    return [table if len(set(table)) > 1 else table[:1] for table in tables]
