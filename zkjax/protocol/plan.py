"""What one chunk of training commits, looks up and opens: sizes only, derived from the circuit and the public statement.

Both sides build the same plan; nothing in it is read from a proof.

PROTOCOL.md, sections 10.3, 10.4.
"""

import dataclasses
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.extension import ONE
from ..algebra.layout import Layout
from ..algebra.vectors import Vectors
from ..circuit import ranged
from ..circuit.circuit import Circuit
from ..circuit.parts import CELLS, OTHER, PARAMETERS
from ..ops import forms, ranges
from ..ops.ranges import Lookup, Part, signed_bound
from ..ops.tables import Table
from ..work import PASSING, SPREAD
from . import motion
from .claims import Term, merge_terms
from .hidden import mask_component_vector
from .membership import Sites

ROLES = ("initial", "final")  # of commitments to weights in a chunk
FROZEN = ("frozen", "beside")  # names of commitments to frozen parameters
_SPREAD = 2**20  # entries of weights that are spread over samples at once


@dataclass(frozen=True, eq=False)
class Batches:
    """Which samples each step reads. indices: (steps, batch), int64; the dataset has ``samples``, cut into shards."""

    indices: np.ndarray
    shard_size: int
    samples: int

    @cached_property
    def read(self) -> int:
        """How many samples are read, repeats counted."""
        return self.indices.size

    @cached_property
    def shards(self) -> tuple[int, ...]:
        shards = np.sort(self.indices.reshape(-1) // self.shard_size)
        return tuple(shards[np.diff(shards, prepend=-1) > 0].tolist())  # NumPy's unique takes longer to import than to run

    @cached_property
    def opened(self) -> int:
        """Samples in all shards that are read."""
        return sum(map(self.size, self.shards))

    @cached_property
    def places(self) -> np.ndarray:
        """Where each sample read stands among those of all shards that are read."""
        shards, local = np.divmod(self.indices.reshape(-1), self.shard_size)
        starts = np.cumsum([0, *map(self.size, self.shards)])
        return starts[np.searchsorted(self.shards, shards)] + local

    def size(self, shard: int) -> int:
        """Samples in a shard; the last one may be smaller."""
        return min(self.shard_size, self.samples - shard * self.shard_size)


@dataclass(frozen=True, eq=False)
class Plan:
    """A chunk's sizes.

    shifts: the initial weights are 2^shift times the committed integers; widths: of the signed ranges that are shown of those
    (``circuit.ranged``). given: a chain begins here, and states that the circuit gives are not among the initial commitment. trained: the
    circuit's frozen parameters stand in commitments of kind "frozen" (None) or, all that it has, to weights of these numbers; beside: those
    of them that stand in the second commitment. number: of the first weights' commitment, where that of the first step is another chain's;
    None: that of the step.
    """

    circuit: Circuit
    first_step: int
    steps: int
    shifts: tuple[int, ...]
    widths: tuple[int, ...]
    batches: Batches
    given: bool = dataclasses.field(default=False, kw_only=True)
    trained: tuple[int | None, ...] = dataclasses.field(default=(None,), kw_only=True)
    beside: tuple[int, ...] = dataclasses.field(default=(), kw_only=True)
    number: int | None = dataclasses.field(default=None, kw_only=True)

    @cached_property
    def sites(self) -> Sites:
        """Every lookup: those of all operations, gathered data, and the initial weights where they are range-checked."""
        circuit = self.circuit
        found = [replace(x, shape=(self.steps, *x.shape)) for lookups in circuit.lookups.values() for x in lookups]
        for k, x in enumerate(circuit.inputs):
            column = (signed_bound(x.bits + 1), (Part(1, ("input", k)),))
            found.append(Lookup(("input", k), Table("range", x.bits + 1), (self.steps, *x.shape), (column,)))
        for x in self.shown:
            form = ((1, x.tensor),)
            found += ranges.lookups(x.name, signed_bound(x.width), form, x.width, x.shape, circuit.table_bits, stepped=False)
        return Sites.of([*found, *motion.lookups(circuit, self.first_step, self.steps)])

    @cached_property
    def initial(self) -> tuple[int, ...]:
        """The states that are committed at the chunk's beginning."""
        given = self.circuit.given if self.given else ()
        return tuple(p for p in range(len(self.circuit.parameters)) if p not in given)

    def start(self, p: int) -> tuple[str, int]:
        """The tensor that is committed of a state at the chunk's beginning."""
        return ranged.start(self.circuit, p)

    @cached_property
    def shown(self) -> list[ranged.Shown]:
        """The ranges that are shown of them."""
        return ranged.shown(self.circuit, [width * (p in self.initial) for p, width in enumerate(self.widths)])

    @cached_property
    def formed(self) -> list[ranged.Run]:
        """The blocks of matrices of which random forms show that."""
        return ranged.runs(self.circuit, self.widths)

    @cached_property
    def motions(self) -> dict[int, motion.Motion]:
        """The coefficients of states with a recurrence, for the steps of the chunk."""
        return {s: motion.Motion.of(self.circuit, s, self.first_step, self.steps) for s in self.circuit.recurrent}

    @cached_property
    def advice(self) -> dict:
        """Shapes of the committed advice and multiplicities."""
        shapes = {key: (self.steps, *shape) for found in self.circuit.advice.values() for key, shape in found.items()}
        shapes |= motion.advice(self.circuit, self.first_step, self.steps)
        for x in self.shown:
            shapes |= ranges.cells(x.name, x.width, x.shape, self.circuit.table_bits)
        return shapes | {table.key: table.shape for table in self.sites.tables}

    def trace_layout(self, counts) -> Layout:
        """The trace commitment: advice, multiplicities, and the masks that the argument needs (``hidden.Counts``)."""
        return Layout(self.advice | {("mask", name): shape for name, shape in counts.shapes().items()})

    @cached_property
    def layouts(self) -> dict[str, dict[str, Layout]]:
        """Of what the argument reads of the statement's commitments, in stack order: by the names that links use, and by part."""
        shapes, circuit = [x.shape for x in self.circuit.parameters], self.circuit
        found = {role: {part: Layout({(role, p): shapes[p] for p in held}) for part, held in circuit.held.items()} for role in ROLES}
        if self.given:
            found["initial"].pop(OTHER, None)  # a statement may say so of a circuit that gives none: refused later
        if circuit.frozen:
            beside = {*circuit.frozen} & {*self.beside}  # whatever numbers a statement tells
            for name, trained, own in zip(FROZEN, self.trained, ({*circuit.frozen} - beside, beside), strict=False):
                part = CELLS if trained is None else PARAMETERS
                found[name] = {part: Layout({("frozen", p): shapes[p] for p in sorted(own)})}
        return found | {f"shard {number}": {CELLS: self.shard_layout(number)} for number in self.batches.shards}

    @property
    def members(self) -> list[Layout]:
        """The same as members of the stack, as claims read them."""
        return [self.read(name, part) for name, parts in self.layouts.items() for part in parts]

    def read(self, name: str, part: str) -> Layout:
        """One of ``layouts``, with what forms of its cells leave claims on."""
        layout = self.layouts[name][part]
        for run in self.formed if part != OTHER else ():
            layout = layout.with_cells(("cells", name, run.first), forms.BLOCK, run.first, run.count) if run.name == name else layout
        return layout

    def kind(self, name: str) -> tuple[str, int]:
        """Kind and number of a commitment of ``layouts``: one to weights is named by its step, not by its role."""
        number = self.first_step if self.number is None else self.number
        ends = {"initial": ("weights", number), "final": ("weights", self.first_step + self.steps)}
        ends |= {of: ("frozen", 0) if found is None else ("weights", found) for of, found in zip(FROZEN, self.trained, strict=False)}
        return ends[name] if name in ends else ("shard", int(name.split()[1]))

    def shard_layout(self, shard: int) -> Layout:
        """A shard of the dataset: one block per input array, samples first."""
        samples = self.batches.size(shard)
        return Layout({("data", shard, k): (samples, *x.shape[1:]) for k, x in enumerate(self.circuit.inputs)})

    def scatter(self, terms: list[Term], vectors: Vectors | None = None) -> list[Term]:
        """Turn terms on gathered batches, ("input", k), into terms on the shards they came from; repeats add up."""
        vectors = vectors or Vectors()
        result, memo = [], {}
        for term in merge_terms(terms, vectors):
            if term.key[0] != "input":
                result.append(term)
                continue
            k = term.key[1]
            at = next(j for j, group in enumerate(term.groups) if 0 in group)
            name = term.step, term.vectors[at]
            if name not in memo:
                memo[name] = self._scattered(vectors, term.step, term.vectors[at])
            for shard, vector in memo[name].items():
                along = (*term.vectors[:at], vector, *term.vectors[at + 1 :])
                result.append(Term(("data", shard, k), term.scalar, None, term.groups, along))
        return merge_terms(result, vectors)

    def _scattered(self, vectors: Vectors, step, vector) -> dict:
        """sample[n] = sum over (t, i) with index n of step[t] * vector[i, ...], for each shard."""
        batches, batch = self.batches, self.circuit.batch_size
        width = len(vector[0]) // batch

        def spread():
            rows = tuple(c.reshape(batch, width) for c in vector)
            halves = np.zeros((2, 2, batches.opened * width), dtype=np.uint64)  # low and high ones of both components
            for start in range(0, batches.read, max(1, _SPREAD // width)):  # all at once may be gigabytes
                t, i = np.divmod(np.arange(start, min(batches.read, start + max(1, _SPREAD // width))), batch)
                products = ext.mul(tuple(c[t][:, None] for c in step), tuple(c[i] for c in rows))
                places = (batches.places[t * batch + i][:, None] * width + np.arange(width)).reshape(-1)
                for c, (low, high) in zip(products, halves, strict=True):
                    np.add.at(low, places, c.reshape(-1) & field.EPSILON)
                    np.add.at(high, places, c.reshape(-1) >> np.uint64(32))
            return tuple(field.join(*pair) for pair in halves)

        what = f"{batches.read:,} samples read, of {batches.opened:,} in shards, with {width:,} weights each"
        vectors.meter.charge(what, SPREAD * batches.read * width, 0, 2 * PASSING * min(batches.read * width, 2 * _SPREAD))
        whole = vectors.make(batches.opened * width, spread, what=what)
        result, start = {}, 0
        for shard in batches.shards:
            stop = start + batches.size(shard) * width
            result[shard] = vectors.make(stop - start, lambda part=slice(start, stop): tuple(c[part] for c in whole), 0)
            start = stop
        return result


def row_count(layout: Layout, row: int) -> int:
    """Rows of ``row`` cells that hold a layout."""
    return max(1, -(-layout.size // row))


def mask_terms(weights: dict) -> list[Term]:
    """Weights of the mask vectors as terms on their committed cells."""
    parts = mask_component_vector()
    return [Term(("mask", name), ONE, None, ((0,), (1,)), (vector, parts)) for name, vector in weights.items()]


def opening_terms(plan: Plan, weights: dict, terms: list, vectors: Vectors | None = None) -> dict:
    """All terms of the opening by committed tensor: those of the masks, and those of the constraints, gathered into shards."""
    vectors = vectors or Vectors()
    flat = [t._replace(scalar=t.scalar * factor) for factor, group in terms for t in group]
    by_key: dict = {}
    for term in plan.scatter(flat, vectors) + mask_terms(weights):
        by_key.setdefault(term.key, []).append(term)
    return by_key
