"""What one chunk of training commits, looks up and opens: sizes only, derived from the circuit and the public statement.

Both sides build the same plan; nothing in it is read from a proof.

PROTOCOL.md, sections 10.3, 10.4.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from . import extension as ext
from . import field
from .circuit import Circuit, signed_bound
from .claims import Term, merge_terms
from .gadgets.membership import Sites
from .gadgets.rescale import Lookup, advice_shapes, lookups
from .gadgets.table import Table
from .layout import Layout

_SPREAD = 2**20  # entries of weights that are spread over samples at once


@dataclass(frozen=True, eq=False)
class Batches:
    """Which samples each step reads. indices: (steps, batch), int64; the dataset has ``samples``, cut into shards."""

    indices: np.ndarray
    shard_size: int
    samples: int

    @cached_property
    def shards(self) -> tuple[int, ...]:
        return tuple(np.unique(self.indices // self.shard_size).tolist())

    def size(self, shard: int) -> int:
        """Samples in a shard; the last one may be smaller."""
        return min(self.shard_size, self.samples - shard * self.shard_size)


@dataclass(frozen=True, eq=False)
class Plan:
    """A chunk's sizes. shifts: the initial weights are 2^shift times the committed integers; range_check: of those integers."""

    circuit: Circuit
    first_step: int
    steps: int
    shifts: tuple[int, ...]
    range_check: bool
    batches: Batches

    @cached_property
    def sites(self) -> Sites:
        """Every lookup: rescales and signs, gathered data, and the initial weights where they are range-checked."""
        circuit, found = self.circuit, lookups(self.circuit, self.steps)
        for k, x in enumerate(circuit.inputs):
            column = (signed_bound(x.bits + 1), ((1, ("input", k)),))
            found.append(Lookup(("input", k), Table("range", x.bits + 1), (self.steps, *x.shape), (column,)))
        if self.range_check:
            for p, parameter in enumerate(circuit.parameters):
                column = (signed_bound(circuit.table_bits), ((1, ("initial", p)),))
                found.append(Lookup(("initial", p), Table("range", circuit.table_bits), parameter.shape, (column,)))
        return Sites.of(found)

    @cached_property
    def advice(self) -> dict:
        """Shapes of the committed advice and multiplicities."""
        return advice_shapes(self.circuit, self.steps) | {table.key: table.shape for table in self.sites.tables}

    def trace_layout(self, counts) -> Layout:
        """The trace commitment: advice, multiplicities, and the masks that the argument needs (``hidden.Counts``)."""
        return Layout(self.advice | {("mask", name): shape for name, shape in counts.shapes().items()})

    @cached_property
    def weight_shapes(self) -> list[tuple[int, ...]]:
        return [p.shape for p in self.circuit.parameters]

    def weights_layout(self, role: str) -> Layout:
        """A weights commitment; role: "initial" or "final"."""
        return Layout({(role, p): shape for p, shape in enumerate(self.weight_shapes)})

    def shard_layout(self, shard: int) -> Layout:
        """A shard of the dataset: one block per input array, samples first."""
        samples = self.batches.size(shard)
        return Layout({("data", shard, k): (samples, *x.shape[1:]) for k, x in enumerate(self.circuit.inputs)})

    def scatter(self, terms: list[Term]) -> list[Term]:
        """Turn terms on gathered batches, ("input", k), into terms on the shards they came from; repeats add up."""
        result, memo = [], {}
        for term in merge_terms(terms):
            if term.key[0] != "input":
                result.append(term)
                continue
            k = term.key[1]
            at = next(j for j, group in enumerate(term.groups) if 0 in group)
            name = id(term.step), id(term.vectors[at])
            if name not in memo:
                memo[name] = self._scattered(term.step, term.vectors[at])
            for shard, vector in memo[name].items():
                vectors = (*term.vectors[:at], vector, *term.vectors[at + 1 :])
                result.append(Term(("data", shard, k), term.scalar, None, term.groups, vectors))
        return merge_terms(result)

    def _scattered(self, step, vector) -> dict:
        """sample[n] = sum over (t, i) with index n of step[t] * vector[i, ...], for each shard."""
        batch = self.batches.indices.shape[1]
        rows = tuple(c.reshape(batch, -1) for c in vector)
        width = rows[0].shape[1]
        shards, local = np.divmod(self.batches.indices.reshape(-1), self.batches.shard_size)
        result = {}
        for shard in self.batches.shards:
            places = np.flatnonzero(shards == shard)
            halves = np.zeros((2, 2, self.batches.size(shard), width), dtype=np.uint64)  # low and high ones of both components
            for part in np.array_split(places, -(-len(places) * width // _SPREAD)):  # all at once may be gigabytes
                t, i = np.divmod(part, batch)
                spread = ext.mul(tuple(c[t][:, None] for c in step), tuple(c[i] for c in rows))
                for c, (low, high) in zip(spread, halves, strict=True):
                    np.add.at(low, local[part], c & np.uint64(2**32 - 1))
                    np.add.at(high, local[part], c >> np.uint64(32))
            result[shard] = tuple(field.join(*pair).reshape(-1) for pair in halves)
        return result
