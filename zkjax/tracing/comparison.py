"""The circuit beside the user's own step, on the batch that tracing was given: does it compute the same, and what does rounding cost?"""

from collections.abc import Collection

import numpy as np

from ..algebra import exact
from ..circuit import coarse, recurrence
from ..circuit.circuit import Circuit
from ..circuit.rounding import Comparison, Rounding, distance
from ..errors import PrecisionError

SINGLE = 2.0**-23  # relative distance of numbers in float32


def compare(circuit: Circuit, source) -> Comparison:
    """A step by the user's own code, by the circuit without rounding (in float64), and by the circuit in integers; and two steps by the
    first and the last.

    source: ``source.Source``, with arrays. The integers are not held against their formats: ``train`` does that.
    """
    states = source.program.states
    first = [x.astype(np.float64) for x in source.first()]
    (after, outputs), *_ = source.ahead
    own = [x.astype(np.float64) - before for x, before in zip(after, first, strict=True)]
    loss = outputs["loss"] if "loss" in circuit.outputs else 0.0
    defined = all(np.isfinite(x).all() for x in (*own, loss))  # else there is nothing that two steps are to follow
    inputs = [np.asarray(x, dtype=np.float64) for x in source.batch]
    weights = [x / float(circuit.unit(p)) for p, x in enumerate(first)]
    data = [x * 2.0**y.scale for x, y in zip(inputs, circuit.inputs, strict=True)]
    _, _, rounded_weights = coarse.integers(circuit, {p: first[p] for p in range(len(states)) if p not in circuit.given})
    rounded_data = [exact.nearest(x, y.scale).astype(np.int64) for x, y in zip(inputs, circuit.inputs, strict=True)]
    most = len(source.ahead) if defined else 1
    count = min(most, circuit.max_steps or most, circuit.period if circuit.recurrent else most)
    initial = source.initial_bounds(circuit)
    try:
        bounds = circuit.bounds(initial, count, cure=False)
    except PrecisionError:  # they were to hold for a chunk of one step
        count, bounds = 1, circuit.bounds(initial, 1)
    limbs = exact.plan(circuit, bounds.nodes)
    floating, changes, _ = _steps(circuit, None, weights, data, 1, cancelled := {})
    integers, integer_changes, together = _steps(circuit, limbs, rounded_weights, rounded_data, count)
    committed = [p for p in range(len(states)) if p not in circuit.given]
    roundings = [Rounding.of(f"parameter {circuit.parameters[p].path}", weights[p], rounded_weights[p]) for p in committed]
    roundings = [x.within(float(np.abs(first[p]).max())) for p, x in zip(committed, roundings, strict=True)]
    pairs = zip(circuit.inputs, data, rounded_data, strict=True)
    roundings += [Rounding.of(f"data '{x.name}'", a, b).of_input(x, float(np.abs(a).max())) for x, a, b in pairs]
    judged = ((i, node, node.operation.judged) for i, node in ((i, circuit.nodes[i]) for i in circuit.rounded))
    nodes = [(i, Rounding.of(f"[{node.label}]", part(floating[i]), part(integers[i]))) for i, node, part in judged]
    roundings += [x.of_node(circuit, i, float(np.abs(floating[i]).max())) for i, x in nodes]
    noise = {k for k, p in enumerate(circuit.parameters) if _cancels(circuit, p, floating, cancelled)}
    found = enumerate(zip(circuit.parameters, first, own, changes, integer_changes, strict=True))
    updates = tuple(
        (p.path, 0.0, 0.0) if k in noise else (p.path, _apart(x, change, w), _apart(y, change, w)) for k, (p, w, change, x, y) in found
    )
    losses = (float(circuit.exact_loss(float(values[x.node]) for x in circuit.losses)) for values in (floating, integers))
    loss = (float(outputs["loss"]), *losses) if "loss" in circuit.outputs else None
    later = [x.astype(np.float64) - before for x, before in zip(source.ahead[count - 1][0], first, strict=True)]
    moved = [p for p in committed if p not in noise]
    off = (_together(x, y, moved) if defined and moved else 0.0 for x, y in ((integer_changes, own), (together, later)))
    return Comparison(loss, updates, tuple(roundings), *off)


def _together(changes, own, states) -> float:
    """The distance of what is added to these states together."""
    return distance(*(np.concatenate([x[p].reshape(-1) for p in states]) for x in (changes, own)))


def _apart(x, own, state) -> float:
    """The relative distance of an update from the user's own, less what float32 loses of the latter when it is added to the state."""
    size = np.linalg.norm(own)
    lost = SINGLE * np.linalg.norm(state) / size if size else 0.0
    return max(0.0, distance(x, own) - float(lost))


def _cancels(circuit: Circuit, parameter, values, cancelled: Collection[int]) -> bool:
    """Whether what moves a parameter is 0 because sums cancel: then float32 moves it by its own rounding alone.

    values: of all nodes in floating point. cancelled: nodes whose sums cancel.
    """
    feeds = () if parameter.recurrence is None else (node for node, _ in parameter.recurrence.feeds)
    stack, seen = [*(x.node for x in parameter.updates), *feeds], set()
    if any(np.any(values[i]) for i in stack):
        return False
    while stack:
        i = stack.pop()
        if i in cancelled:
            return True
        if i not in seen and not np.any(values[i]):
            seen.add(i)
            stack += circuit.nodes[i].inputs
    return False


def _steps(circuit: Circuit, limbs, states, inputs, count: int, cancelled=None) -> tuple[list, list, list]:
    """The values of all nodes in a first step, and what is added to each state by it and by ``count`` steps; without limbs, for which there
    is one step, in floating point.

    states: in units of where they are rounded. cancelled: as in ``exact.evaluate``.
    """
    rows = {s: recurrence.rows(circuit, s, 0, count) for s in circuit.recurrent}
    fed: dict = {(q, f): [] for q in circuit.recurrent for f in range(len(circuit.parameters[q].recurrence.feeds))}
    added, keys, first = [0] * len(states), circuit.keys(0, count), []
    for t in range(count):
        inside = [rows[s].value(0, t, states, fed, t) if s in rows else x + added[s] for s, x in enumerate(states)]
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
        first = first or [values, _changes(circuit, states, added, fed, 1)]
    return *first, _changes(circuit, states, added, fed, count)


def _changes(circuit: Circuit, before, added, fed, count: int) -> list[np.ndarray]:
    """What steps have added to each state, from what they fed, and what they added to exact ones."""
    changes = []
    for s, (parameter, change) in enumerate(zip(circuit.parameters, added, strict=True)):
        if parameter.recurrence is not None:
            total = recurrence.rows(circuit, s, 0, count).value(2, 0, before, fed, count)
            change = np.asarray(total, dtype=np.float64) * 2.0**-parameter.recurrence.end - before[s]
        changes.append((change + np.zeros(parameter.shape)) * float(circuit.unit(s)))
    return changes
