"""Attacks on parts of commitments and on frozen parameters, by somebody who has read the code: each is refused.

Where one rule stops a lie, it is accepted without that rule, and that is shown too. The lies are whole proofs, of a prover in whose
hands something was altered. What a statement alone gives away is in ``refusals.py``.
"""

import dataclasses
import hashlib
import importlib
import itertools
import secrets
from functools import cache

import numpy as np
import pytest
import refusals
from harness import BITS, SMALL
from moving import moving, start
from replay import Frozen, messages, outcome

import zkjax
from zkjax import verifier
from zkjax.algebra.extension import ZERO
from zkjax.circuit.parts import OTHER, PARAMETERS
from zkjax.commitment import merkle, opening, recursion
from zkjax.commitment.commit import Mask, commit
from zkjax.commitment.opening import open_claim
from zkjax.errors import FormatError, VerificationError
from zkjax.kernels.threads import scope
from zkjax.proofs import chain, checks, links
from zkjax.proofs.alone import LinkStatement
from zkjax.proofs.links import Classes
from zkjax.proofs.statement import Statement
from zkjax.protocol.links import draw_alone
from zkjax.protocol.transcript import Writer
from zkjax.prover import prove as prover
from zkjax.prover.commitments import slots_of
from zkjax.prover.lanes import link_lanes

committing = importlib.import_module("zkjax.commitment.commit")  # the package's attribute of this name is the function
STATES = "wmvef"  # w and v are parameters, m and e are kept beside them, f is frozen
F = STATES.index("f")


@pytest.fixture
def first():
    """A run that begins a chain, not proven yet."""
    return begun()


def begun():
    run = zkjax.train(moving(frozen=True), *start(frozen=True), steps=3)
    run.chain.geometry = SMALL
    return run


def going_on(run, steps=3, **changes):
    """The run that goes on from another one, or from other states than it ended with. changes: of states by name."""
    final = list(run.final)
    for name, change in changes.items():
        final[STATES.index(name)] = change(final[STATES.index(name)])
    return zkjax.train(run.circuit, dataclasses.replace(run, final=tuple(final), kept=None), None, steps=steps)


def prove(run):
    """Whatever the run holds."""
    return zkjax.prove(run.circuit, run, progress=None, minimum_bits=BITS, check=False)


def held(run, name):
    """The prover's side of a commitment that the run's proof has opened."""
    return run.chain._kept[kept_as(run, name)]


def kept_as(run, name) -> str:
    return slots_of(run, prover.make_plan(run))[name].name(0)


@cache
def honest():
    """(circuit, proofs of two chunks)."""
    run = begun()
    return run.circuit, [prove(run), prove(going_on(run))]


def verify(proofs, **options):
    return zkjax.verify(honest()[0], proofs, minimum_bits=BITS, **options)


def refused(check, proofs, **options):
    with pytest.raises(VerificationError) as caught:
        verify(proofs, **options)
    assert caught.value.check == check, caught.value


def link(old, new):
    """A proof of a link alone, of these sides of the prover's: what they open."""
    geometry, opened = old.geometry, [*old.members, *new.members]
    heights = [x.part.rows for x in opened] + [1]
    with scope():
        mask = Mask.of(geometry, heights, [*(x.part.budget for x in opened), 1])
        zeros, seed = np.zeros((1, geometry.row), dtype=np.uint64), secrets.token_bytes(32)
        trace = commit(zeros, kind="trace", number=0, budget=1, geometry=geometry, seed=seed, mask=mask)
        statement = LinkStatement(geometry, (old.commitment,), (new.commitment,))
        stream = Writer(verifier.start_transcript(statement))
        stream.raw("trace root", 32, trace.commitment.root)
        linked = draw_alone(stream.transcript, statement.in_stack())
        open_claim(stream, geometry, [old, new, trace], [link_lanes(linked, place) for place in range(len(heights))], ZERO)
    return zkjax.Proof(statement, bytes(stream))


def committed(rows, like, **changes):
    """A fresh commitment to these matrices."""
    c = like.commitment
    named = {"kind": c.kind, "number": c.number, "budget": c.parts[0].budget, "geometry": like.geometry} | changes
    with scope():
        return commit(rows, seed=secrets.token_bytes(32), **named)


def test_an_honest_chain():
    _, (a, b) = honest()
    verify([a, b], initial=a.statement.initial_weights, final=b.statement.final_state)
    assert [x.names for x in a.statement.opened()[:3]] == [(PARAMETERS,), (PARAMETERS, OTHER), ("cells",)]
    assert a.statement.frozen == b.statement.frozen and a.statement.shifts[F] == b.statement.shifts[F] > 0
    assert b.statement.initial == a.statement.final


# ---- parts of one tree ----------------------------------------------------------------------------------------------
def nameless(patch):
    """Without the rule that a part's name is in its leaves."""
    own = merkle.part_tag
    for module in (committing, opening):
        patch.setattr(module, "part_tag", lambda kind, number, part: own(kind, number, "cells"))


def unordered(patch):
    """Without the rule that the parts of a leaf have an order."""

    def paired(digests, compress):
        if len(digests) == 1:
            return digests[0]
        columns = zip(*(x.T.astype("<u4") for x in digests))
        leaves = [merkle.pair(*sorted(y.tobytes() for y in x)) for x in columns]
        return np.stack([np.frombuffer(x, dtype="<u4") for x in leaves], axis=1)

    patch.setattr(committing, "paired", paired)
    patch.setattr(recursion, "pair", lambda a, b: merkle.pair(*sorted((a, b))))


@pytest.mark.parametrize("missing", [(), (nameless,), (unordered,), (nameless, unordered)])
def test_exchanged_parts(first, monkeypatch, missing):
    """The next chunk goes on from the same commitment, but reads what an optimizer keeps as parameters, and the other way round."""
    for rule in missing:
        rule(monkeypatch)
    a = prove(first)
    w, m, v, e, f = first.final
    second = going_on(first, 1, w=lambda _: m, m=lambda _: w, v=lambda _: e, e=lambda _: v)
    whole = held(first, "final")
    one, two = whole.parts
    swapped = dataclasses.replace(one, part=two.part), dataclasses.replace(two, part=one.part)
    first.chain._kept[kept_as(second, "initial")] = dataclasses.replace(whole, parts=swapped[::-1])
    b = prove(second)
    assert b.statement.initial == a.statement.final
    if len(missing) == 2:
        verify([a, b])
    else:
        refused("Merkle path", [a, b])


def test_a_part_of_another_step(first):
    """A tree whose parts are of two steps: what an optimizer keeps is what it was before the chunk, and the argument knows."""
    a = prove(first)
    second = going_on(first)
    prove(second)
    before, after = held(first, "final"), held(second, "final")
    with scope():
        leaves = [
            committing.encode_leaves(x.polynomials, x.entries, x.log_code, x.tag, salts_of(x))[0] for x in (after.parts[0], before.parts[1])
        ]
        tree = committing.tree_over(*leaves)
    commitment = dataclasses.replace(after.commitment, root=tree.root)
    mixed = dataclasses.replace(after, opens=commitment.opened(), parts=(after.parts[0], before.parts[1]), tree=tree)
    first.chain._kept[kept_as(second, "final")] = mixed
    refused("Merkle path", [a, prove(second)])  # the tag has the number


def salts_of(part):
    raw = np.frombuffer(part.salts(list(range(1 << part.log_code))), dtype="<u4")
    return raw.reshape(-1, 4).T


def test_digests_of_a_closed_part():
    """Altered, exchanged, missing, one more: also where the challenges are those of the honest proof."""
    circuit, proof = refusals.frozen(refusals.PARTED)
    replay = Frozen(circuit, proof)
    (m,) = [m for m in messages(circuit, proof) if m.label == "other leaves"]
    content = m.cut(proof.body)
    count = len(content) // 32
    assert count > 1 and m.size == 32 * count
    digests = [content[32 * i : 32 * (i + 1)] for i in range(count)]
    for lie in (
        *(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(0, len(content), 31)),
        b"".join([digests[1], digests[0], *digests[2:]]),
        digests[0] * count,
        bytes(len(content)),
    ):
        raw = bytes(zkjax.Proof(proof.statement, m.replaced(proof.body, lie)))
        assert replay.outcome(circuit, raw) == (VerificationError, "Merkle path") and outcome(circuit, raw) is not None
    for lie in (b"", content[32:], content[:-32], content + bytes(32), content * 2):
        raw = bytes(zkjax.Proof(proof.statement, m.replaced(proof.body, lie)))
        assert replay.outcome(circuit, raw) in ((VerificationError, "Merkle path"), (FormatError, None))
        assert outcome(circuit, raw) is not None


# ---- links ----------------------------------------------------------------------------------------------------------
def test_names_of_linked_parts(first):
    """A link of parameters is none of another part, nor of both, whatever its statement says."""
    prove(first)
    whole = held(first, "final")
    new = committed(whole.parts[0].rows, whole)
    proof = link(whole.only(PARAMETERS), new)
    verify([honest()[1][0], proof])
    s = proof.statement
    one, two = s.replaced[0].parts
    for replaced, fresh in (
        ((one, two), (two,)),
        ((one, two), (one, two)),
        ((one,), (one,)),
        ((two,), (two,)),
        ((two,), (one,)),
    ):
        old, to = (dataclasses.replace(c, parts=parts) for c, parts in ((s.replaced[0], replaced), (s.fresh[0], fresh)))
        lie = zkjax.Proof(dataclasses.replace(s, replaced=(old,), fresh=(to,)), proof.body)
        with pytest.raises((VerificationError, FormatError)):
            verify([honest()[1][0], lie])


def joins_wholes(statements) -> Classes:
    """``joined`` without the rule that a commitment is another one's equal only if all its parts are."""
    classes = links.joined(statements)
    for one in statements:
        named = one.named()
        for x in one.links:
            classes.join(named[x.source].commitment.digest(one.geometry), x.to.digest(one.geometry))
    return classes


def test_one_part_is_not_the_whole(first, monkeypatch):
    """The pinned state has another momentum. It and what the chain starts from are linked to one commitment to the same parameters."""
    prove(first)
    pinned = held(first, "final")
    second = going_on(first, m=lambda x: x * 0, e=lambda x: x + 1)
    mine = committed([pinned.parts[0].rows, with_states(second, "initial")], pinned, budget=[4, 4])
    first.chain._kept[kept_as(second, "initial")] = mine
    b = prove(second)
    between = committed(pinned.parts[0].rows, pinned)
    proofs = [b, link(pinned.only(PARAMETERS), between), link(mine.only(PARAMETERS), between)]
    state = b.statement.state_behind(pinned.commitment.digest(SMALL), b.statement.frozen_digest)
    weights = b.statement.weights_behind(pinned.commitment.part_digest(SMALL, PARAMETERS), b.statement.frozen_digest)
    assert (b.statement.initial_state, b.statement.initial_weights) != (state, weights)
    refused("pinned initial weights", proofs, assume_bound=True, initial=state)
    verify(proofs, assume_bound=True, initial=weights)  # they are those parameters, and nothing is said of the momentum
    refused("initial bound", proofs, initial=weights)
    ranged = with_ranges(second)
    shown = [prove(ranged), *proofs[1:]]
    refused("initial state", shown, initial=weights)  # so that nobody takes them for a beginning
    verify(shown, assume_bound=True, initial=weights)
    monkeypatch.setattr(verifier, "joined", joins_wholes)
    verify(proofs, assume_bound=True, initial=state)


def with_states(run, name):
    """The matrix of the states beside parameters."""
    plan = prover.make_plan(run)
    coarse = prover.coarse_integers(run, plan)
    return prover.rows_of(plan.layouts[name][OTHER], {(name, p): x for p, x in enumerate(coarse)}, SMALL.row)


def with_ranges(run):
    """The same run, of which a proof shows the range of all states that it starts from."""
    widths = tuple(max(1, int(bound).bit_length() + 1) for bound in run.initial_bound)
    widths = (*widths[:F], int(run.initial_bound[F] >> run.coarse_shifts[F]).bit_length())
    bound = tuple(1 << width - 1 << shift for width, shift in zip(widths, run.coarse_shifts))
    return dataclasses.replace(run, widths=widths, initial_bound=bound, final_bound=run.circuit.bounds(bound, 3, 3).final, kept=None)


def test_a_state_of_which_a_part_is_not_read(monkeypatch):
    """A chain begins with given states beside the pinned parameters; its first commitment holds another momentum, which stays closed."""
    circuit, proof = refusals.frozen(refusals.PARTED)
    s = proof.statement
    pin = s.state_behind(s.initial.digest(s.geometry), s.frozen_digest)
    zkjax.verify(circuit, proof, minimum_bits=5, initial=s.initial_weights)
    with pytest.raises(VerificationError, match="pinned initial weights"):
        zkjax.verify(circuit, proof, minimum_bits=5, initial=pin)
    own = chain._pinned

    def careless(stated, *arguments):
        return own(dataclasses.replace(stated, given=False), *arguments)

    monkeypatch.setattr(chain, "_pinned", careless)
    zkjax.verify(circuit, proof, minimum_bits=5, initial=pin)


# ---- frozen parameters ----------------------------------------------------------------------------------------------
def test_frozen_parameters_that_change_between_chunks(first, monkeypatch):
    a = prove(first)
    second = going_on(first, f=lambda x: x + (1 << first.coarse_shifts[F]))
    del first.chain._kept[kept_as(second, "frozen")]
    b = prove(second)
    verify([b], assume_bound=True)
    refused("chain", [a, b])
    monkeypatch.setattr(Statement, "frozen_digest", b"")
    verify([a, b])


def test_frozen_parameters_that_are_shifted_further(first, monkeypatch):
    """The same commitment, read as twice of what it was."""
    a = prove(first)
    shifts = (*(0,) * F, first.coarse_shifts[F] + 1)
    bound = (*first.final_bound[:F], 2 * first.final_bound[F])
    second = going_on(first, f=lambda x: 2 * x)
    final = first.circuit.bounds(bound, 3, 3).final
    second = dataclasses.replace(second, coarse_shifts=shifts, initial_bound=bound, final_bound=final, kept=None)
    b = prove(second)
    assert b.statement.frozen == a.statement.frozen
    refused("chain", [a, b])
    monkeypatch.setattr(Statement, "shifts_after", Anything())
    verify([a, b])


class Anything:
    def __eq__(self, other):
        return True


def test_frozen_parameters_that_a_statement_leaves_out(first, monkeypatch):
    """Whoever does not count them as frozen has them lose their shift at the end of a chunk: the next one reads a quarter of them."""
    own = prover.Frozen
    monkeypatch.setattr(prover, "Frozen", lambda commitment, parameters, beside: own(commitment, ()))
    a = prove(first)
    second = going_on(first, f=lambda x: x >> first.coarse_shifts[F])
    second = dataclasses.replace(second, coarse_shifts=(0,) * 5, kept=None)
    b = prove(second)
    assert a.statement.frozen == b.statement.frozen and a.statement.shifts_after == b.statement.shifts == (0,) * 5
    refused("statement", [a, b])
    monkeypatch.setattr(checks, "check_frozen", lambda *_: None)
    verify([a, b])


def test_a_parameter_that_is_said_to_be_frozen():
    """It would keep its shift in the digest of the last weights."""
    _, (a, _) = honest()
    s = a.statement
    for parameters in ((0, F), (0,), (F, F), ()):
        lie = dataclasses.replace(s, frozen=s.frozen._replace(parameters=parameters))
        refused("statement", zkjax.Proof(lie, a.body))


def test_given_states_in_between():
    """A later chunk that sets the momentum back: only a chain's first statement may be given."""
    _, (a, b) = honest()
    for given in (True, False):
        changed = dataclasses.replace(b.statement, given=given)
        if given:
            refused("chain", [a, zkjax.Proof(changed, b.body)])
        else:
            verify([a, zkjax.Proof(changed, b.body)])


# ---- names of weights -----------------------------------------------------------------------------------------------
def test_digests_of_weights_do_not_collide():
    """Of all that they bind each has its own; only zeros at the end of the shifts are left out."""
    _, (a, _) = honest()
    s, digest = a.statement, (b"\1" * 32, b"\2" * 32)
    seen: dict = {}
    shifts = [(), (1,), (0, 1), (1, 1), (2, 0, 1), (1,) * 32, (1,) * 33, (2,) * 32, (62,)]
    for each, zeros, other, fixed in itertools.product(shifts, range(3), digest, (b"", *digest)):
        stated = dataclasses.replace(s, shifts=each + (0,) * zeros)
        for name in ("weights", "state"):
            found = getattr(stated, f"{name}_behind")(other, fixed)
            assert seen.setdefault(found, (name, each, other, fixed)) == (name, each, other, fixed)
    assert len(seen) == 2 * len(shifts) * 2 * 3

    def frameless(other, fixed, each):
        return hashlib.sha256(other + fixed + bytes(each)).digest()

    assert frameless(digest[0], digest[0], ()) == frameless(digest[0], b"", (1,) * 32)  # what the length of the frozen part is for


def test_the_last_weights_forget_shifts_and_frozen_ones_do_not():
    _, (a, b) = honest()
    s = dataclasses.replace(a.statement, shifts=(5, 4, 3, 2, 1))
    assert s.shifts_after == (0, 0, 0, 0, 1)
    assert dataclasses.replace(s, frozen=None).shifts_after == (0,) * 5
    other = dataclasses.replace(s, shifts=(0, 0, 0, 0, 1))
    assert s.final_weights == other.final_weights and s.initial_weights != other.initial_weights
    assert a.statement.final_weights == b.statement.initial_weights and a.statement.final_state == b.statement.initial_state
