"""Formats and circuits that follow from one another: from defaults to the formats of single tensors and states, and to a circuit."""

import math
from collections.abc import Sequence
from dataclasses import replace

from ..circuit.circuit import Circuit
from ..errors import PrecisionError
from .constants import Known
from .emission import Emission
from .expressions import Expression, Ratio, SquareRoot
from .formats import CANCELLED, GRADIENTS, Formats, Magnitudes, Seen, fitted, frozen_scale, with_tables
from .functions import constant
from .lowering import emit
from .motions import summed_states
from .precision import Precision
from .source import Source
from .states import state_formats

# Bits that coefficients have within a period, and whether weights beside multiplied states are rounded too; tried until bounds hold.
ATTEMPTS = ((8, False), (6, False), (8, True), (6, True), (4, False), (4, True))
MAX_ROUNDS = 4  # of formats and circuits that follow from one another


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
    emission, chosen = settled(source, formats, precision, magnitudes)
    return with_tables(emission.circuit, precision, chunk).check(), chosen


def settled(source: Source, formats: Formats, precision: Precision, magnitudes: Magnitudes) -> tuple[Emission, Formats]:
    """As ``fit``, before table widths are chosen."""
    formats = replace(formats, parameters=formats.parameters | _frozen_scales(source, formats, precision))
    emission, formats = _emitted(source, formats, precision, magnitudes)
    emission.names.check(precision)
    chosen = fitted(formats, _sizes(emission, formats, magnitudes), precision)
    for _ in range(MAX_ROUNDS if chosen != formats else 0):
        emission, formats = _emitted(source, chosen, precision, magnitudes)
        # What products could read as it was in the formats before may be rounded in these, and has none of its own yet.
        new = {name: seen for name, seen in _sizes(emission, formats, magnitudes).items() if name not in formats.tensors}
        if not new:
            break
        chosen = fitted(formats, new, precision)
        chosen = replace(chosen, refined=max(chosen.refined, formats.refined))
    return emission, formats


def _frozen_scales(source: Source, formats: Formats, precision: Precision) -> dict[str, int]:
    """Of the committed parameters that stay as they are and that the user says nothing of, by path."""
    frozen = [x for x in source.frozen if x.path not in (precision.parameters or {})]
    return {x.path: frozen_scale(x.largest, max(formats.more[0], formats.frozen) - formats.less.get(x.path, 0)) for x in frozen}


def _sizes(emission: Emission, formats: Formats, magnitudes: Magnitudes) -> dict[str, Seen]:
    """Of each rounded tensor what its format depends on."""
    seen, found = magnitudes.of(emission.circuit, emission.stands_for), {}
    still = _still(emission, magnitudes)
    for node, (name, kind) in emission.rounded.items():
        if kind in ("root", "quotient", "ratio") and _follows_from(emission.stands_for[node][0], still):
            seen[node] = 0.0
        if kind == "bounded":  # its bound
            seen[node] = 2.0 ** emission.circuit.nodes[node].operation.bits
        unit = abs(float(emission.stands_for[node][1])) / (float(emission.unit) if kind in GRADIENTS else 1.0)
        least = formats.of(name, kind)  # before its constant, a tensor has a finer unit at the same bits
        room = max(1.0, 2.0**-least.scale / unit) if kind not in ("function", "root", "quotient", "ratio") else 1.0
        room /= 2.0 ** max(0, getattr(emission.circuit.nodes[node].operation, "bits", 0) - least.bits)
        entries, known = math.prod(emission.circuit.nodes[node].shape), found.get(name, Seen(kind, 0.0, 0, False))
        largest = seen[node] or CANCELLED * magnitudes.noisy(emission.stands_for[node][0]) / abs(float(emission.stands_for[node][1]))
        grows = known.grows or magnitudes.grows(emission.stands_for[node][0])
        found[name] = Seen(kind, max(largest * unit * room, known.largest), max(entries, known.entries), grows)
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
