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
from ..work import DRAWN, PASSING
from .claims import Claim, Term, kronecker
from .hidden import Hidden

_LIMB = 16  # bits; products of two limbs, added up over 2^21 entries, are exact in float64


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
    """What terms on one draw amount to. Step by step: a draw of all steps may be large."""
    steps, size = len(terms[0].step[0]), prod(node.shape)
    what = f"{steps} draws of {size:,} words"
    vectors.meter.charge(what, DRAWN * steps * size * len(terms), 0, PASSING * size)
    if vectors.lengths_only:
        return ZERO
    weights = [_Weight.of(term) for term in terms]
    rows: list[list] = [[] for _ in terms]
    for keys in node.operation.keys(first_step, steps):
        drawn = node.operation.values(keys)
        for row, weight in zip(rows, weights, strict=True):
            row.append(weight.folded(drawn))
    amount = ZERO
    for term, row in zip(terms, rows, strict=True):
        amount = amount + term.scalar * total(ext.mul(term.step, tuple(np.array(c, dtype=np.uint64) for c in zip(*row, strict=True))))
    return amount


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

    def folded(self, drawn: np.ndarray) -> tuple[int, int]:
        """The sum over all axes of drawn integers below 2^32 times the vectors."""
        table, along = drawn.transpose(self.axes).reshape(-1, len(self.limbs)), None
        halves = [table] if table.dtype == bool else [table & np.uint32(2**_LIMB - 1), table >> np.uint32(_LIMB)]
        for j, half in enumerate(halves):
            products = (half.astype(np.float64) @ self.limbs).astype(np.uint64).reshape(len(table), 2, 4)
            for k in range(4):
                part = tuple(_shifted(products[:, c, k], _LIMB * (j + k)) for c in range(2))
                along = part if along is None else ext.add(along, part)
        c0, c1 = ext.sum(ext.mul(along, self.others))
        return int(c0), int(c1)


def _shifted(x: np.ndarray, bits: int) -> np.ndarray:
    """x * 2^bits in F."""
    return field.mul(x, np.full(1, pow(2, bits, field.P), dtype=np.uint64))
