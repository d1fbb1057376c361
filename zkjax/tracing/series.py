"""Numbers that depend on the step: one value for each step that is traced, with the arithmetic of numbers.

Counters, schedules and bias corrections follow from the step alone. They are interpreted once for all steps: wherever a constant
could stand, a ``Series`` may, and functions of constants are applied step by step (``lifted``).
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import UnsupportedOperationError


class Refusal(UnsupportedOperationError):
    """Raised by a rule. cure: what a loss may do instead, where that is no part of the reason. where: the operation and the line in the
    user's source, which a rule does not know, and ``interpret`` adds.
    """

    def __init__(self, reason: str, cure: str = "", where: str = ""):
        told = "; ".join(x for x in (reason, cure) if x)
        super().__init__(": ".join(x for x in (where, told) if x))
        self.reason, self.cure, self.where = reason, cure, where


@dataclass(frozen=True, eq=True)
class Series:
    """values: the number in every step. Equal to another one with the same values, and to no number.

    source: of a word of a key that the step's number was folded into, where it comes from: words and path, as in ``ops.draw``, 0 for the
    first word of a key, 1 for the second.
    """

    values: tuple
    source: tuple | None = field(default=None, compare=False)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.values)

    def __bool__(self) -> bool:
        raise Refusal("it depends on the step, and decides how many operations there are; choose with jnp.where or jax.lax.cond")

    def __add__(self, other):
        return lifted(operator.add)(self, other)

    def __radd__(self, other):
        return lifted(operator.add)(other, self)

    def __sub__(self, other):
        return lifted(operator.sub)(self, other)

    def __rsub__(self, other):
        return lifted(operator.sub)(other, self)

    def __mul__(self, other):
        return lifted(operator.mul)(self, other)

    def __rmul__(self, other):
        return lifted(operator.mul)(other, self)


def lifted(function: Callable) -> Callable:
    """The function of numbers, applied in every step where an argument is a ``Series``."""

    def apply(*arguments):
        steps = next((len(x.values) for x in arguments if isinstance(x, Series)), None)
        if steps is None:
            return function(*arguments)
        if function is operator.mul and not all(isinstance(x, Series) or x for x in arguments) and _finite(*arguments):
            return next(x for x in arguments if not isinstance(x, Series))  # 0, whatever the step
        return Series(tuple(function(*(at(x, t) for x in arguments)) for t in range(steps)))

    return apply


def _finite(*arguments) -> bool:
    return not any(isinstance(v, float) for x in arguments for v in values(x))


def at(x, step: int):
    """A number in a step."""
    return x.values[step] if isinstance(x, Series) else x


def values(x) -> tuple:
    """All values that a number takes."""
    return x.values if isinstance(x, Series) else (x,)
