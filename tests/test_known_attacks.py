"""Attacks that broke published proof systems, tried on this one: one test for each class, in its simplest form.

A class is named after the systems that it was found in. Each test tells the lie that belongs to the class, and sees it refused
by the check that is there for it; where a refusal could come from hashing alone, the honest proof's challenges are replayed.
Most lies need no prover: they are changes of the frozen proof in ``vectors/``. The others are told by ``harness.Liar``.
"""

import dataclasses
import random
from functools import cache

import numpy as np
import pytest
from harness import Liar, data_for, make_run, mlp_loss, mlp_params, prove_small, verify_small
from nodes import equation, roundings
from nodes import node as named
from refusals import Fixed, amended, frozen
from replay import BITS, Frozen, messages, outcome, words
from test_hidden import U, V, W, product_protocol
from test_integers import _circuit, rescaled
from test_lies import as_defined, claim, identity, nudged, other_run, retrained
from tiny import TINY, chain

import zkjax
import zkjax.verifier
from zkjax.algebra import extension as ext
from zkjax.algebra import field
from zkjax.algebra.extension import ONE, ZERO, Ext
from zkjax.algebra.field import P, root_of_unity
from zkjax.algebra.layout import Layout
from zkjax.algebra.poly import eq_vector
from zkjax.circuit.parts import Update
from zkjax.commitment.commit import PARTS
from zkjax.commitment.merkle import leaf, leaf_header, node, part_tag
from zkjax.errors import FormatError, VerificationError
from zkjax.ops.tables import Table
from zkjax.proofs.proof import Proof
from zkjax.protocol.transcript import Transcript
from zkjax.prover.aggregate import embed

SUM = {"lookup layer"}  # the fractions do not sum to zero: a value is not in its table


@cache
def net():
    """A circuit with every kind of committed tensor, and a run of two steps; the first neuron's output is 0 in the first one."""
    params = mlp_params((2, 3, 2))
    params[0]["w"][:, 0] = params[0]["b"][0] = 0
    circuit, run = make_run(mlp_loss, params, data_for((2, 2), 6), batch=2, steps=2, precision=TINY)
    assert Liar(run).broken() == set()
    return circuit, run


def rejected(call, check):
    with pytest.raises(VerificationError) as caught:
        call()
    assert caught.value.check == check, caught.value


def plus_one(body: bytes, offset: int) -> bytes:
    word = (int.from_bytes(body[offset : offset + 8], "little") + 1) % P
    return body[:offset] + word.to_bytes(8, "little") + body[offset + 8 :]


def altered(message, body: bytes) -> bytes:
    """The first word of a message, or the first bit of a digest, is another."""
    if message.is_digests:
        return body[: message.offset] + bytes([body[message.offset] ^ 1]) + body[message.offset + 1 :]
    return plus_one(body, message.offset)


@cache
def log():
    return messages(*frozen())


@cache
def replay():
    return Frozen(*frozen())


def of(label, which=0):
    return [m for m in log() if m.label == label][which]


def replayed(body, statement=None):
    circuit, proof = frozen()
    return replay().outcome(circuit, bytes(Proof(statement or proof.statement, body)))


# ---- F1 ---------------------------------------------------------------------------------------------------------
class Events(Transcript):
    """Notes what is absorbed and drawn, in order, with the states that these lead to."""

    seen: list = []

    def absorb(self, label, data):
        super().absorb(label, data)
        self.seen.append(("absorb", label, self.state))

    def _draw(self, label, size):
        drawn = super()._draw(label, size)
        self.seen.append(("draw", label, self.state))
        return drawn


def events(proof, monkeypatch) -> list:
    Events.seen = []
    monkeypatch.setattr(zkjax.verifier, "Transcript", Events)
    outcome(frozen()[0], bytes(proof))
    monkeypatch.undo()
    return Events.seen


def test_F01_a_message_that_no_challenge_depends_on(monkeypatch):
    """Frozen Heart (Bulletproofs, PlonK, Girault), stwo-ml C2, the "last challenge" of batched openings: whatever is not absorbed
    before a challenge can be chosen after it. The lie: another message, or statement; the state of which all later challenges are
    hashes must be another one, before the next of them is drawn."""
    _, proof = frozen()
    honest = events(proof, monkeypatch)
    absorbed = [i for i, (kind, label, _) in enumerate(honest) if kind == "absorb" and label != "opening"]
    assert [honest[i][1] for i in absorbed] == ["parameters", "statement", *(m.label for m in log())]
    for at, message in {m.label: (i, m) for i, m in zip(absorbed[2:], log())}.values():
        lie = events(Proof(proof.statement, altered(message, proof.body)), monkeypatch)
        assert lie[:at] == honest[:at] and lie[at][:2] == honest[at][:2] and lie[at][2] != honest[at][2], message
    first = next(i for i, (kind, *_) in enumerate(honest) if kind == "draw")
    assert [label for _, label, _ in honest[:first]] == ["parameters", "statement", "trace root"]
    assert [label for kind, label, _ in honest if kind == "draw"].index("row fold") > 0
    opening = next(i for i, (_, label, _) in enumerate(honest) if label == "opening")
    assert [label for _, label, _ in honest[opening - 1 : opening + 3]] == ["constraints", "opening", "row round", "row fold"]
    for change in ({"seed": 7}, {"final_bound": (1, 2, 3)}, {"losses": None}, {"dataset": bytes(32)}):  # public inputs
        stated = dataclasses.replace(proof.statement, **change)
        assert zkjax.verifier.start_transcript(stated).state not in {state for _, _, state in honest}


# ---- F2 ---------------------------------------------------------------------------------------------------------
def test_F02_one_component_in_the_place_of_another():
    """stwo-ml C3 (no domain separation): the tree of the first weights, with its columns, stands for the last weights."""
    circuit, proof = frozen()
    s, body = proof.statement, proof.body
    stated = dataclasses.replace(s, final=dataclasses.replace(s.final, root=s.initial.root))
    assert s.initial.rows == s.final.rows
    for label in ("salts", "columns", "siblings"):
        first, last = of(label, 0), of(label, 1)
        body = last.replaced(body, first.cut(body))
    assert replayed(body, stated) == (VerificationError, "Merkle path")  # the tag of a leaf names its tree
    parts = [(kind, part) for kind, parts in (PARTS | {"level": ("cells",)}).items() for part in parts]
    assert len({part_tag(kind, number, part) for kind, part in parts for number in range(3)}) == 3 * len(parts) == 24
    states = set()
    for act in ("absorb", "challenge", "challenges", "indices"):
        for label in ("a", "b"):
            transcript = Transcript(b"", b"")
            getattr(transcript, act)(label, *{"absorb": (b"",), "challenges": (2,), "indices": (2, 3)}.get(act, ()))
            states.add(transcript.state)
    assert len(states) == 8
    assert circuit.digest() == s.circuit


# ---- F3 ---------------------------------------------------------------------------------------------------------
def test_F03_messages_that_run_into_each_other():
    """leanMultisig: zero-padded blocks made two sequences of messages one. The lie: bytes moved from one message to its neighbour."""
    states = set()
    for first, second in ((b"xy", b"z"), (b"x", b"yz"), (b"xyz", b""), (b"", b"xyz"), (b"xy", b"z\0"), (b"xy\0", b"z")):
        transcript = Transcript(b"", b"")
        transcript.absorb("a", first)
        transcript.absorb("a", second)
        states.add(transcript.state)
    for label, data in (("ab", b"c"), ("a", b"bc"), ("abc", b"")):
        transcript = Transcript(b"", b"")
        transcript.absorb(label, data)
        states.add(transcript.state)
    states |= {Transcript(*pair).state for pair in ((b"ab", b"c"), (b"a", b"bc"), (b"abc", b""))}
    assert len(states) == 12


# ---- F4 ---------------------------------------------------------------------------------------------------------
def test_F04_an_operation_that_proves_nothing():
    """stwo-ml C1: an activation was "proved" by the identity. The lies: no ReLU, with the masks that a ReLU would have, and with masks
    of ones; and garbage instead of the result of the first operation of each kind, with all that follows computed from it."""
    circuit, run = net()
    assert retrained(run, alter=identity(circuit, False)).broken() == {"gates: last product"}
    assert retrained(run, alter=identity(circuit, True)).broken() == SUM
    noticed = {}
    for op in {n.op for n in circuit.nodes} - {"const"}:

        def garbage(step, i, value, op=op):
            if (step, i) != (0, circuit.of(op)[0]):
                return value
            return 1 - value if op == "sign" else value + 1 + (np.arange(value.size).reshape(value.shape) % 3)

        noticed[op] = retrained(run, alter=garbage).broken()
    expected = {"sign": SUM, "gate": {"gates: last product"}} | dict.fromkeys(("rescale", "dot", "linear", "param"), {"level 3"})
    assert {op: noticed[op] for op in expected} == expected
    assert all(noticed.values()) and len(noticed) > 7


# ---- F5 ---------------------------------------------------------------------------------------------------------
def test_F05_members_that_are_not_counted():
    """EZKL's audit: a shuffle argument that checked membership, not multiplicity. The lies: a batch with one sample twice and another
    one missing; two rows of a table whose counts are exchanged; counts that are used, and others that are committed."""
    circuit, run = net()
    twice = run.indices.copy()
    twice[0, 1] = twice[0, 0]
    assert retrained(run, batches=twice).broken() == {"level 3", "gates: last product"}
    liar = Liar(run)
    key = next(key for key in liar.witness.tensors if key[0] == "multiplicity")
    counts = liar.witness.tensors[key].astype(np.int64).reshape(-1)
    most, least = counts.argmax(), counts.argmin()
    counts[[most, least]] = counts[[least, most]]
    counts = counts.reshape(liar.witness.tensors[key].shape)
    liar.witness.tensors[key] = counts
    assert liar.broken() == SUM
    liar = Liar(run)
    honest = liar._committed
    liar._committed = lambda asked: field.from_int(counts) if asked == key else honest(asked)
    assert liar.broken() == {"lookup multiplicities"}


# ---- F6 ---------------------------------------------------------------------------------------------------------
def test_F06_decompositions_that_are_not_unique():
    """EZKL's audit: the sign of zero, and digits that were not canonical. The lies: a mask of 1 at 0; one more in an upper limb
    and a whole limb less in the one below; one less in the quotient and a whole remainder more."""
    circuit, run = net()
    sign = circuit.of("sign")[0]
    liar = Liar(run)
    assert not liar.values[circuit.nodes[sign].inputs[0]][0, :, 0].any() and not liar.values[sign][0, :, 0].any()

    def positive_zero(step, i, value):
        if (step, i) == (0, sign):
            value[0, 0] = 1
        return value

    assert retrained(run, alter=positive_zero).broken() == SUM
    limbs = 0
    for i in roundings(circuit):
        if ("remainder", i, 1) in Liar(run).witness.tensors and len(equation(circuit, i).limbs) > 1:
            liar = Liar(run)
            limb = liar.witness.tensors["remainder", i, 1].astype(np.int64)
            limb.reshape(-1)[0] += -1 if limb.reshape(-1)[0] else 1
            liar.witness.tensors["remainder", i, 1] = limb
            assert as_committed(liar, i).broken() == SUM
            limbs += 1
        assert as_defined(retrained(run, alter=nudged(i, 0, -1))).broken() >= SUM
    assert limbs > 1


def as_committed(liar, i):
    """The lowest limb of rescale i follows from the others, as the verifier defines it."""
    circuit, tensors = liar.run.circuit, liar.witness.tensors
    relation = equation(circuit, i)
    rest = liar.forms["remainder", i].copy()
    for j, (weight, _) in enumerate(relation.limbs):
        if j:
            rest = rest - weight * tensors["remainder", i, j].astype(np.int64)
    tensors["remainder", i, 0] = field.from_int(rest)
    return liar


# ---- F7 ---------------------------------------------------------------------------------------------------------
def test_F07_advice_that_wraps_around_the_modulus():
    """EZKL (division by advice without a range check), Aztec AVM 21066 (remainder not range-checked): x = 2^s q + r has a solution
    for every q if r may be anything modulo p, and for every r if q may. The lies: a remainder of 2^s, or below 0; a quotient that
    solves the equation modulo p only."""
    circuit, run = net()
    for i in roundings(circuit):
        for by in (1, -1):  # a remainder of a whole 2^s
            assert as_defined(retrained(run, alter=nudged(i, 0, by))).broken() >= SUM
        liar = Liar(run)
        weight, _ = equation(circuit, i).quotient
        quotient = liar.witness.tensors["quotient", i].astype(np.int64)
        low = liar.witness.tensors["remainder", i, 0].astype(np.int64)
        by = -1 if low.reshape(-1)[0] else 1  # another remainder, of those in range, and the quotient that solves the equation modulo p
        solution = (int(quotient.reshape(-1)[0]) - by * pow(weight, -1, P)) % P
        quotient.reshape(-1)[0] = solution if solution < P // 2 else solution - P
        low.reshape(-1)[0] += by
        liar.witness.tensors["quotient", i], liar.witness.tensors["remainder", i, 0] = quotient, low
        assert weight == 1 or liar.broken() >= SUM
    # with a wider range it would be possible, and such a circuit is refused: test_integers proves a false statement about it
    with pytest.raises(zkjax.PrecisionError):
        _circuit(rescaled(61, 3)).bounds((0,), 1)


# ---- F8 ---------------------------------------------------------------------------------------------------------
def test_F08_rows_that_are_not_range_checked():
    """Aztec 19262: a selector switched the range check off on some rows, and default rows satisfied the lookup. The lie: a value outside
    its table in the first, and in the last entry of each tensor that is looked up, the last before padding begins."""
    circuit, run = net()
    lookups = Liar(run).plan.sites.lookups
    assert any(x.again for x in lookups) and any(not x.again for x in lookups)  # in tables of their own, and in wider ones
    for lookup in lookups:
        for cell, outside in {(0, 1 << lookup.width), (-1, 1 << lookup.width), (0, 1 << lookup.table.width)}:
            liar = Liar(run)
            kind, *name = lookup.key
            if kind == "input":
                reading = next(i for i in circuit.of("input") if circuit.nodes[i].operation.index == name[0])
                liar.data[name[0]][run.indices.reshape(-1)[cell]].reshape(-1)[cell] = outside - (1 << lookup.width - 1)
                liar.values[reading] = liar.data[name[0]][run.indices]
            elif kind == "initial":
                changed = [x.copy() for x in liar.initial]
                changed[name[0]].reshape(-1)[cell] = outside - (1 << lookup.width - 1)
                liar.initial = tuple(changed)
            else:
                tensor = liar.witness.tensors[lookup.key].astype(np.int64)
                tensor.reshape(-1)[cell] = outside
                liar.witness.tensors[lookup.key] = tensor
            assert liar.broken() >= SUM, (lookup.key, cell, outside)
    point = [Ext(3, 1), Ext(5), Ext(7, 2)]
    three = Layout({"x": (3,)})
    weights = three.weights(point[: three.num_vars])
    assert sum((w.scalar for w in weights), ZERO) == ONE and all(len(w.vectors[0][0]) == 3 for w in weights)  # no weight on the fourth


# ---- F9 ---------------------------------------------------------------------------------------------------------
def test_F09_accumulators_that_overflow_the_field():
    """Long inner products modulo p: k products of bounds A and B with k A B >= p. The lie is in the circuit: it is refused, whoever
    states its bounds. (``test_integers.py`` proves false statements about such circuits, to a verifier without bounds.)"""
    long = named("dot", (1, 1), (1,), {"contract": ((), ()), "batch": ((0,), (0,))})
    for factor, accepted in ((2**31 - 1, True), (2**32, False)):
        circuit = _circuit([named("linear", (0,), (1,), {"coefficients": (factor,)}), long], bits=0)
        if accepted:
            assert circuit.bounds((0,), 1).nodes[2] == factor**2
        else:
            with pytest.raises(zkjax.PrecisionError, match="beyond 2\\^63"):
                circuit.bounds((0,), 1)
    circuit, proof = frozen()
    s = proof.statement
    for scale in (2**40, 2**45):
        initial = tuple(scale * b for b in s.initial_bound)
        final = tuple(a + b - c for a, b, c in zip(initial, s.final_bound, s.initial_bound))
        stated = dataclasses.replace(s, initial_bound=initial, final_bound=final)
        rejected(lambda stated=stated: zkjax.verify(circuit, Proof(stated, proof.body), minimum_bits=BITS), "bounds")


# ---- F10 --------------------------------------------------------------------------------------------------------
def test_F10_garbage_in_padding_and_tensors_that_overlap():
    """Matrix products over padded axes: garbage in the padding of the contracted axis, in rows, in the batch; two tensors at one offset.
    The lie: garbage wherever a layout has padding. No weight reads it; and weights that are not cut to the axes would."""
    circuit, run = net()
    liar = Liar(run)
    tensors = {k: field.from_int(np.asarray(x).astype(np.int64)) for k, x in liar.witness.tensors.items() if k in liar.plan.advice}
    layout, rng = Layout(liar.plan.advice), np.random.default_rng(0)
    size = 1 << layout.num_vars
    clean = np.asarray(embed(layout, tensors, size))
    used = np.asarray(embed(layout, {k: np.ones(x.shape, dtype=np.uint64) for k, x in tensors.items()}, size)) == 1
    assert used.sum() == sum(x.size for x in tensors.values()) < size  # every tensor has cells of its own
    dirty = np.where(used, clean, rng.integers(1, P, size, dtype=np.uint64))
    point = [Ext(*map(int, rng.integers(0, P, 2, dtype=np.uint64))) for _ in range(layout.num_vars)]

    def read(cells):
        """What the verifier's weights take from these cells."""
        whole = np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.uint64)
        for piece, w in zip(layout.pieces, layout.weights(point), strict=True):
            block = ext.stack([w.scalar])
            for bits, start, length, vector in zip(piece.bits, piece.starts, piece.lengths, w.vectors, strict=True):
                part = tuple(np.pad(c[start : start + length], (0, (1 << bits) - length)) for c in vector)
                block = tuple(c.reshape(-1) for c in ext.mul(tuple(c[:, None] for c in block), tuple(c[None, :] for c in part)))
            for target, source in zip(whole, block):
                assert not target[piece.offset : piece.offset + len(source)].any()  # no block over another one
                target[piece.offset : piece.offset + len(source)] = source
        c0, c1 = ext.sum(ext.mul_base(whole, cells))
        return Ext(int(c0), int(c1))

    def careless(cells):
        c0, c1 = ext.sum(ext.mul_base(eq_vector(point), cells))
        return Ext(int(c0), int(c1))

    assert read(clean) == careless(clean) == read(dirty) != careless(dirty)


# ---- F11 --------------------------------------------------------------------------------------------------------
def test_F11_values_of_other_tables(monkeypatch):
    """Lookups: a value that only another table holds; a multiplicity below zero; a table replaced by another one."""
    circuit, run = net()
    liar = Liar(run)
    lookup, other = next(
        (x, t) for x in liar.plan.sites.lookups for t in liar.plan.sites.tables if x.key in liar.witness.tensors and x.table.width < t.width
    )
    tensors, outside = liar.witness.tensors, 1 << lookup.table.width
    old = int(tensors[lookup.key].reshape(-1)[0])
    for key, cell, change in ((lookup.key, 0, outside - old), (lookup.table.key, old, -1), (other.key, outside, 1)):
        tensors[key] = tensors[key].astype(np.int64)
        tensors[key].reshape(-1)[cell] += change
    assert liar.broken() >= SUM
    liar = Liar(run)
    counts = liar.witness.tensors[lookup.table.key].astype(np.int64)
    counts.reshape(-1)[:2] += (-1 - counts.reshape(-1)[0], 1 + counts.reshape(-1)[0])  # one row less often than never
    liar.witness.tensors[lookup.table.key] = counts
    assert liar.broken() == SUM
    honest = Table.columns
    monkeypatch.setattr(Table, "columns", lambda self: [honest(self)[0] * 0 + 1, *honest(self)[1:]])  # the prover's table of ones
    assert Liar(run).broken() >= SUM


# ---- F12 --------------------------------------------------------------------------------------------------------
def test_F12_steps_that_do_not_join():
    """Proofs of training: weights of one step that are not those of the step before; batches in another order, or twice; labels that are
    not those of the samples. Within a chunk, between chunks, and in the data."""
    circuit, run = net()
    assert retrained(run, skipped=(0,)).broken() == {"level 3", "level 2"}
    assert retrained(run, skipped=(1,)).broken() == {"level 2"}
    assert retrained(run, batches=run.indices[::-1]).broken() >= {"level 3"}
    assert retrained(run, batches=run.indices[[0, 0]]).broken() >= {"level 3"}
    liar = Liar(run)
    first, second = run.indices.reshape(-1)[:2]
    liar.data[1][[first, second]] = liar.data[1][[second, first]]
    assert liar.broken() == {"level 3"}
    frozen_weights = tuple(dataclasses.replace(p, updates=tuple(Update(u.node, (0,)) for u in p.updates)) for p in circuit.parameters)
    assert "level 2" in claim(run, other_run(circuit, run, parameters=frozen_weights)).broken()
    whole = chain()
    for proofs in ((0, 2), (1, 0), (0, 0)):
        rejected(lambda p=proofs: verify_small(whole.circuit, [whole.proofs[i] for i in p], assume_bound=True), "chain")
    s = whole.proofs[1].statement
    stolen = dataclasses.replace(s, initial=dataclasses.replace(s.initial, root=whole.proofs[2].statement.final.root))
    rejected(lambda: verify_small(whole.circuit, [whole.proofs[0], Proof(stolen, whole.proofs[1].body)]), "chain")


# ---- F13 --------------------------------------------------------------------------------------------------------
def test_F13_paths_and_leaves():
    """Longfellow's report, TOB-4 (paths of wrong length) and TOB-9 (duplicate indices); inner nodes taken for leaves; salts left out."""
    circuit, proof = frozen()
    body = proof.body
    for which in range(3):
        m = of("siblings", which)
        for content in (m.cut(body)[:-32], m.cut(body) + bytes(32)):
            found = replayed(m.replaced(body, content))
            assert found is not None and found[0] in (FormatError, VerificationError)
    salts, columns = of("salts"), of("columns")
    count = salts.size // 16
    assert count <= proof.statement.geometry.queries  # drawn with replacement, opened once each
    assert replayed(salts.replaced(body, bytes(salts.size))) == (VerificationError, "Merkle path")
    entries = columns.size // count
    doubled = columns.cut(body)[:entries] * 2 + columns.cut(body)[2 * entries :]  # one column in the place of its neighbour, too
    assert replayed(columns.replaced(body, doubled)) == (VerificationError, "Merkle path")
    tag, salt = part_tag("trace", 0, "cells"), bytes(16)
    header = leaf_header(tag, 5, 0, salt)
    assert len(header) == 64 and leaf(tag, 5, salt, np.zeros(0, dtype=np.uint64)) != node(header[:32], header[32:])
    one = np.array([7], dtype=np.uint64)
    assert len({leaf(tag, 5, salt, one), leaf(tag, 5, bytes(15) + b"\1", one), leaf(tag, 6, salt, one), leaf(tag, 5, salt, one * 2)}) == 4


# ---- F14 --------------------------------------------------------------------------------------------------------
def test_F14_field_elements_with_two_encodings():
    """Elements that are not reduced: x + p is x in every equation, and another leaf. Refused where they are read, in every message."""
    circuit, proof = frozen()
    for m in {m.label: m for m in log() if not m.is_digests}.values():
        lie = proof.body[: m.offset] + P.to_bytes(8, "little") + proof.body[m.offset + 8 :]
        assert replayed(lie) == (FormatError, None), m
    m = next(m for m in log() if m.label == "lookup round")
    for value in (0, 1, 2**64 - P - 1):  # the elements that have two forms in 64 bits
        lie = proof.body[: m.offset] + (value + P).to_bytes(8, "little") + proof.body[m.offset + 8 :]
        assert outcome(circuit, bytes(Proof(proof.statement, lie))) == (FormatError, None)


# ---- F15 --------------------------------------------------------------------------------------------------------
def test_F15_sizes_that_the_prover_chooses():
    """Openings whose number of queries, random coefficients or levels, or whose last vector, are smaller than the verifier's. They follow
    from the statement; a shorter message is not a message."""
    circuit, proof = frozen()
    body, s = proof.body, proof.statement
    for label in ("final vector", "folded padding", "folded pads", "level round", "row round", "salts"):
        m = of(label, -1)
        found = replayed(m.replaced(body, m.cut(body)[:-16]))
        assert found is not None and found[0] in (FormatError, VerificationError), label
    for change, check in (
        ({"level_bits": 7}, "dataset"),
        ({"log_inverse_rate": 1}, "geometry"),
        ({"max_budget": 2}, f"commitment to weights {s.first_step}"),
    ):
        other = dataclasses.replace(s, geometry=dataclasses.replace(s.geometry, **change))
        rejected(lambda other=other: zkjax.verify(circuit, Proof(other, body), minimum_bits=1), check)
    for budget in (0, s.geometry.max_budget + 1, 2**31):
        stated = dataclasses.replace(s, final=amended(s.final, budget=budget))
        rejected(lambda stated=stated: zkjax.verify(circuit, Proof(stated, body), minimum_bits=1), f"commitment to weights {s.steps}")


# ---- F16 --------------------------------------------------------------------------------------------------------
def test_F16_any_scalar_plus_one():
    """leanVM's test: every scalar of a proof, one more. Here one of each kind of message, at random; ``test_tamper.py`` has the others."""
    circuit, proof = frozen()
    rng = random.Random(0)
    for m in {m.label: m for m in log()}.values():
        lie = plus_one(proof.body, m.offset + rng.randrange(m.size // 8) * 8)
        assert outcome(circuit, bytes(Proof(proof.statement, lie))) is not None, m
        assert replayed(lie) is not None, m


# ---- F17 --------------------------------------------------------------------------------------------------------
def test_F17_randomness_used_twice(roles):
    """Pads, masks and salts of one proof in another: the difference of two messages is the difference of two witnesses. The rank
    tests of ``commitment/test_zero_knowledge.py`` notice it, and masks over F instead of K; here is why, and that it cannot happen."""
    sent = []
    for seed, witness in ((0, [U, V, W]), (0, [U + 5, V, W]), (1, [U, V, W])):
        roles.seed = seed
        _, body = roles.prove(product_protocol, witness, check=False)
        sent.append(Ext(int.from_bytes(body[:8], "little"), int.from_bytes(body[8:16], "little")))
    assert sent[1] - sent[0] == Ext(5) and sent[2] - sent[0] != ZERO
    circuit, run = net()
    run.chain.openings.spent.clear()
    proofs = [prove_small(circuit, run) for _ in range(2)]
    hidden = [{w for m in messages(circuit, p) if not m.is_digests and m.label != "columns" for w in words(m.cut(p.body))} for p in proofs]
    assert proofs[0].statement == proofs[1].statement and not hidden[0] & hidden[1]
    third = prove_small(circuit, run).statement  # the openings that are left serve to replace what was opened
    assert {link.source for link in third.links} == set(third.named())


# ---- F18 --------------------------------------------------------------------------------------------------------
def test_F18_triples_that_are_no_products(roles):
    """Beaver triples: c is not a b, in a slot that is used and in one that is not; a test point where their identity says nothing."""
    for slot in (1, 2, 3, 7):  # odd slots, and those beyond the products, are read by no product
        roles.prepare(product_protocol)
        masks = roles.masks
        masks["c"][slot] = masks["c"][slot] + 1
        prepared, roles.prepare = roles.prepare, lambda protocol: None
        _, body = roles.prove(product_protocol, [U, V, W], check=False)
        del roles.prepare
        assert prepared == roles.prepare
        rejected(lambda body=body: roles.verify(product_protocol, body), "final claim")
    hidden = Fixed(root_of_unity(1))
    hidden.receive_product("x")
    rejected(hidden.finish, "triple point")
