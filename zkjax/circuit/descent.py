"""Which learning rates a circuit's updates amount to, told from the circuit alone. NumPy and the standard library only.

A circuit holds integers: an update subtracts n times some node, in units that nobody has to believe. But it also holds the
loss. So both are computed in floating point, without rounding, on random data and weights: if the update of a parameter
is a multiple of the loss's derivative in random directions, the multiple is the learning rate; else it is no descent on
this loss. All of it is arithmetic on what the digest covers. Integers that pick rows are drawn as such: others pick none, and
an embedding of which no row is read has no derivative.
"""

import hashlib
import itertools
import math
from collections import Counter

import numpy as np

from ..algebra import exact
from ..ops.functions import OneHot
from ..ops.leaves import InputArray, Next, Param

MAX_OPERATIONS = 2**36  # floating-point operations of all evaluations; larger circuits are not tried
MAX_LOOKS = 2**24  # of all nodes, for each parameter that is trained
MAX_PAIRS = 2**20  # of a node and a parameter by which it may be the gradient
MAX_ENTRIES = 2**27  # of all tensors of one evaluation
TRIALS = 2
STEP = 2.0**-24  # of a difference: long against float64's rounding, short against the distance to where a mask flips
AGREEMENT = 2e-3  # of the trials; constants are rounded to 12 bits


def learning_rates(circuit) -> tuple[tuple[float, ...] | None, ...] | None:
    """For each parameter the rate of every step (one if it is constant), or None where its update is no multiple of the gradient.

    None for a circuit that is too large to try. What follows from a state with a recurrence, such as a momentum, is no multiple.
    """
    read = _read(circuit, [loss.node for loss in circuit.losses if loss.output == "loss"])
    updates = _read(circuit, [u.node for p in circuit.parameters for u in p.updates])
    kept = [p.recurrence is not None or _follows_states(circuit, p) for p in circuit.parameters]
    trained = [i for i, updated in enumerate(circuit.updated()) if updated and not kept[i]]
    moved = _depending(circuit, trained, read, read | updates)
    if moved is None:
        return None
    with np.errstate(all="ignore"):  # what overflows agrees with nothing
        tried = [_tried(circuit, _values(trial), moved, read | updates) for trial in range(TRIALS)]
    found: list[tuple[float, ...] | None] = []
    for i, parameter in enumerate(circuit.parameters):
        if i not in trained:
            found.append(None if kept[i] else (0.0,))
            continue
        rates = [trial[i] for trial in tried]
        found.append(_of_all_steps(parameter, rates[0]) if _agreed(rates) else None)
    return tuple(found)


def gradients(circuit, nodes: set[int]) -> dict[int, tuple[int, float]]:
    """Which of these nodes are multiples of the loss's gradient: to each of them the parameter and the multiple, in the node's integers.

    Found as learning rates are; none of a circuit that is too large to try, and none that follows from a state after the step.
    """
    read, follows = _read(circuit, [loss.node for loss in circuit.losses if loss.output == "loss"]), []
    for node in circuit.nodes:
        follows.append(isinstance(node.operation, Next) or any(follows[j] for j in node.inputs))
    shapes = Counter(x.shape for x in circuit.parameters if x.given is None)
    tried = [i for i in sorted(nodes) if not follows[i] and circuit.nodes[i].shape in shapes]
    alike = {circuit.nodes[i].shape for i in tried}
    pairs, needed = sum(shapes[circuit.nodes[i].shape] for i in tried), read | _read(circuit, tried)
    work = sum(2 * TRIALS * shapes[circuit.nodes[i].shape] * math.prod(circuit.nodes[i].shape) for i in tried)
    if not tried or pairs > MAX_PAIRS or work > MAX_OPERATIONS:
        return {}
    moved = _depending(circuit, [p for p, x in enumerate(circuit.parameters) if x.given is None and x.shape in alike], read, needed)
    if moved is None:
        return {}
    with np.errstate(all="ignore"):
        trials = [_evaluated(circuit, _values(trial), moved, needed) for trial in range(TRIALS)]
        found = {}
        for i in tried:
            for p in (p for p in moved if circuit.parameters[p].shape == circuit.nodes[i].shape and i not in found):
                multiples = [float((values[i] * slopes[p][0]).sum()) / (slopes[p][1] or math.nan) for values, slopes in trials]
                if multiples[0] and _agreed(multiples):
                    found[i] = p, multiples[0]
    return found


def _agreed(found: list[float]) -> bool:
    return all(math.isfinite(x) and abs(x - found[0]) <= AGREEMENT * abs(found[0]) for x in found)


def _depending(circuit, parameters: list[int], read: set[int], needed: set[int]) -> dict[int, set[int]] | None:
    """Of each of these parameters the nodes of ``read`` that depend on it; None where looking, or evaluating ``needed``, takes too much."""
    if len(parameters) * len(circuit.nodes) > MAX_LOOKS:
        return None
    named = {node.operation.index for node in circuit.nodes if isinstance(node.operation, Param)}
    moved = {p: _moved(circuit, p) & read if p in named else set() for p in parameters}
    operations = TRIALS * (_operations(circuit, needed) + sum(_operations(circuit, nodes) for nodes in moved.values()))
    entries = sum(math.prod(x.shape) for x in (*circuit.nodes, *circuit.inputs, *circuit.parameters))
    return None if entries > MAX_ENTRIES or operations > MAX_OPERATIONS else moved


def _follows_states(circuit, parameter) -> bool:
    """Whether an update reads a state after the step."""
    return any(isinstance(circuit.nodes[i].operation, Next) for i in _read(circuit, [u.node for u in parameter.updates]))


def _of_all_steps(parameter, rate: float) -> tuple[float, ...] | None:
    """The rate of every step from that of the step with the largest one; None where uses change by different factors."""
    t, steps = _largest(parameter), max(len(u.rates) for u in parameter.updates)
    table = [[u.rate(s) / u.rate(t) if u.rate(t) else float(u.rate(s)) for s in range(steps)] for u in parameter.updates if any(u.rates)]
    return tuple(rate * x for x in table[0]) if all(row == table[0] for row in table) else None


def _largest(parameter) -> int:
    """The step with the largest rate of a parameter's first use that has any."""
    rates = next(u.rates for u in parameter.updates if any(u.rates))
    return max(range(len(rates)), key=lambda t: abs(rates[t]))


def _values(trial: int):
    """A function that makes arrays of uniform values of variance 1, always the same ones: they are public, and nobody can choose them."""
    count = itertools.count()

    def draw(shape) -> np.ndarray:
        stream = hashlib.shake_256(b"zkjax descent %d %d" % (trial, next(count))).digest(4 * math.prod(shape))
        return (np.frombuffer(stream, dtype="<u4").reshape(shape) * 2.0**-32 - 0.5) * math.sqrt(12)

    return draw


def _tried(circuit, draw, moved: dict[int, set[int]], needed: set[int]) -> dict[int, float]:
    """For each trained parameter: minus its update in a random direction, over the loss's derivative in this direction."""
    values, slopes = _evaluated(circuit, draw, moved, needed)
    found = {}
    for i, (along, slope) in slopes.items():
        parameter, t = circuit.parameters[i], _largest(circuit.parameters[i])
        change = sum(u.rate(t) * float((values[u.node] * along).sum()) for u in parameter.updates) * float(circuit.unit(i))
        found[i] = change / slope if slope else math.inf
    return found


def _evaluated(circuit, draw, moved: dict[int, set[int]], needed: set[int]) -> tuple[list, dict]:
    """The needed nodes at random data and weights, and of each parameter a random direction and the loss's derivative in it.

    moved: of each of these parameters the nodes of the loss that depend on it; without any it has no derivative, 0.
    """
    units = [circuit.inside(p) for p in range(len(circuit.parameters))]
    inputs = [draw(x.shape) * 2.0**x.scale for x in circuit.inputs]
    for i, size in _places(circuit).items():
        inputs[i] = np.floor((inputs[i] / math.sqrt(12) + 0.5) * size)

    def direction(parameter):
        summed = parameter.shape[:-1] or parameter.shape  # by a product: a deep net's outputs stay small, and its slopes numbers
        return draw(parameter.shape) / math.sqrt(math.prod(summed))

    def loss(values) -> float:
        return sum(float(x.factor) * float(values[x.node]) for x in circuit.losses if x.output == "loss")

    weights = [direction(p) / unit for p, unit in zip(circuit.parameters, units, strict=True)]
    values = exact.evaluate(circuit, None, weights, inputs, needed)
    here, found = loss(values), {}
    for i, nodes in moved.items():
        along = direction(circuit.parameters[i])
        elsewhere = [*weights[:i], weights[i] + STEP / units[i] * along, *weights[i + 1 :]]
        slope = (loss(exact.evaluate(circuit, None, elsewhere, inputs, nodes, values)) - here) / STEP if nodes else 0.0
        found[i] = along, slope
    return values, found


def _places(circuit) -> dict[int, int]:
    """Of inputs of integers that one-hots follow from, as of indices and labels: how many places the smallest of these has.

    A number below is a place in each of them, and of a vocabulary by digits one of the first; any other might have no value.
    """
    least, found = [math.inf] * len(circuit.nodes), {}
    for i, node in reversed([*enumerate(circuit.nodes)]):
        operation = node.operation
        if isinstance(operation, OneHot):
            least[i] = min(least[i], operation.size)
        if isinstance(operation, InputArray) and least[i] < math.inf and circuit.inputs[operation.index].scale == 0:
            found[operation.index] = min(int(least[i]), 2 ** circuit.inputs[operation.index].bits)
        for j in node.inputs:
            least[j] = min(least[j], least[i])
    return found


def _moved(circuit, parameter: int) -> set[int]:
    """The nodes that depend on a parameter."""
    found: set[int] = set()
    for i, node in enumerate(circuit.nodes):
        if node.operation == Param(parameter) or any(j in found for j in node.inputs):
            found.add(i)
    return found


def _read(circuit, nodes) -> set[int]:
    """These nodes and all that they follow from."""
    found, stack = set(), list(nodes)
    while stack:
        i = stack.pop()
        if i not in found:
            found.add(i)
            stack.extend(circuit.nodes[i].inputs)
    return found


def _operations(circuit, nodes) -> int:
    """Of floating point, in one evaluation of these nodes."""
    total = 0
    for i in nodes:
        node = circuit.nodes[i]
        terms = node.operation.summed(circuit.shapes(i)) or 1
        total += 2 * math.prod(node.shape) * terms + len(node.inputs)
    return total
