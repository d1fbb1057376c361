"""How large integers become: bounds of every node and parameter in a chunk of steps, and how long a chain can be.

A proof shows relations modulo p = 2^64 - 2^32 + 1. They are relations between integers where no side of them can reach 2^63;
that is derived here, from the ranges that lookups show and from the sizes of the operations, and never measured.

PROTOCOL.md, section 5.4.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import PrecisionError
from ..ops.operation import LIMIT
from ..ops.ranges import Part, farthest, residues_differ, signed_bound
from . import recurrence

BEYOND = 2**128  # in place of larger bounds, which would grow with every operation of a hostile circuit


@dataclass(frozen=True)
class Bounds:
    """Largest absolute values: of every node, of every parameter inside the chunk, and after its last step."""

    nodes: tuple[int, ...]
    inside: tuple[int, ...]
    final: tuple[int, ...]


class Longest(NamedTuple):
    """For how many steps bounds hold (None: for as many as anybody wants), what ends them, and what to change.

    ends: whether no chain can have more steps, for a schedule has no more; else a later chunk can range-check its first weights anew.
    """

    steps: int | None
    limit: str
    cure: str
    ends: bool = False


def derive(circuit, initial: tuple[int, ...], steps: int, first_step: int = 0, cure: bool = True) -> Bounds:
    """Derive every bound for a chunk whose parameters start within ``initial`` (absolute values, one per parameter).

    Raises PrecisionError, naming the operation, where a relation or an integer could reach 2^63; with ``cure``, which takes
    many times as long, it says what to change.
    """
    if circuit.max_steps is not None and first_step + steps > circuit.max_steps:
        raise PrecisionError(
            f"steps {first_step}..{first_step + steps - 1} go beyond the {circuit.max_steps} steps that the learning-rate schedule "
            f"was traced for; give steps={first_step + steps} to zkjax.trace"
        )
    nodes, inside, final, ends = _of_chunk(circuit, initial, steps, first_step)
    problem = _beyond(circuit, nodes, final, ends)
    if problem is not None:
        advice = f"; {_cure(circuit, initial, steps, first_step)}" if cure else ""
        raise PrecisionError(f"{problem} in a chunk of {steps} steps{advice}")
    return Bounds(nodes=tuple(nodes), inside=inside, final=final)


def _of_chunk(circuit, initial: tuple[int, ...], steps: int, first_step: int):
    """Of nodes, of parameters before the last update, and after it; and of the sums that the rounding of states reads."""
    inside: list[int | None] = [None] * len(circuit.parameters)
    final = list(initial)
    nodes: list[int | None] = [None] * len(circuit.nodes)
    after: list[int | None] = [None] * len(circuit.parameters)
    ends: dict[int, int] = {}
    leaves = circuit.leaves(inside, after)
    for kind, i in circuit.levels.order:  # a parameter's bound follows from its updates', which may read other parameters
        if kind == "node":
            nodes[i] = _of_node(circuit, i, nodes, leaves)
            continue
        if circuit.parameters[i].recurrence is not None:
            inside[i], after[i], ends[i] = _moved(circuit, i, initial, nodes, steps, first_step)
            final[i] = signed_bound(circuit.parameters[i].recurrence.bits + 1)
            continue
        inside[i] = initial[i]
        for update in circuit.parameters[i].updates:
            before, end = _growth(update, steps, first_step)
            inside[i] += before * nodes[update.node]
            final[i] += end * nodes[update.node]
    return nodes, tuple(inside), tuple(final), ends


def _moved(circuit, s: int, initial, nodes: list, steps: int, first_step: int) -> tuple[int, int, int]:
    """Of a state with a recurrence: before a step, after it, and of the sum that its rounding reads. nodes: bounds of what feeds it."""
    found = [0, 0, 0]
    for start, length in _distinct(circuit, s, first_step, steps):
        rows = recurrence.rows(circuit, s, start, length)
        held = {r: max(initial[r], signed_bound(circuit.parameters[r].recurrence.bits + 1)) for r in rows.states}
        fed = {(q, f): [nodes[circuit.parameters[q].recurrence.feeds[f][0]]] * length for q, f in rows.feeds}
        for which, j in (*((w, j) for w in range(2) for j in range(length)), (2, 0)):
            found[which] = max(found[which], sum(abs(c) * bound for c, bound in rows.terms(which, j, held, fed, length)))
    return tuple(min(x, BEYOND) for x in found)


def _distinct(circuit, s: int, first_step: int, steps: int):
    """The periods of a chunk, of those with equal coefficients one: all that are whole, where none of a state's depends on the step."""
    scheduled = any(len(table) > 1 for r in recurrence.group(circuit, s) for table in circuit.parameters[r].tables())
    if scheduled or steps <= 2 * circuit.period:
        return recurrence.periods(first_step, steps, circuit.period)
    period, end = circuit.period, first_step + steps
    start = -(-first_step // period) * period
    first, last = (first_step, start - first_step), (end - end % period, end % period)
    return [*recurrence.periods(*first, period), (start, period), *recurrence.periods(*last, period)]


def _growth(update, steps: int, first_step: int) -> tuple[int, int]:
    """The sums of an update's rates, in absolute value, before a chunk's last step and with it."""
    if len(update.rates) == 1:
        return abs(update.rates[0]) * (steps - 1), abs(update.rates[0]) * steps
    rates = [abs(update.rate(t)) for t in range(first_step, first_step + steps)]
    return sum(rates[:-1]), sum(rates)


def _beyond(circuit, nodes: list[int], final: tuple[int, ...], ends: dict[int, int]) -> str | None:
    """What could leave the field first, and how far it may reach."""
    return next((problem for *_, problem in _all_beyond(circuit, nodes, final, ends)), None)


def _all_beyond(circuit, nodes: list[int], final: tuple[int, ...], ends: dict[int, int]) -> Iterator[tuple[str, int, int, str]]:
    """All that could: a node or a state, its number, how many times as far as the limit it may reach, rounded up, and this in words."""
    for i in range(len(circuit.nodes)):
        if (worst := _of_relations(circuit, i, nodes)) >= LIMIT:
            yield "node", i, worst // LIMIT + 1, f"{circuit.describe(i)} may reach {_power(worst)}, beyond 2^63,"
    for loss in circuit.losses:
        if (worst := residues_differ(nodes[loss.node])) >= LIMIT:  # a revealed integer, and the one it stands for
            reached = f"the loss, {circuit.describe(loss.node)}, may reach {_power(nodes[loss.node])}, beyond 2^62,"
            yield "node", loss.node, worst // LIMIT + 1, reached
    for s, bound in ends.items():
        if (worst := _of_rounding(circuit.parameters[s].recurrence, bound)) >= LIMIT:
            reached = f"state {circuit.parameters[s].path} may reach {_power(worst)} before it is rounded, beyond 2^63,"
            yield "state", s, worst // LIMIT + 1, reached
    for s, (parameter, bound) in enumerate(zip(circuit.parameters, final, strict=True)):
        if (worst := residues_differ(bound)) >= LIMIT:  # the committed weights, and those that the next chunk takes them for
            yield "state", s, worst // LIMIT + 1, f"parameter {parameter.path} may reach {_power(bound)}, beyond 2^62,"


def beyond(circuit, initial: tuple[int, ...], steps: int) -> list[tuple[str, int, int]]:
    """What could leave the field in the first steps: "node" or "state", its number, and how many bits too far it may reach, rounded up."""
    nodes, _, final, ends = _of_chunk(circuit, initial, steps, 0)
    return [(kind, i, times.bit_length()) for kind, i, times, _ in _all_beyond(circuit, nodes, final, ends)]


def _of_relations(circuit, i: int, nodes: list[int]) -> int:
    """How far a node, or a side of a relation that shows its value, can be from 0."""
    return max(nodes[i], reach(circuit, i, nodes), circuit.nodes[i].operation.reach([nodes[j] for j in circuit.nodes[i].inputs]))


def _of_rounding(found, bound: int) -> int:
    """The same of a state's rounding: 2^end h' and a remainder are the sum with this bound, modulo p. found: its recurrence."""
    h = signed_bound(found.bits + 1)
    return farthest(1 << found.end >> 1, ((1, -bound, bound), (-(1 << found.end), -h, h - 1), (-1, 0, (1 << found.end) - 1)))


def reach(circuit, i: int, nodes: list[int] | tuple[int, ...]) -> int:
    """How far a column of this node's lookups can be from a row of its table, in absolute value; nodes: bounds of all nodes.

    Committed tensors lie in the tables in which they are looked up. Below p, what is looked up modulo p is an integer of the table.
    """
    found = ((c, (*((k, -nodes[j], nodes[j]) for k, j in read), *rest)) for c, read, rest in circuit.equations.get(i, ()))
    return max((farthest(*form) for form in found), default=0)


def equations(circuit) -> dict[int, list[tuple]]:
    """Of each node, of the first column of each lookup less a row of its table: its constant, nodes that it reads, and the rest."""
    largest: dict = {}
    for i, lookups in circuit.lookups.items():
        largest |= circuit.nodes[i].operation.committed_bounds(i, circuit)
        for lookup in lookups:
            constant, parts = lookup.columns[0]
            if constant == 0 and parts == (Part(1, lookup.key),):
                largest[lookup.key] = (1 << lookup.table.width) - 1
    found: dict[int, list[tuple]] = {}
    for i, lookups in circuit.lookups.items():
        for lookup in lookups:
            constant, parts = lookup.columns[0]
            read = [(part.coefficient, part.key[1]) for part in parts if part.key[0] == "node"]
            rest = [(x.coefficient * x.most(lookup.shape), 0, largest[x.key]) for x in parts if x.key[0] != "node"]
            found.setdefault(i, []).append((constant, read, [*rest, (-1, 0, (1 << lookup.table.width) - 1)]))
    return found


def _problem(circuit, initial: tuple[int, ...], steps: int, first_step: int) -> str | None:
    """What could leave the field within so many steps."""
    nodes, _, final, ends = _of_chunk(circuit, initial, steps, first_step)
    return _beyond(circuit, nodes, final, ends)


def longest_chain(circuit, initial: tuple[int, ...] | None = None, first_step: int = 0) -> Longest:
    """For how many steps bounds hold from here on, in chunks of any length: one chunk of all steps has the largest bounds.

    initial: largest absolute values of the parameters before it; default: the least that a range check shows.
    """
    initial = _least(circuit) if initial is None else initial
    scheduled = None if circuit.max_steps is None else circuit.max_steps - first_step

    def problem(steps: int) -> str | None:
        return _problem(circuit, initial, steps, first_step)

    most = LIMIT if scheduled is None else max(0, scheduled)
    if most == 0 or problem(most) is None:
        limit = f"the learning-rate schedule was traced for {circuit.max_steps} steps"
        cure = "give more steps to zkjax.trace"
        return Longest(None, "", "") if scheduled is None else Longest(most, limit, cure, ends=True)
    longest = _largest(lambda steps: problem(steps) is None, most)
    cure = "give their number to zkjax.trace (steps=), whose default formats are then coarser, or coarser formats (Precision)"
    return Longest(longest, f"{problem(longest + 1)} in step {first_step + longest}", cure)


def lasting(circuit) -> tuple[list[int | None], int | None]:
    """Of each node, and of all states together, for how many steps at least its own bounds hold, a power of two, whatever others do.

    0: not for one. None: for as many as ``longest_chain`` looks at. Parameters begin within the least that a range check shows.
    """
    most = LIMIT if circuit.max_steps is None else circuit.max_steps
    lengths = [*(2**k for k in range(63) if 2**k < most), most]
    read, held = {loss.node for loss in circuit.losses}, [0] * (len(circuit.nodes) + 1)
    for at, steps in enumerate(lengths):
        nodes, _, final, ends = _of_chunk(circuit, _least(circuit), steps, 0)
        for i in (i for i, n in enumerate(held) if n == at):
            if i < len(nodes):
                worst = max(_of_relations(circuit, i, nodes), residues_differ(nodes[i]) if i in read else 0)
            else:
                worst = max(*(_of_rounding(circuit.parameters[s].recurrence, b) for s, b in ends.items()), *map(residues_differ, final), 0)
            held[i] += worst < LIMIT
        if at + 1 not in held:
            break
    *found, states = (None if n == len(lengths) else lengths[n - 1] if n else 0 for n in held)
    return found, states


def _least(circuit) -> tuple[int, ...]:
    """The least that a range check of initial parameters shows: that they are signed integers that fit the largest table."""
    return (signed_bound(circuit.table_bits),) * len(circuit.parameters)


def _cure(circuit, initial: tuple[int, ...], steps: int, first_step: int) -> str:
    """What to change: the length of the chunk, the first weights, or, where these do not help, formats and sizes."""

    def fits(initial, steps: int) -> bool:
        return _problem(circuit, initial, steps, first_step) is None

    longest = _largest(lambda n: fits(initial, n), steps)
    cures = [f"use chunks of at most {longest} steps"] if longest else []
    if fits(_least(circuit), steps):
        cures.append("train with a smaller learning rate, with which weights grow less" if first_step else "use smaller initial parameters")
    if not longest:
        cures.append(
            f"give fewer of the {_finest(circuit)} bits after the point of parameters, which are those of activations, of gradients and of "
            "the learning rate together (a smaller Precision.activation_scale or gradient_scale, or scales of single tensors in "
            "Precision.tensors), or a learning rate that is neither tiny nor huge"
        )
    return ", or ".join(cures)


def _finest(circuit) -> int:
    """The most bits after the point of a parameter."""
    return max(circuit.scale(p)[1] for p in range(len(circuit.parameters)))


def of_nodes(circuit, parameters: Sequence[int | None] | None, after: Sequence[int | None] | None = None) -> list:
    """Largest absolute value of each node, 2^128 if it is more; None where it depends on parameters whose bounds are not given."""
    bounds: list = []
    leaves = circuit.leaves(parameters, after)
    for i in range(len(circuit.nodes)):
        bounds.append(_of_node(circuit, i, bounds, leaves))
    return bounds


def _of_node(circuit, i: int, bounds: list, leaves) -> int | None:
    """bounds: of what it reads."""
    node = circuit.nodes[i]
    bound = node.operation.bound([bounds[j] for j in node.inputs], circuit.shapes(i), leaves)
    return bound and min(bound, BEYOND)


def _largest(holds, beyond: int) -> int:
    """The largest n below ``beyond`` with ``holds(n)``, of a property that holds from 0 up to some number; 0 if there is none."""
    below, above = -1, (beyond - 1).bit_length() if beyond > 1 else 0
    while above - below > 1:  # its power of two first: most are small
        middle = (below + above) // 2
        below, above = (middle, above) if 2**middle < beyond and holds(2**middle) else (below, middle)
    low, high = 2**below if below >= 0 else 0, min(2**above, beyond)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _power(value: int) -> str:
    return f"2^{math.log2(value):.2f}"
