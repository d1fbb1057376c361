"""Links in a proof of their own: what it says, what must hold of that, and what verifying it takes.

Such a proof has no circuit and no argument: it opens commitments and fresh ones that replace them, shown to hold the same matrices.
Among the proofs of a chain it counts as links that ride on the others do.

PROTOCOL.md, sections 4.5, 14.2.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..algebra.extension import ONE
from ..algebra.poly import num_bits
from ..algebra.vectors import Vectors
from ..commitment.commit import Commitment, Opened, members
from ..commitment.dataset import shard_count
from ..commitment.geometry import Geometry
from ..commitment.opening import opening_work
from ..display import Sheet, Shown, Table
from ..errors import ConfigurationError, FormatError, VerificationError
from ..protocol.links import Links, draw_alone
from ..work import CALL, HASH, TERM, Meter
from .links import Link, check_links, check_parts, check_roots, links_of, pairs_in
from .statement import canonical, digest_in, integer_in, list_in, parsed, read_back

KIND = "link"
ORDER = ("weights", "frozen", "shard")  # kinds that can be replaced


@dataclass(frozen=True)
class Dataset:
    """A dataset before and after: roots, public sizes, and the siblings that lead from the linked shards to either root."""

    root: bytes
    root_after: bytes
    samples: int
    shard_size: int
    siblings: tuple[bytes, ...]


@dataclass(frozen=True)
class LinkStatement(Shown):
    """The public statement of a link proof; every field is absorbed before anything else.

    geometry: of all commitments
    replaced: weights, then frozen ones, then shards in ascending order of their numbers
    fresh:    for each the commitment that replaces it, or some of its parts: those are opened
    dataset:  None where no shard is replaced: roots that nobody checked must not be joined
    """

    geometry: Geometry
    replaced: tuple[Commitment, ...]
    fresh: tuple[Commitment, ...]
    dataset: Dataset | None = None

    def __post_init__(self) -> None:
        if len(self.replaced) != len(self.fresh):
            raise FormatError(f"statement: {len(self.fresh)} commitments replace {len(self.replaced)}")

    def named(self) -> dict[str, Opened]:
        """What is opened of the replaced commitments, in stack order, by their places: the parts that the fresh ones hold."""
        pairs = zip(self.replaced, self.fresh, strict=True)
        return {str(i): old.opened(*new.opened().names) for i, (old, new) in enumerate(pairs)}

    @property
    def links(self) -> tuple[Link, ...]:
        """As those of ``Statement``."""
        return tuple(Link(name, to) for name, to in zip(self.named(), self.fresh, strict=True))

    def opened(self) -> list[Opened]:
        """All that is opened of the statement's commitments, in stack order; the trace comes last."""
        return [*self.named().values(), *(to.opened() for to in self.fresh)]

    @property
    def roots(self) -> tuple[bytes, bytes] | None:
        """The dataset's roots that this proof joins."""
        return None if self.dataset is None else (self.dataset.root, self.dataset.root_after)

    def in_stack(self) -> Links:
        """What the opening shows equal, once the rows are known to agree."""
        return links_of(self)

    # ---- canonical form ---------------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        """Every field, in JSON's types."""
        data = self.dataset
        dataset = data and {
            "root": data.root.hex(),
            "root_after": data.root_after.hex(),
            "samples": data.samples,
            "shard_size": data.shard_size,
            "siblings": [x.hex() for x in data.siblings],
        }
        links = [{"from": a.to_json(), "to": b.to_json()} for a, b in zip(self.replaced, self.fresh, strict=True)]
        return {"kind": KIND, "geometry": self.geometry.to_json(), "links": links, "dataset": dataset}

    def canonical(self) -> bytes:
        """As ``Statement.canonical``."""
        return canonical(self.to_json())

    @staticmethod
    def parse(raw: bytes) -> "LinkStatement":
        """Read the canonical form; FormatError for anything else."""
        data = parsed(raw, {"kind", "geometry", "links", "dataset"})
        if data["kind"] != KIND:
            raise FormatError(f"statement: kind is {data['kind']!r:.40}, expected {KIND!r}")
        pairs = [(Commitment.from_json(old), Commitment.from_json(new)) for old, new in pairs_in(list_in(data["links"], "links"))]
        dataset = data["dataset"]
        if dataset is not None:
            names = {"root", "root_after", "samples", "shard_size", "siblings"}
            if not isinstance(dataset, dict) or set(dataset) != names:
                raise FormatError(f"statement: a dataset needs the fields {sorted(names)}")
            dataset = Dataset(
                root=digest_in(dataset["root"], "dataset.root"),
                root_after=digest_in(dataset["root_after"], "dataset.root_after"),
                samples=integer_in(dataset["samples"], "dataset.samples", 1, 2**32 - 1),
                shard_size=integer_in(dataset["shard_size"], "dataset.shard_size", 1, 2**32 - 1),
                siblings=tuple(digest_in(x, "dataset.siblings") for x in list_in(dataset["siblings"], "dataset.siblings")),
            )
        replaced, fresh = (tuple(pair[i] for pair in pairs) for i in range(2))
        return read_back(LinkStatement(Geometry.from_json(data["geometry"]), replaced, fresh, dataset), raw)

    # ---- for people -------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return f"LinkStatement({', '.join(map(_called, self.replaced))})"

    def __str__(self) -> str:
        return f"Fresh commitments to the same values replace those to {', '.join(map(_called, self.replaced))}."

    def sheet(self) -> Sheet:
        """The same as a table."""
        pairs = zip(self.replaced, self.fresh, strict=True)
        rows = [(_called(a), a.digest(self.geometry).hex(), b.digest(self.geometry).hex()) for a, b in pairs]
        rows += [("dataset", self.dataset.root.hex(), self.dataset.root_after.hex())] if self.dataset else []
        table = Table(tuple(rows), ("what", "before", "after"), left=(0, 1, 2))
        return Sheet("Statement: fresh commitments to the same values replace others", (table,))


def _called(commitment: Commitment) -> str:
    called = {"weights": f"the weights before step {commitment.number}", "frozen": "the frozen weights"}
    return called.get(commitment.kind, f"{commitment.kind} {commitment.number}")


def check_alone(statement: LinkStatement) -> None:
    """Whatever must hold of the statement before its proof is looked at."""
    _check_geometry(statement)
    geometry, replaced = statement.geometry, statement.replaced
    if not replaced:
        raise VerificationError("links", "nothing is replaced")
    if len({c.digest(geometry) for c in replaced}) != len(replaced):
        raise VerificationError("links", "a commitment is replaced twice")
    shards = [c for c in replaced if c.kind == "shard"]
    in_order = all(a.number < b.number for a, b in pairwise(shards))
    if not in_order or [c for kind in ORDER[:-1] for c in replaced if c.kind == kind] + shards != list(replaced):
        raise VerificationError("links", "they replace weights, then frozen ones, then shards in ascending order, and nothing else")
    for i, c in enumerate(replaced):
        if c.masked:
            raise VerificationError(f"commitment {i}", "it has mask rows")
        check_parts(c, geometry, f"commitment {i}")
    check_links(statement.links, statement.named(), geometry)
    if (statement.dataset is None) != (not shards):
        raise VerificationError("dataset", "it is named where shards are replaced, and nowhere else")
    if statement.dataset is not None:
        data, fresh = statement.dataset, statement.fresh[len(replaced) - len(shards) :]
        if shards[-1].number >= (count := shard_count(data.samples, data.shard_size)):
            raise VerificationError("dataset", f"shard {shards[-1].number} is none of its {count}")
        check_roots(shards, fresh, (data.root, data.root_after), data.siblings, data.samples, data.shard_size, geometry)


def _check_geometry(statement: LinkStatement) -> None:
    try:
        statement.geometry.check()
    except ConfigurationError as error:
        raise VerificationError("geometry", str(error)) from None


def estimate_alone(statement: LinkStatement, meter: Meter) -> None:
    """Charge what verifying this statement takes. Raises VerificationError for more than the meter's limits."""
    meter.next_proof()
    _check_geometry(statement)
    geometry, links = statement.geometry, statement.in_stack()
    meter.charge("links", (TERM + CALL) * len(links.pairs))
    opened = members(statement.opened())
    rows = [part.rows for part in opened] + [1]
    meter.charge("paths to the dataset", (2 * HASH * 32 + CALL) * len(links.pairs))
    budgets = [min(max(1, part.budget), geometry.max_budget) for part in opened]
    opening_work(geometry, rows, max(budgets, default=1), meter)
    within = {place: (ONE, [ONE] * num_bits(pair.rows)) for pair in links.pairs for place in (pair.source, pair.to)}
    draw_alone(None, links).evaluate(within, [ONE] * geometry.log_row, Vectors(meter, lengths_only=True))


def errors_alone(links: Links) -> dict[str, int]:
    """Numerators over |K| of the steps before the opening."""
    return {"links": links.variables, "constraints": len(links.pairs) - 1}
