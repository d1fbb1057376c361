"""What must hold between the statements of a chain: each goes on where the one before ended, and the ends are those that are required.

Commitments and dataset roots are compared up to the links of these statements (``links.Classes``).

PROTOCOL.md, section 4.4.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from ..circuit.circuit import Circuit
from ..circuit.parts import PARAMETERS
from ..errors import VerificationError
from ..work import HASH, Meter
from .links import Classes, joined
from .statement import Statement


def check_pins(statements: list[Statement], classes: Classes, dataset, initial, final, seed, steps, meter: Meter) -> None:
    """What the caller requires of the first statement and of the last one; None is no requirement. Raises VerificationError.

    meter: is charged for what links may make of a pin.
    """
    first, last = statements[0], statements[-1]
    if dataset is not None and not classes.same(first.dataset, dataset):
        raise VerificationError("pinned dataset", f"the proof is about {first.dataset.hex()}, not {dataset.hex()}")
    if initial is not None and not _pinned(first, classes, initial, False, meter):
        raise VerificationError("pinned initial weights", f"the proof starts from {first.initial_weights.hex()}, not {initial.hex()}")
    if final is not None and not _pinned(last, classes, final, True, meter):
        raise VerificationError("pinned final weights", f"the proof ends with {last.final_weights.hex()}, not {final.hex()}")
    if seed is not None and first.seed != seed:
        raise VerificationError("pinned seed", f"the proof's schedule has seed {first.seed}, not {seed}")
    shown = first.first_step, last.first_step + last.steps
    if steps is not None and shown != steps:
        raise VerificationError("pinned steps", f"the proof covers steps {shown[0]}:{shown[1]}, not {steps[0]}:{steps[1]}")


def _pinned(statement: Statement, classes: Classes, pin: bytes, last: bool, meter: Meter) -> bool:
    """Whether a pin is the digest of the statement's first or last parameters, or of all its states there.

    meter: is charged for all that these may be called, by links that nobody has verified yet: a digest for each two of them.
    """
    commitment, geometry = statement.final if last else statement.initial, statement.geometry
    frozen = classes.of(statement.frozen_digest)
    parts, wholes = classes.of(commitment.part_digest(geometry, PARAMETERS)), classes.of(commitment.digest(geometry))
    meter.charge("pinned weights", (len(parts) + len(wholes)) * len(frozen) * (HASH + len(statement.shifts)))
    if pin in (statement.weights_behind(part, other, last) for part in parts for other in frozen):
        return True
    whole = last or not statement.given  # else the circuit gives some of the states
    return whole and pin in (statement.state_behind(one, other, last) for one in wholes for other in frozen)


def check_chain(circuit: Circuit, statements: list[Statement], assume_bound: bool, classes: Classes | None = None) -> None:
    """Each statement goes on where the one before ended, about the same circuit, data, seed and geometry.

    classes: of commitments and of dataset roots; by default what the links of these statements join.
    """
    classes = classes or joined(statements)
    first = statements[0]
    if first.assumed and not assume_bound:
        raise VerificationError(
            "initial bound",
            "this proof does not range-check its initial weights; verify the chain from a proof that does, or accept the bound "
            "as an assumption (assume_bound=True, --assume-bound)",
        )
    if circuit.given and not first.given and not assume_bound:
        raise VerificationError(
            "initial state",
            f"this proof does not start from the state that the circuit gives ({circuit.parameters[circuit.given[0]].path}, ..); verify "
            "the chain from a proof that does, or accept that state as an assumption (assume_bound=True, --assume-bound)",
        )
    for number, (before, after) in enumerate(zip(statements, statements[1:], strict=False), start=1):
        for name in ("circuit", "geometry", "samples", "shard_size", "seed"):
            if getattr(before, name) != getattr(after, name):
                raise VerificationError("chain", f"proofs {number - 1} and {number} differ in {name}; give the proofs of one chain")
        if not classes.same(before.dataset_after, after.dataset):
            cure = "give the proofs of one chain, with those that replace commitments"
            raise VerificationError("chain", f"proofs {number - 1} and {number} differ in dataset, and no link here joins the two; {cure}")
        if after.first_step != before.first_step + before.steps:
            end = before.first_step + before.steps
            raise VerificationError(
                "chain",
                f"proof {number} starts at step {after.first_step}, the one before ends before {end}; give all proofs, each once, in "
                "the order of their steps",
            )
        if not _goes_on(before, after, classes):
            raise VerificationError("chain", f"proof {number} does not start from the weights that the one before ends with")
        bounds = zip(after.widths, after.initial_bound, before.final_bound, strict=False)
        if any(not width and bound < shown for width, bound, shown in bounds):
            raise VerificationError("chain", f"proof {number} assumes a smaller bound on its initial weights than the one before shows")


def _goes_on(before: Statement, after: Statement, classes: Classes) -> bool:
    """Whether a chunk starts from all states that the one before ends with: every part, and the frozen parameters, with their shifts."""
    geometry, ended, begun = before.geometry, before.final, after.initial
    names = [part.name for part in ended.parts]
    return (
        not after.given
        and [part.name for part in begun.parts] == names
        and all(classes.same(ended.part_digest(geometry, name), begun.part_digest(geometry, name)) for name in names)
        and classes.same(before.frozen_digest, after.frozen_digest)
        and classes.same(before.beside_digest, after.beside_digest)
        and before.shifts_after == after.shifts
    )


def revealed(circuit: Circuit, statements: Sequence[Statement]) -> Iterator[tuple[str, list[Fraction]]]:
    """(name, exact value in every step) of the outputs that all these statements reveal."""
    for name in circuit.outputs:
        own = [i for i, x in enumerate(circuit.losses) if x.output == name]
        if all(s.losses is not None and all(s.losses[i] is not None for i in own) for s in statements):
            rows = [[x and x[t] for x in s.losses] for s in statements for t in range(s.steps)]
            yield "losses" if name == "loss" else name, [circuit.exact_loss(row, name) for row in rows]
