"""Disclosures: what ties published arrays to commitments, as a file: a header (``header.py``), the statement in canonical form, see
``Disclosure``, and as its body the opening at a point, if there is one.

A commitment that holds nothing else than what is published is disclosed by the seed of its randomness: its root follows from that and the
arrays. Where it holds another part too, the published one is opened at a point, as in a proof. What is compared, and with which
arrays, is in ``disclosed.py``.

PROTOCOL.md, section 4.6.
"""

from dataclasses import dataclass
from itertools import pairwise
from os import PathLike
from typing import Any, NamedTuple

from .. import files
from ..circuit.parts import PARAMETERS
from ..commitment.commit import Commitment, Opened
from ..commitment.dataset import shard_count
from ..commitment.geometry import Geometry
from ..display import Sheet, Shown, Table
from ..errors import FormatError
from .header import Kind
from .statement import canonical, digest_in, integer_in, list_in, parsed, read_back

KIND = "disclosure"
MAGIC = b"zkjxdscl"
VERSION = 1
MAX_STATEMENT = 2**26  # bytes
FILE = Kind(MAGIC, VERSION, MAX_STATEMENT, "a disclosure", "Disclosure.save")
MAX_FILE = 2**28  # bytes
ORDER = ("weights", "frozen", "shard")  # kinds that can be disclosed


class Item(NamedTuple):
    """A commitment that is disclosed: by the seed of its one part's randomness, or, where that is None, its parameters at a point."""

    commitment: Commitment
    seed: bytes | None

    def __repr__(self) -> str:
        return f"Item({self.commitment.kind} {self.commitment.number}, {'at a point' if self.seed is None else 'by its seed'})"


class Shards(NamedTuple):
    """Of which dataset the shards are: its public sizes, and the siblings that lead from them to its root."""

    samples: int
    shard_size: int
    siblings: tuple[bytes, ...]


@dataclass(frozen=True)
class Disclosure(Shown):
    """That certain arrays stand behind certain commitments. ``zkjax.disclose`` makes one; ``zkjax.verify`` compares it with the arrays.

    geometry: of all commitments
    items:    weights and frozen ones, or shards in ascending order of their numbers
    dataset:  where the shards belong; None for weights
    arrays:   SHA-256 of the rows that are opened at a point; None where nothing is
    body:     what proves that
    """

    geometry: Geometry
    items: tuple[Item, ...]
    dataset: Shards | None = None
    arrays: bytes | None = None
    body: bytes = b""

    @property
    def pointed(self) -> Opened | None:
        """What is opened at a point."""
        return next((item.commitment.opened(PARAMETERS) for item in self.items if item.seed is None), None)

    # ---- canonical form ---------------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        """The statement, in JSON's types."""
        data = self.dataset
        return {
            "kind": KIND,
            "geometry": self.geometry.to_json(),
            "items": [{"commitment": c.to_json(), "seed": seed and seed.hex()} for c, seed in self.items],
            "dataset": data and {"samples": data.samples, "shard_size": data.shard_size, "siblings": [x.hex() for x in data.siblings]},
            "arrays": self.arrays and self.arrays.hex(),
        }

    def canonical(self) -> bytes:
        """As ``Statement.canonical``."""
        return canonical(self.to_json())

    def __bytes__(self) -> bytes:
        return FILE.join(self.canonical(), self.body)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the file, whole or not at all. Whoever has it can try guesses of the arrays, and know when one is right."""
        files.publish(path, bytes(self))

    @staticmethod
    def load(path: str | PathLike[str]) -> "Disclosure":
        """Read such a file; FormatError if it is none. Nothing is compared here."""
        return Disclosure.parse(files.read(path, MAX_FILE, MAGIC), str(path))

    @staticmethod
    def parse(raw: bytes, where: str = "disclosure") -> "Disclosure":
        """The disclosure in these bytes."""
        statement, body = FILE.split(raw, where)
        try:
            return _parsed(statement, body)
        except FormatError as error:
            error.within(where)
            raise

    # ---- for people -------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return f"Disclosure({', '.join(map(repr, self.items[:4]))}{', ..' * (len(self.items) > 4)})"

    def sheet(self) -> Sheet:
        """What is disclosed; whether it fits any arrays is for ``zkjax.verify`` to say."""
        rows = [
            (f"{c.kind} {c.number}", c.digest(self.geometry).hex(), "opened at a point" if seed is None else "seed of its randomness")
            for c, seed in self.items[:20]
        ]
        rows += [(f"and {len(self.items) - 20} more", "", "")] if len(self.items) > 20 else []
        return Sheet("Disclosure: arrays behind these commitments", (Table(tuple(rows), ("what", "digest", "how"), left=(0, 1, 2)),))


def _parsed(raw: bytes, body: bytes) -> Disclosure:
    data = parsed(raw, {"kind", "geometry", "items", "dataset", "arrays"})
    if data["kind"] != KIND:
        raise FormatError(f"statement: kind is {data['kind']!r:.40}, expected {KIND!r}")
    items = tuple(map(_item, list_in(data["items"], "items")))
    kinds = [item.commitment.kind for item in items]
    by_point = [item for item in items if item.seed is None]
    if kinds not in (["weights"], ["weights", "frozen"]) and set(kinds) != {"shard"}:
        raise FormatError("statement: it discloses weights, with frozen ones or without, or shards, and nothing else")
    if (data["dataset"] is None) != (kinds[0] == "weights") or (data["arrays"] is None) != (not by_point):
        raise FormatError(
            "statement: shards need their dataset, and what is opened at a point the digest of its rows; nothing else has any"
        )
    if body and not by_point:
        raise FormatError("statement: bytes that prove something, where nothing is opened")
    arrays = None if data["arrays"] is None else digest_in(data["arrays"], "arrays")
    dataset = None if data["dataset"] is None else _dataset(data["dataset"], [item.commitment.number for item in items])
    disclosure = Disclosure(Geometry.from_json(data["geometry"]), items, dataset, arrays, body)
    return read_back(disclosure, raw)


def _item(data) -> Item:
    if not isinstance(data, dict) or set(data) != {"commitment", "seed"}:
        raise FormatError("statement: an item needs commitment and seed")
    commitment, seed = Commitment.from_json(data["commitment"]), data["seed"]
    if commitment.kind not in ORDER or commitment.masked:
        raise FormatError(f"statement: a commitment of kind {commitment.kind}{' with mask rows' * commitment.masked} is never disclosed")
    if commitment.kind == "weights" and commitment.parts[0].name != PARAMETERS:
        raise FormatError("statement: a commitment to weights without parameters")
    if seed is None and commitment.kind != "weights":
        raise FormatError("statement: nothing but parameters is opened at a point; else a seed is needed")
    if seed is not None and len(commitment.parts) != 1:
        raise FormatError("statement: a seed discloses a commitment of one part; this one holds more")
    return Item(commitment, None if seed is None else digest_in(seed, "seed"))


def _dataset(data, numbers: list[int]) -> Shards:
    if not isinstance(data, dict) or set(data) != {"samples", "shard_size", "siblings"}:
        raise FormatError("statement: a dataset needs samples, shard_size and siblings")
    samples = integer_in(data["samples"], "dataset.samples", 1, 2**32 - 1)
    shard_size = integer_in(data["shard_size"], "dataset.shard_size", 1, 2**32 - 1)
    if any(a >= b for a, b in pairwise(numbers)) or numbers[-1] >= shard_count(samples, shard_size):
        raise FormatError("statement: shards are not in ascending order of their numbers, or there are fewer")
    siblings = tuple(digest_in(x, "dataset.siblings") for x in list_in(data["siblings"], "dataset.siblings"))
    return Shards(samples, shard_size, siblings)
