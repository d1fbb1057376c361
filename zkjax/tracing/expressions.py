"""Expressions: what a loss computes, as real-valued tensors with exact rational constants, before any rounding.

Nothing here knows JAX or fixed point.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from ..algebra.functions import Program
from ..ops.draw import Draw
from ..ops.leaves import InputArray, Param
from ..ops.moves import MOVES, Broadcast
from ..ops.operation import Operation
from ..ops.products import Dot
from .series import Series


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


@dataclass(frozen=True)
class Applied:
    """A function of its input, entry by entry (``algebra.functions``)."""

    program: Program


@dataclass(frozen=True)
class Picked:
    """1 where the function of its input is the place along a further, last axis of ``size`` entries, else 0."""

    program: Program
    size: int


@dataclass(frozen=True)
class Maximum:
    """The largest entry along the last axis."""


@dataclass(frozen=True)
class FirstPlace:
    """1 where its input has its ``Maximum`` first, else 0."""


@dataclass(frozen=True)
class Ratio:
    """Its first input divided by the second, of the same shape, plus ``least``: a constant above 0 is one unit of the divisor at least.

    It may depend on the step.
    """

    least: Fraction | Series = Fraction(0)


@dataclass(frozen=True)
class SquareRoot:
    """Of its input, which is not below 0, plus ``least``, which is one unit of it at least if it is above 0."""

    least: Fraction = Fraction(0)


@dataclass(frozen=True, eq=False, repr=False)
class Expression:
    """A real-valued tensor: an operation of the circuit where nothing is rounded, else one of the classes above.

    A ``Gate`` multiplies an Above and a tensor. index: creation order, inputs first. tagged: a gradient.
    """

    operation: Operation | Numbers | Combination | Above | Applied | Picked | Maximum | FirstPlace | Ratio | SquareRoot
    inputs: tuple["Expression", ...]
    shape: tuple[int, ...]
    tagged: bool
    index: int

    def __repr__(self) -> str:
        """Without its inputs, which share theirs: written out they would not end."""
        return f"<{type(self.operation).__name__} {self.index} of shape {self.shape}>"

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

    def moved(self, move) -> "Mask":
        """With other places of its entries."""
        return replace(self, expression=move(self.expression))


@dataclass(frozen=True, eq=False)
class Drawn:
    """Numbers that follow from random words alone: factor * words + constant. words: a draw, moved or not. whole: integers.

    single: factor and constant of the very numbers that JAX has, whatever the order in which a compiler lets it compute; None where
    float32 rounds on the way. They are others than those above where the source says 0.1 and JAX has the float32 next to it.
    """

    words: Expression
    factor: Fraction
    constant: Fraction
    single: tuple[Fraction, Fraction] | None
    whole: bool
    tagged: bool = False

    @property
    def shape(self):
        return self.words.shape

    def moved(self, move) -> "Drawn":
        """With other places of its entries."""
        return replace(self, words=move(self.words))


COMMITTED = (Above, Applied, Picked, Maximum, FirstPlace, Ratio, SquareRoot)  # what a lookup proves by itself: narrow, and no state's


def are_weights(x) -> bool:
    """Whether a tensor is a sum of parameters, moved or not, which products read as it is."""
    return x.does(Param) or x.does(Combination, *MOVES) and all(are_weights(y) for y in x.inputs)


def unmoved(x: "Expression") -> "Expression":
    """What it is a moved copy of."""
    while x.does(*MOVES) and len(x.inputs) == 1:
        x = x.inputs[0]
    return x


def along_maximum(x: "Expression", largest: "Expression") -> tuple[int, ...]:
    """The axes of x along which its maximum, repeated, is one number."""
    return tuple(d for d in range(len(x.shape)) if not largest.does(Broadcast) or d not in largest.operation.axes)


def biases(x: "Expression") -> list["Expression"]:
    """Parameters that are added to a product of matrices in the forward pass."""
    if not x.does(Combination) or x.tagged or not any(unmoved(y).does(Dot) for y in x.inputs):
        return []
    return [y for y in x.inputs if unmoved(y).does(Param)]


def masked(x):
    """The other factor of a product with a public mask, entry by entry, which is as narrow as that factor; None of anything else."""
    return other_factor(x, is_mask)


def other_factor(x, test):
    """The other factor of a product, entry by entry, with a tensor that passes the test; None of anything else."""
    if not x.does(Dot) or x.operation.contract[0]:
        return None
    left, right = x.inputs
    return right if test(left) else left if test(right) else None


def is_mask(x) -> bool:
    """Whether a tensor is of public zeros and ones, drawn from a key."""
    return x.does(Draw) and x.operation.threshold != 0 or x.does(*MOVES) and all(is_mask(y) for y in x.inputs)


def is_choice(x) -> bool:
    """Whether this is a product of masks, entry by entry, at least one of them public."""
    other = masked(x)
    return other is not None and (other.does(Above) or is_mask(other) or is_choice(other))


def reached(x) -> Iterator["Expression"]:
    """x and whatever it is computed from, each once."""
    stack, seen = [x], set()
    while stack:
        x = stack.pop()
        if x not in seen:
            seen.add(x)
            stack += x.inputs
            yield x


def is_public(x) -> bool:
    """Whether constants and draws alone make a tensor."""
    return not any(y.does(Param, InputArray) for y in reached(x))


def scaling(x):
    """A tensor as (coefficient, base)."""
    return (x.operation.coefficients[0], x.inputs[0]) if isinstance(x, Expression) and x.is_scaling else (Fraction(1), x)


def added(x) -> dict["Expression", Fraction]:
    """A tensor as a sum: the coefficient of each tensor that is added up."""
    return dict(zip(x.inputs, x.operation.coefficients, strict=True)) if x.does(Combination) else {x: Fraction(1)}
