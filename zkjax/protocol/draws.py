"""Draws are public: a claim on one becomes a number, which verifier and prover work out from the step's keys.

    <draw, step (x) vectors> = sum over t of step[t] <draw_t, vectors>

No message, no cell, no error: what a term on a draw amounts to is a part of its claim's constant.

PROTOCOL.md, section 13.8.
"""

from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.extension import ZERO, Ext
from ..algebra.vectors import Vectors, total
from ..ops.operation import Node
from ..work import CALL, DRAWN, PASSING
from .claims import Claim, Term, kronecker
from .hidden import Hidden

_LIMB = 16  # bits
EXACT = 2**20  # entries over which products of two limbs are added up, exactly in float64
BLOCK = 2**16  # words of several steps that are drawn at once
LIMBS = 96  # bytes of an entry of a vector, cut into limbs


def settle(hidden: Hidden, plan, claim: Claim) -> Claim:
    """The claim, whose terms on draws are a part of its constant."""
    by_draw: dict[int, list[Term]] = {}
    for term in claim.terms:
        if term.key[0] == "draw":
            by_draw.setdefault(term.key[1], []).append(term)
    if not by_draw:
        return claim
    constant = claim.constant
    for i, terms in by_draw.items():
        constant = constant + _amount(hidden.vectors, plan.circuit.nodes[i], plan.first_step, terms)
    return Claim(tuple(term for term in claim.terms if term.key[0] != "draw"), constant, claim.value)


def _amount(vectors: Vectors, node: Node, first_step: int, terms: list[Term]) -> Ext:
    """What terms on one draw amount to. Block by block of steps: a draw of all steps may be large, and one of a step small."""
    draw, steps, size = node.operation, len(terms[0].step[0]), prod(node.shape)
    block = max(1, min(steps, BLOCK // size))
    what = f"{steps} draws of {size:,} words"
    folded = sum(size // max((len(v[0]) for v in term.vectors), default=1) for term in terms)  # along the longest vectors
    work = DRAWN * (draw.effort + len(terms) * size + 16 * folded + draw.rows * (1 + len(draw.path)))
    calls = CALL * (8 + 4 * len(draw.path) + 4 * len(terms)) * -(-steps // block)
    limbs = LIMBS * sum(len(v[0]) for term in terms for v in term.vectors)
    vectors.meter.charge(what, steps * work + calls, 0, limbs + PASSING * block * (size + 4 * draw.rows))
    if vectors.lengths_only:
        return ZERO
    weights = [_Weight.of(term) for term in terms]
    amounts = [ZERO] * len(terms)
    for start in range(0, steps, block):
        count = min(block, steps - start)
        drawn = draw.values(draw.keys(first_step + start, count))
        for i, (term, weight) in enumerate(zip(terms, weights, strict=True)):
            step = tuple(c[start : start + count] for c in term.step)
            amounts[i] = amounts[i] + total(ext.mul(step, weight.folded(drawn)))
    return sum((term.scalar * amount for term, amount in zip(terms, amounts, strict=True)), ZERO)


@dataclass(frozen=True, eq=False)
class _Weight:
    """A term's vectors: axes in the order in which they are folded, the longest vector last, as float64 limbs (n, 8), the others joined."""

    axes: tuple[int, ...]
    limbs: np.ndarray
    others: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def of(term: Term) -> "_Weight":
        order = sorted(range(len(term.groups)), key=lambda g: len(term.vectors[g][0]))
        *others, longest = [term.vectors[g] for g in order] or [ext.stack([ext.ONE])]
        limbs = [(c >> np.uint64(_LIMB * k)) & np.uint64(2**_LIMB - 1) for c in longest for k in range(4)]
        axes = tuple(d for g in order for d in term.groups[g])
        return _Weight(axes, np.stack(limbs, axis=1).astype(np.float64), reduce(kronecker, others, ext.stack([ext.ONE])))

    def folded(self, drawn: np.ndarray):
        """The sums over all axes but the first, of steps, of drawn integers below 2^32 times the vectors: K (steps,)."""
        table = drawn.transpose(0, *(d + 1 for d in self.axes)).reshape(-1, len(self.limbs))
        along = None
        halves = [table] if table.dtype == bool else [table & np.uint32(2**_LIMB - 1), table >> np.uint32(_LIMB)]
        for j, half in enumerate(halves):
            for start in range(0, len(self.limbs), EXACT):
                part = slice(start, start + EXACT)
                products = (half[:, part].astype(np.float64) @ self.limbs[part]).astype(np.uint64).reshape(len(table), 2, 4)
                for k in range(4):
                    found = tuple(_shifted(products[:, c, k], _LIMB * (j + k)) for c in range(2))
                    along = found if along is None else ext.add(along, found)
        sums = (c.reshape(len(drawn), -1) for c in along)
        return ext.sum(ext.mul(tuple(sums), tuple(c[None] for c in self.others)), axis=1)


def _shifted(x: np.ndarray, bits: int) -> np.ndarray:
    """x * 2^bits in F."""
    return field.mul(x, np.full(1, pow(2, bits, field.P), dtype=np.uint64))
