"""Finer formats, where in the defaults the first steps are too far from the user's own.

Signs of small gradients and of what is near 0 decide what an adaptive optimizer or a ReLU does, and no bits make all of them right.
Where bounds do not hold in finer formats, single tensors become coarser again, down to their defaults: those that what may leave the
field reads, through exact operations and states. So one tensor that has no room takes no bits of the others.
"""

import math
from dataclasses import replace
from fractions import Fraction

from ..circuit import bounds
from ..circuit.circuit import Circuit
from ..errors import PrecisionError
from ..ops.leaves import Next, Param
from .comparison import compare
from .emission import Emission
from .fitting import settled
from .formats import FINEST, Formats, Magnitudes, default_formats, with_tables
from .precision import Precision
from .source import Source

FAITHFUL = 0.005  # distance of the first steps' update beyond which finer formats are tried
# Bits by which activations and gradients are finer in what is tried. Rates alone may be what is off: those of all refinements are closer.
REFINEMENTS = ((0, 0), (1, 1), (1, 2), (2, 2), (3, 3), (4, 2), (4, 4))
NEARER = 3 / 4  # of a distance is one that counts as nearer: smaller differences on one batch are luck
PROOF = 2**21  # cells, in which a proof's cost is measured, that the smallest one costs too
RATE_TOLERANCE = Fraction(1, 128)  # of a schedule's rates, in finer formats
TRIALS = 4  # circuits at most, until bounds hold, of one refinement
MAX_TABLE_WORK = 2**24  # of finer formats, well below what a verifier is ready to do
ROUNDED = "weights are rounded where products read them, so that bounds hold"


def faithful(
    source: Source, circuit: Circuit, formats: Formats, precision: Precision, chunk: int, steps: int, magnitudes: Magnitudes
) -> tuple[Circuit, Formats]:
    """In finer default formats, where in these the first steps are too far from the user's own: those that bring them nearest for what
    they cost, half the distance being worth twice the cost."""
    near = precision.step_tolerance
    if circuit.comparison.off <= max(FAITHFUL, near):
        return circuit, formats
    least, (emission, _) = formats, settled(source, formats, precision, magnitudes)
    price = _price(circuit, chunk, circuit.comparison.off, near)
    for activations, gradients in REFINEMENTS:
        tried = default_formats(source.program, source.batch, precision, chunk, activations, gradients)
        given = {"weights": least.weights, "useful": least.useful, "rounded": least.rounded, "finer": FINEST[0]}
        less = dict(_too_wide(emission, activations))  # such tables would take long to fill here as well
        tried = replace(tried, rate_tolerance=min(least.rate_tolerance, RATE_TOLERANCE), less=less, **given)
        try:
            found, chosen = _held(source, tried, least, precision, chunk, steps, magnitudes)
        except PrecisionError:
            continue
        if _price(found, chunk, near, near) >= price or found.digest() == circuit.digest():
            continue
        found = replace(found, comparison=compare(found, source))
        own = _price(found, chunk, found.comparison.off, near)
        if own < price and found.comparison.off < NEARER * circuit.comparison.off:
            price = own
            finer = f"{activations} and {gradients}" if gradients != activations else f"{activations}"
            what = f"formats {finer} bits finer" if activations else "rates closer"
            notes = [ROUNDED] * (ROUNDED in circuit.notes)
            notes.append(f"{what} than by default, for in those the first steps were further from your own")
            circuit, formats = replace(found, notes=(*found.notes, *notes)), chosen
        if circuit.comparison.off <= near:
            break
    return circuit, formats


def _price(circuit: Circuit, chunk: int, off: float, near: float) -> float:
    """Of first steps at such a distance from the user's own: what a proof costs, times the distance; those within ``near`` count alike."""
    return (PROOF + circuit.counts(chunk).cost) * max(off, near)


def _held(
    source: Source, tried: Formats, least: Formats, precision: Precision, chunk: int, steps: int, magnitudes: Magnitudes
) -> tuple[Circuit, Formats]:
    """The circuit in these formats, or in some of which single tensors are coarser, but not coarser than in ``least``, in which bounds hold
    for all steps and tables take no more work than they may; and its formats. PrecisionError where there are none."""
    for _ in range(TRIALS):
        try:
            emission, chosen = settled(source, tried, precision, magnitudes)
        except PrecisionError:
            if tried.rate_tolerance == least.rate_tolerance:
                raise
            tried = replace(tried, rate_tolerance=least.rate_tolerance)  # weights may have no bits for closer rates
            continue
        circuit = with_tables(emission.circuit, precision, chunk).check()
        beyond = bounds.beyond(circuit, source.initial_bounds(circuit), min(steps, circuit.max_steps or steps))
        found = [(name, -(-bits // 2)) for kind, i, bits in beyond for name in _read(emission, kind, i)] + _too_wide(emission, 0)
        if not found:
            return circuit, chosen
        kinds, less = dict(emission.rounded.values()), dict(tried.less)
        for name, bits in found:
            kind, already = kinds.get(name), tried.less.get(name, 0)
            if kind:
                room = chosen.of(name, kind).bits - least.of(name, kind).bits
            else:  # a frozen state
                room = tried.more[0] - already
            less[name] = max(less.get(name, 0), already + max(0, min(bits, room)))
        if sum(less.values()) == sum(tried.less.values()):
            break
        tried = replace(tried, less=less)
    raise PrecisionError("bounds do not hold in finer formats")


def _read(emission: Emission, kind: str, i: int) -> set[str]:
    """The names of the rounded tensors, and the paths of the frozen states, that a node or a state reads through what is exact."""
    circuit, rounded = emission.circuit, emission.rounded
    found, seen, stack = set(), {(kind, i)}, [(kind, i)]
    while stack:
        kind, i = stack.pop()
        if kind == "node":
            operation = circuit.nodes[i].operation
            reads = [("state", operation.index)] if isinstance(operation, Param | Next) else [("node", j) for j in circuit.nodes[i].inputs]
        else:
            state, fed = circuit.parameters[i], circuit.parameters[i].recurrence
            reads = [("node", x.node) for x in state.updates]
            reads += [] if fed is None else [("node", j) for j, _ in fed.feeds] + [("state", r) for r, _ in fed.carry]
            found |= set() if reads else {state.path}
        found |= {rounded[j][0] for kind, j in reads if kind == "node" and j in rounded}
        stack += {x for x in reads if x not in seen and not (x[0] == "node" and x[1] in rounded)}
        seen.update(reads)
    return found


def _too_wide(emission: Emission, finer: int) -> list[tuple[str, int]]:
    """Of tensors whose functions are in tables, so many bits wider than here, which took too much work: names, and the bits by which their
    tables would take more than an equal share of what all may take."""
    sites = {i: {x.table for x in found if x.table.functions} for i, found in emission.circuit.lookups.items()}
    work = {x: sum(len(f.program) for f in x.functions) << x.width + finer for x in set().union(*sites.values())}
    if sum(work.values()) <= MAX_TABLE_WORK:
        return []
    most = {emission.rounded[i][0]: max(map(work.__getitem__, own)) for i, own in sites.items() if own and i in emission.rounded}
    share = MAX_TABLE_WORK / len(work)
    return [(name, math.ceil(math.log2(x / share))) for name, x in most.items() if x > share]
