"""Sumchecks of products: a claim about a sum over the cube becomes claims about tables at one random point.

Source: Lund, Fortnow, Karloff, Nisan; Thaler, Proofs, Arguments and Zero-Knowledge, section 4.1. All scalars are hidden
(``hidden.py``). Of each round's polynomial t the value t(1) = claim - t(0) is not sent.

PROTOCOL.md, section 13.5.
"""

from ..algebra.extension import ZERO, Ext
from ..algebra.poly import interpolate
from .hidden import Form, Hidden


def product_sumcheck(hidden: Hidden, label: str, claim: Form, num_vars: int, tables=None) -> tuple[list[Ext], Form, Form]:
    """Reduce "claim = sum over x of left(x) right(x)" to left and right at one point.

    Shapes: n = num_vars; tables (prover only): left, right, K[2**n] each, jax arrays.
    Returns the point (n elements, variable 0 first) and left and right there; the caller ties them to what they are.
    Transcript: receives t(0), t(2) and draws the point's next element, n times; receives left and right as a product.
    Recompiles for: n. Raises UnsatisfiedWitnessError if the prover's tables do not sum to the claim.
    Soundness error 2n/|K|.
    """
    rounds = None
    if tables is not None:
        from ..kernels.sumcheck import Rounds, product

        rounds = Rounds(product, (0, 2), num_vars, tuple(tables))
    point, claim = _reduce(hidden, label, claim, num_vars, rounds, 2)
    left, right, both = hidden.receive_product(f"{label} values", lambda: rounds.values())
    hidden.require_zero(label, both - claim)
    return point, left, right


def gated_sumcheck(hidden: Hidden, label: str, claim: Form, num_vars: int, tables=None) -> tuple[list[Ext], Form, tuple | None]:
    """Reduce "claim = sum over x of m(x) * sum over k of w_k(x) v_k(x)" to the same relation at one point.

    Shapes: n = num_vars; tables (prover only): (m: F[2**n], [w_k: K[2**n], ...], [v_k: F[2**n], ...]), arrays or tiles.
    Returns the point, the last claim, which is m * sum of w_k v_k there and which the caller checks, and for the prover
    the two factors' values (m, sum of w_k v_k).
    Transcript: receives t(0), t(2), t(3) and draws the point's next element, n times.
    Recompiles for: n and the number of terms. Soundness error 3n/|K|.
    """
    rounds = None
    if tables is not None:
        from ..kernels.sumcheck import Rounds, gated

        gate, weights, values = tables
        gate, *values = (x if isinstance(x, list) else (x,) for x in (gate, *values))
        rounds = Rounds(gated, (0, 2, 3), num_vars, (gate, list(weights), values))
    point, claim = _reduce(hidden, label, claim, num_vars, rounds, 3)
    if rounds is None:
        return point, claim, None
    gate, *rest = rounds.values()
    count = len(rest) // 2
    return point, claim, (gate, sum((w * v for w, v in zip(rest[:count], rest[count:], strict=True)), ZERO))


def _reduce(hidden: Hidden, label: str, claim: Form, num_vars: int, rounds, degree: int) -> tuple[list[Ext], Form]:
    """``num_vars`` rounds with polynomials of the given degree."""
    hidden.account(f"{label}: rounds", degree * num_vars)
    point = []
    for _ in range(num_vars):
        at_0, *others = hidden.receive(f"{label} round", degree, lambda: rounds.message())
        r = hidden.challenge(f"{label} point")
        claim = interpolate([at_0, claim - at_0, *others], r)
        if rounds is not None:
            rounds.fold(r)
        point.append(r)
    return point, claim
