"""Which commitment holds a matrix now: the first one, or a fresh one that has replaced it before its openings were used up.

A *slot* is a matrix that proofs open again and again: a chunk's weights, a shard of the dataset. Its commitments are numbered by
*generations*, all of them from seeds of their own. Slots of one *group* are named by one root, as shards are by the dataset's: they
change together, so that every root that a statement names is one that a finished proof has led to.

A proof that takes one of the last two units of a commitment replaces it. The second of them is a reserve: where the first proof is
lost, the next one replaces the same commitment by the same fresh one. And a chunk that is proven again, for what was lost may be
the finished proof, starts from where it started before, while the reserve lasts, whatever has been replaced since: the proofs before and
after it fit the new one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

RESERVE = 1  # openings of a commitment for a proof that replaces it once more

Generations = tuple[tuple[int, int], ...]  # (member, generation) of the members of a group that were replaced, ascending


class Slot(NamedTuple):
    """A matrix that is committed to, of this kind and number (member), or two of them in one commitment.

    group: a name; that of a weights commitment is its own. budget: openings of each part of its commitments. parts: those that are opened.
    shown, cure: for people, where none is left. kept: another chain's, which a proof that opens it does not replace: that chain's verifiers
    would lack it.
    """

    group: str
    member: int
    kind: str
    budget: int
    parts: tuple[str, ...]
    shown: str
    cure: str
    kept: bool = False

    def name(self, generation: int) -> str:
        """Of a commitment, for its owner."""
        return f"{self.group} {self.member}" + f".{generation}" * (generation > 0)

    def units(self, generation: int) -> list[str]:
        """The names of its counters: each part has its own."""
        return [f"{self.name(generation)} {part}" for part in self.parts]


class Hop(NamedTuple):
    """A finished proof of ``chunk`` that replaced something, and what had been replaced before."""

    chunk: str
    before: Generations


@dataclass(frozen=True)
class Replacements:
    """What was replaced in a group, and by which proofs, in order."""

    now: Generations = ()
    hops: tuple[Hop, ...] = ()

    def count(self) -> int:
        """How often."""
        return sum(generation for _, generation in self.now)

    def start(self, slots: Sequence[Slot], chunk: str, left: Callable[[Slot, int], int]) -> tuple[Generations, tuple[Slot, ...]]:
        """Where a proof of a chunk starts that opens these slots of the group, and which of them it replaces.

        left: units of a slot's generation. A chunk that is proven again does what its finished proof did, as long as there are units
        for that: of what is still in use one must be left for the proof that replaces it.
        """
        now, ends = dict(self.now), [*(hop.before for hop in self.hops[1:]), self.now]
        for (own, before), after in zip(self.hops, ends, strict=False):
            found, reached = dict(before), dict(after)
            links = tuple(slot for slot in slots if reached.get(slot.member, 0) > found.get(slot.member, 0))
            opened = [(slot, found.get(slot.member, 0)) for slot in slots] + [(slot, reached[slot.member]) for slot in links]
            if own == chunk and all(left(slot, at) > RESERVE * (now.get(slot.member, 0) == at) for slot, at in opened):
                return before, links
        return self.now, tuple(slot for slot in slots if left(slot, now.get(slot.member, 0)) <= 1 + RESERVE)

    def moved(self, base: Generations, after: Generations, chunk: str) -> "Replacements":
        """After a proof that led from base to after; where another one came first, its work stands."""
        return Replacements(after, (*self.hops, Hop(chunk, base))) if base == self.now else self

    def to_json(self) -> dict[str, Any]:
        return {"now": self.now, "hops": self.hops}

    @staticmethod
    def is_json(data) -> bool:
        """Whether ``from_json`` reads it."""

        def generations(value) -> bool:
            pairs = isinstance(value, list) and all(isinstance(x, list) and len(x) == 2 for x in value)
            return pairs and all(type(n) is int and n >= 0 for pair in value for n in pair)

        def hop(value) -> bool:
            return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and generations(value[1])

        hops = data.get("hops") if isinstance(data, dict) else None
        return isinstance(hops, list) and generations(data.get("now")) and all(map(hop, hops))

    @staticmethod
    def from_json(data: dict) -> "Replacements":
        def generations(value) -> Generations:
            return tuple((member, generation) for member, generation in value)

        return Replacements(generations(data["now"]), tuple(Hop(chunk, generations(before)) for chunk, before in data["hops"]))


NOTHING = Replacements()


@dataclass(frozen=True)
class Choice:
    """What a proof opens: of each slot the generation of its group's base, and of those that it replaces the next one too."""

    slots: tuple[Slot, ...]
    bases: dict[str, Generations] = field(hash=False)
    links: tuple[Slot, ...]

    def base(self, group: str) -> Generations:
        """(member, generation) of what was replaced before."""
        return self.bases[group]

    def generation(self, slot: Slot) -> int:
        """Of the commitment that the argument reads."""
        return dict(self.bases[slot.group]).get(slot.member, 0)

    def budgets(self) -> dict[str, int]:
        """The counters that a unit is taken of, and their allowances."""
        opened = {unit: slot.budget for slot in self.slots for unit in slot.units(self.generation(slot))}
        return opened | {unit: slot.budget for slot in self.links for unit in slot.units(self.generation(slot) + 1)}

    def after(self) -> dict[str, Generations]:
        """(member, generation) of all that was replaced, for each group in which something is."""
        found: dict[str, dict[int, int]] = {}
        for slot in self.links:
            found.setdefault(slot.group, dict(self.bases[slot.group]))[slot.member] = self.generation(slot) + 1
        return {group: tuple(sorted(x.items())) for group, x in found.items()}
