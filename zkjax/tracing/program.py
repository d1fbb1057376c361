"""Tracing: a training step, of a JAX loss and an optax optimizer or the user's own, to a ``Circuit`` of exact integer operations.

Three stages. (1) The step's jaxpr is interpreted over *expressions* (``step.py``, ``expressions.py``): real-valued tensors with exact
rational constants. Where JAX transposes, the constant that a pullback begins with gets a tag, so that whatever depends on it is
known to be a gradient. What follows from the step's number alone is a number of every step (``series.py``). (2) What the step makes of
each state is a row of coefficients (``motions.py``): states stay exact, or are rounded once in a period. (3) Operands of products are
made narrow, and expressions become integer nodes (``lowering.py``, ``states.py``), in formats that suit the given batch (``formats.py``).

What is exact and what is refused: ``rules.py`` says it for data and parameters, ``folding.py`` for constants.
"""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..circuit import counts
from ..circuit.circuit import Circuit
from ..errors import DataError, PrecisionError, PrecisionWarning
from ..ops.leaves import Param
from ..ops.products import Dot
from .arguments import whole, without_auxiliary
from .comparison import compare
from .expressions import biases, unmoved
from .finer import ROUNDED, faithful
from .fitting import fit, lasting
from .formats import FINEST, Formats, Magnitudes, coarser, default_formats, explicit
from .lowering import UNMOVED
from .precision import Precision
from .source import Source, read, read_own

LASTING = 16  # chunks: weights beside multiplied states are rounded too, if their bounds do not last so long
ROOMS = (5, 4, 3, 2, 1)  # bits by which ranges are wider at most, where tables are there for them
FROZEN = (4, 3, 2, 1)  # bits by which parameters that stay as they are are finer at most
AS_CHEAP = 1.02  # times the cost
LONG = 2**12  # steps of a chain; one that may be shorter becomes no shorter by them
SLIGHTLY = 2  # bits by which formats become coarser before weights are rounded that products read but a few times
ROUNDED_WEIGHT = 4  # lookups of a weight that is rounded for products


def trace(
    loss: Callable[..., Any],
    optimizer: Any,
    params: Any,
    *,
    batch: Sequence[Any],
    has_aux: bool = False,
    state: Any = None,
    key: Any = None,
    full_batch: bool = False,
    precision: Precision | None = None,
    steps: int | None = None,
    chunk: int = 16,
) -> Circuit:
    """Trace one training step, of a loss and an optimizer, to a circuit.

    loss:      ``loss(params, *batch)`` as for ``jax.grad``: a scalar, from what docs/traced.md lists: layers of Flax, losses of optax,
               loops over data. Arrays that it captures are public constants of at most 4,096 entries. Floating-point arithmetic is taken as
               that of real numbers; what computes with constants alone is exact; integers and booleans of the batch are JAX's, or refused.
    optimizer: an optax optimizer: updates that are sums of gradients, parameters and its own state, their products, roots, quotients and
               signs, with coefficients that follow from the step. What a step multiplies (a momentum, decaying weights) is rounded once
               in a period of steps; weights stay exact where their bounds allow it. The largest rate of exact weights is met within
               2^-12, others of a schedule within ``Precision.rate_tolerance``; notes say how.
    params:    pytree of floating-point arrays (``nnx.State``, a linen dict, ...) or of ``jax.ShapeDtypeStruct``.
    batch:     tuple of arrays (or ShapeDtypeStructs), batch axis first; default formats are chosen to hold it. () for a program without
               data: ``loss(params)``.
    state:     of a model, any pytree; the loss is then ``loss(params, state, *batch) -> (scalar, new state)``.
    key:       a random key, ``jax.random.key(0)``; the loss's last argument is then ``jax.random.fold_in(key, t)`` in step t. It is public,
               and what is drawn from it too: masks of dropout, samples that are compared with a number. Dropout's 1 / keep is met
               within 2^-8, exactly where it is short.
    full_batch: the arrays of ``batch`` are all the data, of any shapes, without a batch axis, as of a graph; every step reads them whole.
    has_aux:   the loss returns (scalar, auxiliary output), as for ``jax.grad``; nothing is proven of the latter (see ``train``'s callback).
    steps:     the number of steps of a chain: a learning-rate schedule is tabulated for so many, and default formats are chosen
               that last so long, where there are any. Not needed for a constant rate.
    chunk:     the number of steps that one proof is planned to hold: bounds must hold for it, and table sizes suit it.

    The circuit is public, and holds nothing of params and batch but the formats chosen to hold them. ``circuit.precision`` has them all:
    given back as ``precision``, from its file, shapes suffice, and an auditor gets the same digest from the same source without the data.

    Given arrays, the circuit's ``comparison`` holds its first step beside the user's own, and what rounding does to each tensor;
    a PrecisionWarning tells of tensors that lose much, and of a training that moves nothing.

    Raises: UnsupportedOperationError - no exact counterpart; names the primitive and the line of the user's source.
            PrecisionError - a bound could reach 2^63 within ``chunk`` steps. DataError - malformed params or batch.
    """
    precision = Precision() if precision is None else precision
    chunk, steps = whole("chunk", chunk), None if steps is None else whole("steps", steps)
    scalar, auxiliary = (without_auxiliary(loss, state is not None), loss) if has_aux else (loss, None)
    source = read(scalar, optimizer, params, batch, steps, state, key, full_batch, auxiliary)
    return _traced(source, precision, min(chunk, steps or chunk), steps)


def trace_step(
    train_step: Callable[..., Any],
    state: Any,
    batch: Sequence[Any],
    *,
    key: Any = None,
    full_batch: bool = False,
    outputs: Sequence[str] = (),
    precision: Precision | None = None,
    steps: int | None = None,
    chunk: int = 16,
) -> Circuit:
    """Trace a training step of the user's own, ``train_step(state, *batch) -> state`` or ``-> (state, outputs)``, to a circuit.

    train_step: jitted or not, with ``jax.value_and_grad`` and ``optimizer.update`` inside.
    state:      any pytree of arrays: a ``TrainState``, ``(params, opt_state)``, with averages, statistics, counters. What depends on
                counters alone is public. What lies in a state of optax (or in something called ``opt_state``) and holds equal numbers is
                given by the circuit where a chain begins; all other floating-point arrays are committed.
    batch:      tuple of arrays, or of ``jax.ShapeDtypeStruct``, batch axis first; () for a program without data.
    key:        a random key; the step's last argument is then ``jax.random.fold_in(key, t)``. Keys in the state are the step's own.
    full_batch: ``batch`` has no batch axis, as for ``trace``.
    outputs:    names of scalars in the dictionary ``outputs`` which a proof may reveal; they are part of the circuit.
    Else as for ``trace``, whose notes hold here too.
    """
    precision = Precision() if precision is None else precision
    chunk, steps = whole("chunk", chunk), None if steps is None else whole("steps", steps)
    if isinstance(outputs, str) or not all(isinstance(name, str) for name in outputs):
        raise DataError(f"outputs is {outputs!r}; give a tuple of names, such as ('loss',)")
    source = read_own(train_step, state, batch, tuple(dict.fromkeys(outputs)), steps, key, full_batch)
    return _traced(source, precision, min(chunk, steps or chunk), steps)


def _traced(source: Source, precision: Precision, chunk: int, steps: int | None) -> Circuit:
    """The circuit of a step that was read, beside the user's own; warnings are of the line that called the caller's caller."""
    given, steps = steps, steps or (LASTING * chunk if source.multiplied else chunk)
    magnitudes = Magnitudes(source.samples(), lambda: source.later)
    circuit, formats, lasts = _bounded(source, precision, chunk, steps, magnitudes)
    if source.known:
        circuit = replace(circuit, comparison=compare(circuit, source))
        if lasts and precision.untouched:
            circuit, formats = faithful(source, circuit, formats, precision, chunk, given or LASTING * chunk, magnitudes)
        if lasts and not precision.complete:
            circuit, formats = _roomy(source, circuit, formats, precision, chunk, steps, magnitudes)
    circuit = replace(circuit, precision=explicit(formats, circuit, precision), own=source.own)
    if UNMOVED in circuit.notes:
        warnings.warn(UNMOVED, PrecisionWarning, stacklevel=3)
    told = circuit.comparison.warnings(source.rate_tolerance(precision), not precision.untouched) if source.known else ()
    for message in told:
        warnings.warn(message, PrecisionWarning, stacklevel=3)
    return circuit


def _roomy(
    source: Source, circuit: Circuit, formats: Formats, precision: Precision, chunk: int, steps: int, magnitudes: Magnitudes
) -> tuple[Circuit, Formats]:
    """In the same formats with wider ranges, for what training makes of the tensors of the first batch, and with finer parameters that stay
    as they are, where that costs hardly more. Bounds hold for as many steps, up to LONG, and no format becomes coarser."""
    tables, longest = counts.tables(circuit, chunk), circuit.longest_chain(source.initial_bounds(circuit)).steps
    steps = max(steps, LONG if longest is None else min(longest, LONG))
    most = AS_CHEAP * circuit.counts(chunk).cost

    def first(candidates):
        for tried in candidates:
            attempts = ((tried.useful, tried.rounded),)
            try:
                found, chosen, lasts = lasting(source, tried, (tried.finer,), precision, chunk, steps, magnitudes, attempts)
            except PrecisionError:
                continue
            if lasts and found.counts(chunk).cost <= most:
                return replace(found, comparison=circuit.comparison, notes=circuit.notes), chosen
        return circuit, formats

    circuit, formats = first(replace(formats, room=room, tables=tables) for room in ROOMS)
    before = formats
    if any(x.path not in (precision.parameters or {}) for x in source.frozen):
        circuit, formats = first(replace(formats, frozen=finer) for finer in FROZEN if finer > formats.more[0])
    return (circuit if formats is before else replace(circuit, comparison=compare(circuit, source))), formats


def _bounded(source: Source, precision: Precision, chunk: int, steps: int, magnitudes: Magnitudes) -> tuple[Circuit, Formats, bool]:
    """The circuit in the finest default formats in which bounds hold for all steps, or where there are none, for a chunk; these; and
    whether they are no coarser than the defaults, with bounds that hold for all steps."""
    formats = default_formats(source.program, source.batch, precision, chunk)
    held = refusal = None
    if precision.complete and not source.known:  # nothing is left to choose, and bounds are for those to check who know the weights
        return *fit(source, formats, precision, chunk, magnitudes), False
    for candidate, finest, coarsened in _candidates(source, formats, precision, chunk, magnitudes):
        try:
            circuit, chosen, lasts = lasting(source, candidate, finest, precision, chunk, steps, magnitudes)
            notes = [f"formats {coarsened} bits coarser than by default, so that bounds hold"] if coarsened else []
            notes += [ROUNDED] if candidate.weights - formats.weights else []
            circuit = replace(circuit, notes=(*circuit.notes, *notes))
            if lasts:
                return circuit, chosen, not coarsened
            held = held or (circuit, chosen)
        except PrecisionError as error:
            refusal = refusal or error
    if held is None:  # say it of the defaults, with what may be done about it
        circuit, _ = fit(source, default_formats(source.program, source.batch, precision, chunk), precision, chunk, magnitudes)
        circuit.bounds(source.initial_bounds(circuit), chunk)
        raise refusal
    return *held, False


def _candidates(
    source: Source, formats: Formats, precision: Precision, chunk: int, magnitudes: Magnitudes
) -> Iterator[tuple[Formats, Sequence[int], int]]:
    """What ``lasting`` tries one after another, until bounds hold: defaults, with rounded weights where these are few, then coarser ones;
    the bits by which single scales may be finer, and by which all are coarser."""
    yield formats, FINEST[:1], 0
    found = _rounded_weights(source, formats, precision, chunk, magnitudes)
    if not found:
        yield formats, FINEST[1:], 0
    for weights in found or [formats.weights]:
        tried, coarsened = replace(formats, weights=weights), 0
        if found:
            yield tried, FINEST, 0
        while (tried := coarser(tried, precision)) is not None and (coarsened < SLIGHTLY or not found or weights is found[-1]):
            coarsened += 1
            yield tried, FINEST[-2:], coarsened


def _rounded_weights(source: Source, formats: Formats, precision: Precision, chunk: int, magnitudes: Magnitudes) -> list[frozenset[str]]:
    """Paths of the weights to round for products: those that products read many times, as convolutions do; and all of them, if rounding
    them takes no more than what a step looks up anyway. With them what is added to products, whose bits would be those of the sum.

    Exact weights have the bits of activations, gradients and the learning rate together, in every bound: rounded ones leave room for all.
    """
    if precision.tensors is not None or precision.complete:
        return []
    read: Counter = Counter()
    for x in (x for x in source.program.graph.expressions if x.does(Dot)):
        read.update({y: math.prod(x.shape) for y in map(unmoved, x.inputs) if y.does(Param)})
    added = {y for x in source.program.graph.expressions for y in map(unmoved, biases(x))}
    trained = [x for x in read if not source.rows[x.operation.index].frozen(x.operation.index)]
    often = {x for x in trained if read[x] >= ROUNDED_WEIGHT * math.prod(x.shape)}
    try:
        circuit, _ = fit(source, formats, precision, chunk, magnitudes)
    except PrecisionError:  # for another reason than bounds
        return []
    few = sum(ROUNDED_WEIGHT * math.prod(x.shape) for x in trained) <= circuit.counts(chunk).lookups / chunk
    sets = [often] * bool(often) + [{*trained}] * (few and len(often) < len(trained))
    if source.program.graph.normalised:  # which needs the finest formats
        sets, added = sets[-1:], set()
    return [frozenset(source.program.states[x.operation.index].leaf.path for x in (*found, *added)) for found in sets]
