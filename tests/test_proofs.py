"""Whole proofs: honest runs verify, whatever their values; chains are checked; lies, pins and bounds that do not hold are refused."""

import dataclasses
import json

import numpy as np
import pytest
from harness import BITS, SMALL, mlp_params, prove_small, verify_small
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nodes import roundings, signed
from replay import messages, words
from tiny import DIMS, TINY, chain, next_run, tiny_run

import zkjax
import zkjax.commitment.keys
import zkjax.prover.prove
import zkjax.prover.witness
import zkjax.training.run
import zkjax.verifier
from zkjax.algebra import field
from zkjax.protocol.transcript import Reader, Writer

OTHER_CHALLENGES = "Merkle path"  # what fails where only the transcript differs: other columns are asked for


def refused(check, circuit, proof, **options):
    """The message of the VerificationError that names this check."""
    with pytest.raises(zkjax.VerificationError) as caught:
        verify_small(circuit, proof, **options)
    assert caught.value.check == check, caught.value
    return str(caught.value)


def with_statement(proof, **changes):
    return zkjax.Proof(dataclasses.replace(proof.statement, **changes), proof.body)


# ---- completeness -----------------------------------------------------------------------------------------------
SHAPES = {  # widths, batch, steps, bias, shard size
    "one layer": ((3, 2), 3, 1, False, None),
    "one sample": ((3, 4, 2), 1, 3, True, None),
    "no bias": ((3, 4, 2), 2, 2, False, 4),
    "odd batch": ((2, 3, 3, 1), 5, 3, True, 7),
    "single units": ((1, 1, 1), 2, 4, True, 3),
}
LARGEST = 2 ** TINY.data_bits[0]


def weights(shape):
    element = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0**-20, -(2.0**-9)]), st.floats(-1, 1, width=32))
    return hnp.arrays(np.float32, shape, elements=element)


def samples(shape):
    element = st.one_of(st.sampled_from([0, 1, -1, -LARGEST, LARGEST - 1]), st.integers(-LARGEST, LARGEST - 1))
    return hnp.arrays(np.int64, shape, elements=element, fill=st.nothing())


@pytest.mark.parametrize("name", SHAPES)
def test_random_values(name):
    dims, batch, steps, bias, shard_size = SHAPES[name]
    circuit, _ = tiny_run(dims, batch=batch, steps=steps, bias=bias)
    shapes = [p.shape for p in circuit.parameters]
    proven = []

    zeros = [np.zeros(s, np.float32) for s in shapes]
    lowest, highest = ((np.full((12, dims[0]), v), np.full((12, dims[-1]), v // 4)) for v in (-LARGEST, LARGEST - 1))

    @settings(max_examples=2)
    @given(
        st.tuples(*map(weights, shapes)),
        st.sampled_from([0.0, 0.125, 0.5, 1.0]),
        st.tuples(samples((12, dims[0])), samples((12, dims[-1]))),
        st.sampled_from([0, 4, 6]),
        st.integers(0, 2**64 - 1),
    )
    @example(zeros, 1.0, tuple(np.zeros_like(x) for x in lowest), 0, 0)
    @example(zeros, 1.0, lowest, 0, 2**64 - 1)
    @example(zeros, 1.0, highest, 0, 0)
    def prove_and_verify(arrays, factor, data, shift, seed):
        params = [{"w": factor * a} for a in arrays]
        if bias:
            params = [{"b": factor * b, "w": factor * w} for b, w in zip(arrays[::2], arrays[1::2])]
        data = zkjax.Dataset(tuple(x >> shift for x in data))
        try:
            run = zkjax.train(circuit, params, data, steps=steps, seed=seed, shard_size=shard_size)
        except zkjax.PrecisionError as error:
            assert "step" in str(error)  # a value left its range: the trainer refuses, and there is nothing to prove
            event("refused while training")
            return
        run.chain.geometry = SMALL
        revealed = ("loss",) if seed % 2 else ()
        proof = prove_small(circuit, run, reveal=revealed)
        assert verify_small(circuit, zkjax.Proof.parse(bytes(proof)), seed=seed, steps=(0, steps)) == proof.statement
        proven.append(run)

    prove_and_verify()
    assert len(proven) >= 3  # of five
    assert any(not x.any() for run in proven for x in run.initial)
    assert any((x == -LARGEST).any() for run in proven for x in run.data.arrays)


def test_random_chains_and_proofs_made_twice():
    """Two proofs of a chain verify together, and with a second proof of either run in its place."""
    circuit, _ = tiny_run()
    proven = []

    @settings(max_examples=2)
    @given(
        st.tuples(*(weights(p.shape) for p in circuit.parameters)),
        st.tuples(samples((12, 3)), samples((12, 2))),
        st.integers(0, 2**64 - 1),
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
        st.sampled_from([None, 5]),
    )
    def prove_and_verify(arrays, data, seed, lengths, shard_size):
        params = [{"b": b / 4, "w": w / 4} for b, w in zip(arrays[::2], arrays[1::2])]
        data = zkjax.Dataset(tuple(x >> 4 for x in data))
        try:
            first = zkjax.train(circuit, params, data, steps=lengths[0], seed=seed, shard_size=shard_size)
            second = next_run(circuit, first, steps=lengths[1])
        except zkjax.PrecisionError as error:
            assert "step" in str(error)  # as above
            event("refused while training")
            return
        (a, b), (c, d) = ([prove_small(circuit, run) for run in (first, second)] for _ in range(2))
        assert a.statement.initial == c.statement.initial and a.body != c.body and b.body != d.body
        assert c.statement.links and not a.statement.links  # what was opened three times is replaced
        for proofs in ([a, b], [c, d], [c, b]):
            assert verify_small(circuit, proofs, seed=seed, steps=(0, sum(lengths))) == [p.statement for p in proofs]
        proven.append(second)

    prove_and_verify()
    assert len(proven) >= 2 and any(x.any() for run in proven for x in run.final)


def test_three_proofs_one_of_a_reloaded_run(tmp_path):
    circuit, first = tiny_run(shard_size=5)
    proofs = [prove_small(circuit, first)]
    first.save(tmp_path / "private")
    first = zkjax.Run.load(tmp_path / "private")
    second = next_run(circuit, first, steps=3)
    third = next_run(circuit, second, steps=1)
    proofs += [prove_small(circuit, run, reveal=("loss",)) for run in (second, third)]
    statements = verify_small(circuit, proofs, steps=(0, 6), seed=1)
    assert statements == [p.statement for p in proofs]
    assert [any(s.widths) for s in statements] == [True, False, False]
    assert [s.losses is None for s in statements] == [True, False, False]
    for before, after in zip(statements, statements[1:]):
        assert before.final == after.initial and before.final_bound == after.initial_bound and before.dataset_after == after.dataset
    again = prove_small(circuit, zkjax.Run.load(tmp_path / "private"))
    assert again.statement.initial == statements[0].initial and verify_small(circuit, [again, *proofs[1:]])[1:] == statements[1:]


def test_at_the_full_target():
    circuit, run = tiny_run()
    run.chain.geometry = None
    proof = zkjax.prove(circuit, run, progress=None)
    assert proof.security.bits >= 100
    assert zkjax.verify(circuit, proof) == proof.statement


def test_both_transcripts_end_alike(monkeypatch):
    streams = []

    def recording(kind):
        class Recording(kind):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                streams.append(self)

        return Recording

    monkeypatch.setattr(zkjax.prover.prove, "Writer", recording(Writer))
    monkeypatch.setattr(zkjax.verifier, "Reader", recording(Reader))
    circuit, run = tiny_run(seed=3)
    for reveal in ((), ("loss",)):
        verify_small(circuit, prove_small(circuit, run, reveal=reveal))
    states = [s.transcript.state for s in streams]
    assert len(states) == 4 and states[0] == states[1] != states[2] == states[3]


# ---- a proof made twice -----------------------------------------------------------------------------------------
def parts(circuit, proof):
    """Messages that show columns of commitments which other proofs open too, and all others."""
    log = messages(circuit, proof)
    opened = [m for m in log if m.label in ("salts", "columns", "siblings")]
    shared = opened[: 3 * len(proof.statement.opened())]  # the trace's and the level's columns come after them
    return shared, [m for m in log if m not in shared]


def large(message, body):
    """The words of a message that are no accident: a uniform word is below 2^32 once in 2^32 times."""
    return {w for w in words(message.cut(body)) if w >= 2**32}


def test_a_proof_made_twice_shares_no_scalar():
    circuit, run = tiny_run(seed=4)
    proofs = [prove_small(circuit, run) for _ in range(2)]
    assert proofs[0].statement == proofs[1].statement  # what is committed once is committed alike
    found = []
    for proof in proofs:
        assert verify_small(circuit, proof) == proof.statement
        shared, own = parts(circuit, proof)
        assert {"trace root", "level root", "final vector", "columns", "folded padding", "triple values"} <= {m.label for m in own}
        found.append([set().union(*(large(m, proof.body) for m in group)) for group in (shared, own)])
    (shared_0, own_0), (shared_1, own_1) = found
    assert len(own_0) > 1000
    assert not own_0 & own_1 and not own_0 & shared_1 and not own_1 & shared_0


def test_columns_of_one_commitment_agree_in_all_proofs():
    """And only columns that both proofs ask for are in both."""
    circuit, run = tiny_run(seed=4)
    opened = []
    for proof in (prove_small(circuit, run) for _ in range(2)):
        salts = parts(circuit, proof)[0][::3]
        opened.append([{proof.body[i : i + 16] for i in range(m.offset, m.offset + m.size, 16)} for m in salts])
    for a, b in zip(*opened, strict=True):
        assert len(a & b) < min(len(a), len(b)) / 2  # 32 of 4096 columns are asked for


def test_chains_with_the_same_data_and_weights_share_nothing():
    proofs = []
    for _ in range(2):
        circuit, run = tiny_run(seed=4)
        proofs.append(prove_small(circuit, run))
    a, b = proofs
    assert a.statement.circuit == b.statement.circuit
    assert not {a.statement.dataset, a.statement.initial_weights, a.statement.final_weights} & {
        b.statement.dataset,
        b.statement.initial_weights,
        b.statement.final_weights,
    }
    seen = [set().union(*(large(m, p.body) for m in messages(circuit, p))) for p in proofs]
    assert not seen[0] & seen[1]


def test_no_secret_integer_is_in_a_proof():
    circuit, run = tiny_run(seed=4, shard_size=5)
    proof = prove_small(circuit, run)
    secret = [*run.initial, *run.final, *run.data.arrays, *run.witness().values.values(), *run.witness().forms.values()]
    values = {w for x in secret for w in field.from_int(x).reshape(-1).tolist() if w >= 2**32}
    assert len(values) > 30 and not values & set(words(proof.body))
    text = proof.statement.canonical()
    assert not any(key.seed.hex().encode() in text or key.name.encode() in text for key in (*run.keys, run.chain.data))
    assert not any(key.seed in bytes(proof) for key in (*run.keys, run.chain.data))


# ---- what a statement says --------------------------------------------------------------------------------------
def test_only_the_shards_that_are_read_are_opened():
    circuit, runs, proofs = chain()
    opened = []
    for run, proof in zip(runs, proofs):
        numbers = [c.number for c in proof.statement.shards]
        assert numbers == np.unique(run.indices // 5).tolist() and 1 <= len(proof.statement.siblings) <= 2
        assert [c.rows for c in proof.statement.shards] == [1] * len(numbers)
        opened.append(len(numbers))
    assert 1 <= min(opened) < 3
    refused("shards", circuit, with_statement(proofs[0], shards=proofs[0].statement.shards[:-1]))


def test_losses_are_shown_on_request_only():
    circuit, runs, proofs = chain()
    assert proofs[0].statement.losses == tuple(zip(*runs[0].loss_integers, strict=True))
    assert [p.statement.losses for p in proofs[1:]] == [None, None]
    assert "losses" in str(proofs[0].statement) and "losses" not in str(proofs[1].statement)
    (values,) = proofs[0].statement.losses
    for wrong in ((values[0] + 1, *values[1:]), values[::-1], tuple(-v for v in values)):
        refused(OTHER_CHALLENGES, circuit, with_statement(proofs[0], losses=(wrong,)))
    for wrong in ((), (values[:-1],), (values, values)):
        refused("losses", circuit, with_statement(proofs[0], losses=wrong))
    assert "bound" in refused("losses", circuit, with_statement(proofs[0], losses=((2**62, values[1]),)))
    refused(OTHER_CHALLENGES, circuit, with_statement(proofs[0], losses=None))
    refused(OTHER_CHALLENGES, circuit, with_statement(proofs[1], losses=(values,)), assume_bound=True)
    with pytest.raises(zkjax.ConfigurationError, match="reveal"):
        prove_small(circuit, runs[0], reveal=("weights",))
    with pytest.raises(zkjax.ConfigurationError, match="reveal"):
        prove_small(circuit, runs[0], reveal="loss")


def test_statement_in_words():
    _, _, proofs = chain()
    for proof, range_text in zip(proofs, ("proven here", "earlier proof", "earlier proof")):
        s = proof.statement
        text = str(s)
        assert range_text in text and f"Steps {s.first_step}..{s.first_step + 1}" in text
        assert all(x.hex() in text for x in (s.circuit, s.dataset, s.initial_weights, s.final_weights))


# ---- pins -------------------------------------------------------------------------------------------------------
def test_pins():
    circuit, _, proofs = chain()
    first, last = proofs[0].statement, proofs[-1].statement
    good = {"dataset": first.dataset, "initial": first.initial_weights.hex(), "seed": 1, "steps": (0, 6)}
    assert verify_small(circuit, proofs, **good) == [p.statement for p in proofs]
    for name, wrong, check in (
        ("dataset", bytes(32), "pinned dataset"),
        ("dataset", first.initial_weights, "pinned dataset"),
        ("initial", last.initial_weights, "pinned initial weights"),
        ("initial", first.initial.root, "pinned initial weights"),  # a root is not the digest that binds it
        ("seed", 0, "pinned seed"),
        ("steps", (0, 5), "pinned steps"),
        ("steps", (1, 6), "pinned steps"),
        ("steps", (0, 2), "pinned steps"),
    ):
        refused(check, circuit, proofs, **good | {name: wrong})
    for name in ("dataset", "initial"):
        for nonsense in ("xyz", "00" * 31, b"short"):
            with pytest.raises(zkjax.ConfigurationError, match=name):
                verify_small(circuit, proofs, **{name: nonsense})


def test_misuse_of_verify():
    circuit, _, proofs = chain()
    for nonsense in ([], "file.proof", [proofs[0], b"proof"], b"", 5, None):
        with pytest.raises(zkjax.ConfigurationError):
            verify_small(circuit, nonsense)
    for nonsense in ("circuit.json", circuit.to_json(), None):
        with pytest.raises(zkjax.ConfigurationError, match="circuit"):
            verify_small(nonsense, proofs)


# ---- chains -----------------------------------------------------------------------------------------------------
def test_order_of_a_chain():
    circuit, _, (a, b, c) = chain()
    assert len(verify_small(circuit, [a, b, c])) == 3
    assert verify_small(circuit, (a, b)) == [a.statement, b.statement]
    for wrong, part in (([a, c], "starts at step 4"), ([a, a], "starts at step 0"), ([a, b, b], "starts at step 2"), ([a, c, b], "step 4")):
        assert part in refused("chain", circuit, wrong)
    for wrong in ([b, c], [b], [c, b, a], [b, a]):
        refused("initial bound", circuit, wrong)
    assert verify_small(circuit, [b, c], assume_bound=True) == [b.statement, c.statement]
    refused("chain", circuit, [b, a], assume_bound=True)
    refused("chain", circuit, [c, a, b], assume_bound=True)


def test_proofs_of_two_chains_do_not_mix():
    circuit, _, (a, b, c) = chain()
    other, _, (d, e, f) = chain(seed=1)
    assert circuit.digest() == other.digest()  # the same circuit on other data, from other weights
    for mixed in ([a, e], [d, b], [a, b, f]):
        assert "dataset" in refused("chain", circuit, mixed)


@pytest.mark.parametrize("name", ["circuit", "geometry", "samples", "shard_size", "seed"])
def test_a_chain_keeps(name):
    circuit, _, (a, b, _) = chain()
    other = {
        "circuit": bytes(32),
        "geometry": dataclasses.replace(SMALL, level_bits=21),
        "samples": 13,
        "shard_size": 6,
        "seed": 2,
    }
    assert name in refused("chain", circuit, [a, with_statement(b, **{name: other[name]})])
    assert name in refused("chain", circuit, [with_statement(a, **{name: other[name]}), b])


def test_a_chain_keeps_its_dataset():
    circuit, _, (a, b, _) = chain()
    both = {"dataset": bytes(32), "dataset_after": bytes(32)}
    assert "dataset" in refused("chain", circuit, [a, with_statement(b, **both)])
    assert "dataset" in refused("chain", circuit, [with_statement(a, **both), b])
    for name, check in (("dataset", "dataset"), ("dataset_after", "dataset after")):  # which claims that a link joins the two
        refused(check, circuit, [a, with_statement(b, **{name: bytes(32)})])
        refused(check, circuit, [with_statement(a, **{name: bytes(32)}), b])


def test_a_chain_keeps_its_weights():
    circuit, runs, (a, b, _) = chain()
    s = b.statement
    changes = [
        {"initial": dataclasses.replace(s.initial, root=bytes(32))},
        {"initial": dataclasses.replace(s.initial, parts=(s.initial.parts[0]._replace(budget=3),))},
        {"initial": dataclasses.replace(s.initial, number=0)},
        {"shifts": (0, 0, 0, 1)},
    ]
    for change in changes:
        assert "weights" in refused("chain", circuit, [a, with_statement(b, **change)])
    again = zkjax.train(circuit, mlp_params(DIMS), runs[0].data, steps=2, seed=1, shard_size=5)
    names = "chain", "first_step", "begins", "coarse_shifts", "widths", "initial", "initial_bound", "final", "loss_integers"
    changes = {name: getattr(runs[1], name) for name in names}
    fresh = dataclasses.replace(again, **changes)  # the same weights, committed with other keys
    proof = prove_small(circuit, fresh)
    verify_small(circuit, proof, assume_bound=True)
    assert "weights" in refused("chain", circuit, [a, proof])


def test_valid_proofs_that_do_not_join():
    """Each proof is valid alone; together they are no chain."""
    circuit, run = tiny_run(shard_size=5, seed=2)
    first = prove_small(circuit, run)
    for change, message in (({"seed": 9}, "seed"), ({"first_step": 1}, "starts at step 3"), ({"final": run.initial}, "weights")):
        run.chain.openings.spent.clear()
        keys = run.keys if "seed" in change else (run.keys[0], zkjax.commitment.keys.Key.fresh())
        start = dataclasses.replace(run, keys=keys, **change)
        second = prove_small(circuit, next_run(circuit, start))
        assert verify_small(circuit, second, assume_bound=True) == second.statement
        assert message in refused("chain", circuit, [first, second])


def test_carried_bounds():
    circuit, run = tiny_run(shard_size=5, seed=3)
    first = prove_small(circuit, run)
    before = first.statement.final_bound
    for p in range(len(before)):
        run.chain.openings.spent.clear()  # for the test's sake only
        bounds = tuple(b - (i == p) for i, b in enumerate(before))
        proof = prove_small(circuit, next_run(circuit, dataclasses.replace(run, final_bound=bounds)))
        assert verify_small(circuit, proof, assume_bound=True).initial_bound == bounds  # valid, if someone had shown that bound
        for assume in (False, True):
            assert "smaller bound" in refused("chain", circuit, [first, proof], assume_bound=assume)
    run.chain.openings.spent.clear()
    larger = tuple(2 * b for b in before)  # a weaker claim
    proof = prove_small(circuit, next_run(circuit, dataclasses.replace(run, final_bound=larger)))
    assert len(verify_small(circuit, [first, proof])) == 2
    refused("chain", circuit, [first, with_statement(proof, initial_bound=(0,) * len(before))])


def test_assumed_bounds():
    circuit, _, (_, b, _) = chain()
    assert "assume" in refused("initial bound", circuit, b)
    assert verify_small(circuit, b, assume_bound=True).assumed
    refused(OTHER_CHALLENGES, circuit, with_statement(b, widths=circuit.coarse_widths), assume_bound=True)


# ---- bounds and security ----------------------------------------------------------------------------------------
def largest(good, low, high):
    """The largest integer below ``high`` for which ``good`` holds."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return low


def within(circuit, bound, steps):
    try:
        return circuit.bounds(bound, steps)
    except zkjax.PrecisionError:
        return None


@pytest.mark.parametrize("parameter", range(4))
def test_bounds_one_unit_beyond_the_limit(parameter):
    circuit, _, (proof, *_) = chain()
    s = proof.statement

    def bound(value):
        return tuple(value if p == parameter else b for p, b in enumerate(s.initial_bound))

    limit = largest(lambda v: within(circuit, bound(v), s.steps), 0, 2**63)
    final = circuit.bounds(bound(limit), s.steps).final
    # at the limit the bounds are fine, and only the transcript differs
    refused(OTHER_CHALLENGES, circuit, with_statement(proof, initial_bound=bound(limit), final_bound=final))
    beyond = tuple(b + (p == parameter) for p, b in enumerate(final))
    message = refused("bounds", circuit, with_statement(proof, initial_bound=bound(limit + 1), final_bound=beyond))
    assert "2^6" in message and "steps" in message


def test_bounds_one_step_beyond_the_limit():
    circuit, _, (proof, *_) = chain()
    s = proof.statement
    growth = [(b - a) // s.steps for a, b in zip(s.initial_bound, s.final_bound)]

    def statement(bound, steps):
        final = tuple(b + steps * g for b, g in zip(bound, growth))
        return with_statement(proof, steps=steps, initial_bound=bound, final_bound=final, losses=None)

    limit = largest(lambda v: within(circuit, (v,) * 4, 2), 0, 2**63)
    bound = (limit - 5 * max(growth),) * 4
    steps = largest(lambda t: within(circuit, bound, t), 1, 2**20)
    assert 2 < steps < 2**10
    assert circuit.bounds(bound, steps).final == statement(bound, steps).statement.final_bound
    with pytest.raises((zkjax.VerificationError, zkjax.FormatError)) as caught:
        verify_small(circuit, statement(bound, steps))
    assert getattr(caught.value, "check", None) != "bounds"
    assert f"{steps + 1} steps" in refused("bounds", circuit, statement(bound, steps + 1))


def test_final_bounds_are_derived_not_believed():
    circuit, _, (proof, *_) = chain()
    s = proof.statement
    for p in range(len(s.final_bound)):
        for change in (1, -1):
            final = tuple(b + change * (i == p) for i, b in enumerate(s.final_bound))
            refused("bounds", circuit, with_statement(proof, final_bound=final))
    low = tuple(2 ** (shift + circuit.table_bits - 1) for shift in s.shifts)
    assert s.initial_bound == low
    for p in range(len(low)):
        initial = tuple(b - (i == p) for i, b in enumerate(low))
        message = refused("bounds", circuit, with_statement(proof, initial_bound=initial, final_bound=circuit.bounds(initial, 2).final))
        assert "range check" in message


def test_security_below_the_minimum_is_refused_by_both_sides():
    circuit, run = tiny_run(seed=5)
    with pytest.raises(zkjax.ConfigurationError, match="bits of security, below the target of 100.*queries"):
        zkjax.prove(circuit, run, progress=None)
    assert run.chain.openings.spent == {}
    proof = prove_small(circuit, run)
    bits = proof.security.bits
    assert BITS < bits < 21
    with pytest.raises(zkjax.VerificationError, match="bits of security") as caught:
        zkjax.verify(circuit, proof)
    assert caught.value.check == "security"
    assert zkjax.verify(circuit, proof, minimum_bits=bits - 0.01) == proof.statement
    for minimum in (bits + 0.01, float("inf"), float("nan")):
        with pytest.raises((zkjax.VerificationError, zkjax.ConfigurationError)):
            zkjax.verify(circuit, proof, minimum_bits=minimum)


def test_both_sides_print_the_same_ledger():
    circuit, _, proofs = chain()
    options = dict(dataset=None, initial=None, seed=None, steps=None, assume_bound=False, minimum_bits=BITS)
    _, ledgers = zkjax.verifier.verify_chain(circuit, proofs, **options)
    for ledger, proof in zip(ledgers, proofs, strict=True):
        assert dict(ledger.terms) == pytest.approx(dict(proof.security.terms)) and ledger.bits == pytest.approx(proof.security.bits)
        assert str(proof.security).count("bits") > 15


# ---- lying provers, as a verifier meets them --------------------------------------------------------------------
def lying(monkeypatch, run, alter=lambda witness: None, witness=None, **changes):
    """A run that claims ``changes``, proven from the witness of ``run``, whose tensors ``alter`` may change first."""
    computed = run.witness() if witness is None else witness

    class Altered(zkjax.prover.witness.Witness):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.tensors = {key: x.astype(np.int64) for key, x in self.tensors.items()}
            alter(self)

    monkeypatch.setattr(zkjax.training.run.Run, "witness", lambda self: computed)
    monkeypatch.setattr(zkjax.prover.witness, "Witness", Altered)
    return dataclasses.replace(run, **changes)


def test_every_kind_of_committed_cell(monkeypatch):
    circuit, run = tiny_run(seed=6)
    keys = {}
    for key in zkjax.prover.prove.make_plan(run).advice:
        keys.setdefault((key[0], signed(circuit, key[1]) if key[0] in ("quotient", "remainder") else key[1:]), key)
    assert {kind for kind, _ in keys} == {"quotient", "remainder", "sign", "multiplicity"} and len(keys) > 6
    for key in keys.values():

        def alter(witness, key=key):
            cells = witness.tensors[key].reshape(-1)
            cells[-1] += -1 if cells[-1] else 1

        run.chain.openings.spent.clear()
        proof = prove_small(circuit, lying(monkeypatch, run, alter), check=False)
        refused("opening", circuit, proof)


def test_false_ends_data_schedules_and_losses(monkeypatch):
    circuit, run = tiny_run(seed=6, shard_size=5)
    honest = prove_small(circuit, lying(monkeypatch, run), check=False, reveal=("loss",))
    assert verify_small(circuit, honest).losses

    def off_by_one(arrays):
        return tuple(x + (np.arange(x.size).reshape(x.shape) == 0) for x in arrays)

    used = run.indices[0, 0]
    arrays = [x.copy() for x in run.data.arrays]
    arrays[1][used, 0] += 1
    start = [x.copy() for x in run.initial]
    start[1][0, 0] += 1 << run.coarse_shifts[1]
    for change in (
        {"final": off_by_one(run.final)},
        {"final": run.initial},
        {"initial": tuple(start)},
        {"data": zkjax.Dataset(tuple(arrays))},
        {"data": zkjax.Dataset((run.data.arrays[0], run.data.arrays[1][::-1].copy()))},
        {"seed": run.seed + 1},
        {"first_step": 1},
        {"loss_integers": tuple((v + (t == 1),) for t, (v,) in enumerate(run.loss_integers))},
    ):
        fresh = zkjax.commitment.keys.Chain(run.chain.data, geometry=SMALL)  # commits to the altered values
        lie = dataclasses.replace(lying(monkeypatch, run, **change), chain=fresh)
        proof = prove_small(circuit, lie, check=False, reveal=("loss",))
        refused("opening", circuit, proof)


def test_an_honest_prover_finds_its_own_mistakes(monkeypatch):
    circuit, run = tiny_run(seed=6)

    def alter(witness):
        witness.tensors["quotient", roundings(circuit)[0]].reshape(-1)[0] += 1

    with pytest.raises(zkjax.UnsatisfiedWitnessError):
        prove_small(circuit, lying(monkeypatch, run, alter))
    with pytest.raises(zkjax.UnsatisfiedWitnessError):
        prove_small(circuit, lying(monkeypatch, run, final=run.initial))


def test_statement_survives_its_file(tmp_path):
    circuit, _, proofs = chain()
    for number, proof in enumerate(proofs):
        proof.save(tmp_path / f"{number}.proof")
    loaded = [zkjax.Proof.load(tmp_path / f"{number}.proof") for number in range(3)]
    assert loaded == list(proofs) and [p.nbytes for p in loaded] == [(tmp_path / f"{n}.proof").stat().st_size for n in range(3)]
    assert verify_small(circuit, loaded) == [p.statement for p in proofs]
    assert json.loads(proofs[0].statement.canonical()) == proofs[0].statement.to_json()
