"""Random forms of committed cells: drawn after the statement, and so after the commitment; a claim on them is one on the cells.

    <Y, u (x) v>  =  <cells, u (x) M^T v>,    Y[block, f] = sum over i of M[f, i] cells[block, i]

M is the same for all blocks (``ops.forms`` says why). The values Y are virtual: their upper limbs are committed and looked up, and what
is left of them is a form of cells, on which the lookups leave a claim. Nothing else is sent.

PROTOCOL.md, section 10.9.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..algebra import field
from ..algebra.vectors import Vector
from ..ops import forms as sizes
from ..work import CALL, HASH
from .claims import Claim
from .hidden import Hidden

_LIMB = 16  # bits: sums of so many products with it are exact in float64
_BYTES = 16  # of a coefficient, as an integer and a float, and of what they are drawn from
_SHIFTS = np.array([[1 << _LIMB * k] for k in range(4)], dtype=np.uint64)


@dataclass(frozen=True, eq=False)
class Forms:
    """The coefficients. matrix: -1, 0 or 1, int8 (COUNT, BLOCK)."""

    matrix: np.ndarray

    @staticmethod
    def draw(transcript) -> "Forms":
        """Two bits for each coefficient, form by form: the first minus the second."""
        pairs = transcript.bits("forms", 2 * sizes.COUNT * sizes.BLOCK).reshape(sizes.COUNT, sizes.BLOCK, 2).astype(np.int8)
        return Forms(pairs[:, :, 0] - pairs[:, :, 1])

    @cached_property
    def factors(self) -> np.ndarray:
        """The same, float64."""
        return self.matrix.astype(np.float64)

    def weights(self, vector: Vector):
        """M^T v for a K vector of weights of forms: weights of cells, exactly."""
        result = []
        for c in vector:
            limbs = [(c >> np.uint64(_LIMB * k)) & np.uint64(2**_LIMB - 1) for k in range(4)]
            sums = field.from_int((np.stack(limbs).astype(np.float64) @ self.factors).astype(np.int64))
            result.append(field.sum(field.mul(sums, _SHIFTS), axis=0))
        return tuple(result)


def onto_cells(hidden: Hidden, claim: Claim, drawn: Forms | None) -> Claim:
    """The claim with terms on ("cells", ..), of shape (blocks, BLOCK), in place of those on ("form", ..), (blocks, COUNT)."""
    found = dict.fromkeys(term.vectors[1] for term in claim.terms if term.key[0] == "form")
    if not found:
        return claim
    hidden.account("forms", 1)
    vectors, entries = hidden.vectors, sizes.COUNT * sizes.BLOCK
    vectors.meter.charge("random forms", CALL + HASH * entries // 128, _BYTES * entries)  # 128 pairs of bits are a hash
    summed = {v: vectors.make(sizes.BLOCK, lambda v=v: drawn.weights(v), entries, what="random forms") for v in found}

    def moved(term):
        if term.key[0] != "form":
            return term
        blocks, along = term.vectors
        return term._replace(key=("cells", *term.key[1:]), vectors=(blocks, summed[along]))

    return replace(claim, terms=tuple(map(moved, claim.terms)))
