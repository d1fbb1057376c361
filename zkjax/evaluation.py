"""Verify an evaluation: what trained weights do on a test set, in one proof. NumPy and the standard library only.

An evaluation is a chunk of a circuit that changes nothing, over one epoch of its dataset: every sample is read once. Its parameters are
frozen, and instead of a commitment of their own it opens those of a training: to its last weights (``Frozen.trained``), and to the
parameters that the training freezes, if there are any (``Frozen.beside``). What its steps add up over their batches is revealed, so that
the totals are public, while weights and, if they are only committed to, samples stay secret.

PROTOCOL.md, section 4.8.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from .circuit.circuit import Circuit
from .circuit.parts import PARAMETERS
from .display import Sheet, Shown, Table, in_decimals
from .errors import ConfigurationError, VerificationError
from .proofs.alone import LinkStatement
from .proofs.disclosed import check_disclosed
from .proofs.disclosure import Disclosure
from .proofs.links import Classes, joined
from .proofs.proof import Proof
from .proofs.soundness import TARGET, Security
from .proofs.statement import Statement
from .protocol.schedule import batch_indices
from .verifier import check_minimum, digest_of, verify_chain
from .work import MAX_MEMORY, MAX_WORK

CONFUSION, GROUP, CORRECT = "confusion {} as {}", "samples of group {}", "correct of group {}"
COUNTED = (CONFUSION, GROUP)  # outputs that count every sample in exactly one place, by the names of these places

Training = tuple[Circuit, Sequence[Statement | LinkStatement]]


@dataclass(frozen=True)
class Evaluated(Shown):
    """What an evaluation shows.

    statement: its own. samples: of the test set. steps: of each output its exact value in every step, a sum over the step's batch.
    order: the samples that each step reads, int64 (steps, batch). assumed: that the weights are within their bounds, which the training
    shows. security: the proof's ledger.
    """

    statement: Statement
    samples: int
    steps: dict[str, tuple[Fraction, ...]]
    order: np.ndarray = field(compare=False)
    assumed: bool
    security: Security | None = field(default=None, repr=False)

    @property
    def weights(self) -> bytes:
        """Digest of the weights: the training's ``Statement.final_weights``."""
        return self.statement.read[0]

    @property
    def totals(self) -> dict[str, Fraction]:
        """Of each output the sum over all samples, such as how many are correct."""
        return {name: sum(values, Fraction(0)) for name, values in self.steps.items()}

    @property
    def means(self) -> dict[str, Fraction]:
        """The same by the number of samples."""
        return {name: total / self.samples for name, total in self.totals.items()}

    @property
    def confusion(self) -> np.ndarray | None:
        """How many samples of class i are taken for class j, int64 (classes, classes); None where the outputs are no such matrix."""
        totals, found = self.totals, _places(self.steps, CONFUSION)
        rows, columns = ({place[axis] for place in found} for axis in range(2))
        if not found or {*found} != {(i, j) for i in range(len(rows)) for j in range(len(columns))}:
            return None
        return np.array([[int(totals[found[i, j]]) for j in range(len(columns))] for i in range(len(rows))], dtype=np.int64)

    @property
    def groups(self) -> dict[int, tuple[int, int]]:
        """Of each group how many samples are correct, and how many there are."""
        totals, correct = self.totals, _places(self.totals, CORRECT)
        return {
            group[0]: (int(totals[correct[group]]), int(totals[name])) for group, name in _places(totals, GROUP).items() if group in correct
        }

    def of_samples(self, name: str) -> list[Fraction]:
        """Of an evaluation in steps of one sample: the output of each sample, in the order of the test set."""
        if self.order.shape[1] != 1:
            raise ConfigurationError(f"a step reads {self.order.shape[1]} samples: {name} is known of their sum")
        values = self.steps[name]
        return [values[step] for step in np.argsort(self.order[:, 0])]

    def sheet(self) -> Sheet:
        """All totals and means as a table."""
        means = self.means
        rows = [(name, in_decimals(total), in_decimals(means[name])) for name, total in self.totals.items()]
        facts = [("weights", self.weights.hex()), ("test set", self.statement.dataset.hex())]
        if self.assumed:
            facts.append(("ASSUMED", "that the weights are within the statement's bounds: no training was given that shows it"))
        return Sheet(
            f"Evaluation on {self.samples:,} samples, each read once",
            (Table(tuple(facts), left=(0, 1)), Table(tuple(rows), ("output", "total", "mean"), left=(0,))),
        )


def verify_evaluation(
    circuit: Circuit,
    proof: Proof,
    *,
    training: Training | None = None,
    weights: bytes | str | None = None,
    dataset: bytes | str | None = None,
    data: Sequence[np.ndarray] | None = None,
    disclosures: Sequence[Disclosure] = (),
    assume_bound: bool = False,
    minimum_bits: float = TARGET,
    max_work: int = MAX_WORK,
    max_memory: int = MAX_MEMORY,
) -> Evaluated:
    """Verify the proof of an evaluation (``zkjax.evaluate``). Returns what it shows; raises otherwise.

    circuit:      of the evaluation: what is added up, and in which formats. Trace it again, or have it from elsewhere.
    training:     the training's circuit, and the statements that ``zkjax.verify`` returned for its proofs, all of them in order, those
                  of ``zkjax.link`` too: the weights are required to be the last ones, within the bounds that the training shows.
    weights:      required digest of the weights: the training's ``Statement.final_weights``, 32 bytes or hexadecimal.
    dataset:      required root of the test set, likewise.
    data:         the test set, samples first, in the order of the circuit's inputs, and disclosures, as for ``zkjax.verify``: rounded as
                  the circuit says, these arrays are required to be the whole test set.
    assume_bound: accept without the training that the weights are within the bounds that the proof relies on.
    minimum_bits, max_work, max_memory: as for ``zkjax.verify``.

    What is not required is only what the proof claims: of which weights, and of which samples.
    Raises: VerificationError - an invalid proof, or other weights, bounds or samples; an output that is hidden; samples that are left
            out, or counted in no place or two of a confusion matrix; FormatError; ConfigurationError - misuse.
    """
    check_minimum(minimum_bits)
    if not isinstance(proof, Proof) or not isinstance(proof.statement, Statement):
        raise ConfigurationError("proof: give the zkjax.Proof of an evaluation")
    limits = {"minimum_bits": minimum_bits, "max_work": max_work, "max_memory": max_memory}
    _, (security,) = verify_chain(circuit, proof, dataset=dataset, assume_bound=True, **limits)
    statement = proof.statement
    classes = joined([*([] if training is None else checked_training(training)), statement])
    check_weights(circuit, statement, training, digest_of(weights, "weights"), classes, assume_bound)
    found = replace(read_results(circuit, statement, training is None), security=security)
    if data is not None or disclosures:
        shown = check_disclosed(circuit, [statement], disclosures, data=data, **limits)
        if shown is not None and not shown.whole:
            raise VerificationError("data", f"the arrays are {shown.part(circuit.inputs)}, not the whole test set; give all of it")
    return found


def checked_training(training: Training) -> list[Statement | LinkStatement]:
    """The statements of a training; ConfigurationError for what is none."""
    pair = training if isinstance(training, tuple) and len(training) == 2 else (None, None)
    circuit, statements = pair[0], list(pair[1]) if isinstance(pair[1], list | tuple) else []
    if not isinstance(circuit, Circuit) or not all(isinstance(x, Statement | LinkStatement) for x in statements):
        raise ConfigurationError("training: give (circuit, statements), the statements as the list that zkjax.verify returned")
    if not any(isinstance(x, Statement) for x in statements):
        raise ConfigurationError("training: give the statements of its chunks, too")
    return statements


def check_weights(
    circuit: Circuit, statement: Statement, training: Training | None, weights: bytes | None, classes: Classes, assume_bound: bool
) -> None:
    """The parameters are those of a training, and these weights, with the meaning and the bounds that the training gives them.

    classes: of the verified training's statements and this one. Raises VerificationError.
    """
    frozen = statement.frozen
    if len(statement.read) != 1:
        raise VerificationError(
            "evaluation", "the proof does not read the weights of one training; verify it with zkjax.verify, or zkjax.verify_comparison"
        )
    parts = classes.of(statement.frozen_digest)
    beside = classes.of(statement.beside_digest)
    last = None if training is None else [s for s in training[1] if isinstance(s, Statement)][-1]
    named = last or statement  # with a training, shifts have the numbers of its parameters
    if weights is not None and weights not in (named.weights_behind(part, other, last=True) for part in parts for other in beside):
        raise VerificationError("pinned weights", f"the proof is about {statement.read[0].hex()}, not {weights.hex()}")
    if any(statement.shifts[p] for p in frozen.parameters):
        raise VerificationError("bounds", "the weights are multiplied by powers of two, which no training's last weights are")
    if training is None:
        if not assume_bound:
            raise VerificationError(
                "initial bound",
                "no proof here shows the range of the weights; give the training's statements, or accept the bound as an assumption "
                "(assume_bound=True, --assume-bound)",
            )
        return
    trained = training[0]
    if last.circuit != trained.digest():
        raise VerificationError("training", "its statements are about another circuit")
    pairs = []  # of a parameter that is evaluated and one of the training
    for read, own in ((frozen.parameters, trained.held[PARAMETERS]), (frozen.beside.parameters if frozen.beside else (), trained.frozen)):
        if described(circuit, read) != described(trained, own):
            raise VerificationError(
                "training", "its parameters, and those that it freezes, have not the paths, shapes and units of those that are evaluated"
            )
        pairs += zip(read, own, strict=True)
    same = last.final.part_digest(last.geometry, PARAMETERS) in parts and last.frozen_digest in beside  # which bind the geometry, too
    if not same:
        raise VerificationError("training", f"it ends with the weights {last.final_weights.hex()}, not with {statement.read[0].hex()}")
    if any(statement.shifts[p] != last.shifts_after[q] for p, q in pairs):
        raise VerificationError("bounds", "frozen weights are multiplied by other powers of two than in the training")
    if any(statement.initial_bound[p] != last.final_bound[q] for p, q in pairs):
        raise VerificationError("bounds", "the proof relies on other bounds on the weights than the training shows")


def described(circuit: Circuit, numbers: Sequence[int], shifts: Sequence[int] | None = None) -> list[tuple]:
    """Path, shape and unit of each of these parameters: what integers in a commitment mean. shifts: a unit is 2^s times the circuit's, for
    each parameter, in the commitment to first weights."""
    own = [(p, circuit.parameters[p]) for p in numbers]
    return [(x.path, x.shape, x.unit if shifts is None else x.unit * 2 ** shifts[p]) for p, x in own]


def read_results(circuit: Circuit, statement: Statement, assumed: bool) -> Evaluated:
    """What a verified statement shows of all samples. Raises VerificationError where it is not all, or not of all of them."""
    steps, batch, samples = statement.steps, circuit.batch_size, statement.samples
    if statement.first_step or steps * batch != samples:
        raise VerificationError(
            "samples",
            f"{steps} steps from step {statement.first_step} read {steps * batch:,} of {samples:,} samples; an evaluation reads each "
            "once, from step 0 to the end of the first epoch",
        )
    losses = statement.losses or (None,) * len(circuit.losses)
    for loss, values in zip(circuit.losses, losses, strict=True):
        if values is None:
            raise VerificationError("outputs", f"{loss.output} is hidden")
    found = dict.fromkeys(circuit.outputs, (Fraction(0),) * steps)
    for loss, values in zip(circuit.losses, losses, strict=True):  # as ``Circuit.exact_loss`` adds up one step's
        found[loss.output] = tuple(total + loss.factor * v for total, v in zip(found[loss.output], values, strict=True))
    for form in COUNTED:
        places = _places(found, form).values()
        if places and (counted := sum(sum(found[name]) for name in places)) != samples:
            told = form.replace("{}", "..")
            raise VerificationError("outputs", f"all {told!r} add up to {counted}, not to {samples} samples: some are counted in no place")
    order = batch_indices(statement.seed, samples, statement.shard_size, batch, 0, steps)
    return Evaluated(statement, samples, found, order, assumed)


def _places(names, form: str) -> dict[tuple[int, ...], str]:
    """The outputs of this form, by the numbers in their names."""
    pattern = re.compile(form.replace("{}", r"(0|[1-9]\d{0,3})"), re.ASCII)
    matches = ((pattern.fullmatch(name), name) for name in names)
    return {tuple(map(int, match.groups())): name for match, name in matches if match}
