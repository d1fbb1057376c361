"""What lowering makes of a program in some formats: a circuit, and what its formats follow from."""

from dataclasses import dataclass
from fractions import Fraction

from ..circuit.circuit import Circuit
from .expressions import Expression
from .motions import Row
from .names import Names
from .states import Moved


@dataclass(frozen=True, eq=False)
class Emission:
    """A circuit, of the widest table, and what its formats follow from.

    rounded: for each node that rounds the tensor's name, and the kind of its format. unit: gradients are integers times it and a power of
    two. names: of all tensors that may be rounded. moved: the states that are multiplied, by number. read: those that the step reads within
    a period. units: of all states.
    stands_for: of rescales and of what feeds states, the tensor, and the value of the node's integer 1. feeds: of each tensor that feeds
    a state the node, and that value. rooted: the states of which roots are taken.
    """

    circuit: Circuit
    rows: tuple[Row, ...]
    rounded: dict[int, tuple[str, str]]
    unit: Fraction
    names: Names
    moved: dict[int, Moved]
    read: set[int]
    units: dict[int, Fraction]
    stands_for: dict[int, tuple]
    feeds: dict[Expression, tuple]
    rooted: set[int]
