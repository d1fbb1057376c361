"""Verify proofs. NumPy and the standard library only: no JAX, no data, no weights.

The verifier is told the circuit, and derives everything else from it and from the statement: sizes, bounds, batches,
lookups, layouts. Nothing that the prover could choose decides how much it reads or allocates.

PROTOCOL.md, sections 4.4, 18.
"""

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from math import inf
from numbers import Integral, Real
from typing import TypedDict, Unpack, overload

import numpy as np

from .algebra.extension import ZERO, Ext
from .algebra.layout import Layout
from .algebra.vectors import Vectors
from .circuit.circuit import Circuit
from .commitment.commit import Commitment, members, stack, within
from .commitment.opening import verify_claim
from .errors import ConfigurationError, FormatError, VerificationError
from .proofs.alone import LinkStatement, check_alone, errors_alone, estimate_alone
from .proofs.chain import check_chain, check_pins
from .proofs.checks import check_circuit, check_commitments, check_sizes, make_plan
from .proofs.disclosed import check_disclosed
from .proofs.disclosure import Disclosure
from .proofs.drawing import Drawing
from .proofs.estimate import charge_file, estimate
from .proofs.links import joined, links_of
from .proofs.model import Model
from .proofs.proof import Proof
from .proofs.published import Published
from .proofs.soundness import TARGET, Security, security
from .proofs.statement import Statement
from .protocol.argument import argument
from .protocol.claims import weight_evaluation
from .protocol.forms import Forms
from .protocol.hidden import Hidden
from .protocol.links import NO_LINKS, Links, draw_alone
from .protocol.plan import Plan, opening_terms, row_count
from .protocol.transcript import Reader, Transcript
from .work import MAX_MEMORY, MAX_WORK, Meter


class Pins(TypedDict, total=False):
    """What a caller of ``verify`` may require."""

    dataset: bytes | str | None
    initial: bytes | str | None
    final: bytes | str | None
    seed: int | None
    steps: tuple[int, int] | None
    statement: Published | None
    model: Model | None
    initial_model: Model | None
    drawing: Drawing | None
    data: Sequence[np.ndarray] | None
    disclosures: Sequence[Disclosure]
    assume_bound: bool
    minimum_bits: float
    max_work: int
    max_memory: int


@overload
def verify(circuit: Circuit, proof: Proof, **pins: Unpack[Pins]) -> Statement: ...


@overload
def verify(circuit: Circuit, proof: Iterable[Proof], **pins: Unpack[Pins]) -> list[Statement | LinkStatement]: ...


def verify(
    circuit: Circuit,
    proof: Proof | Iterable[Proof],
    *,
    dataset: bytes | str | None = None,
    initial: bytes | str | None = None,
    final: bytes | str | None = None,
    seed: int | None = None,
    steps: tuple[int, int] | None = None,
    statement: Published | None = None,
    model: Model | None = None,
    initial_model: Model | None = None,
    drawing: Drawing | None = None,
    data: Sequence[np.ndarray] | None = None,
    disclosures: Sequence[Disclosure] = (),
    assume_bound: bool = False,
    minimum_bits: float = TARGET,
    max_work: int = MAX_WORK,
    max_memory: int = MAX_MEMORY,
) -> Statement | LinkStatement | list[Statement | LinkStatement]:
    """Verify a proof, or a chain of proofs in order. Returns the Statement (a list for a list); raises otherwise.

    circuit:      what was trained; its digest is computed here.
    proof:        a Proof, or several in order, each one's final weights the next one's initial weights. Proofs of ``zkjax.link`` may
                  stand anywhere among them.
    dataset:      required root of the dataset: 32 bytes, or hexadecimal.
    initial:      required digest of the first parameters (``Statement.initial_weights``), likewise; or of the whole first state, what an
                  optimizer keeps included (``Statement.initial_state``).
    final:        required digest of the last parameters, or of the whole last state (``final_weights``, ``final_state``), likewise.
    seed:         required seed of the schedule.
    steps:        required range (first, end) of the whole chain, end excluded.
    statement:    what was published about the chain (``zkjax.Published.load``): every field of every proof is required to be that.
    model:        a file of parameters (``zkjax.Model.load``) that are required to be those behind the last commitment, integer by integer.
    initial_model: likewise, behind the first one.
    drawing:      from which public key, by which distributions the first parameters are required to be drawn (``zkjax.Drawing.load``):
                  those of its paths. Any others have to be in initial_model; frozen ones may be left open.
    data:         arrays, samples first, in the order of the circuit's inputs: rounded as the circuit says, they are required to be the
                  dataset, or the shards of it that are disclosed.
    disclosures:  what ties model, drawing and data to their commitments (``zkjax.Disclosure.load``).
    assume_bound: accept a first proof that does not itself range-check its initial weights.
    minimum_bits: refuse proofs with less proven security, at least 1. It is required of each proof; the errors of a chain's proofs
                  add up.
    max_work:     refuse what would take more multiplications in F, all proofs together; the default takes some minutes.
    max_memory:   refuse what would take more bytes. Both are estimated from circuit and statements before anything else is done; for
                  model and data they count anew.

    What is not required is only what the proof claims: take the pins from elsewhere, not from the proof.

    Raises VerificationError (``check`` names what failed, ``proof`` where in a chain), FormatError (malformed proof),
    ConfigurationError (misuse), UnsupportedOperationError (a circuit that no verifier takes on).
    """
    check_minimum(minimum_bits)
    statements, _ = verify_chain(
        circuit,
        proof,
        dataset=dataset,
        initial=initial,
        final=final,
        seed=seed,
        steps=steps,
        statement=statement,
        assume_bound=assume_bound,
        minimum_bits=minimum_bits,
        max_work=max_work,
        max_memory=max_memory,
    )
    if disclosures or any(x is not None for x in (model, initial_model, drawing, data)):
        wanted = {"model": model, "initial_model": initial_model, "drawing": drawing, "data": data}
        limits = {"minimum_bits": minimum_bits, "max_work": max_work, "max_memory": max_memory}
        check_disclosed(circuit, statements, disclosures, **wanted, **limits)
    return statements[0] if isinstance(proof, Proof) else statements


def verify_chain(
    circuit,
    proof,
    *,
    dataset=None,
    initial=None,
    final=None,
    seed=None,
    steps=None,
    statement=None,
    assume_bound=False,
    minimum_bits=TARGET,
    max_work=MAX_WORK,
    max_memory=MAX_MEMORY,
) -> tuple[list[Statement | LinkStatement], list[Security]]:
    """As ``verify``, with any minimum; returns all statements and each proof's ledger."""
    if not isinstance(circuit, Circuit):
        raise ConfigurationError(f"circuit is a {type(circuit).__name__}; give a zkjax.Circuit (zkjax.Circuit.load reads one)")
    chain = [proof] if isinstance(proof, Proof) else list(proof) if hasattr(proof, "__iter__") else []
    if not chain or not all(isinstance(p, Proof) for p in chain):
        raise ConfigurationError("give a Proof, or a non-empty list of Proofs (zkjax.Proof.load reads one)")
    if not isinstance(statement, Published | None):
        raise ConfigurationError(f"statement is a {type(statement).__name__}; give a zkjax.Published (zkjax.Published.load reads one)")
    digests = [digest_of(value, name) for value, name in ((dataset, "dataset"), (initial, "initial"), (final, "final"))]
    statements = [p.statement for p in chain]
    chunks = [s for s in statements if isinstance(s, Statement)]
    if not chunks:
        raise ConfigurationError("these proofs only replace commitments; give them together with the proofs of a chain")
    classes = joined(statements)  # they count, as all does, once every proof here has been verified
    check_pins(chunks, classes, *digests, _seed(seed), _steps(steps), Meter(max_work, max_memory))
    if statement is not None:
        statement.check(statements)
    check_chain(circuit, chunks, assume_bound, classes)
    estimate_work(circuit, statements, max_work, max_memory)
    ledgers = []
    for number, one in enumerate(chain):
        with _place(number, len(chain)):
            if one.statement.geometry != chunks[0].geometry:
                raise VerificationError("chain", "it replaces commitments of another geometry; give the proofs of one chain")
            chunk = isinstance(one.statement, Statement)
            ledgers.append(verify_one(circuit, one, minimum_bits) if chunk else verify_alone(one, minimum_bits))
    return statements, ledgers


@contextmanager
def _place(number: int, count: int):
    """Errors name the proof's place in the chain."""
    try:
        yield
    except (VerificationError, FormatError) as error:
        error.proof = number
        if count > 1:
            error.within(f"proof {number} of 0..{count - 1}")
        raise


def ledger(circuit: Circuit, proof: Proof, *, max_work: int = MAX_WORK, max_memory: int = MAX_MEMORY) -> Security:
    """Every source of error of a proof by name, with its bits; it follows from circuit and statement alone.

    Whether the proof is valid is for ``verify`` to say. Raises as ``verify`` does for a statement that does not fit the circuit, or
    asks for more work.
    """
    statement = proof.statement
    estimate_work(circuit, [statement], max_work, max_memory)
    rows = [part.rows for part in members(statement.opened())]
    if isinstance(statement, LinkStatement):
        check_alone(statement)
        _, row_variables = stack([*rows, 1])
        return security(errors_alone(statement.in_stack()), statement.geometry, row_variables)
    plan = make_plan(circuit, statement)
    check_commitments(plan, statement)
    hidden = dry_run(plan, statement.losses, links_of(statement))
    hidden.account_finish()
    trace = row_count(plan.trace_layout(hidden.counts()), statement.geometry.row)
    _, row_variables = stack([*rows, trace])
    return security(hidden.errors, statement.geometry, row_variables)


def estimate_work(circuit: Circuit, statements: Sequence[Statement | LinkStatement], max_work: int | None, max_memory: int | None) -> Meter:
    """What verifying the statements of a chain takes, all together; VerificationError where that is more than a limit."""
    for statement in [s for s in statements if isinstance(s, Statement)][:1]:
        check_circuit(circuit, statement)
    meter = Meter(max_work, max_memory)
    charge_file(circuit, meter)
    for number, statement in enumerate(statements):
        with _place(number, len(statements)):
            if isinstance(statement, LinkStatement):
                estimate_alone(statement, meter)
                continue
            check_sizes(circuit, statement)
            estimate(circuit, statement, meter)
    return meter


def digest_of(value, name: str) -> bytes | None:
    """32 bytes, also of hexadecimal digits; None for None. ConfigurationError for anything else."""
    if isinstance(value, str):
        try:
            value = bytes.fromhex(value)
        except ValueError:
            raise ConfigurationError(f"{name}: not a hexadecimal digest") from None
    if value is not None and (not isinstance(value, bytes) or len(value) != 32):
        raise ConfigurationError(f"{name}: expected a digest of 32 bytes, got {value!r:.80}")
    return value


def check_minimum(bits) -> None:
    """ConfigurationError for what is no amount of security that one could require."""
    if isinstance(bits, bool) or not isinstance(bits, Real) or not 1 <= bits < inf:
        raise ConfigurationError(f"minimum_bits is {bits!r:.80}; give a number of bits, 1 or more")


def _seed(value) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= value < 2**64):
        raise ConfigurationError(f"seed is {value!r:.80}; give an integer in 0..2^64-1")
    return value


def _steps(value) -> tuple[int, int] | None:
    if value is None:
        return None
    pair = tuple(value) if isinstance(value, tuple | list) else ()
    if len(pair) != 2 or not all(isinstance(x, Integral) and not isinstance(x, bool) for x in pair) or not 0 <= pair[0] < pair[1]:
        raise ConfigurationError(f"steps is {value!r:.80}; give the range (first, end), end excluded, with 0 <= first < end")
    return pair


def start_transcript(statement: Statement | LinkStatement) -> Transcript:
    """The transcript after everything public has been absorbed."""
    return Transcript(statement.geometry.digest(), statement.canonical())


def dry_run(plan: Plan, revealed, links: Links = NO_LINKS) -> Hidden:
    """Run the argument without messages, on lengths alone: how many pads and triples it uses."""
    hidden = Hidden(vectors=Vectors(lengths_only=True), links=links)
    argument(hidden, plan, revealed)
    return hidden


def verify_one(circuit: Circuit, proof: Proof, minimum_bits: float = TARGET) -> Security:
    """Verify one proof, whatever its place in a chain. Returns the ledger."""
    statement = proof.statement
    plan = make_plan(circuit, statement)
    check_commitments(plan, statement)
    geometry = statement.geometry
    _check_length(proof, row_count(Layout(plan.advice), geometry.row))
    stream = Reader(start_transcript(statement), proof.body)
    drawn = Forms.draw(stream.transcript) if plan.formed else None
    root = stream.raw("trace root", 32)
    hidden = Hidden(stream, links=links_of(statement))
    argument(hidden, plan, statement.losses, drawn=drawn)
    weights, terms, value = hidden.finish()

    trace_layout = plan.trace_layout(hidden.counts())
    linked = [Layout({})] * sum(len(link.to.parts) for link in statement.links)  # links compare matrices, not tensors
    layouts = [*plan.members, *linked, trace_layout]
    trace = Commitment.of("trace", 0, row_count(trace_layout, geometry.row), 1, root, True)
    opened = [*statement.opened(), trace.opened()]
    heights = [part.rows for part in members(opened)]
    offsets, row_variables = stack(heights)
    ledger = _required(security(hidden.errors, geometry, row_variables), minimum_bits)
    by_key = opening_terms(plan, weights, terms, hidden.vectors)
    if not set(by_key) <= {key for layout in layouts for key in layout.shapes}:
        raise VerificationError("opening", "a claim is left on a tensor that is not committed")

    def evaluate(row_point: list[Ext], column_point: list[Ext]) -> Ext:
        """The multilinear extension of the opening's weights."""
        found, places = [], [within(row_point, offset, height) for offset, height in zip(offsets, heights, strict=True)]
        for layout, (prefix, inner) in zip(layouts, places, strict=True):
            found += [w._replace(scalar=w.scalar * prefix) for w in layout.weights(inner + column_point, hidden.vectors)]
        return weight_evaluation(found, by_key, hidden.vectors) + hidden.linked.evaluate(places, column_point, hidden.vectors)

    verify_claim(stream, geometry, opened, evaluate, value)
    stream.finish()
    return ledger


def verify_alone(proof: Proof, minimum_bits: float = TARGET) -> Security:
    """Verify a proof of links alone. Returns the ledger."""
    statement = proof.statement
    check_alone(statement)
    geometry, links = statement.geometry, statement.in_stack()
    _check_length(proof)
    stream = Reader(start_transcript(statement), proof.body)
    opened = [*statement.opened(), Commitment.of("trace", 0, 1, 1, stream.raw("trace root", 32), True).opened()]
    heights = [part.rows for part in members(opened)]
    offsets, row_variables = stack(heights)
    ledger = _required(security(errors_alone(links), geometry, row_variables), minimum_bits)
    linked, vectors = draw_alone(stream.transcript, links), Vectors()

    def evaluate(row_point: list[Ext], column_point: list[Ext]) -> Ext:
        places = [within(row_point, offset, height) for offset, height in zip(offsets, heights, strict=True)]
        return linked.evaluate(places, column_point, vectors)

    verify_claim(stream, geometry, opened, evaluate, ZERO)
    stream.finish()
    return ledger


def _check_length(proof: Proof, trace: int = 0) -> None:
    """Of a body, before anything of the size of its rows is made; trace: rows besides those of the statement's commitments."""
    rows = trace + sum(part.rows for part in members(proof.statement.opened()))
    least = 8 * rows * max(1, proof.statement.geometry.queries // 4)  # of the columns alone, with a probability that needs no thought
    if len(proof.body) < least:
        raise FormatError(f"proof body has {len(proof.body)} bytes; a statement of this size needs more than {least}")


def _required(ledger: Security, minimum_bits: float) -> Security:
    try:
        return ledger.require(minimum_bits)
    except ConfigurationError as error:
        raise VerificationError("security", str(error)) from None
