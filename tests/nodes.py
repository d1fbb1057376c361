"""Operations by their names and attributes in a circuit file, as hand-made graphs and hostile files name them."""

from typing import NamedTuple

from zkjax.circuit.parts import Parameter
from zkjax.ops import BY_NAME, ranges
from zkjax.ops.operation import Leaves, Node, result_shape

ROUNDED = ("rescale", "ceiling")
LINEAR_OPS = tuple(name for name, operation in BY_NAME.items() if operation.ends is None)


def node(op: str, inputs=(), shape=(), attributes=None, scale: int = 0, label: str = "") -> Node:
    return Node(BY_NAME[op](**(attributes or {})), tuple(inputs), tuple(shape), scale, label)


def inferred(op: str, shapes, attributes: dict, inputs=(), parameters=()) -> tuple[int, ...]:
    """Shape of a result. inputs, parameters: shapes of the graph's leaves."""
    leaves = Leaves(*(tuple(Parameter("", tuple(shape)) for shape in found) for found in (inputs, parameters)))
    return result_shape(BY_NAME[op](**attributes), shapes, leaves)


def evaluated(one: Node, shapes, arrays, limbs=()):
    """An operation on integers; limbs: of a product of matrices."""
    return one.operation.evaluate(arrays, one, shapes, limbs)


class Equation(NamedTuple):
    """x + constant = sum of weight * part over a rescale's quotient and limbs, each part in [0, 2^width): (weight, width)."""

    constant: int
    quotient: tuple[int, int]
    limbs: tuple[tuple[int, int], ...]

    @property
    def parts(self):
        return self.quotient, *self.limbs

    def farthest(self, x: int) -> int:
        """How far apart the two sides can be while |x| stays within this bound, and all parts in their tables."""
        return ranges.farthest(self.constant, ((1, -x, x), *((-weight, 0, 2**width - 1) for weight, width in self.parts)))


def equation(circuit, i: int) -> Equation:
    operation = circuit.nodes[i].operation
    ((_, constant, _, width),) = operation.forms(i, circuit.nodes[i])
    return Equation(constant, (1 << operation.shift, operation.bits + 1), tuple(ranges.limbs(width, circuit.table_bits)))


def signed(circuit, i: int) -> bool:
    """Whether a sign is read from a rescale's quotient."""
    return bool(circuit.riders(i))


def roundings(circuit) -> list[int]:
    """Its rescales and ceilings."""
    return sorted(i for op in ROUNDED for i in circuit.of(op))
