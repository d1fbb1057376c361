"""The commitments that a proof opens: made of what its run holds, kept for the chain's next proofs, replaced in good time."""

from dataclasses import dataclass, field

import numpy as np

from ..algebra.layout import Layout
from ..commitment.commit import Committed, commit
from ..commitment.dataset import dataset_root, root_from_siblings, shard_count
from ..commitment.geometry import Geometry
from ..commitment.slots import Choice, Slot
from ..proofs.links import Link, links_in_stack
from ..protocol.links import Links
from ..protocol.plan import FROZEN, Plan, row_count
from .aggregate import embed


def slots_of(run, plan: Plan) -> dict[str, Slot]:
    """What a proof of the run opens, in stack order, by its name in links: weights before and after, frozen ones, shards that it reads."""
    chain = run.chain
    lost = "a proof that replaces it is not finished: wait for it, and prove again; if it was lost, "
    anew = lost + "start a new chain (zkjax.train with parameters instead of a run)"
    again = lost + "train these steps again, from the run before: their last weights get a new commitment with every training"
    groups = {"initial": run.keys[0].name, "final": run.keys[1].name, "frozen": f"{chain.data.name} frozen"}
    groups |= {name: end.group for name, end in zip(FROZEN, run.reads, strict=False)}
    found = {}
    for name, parts in plan.layouts.items():
        kind, number = plan.kind(name)
        called = {"weights": f"the weights before step {number}", "frozen": "the frozen weights", "shard": f"shard {number} of the dataset"}
        cure = again if name == "final" and run.first_step else anew
        group, kept = groups.get(name, chain.data.name), name in FROZEN and bool(run.reads)
        found[name] = Slot(group, number, kind, chain.budget(kind), tuple(parts), called[kind], cure, kept)
    return found


def rows_of(layout: Layout, tensors: dict, row: int) -> np.ndarray:
    """A layout's cells as rows of a commitment."""
    return embed(layout, tensors, row_count(layout, row) * row).reshape(-1, row)


@dataclass(frozen=True, eq=False)
class Commitments:
    """Those of one proof.

    coarse: the first weights' committed integers. choice: of the commitments to some of the run's slots, or to all. trained: the
    commitments of trainings that it reads, and what they are called there, by their names here.
    """

    run: object
    plan: Plan
    geometry: Geometry
    coarse: tuple[np.ndarray, ...]
    choice: Choice
    trained: "dict[str, tuple[Commitments, str]]" = field(default_factory=dict)

    @property
    def slots(self) -> dict[str, Slot]:
        return {name: slot for name, slot in slots_of(self.run, self.plan).items() if slot in self.choice.slots}

    @property
    def layouts(self) -> list[Layout]:
        """Of the opened parts, as claims read them."""
        return [self.plan.read(name, part) for name in self.slots for part in self.plan.layouts[name]]

    @property
    def row_counts(self) -> list[int]:
        """Of the opened parts, and of those that replace some."""
        return [row_count(layout, self.geometry.row) for layout in self.layouts] + [pair.rows for pair in self.links.pairs]

    @property
    def second(self) -> int:
        """How many of them share the tree of the one before."""
        return sum(len(slot.parts) - 1 for slot in (*self.slots.values(), *self.choice.links))

    @property
    def budgets(self) -> list[int]:
        """Likewise."""
        return [slot.budget for slot in (*self.slots.values(), *self.choice.links) for _ in slot.parts]

    @property
    def links(self) -> Links:
        """What the proof shows equal."""
        row, parts = self.geometry.row, self.plan.layouts
        named = {name: [(part, row_count(layout, row)) for part, layout in parts[name].items()] for name in self.slots}
        return links_in_stack([(name, self.slots[name].parts) for name in self.fresh], named, self.geometry.log_row)

    @property
    def fresh(self) -> list[str]:
        """Names of the slots whose commitments are replaced, in stack order."""
        return [name for name, slot in self.slots.items() if slot in self.choice.links]

    def opened(self, name: str) -> Committed:
        """The commitment that the argument reads."""
        slot = self.slots[name]
        if slot.kept:
            found, called = self.trained[name]
            return found.opened(called).only(*slot.parts)
        generation = self.choice.generation(slot)
        return self.run.chain.keep(slot.name(generation), lambda: self._commit(slot, generation, self._rows(name)))

    def replacement(self, name: str) -> Committed:
        """A fresh one to the same matrix."""
        slot = self.slots[name]
        generation = self.choice.generation(slot) + 1
        return self.run.chain.keep(slot.name(generation), lambda: self._commit(slot, generation, [x.rows for x in self.opened(name).parts]))

    def dataset(self, links: tuple[Link, ...] = ()) -> tuple[bytes, tuple[bytes, ...], bytes]:
        """The dataset's root before, the siblings of the shards that are opened, and the root after the links."""
        samples, size = self.run.data.samples, self.plan.batches.shard_size
        read = [slot.member for slot in self.slots.values() if slot.kind == "shard"]
        digests = [self.shard_digest(n) for n in range(shard_count(samples, size))]
        root, siblings = dataset_root(digests, read, samples, size)
        after = {n: digests[n] for n in read}
        after |= {link.to.number: link.to.digest(self.geometry) for link in links if link.to.kind == "shard"}
        return root, tuple(siblings), root_from_siblings(after, siblings, samples, size)

    def shard_digest(self, number: int) -> bytes:
        """Shards that are not opened are committed to once, for their digests alone."""
        if f"shard {number}" in self.slots:
            return self.opened(f"shard {number}").commitment.digest(self.geometry)
        slot = self.choice.slots[-1]._replace(member=number)
        name = f"digest of {slot.name(self.choice.generation(slot))}"
        return self.run.chain.keep(name, lambda: self.shard(number).commitment.digest(self.geometry))

    def shard(self, number: int) -> Committed:
        """The commitment to any shard; of one that is not opened nothing is kept."""
        if f"shard {number}" in self.slots:
            return self.opened(f"shard {number}")
        slot = self.choice.slots[-1]._replace(member=number)  # the last one is a shard
        return self._commit(slot, self.choice.generation(slot), self._shard_rows(number))

    def _commit(self, slot: Slot, generation: int, rows: list[np.ndarray]) -> Committed:
        own = {key.name: key.seed for key in self.run.keys}
        if generation:  # a seed of its own, also where the first one is published
            seed = self.run.chain.secret(f"seed of {slot.name(generation)}")
        else:
            seed = own[slot.group] if slot.group in own else self.run.chain.secret(f"{slot.kind} {slot.member}")
        return commit(rows, kind=slot.kind, number=slot.member, budget=slot.budget, geometry=self.geometry, seed=seed)

    def _rows(self, name: str) -> list[np.ndarray]:
        if name.startswith("shard"):
            return self._shard_rows(int(name.split()[1]))
        arrays = self.run.final if name == "final" else self.coarse
        tensors = {(name, p): x for p, x in enumerate(arrays)}
        return [rows_of(layout, tensors, self.geometry.row) for layout in self.plan.layouts[name].values()]

    def _shard_rows(self, number: int) -> list[np.ndarray]:
        size = self.plan.batches.shard_size
        part = slice(number * size, (number + 1) * size)
        tensors = {("data", number, k): x[part] for k, x in enumerate(self.run.data.arrays)}
        return [rows_of(self.plan.shard_layout(number), tensors, self.geometry.row)]
