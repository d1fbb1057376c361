"""The builder: nodes of a circuit, each made once, and the lines that they come from."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from ..circuit.parts import Input
from ..ops.operation import Leaves, Node, Operation
from .rationals import valuation


class Builder:
    """Nodes of the circuit, each with a bound (None: depends on a parameter) and the kinds of tensors on which claims on it end.

    line: of the user's source, for the nodes that are added next; "" where none is known. lines: of all nodes.
    """

    def __init__(self, inputs: tuple[Input, ...]):
        self.leaves, self.nodes, self.bounds, self.reach, self._made = Leaves(inputs, ()), [], [], [], {}
        self.line, self.lines = "", []

    @contextmanager
    def at(self, line: str) -> Iterator[None]:
        """Nodes that are added meanwhile come from this line."""
        outer, self.line = self.line, line
        yield
        self.line = outer

    def add(self, operation: Operation, inputs, shape, factor: Fraction, label: str) -> int:
        """The node's number; factor: the value of its integer 1."""
        key = operation, tuple(inputs), tuple(shape)
        if key in self._made:
            return self._made[key]
        self.lines.append(self.line)
        self.nodes.append(Node(operation, tuple(inputs), tuple(shape), valuation(factor), label))
        shapes = [self.nodes[i].shape for i in inputs]
        self.bounds.append(operation.bound([self.bounds[i] for i in inputs], shapes, self.leaves))
        below = (self.reach[i] for i in operation.below(tuple(inputs)))
        self.reach.append(frozenset().union(*below) if operation.ends is None else frozenset([operation.ends]))
        self._made[key] = len(self.nodes) - 1
        return self._made[key]
