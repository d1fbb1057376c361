"""Expressions: what a loss computes, as real-valued tensors with exact rational constants, before any rounding.

Nothing here knows JAX or fixed point.
"""

from dataclasses import dataclass
from fractions import Fraction

from ..ops.draw import Draw
from ..ops.leaves import Param
from ..ops.moves import MOVES, Pad
from ..ops.operation import Operation
from ..ops.products import Dot


@dataclass(frozen=True)
class Numbers:
    """Exact rational numbers, row-major."""

    values: tuple


@dataclass(frozen=True)
class Combination:
    """The sum of rational coefficient * x over inputs of one shape. Of one input: a scaling, which costs nothing."""

    coefficients: tuple[Fraction, ...]


@dataclass(frozen=True)
class Above:
    """1 where its input is above 0, else 0."""


@dataclass(frozen=True, eq=False)
class Expression:
    """A real-valued tensor: an operation of the circuit where nothing is rounded, else ``Numbers``, ``Combination`` or ``Above``.

    A ``Gate`` multiplies an Above and a tensor. index: creation order, inputs first. tagged: a gradient.
    """

    operation: Operation | Numbers | Combination | Above
    inputs: tuple["Expression", ...]
    shape: tuple[int, ...]
    tagged: bool
    index: int

    def does(self, *kinds: type) -> bool:
        """Whether its operation is one of these."""
        return isinstance(self.operation, kinds)

    @property
    def is_scaling(self) -> bool:
        return isinstance(self.operation, Combination) and len(self.inputs) == 1


@dataclass(frozen=True)
class Mask:
    """A boolean tensor: where ``expression`` (of zeros and ones) is 1, or where it is 0."""

    expression: Expression
    positive: bool = True

    @property
    def shape(self):
        return self.expression.shape

    @property
    def tagged(self):
        return self.expression.tagged


def are_weights(x) -> bool:
    """Whether a tensor is a sum of parameters, moved or not, which products read as it is."""
    return x.does(Param) or x.does(Combination, *MOVES) and all(are_weights(y) for y in x.inputs)


def masked(x):
    """The other factor of a product with a public mask, entry by entry, which is as narrow as that factor; None of anything else."""
    if not x.does(Dot) or x.operation.contract[0]:
        return None
    left, right = x.inputs
    return right if is_mask(left) else left if is_mask(right) else None


def is_mask(x) -> bool:
    """Whether a tensor is of public zeros and ones, drawn from a key."""
    return x.does(Draw) and x.operation.threshold > 0 or x.does(*MOVES) and all(is_mask(y) for y in x.inputs)


def drawn(x) -> "Expression | None":
    """The draw that x is, moved or not; None of anything else."""
    while x.does(*MOVES) and len(x.inputs) == 1 and not x.does(Pad):
        x = x.inputs[0]
    return x if x.does(Draw) else None


def affine(x) -> tuple[dict["Expression", Fraction], Fraction] | None:
    """x as a sum of coefficient * draw, moved or not, and a constant; None of what is more than draws and steady numbers."""
    terms: dict = {}
    constant, stack = Fraction(0), [(Fraction(1), x)]
    while stack:
        c, x = stack.pop()
        if x.does(Combination) and all(isinstance(k, Fraction) for k in x.operation.coefficients):
            stack += [(c * k, y) for k, y in zip(x.operation.coefficients, x.inputs, strict=True)]
        elif drawn(x) is not None:
            terms[x] = terms.get(x, Fraction(0)) + c
        elif _uniform(x) is not None:
            constant += c * _uniform(x)
        else:
            return None
    return ({x: c for x, c in terms.items() if c}, constant) if terms else None


def _uniform(x) -> Fraction | None:
    """The value of all entries of a constant, moved or not."""
    while x.does(*MOVES) and len(x.inputs) == 1 and not x.does(Pad):
        x = x.inputs[0]
    return Fraction(x.operation.values[0]) if x.does(Numbers) and len(set(x.operation.values)) == 1 else None


def scaling(x):
    """A tensor as (coefficient, base)."""
    return (x.operation.coefficients[0], x.inputs[0]) if isinstance(x, Expression) and x.is_scaling else (Fraction(1), x)
