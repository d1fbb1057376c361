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
from .constants import Known
from .expressions import Expression, Ratio, SquareRoot, biases, unmoved
from .formats import FINEST, GRADIENTS, Formats, Magnitudes, Seen, coarser, default_formats, explicit, fitted, frozen_scale, with_tables
from .functions import constant
from .lowering import UNMOVED, Emission, emit
from .motions import summed_states
from .precision import Precision
from .source import Source, read, read_own
from .states import state_formats

LASTING = 16  # chunks: weights beside multiplied states are rounded too, if their bounds do not last so long
# Bits that coefficients have within a period, and whether weights beside multiplied states are rounded too; tried until bounds hold.
ATTEMPTS = ((8, False), (6, False), (8, True), (6, True), (4, False), (4, True))
FAITHFUL = 0.03  # distance of the first steps' update beyond which finer formats are tried
# Bits by which activations and gradients are finer in what is tried, until the first steps are near: the finest first, for what is near on
# one batch may not be so on another, and lookups are hardly more.
REFINEMENTS = ((4, 4), (4, 2), (2, 2), (2, 1), (4, 0), (2, 0))
MAX_TABLE_WORK = 2**24  # of finer formats, well below what a verifier is ready to do
ROOM = (5, 4, 3, 2, 1)  # bits by which ranges are wider at most, where tables are there for them
AS_CHEAP = 1.02  # times the cost
WORTH = 0.75  # share of the distance that may be left where they are taken
SLIGHTLY = 2  # bits by which formats become coarser before weights are rounded that products read but a few times
ROUNDED_WEIGHT = 4  # lookups of a weight that is rounded for products
ROUNDED = "weights are rounded where products read them, so that bounds hold"
MAX_ROUNDS = 4  # of formats and circuits that follow from one another


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

    loss:      ``loss(params, *batch)`` as for ``jax.grad``: a scalar, from what docs/traced.md lists: layers of Flax, losses of optax, loops
               over data. Arrays that it captures are public constants of at most 4,096 entries. Floating-point arithmetic is taken as
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
    steps = steps or (LASTING * chunk if source.multiplied else chunk)
    magnitudes = Magnitudes(source.samples(), source.later)
    circuit, formats, lasts = _bounded(source, precision, chunk, steps, magnitudes)
    if source.known:
        circuit = replace(circuit, comparison=compare(circuit, source))
        if lasts and precision.untouched:
            circuit, formats = _faithful(source, circuit, formats, precision, chunk, steps, magnitudes)
        if lasts and not precision.complete:
            circuit, formats = _roomy(source, circuit, formats, precision, chunk, steps, magnitudes)
    circuit = replace(circuit, precision=explicit(formats, circuit, precision), own=source.own)
    if UNMOVED in circuit.notes:
        warnings.warn(UNMOVED, PrecisionWarning, stacklevel=3)
    told = circuit.comparison.warnings(source.rate_tolerance(precision), not precision.untouched) if source.known else ()
    for message in told:
        warnings.warn(message, PrecisionWarning, stacklevel=3)
    return circuit


def _faithful(
    source: Source, circuit: Circuit, formats: Formats, precision: Precision, chunk: int, steps: int, magnitudes: Magnitudes
) -> tuple[Circuit, Formats]:
    """In finer default formats, where in these the first steps are too far from the user's own and in those they are much nearer.

    Signs of small gradients and of what is near 0 decide what an adaptive optimizer or a ReLU does, and no bits make all of them right.
    """
    for activations, gradients in REFINEMENTS:
        if circuit.comparison.off <= FAITHFUL:
            break
        tried = default_formats(source.program, source.batch, precision, chunk, activations, gradients)
        try:
            tried = replace(tried, weights=formats.weights)
            attempts = ((formats.useful, formats.rounded),)
            found, chosen, lasts = lasting(source, tried, FINEST[:1], precision, chunk, steps, magnitudes, attempts)
        except PrecisionError:
            continue
        if not lasts or _table_work(found) > MAX_TABLE_WORK:
            continue
        found = replace(found, comparison=compare(found, source))
        if found.comparison.off <= WORTH * circuit.comparison.off:
            finer = f"{activations} and {gradients}" if gradients != activations else f"{activations}"
            notes = [ROUNDED] * (ROUNDED in circuit.notes)
            notes.append(f"formats {finer} bits finer than by default, for in those the first steps were further from your own")
            circuit, formats = replace(found, notes=(*found.notes, *notes)), chosen
    return circuit, formats


def _roomy(
    source: Source, circuit: Circuit, formats: Formats, precision: Precision, chunk: int, steps: int, magnitudes: Magnitudes
) -> tuple[Circuit, Formats]:
    """In the same formats with wider ranges, for what training makes of the tensors of the first batch, where that costs hardly more.

    Bounds hold for as many steps, and no value of the first step changes.
    """
    tables = counts.tables(circuit, chunk)
    for room in ROOM:
        tried, attempts = replace(formats, room=room, tables=tables), ((formats.useful, formats.rounded),)
        try:
            found, chosen, lasts = lasting(source, tried, (formats.finer,), precision, chunk, steps, magnitudes, attempts)
        except PrecisionError:
            continue
        if lasts and found.counts(chunk).cost <= AS_CHEAP * circuit.counts(chunk).cost:
            return replace(found, comparison=circuit.comparison, notes=circuit.notes), chosen
    return circuit, formats


def _table_work(circuit: Circuit) -> int:
    """Instructions that its tables of functions take, which every verifier fills."""
    tables = {x.table for found in circuit.lookups.values() for x in found}
    return sum(len(column.program) << table.width for table in tables for column in table.functions)


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


def lasting(
    source: Source,
    formats: Formats,
    finest: Sequence[int],
    precision: Precision,
    chunk: int,
    steps: int,
    magnitudes: Magnitudes,
    attempts: Sequence[tuple[int, bool]] = ATTEMPTS,
) -> tuple[Circuit, Formats, bool]:
    """The circuit in formats that follow from these defaults, these formats, and whether bounds hold for all steps, or for a chunk alone.

    Scales of single tensors are finer than the default by what ``finest`` says, in this order, at most. Weights that read states which
    are multiplied stay exact, or, where bounds do not hold so, are rounded with them: ``attempts``, as ATTEMPTS, if there are such states.
    """
    held = refusal = None
    used = finest[0] + 1  # bits by which some scale is finer
    for finer in finest:
        if finer >= used:
            continue
        for useful, rounded in attempts if source.multiplied and precision.states is None else attempts[:1]:
            try:
                tried = replace(formats, finer=finer, useful=useful, rounded=rounded)
                circuit, chosen = fit(source, tried, precision, chunk, magnitudes)
                used = min(used, chosen.refined)
                initial = source.initial_bounds(circuit)
                circuit.bounds(initial, chunk, cure=False)
                held = held or (circuit, chosen)
                circuit.bounds(initial, min(steps, circuit.max_steps or steps), cure=False)
                return circuit, chosen, True
            except PrecisionError as error:
                refusal = refusal or error
    if held is None:
        raise refusal
    return *held, False


def fit(source: Source, formats: Formats, precision: Precision, chunk: int, magnitudes: Magnitudes) -> tuple[Circuit, Formats]:
    """The circuit in formats that follow from these defaults and, where ``precision`` leaves that open, from the samples; and these.

    magnitudes: of the samples. Bounds are not checked.
    """
    formats = replace(formats, parameters=_frozen_scales(source, formats.more[0]) | formats.parameters)
    emission, formats = _emitted(source, formats, precision, magnitudes)
    emission.names.check(precision)
    chosen = fitted(formats, _sizes(emission, formats, magnitudes), precision)
    if chosen != formats:
        emission, chosen = _emitted(source, chosen, precision, magnitudes)
    return with_tables(emission.circuit, precision, chunk).check(), chosen


def _frozen_scales(source: Source, finer: int) -> dict[str, int]:
    """Of the committed parameters that stay as they are, by path, so many bits finer than by default."""
    states = enumerate(zip(source.program.states, source.rows, strict=True))
    return {s.leaf.path: frozen_scale(s.leaf.largest, finer) for p, (s, row) in states if row.frozen(p) and s.start is None}


def _sizes(emission: Emission, formats: Formats, magnitudes: Magnitudes) -> dict[str, Seen]:
    """Of each rounded tensor what its format depends on."""
    seen, found = magnitudes.of(emission.circuit, emission.stands_for), {}
    still = _still(emission, magnitudes)
    for node, (name, kind) in emission.rounded.items():
        if kind in ("root", "ratio") and _follows_from(emission.stands_for[node][0], still):
            seen[node] = 0.0
        unit = abs(float(emission.stands_for[node][1])) / (float(emission.unit) if kind in GRADIENTS else 1.0)
        room = max(1.0, 2.0 ** -formats.of(name, kind).scale / unit)  # before its constant, a tensor has a finer unit at the same bits
        room = 1.0 if kind in ("function", "root", "ratio") else room
        entries, known = math.prod(emission.circuit.nodes[node].shape), found.get(name, Seen(kind, 0.0, 0))
        found[name] = Seen(kind, max(seen[node] * unit * room, known.largest), max(entries, known.entries))
    return found


def _still(emission: Emission, magnitudes: Magnitudes) -> set[int]:
    """The states that begin with 0 and that only what is 0 on all samples feeds: what samples have of them, rounding left there."""

    def is_zero(x) -> bool:
        return constant(x) is None and not magnitudes.largest(emission.stands_for[emission.feeds[x][0]][0])

    begin = {p for p, x in emission.moved.items() if isinstance(x.state.start, Known) and x.state.start.scalar == 0}
    return {p for p in begin if set(emission.rows[p].carry) <= {p} and emission.rows[p].feeds and all(map(is_zero, emission.rows[p].feeds))}


def _follows_from(x: Expression, states: set[int]) -> bool:
    """Whether it is 0 where these states and what feeds them are: a root, a quotient or a multiple of them."""
    while x.does(Ratio) or x.does(SquareRoot) and not x.operation.least:
        x = x.inputs[0]
    return bool(found := summed_states(x)) and found <= states


def _emitted(source: Source, formats: Formats, precision: Precision, magnitudes: Magnitudes) -> tuple[Emission, Formats]:
    """With formats of the states that are multiplied, which follow from the circuit, and it from them."""
    formats = replace(formats, states=precision.states or {})
    for _ in range(MAX_ROUNDS):
        emission = emit(source.program, source.rows, formats, source.steps)
        magnitudes.of(emission.circuit, emission.stands_for)
        feeds = {}  # of one node, tensors differ by a factor at most
        for x, (node, factor) in emission.feeds.items():
            name, own = emission.stands_for[node]
            feeds[x] = magnitudes.largest(name) * abs(float(factor / own))
        still = _still(emission, magnitudes)
        noise = {x for x in feeds if x.does(Ratio) and _follows_from(x, still)}  # a quotient of what rounding leaves is as large as others
        feeds |= dict.fromkeys(noise, max((v for x, v in feeds.items() if x.does(Ratio) and x not in noise), default=1.0))
        found = state_formats(emission, source.sizes, feeds, formats.useful, source.remembered)
        paths = {source.program.states[p].leaf.path: x for p, x in found.items()} | dict(precision.states or {})
        if paths == formats.states:
            break
        formats = replace(formats, states=paths)
    for p, state in enumerate(source.program.states):
        if isinstance(state.start, int) and emission.units[p] > emission.units[state.start]:
            raise PrecisionError(
                f"state {state.leaf.path} begins as a copy of finer numbers; give it the scale of what it copies (Precision.states)"
            )
    return emission, formats
