"""The challenge field K = F[phi] / (phi^2 - 7), |K| about 2^128.

Arrays over K are pairs ``(c0, c1)`` of uint64 arrays, the value c0 + c1*phi: two arrays fuse better than one stacked
array. Single elements on the host are ``Ext``: two Python integers with operators.

PROTOCOL.md, section 2.
"""

import numpy as np

from . import field
from .field import P

NON_RESIDUE = 7
DEGREE = 2
_SEVEN = np.uint64(NON_RESIDUE)


class Ext:
    """One element c0 + c1*phi of K; immutable, equal by value."""

    __slots__ = ("c0", "c1")

    def __init__(self, c0: int, c1: int = 0):
        self.c0 = int(c0) % P
        self.c1 = int(c1) % P

    def __add__(self, other):
        if not isinstance(other, (Ext, int)):
            return NotImplemented
        other = lift(other)
        return Ext(self.c0 + other.c0, self.c1 + other.c1)

    def __sub__(self, other):
        if not isinstance(other, (Ext, int)):
            return NotImplemented
        other = lift(other)
        return Ext(self.c0 - other.c0, self.c1 - other.c1)

    def __rsub__(self, other):
        return lift(other) - self

    def __neg__(self):
        return Ext(-self.c0, -self.c1)

    def __mul__(self, other):
        if not isinstance(other, Ext):
            if not isinstance(other, int):
                return NotImplemented
            return Ext(self.c0 * other, self.c1 * other)
        a, b, c, d = self.c0, self.c1, other.c0, other.c1
        return Ext(a * c + NON_RESIDUE * (b * d), a * d + b * c)

    __radd__ = __add__
    __rmul__ = __mul__

    def __pow__(self, exponent: int):
        result, base = ONE, self
        while exponent:
            if exponent & 1:
                result = result * base
            base, exponent = base * base, exponent >> 1
        return result

    def inverse(self):
        """1 / self; ZeroDivisionError for 0."""
        norm = (self.c0 * self.c0 - NON_RESIDUE * self.c1 * self.c1) % P
        if not norm:
            raise ZeroDivisionError("0 has no inverse in K")
        n = pow(norm, -1, P)
        return Ext(self.c0 * n, -self.c1 * n)

    def __eq__(self, other):
        return isinstance(other, (Ext, int)) and (lift(other).c0, lift(other).c1) == (self.c0, self.c1)

    def __hash__(self):
        return hash((self.c0, self.c1))

    def __bool__(self):
        return bool(self.c0 or self.c1)

    def __repr__(self):
        return f"Ext({self.c0}, {self.c1})"


def lift(x) -> Ext:
    """A Python integer or an Ext, as Ext."""
    return x if isinstance(x, Ext) else Ext(x)


ZERO, ONE, PHI = Ext(0), Ext(1), Ext(0, 1)


def powers(base: Ext, count: int) -> list[Ext]:
    """1, base, base^2, ... (count of them)."""
    result, current = [], ONE
    for _ in range(count):
        result.append(current)
        current = current * base
    return result


# ---- arrays over K: pairs (c0, c1) -----------------------------------------------------------------------------


def add(a, b):
    """a + b."""
    return field.add(a[0], b[0]), field.add(a[1], b[1])


def sub(a, b):
    """a - b."""
    return field.sub(a[0], b[0]), field.sub(a[1], b[1])


def neg(a):
    """-a."""
    return field.neg(a[0]), field.neg(a[1])


def mul(a, b):
    """a * b by Karatsuba: three products in F and one by the constant 7."""
    if field.are_few(a[0], b[0]):
        a0, a1, b0, b1 = (c.astype(object) for c in (*a, *b))
        return tuple((c % P).astype(np.uint64) for c in (a0 * b0 + NON_RESIDUE * (a1 * b1), a0 * b1 + a1 * b0))
    low, high = field.mul(a[0], b[0]), field.mul(a[1], b[1])
    cross = field.mul(field.add(a[0], a[1]), field.add(b[0], b[1]))
    return field.add(low, field.mul(high, _SEVEN)), field.sub(cross, field.add(low, high))


def mul_base(a, b):
    """K array times F array."""
    return field.mul(a[0], b), field.mul(a[1], b)


def sum(a, axis=None):
    """Sum along ``axis``."""
    return field.sum(a[0], axis), field.sum(a[1], axis)


def from_base(a):
    """F array to K array."""
    return a, a & np.uint64(0)


def stack(elements) -> tuple[np.ndarray, np.ndarray]:
    """Host elements (Ext or int) to a NumPy K array of one axis."""
    elements = [lift(e) for e in elements]
    return np.array([e.c0 for e in elements], dtype=np.uint64), np.array([e.c1 for e in elements], dtype=np.uint64)


def unstack(a) -> list[Ext]:
    """A K array to a flat list of host elements."""
    return [Ext(x, y) for x, y in zip(np.asarray(a[0]).reshape(-1).tolist(), np.asarray(a[1]).reshape(-1).tolist(), strict=True)]


def dot(a, b) -> Ext:
    """Inner product of two NumPy K arrays of one shape."""
    c0, c1 = sum(mul(a, b))
    return Ext(int(c0), int(c1))


def inverse(a):
    """1 / a entry by entry; the inverse of 0 is 0."""
    norm = field.sub(field.mul(a[0], a[0]), field.mul(field.mul(a[1], a[1]), _SEVEN))
    n = field.inverse(norm)
    return field.mul(a[0], n), field.mul(field.neg(a[1]), n)
