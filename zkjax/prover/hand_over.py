"""Hand weights over: a fresh commitment to a chain's last parameters whose randomness somebody else gets, with the arrays, to train on.

The link to it opens the chain's own commitment and the fresh one, and is public. The fresh one belongs to whoever has the file: its seed is
kept nowhere else, so its openings are counted in one place.
"""

import io
import json
import os
import secrets
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike
from pathlib import Path

import numpy as np

from .. import files
from ..arrays import read_arrays
from ..circuit import coarse
from ..circuit.circuit import Circuit
from ..circuit.parts import PARAMETERS
from ..commitment.commit import commit, stack
from ..commitment.geometry import Geometry
from ..commitment.keys import Chain, Key
from ..commitment.slots import Choice
from ..errors import ConfigurationError, DataError, FormatError, RunError
from ..memory import available_memory
from ..proofs.alone import LinkStatement, errors_alone
from ..proofs.links import links_in_stack
from ..proofs.proof import Proof
from ..proofs.soundness import TARGET, security
from ..protocol.plan import row_count
from .commitments import Commitments, slots_of
from .link import check_alone, shown_equal
from .prove import coarse_integers, fix_geometry, make_plan

FORMAT, VERSION = "zkjax weights handed over (private: they hold weights and a secret seed)", 1
HEADER = "header"  # the array that holds the JSON
SPENT = 1  # openings of the fresh commitment that the link has taken


@dataclass(eq=False)
class Handed:
    """Weights of another chain that were handed over, for one training: ``zkjax.train(circuit, handed, data, ..)``.

    parameters: (path, shape, unit) of each, in order. Private: it holds weights, and the seed of their commitment.
    """

    chain: Chain = field(repr=False)
    key: Key = field(repr=False)
    parameters: tuple[tuple[str, tuple[int, ...], Fraction], ...]
    integers: tuple[np.ndarray, ...] = field(repr=False)
    used: bool = False

    @staticmethod
    def take(path: str | PathLike[str]) -> "Handed":
        """Read such a file, and delete it: the openings of its commitment are counted in one chain from now on.

        Raises: FormatError - malformed; OSError.
        """
        path = Path(path)
        arrays = read_arrays(path, available_memory())
        try:
            told = json.loads(arrays[HEADER].astype(np.int8).tobytes().decode())
            if told["format"] != FORMAT or told["version"] != VERSION:
                raise ValueError("format")
            parameters = tuple((str(name), tuple(shape), Fraction(*unit)) for name, shape, unit in told["parameters"])
            integers = tuple(arrays[f"{i}"] for i in range(len(parameters)))
            if any(x.dtype != np.int64 or x.shape != shape for x, (_, shape, _) in zip(integers, parameters, strict=True)):
                raise ValueError("shapes")
            if any(unit <= 0 for *_, unit in parameters):
                raise ValueError("units")
            seed, number = bytes.fromhex(told["seed"]), told["number"]
            if len(seed) != 32 or type(number) is not int or number < 0:
                raise ValueError("key")
            geometry = Geometry.from_json(told["geometry"])
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, RecursionError) as error:
            raise FormatError(f"{path}: not weights that zkjax.hand_over wrote ({type(error).__name__})") from None
        chain = Chain(Key.fresh(), geometry)
        if told["budget"] != chain.budget("weights"):
            raise FormatError(f"{path}: a budget of {told['budget']!r:.40} openings, this zkjax gives weights {chain.budget('weights')}")
        key = Key(seed, Key.fresh().name, number)
        chain.openings.spent[f"{key.name} {number} {PARAMETERS}"] = SPENT
        os.unlink(path)
        return Handed(chain, key, parameters, integers)

    def integers_for(self, circuit: Circuit) -> dict[int, tuple[int, np.ndarray]]:
        """By the numbers of the circuit's parameters: (s, v) for integers 2^s * v. DataError for a circuit that trains other ones."""
        own, units = circuit.held[PARAMETERS], [unit for _, _, unit in self.parameters]
        named = [(circuit.parameters[p].path, circuit.parameters[p].shape) for p in own]
        shifts = [coarse.finer(circuit, p, unit, x) for p, unit, x in zip(own, units, self.integers, strict=False)]
        if circuit.frozen or named != [(path, shape) for path, shape, _ in self.parameters] or None in shifts:
            scales = {path: unit.denominator.bit_length() - unit.numerator.bit_length() for path, _, unit in self.parameters}
            raise DataError(
                "weights that were handed over are trained in a circuit whose parameters have their paths and shapes, and their units or "
                f"finer ones, none of them frozen; trace with Precision(parameters={scales})"
            )
        return dict(zip(own, zip(shifts, self.integers, strict=True), strict=True))

    def use(self) -> Key:
        """The commitment's key. RunError for a second training: one chain counts its openings."""
        if self.used:
            raise RunError(
                "these weights were handed over for one training, and it has begun; go on with its run, or have them handed over again"
            )
        self.used = True
        return self.key


def hand_over(run, path: str | PathLike[str], *, minimum_bits: float = TARGET, verify: bool = True) -> Proof:
    """Hand the last parameters of a run to somebody who trains on, and prove that they are these. Returns the proof; publish it.

    run:          a Run, whose circuit freezes nothing; it is not changed.
    path:         of a new private file, readable by its owner only: the integers, and the seed of a fresh commitment to them. Give it to
                  one trainer (``zkjax.Handed.take``), and keep no copy: two who prove from it would open one commitment too often. For
                  another trainer hand over again.
    minimum_bits: refuse to make a proof with less proven security.
    verify:       verify the finished proof, from its bytes alone, before it is returned.

    It takes an opening of the run's own commitment to its last weights. What an optimizer keeps beside them is not handed over: the new
    training's begins as its circuit says. Its auditors need this proof, with those of both trainings (``zkjax.verify_lineage``).
    Raises: RunError - no run of a training, or one that was altered; ConfigurationError - a file is there, a circuit that freezes some
            parameters, or too little security; BudgetError - openings left are for the chain's next proofs: ``zkjax.link(run, ["final"])``
            makes new ones; UnsatisfiedWitnessError - a bug of the prover.
    """
    from ..kernels.threads import scope

    if not isinstance(getattr(run, "chain", None), Chain) or run.reads:
        raise RunError("give a zkjax.Run of a training")
    run.check()
    path = Path(path)
    if path.exists():
        raise ConfigurationError(f"{path} is there; give the name of a new file")
    if run.circuit.frozen:
        frozen = run.circuit.parameters[run.circuit.frozen[0]].path
        raise ConfigurationError(f"the circuit freezes {frozen}, which is in no commitment to last weights")
    fix_geometry(run)
    seed = secrets.token_bytes(32)
    with scope():
        proof, budget = _linked(run, seed, minimum_bits)
    if verify:
        check_alone(proof, minimum_bits)
    _write(run, path, seed, budget)
    return proof


def _linked(run, seed: bytes, minimum_bits: float) -> tuple[Proof, int]:
    """The proof that a fresh commitment of this seed holds the last parameters, and the budget of that commitment."""
    plan, chain = make_plan(run), run.chain
    geometry, slot = chain.geometry, slots_of(run, plan)["final"]
    rows = row_count(plan.layouts["final"][PARAMETERS], geometry.row)
    links = links_in_stack([("final", (PARAMETERS,))], {"final": [(PARAMETERS, rows)]}, geometry.log_row)
    ledger = security(errors_alone(links), geometry, stack([rows, rows, 1])[1]).require(minimum_bits)
    now = chain.openings.take_alone(slot._replace(parts=(PARAMETERS,)))
    choice = Choice((slot,), {slot.group: now}, ())
    old = Commitments(run, plan, geometry, coarse_integers(run, plan), choice).opened("final").only(PARAMETERS)
    (member,) = old.members
    new = commit([member.rows], kind=slot.kind, number=slot.member, budget=slot.budget, geometry=geometry, seed=seed)
    statement = LinkStatement(geometry, (old.commitment,), (new.commitment,))
    return shown_equal(statement, [old, new], ledger), slot.budget


def _write(run, path: Path, seed: bytes, budget: int) -> None:
    """The private file: a header and the integers of the parameters, in order."""
    circuit, end = run.circuit, run.first_step + run.steps
    own = circuit.held[PARAMETERS]
    named = [(x.path, list(x.shape), [x.unit.numerator, x.unit.denominator]) for x in (circuit.parameters[p] for p in own)]
    told = {"format": FORMAT, "version": VERSION, "seed": seed.hex(), "number": end, "budget": budget}
    told |= {"geometry": run.chain.geometry.to_json(), "parameters": named}
    arrays = {HEADER: np.frombuffer(json.dumps(told).encode(), dtype=np.int8)} | {f"{i}": run.final[p] for i, p in enumerate(own)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files.write(path, buffer.getbuffer())
