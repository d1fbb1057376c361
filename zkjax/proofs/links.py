"""Replaced commitments: what a statement says of them, and what must hold of that before any proof is looked at.

A link says that a fresh commitment holds the same matrix as one of the statement's own. Whoever verifies several proofs counts
commitments, and dataset roots, that are joined by links as one: ``Classes``.

PROTOCOL.md, sections 4.3, 4.4.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..commitment.commit import Commitment
from ..commitment.dataset import root_from_siblings
from ..commitment.geometry import Geometry
from ..errors import FormatError, VerificationError
from ..protocol.links import Links, Pair


@dataclass(frozen=True)
class Link:
    """A commitment of the statement and the fresh one that holds the same matrix. source: "initial", "final" or "shard N"."""

    source: str
    to: Commitment

    def to_json(self) -> dict[str, Any]:
        return {"from": self.source, "to": self.to.to_json()}

    @staticmethod
    def parse(items: list, named: dict[str, Commitment]) -> tuple["Link", ...]:
        """From JSON; FormatError for what is no list of links from different ones of the named commitments."""
        found: dict[str, Link] = {}
        for i, item in enumerate(items):
            if not isinstance(item, dict) or set(item) != {"from", "to"}:
                raise FormatError(f"statement: links[{i}] needs from and to")
            source = item["from"]
            if not isinstance(source, str) or source not in named or source in found:
                raise FormatError(f"statement: links[{i}].from is {source!r:.40}, expected one of {', '.join(named)}, each once at most")
            found[source] = Link(source, Commitment.from_json(item["to"]))
        return tuple(found.values())


def check_links(links: Iterable[Link], named: dict[str, Commitment], geometry: Geometry) -> None:
    """Each fresh commitment is of the kind and size of the one that it replaces, and another one."""
    for link in links:
        old, new, name = named[link.source], link.to, f"link from {link.source}"
        if (new.kind, new.number, new.masked) != (old.kind, old.number, False):
            raise VerificationError(name, f"it leads to {new.kind} {new.number}{' with mask rows' * new.masked}")
        if new.rows != old.rows:
            raise VerificationError(name, f"{new.rows} rows, expected {old.rows}")
        if new.root == old.root:
            raise VerificationError(name, "it leads to the same commitment")
        if not 1 <= new.budget <= geometry.max_budget:
            raise VerificationError(name, f"its opening budget {new.budget} is outside 1..{geometry.max_budget}")


def check_roots(old, new, roots: tuple[bytes, bytes], siblings, samples: int, shard_size: int, geometry: Geometry) -> None:
    """The same siblings lead from shards' commitments to the dataset's root before, and from those that are there after to the other.

    old, new: ascending by number, of the same shards.
    """
    for name, root, shards in (("dataset", roots[0], old), ("dataset after", roots[1], new)):
        digests = {c.number: c.digest(geometry) for c in shards}
        try:
            found = root_from_siblings(digests, list(siblings), samples, shard_size)
        except FormatError as error:
            raise VerificationError(name, str(error)) from None
        if found != root:
            raise VerificationError(name, f"the shards {', '.join(map(str, digests))} and their siblings do not lead to its root")


def links_in_stack(sources: Iterable[str], named: Iterable[str], rows: list[int], log_row: int) -> Links:
    """Links as pairs of places in the opening's stack: first the named commitments, then those that links lead to, in order.

    sources: names of those that are replaced. rows: of the named ones.
    """
    places = {name: place for place, name in enumerate(named)}
    pairs = (Pair(places[name], len(places) + j, rows[places[name]]) for j, name in enumerate(sources))
    return Links(tuple(pairs), log_row)


class Classes:
    """Digests that verified links join: equal ones, as far as anybody can tell."""

    def __init__(self) -> None:
        self._found: dict[bytes, set[bytes]] = {}

    def of(self, digest: bytes) -> set[bytes]:
        """All that are joined with this one, itself included."""
        return self._found.get(digest, {digest})

    def join(self, a: bytes, b: bytes) -> None:
        """Count two of them as one."""
        if self.same(a, b):
            return
        small, large = sorted((self.of(a), self.of(b)), key=len)
        large |= small
        for digest in (*small, a, b):
            self._found[digest] = large

    def same(self, a: bytes, b: bytes) -> bool:
        """Whether links lead from one to the other."""
        return b in self.of(a)
