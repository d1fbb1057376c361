"""Tracing: a JAX loss and an optax optimizer to a ``Circuit`` of exact integer operations.

Three stages. (1) The jaxpr of ``jax.vjp(loss)`` is interpreted over *expressions* (``expressions.py``): real-valued tensors
with exact rational constants. The seed cotangent is the constant 1 with a tag, so that whatever depends on it is known to
be a gradient. (2) and (3) Operands of products are made narrow, and expressions become integer nodes (``lowering.py``), in
formats that suit the given batch (``formats.py``).

What is exact and what is refused: ``rules.py`` says it for data and parameters, ``folding.py`` for constants.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import exact
from ..circuit.circuit import Circuit
from ..errors import DataError, PrecisionError, PrecisionWarning, UnsupportedOperationError
from ..kernels.settings import fixed
from ..ops.leaves import MAX_CONSTANT, InputArray, Param
from . import places
from .arguments import Leaf, batch_arrays, check_loss, explained, input_names, whole, without_auxiliary
from .arguments import parameters as parameter_leaves
from .comparison import compare
from .constants import Known
from .expressions import Mask
from .folding import kind, limits, narrow
from .formats import Formats, coarser, default_formats, largest_values, widened, with_tables
from .graph import Graph, Program
from .interpreter import interpret
from .lowering import UNMOVED, emit
from .precision import Precision
from .rates import learning_rates
from .rules import NARROW


def trace(
    loss: Callable[..., Any],
    optimizer: Any,
    params: Any,
    *,
    batch: Sequence[Any],
    has_aux: bool = False,
    precision: Precision | None = None,
    steps: int | None = None,
    chunk: int = 16,
) -> Circuit:
    """Trace one training step ``params - rate * gradient(loss)`` to a circuit.

    loss:      ``loss(params, *batch)`` as for ``jax.grad``: a scalar, from linear operations, products and ReLU.
               Arrays that it captures are public constants of at most 4,096 entries. Floating-point arithmetic is taken as that of
               real numbers; what computes with constants alone is exact; integers and booleans of the batch are JAX's, or refused.
    optimizer: an optax optimizer whose updates are ``-rate * gradient``: ``optax.sgd``, with a constant rate or a schedule. The
               largest rate is met within 2^-12, the others of a schedule within ``Precision.rate_tolerance``; notes say how.
    params:    pytree of floating-point arrays (``nnx.State``, a linen dict, ...) or of ``jax.ShapeDtypeStruct``.
    batch:     tuple of arrays (or ShapeDtypeStructs), batch axis first; default formats are chosen to hold it.
    has_aux:   the loss returns (scalar, auxiliary output), as for ``jax.grad``; the latter is not looked at, and nothing is proven of it.
    steps:     the number of steps of a chain: a learning-rate schedule is tabulated for so many, and default formats are chosen
               that last so long, where there are any. Not needed for a constant rate.
    chunk:     the number of steps that one proof is planned to hold: bounds must hold for it, and table sizes suit it.

    The circuit is public, and holds nothing of params and batch but the formats chosen to hold them. With every format
    given in ``precision``, shapes suffice: an auditor gets the same digest from the same source without the data.

    Given arrays, the circuit's ``comparison`` holds its first step beside the user's own, and what rounding does to each tensor;
    a PrecisionWarning tells of tensors that lose much, and of a training that moves nothing.

    Raises: UnsupportedOperationError - no exact counterpart; names the primitive and the line of the user's source.
            PrecisionError - a bound could reach 2^63 within ``chunk`` steps. DataError - malformed params or batch.
    """
    precision = Precision() if precision is None else precision
    loss = without_auxiliary(loss) if has_aux else loss
    chunk, steps = whole("chunk", chunk), None if steps is None else whole("steps", steps)
    source = read(loss, optimizer, params, batch, steps)
    circuit = _bounded(source, precision, min(chunk, steps or chunk), steps or chunk)
    if UNMOVED in circuit.notes:
        warnings.warn(UNMOVED, PrecisionWarning, stacklevel=2)
    if source.samples():
        comparison = compare(circuit, loss, optimizer, source.parameters(params), source.batch, source.initial_bounds(circuit))
        for message in comparison.warnings(source.rate_tolerance(precision)):
            warnings.warn(message, PrecisionWarning, stacklevel=2)
        circuit = replace(circuit, comparison=comparison)
    return circuit


def _bounded(source: "Source", precision: Precision, chunk: int, steps: int) -> Circuit:
    """The circuit in the finest default formats in which bounds hold for all steps, or where there are none, for a chunk."""
    formats, coarsened = default_formats(source.program, source.batch, precision), 0
    held = refusal = None
    while formats is not None:
        try:
            circuit, _ = fit(source, formats, precision, chunk, source.samples())
            if coarsened:
                circuit = replace(circuit, notes=(*circuit.notes, f"formats {coarsened} bits coarser than by default, so that bounds hold"))
            initial = source.initial_bounds(circuit)
            circuit.bounds(initial, chunk)
            held = held or circuit
            circuit.bounds(initial, steps)
            return circuit
        except PrecisionError as error:
            refusal = refusal or error
        formats, coarsened = coarser(formats, precision), coarsened + 1
    if held is None:
        raise refusal
    return held


@dataclass(frozen=True, eq=False)
class Source:
    """What tracing has read of the user's program: the step as expressions, rates and parameters; no formats yet."""

    program: Program
    rates: list[tuple[Fraction, ...]]
    leaves: list[Leaf]
    batch: tuple[Any, ...]
    steps: int | None

    def samples(self) -> list[tuple[list[Any], tuple[Any, ...]]]:
        """Parameters and batch as one sample of the values that occur; none where only shapes are known."""
        parameters = [leaf.array for leaf in self.leaves]
        return [(parameters, self.batch)] if all(isinstance(x, np.ndarray) for x in (*parameters, *self.batch)) else []

    def parameters(self, params) -> Any:
        """The user's pytree of the arrays that were read."""
        return jax.tree.unflatten(jax.tree.structure(params), [leaf.array for leaf in self.leaves])

    def rate_tolerance(self, precision: Precision) -> float:
        """How far the first step's rates may be off; a schedule that begins with small ones may lose them."""
        largest = max(abs(r) for table in self.rates for r in table)
        small = any(len(table) > 1 and 16 * abs(table[0]) < largest for table in self.rates)
        return math.inf if small else precision.rate_tolerance

    def initial_bounds(self, circuit: Circuit) -> tuple[int, ...]:
        """What the range check of the given parameters will show of each."""
        shifts = (exact.coarse_shift(leaf.largest, circuit.weight_scale, circuit.table_bits) for leaf in self.leaves)
        return tuple(circuit.coarse_bound(s) for s in shifts)


def read(loss, optimizer, params, batch, steps: int | None) -> Source:
    """The first stage, with every check of the arguments; as for ``trace``."""
    steps = None if steps is None else max(steps, 2)  # a table of one rate would be a constant rate
    with fixed(x64=False):  # the same source gives the same circuit, whatever the process has set
        leaves, batch = parameter_leaves(params), batch_arrays(batch)
        program = _program(loss, params, leaves, batch)
        return Source(program, learning_rates(optimizer, params, leaves, steps), leaves, batch, steps)


def fit(source: Source, formats: Formats, precision: Precision, chunk: int, samples) -> tuple[Circuit, Formats]:
    """The circuit in these formats, which are widened, where ``precision`` leaves that open, until they hold all samples.

    samples: pairs of parameters and batch, as lists of arrays. Bounds are not checked.
    """
    circuit, kinds = emit(source.program, source.rates, source.leaves, formats, source.steps)
    wide = widened(formats, circuit, kinds, largest_values(circuit, samples), precision)
    if wide != formats:
        circuit, _ = emit(source.program, source.rates, source.leaves, wide, source.steps)
    return with_tables(circuit, precision, chunk).check(), wide


# ---- the first stage --------------------------------------------------------------------------------------------------


def _program(loss, params, leaves, batch) -> Program:
    """Stage one: the loss and the gradients as expressions."""
    check_loss(loss, params, batch)
    structure = jax.tree.structure(params)
    shapes = [jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype)) for leaf in leaves]
    data = [jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)) for x in batch]

    def applied(leaves, *batch):
        with explained("the loss", loss):  # here: JAX takes its own frames off what leaves it
            return loss(jax.tree.unflatten(structure, leaves), *batch)

    def value_and_pullback(leaves, seed, *batch):
        value, pullback = jax.vjp(lambda p: applied(p, *batch), leaves)
        return value, pullback(seed)[0]

    with explained("the loss", loss):
        value = jax.eval_shape(applied, shapes, *data)
        _check_scalar(value)
        closed = jax.make_jaxpr(value_and_pullback)(shapes, jax.ShapeDtypeStruct((), value.dtype), *data)
    graph = Graph()
    parameters = [graph.node(Param(i), (), leaf.shape) for i, leaf in enumerate(leaves)]
    inputs = [graph.node(InputArray(i), (), x.shape) for i, x in enumerate(data)]
    seed = Known.uniform(Fraction(1), (), tagged=True)
    place = places.of_function(loss)
    value, *gradients = interpret(graph, closed, [*parameters, seed, *(_typed(graph, *x) for x in zip(inputs, data, strict=True))], place)
    for result in (value, *gradients):
        if isinstance(result, Known) and any(isinstance(v, float) for v in result.values.reshape(-1)):
            raise UnsupportedOperationError(f"the loss or its gradient is not finite, whatever the data are, at {place}")
    for leaf, gradient in zip(leaves, gradients, strict=True):
        if isinstance(gradient, Known) and gradient.compact()[0].size > MAX_CONSTANT:
            raise UnsupportedOperationError(
                f"the gradient of parameter {leaf.path} does not depend on the data at {place}, and has more than {MAX_CONSTANT} entries; "
                "pass what it is made of as data"
            )
    for expression, leaf in zip(parameters, leaves, strict=True):
        graph.labels[expression] = leaf.path
    names = input_names(loss, len(batch))
    for expression, name in zip(inputs, names, strict=True):
        graph.labels[expression] = name
    return Program(graph, value, gradients, names)


def _check_scalar(value):
    if isinstance(value, (tuple, list, dict)):
        raise DataError(
            f"the loss returns a {type(value).__name__}; return the scalar alone, or (scalar, auxiliary output) with has_aux=True"
        )
    if not hasattr(value, "shape") or value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise DataError(f"the loss returns {value}; it must return one floating-point scalar, as for jax.grad")
    if narrow(value.dtype):
        raise UnsupportedOperationError(f"the loss is computed in {value.dtype}, whose rounding has no exact counterpart; {NARROW}")


def _typed(graph: Graph, x, data):
    """An array of the batch as its dtype has it.

    A boolean is where the committed value is above 0, a sign that the proof shows, so that it is 0 or 1 in the loss whatever
    was committed; True and False are committed as 1 and 0. An integer takes the values of its dtype.
    """
    if kind(data.dtype) == "b":
        return Mask(graph.above(x))
    if kind(data.dtype) == "i":
        graph.ranges[x] = limits(data.dtype)
    return x
