"""Replaced commitments: what a statement says of them, and what must hold of that before any proof is looked at.

A link says that a fresh commitment holds the same matrix as one of the statement's own. Whoever verifies several proofs counts
commitments, and dataset roots, that are joined by links as one: ``Classes``.

PROTOCOL.md, sections 4.3, 4.4.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..commitment.commit import PARTS, Commitment, Opened
from ..commitment.dataset import root_from_siblings
from ..commitment.geometry import Geometry
from ..errors import FormatError, VerificationError
from ..protocol.links import Links, Pair


@dataclass(frozen=True)
class Link:
    """A commitment of the statement and a fresh one whose parts hold what the parts of these names hold in it.

    source: "initial", "final", "frozen", "beside" or "shard N".
    """

    source: str
    to: Commitment

    def to_json(self) -> dict[str, Any]:
        return {"from": self.source, "to": self.to.to_json()}

    @staticmethod
    def parse(items: list, named: dict[str, Opened]) -> tuple["Link", ...]:
        """From JSON; FormatError for what is no list of links from different ones of the named commitments."""
        found: dict[str, Link] = {}
        for source, to in pairs_in(items):
            if not isinstance(source, str) or source not in named or source in found:
                raise FormatError(f"statement: a link is from {source!r:.40}, expected one of {', '.join(named)}, each once at most")
            found[source] = Link(source, Commitment.from_json(to))
        return tuple(found.values())


def pairs_in(items: list) -> list[tuple[Any, Any]]:
    """What links lead from and to; FormatError for a list of anything else."""
    for i, item in enumerate(items):
        if not isinstance(item, dict) or set(item) != {"from", "to"}:
            raise FormatError(f"statement: links[{i}] needs from and to")
    return [(item["from"], item["to"]) for item in items]


def check_links(links: Iterable[Link], named: dict[str, Opened], geometry: Geometry) -> None:
    """Each fresh commitment is of the kind and size of the one that it replaces, part by part, and another one."""
    for link in links:
        (old, parts), new, name = source_of(link, named), link.to, f"link from {link.source}"
        if (new.kind, new.number, new.masked) != (old.kind, old.number, False):
            raise VerificationError(name, f"it leads to {new.kind} {new.number}{' with mask rows' * new.masked}")
        rows = {part.name: part.rows for part in parts}
        for part in new.parts:
            if part.name not in rows:
                raise VerificationError(name, f"it leads to {part.name}, which is not opened there")
            if part.rows != rows[part.name]:
                raise VerificationError(name, f"{part.rows} rows, expected {rows[part.name]}")
        if new.root == old.root:
            raise VerificationError(name, "it leads to the same commitment")
        check_parts(new, geometry, name)


def source_of(link: Link, named: dict[str, Opened]) -> Opened:
    """What a link is from."""
    if link.source not in named:  # of a statement that was not read from a file
        raise VerificationError(f"link from {link.source}", "the statement has no such commitment")
    return named[link.source]


def check_parts(commitment: Commitment, geometry: Geometry, name: str) -> None:
    """They are parts of its kind, each of which may be opened, and not more often than the geometry leaves room for."""
    names, known = [part.name for part in commitment.parts], PARTS[commitment.kind]
    if not names or names != [part for part in known if part in names]:  # of a statement that was not read from a file
        raise VerificationError(name, f"its parts are {', '.join(names) or 'none'}, not some of {', '.join(known)} in this order")
    for part in commitment.parts:
        if not 1 <= part.budget <= geometry.max_budget:
            raise VerificationError(name, f"its opening budget {part.budget} is outside 1..{geometry.max_budget}")


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


def links_in_stack(links: Iterable[tuple[str, tuple[str, ...]]], named: dict[str, list[tuple[str, int]]], log_row: int) -> Links:
    """Links as pairs of places in the opening's stack: first what is opened of the named commitments, then what links lead to, in order.

    links: name of what is replaced, and the parts of what it is replaced by. named: of each its opened parts and their rows. A part that
    is not opened there, which ``check_links`` refuses, counts for nothing.
    """
    members = [(name, part, rows) for name, parts in named.items() for part, rows in parts]
    places = {(name, part): (place, rows) for place, (name, part, rows) in enumerate(members)}
    linked = [places[name, part] for name, parts in links for part in parts if (name, part) in places]
    return Links(tuple(Pair(place, len(members) + j, rows) for j, (place, rows) in enumerate(linked)), log_row)


def links_of(statement) -> Links:
    """The same of a statement, of a chunk or of links alone, by the rows that it says."""
    named = {name: [(part.name, part.rows) for part in x.parts] for name, x in statement.named().items()}
    return links_in_stack([(link.source, link.to.opened().names) for link in statement.links], named, statement.geometry.log_row)


def joined(statements) -> "Classes":
    """What these statements' links say is equal, by digests: parts of commitments, commitments all of whose parts are, dataset roots."""
    classes = Classes()
    for statement in statements:
        named, geometry = statement.named(), statement.geometry
        for link in statement.links:
            old, new = source_of(link, named).commitment, link.to
            for part in new.parts:
                classes.join(old.part_digest(geometry, part.name), new.part_digest(geometry, part.name))
            if [part.name for part in old.parts] == [part.name for part in new.parts]:
                classes.join(old.digest(geometry), new.digest(geometry))
        if statement.roots is not None:
            classes.join(*statement.roots)
    return classes


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
