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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..algebra import exact
from ..circuit.circuit import Circuit
from ..errors import DataError, PrecisionError, PrecisionWarning, UnsupportedOperationError
from ..kernels.settings import fixed
from . import places
from .arguments import batch_arrays, check_loss, explained, input_names, whole, without_auxiliary
from .arguments import parameters as parameter_leaves
from .comparison import compare
from .constants import Known
from .folding import narrow
from .formats import Formats, coarser, default_formats, largest_values, widened, with_tables
from .interpreter import OPTIMIZER
from .lowering import UNMOVED, Emission, emit
from .motions import rows
from .precision import Precision
from .rules import NARROW
from .series import values
from .starts import CURE, first_state
from .states import state_formats
from .step import Program, Start, read_step

MAX_ROUNDS = 4  # of formats and circuits that follow from one another


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
    chunk, steps = whole("chunk", chunk), None if steps is None else whole("steps", steps)
    source = read(without_auxiliary(loss) if has_aux else loss, optimizer, params, batch, steps)
    return _traced(source, precision, min(chunk, steps or chunk), steps or chunk)


def _traced(source: "Source", precision: Precision, chunk: int, steps: int) -> Circuit:
    """The circuit of a step that was read, beside the user's own; warnings are of the line that called the caller's caller."""
    circuit = _bounded(source, precision, chunk, steps)
    if UNMOVED in circuit.notes:
        warnings.warn(UNMOVED, PrecisionWarning, stacklevel=3)
    if source.known:
        comparison = compare(circuit, source)
        for message in comparison.warnings(source.rate_tolerance(precision)):
            warnings.warn(message, PrecisionWarning, stacklevel=3)
        circuit = replace(circuit, comparison=comparison)
    return circuit


def _bounded(source: "Source", precision: Precision, chunk: int, steps: int) -> Circuit:
    """The circuit in the finest default formats in which bounds hold for all steps, or where there are none, for a chunk.

    Weights that read states which are multiplied stay exact, or, where bounds do not hold so, are rounded with them.
    """
    formats, coarsened = default_formats(source.program, source.batch, precision, chunk), 0
    held = refusal = None
    while formats is not None:
        for rounded in (False, True):
            try:
                circuit, _ = fit(source, replace(formats, rounded=rounded), precision, chunk, source.samples())
                if coarsened:
                    note = f"formats {coarsened} bits coarser than by default, so that bounds hold"
                    circuit = replace(circuit, notes=(*circuit.notes, note))
                initial = source.initial_bounds(circuit)
                circuit.bounds(initial, chunk)
                held = held or circuit
                circuit.bounds(initial, steps)
                return circuit
            except PrecisionError as error:
                refusal = refusal or error
            if not source.multiplied:
                break
        formats, coarsened = coarser(formats, precision), coarsened + 1
    if held is None:
        raise refusal
    return held


@dataclass(frozen=True, eq=False)
class Source:
    """What tracing has read of the user's program: the step as it is and as expressions, and arrays; no formats yet.

    step, state: the user's function, and a function that makes its state, a pytree of arrays.
    """

    program: Program
    step: Callable[..., Any]
    state: Callable[[], Any]
    batch: tuple[Any, ...]
    steps: int | None

    @property
    def known(self) -> bool:
        """Whether arrays were given, not only shapes."""
        return all(isinstance(x, np.ndarray) for x in (*(s.leaf.array for s in self.program.states if s.start is None), *self.batch))

    @property
    def multiplied(self) -> bool:
        """Whether some state is multiplied, so that weights may have to be rounded with it."""
        return any(row.carry.get(p) != 1 for p, row in enumerate(rows(self.program)))

    def samples(self) -> list[tuple[list[np.ndarray], tuple[Any, ...]]]:
        """States and batch as one sample of the values that occur; none where only shapes are known."""
        return [(self.first(), self.batch)] if self.known else []

    def first(self) -> list[np.ndarray]:
        """All states where a chain begins."""
        found: list[Any] = [s.leaf.array for s in self.program.states]
        for p, state in enumerate(self.program.states):
            if isinstance(state.start, Known):
                found[p] = state.start.full().astype(np.float64)
            elif state.start is not None:
                found[p] = found[state.start]
        return found

    def sizes(self) -> dict[int, float]:
        """The largest absolute value of each state where a chain begins; 1 where it is not known."""
        found: dict[int, float] = {}
        for p, state in enumerate(self.program.states):
            if isinstance(state.start, Known):
                found[p] = max(abs(float(v)) for v in state.start.values.reshape(-1))
            else:
                found[p] = self.program.states[p if state.start is None else state.start].leaf.largest
        return found

    def rate_tolerance(self, precision: Precision) -> float:
        """How far the first step's rates may be off; a schedule that begins with small ones may lose them."""
        tables = [values(c) for row in rows(self.program) for c in (*row.carry.values(), *row.feeds.values())]
        largest = max((abs(v) for table in tables for v in table), default=1)
        return math.inf if any(len(table) > 1 and 16 * abs(table[0]) < largest for table in tables) else precision.rate_tolerance

    def initial_bounds(self, circuit: Circuit) -> tuple[int, ...]:
        """What the first proof of a chain will show of each state."""
        found = []
        for p, state in enumerate(self.program.states):
            odd, scale = circuit.scale(p)
            found.append(circuit.coarse_bound(exact.coarse_shift(state.leaf.largest / odd, scale, circuit.table_bits)))
        return tuple(circuit.given_bound(p, found) if p in circuit.given else bound for p, bound in enumerate(found))


def read(loss, optimizer, params, batch, steps: int | None) -> Source:
    """The first stage, with every check of the arguments; as for ``trace``."""
    steps = None if steps is None else max(steps, 2)  # a table of one rate would be a constant rate
    with fixed(x64=False):  # the same source gives the same circuit, whatever the process has set
        leaves, batch = parameter_leaves(params), batch_arrays(batch)
        check_loss(loss, params, batch)
        data = [jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)) for x in batch]
        tree = jax.tree.structure(params)
        shapes = tree.unflatten([jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)) for x in leaves])
        applied = _applied(loss)
        with explained("the loss", loss):
            _check_scalar(jax.eval_shape(applied, shapes, *data))
        kept, kept_shapes = first_state(optimizer, shapes, leaves)
        step = _standard_step(applied, optimizer)
        start = [*(Start(x, None) for x in leaves), *kept]
        structure = jax.tree.structure((shapes, kept_shapes))
        names, place = input_names(loss, len(batch)), places.of_function(loss)
        with explained("the loss", loss):
            program = read_step(step, structure, start, data, names, steps, place)

    def state():
        params = tree.unflatten([x.array for x in leaves])
        return params, optimizer.init(params)

    return Source(program, step, state, batch, steps)


def _applied(loss):
    """The loss, whose errors are explained here: JAX takes its own frames off what leaves it."""

    def applied(params, *batch):
        with explained("the loss", loss):
            return loss(params, *batch)

    return applied


def _standard_step(applied, optimizer):
    """What optax's users write: the gradient, the optimizer's update of it, and its sum with the parameters."""

    def step(state, *batch):
        params, kept = state
        value, gradient = jax.value_and_grad(applied)(params, *batch)
        with explained("the optimizer's update", optimizer.update, CURE), jax.named_scope(OPTIMIZER):
            updates, kept = optimizer.update(gradient, kept, params)
            params = optax.apply_updates(params, updates)
        return (params, kept), {"loss": value}

    return step


def fit(source: Source, formats: Formats, precision: Precision, chunk: int, samples) -> tuple[Circuit, Formats]:
    """The circuit in these formats, which are widened, where ``precision`` leaves that open, until they hold all samples.

    samples: pairs of states and batch, as lists of arrays. Bounds are not checked.
    """
    emission, formats = _emitted(source, formats, precision, samples)
    seen = largest_values(emission.circuit, samples, emission.circuit.rounded)
    wide = widened(formats, emission.circuit, emission.kinds, seen, precision)
    if wide != formats:
        emission, wide = _emitted(source, wide, precision, samples)
    return with_tables(emission.circuit, precision, chunk).check(), wide


def _emitted(source: Source, formats: Formats, precision: Precision, samples) -> tuple[Emission, Formats]:
    """With formats of the states that are multiplied, which follow from the circuit, and it from them."""
    formats = replace(formats, states=precision.states or {})
    for _ in range(MAX_ROUNDS):
        emission = emit(source.program, formats, source.steps)
        feeds = {node for x in emission.moved.values() for node, _, _ in x.feeds}
        seen = largest_values(emission.circuit, samples, feeds)
        found = state_formats(emission.moved, emission.units, source.sizes(), seen)
        paths = {source.program.states[p].leaf.path: x for p, x in found.items()} | dict(precision.states or {})
        if paths == formats.states:
            break
        formats = replace(formats, states=paths)
    return emission, formats


# ---- the first stage --------------------------------------------------------------------------------------------------


def _check_scalar(value):
    if isinstance(value, (tuple, list, dict)):
        raise DataError(
            f"the loss returns a {type(value).__name__}; return the scalar alone, or (scalar, auxiliary output) with has_aux=True"
        )
    if not hasattr(value, "shape") or value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise DataError(f"the loss returns {value}; it must return one floating-point scalar, as for jax.grad")
    if narrow(value.dtype):
        raise UnsupportedOperationError(f"the loss is computed in {value.dtype}, whose rounding has no exact counterpart; {NARROW}")
