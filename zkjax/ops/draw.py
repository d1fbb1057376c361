"""Draw and residue: public random numbers, from a key for every step.

Integers    w = (word >> shift) of every entry; with ``threshold`` 1 where w < threshold, else 0: a mask of independent entries.
            A residue is w mod ``modulus``, of one word or of two, as ``jax.random.randint`` makes it; with the threshold PLACE its one-hot.
Keys        ``words`` for all steps, or for each step two of its own; then for each number of ``path`` a key that is folded in, the
            absolute step's number for -1, and for -2 the place along the first axis, every row of which has a key of its own then.
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
STEP, ROW = -1, -2  # in a path: the absolute step; the place along the first axis
MAX_ENTRIES, MAX_AXIS = 2**31, 2**21  # of a step's draw
MAX_PATH = 8
MAX_OF_TWO = 2**16  # the largest modulus of two words: products of two residues have 32 bits
PLACE = -1  # as a threshold: 1 at the place that a residue is, along a further, last axis


@dataclass(frozen=True)
class Draw(Operation):
    """words: 2, or 2 * max_steps of them, below 2^32. path: of 0 .. 2^32 - 1, STEP or ROW. threshold: 0 for the words themselves."""

    name: ClassVar[str] = "draw"
    arity: ClassVar[int | None] = 0
    ends: ClassVar[str | None] = "draw"
    drawn: ClassVar[bool] = True
    shape: tuple[int, ...]
    words: tuple[int, ...]
    path: tuple[int, ...]
    shift: int
    threshold: int

    def infer_shape(self, x, leaves):
        shape = dims(self.shape)
        require(math.prod(shape) < MAX_ENTRIES and max(shape, default=1) <= MAX_AXIS, "too many entries")
        require(len(self.words) >= 2 and len(self.words) % 2 == 0, "a key has two words")
        require(all(isinstance(w, int) and 0 <= w < 2**WORD for w in self.words), "words have 32 bits")
        require(len(self.path) <= MAX_PATH and all(isinstance(n, int) and ROW <= n < 2**WORD for n in self.path), "path")
        require(bool(shape) or ROW not in self.path, "no rows")
        require(isinstance(self.shift, int) and 0 <= self.shift < WORD, "shift")
        require(isinstance(self.threshold, int) and 0 <= self.threshold < self.count, "threshold")
        return shape

    def check(self, i, circuit):
        if len(self.words) not in (2, 2 * (1 if circuit.max_steps is None else circuit.max_steps)):
            raise FormatError(
                f"{circuit.describe(i)} has {len(self.words)} words; expected 2, or two for each of {circuit.max_steps} steps"
            )

    def bound(self, x, shapes, leaves):
        return 1 if self.threshold else self.count - 1

    def describe(self):
        return self.name if self.probability is None else f"{self.name}, 1 with probability {self.probability:.4g}"

    @property
    def count(self) -> int:
        """Of the numbers that an entry may be, without a threshold."""
        return 2 ** (WORD - self.shift)

    @property
    def probability(self) -> float | None:
        """That an entry is 1; None of numbers."""
        return self.threshold / self.count if self.threshold > 0 else None

    def pull(self, i, node, term, walk):
        return [term._replace(key=("draw", i))]

    @property
    def effort(self) -> int:
        """Words that are drawn for a step, and operations on arrays of their size."""
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        """How many keys a step has."""
        return self.shape[0] if ROW in self.path else 1

    def keys(self, first_step: int, steps: int) -> np.ndarray:
        """The keys of these steps, uint32 (steps, rows, 2); one row for all, unless the path says that each has its own."""
        numbers = {STEP: np.arange(first_step, first_step + steps)[:, None], ROW: np.arange(self.rows)}
        table = np.array(self.words, dtype=np.uint32).reshape(-1, 1, 2)
        table = table if len(table) == 1 else table[first_step : first_step + steps]
        key = table[..., 0], table[..., 1]
        for n in self.path:
            key = threefry.fold_in(key, np.asarray(numbers.get(n, [n])).astype(np.uint32))
        return np.stack([np.broadcast_to(half, (steps, self.rows)) for half in key], axis=-1)

    def values(self, keys, xp=np):
        """The integers that keys (.., rows, 2) lead to, (.., *shape): bool where they are 0 and 1, else uint32. xp: numpy or jax.numpy."""
        numbers = self.numbers(keys.reshape(-1, 2), xp).reshape((*keys.shape[:-2], *self.shape))
        if self.threshold == PLACE:
            return numbers[..., None] == xp.arange(self.count, dtype=np.uint32)
        return numbers < np.uint32(self.threshold) if self.threshold else numbers

    def numbers(self, keys, xp):
        """uint32, of each of the keys (n, 2) its row."""
        return threefry.bits(keys, math.prod(self.shape) // self.rows, xp) >> np.uint32(self.shift)

    def leaf(self, parameters, inputs, keys=None):
        like = (*inputs, *parameters)[0]
        return self.values(keys, like.__array_namespace__()).astype(like.dtype)

    def at_steps(self, i, node, prover):
        return self.values(self.keys(prover.first_step, prover.steps)).astype(np.int64)


@dataclass(frozen=True)
class Residue(Draw):
    """modulus: from 2 on, below 2^32. parts: 1, or 2 words, of the keys that 0 and 1 are folded into, as a number of 64 bits."""

    name: ClassVar[str] = "residue"
    modulus: int
    parts: int

    def infer_shape(self, x, leaves):
        require(isinstance(self.modulus, int) and 2 <= self.modulus < 2**WORD, "modulus")
        require(isinstance(self.parts, int) and 1 <= self.parts <= 2, "parts")
        require(self.parts == 1 or self.modulus <= MAX_OF_TWO and self.shift == 0, "two words")
        if self.threshold != PLACE:
            return super().infer_shape(x, leaves)
        shape = (*replace(self, threshold=0).infer_shape(x, leaves), self.modulus)
        require(math.prod(shape) < MAX_ENTRIES and self.modulus <= MAX_AXIS, "too many places")
        return shape

    def describe(self):
        return f"{super().describe()}, modulo {self.modulus}"

    @property
    def count(self) -> int:
        return self.modulus

    @property
    def effort(self) -> int:
        return (2 * self.parts + (self.modulus if self.threshold == PLACE else 0)) * super().effort

    def numbers(self, keys, xp):
        modulus = np.uint32(self.modulus)
        if self.parts == 1:
            return super().numbers(keys, xp) % modulus
        halves = (xp.stack(threefry.fold_in((keys[:, 0], keys[:, 1]), np.uint32([n])), axis=1) for n in range(2))
        high, low = (super(Residue, self).numbers(half, xp) % modulus for half in halves)
        return (high * np.uint32(2**WORD % self.modulus) + low) % modulus  # below 2^32, for the modulus is at most 2^16
