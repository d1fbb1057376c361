"""What a proof says, in public: the statement, its canonical form, and its sentence for people.

PROTOCOL.md, section 4.2.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from ..circuit.parts import CELLS, PARAMETERS
from ..circuit.ranged import WIDEST
from ..commitment.commit import Commitment, Opened
from ..commitment.geometry import Geometry
from ..display import Sheet, Shown, Table
from ..errors import FormatError
from .links import Link

LIMIT = 2**63
MAX_STEPS = 2**16  # of a chunk
WEIGHTS, STATE = b"zkjax weights 2", b"zkjax state 2"


class Frozen(NamedTuple):
    """The parameters that no step changes: their commitment, the same in every proof of a chain, and their numbers in the circuit.

    Where a circuit has no others they may be the weights of a training, in the training's own commitments, of kind "weights", of which the
    parameters are read. An evaluation's are its last weights, and ``beside`` them those that the training freezes, if there are any; a
    comparison's are its first weights, and ``beside`` them the last ones.
    """

    commitment: Commitment
    parameters: tuple[int, ...]
    beside: "Frozen | None" = None

    @property
    def trained(self) -> int | None:
        """The number of a commitment to weights; None for one of kind "frozen"."""
        return self.commitment.number if self.commitment.kind == "weights" else None

    @property
    def part(self) -> str:
        """The part of it that is read."""
        return CELLS if self.trained is None else PARAMETERS

    @property
    def opened(self) -> Opened:
        """What is read of the commitment: all of one of kind "frozen"."""
        return self.commitment.opened() if self.trained is None else self.commitment.opened(PARAMETERS)

    @property
    def groups(self) -> "dict[str, Frozen]":
        """These and those beside them, by the names of their commitments that links use."""
        return {"frozen": self} | ({} if self.beside is None else {"beside": self.beside})

    def to_json(self) -> dict[str, Any]:
        found = {"commitment": self.commitment.to_json(), "parameters": list(self.parameters)}
        return found if self.beside is None else found | {"beside": self.beside.to_json()}

    @staticmethod
    def from_json(data, within: bool = False) -> "Frozen":
        """FormatError for anything else. within: what is ``beside`` others."""
        if not isinstance(data, dict) or set(data) - ({"beside"} if not within else set()) != {"commitment", "parameters"}:
            raise FormatError("statement: frozen needs commitment and parameters, and has at most one more of both beside them")
        beside = Frozen.from_json(data["beside"], within=True) if "beside" in data else None
        return Frozen(Commitment.from_json(data["commitment"]), integers_in(data["parameters"], "frozen.parameters", 0, LIMIT), beside)


@dataclass(frozen=True)
class Statement(Shown):
    """The public statement of one chunk; every field is absorbed before anything else.

    circuit:        digest of the circuit (32 bytes)
    geometry:       shape of all commitments of the chain
    dataset:        root of the dataset's shards; samples, shard_size: its public sizes; shards: those that are opened, ascending
    siblings:       digests that lead from these to the root, and from what replaces some of them to ``dataset_after``
    seed:           of the public batch schedule
    first_step, steps: the chunk is steps first_step .. first_step + steps - 1
    initial, final: commitments to the weights before and after: parameters, and beside them the other states, if there are any
    frozen:         commitment to the parameters that no step changes, and which these are; None if there are none
    shifts:         the initial weights are 2^shift times the committed integers, for each parameter
    widths:         for each parameter w, where limbs show, or -w, where random forms show that those integers are within -2^(w-1) ..
                    2^(w-1) - 1; 0 where this proof shows no range
    given:          whether a chain begins here, with the states that the circuit gives: of ``initial`` the parameters alone are read
    initial_bound, final_bound: bounds on the absolute integers of each parameter, before and after
    links:          commitments that this proof replaces by fresh ones of the same matrices
    losses:         for each loss of the circuit its integers, one per step, or None if they are hidden; None if all are.
                    ``Circuit.exact_loss`` makes one number of a step's
    """

    circuit: bytes
    geometry: Geometry
    dataset: bytes
    dataset_after: bytes
    samples: int
    shard_size: int
    shards: tuple[Commitment, ...]
    siblings: tuple[bytes, ...]
    seed: int
    first_step: int
    steps: int
    initial: Commitment
    final: Commitment
    frozen: Frozen | None
    shifts: tuple[int, ...]
    widths: tuple[int, ...]
    given: bool
    initial_bound: tuple[int, ...]
    final_bound: tuple[int, ...]
    links: tuple[Link, ...] = ()
    losses: tuple[tuple[int, ...] | None, ...] | None = None

    @property
    def initial_weights(self) -> bytes:
        """Digest of the first parameters, frozen ones and shifts included: what ``verify(initial=...)`` is compared with.

        In a later chunk it is the ``final_weights`` of the one before. It is the same whatever an optimizer keeps beside them.
        """
        return self.weights_behind(self.initial.part_digest(self.geometry, PARAMETERS), self.frozen_digest)

    @property
    def final_weights(self) -> bytes:
        """Digest of the last parameters, likewise."""
        return self.weights_behind(self.final.part_digest(self.geometry, PARAMETERS), self.frozen_digest, last=True)

    @property
    def initial_state(self) -> bytes | None:
        """Digest of all that the chunk starts from, what an optimizer keeps included; None where the circuit gives some of it."""
        return None if self.given else self.state_behind(self.initial.digest(self.geometry), self.frozen_digest)

    @property
    def final_state(self) -> bytes:
        """Digest of all that it ends with: the next chunk's ``initial_state``."""
        return self.state_behind(self.final.digest(self.geometry), self.frozen_digest, last=True)

    @property
    def frozen_digest(self) -> bytes:
        """Of the frozen parameters; empty if there are none."""
        return b"" if self.frozen is None else self.frozen.commitment.part_digest(self.geometry, self.frozen.part)

    @property
    def beside_digest(self) -> bytes:
        """Of those beside them, likewise: of an evaluation the ``frozen_digest`` of the training that freezes them."""
        beside = self.frozen and self.frozen.beside
        return b"" if beside is None else beside.commitment.part_digest(self.geometry, beside.part)

    @property
    def read(self) -> tuple[bytes, ...]:
        """Digests of the weights that are read: of an evaluation the training's ``final_weights``; of a comparison those of the first and
        of the last ones, without what the training freezes; none of other proofs."""
        found = self.frozen
        if found is None or found.trained is None:
            return ()
        if found.beside is None or found.beside.trained is None:
            return (self.weights_behind(self.frozen_digest, self.beside_digest, last=True),)
        parts = (self.frozen_digest, {*found.parameters}), (self.beside_digest, {*found.beside.parameters})
        shifted = ((part, bytes(s for p, s in enumerate(self.shifts) if p in own)) for part, own in parts)
        return tuple(hashlib.sha256(WEIGHTS + b"\0" + part + shifts.rstrip(b"\0")).digest() for part, shifts in shifted)

    @property
    def shifts_after(self) -> tuple[int, ...]:
        """Those of the weights after the steps, and of the chunk that goes on from there: frozen ones keep theirs."""
        kept = {p for x in (self.frozen.groups.values() if self.frozen else ()) for p in x.parameters}
        return tuple(shift if p in kept else 0 for p, shift in enumerate(self.shifts))

    def weights_behind(self, part: bytes, frozen: bytes, last: bool = False) -> bytes:
        """Digest of parameters, were they behind the part and the commitment of these digests. last: those after the steps."""
        return self._behind(WEIGHTS, part, frozen, last)

    def state_behind(self, commitment: bytes, frozen: bytes, last: bool = False) -> bytes:
        """Digest of all states, likewise."""
        return self._behind(STATE, commitment, frozen, last)

    def _behind(self, kind: bytes, digest: bytes, frozen: bytes, last: bool) -> bytes:
        return hashlib.sha256(kind + bytes([len(frozen)]) + digest + frozen + self._named_shifts[last]).digest()

    @cached_property
    def _named_shifts(self) -> tuple[bytes, bytes]:
        """What names the shifts of the first parameters, and of the last ones, of which frozen ones keep theirs: no zeros at the end."""
        first, last = (bytes(shifts).rstrip(b"\0") for shifts in (self.shifts, self.shifts_after))
        return first, last

    @property
    def assumed(self) -> bool:
        """Whether a bound on the initial weights rests on an earlier proof. Beside given states all others are range-checked."""
        return not self.given and 0 in self.widths

    @property
    def sources(self) -> dict[str, Any]:
        """What a ``Plan`` is told of where states are read."""
        told = {"given": self.given, "number": None if self.first_step else self.initial.number}  # the last one of another chain, perhaps
        if self.frozen is None:
            return told
        groups = tuple(self.frozen.groups.values())
        return told | {"trained": tuple(x.trained for x in groups), "beside": tuple(p for x in groups[1:] for p in x.parameters)}

    def named(self) -> dict[str, Opened]:
        """What the argument reads of commitments, in stack order, by the names that links use."""
        first = self.initial.opened(PARAMETERS) if self.given else self.initial.opened()
        frozen = {} if self.frozen is None else {name: x.opened for name, x in self.frozen.groups.items()}
        return {"initial": first, "final": self.final.opened(), **frozen} | {f"shard {c.number}": c.opened() for c in self.shards}

    def opened(self) -> list[Opened]:
        """All that is opened of the statement's commitments, in stack order; the trace comes last."""
        return [*self.named().values(), *(link.to.opened() for link in self.links)]

    @property
    def roots(self) -> tuple[bytes, bytes]:
        """The dataset's roots that this proof joins."""
        return self.dataset, self.dataset_after

    # ---- canonical form ---------------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        """Every field, in JSON's types."""
        return {
            "circuit": self.circuit.hex(),
            "geometry": self.geometry.to_json(),
            "dataset": self.dataset.hex(),
            "dataset_after": self.dataset_after.hex(),
            "samples": self.samples,
            "shard_size": self.shard_size,
            "shards": [c.to_json() for c in self.shards],
            "siblings": [x.hex() for x in self.siblings],
            "seed": self.seed,
            "first_step": self.first_step,
            "steps": self.steps,
            "initial": self.initial.to_json(),
            "final": self.final.to_json(),
            "frozen": self.frozen and self.frozen.to_json(),
            "shifts": list(self.shifts),
            "widths": list(self.widths),
            "given": self.given,
            "initial_bound": list(self.initial_bound),
            "final_bound": list(self.final_bound),
            "links": [link.to_json() for link in self.links],
            "losses": None if self.losses is None else [x and list(x) for x in self.losses],
        }

    def canonical(self) -> bytes:
        """The bytes that are absorbed and stored."""
        return canonical(self.to_json())

    @staticmethod
    def parse(raw: bytes) -> "Statement":
        """Read the canonical form; FormatError for anything else."""
        data = parsed(raw, set(Statement.__dataclass_fields__))
        if type(data["given"]) is not bool:
            raise FormatError("statement: given is not a truth value")
        shards = tuple(map(Commitment.from_json, list_in(data["shards"], "shards")))
        if any(a.number >= b.number for a, b in pairwise(shards)):
            raise FormatError("statement: shards are not in ascending order of their numbers")
        losses = data["losses"]
        if losses is not None:
            losses = tuple(None if x is None else integers_in(x, "losses", -LIMIT, LIMIT) for x in list_in(losses, "losses"))
        statement = Statement(
            circuit=digest_in(data["circuit"], "circuit"),
            geometry=Geometry.from_json(data["geometry"]),
            dataset=digest_in(data["dataset"], "dataset"),
            dataset_after=digest_in(data["dataset_after"], "dataset_after"),
            samples=integer_in(data["samples"], "samples", 1, 2**32 - 1),
            shard_size=integer_in(data["shard_size"], "shard_size", 1, 2**32 - 1),
            shards=shards,
            siblings=tuple(digest_in(x, "siblings") for x in list_in(data["siblings"], "siblings")),
            seed=integer_in(data["seed"], "seed", 0, 2**64 - 1),
            first_step=integer_in(data["first_step"], "first_step", 0, 2**48),
            steps=integer_in(data["steps"], "steps", 1, MAX_STEPS),
            initial=Commitment.from_json(data["initial"]),
            final=Commitment.from_json(data["final"]),
            frozen=None if data["frozen"] is None else Frozen.from_json(data["frozen"]),
            shifts=integers_in(data["shifts"], "shifts", 0, WIDEST),
            widths=integers_in(data["widths"], "widths", -WIDEST, WIDEST),
            given=data["given"],
            initial_bound=integers_in(data["initial_bound"], "initial_bound", 0, LIMIT),
            final_bound=integers_in(data["final_bound"], "final_bound", 0, LIMIT),
            losses=losses,
        )
        statement = replace(statement, links=Link.parse(list_in(data["links"], "links"), statement.named()))
        return read_back(statement, raw)

    # ---- for people -------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return f"Statement(steps {self.first_step}..{self.first_step + self.steps - 1} of circuit {self.circuit.hex()[:16]})"

    def __str__(self) -> str:
        last = self.first_step + self.steps - 1
        step = ("training step", "evaluation", "comparison")[len(self.read)]
        lines = [
            f"Steps {self.first_step}..{last} of the {step} with circuit digest {self.circuit.hex()},",
            f"on batches that seed {self.seed} picks from the {self.samples} samples committed to by {self.dataset.hex()},",
        ]
        if not self.read:
            lines.append(f"lead from the weights committed to by {self.initial_weights.hex()}, {self._bound()},")
            lines.append(f"to the weights committed to by {self.final_weights.hex()}.")
        else:
            lines.append(f"read the weights committed to by {self._weights_read()}, {self._bound()}, and change nothing.")
        if self.links:
            lines.append(f"Fresh commitments to the same values replace those to {self._replaced()}.")
        if self.losses is not None:
            lines.append(f"The integers of these steps' losses and outputs are public: {self._losses()}.")
        return "\n".join(lines)

    def sheet(self) -> Sheet:
        """The same as a table."""
        if not self.read:
            weights = [("initial weights", f"{self.initial_weights.hex()}, {self._bound()}"), ("final weights", self.final_weights.hex())]
            title = "Statement: these steps of the circuit lead from the initial to the final weights"
        else:
            weights = [("weights", f"{self._weights_read()}, {self._bound()}")]
            title = "Statement: these steps of the circuit read weights of trainings, and change nothing"
        rows = [
            ("circuit", self.circuit.hex()),
            ("dataset", f"{self.dataset.hex()} ({self.samples:,} samples)"),
            ("batches", f"picked by seed {self.seed}"),
            ("steps", f"{self.first_step}..{self.first_step + self.steps - 1}"),
            *weights,
            *([("replaced commitments", self._replaced())] if self.links else []),
            ("integers of losses and outputs", "hidden" if self.losses is None else self._losses()),
        ]
        return Sheet(title, (Table(tuple(rows), left=(0, 1)),))

    def _bound(self) -> str:
        shown, all_shown = any(self.widths), not self.assumed
        bound = "within their range (proven here)" if all_shown else "within a range that an earlier proof has to show"
        bound += ", and those that grow range-checked anew here" if shown and not all_shown else ""
        return f"{bound}, and from the other states that the circuit gives" if self.given else bound

    def _weights_read(self) -> str:
        """For people."""
        return " and ".join(x.hex() for x in self.read)

    def _replaced(self) -> str:
        """For people."""
        called = {"initial": "the initial weights", "final": "the final weights", "frozen": "the frozen weights"}
        called["beside"] = "the weights beside them"
        return ", ".join(called.get(link.source, link.source) for link in self.links)

    def _losses(self) -> str:
        return "; ".join("hidden" if x is None else " ".join(str(v) for v in x) for x in self.losses or ())


def canonical(data: dict[str, Any]) -> bytes:
    """Sorted keys, no white space, ASCII: the bytes that are absorbed and stored."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def read_back(statement, raw: bytes):
    """The statement; FormatError where these bytes, that it was read from, are not its canonical form."""
    if statement.canonical() != raw:
        raise FormatError("statement: not in canonical form")
    return statement


def parsed(raw: bytes, names: set[str]) -> dict[str, Any]:
    """A JSON object with exactly these fields; FormatError for anything else."""
    try:
        data = json.loads(raw.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"statement: not JSON ({error})") from None
    if not isinstance(data, dict) or set(data) != names:
        raise FormatError(f"statement: expected the fields {sorted(names)}")
    return data


def list_in(value, where: str) -> list:
    """A list; FormatError for anything else, as of all below."""
    if not isinstance(value, list):
        raise FormatError(f"statement: {where} is not a list")
    return value


def integer_in(value, where: str, low: int, high: int) -> int:
    """An integer within a range."""
    if type(value) is not int or not low <= value <= high:
        raise FormatError(f"statement: {where} is {value!r:.40}, expected an integer in {low}..{high}")
    return value


def integers_in(value, where: str, low: int, high: int) -> tuple[int, ...]:
    """A list of them."""
    return tuple(integer_in(v, where, low, high) for v in list_in(value, where))


def digest_in(value, where: str) -> bytes:
    """32 bytes in lower-case hexadecimal digits."""
    if not isinstance(value, str) or len(value) != 64 or value.strip("0123456789abcdef"):
        raise FormatError(f"statement: {where} is not 32 bytes in lower-case hex")
    return bytes.fromhex(value)
