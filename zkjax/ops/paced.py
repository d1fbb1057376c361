"""Paced: a tensor times a public number of the step.

Integers    n_t * x in the absolute step t; a table holds n_t for every step that was traced.
Bounds      the largest number times the input's.
Claims      weights of the steps are multiplied by the numbers. No message, no cell, no lookup.
Liars       who use another number, have another linear map than the verifier.

PROTOCOL.md, sections 5.2, 12.2.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..errors import FormatError
from .operation import LIMIT, Operation, require


@dataclass(frozen=True)
class Paced(Operation):
    """numbers: one for each step."""

    name: ClassVar[str] = "paced"
    paced: ClassVar[bool] = True
    numbers: tuple[int, ...]

    def infer_shape(self, x, leaves):
        require(bool(self.numbers) and all(isinstance(n, int) and abs(n) < LIMIT for n in self.numbers), "numbers must be integers")
        return x[0]

    def check(self, i, circuit):
        if len(self.numbers) != circuit.max_steps:
            raise FormatError(f"{circuit.describe(i)} has {len(self.numbers)} numbers; expected {circuit.max_steps}")

    def bound(self, x, shapes, leaves):
        return None if x[0] is None else x[0] * max(map(abs, self.numbers))

    def worth(self, x, scale, below):
        return x[0] * 2.0 ** (below[0] - scale)

    def pull(self, i, node, term, walk):
        def multiplied(step):
            length, first = len(step[0]), walk.vectors.first_step
            return ext.mul_base(step, field.from_python(self.numbers[first : first + length]))

        step = walk.derive(("paced", i), term.step, len(term.step[0]), multiplied)
        return [term._replace(key=("node", node.inputs[0]), step=step)]

    def evaluate(self, x, node, shapes, limbs):
        return x[0] * limbs

    def at_steps(self, i, node, prover):
        return prover.values(node.inputs[0]) * self._of(prover).reshape(-1, *(1,) * len(node.shape))

    def fold(self, i, node, groups, kept, prover):
        folded = tuple(np.asarray(c) for c in prover.fold(node.inputs[0], groups, kept))
        return ext.mul_base(folded, field.from_int(self._of(prover)).reshape(-1, *(1,) * (folded[0].ndim - 1)))

    def _of(self, prover) -> np.ndarray:
        return np.array(self.numbers[prover.first_step : prover.first_step + prover.steps], dtype=np.int64)
