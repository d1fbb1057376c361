"""Disclosures: what ties published arrays to commitments, as a file: a header (``header.py``), the statement in canonical form, see
``Disclosure``, and as its body the opening at a point, if there is one.

A commitment that holds nothing else than what is published is disclosed by the seed of its randomness: its root follows from that and the
arrays. Where it holds more, what is published is opened at a point, as in a proof: the parameters beside an optimizer's states, some
samples of a dataset. What is compared, and with which arrays, is in ``disclosed.py``.

PROTOCOL.md, section 4.6.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from .. import files
from ..circuit.parts import CELLS, PARAMETERS, Input
from ..commitment.commit import Commitment, Opened
from ..commitment.dataset import shard_count
from ..commitment.geometry import Geometry
from ..display import Sheet, Shown, Table
from ..errors import FormatError, VerificationError
from .header import Kind
from .statement import canonical, digest_in, integer_in, list_in, parsed, read_back

KIND = "disclosure"
MAGIC = b"zkjxdscl"
VERSION = 1
MAX_STATEMENT = 2**26  # bytes
FILE = Kind(MAGIC, VERSION, MAX_STATEMENT, "a disclosure", "Disclosure.save")
MAX_FILE = 2**28  # bytes
MAX_INPUTS = 2**24  # of a circuit
ORDER = ("weights", "frozen", "shard")  # kinds that can be disclosed


class Item(NamedTuple):
    """A commitment that is disclosed: by the seed of its one part's randomness, or, where that is None, at a point."""

    commitment: Commitment
    seed: bytes | None

    def __repr__(self) -> str:
        return f"Item({self.commitment.kind} {self.commitment.number}, {'at a point' if self.seed is None else 'by its seed'})"


class Chosen(NamedTuple):
    """What of a dataset is shown: ranges of sample numbers (first, end), ascending and apart, and numbers of inputs, ascending."""

    samples: tuple[tuple[int, int], ...]
    inputs: tuple[int, ...]

    @staticmethod
    def of(samples: Iterable[int], inputs: Iterable[int]) -> "Chosen":
        """Of numbers in ascending order."""
        runs = [[n for _, n in run] for _, run in groupby(enumerate(samples), lambda pair: pair[1] - pair[0])]
        return Chosen(tuple((run[0], run[-1] + 1) for run in runs), tuple(inputs))

    @property
    def count(self) -> int:
        """How many samples."""
        return sum(end - first for first, end in self.samples)

    def shards(self, shard_size: int, limit: int) -> list[int]:
        """Numbers of the shards that hold the samples, ascending; where they are more than ``limit``, some of them, but more than that."""
        found: dict[int, None] = {}
        for first, end in self.samples:
            if len(found) <= limit:
                found |= dict.fromkeys(range(first // shard_size, (end - 1) // shard_size + 1)[: limit + 1])
        return list(found)

    def __str__(self) -> str:
        shown = [f"{first}" if end == first + 1 else f"{first}..{end - 1}" for first, end in self.samples]
        return f"sample{'s' * (self.count > 1)} {', '.join(shown[:20])}{', ..' * (len(shown) > 20)}"


class Shards(NamedTuple):
    """Of which dataset the shards are: its public sizes, and the siblings that lead from them to its root.

    chosen: what of them is shown, at a point; None for all of them, by their seeds.
    """

    samples: int
    shard_size: int
    siblings: tuple[bytes, ...]
    chosen: Chosen | None = None


def numbers_in(ranges: Iterable[tuple[int, int]]) -> np.ndarray:
    """All integers of ranges (first, end), int64."""
    return np.concatenate([np.arange(*pair) for pair in ranges])


@dataclass(frozen=True)
class Disclosure(Shown):
    """That certain arrays stand behind certain commitments. ``zkjax.disclose`` makes one; ``zkjax.verify`` compares it with the arrays.

    geometry: of all commitments
    items:    weights and frozen ones, or shards in ascending order of their numbers
    dataset:  where the shards belong, and what of them is shown; None for weights
    arrays:   SHA-256 of the cells that are opened at a point; None where nothing is
    body:     what proves that
    """

    geometry: Geometry
    items: tuple[Item, ...]
    dataset: Shards | None = None
    arrays: bytes | None = None
    body: bytes = b""

    @property
    def pointed(self) -> list[Opened]:
        """What is opened at a point, in stack order."""
        return [x.commitment.opened(PARAMETERS if x.commitment.kind == "weights" else CELLS) for x in self.items if x.seed is None]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Of the numbers of a dataset's samples that it is of, (first, end), ascending."""
        samples, size, _, chosen = self.dataset
        starts = [item.commitment.number * size for item in self.items]
        return tuple((start, min(samples, start + size)) for start in starts) if chosen is None else chosen.samples

    @property
    def whole(self) -> bool:
        """Whether it is of all shards of a dataset, and all that is in them."""
        data = self.dataset
        return data is not None and data.chosen is None and len(self.items) == shard_count(data.samples, data.shard_size)

    def inputs(self, known: Sequence[Input]) -> tuple[int, ...]:
        """Numbers of a circuit's inputs whose arrays it is of. Raises VerificationError where it is of others."""
        chosen = None if self.dataset is None else self.dataset.chosen
        if chosen is not None and chosen.inputs[-1] >= len(known):
            raise VerificationError(
                "disclosure", f"it is of input {chosen.inputs[-1]}, the circuit reads {', '.join(x.name for x in known)}"
            )
        return tuple(range(len(known))) if chosen is None else chosen.inputs

    def part(self, known: Sequence[Input]) -> str:
        """Which part of a dataset it is of, for people. known: the circuit's inputs."""
        samples, shard_size, _, chosen = self.dataset
        if chosen is None:
            shards, last = [str(item.commitment.number) for item in self.items], shard_count(samples, shard_size) - 1
            return f"shard{'s' * (len(shards) > 1)} {', '.join(shards)} of 0..{last}"
        names = [known[k].name for k in self.inputs(known)]
        return f"{', '.join(names)} of {chosen} of 0..{samples - 1}" if len(names) < len(known) else f"{chosen} of 0..{samples - 1}"

    # ---- canonical form ---------------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        """The statement, in JSON's types."""
        data = self.dataset
        return {
            "kind": KIND,
            "geometry": self.geometry.to_json(),
            "items": [{"commitment": c.to_json(), "seed": seed and seed.hex()} for c, seed in self.items],
            "dataset": data and _dataset_to_json(data),
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
        table = Table(tuple(rows), ("what", "digest", "how"), left=(0, 1, 2))
        chosen = None if self.dataset is None else self.dataset.chosen
        told = () if chosen is None else (f"Of inputs {', '.join(map(str, chosen.inputs))}: {chosen}.",)
        return Sheet("Disclosure: arrays behind these commitments", (*told, table))


def _dataset_to_json(data: Shards) -> dict[str, Any]:
    told: dict[str, Any] = {"samples": data.samples, "shard_size": data.shard_size, "siblings": [x.hex() for x in data.siblings]}
    chosen = data.chosen
    return told if chosen is None else told | {"numbers": [list(pair) for pair in chosen.samples], "inputs": list(chosen.inputs)}


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
            "statement: shards need their dataset, and what is opened at a point the digest of its cells; nothing else has any"
        )
    if body and not by_point:
        raise FormatError("statement: bytes that prove something, where nothing is opened")
    arrays = None if data["arrays"] is None else digest_in(data["arrays"], "arrays")
    dataset = None if data["dataset"] is None else _dataset(data["dataset"], items)
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
    if seed is None and commitment.kind == "frozen":
        raise FormatError("statement: frozen weights are not opened at a point; a seed is needed")
    if seed is not None and len(commitment.parts) != 1:
        raise FormatError("statement: a seed discloses a commitment of one part; this one holds more")
    return Item(commitment, None if seed is None else digest_in(seed, "seed"))


def _dataset(data, items: Sequence[Item]) -> Shards:
    names = {"samples", "shard_size", "siblings"}
    if not isinstance(data, dict) or set(data) not in (names, names | {"numbers", "inputs"}):
        raise FormatError("statement: a dataset needs samples, shard_size and siblings, and, with numbers of samples, inputs")
    samples = integer_in(data["samples"], "dataset.samples", 1, 2**32 - 1)
    shard_size = integer_in(data["shard_size"], "dataset.shard_size", 1, 2**32 - 1)
    numbers = [item.commitment.number for item in items]
    if any(a >= b for a, b in pairwise(numbers)) or numbers[-1] >= shard_count(samples, shard_size):
        raise FormatError("statement: shards are not in ascending order of their numbers, or there are fewer")
    siblings = tuple(digest_in(x, "dataset.siblings") for x in list_in(data["siblings"], "dataset.siblings"))
    chosen = _chosen(data, samples) if "numbers" in data else None
    if any((item.seed is None) != (chosen is not None) for item in items):
        raise FormatError("statement: shards are opened at a point where some samples are shown, and have a seed where all are")
    if chosen is not None and chosen.shards(shard_size, len(numbers)) != numbers:
        raise FormatError("statement: these are not the shards that hold the samples")
    return Shards(samples, shard_size, siblings, chosen)


def _chosen(data, samples: int) -> Chosen:
    """What is shown of a dataset of so many samples."""
    pairs = [list_in(pair, "dataset.numbers") for pair in list_in(data["numbers"], "dataset.numbers")]
    flat = [integer_in(n, "dataset.numbers", 0, samples) for pair in pairs for n in pair]
    inputs = [integer_in(k, "dataset.inputs", 0, MAX_INPUTS - 1) for k in list_in(data["inputs"], "dataset.inputs")]
    if not pairs or any(len(pair) != 2 for pair in pairs) or any(a >= b for a, b in pairwise(flat)):
        raise FormatError("statement: dataset.numbers are ranges [first, end) of samples, ascending and apart from each other")
    if not inputs or any(a >= b for a, b in pairwise(inputs)):
        raise FormatError("statement: dataset.inputs are numbers in ascending order")
    return Chosen(tuple((first, end) for first, end in pairs), tuple(inputs))
