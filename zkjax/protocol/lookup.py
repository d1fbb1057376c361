"""LogUp-GKR: a sum of fractions is known, proven through a binary tree of additions of fractions.

A value v is in a table exactly when 1/(alpha - v), summed over all looked-up values, equals the sum over the table's
entries t of multiplicity(t)/(alpha - t), for random alpha. The fractions are the leaves of a tree whose nodes add their
children, p0/q0 + p1/q1 = (p0 q1 + p1 q0)/(q0 q1); the children of node x of a layer of 2^m nodes are x and x + 2^m. Layer
by layer, from the root down, a claim about one layer's multilinear extension becomes one about the layer below.

Leaves that stand for nothing are 1/1, so that almost all numerators are 1, and the sum is their number c instead of 0. The
root's numerator is c times its denominator, which need not be non-zero: numerator and denominator are proven to be the tree's
outputs, and numerator - c * denominator is the sum of all other fractions times all denominators, a polynomial in alpha.

Sources: Haboeck, ePrint 2022/1530 (LogUp); Papini and Haboeck, ePrint 2023/1284 (GKR); Gruen, ePrint 2024/108, section 3.2
(no eq factor in messages).

PROTOCOL.md, section 13.1.
"""

from ..algebra.extension import Ext
from ..errors import UnsatisfiedWitnessError, VerificationError
from .hidden import Form, Hidden


def fractional_sum(hidden: Hidden, num_vars: int, total: int, leaves=None, *, degree: int | None = None) -> tuple[list[Ext], Form, Form]:
    """Reduce "sum over i of p_i/q_i = total" to the multilinear extensions of p and q at one point.

    degree: of all denominators together, as polynomials in the challenges that they were made of; None: 1 for each.
    Shapes: n = num_vars; leaves (prover only): (p - 1: F[2**n], q: K[2**n]), arrays or tiles; a tile of p - 1 may be None.
    Returns the point (n elements, variable 0 = top bit of the leaf's index) and P, Q there.
    Transcript: receives Q of the root; for the layers of 2^m nodes, m = 0 .. n-1: draws lambda; m times receives t(0) and
    t(infinity) and draws an element of the point; receives p0 q1 and q0 (p1 + lambda q1) as products; draws the merge.
    Recompiles for: n. Raises UnsatisfiedWitnessError if the prover's fractions have another sum.
    Soundness error: noted with ``hidden.account``; that the sum is right at a random alpha is its first term.
    """
    # the sum of all fractions times all denominators is a polynomial in alpha and its companions: each term lacks one denominator
    hidden.account("lookup: cleared numerator", (2**num_vars if degree is None else degree) - 1)
    hidden.account("lookup: rounds", num_vars * (num_vars - 1))
    hidden.account("lookup: combinations and merges", 2 * num_vars)
    tree = None
    if leaves is not None:
        from ..kernels.lookup import Tree

        tree = Tree(num_vars, leaves)
        del leaves  # the tree frees its layers as they are used up
        if hidden.check and tree.root[0] != tree.root[1] * total:
            raise UnsatisfiedWitnessError("lookup: the fractions have another sum, so some value is not in its table")
    (q,) = hidden.receive("lookup root", 1, lambda: [tree.root[1]])
    point, p = [], q * total
    for _ in range(num_vars):
        point, p, q = _layer(hidden, point, p, q, tree)
    return point, p, q


def _layer(hidden: Hidden, point: list[Ext], p: Form, q: Form, tree) -> tuple[list[Ext], Form, Form]:
    """From P, Q of one layer at ``point`` to those of the layer below, at a point with one element more.

    P + lambda Q = sum over x of eq(point, x) (p0 q1 + q0 s), s = p1 + lambda q1. With e the claim that remains after some
    rounds, divided by the bound variables' eq factors, e = (1 - r) t(0) + r t(1) for the round's own element r of the
    point and t of degree 2: t(1) follows from t(0), and t(x) = t(0) + (e - t(0)) x/r + t(infinity) x (x - 1).
    """
    scale = hidden.challenge("lookup combination")
    claim, below = p + q * scale, []
    rounds = None if tree is None else tree.rounds(point, scale)
    for r in point:
        if not r:
            raise VerificationError("lookup", "a challenge is 0, where the round's polynomial cannot be completed")
        at_0, leading = hidden.receive("lookup round", 2, lambda: rounds.message())
        x = hidden.challenge("lookup point")
        claim = at_0 + (claim - at_0) * (x * r.inverse()) + leading * (x * (x - 1))
        if rounds is not None:
            rounds.fold(x)
        below.append(x)
    values = [] if rounds is None else rounds.values()
    p0, q1, left = hidden.receive_product("lookup values", lambda: values[:2])
    q0, s, right = hidden.receive_product("lookup values", lambda: values[2:])
    hidden.require_zero("lookup layer", left + right - claim)
    merge = hidden.challenge("lookup merge")
    p1 = s - q1 * scale
    return [merge, *below], p0 + (p1 - p0) * merge, q0 + (q1 - q0) * merge
