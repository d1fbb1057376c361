"""A work order: all that another process or machine needs to prove one chunk.

It is the only thing with secrets in it that may be pickled. It says which commitments are opened, and holds their seeds; what hides the
proof itself, the seeds of its trace and of its pads, is drawn by whoever executes it, anew each time: schedulers execute orders more than
once, and the same pads in two proofs that differ would show what they hide.
"""

import os
import socket
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..circuit.circuit import Circuit
from ..commitment.slots import Choice
from ..prover.prove import prove
from . import saved
from .dataset import Dataset
from .run import Run


class Ordered:
    """In the place of a chain's counters where an order is executed: its owner has chosen what is opened, and counts that."""

    def __init__(self, choice: Choice):
        self.choice = choice

    def choose(self, *_) -> Choice:
        """As the owner has."""
        return self.choice

    take = choose

    def replacing(self):
        """Nobody else opens anything here."""
        return nullcontext()

    def finish(self, *_) -> None:
        """The owner does it, before anybody has the proof."""


@dataclass(frozen=True, eq=False)
class Order:
    """Prove this run, opening these commitments. It holds weights, data and seeds: whoever has it knows all of the training.

    run: of one chunk. choice: of what it opens. reveal, minimum_bits: as for ``zkjax.prove``.
    """

    run: Run
    choice: Choice
    reveal: tuple[str, ...]
    minimum_bits: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", replace(self.run, chain=self.run.chain.counted_by(Ordered(self.choice))))

    def __reduce__(self):
        run = self.run
        arrays = {"data": run.data.arrays, "initial": run.initial, "final": run.final}
        packed = {name: tuple(map(saved.smallest, x)) for name, x in arrays.items()}
        return _unpacked, (run.circuit.to_json(), saved.content_of(run), packed, self.choice, self.reveal, self.minimum_bits)


def _unpacked(circuit: dict, content: dict, packed: dict, choice: Choice, reveal: tuple[str, ...], minimum_bits: float) -> Order:
    made = Circuit.from_json(circuit)
    data, *ends = (tuple(x.astype("int64") for x in packed[name]) for name in ("data", "initial", "final"))
    run = saved.run_of(Run, made, Dataset.of(made, Dataset(data)), content, ends, saved.chain_of(content))
    return Order(run, choice, reveal, minimum_bits)


class Delivery(NamedTuple):
    """What comes back: a proof's bytes, who made them, and in how many seconds."""

    proof: bytes
    worker: str
    seconds: float


def execute(order: Order) -> Delivery:
    """Prove an order's chunk. Nothing is kept here, nothing verified: whoever gave the order does that."""
    begin = time.perf_counter()
    proof = prove(order.run.circuit, order.run, reveal=order.reveal, minimum_bits=order.minimum_bits, progress=None, verify=False)
    return Delivery(bytes(proof), f"{socket.gethostname()}:{os.getpid()}", time.perf_counter() - begin)
