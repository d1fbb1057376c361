"""Draw: public random words, from a key for every step.

Integers    w = (word >> shift) of every entry; with ``below`` 1 where w < below, else 0: a mask of independent entries.
Keys        ``words`` for all steps, or for each step two of its own; then for each number of ``path`` a key that is folded in, the
            absolute step's number for -1.
Claims      end on the draw, which verifier and prover evaluate (``protocol.draws``): it is public, and nobody commits to it.
Liars       who draw from another key, step or threshold, have other integers than the verifier.

PROTOCOL.md, sections 5.2, 5.7.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..algebra import threefry
from ..errors import FormatError
from .operation import Operation, dims, require

WORD = 32  # bits
STEP = -1  # in a path: the absolute step
MAX_ENTRIES, MAX_AXIS = 2**31, 2**21  # of a step's draw
MAX_PATH = 8


@dataclass(frozen=True)
class Draw(Operation):
    """words: 2, or 2 * max_steps of them, below 2^32. path: of 0 .. 2^32 - 1, or STEP. below: 0 for the words themselves."""

    name: ClassVar[str] = "draw"
    arity: ClassVar[int | None] = 0
    ends: ClassVar[str | None] = "draw"
    drawn: ClassVar[bool] = True
    shape: tuple[int, ...]
    words: tuple[int, ...]
    path: tuple[int, ...]
    shift: int
    below: int

    def infer_shape(self, x, leaves):
        shape = dims(self.shape)
        require(math.prod(shape) < MAX_ENTRIES and max(shape, default=1) <= MAX_AXIS, "too many entries")
        require(len(self.words) >= 2 and len(self.words) % 2 == 0, "a key has two words")
        require(all(isinstance(w, int) and 0 <= w < 2**WORD for w in self.words), "words have 32 bits")
        require(len(self.path) <= MAX_PATH and all(isinstance(n, int) and STEP <= n < 2**WORD for n in self.path), "path")
        require(isinstance(self.shift, int) and 0 <= self.shift < WORD, "shift")
        require(isinstance(self.below, int) and 0 <= self.below < 2 ** (WORD - self.shift), "below")
        return shape

    def check(self, i, circuit):
        if len(self.words) != 2 and len(self.words) != 2 * (circuit.max_steps or 1):
            raise FormatError(f"{circuit.describe(i)} has {len(self.words)} words; expected 2, or two for each of {circuit.max_steps} steps")

    def bound(self, x, shapes, leaves):
        return 1 if self.below else 2 ** (WORD - self.shift) - 1

    def describe(self):
        return f"draw, 1 with probability {self.below / 2 ** (WORD - self.shift):.4g}" if self.below else self.name

    def pull(self, i, node, term, walk):
        return [replace(term, key=("draw", i))]

    def keys(self, first_step: int, steps: int) -> np.ndarray:
        """The keys of these steps, uint32 (steps, 2)."""
        numbers = np.arange(first_step, first_step + steps).astype(np.uint32)
        table = np.array(self.words, dtype=np.uint32).reshape(-1, 2)
        table = np.broadcast_to(table, (steps, 2)) if len(table) == 1 else table[first_step : first_step + steps]
        key = table[:, 0], table[:, 1]
        for n in self.path:
            key = threefry.fold_in(key, numbers if n == STEP else np.full(steps, n, dtype=np.uint32))
        return np.stack(key, axis=1)

    def values(self, key, xp=np):
        """The integers that a key, two words, leads to: bool where they are 0 and 1, else uint32. xp: numpy or jax.numpy."""
        words = threefry.bits((key[:1], key[1:]), self.shape, xp) >> np.uint32(self.shift)
        return words < np.uint32(self.below) if self.below else words

    def leaf(self, parameters, inputs, key=None):
        like = (*inputs, *parameters)[0]
        return self.values(key, like.__array_namespace__()).astype(like.dtype)

    def at_steps(self, i, node, prover):
        keys = self.keys(prover.first_step, prover.steps)
        return np.stack([self.values(key).astype(np.int64) for key in keys])


def keys(draws: list[Draw], first_step: int, steps: int) -> np.ndarray:
    """Those of several draws, uint32 (steps, draws, 2)."""
    found = [x.keys(first_step, steps) for x in draws]
    return np.stack(found, axis=1) if found else np.zeros((steps, 0, 2), dtype=np.uint32)
