"""Linear algebra of constants, exactly but for roots: Cholesky's and LU's factors, and systems of equations with a triangle of constants.

Numbers are rationals, so there is no order of operations that a library chooses.
"""

from fractions import Fraction

import numpy as np

from .constants import Known
from .elementary import NAN, elementary, shortened
from .series import Refusal, Series

LARGEST = 64  # rows of a matrix that is factored or inverted


def _each(function, values: np.ndarray, cores: int = 1):
    """The results of a function of matrices, for all that the first axes count."""
    n = values.shape[-1]
    if n > LARGEST:
        raise Refusal(f"a matrix of {n} rows; at most {LARGEST} are factored or inverted", "compute it with NumPy outside of the loss")
    if any(isinstance(v, float | Series) for v in values.reshape(-1)):
        raise Refusal("a matrix that holds what is not finite, or depends on the step")
    found = [function(matrix.copy()) for matrix in values.reshape(-1, *values.shape[-2:])]
    return [np.stack(part).reshape(*values.shape[:-2], *part[0].shape) for part in zip(*found, strict=True)]


def _short(rows: np.ndarray) -> np.ndarray:
    return np.frompyfunc(lambda v: shortened(Fraction(v)), 1, 1)(rows)


def _cholesky(a: np.ndarray):
    """The lower triangle whose product with its transpose is a; no number where there is none."""
    n = len(a)
    found = np.full((n, n), Fraction(0), dtype=object)
    for j in range(n):
        square = a[j, j] - sum(found[j, :j] ** 2)
        if square <= 0:
            return (np.full((n, n), NAN, dtype=object),)
        found[j, j] = elementary("sqrt", Fraction(square))
        for i in range(j + 1, n):
            found[i, j] = shortened(Fraction(a[i, j] - sum(found[i, :j] * found[j, :j])) / found[j, j])
    return (found,)


def _factors(a: np.ndarray):
    """Both triangles in one matrix, the rows that were exchanged, and their order: the first one with the largest entry is next."""
    n = len(a)
    pivots, order = np.zeros(n, dtype=object), np.arange(n).astype(object)
    for j in range(n):
        p = max(range(j, n), key=lambda i: (abs(a[i, j]), -i))
        a[[j, p]], order[[j, p]], pivots[j] = a[[p, j]], order[[p, j]], p
        if a[j, j] == 0:
            continue
        for i in range(j + 1, n):
            a[i, j] = Fraction(a[i, j]) / a[j, j]
            a[i, j + 1 :] = a[i, j + 1 :] - a[i, j] * a[j, j + 1 :]
        a[j + 1 :] = _short(a[j + 1 :])
    return a, pivots, order


def _inverse(eqn):
    """Of the triangle of an equation's matrix."""
    p = eqn.params

    def inverse(a: np.ndarray):
        a = a if p["lower"] else a.T
        n = len(a)
        found = np.full((n, n), Fraction(0), dtype=object)
        for i in range(n):
            if a[i, i] == 0 and not p["unit_diagonal"]:
                raise Refusal("a triangle with 0 on its diagonal has no inverse")
            row = -a[i, :i].dot(found[:i]) if i else found[0].copy()
            row[i] = row[i] + 1
            found[i] = _short(row / (1 if p["unit_diagonal"] else Fraction(a[i, i])))
        return (found.T if p["lower"] == p["transpose_a"] else found,)

    return inverse


def factored(eqn, a: Known) -> list[Known]:
    """What ``cholesky`` and ``lu`` are of a constant."""
    found = _each({"cholesky": _cholesky, "lu": _factors}[eqn.primitive.name], a.full())
    return [Known.spread(x, v.aval.shape, a.tagged) for x, v in zip(found, eqn.outvars, strict=True)]


def triangular_solve(graph, eqn, a, b):
    """x with a x = b, or x a = b, of a triangle of constants: a product with its inverse."""
    if not isinstance(a, Known) or a.moving:
        raise Refusal(
            "a system of equations whose matrix depends on data or parameters", "use sums and products, or invert it by steps of Newton"
        )
    (inverse,) = _each(_inverse(eqn), a.full())
    inverse, rank = Known.spread(inverse, a.shape, a.tagged), len(b.shape)
    batch = tuple(range(rank - 2))
    if isinstance(b, Known):
        pair = (inverse, b.finite()) if eqn.params["left_side"] else (b.finite(), inverse)
        return Known.spread(_short(np.matmul(*(x.full() for x in pair))), b.shape, a.tagged or b.tagged)
    if eqn.params["left_side"]:
        return graph.dot(inverse, b, ((rank - 1,), (rank - 2,)), (batch, batch), b.shape)
    return graph.dot(b, inverse, ((rank - 1,), (rank - 2,)), (batch, batch), b.shape)


FACTORED = ("cholesky", "lu")
