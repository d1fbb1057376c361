"""What a proof says, in public: the statement, its canonical form, and its sentence for people.

PROTOCOL.md, section 4.2.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ..algebra.poly import num_bits
from ..commitment.commit import Commitment
from ..commitment.dataset import shard_count
from ..commitment.geometry import Geometry
from ..display import Sheet, Shown, Table
from ..errors import FormatError

LIMIT = 2**63
WIDEST = 62  # bits
MAX_STEPS = 2**16  # of a chunk
SHIFTED = b"zkjax shifted weights 1"
BESIDE_GIVEN = b"zkjax weights beside given states 1"


@dataclass(frozen=True)
class Shard:
    """A shard that the proof opens: its commitment, and its path to the dataset's root (siblings, lowest first)."""

    commitment: Commitment
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Statement(Shown):
    """The public statement of one chunk; every field is absorbed before anything else.

    circuit:        digest of the circuit (32 bytes)
    geometry:       shape of all commitments of the chain
    dataset:        root of the dataset's shards; samples, shard_size: its public sizes; shards: those that are opened
    seed:           of the public batch schedule
    first_step, steps: the chunk is steps first_step .. first_step + steps - 1
    initial, final: commitments to the weights before and after
    shifts:         the initial weights are 2^shift times the committed integers, for each parameter
    widths:         for each parameter w, where this proof shows that those integers are within -2^(w-1) .. 2^(w-1) - 1; 0 where it does not
    given:          whether a chain begins here, with the states that the circuit gives: these are not in ``initial``
    initial_bound, final_bound: bounds on the absolute integers of each parameter, before and after
    losses:         for each loss of the circuit its integers, one per step, or None if they are hidden; None if all are.
                    ``Circuit.exact_loss`` makes one number of a step's
    """

    circuit: bytes
    geometry: Geometry
    dataset: bytes
    samples: int
    shard_size: int
    shards: tuple[Shard, ...]
    seed: int
    first_step: int
    steps: int
    initial: Commitment
    final: Commitment
    shifts: tuple[int, ...]
    widths: tuple[int, ...]
    given: bool
    initial_bound: tuple[int, ...]
    final_bound: tuple[int, ...]
    losses: tuple[tuple[int, ...] | None, ...] | None = None

    @property
    def initial_weights(self) -> bytes:
        """Digest of the first weights, their commitment and the shifts: what ``verify(initial=...)`` is compared with.

        Without shifts, as in every later chunk, it is the commitment's own: the ``final_weights`` of the chunk before. Where states are
        given it is another one, for the same cells then stand for other states.
        """
        digest = self.initial.digest(self.geometry)
        if self.given:
            return hashlib.sha256(BESIDE_GIVEN + digest + bytes(self.shifts)).digest()
        return hashlib.sha256(SHIFTED + digest + bytes(self.shifts)).digest() if any(self.shifts) else digest

    @property
    def final_weights(self) -> bytes:
        """Digest of the commitment to the last weights: the next chunk's ``initial_weights``."""
        return self.final.digest(self.geometry)

    @property
    def assumed(self) -> bool:
        """Whether a bound on the initial weights rests on an earlier proof. Beside given states all others are range-checked."""
        return not self.given and 0 in self.widths

    def commitments(self) -> list[Commitment]:
        """Those named in the statement, in stack order; the trace comes last."""
        return [self.initial, self.final, *(s.commitment for s in self.shards)]

    # ---- canonical form ---------------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        """Every field, in JSON's types."""
        return {
            "circuit": self.circuit.hex(),
            "geometry": self.geometry.to_json(),
            "dataset": self.dataset.hex(),
            "samples": self.samples,
            "shard_size": self.shard_size,
            "shards": [{"commitment": s.commitment.to_json(), "path": [p.hex() for p in s.path]} for s in self.shards],
            "seed": self.seed,
            "first_step": self.first_step,
            "steps": self.steps,
            "initial": self.initial.to_json(),
            "final": self.final.to_json(),
            "shifts": list(self.shifts),
            "widths": list(self.widths),
            "given": self.given,
            "initial_bound": list(self.initial_bound),
            "final_bound": list(self.final_bound),
            "losses": None if self.losses is None else [x and list(x) for x in self.losses],
        }

    def canonical(self) -> bytes:
        """Sorted keys, no white space, ASCII: the bytes that are absorbed and stored."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

    @staticmethod
    def parse(raw: bytes) -> "Statement":
        """Read the canonical form; FormatError for anything else."""
        try:
            data = json.loads(raw.decode("ascii"))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"statement: not JSON ({error})") from None
        names = set(Statement.__dataclass_fields__)
        if not isinstance(data, dict) or set(data) != names:
            raise FormatError(f"statement: expected the fields {sorted(names)}")
        if type(data["given"]) is not bool:
            raise FormatError("statement: given is not a truth value")
        shards = []
        for i, item in enumerate(_list(data["shards"], "shards")):
            if not isinstance(item, dict) or set(item) != {"commitment", "path"}:
                raise FormatError(f"statement: shards[{i}] needs a commitment and a path")
            path = tuple(_digest(p, f"shards[{i}].path") for p in _list(item["path"], f"shards[{i}].path"))
            shards.append(Shard(Commitment.from_json(item["commitment"]), path))
        losses = data["losses"]
        if losses is not None:
            losses = tuple(None if x is None else _integers(x, "losses", -LIMIT, LIMIT) for x in _list(losses, "losses"))
        statement = Statement(
            circuit=_digest(data["circuit"], "circuit"),
            geometry=Geometry.from_json(data["geometry"]),
            dataset=_digest(data["dataset"], "dataset"),
            samples=_integer(data["samples"], "samples", 1, 2**32 - 1),
            shard_size=_integer(data["shard_size"], "shard_size", 1, 2**32 - 1),
            shards=tuple(shards),
            seed=_integer(data["seed"], "seed", 0, 2**64 - 1),
            first_step=_integer(data["first_step"], "first_step", 0, 2**48),
            steps=_integer(data["steps"], "steps", 1, MAX_STEPS),
            initial=Commitment.from_json(data["initial"]),
            final=Commitment.from_json(data["final"]),
            shifts=_integers(data["shifts"], "shifts", 0, WIDEST),
            widths=_integers(data["widths"], "widths", 0, WIDEST),
            given=data["given"],
            initial_bound=_integers(data["initial_bound"], "initial_bound", 0, LIMIT),
            final_bound=_integers(data["final_bound"], "final_bound", 0, LIMIT),
            losses=losses,
        )
        depth = num_bits(shard_count(statement.samples, statement.shard_size))
        if any(len(s.path) != depth for s in statement.shards):
            raise FormatError(f"statement: a shard's path has not {depth} entries")
        if statement.canonical() != raw:
            raise FormatError("statement: not in canonical form")
        return statement

    # ---- for people -------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return f"Statement(steps {self.first_step}..{self.first_step + self.steps - 1} of circuit {self.circuit.hex()[:16]})"

    def __str__(self) -> str:
        last = self.first_step + self.steps - 1
        lines = [
            f"Steps {self.first_step}..{last} of the training step with circuit digest {self.circuit.hex()},",
            f"on batches that seed {self.seed} picks from the {self.samples} samples committed to by {self.dataset.hex()},",
            f"lead from the weights committed to by {self.initial_weights.hex()}, {self._bound()},",
            f"to the weights committed to by {self.final_weights.hex()}.",
        ]
        if self.losses is not None:
            lines.append(f"The integers of these steps' losses and outputs are public: {self._losses()}.")
        return "\n".join(lines)

    def sheet(self) -> Sheet:
        """The same as a table."""
        rows = [
            ("circuit", self.circuit.hex()),
            ("dataset", f"{self.dataset.hex()} ({self.samples:,} samples)"),
            ("batches", f"picked by seed {self.seed}"),
            ("steps", f"{self.first_step}..{self.first_step + self.steps - 1}"),
            ("initial weights", f"{self.initial_weights.hex()}, {self._bound()}"),
            ("final weights", self.final_weights.hex()),
            ("integers of losses and outputs", "hidden" if self.losses is None else self._losses()),
        ]
        return Sheet("Statement: these steps of the circuit lead from the initial to the final weights", (Table(tuple(rows), left=(0, 1)),))

    def _bound(self) -> str:
        shown, all_shown = any(self.widths), not self.assumed
        bound = "within their range (proven here)" if all_shown else "within a range that an earlier proof has to show"
        bound += ", and those that grow range-checked anew here" if shown and not all_shown else ""
        return f"{bound}, and from the other states that the circuit gives" if self.given else bound

    def _losses(self) -> str:
        return "; ".join("hidden" if x is None else " ".join(str(v) for v in x) for x in self.losses or ())


def _list(value, where: str) -> list:
    if not isinstance(value, list):
        raise FormatError(f"statement: {where} is not a list")
    return value


def _integer(value, where: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise FormatError(f"statement: {where} is {value!r:.40}, expected an integer in {low}..{high}")
    return value


def _integers(value, where: str, low: int, high: int) -> tuple[int, ...]:
    return tuple(_integer(v, where, low, high) for v in _list(value, where))


def _digest(value, where: str) -> bytes:
    if not isinstance(value, str) or len(value) != 64 or value.strip("0123456789abcdef"):
        raise FormatError(f"statement: {where} is not 32 bytes in lower-case hex")
    return bytes.fromhex(value)
