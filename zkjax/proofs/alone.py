"""Links in a proof of their own: what it says, what must hold of that, and what verifying it takes.

Such a proof has no circuit and no argument: it opens commitments and fresh ones that replace them, shown to hold the same matrices.
Among the proofs of a chain it counts as links that ride on the others do.

PROTOCOL.md, sections 4.5, 14.2.
"""

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..algebra.extension import ONE
from ..algebra.poly import num_bits
from ..algebra.vectors import Vectors
from ..commitment.commit import Commitment, stack
from ..commitment.dataset import shard_count
from ..commitment.geometry import Geometry
from ..commitment.opening import opening_work
from ..display import Sheet, Shown, Table
from ..errors import ConfigurationError, FormatError, VerificationError
from ..protocol.links import Links, draw_alone
from ..work import CALL, HASH, TERM, Meter
from .links import Link, check_links, check_roots, links_in_stack
from .statement import digest_in, integer_in, list_in, parsed

KIND = "link"


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
    replaced: weights, then shards in ascending order of their numbers
    fresh:    for each the commitment that replaces it
    dataset:  None where no shard is replaced: roots that nobody checked must not be joined
    """

    geometry: Geometry
    replaced: tuple[Commitment, ...]
    fresh: tuple[Commitment, ...]
    dataset: Dataset | None = None

    def named(self) -> dict[str, Commitment]:
        """The replaced commitments, in stack order, by their places."""
        return {str(i): c for i, c in enumerate(self.replaced)}

    @property
    def links(self) -> tuple[Link, ...]:
        """As those of ``Statement``."""
        return tuple(Link(name, to) for name, to in zip(self.named(), self.fresh, strict=True))

    def commitments(self) -> list[Commitment]:
        """All in the statement, in stack order; the trace comes last."""
        return [*self.replaced, *self.fresh]

    @property
    def roots(self) -> tuple[bytes, bytes] | None:
        """The dataset's roots that this proof joins."""
        return None if self.dataset is None else (self.dataset.root, self.dataset.root_after)

    def in_stack(self) -> Links:
        """What the opening shows equal, once the rows are known to agree."""
        return links_in_stack(self.named(), self.named(), [c.rows for c in self.replaced], self.geometry.log_row)

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
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

    @staticmethod
    def parse(raw: bytes) -> "LinkStatement":
        """Read the canonical form; FormatError for anything else."""
        data = parsed(raw, {"kind", "geometry", "links", "dataset"})
        if data["kind"] != KIND:
            raise FormatError(f"statement: kind is {data['kind']!r:.40}, expected {KIND!r}")
        replaced, fresh = [], []
        for i, item in enumerate(list_in(data["links"], "links")):
            if not isinstance(item, dict) or set(item) != {"from", "to"}:
                raise FormatError(f"statement: links[{i}] needs from and to")
            replaced.append(Commitment.from_json(item["from"]))
            fresh.append(Commitment.from_json(item["to"]))
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
        statement = LinkStatement(Geometry.from_json(data["geometry"]), tuple(replaced), tuple(fresh), dataset)
        if statement.canonical() != raw:
            raise FormatError("statement: not in canonical form")
        return statement

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
    return f"the weights before step {commitment.number}" if commitment.kind == "weights" else f"{commitment.kind} {commitment.number}"


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
    if not in_order or [c for c in replaced if c.kind == "weights"] + shards != list(replaced):
        raise VerificationError("links", "they replace weights, then shards in ascending order, and nothing else")
    for i, c in enumerate(replaced):
        if c.masked or not 1 <= c.budget <= geometry.max_budget:
            raise VerificationError(f"commitment {i}", f"masked, or its opening budget {c.budget} is outside 1..{geometry.max_budget}")
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
    rows = [c.rows for c in statement.commitments()] + [1]
    _, row_variables = stack(rows)
    meter.charge("paths to the dataset", (2 * HASH * 32 + CALL) * len(links.pairs))
    budgets = [min(max(1, c.budget), geometry.max_budget) for c in statement.commitments()]
    opening_work(geometry, rows, max(budgets, default=1), meter)
    within = {place: (ONE, [ONE] * num_bits(pair.rows)) for pair in links.pairs for place in (pair.source, pair.to)}
    draw_alone(None, links).evaluate(within, [ONE] * geometry.log_row, Vectors(meter, lengths_only=True))


def errors_alone(links: Links) -> dict[str, int]:
    """Numerators over |K| of the steps before the opening."""
    return {"links": links.variables, "constraints": len(links.pairs) - 1}
