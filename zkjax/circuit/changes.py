"""What a step makes of each state, in real numbers: rates, momentum's coefficients, and what they multiply. Told from operations.

A gradient of the loss is called that where evaluating the loss shows it (``descent``); other units are those of ``units``.

PROTOCOL.md, section 5.
"""

from collections import Counter
from typing import NamedTuple

from ..ops.leaves import Next
from ..ops.products import entrywise
from .descent import gradients
from .recurrence import FRACTION
from .summary import quoted
from .units import units

PARTS = 16  # of a path that are looked at
GRADIENT, SQUARE, STATE, AFTER, NODE = "gradient", "square", "state", "after", "node"


class Term(NamedTuple):
    """A summand of a state after the step. factors: one, or one for each step. kind: what they multiply: the gradient of the loss by
    parameter ``index``, or its square; the state of this index before or after the step; or the result of the node of this index."""

    factors: tuple[float, ...]
    kind: str
    index: int


def changes(circuit) -> list[list[Term]]:
    """Of each parameter what a step adds to it; of one with a recurrence all that it becomes. Nothing of what is frozen."""
    return _Changes(circuit).found


def named(circuit, found: list[list[Term]]) -> list[dict[str, tuple[float, ...]]]:
    """``changes`` by words for what factors multiply, which are alike for parameters that are treated alike.

    A star stands for the parameter whose change or whose state this is: the longest path of one within the path of a state.
    """
    owners, told = _owners(circuit), []
    for p, terms in enumerate(found):
        words: dict[str, tuple[float, ...]] = {}
        seen: Counter = Counter()
        for x in terms:
            name = _name(circuit, owners, p, x)
            seen[name] += 1
            words[name if seen[name] == 1 else f"{name}, number {seen[name]}"] = x.factors
        told.append(words)
    return told


def _name(circuit, owners: list[int], p: int, term: Term) -> str:
    if term.kind == NODE:
        return f"the result of its {circuit.nodes[term.index].op}"
    path, own = circuit.parameters[term.index].path, owners[p] == owners[term.index]
    if term.kind in (GRADIENT, SQUARE):
        return f"{'the square of ' * (term.kind == SQUARE)}the gradient of the loss{'' if own else f' by {quoted(path)}'}"
    before, found, after = f"/{path}/".rpartition(f"/{circuit.parameters[owners[p]].path}/") if own else ("", "", path)
    short = f"{before}/*/{after}".strip("/") if found else path
    return ("itself" if term.index == p else quoted(short)) + " after the step" * (term.kind == AFTER)


def _owners(circuit) -> list[int]:
    """Of each state the parameter whose it is: itself, where its path names no other one."""
    at = {x.path: p for p, x in enumerate(circuit.parameters) if x.given is None}
    found = []
    for p, x in enumerate(circuit.parameters):
        parts = x.path.split("/")[-PARTS:]
        within = ("/".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1))
        longest = max((path for path in within if path in at), key=len, default=None)
        found.append(p if x.given is None or longest is None else at[longest])
    return found


class _Changes:
    def __init__(self, circuit):
        self.circuit, self.units = circuit, units(circuit)
        learned = circuit.learning_rates or (None,) * len(circuit.parameters)
        read = {i for p in circuit.parameters if p.recurrence for i, _ in p.recurrence.feeds}
        bases = (circuit.nodes[i].inputs[0] for i in read if self._squares(i))
        self.gradients = gradients(circuit, {*read, *bases})
        self.found: list[list[Term]] = []
        for p, (parameter, updated, rates) in enumerate(zip(circuit.parameters, circuit.updated(), learned, strict=True)):
            if parameter.recurrence is not None:
                self.found.append(self._recurrence(p))
            elif not updated:
                self.found.append([])
            elif rates is not None:
                self.found.append([Term(tuple(-r for r in rates), GRADIENT, p)])
            else:
                unit = -float(parameter.unit)
                self.found.append([self._term(u.node, u.rates, unit) for u in parameter.updates])

    def _squares(self, i: int) -> bool:
        node = self.circuit.nodes[i]
        return node.operation == entrywise(node.shape) and node.inputs[0] == node.inputs[1]

    def _recurrence(self, p: int) -> list[Term]:
        parameter = self.circuit.parameters[p]
        carry = [(r, c, float(parameter.unit / self.circuit.parameters[r].unit)) for r, c in parameter.recurrence.carry]
        states = [Term(tuple(n / 2**FRACTION * unit for n in c), STATE, r) for r, c, unit in carry]
        return states + [self._term(i, c, float(parameter.unit) / 2**FRACTION) for i, c in parameter.recurrence.feeds]

    def _term(self, i: int, integers: tuple[int, ...], unit: float) -> Term:
        """integers: what node i is multiplied by, in this unit of the result over an integer of the node."""
        node = self.circuit.nodes[i]
        squared, kind, index, times = self._squares(i), NODE, i, 1 / self.units[i]
        if isinstance(node.operation, Next):
            kind, index = AFTER, node.operation.index
        elif (found := self.gradients.get(node.inputs[0] if squared else i)) is not None:
            kind, (index, multiple) = SQUARE if squared else GRADIENT, found
            times = multiple * multiple if squared else multiple
        return Term(tuple(n * unit * times for n in integers), kind, index)
