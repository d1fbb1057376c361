"""Levels: in which order claims go down, from the products at the top to what is committed.

A claim on a product becomes claims on its operands, so the *level* of a node is the number of products that can stand above one
another below it, itself included; linear operations add nothing. A parameter is a sum of its updates' values in earlier steps:
it has their level, whatever the steps are. A cycle would be a claim that goes up again, and is refused.

    0   committed tensors and constants
    1   gates, products of two committed tensors
    2   products of these: in a plain net those of the updates, and with them the parameters
    3   products of parameters: in a plain net those of the forward and the backward pass

PROTOCOL.md, section 5.3.
"""

from dataclasses import dataclass

from ..errors import UnsupportedOperationError
from .recurrence import group

MAX_DEPTH = 32  # levels of a circuit
GATES = 1
STATES = ("param", "next", "inner", "last")  # kinds of terms on a parameter: before a step, after it, before it is rounded
LOWEST = 2  # level of a product that is no gate, and of a parameter


@dataclass(frozen=True)
class Levels:
    """Of every node, and of every parameter. order: both, ("node", i) and ("param", p), each after all that its level follows from."""

    nodes: tuple[int, ...]
    parameters: tuple[int, ...]
    order: tuple[tuple, ...]

    @property
    def depth(self) -> int:
        return max((*self.nodes, *self.parameters), default=0)

    def of(self, key: tuple) -> int:
        """The level of what a term is on, at the end of its walk; 0 for what is committed."""
        kind = key[0]
        return self.parameters[key[1]] if kind in STATES else self.nodes[key[1]] if kind in ("dot", "gate") else 0


def levels(circuit) -> Levels:
    """Raises UnsupportedOperationError for a parameter whose update depends on itself without rounding in between."""
    found: dict[tuple, int] = {}
    path: dict[tuple, None] = {}  # from a root down to where the search is, as an ordered set
    parameters = [("param", p) for p in range(len(circuit.parameters))]
    nodes = [("node", i) for i in range(len(circuit.nodes))]
    stack = [*reversed(nodes), *reversed(parameters)]
    while stack:
        key = stack[-1]
        below = () if key in found else _below(circuit, key)
        missing = [under for under in below if under not in found]
        if key not in found and not missing:
            found[key] = _level(circuit, key, max((found[under] for under in below), default=0))
        if missing:
            path[key] = None
            if any(under in path for under in missing):
                raise UnsupportedOperationError(_cycle(circuit, path, next(under for under in missing if under in path)))
            stack += missing
        else:
            path.pop(key, None)
            stack.pop()
    result = Levels(tuple(found[key] for key in nodes), tuple(found[key] for key in parameters), tuple(found))
    if result.depth > MAX_DEPTH:
        raise UnsupportedOperationError(f"{result.depth} levels of products stand one above another, more than {MAX_DEPTH}")
    return result


def _below(circuit, key: tuple) -> tuple[tuple, ...]:
    """What the level of a node or a parameter follows from."""
    kind, i = key
    if kind == "param":
        return tuple(("node", j) for j in _feeds(circuit, i))
    node = circuit.nodes[i]
    if node.operation.ends in ("param", "next"):
        return (("param", node.operation.index),)
    return tuple(("node", j) for j in node.inputs) if node.operation.ends in (None, "dot", "gate") else ()


def _feeds(circuit, p: int) -> list[int]:
    """The nodes that a parameter in later steps follows from, those of states that it carries too."""
    if circuit.parameters[p].recurrence is None:
        return [update.node for update in circuit.parameters[p].updates]
    return [j for r in group(circuit, p) for j, _ in circuit.parameters[r].recurrence.feeds]


def _level(circuit, key: tuple, below: int) -> int:
    """The level of a node or a parameter from the highest below it."""
    kind, i = key
    if kind == "param":
        return max(LOWEST, below)
    ends = circuit.nodes[i].operation.ends
    return GATES if ends == "gate" else max(LOWEST, below + 1) if ends == "dot" else below


def _cycle(circuit, path, again: tuple) -> str:
    """What goes round: the parameters on it, and the last node before the first of them."""
    path = list(path)
    cycle = path[path.index(again) :]
    names = [circuit.parameters[i].path for kind, i in cycle if kind == "param"]
    last = next(i for kind, i in reversed(cycle) if kind == "node")
    return (
        f"the update of parameter {names[0]} depends on {'itself' if len(names) == 1 else 'parameter ' + names[-1]} without rounding in "
        f"between ({circuit.describe(last)}); a claim on it would go up again"
    )
