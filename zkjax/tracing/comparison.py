"""The circuit beside the user's own step, on the batch that tracing was given: does it compute the same, and what does rounding cost?"""

from collections.abc import Collection, Iterator

import numpy as np

from ..algebra import exact
from ..circuit import coarse, recurrence
from ..circuit.circuit import Circuit
from ..circuit.rounding import Comparison, Rounding, distance, ratio
from ..errors import PrecisionError

SINGLE = 2.0**-23  # relative distance of numbers in float32


def compare(circuit: Circuit, source) -> Comparison:
    """A step by the user's own code, by the circuit without rounding (in float64), and by the circuit in integers; and two steps by the
    first and the last.

    source: ``source.Source``, with arrays. The integers are not held against their formats: ``train`` does that.
    """
    first, committed = source.first(), [p for p in range(len(circuit.parameters)) if p not in circuit.given]
    (after, outputs), *_ = source.ahead
    loss = outputs["loss"] if "loss" in circuit.outputs else 0.0
    defined = all(np.isfinite(x).all() for x in (*first, *after, loss))  # else there is nothing that two steps are to follow
    inputs = [np.asarray(x, dtype=np.float64) for x in source.batch]
    data = [x * 2.0**y.scale for x, y in zip(inputs, circuit.inputs, strict=True)]
    rounded_data = [exact.nearest(x, y.scale).astype(np.int64) for x, y in zip(inputs, circuit.inputs, strict=True)]

    # Arrays of the states' sizes may be gigabytes: few of them are held, and none for longer than it is needed.
    weights = [x.astype(np.float64) / float(circuit.unit(p)) for p, x in enumerate(first)]
    read, zero, cancelled = {*circuit.rounded, *(x.node for x in circuit.losses)}, set(), {}
    floating, changes, _ = _steps(circuit, None, weights, data, 1, read, zero, cancelled)
    noise = {k for k, p in enumerate(circuit.parameters) if _cancels(circuit, p, zero, cancelled)}
    apart = [_apart(*x) for x in zip(changes, _moves(after, first), first, strict=True)]
    del changes
    _, _, rounded_weights = coarse.integers(circuit, {p: first[p].astype(np.float64) for p in committed})
    roundings = [Rounding.of(f"parameter {circuit.parameters[p].path}", weights[p], rounded_weights[p]) for p in committed]
    roundings = [x.within(float(np.abs(first[p]).max())) for p, x in zip(committed, roundings, strict=True)]
    del weights
    pairs = zip(circuit.inputs, data, rounded_data, strict=True)
    roundings += [Rounding.of(f"data '{x.name}'", a, b).of_input(x, float(np.abs(a).max())) for x, a, b in pairs]

    most = len(source.ahead) if defined else 1
    count = min(most, circuit.max_steps or most, circuit.period if circuit.recurrent else most)
    initial = source.initial_bounds(circuit)
    try:
        bounds = circuit.bounds(initial, count, cure=False)
    except PrecisionError:  # they were to hold for a chunk of one step
        count, bounds = 1, circuit.bounds(initial, 1)
    integers, changes, together = _steps(circuit, exact.plan(circuit, bounds.nodes), rounded_weights, rounded_data, count, read)
    judged = ((i, circuit.nodes[i], circuit.nodes[i].operation.judged) for i in circuit.rounded)
    nodes = [(i, Rounding.of(f"[{node.label}]", part(floating[i]), part(integers[i]))) for i, node, part in judged]
    roundings += [x.of_node(circuit, i, float(np.abs(floating[i]).max())) for i, x in nodes]
    found = enumerate(zip(circuit.parameters, apart, changes, _moves(after, first), first, strict=True))
    updates = tuple((p.path, 0.0, 0.0) if k in noise else (p.path, x, _apart(*y)) for k, (p, x, *y) in found)
    losses = (float(circuit.exact_loss(float(values[x.node]) for x in circuit.losses)) for values in (floating, integers))
    loss = (float(outputs["loss"]), *losses) if "loss" in circuit.outputs else None
    moved = [p for p in committed if p not in noise] if defined else []
    off = (_together(x, _moves(y, first), moved) for x, y in ((changes, after), (together, source.ahead[count - 1][0])))
    return Comparison(loss, updates, tuple(roundings), *off)


def _moves(after, before) -> Iterator[np.ndarray]:
    """What steps of the user's own have added to each state, one after another."""
    return (x.astype(np.float64) - y for x, y in zip(after, before, strict=True))


def _together(changes, own, states) -> float:
    """The distance of what is added to these states together."""
    apart = size = 0.0
    for p, (x, y) in enumerate(zip(changes, own, strict=True)):
        if p in states:
            apart, size = np.hypot(apart, np.linalg.norm(x - y)), np.hypot(size, np.linalg.norm(y))
    return ratio(apart, size)


def _apart(x, own, state) -> float:
    """The relative distance of an update from the user's own, less what float32 loses of the latter when it is added to the state."""
    size = np.linalg.norm(own)
    lost = SINGLE * np.linalg.norm(state.astype(np.float64)) / size if size else 0.0
    return max(0.0, distance(x, own) - float(lost))


def _cancels(circuit: Circuit, parameter, zero: Collection[int], cancelled: Collection[int]) -> bool:
    """Whether what moves a parameter is 0 because sums cancel: then float32 moves it by its own rounding alone.

    zero: nodes that are 0 in floating point. cancelled: nodes whose sums cancel.
    """
    feeds = () if parameter.recurrence is None else (node for node, _ in parameter.recurrence.feeds)
    stack, seen = [*(x.node for x in parameter.updates), *feeds], set()
    if not zero.issuperset(stack):
        return False
    while stack:
        i = stack.pop()
        if i in cancelled:
            return True
        if i not in seen and i in zero:
            seen.add(i)
            stack += circuit.nodes[i].inputs
    return False


def _steps(circuit: Circuit, limbs, states, inputs, count: int, read, zero=None, cancelled=None) -> tuple[dict, list, list]:
    """The values of the nodes ``read`` in a first step, and what is added to each state by it and by ``count`` steps; without limbs, for
    which there is one step, in floating point.

    states: in units of where they are rounded. zero: a set that gets the nodes that are 0. cancelled: as in ``exact.evaluate``.
    """
    rows = {s: recurrence.rows(circuit, s, 0, count) for s in circuit.recurrent}
    fed: dict = {(q, f): [] for q in circuit.recurrent for f in range(len(circuit.parameters[q].recurrence.feeds))}
    added, keys, first = [0] * len(states), circuit.keys(0, count), []
    for t in range(count):
        inside = [rows[s].value(0, t, states, fed, t) if s in rows else x + added[s] if t else x for s, x in enumerate(states)]
        moving = None
        if limbs is not None:
            own = {s: [x.feeds[s, f][1][t][t] for f in range(len(circuit.parameters[s].recurrence.feeds))] for s, x in rows.items()}
            moving = {s: (x.value(1, t, states, fed, t), own[s]) for s, x in rows.items()}
        given = {"keys": [x[t] for x in keys], "paces": circuit.paces(t), "cancelled": cancelled}
        with np.errstate(invalid="ignore"):  # a second step of a training that diverges
            values = exact.evaluate(circuit, limbs, inside, inputs, moving=moving, **given)
        for (q, f), found in fed.items():
            found.append(values[circuit.parameters[q].recurrence.feeds[f][0]])
        for s, parameter in enumerate(circuit.parameters):
            for use in parameter.updates:
                added[s] = added[s] - use.rate(t) * np.asarray(values[use.node], dtype=np.float64 if limbs is None else np.int64)
        if zero is not None:
            zero.update(i for i, x in enumerate(values) if not np.any(x))
        first = first or [{i: values[i] for i in read}, _changes(circuit, states, added, fed, 1)]
        del values
    return *first, first[1] if count == 1 else _changes(circuit, states, added, fed, count)


def _changes(circuit: Circuit, before, added, fed, count: int) -> list[np.ndarray]:
    """What steps have added to each state, from what they fed, and what they added to exact ones."""
    changes = []
    for s, (parameter, change) in enumerate(zip(circuit.parameters, added, strict=True)):
        if parameter.recurrence is not None:
            total = recurrence.rows(circuit, s, 0, count).value(2, 0, before, fed, count)
            change = np.asarray(total, dtype=np.float64) * 2.0**-parameter.recurrence.end - before[s]
        changes.append((change + np.zeros(parameter.shape)) * float(circuit.unit(s)))
    return changes
