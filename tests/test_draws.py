"""Draws: the words that JAX draws from keys, masks and random words in a step, cut, proven by both verifiers, and lied about."""

import dataclasses
from unittest import mock

import jax
import numpy as np
import pytest
from drawing import BASE, BATCH, drawing, start
from harness import SMALL, Liar, prove_small, verify_small
from hypothesis import given
from hypothesis import strategies as st
from nodes import node
from reference import verifier as reference

import zkjax
from zkjax.algebra import threefry
from zkjax.circuit.circuit import Circuit
from zkjax.errors import ConfigurationError, FormatError, VerificationError
from zkjax.ops.draw import PLACE, ROW, STEP, Draw, Residue
from zkjax.ops.operation import Leaves
from zkjax.protocol import draws as settled
from zkjax.prover.prove import make_plan

WORDS = st.integers(0, 2**32 - 1)
KEY = jax.random.wrap_key_data(np.array(BASE, dtype=np.uint32))


def words_of(key) -> np.ndarray:
    return np.asarray(jax.random.key_data(key))


# ---- the words -------------------------------------------------------------------------------------------------------


@given(st.tuples(WORDS, WORDS), st.tuples(WORDS, WORDS))
def test_the_cipher_is_the_one_of_the_second_verifier(key, counter):
    found = threefry.block(tuple(np.uint32([k]) for k in key), *(np.uint32([x]) for x in counter))
    assert tuple(int(x[0]) for x in found) == reference.threefry(key, counter)


def test_known_answers():
    """Of the paper's reference implementation, Random123 (kat_vectors: threefry2x32, 20 rounds)."""
    ones = 2**32 - 1
    assert reference.threefry((0, 0), (0, 0)) == (0x6B200159, 0x99BA4EFE)
    assert reference.threefry((ones, ones), (ones, ones)) == (0x1CB996FC, 0xBB002BE7)
    assert reference.threefry((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3)) == (0xC4923A9C, 0x483DF7A0)


@pytest.mark.parametrize("seed", [0, 1, 2**31 + 3])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 2), (2**14 + 7,)])
def test_words_are_those_of_jax(seed, shape):
    key = jax.random.key(seed)
    one = Draw(shape, tuple(int(w) for w in words_of(key)), (STEP, 3), 0, 0)
    for t, keys in enumerate(one.keys(0, 3)):
        expected = jax.random.fold_in(jax.random.fold_in(key, t), 3)
        assert np.array_equal(keys, words_of(expected)[None])
        assert np.array_equal(one.values(keys), np.asarray(jax.random.bits(expected, shape)))


def test_rows_have_the_keys_of_a_split():
    one = Draw((4, 3), BASE, (STEP, ROW), 9, 0)
    expected = jax.vmap(lambda key: jax.random.bits(key, (3,)))(jax.random.split(jax.random.fold_in(KEY, 6), 4))
    assert np.array_equal(one.values(one.keys(6, 1)[0]), np.asarray(expected) >> 9)


def test_tables_hold_the_key_of_every_step():
    table = tuple(int(w) for t in range(5) for w in words_of(jax.random.key(t)))
    one = Draw((3,), table, (), 0, 0)
    assert np.array_equal(one.keys(3, 2), [words_of(jax.random.key(t))[None] for t in (3, 4)])


@pytest.mark.parametrize("p", [0.5, 0.1, 0.9, 1 / 3, 0.999])
def test_masks_are_those_of_bernoulli(p):
    threshold = int(np.ceil(np.float32(p) * 2.0**23))
    one = Draw((2000,), BASE, (), 9, threshold)
    assert np.array_equal(one.values(one.keys(0, 1)[0]), np.asarray(jax.random.bernoulli(KEY, p, (2000,))))


@pytest.mark.parametrize("span", [2, 3, 50, 64, 1000, 2**16 - 1, 2**16])
@pytest.mark.parametrize("shape", [(), (7,), (3, 5)])
def test_residues_of_two_words_are_those_of_randint(span, shape):
    for t in range(3):
        one = Residue(shape, BASE, (STEP,), 0, 0, span, 2)
        expected = np.asarray(jax.random.randint(jax.random.fold_in(KEY, t), shape, 0, span))
        keys = one.keys(t, 1)[0]
        assert np.array_equal(one.values(keys), expected)
        places = dataclasses.replace(one, threshold=PLACE).values(keys)
        assert np.array_equal(places, np.asarray(jax.nn.one_hot(expected, span)))
        assert np.array_equal(dataclasses.replace(one, threshold=1).values(keys), expected < 1)


@pytest.mark.parametrize("modulus", [10, 2**16 + 1, 2**31, 2**32 - 1])
def test_residues_of_a_word(modulus):
    one = Residue((500,), BASE, (), 0, 0, modulus, 1)
    assert np.array_equal(one.values(one.keys(0, 1)[0]), np.asarray(jax.random.bits(KEY, (500,))) % np.uint32(modulus))


def test_rows_of_residues_have_the_keys_of_a_split():
    one = Residue((4, 3), BASE, (STEP, ROW), 0, 0, 1000, 2)
    keys = jax.random.split(jax.random.fold_in(KEY, 6), 4)
    expected = jax.vmap(lambda key: jax.random.randint(key, (3,), 0, 1000))(keys)
    assert np.array_equal(one.values(one.keys(6, 1)[0]), np.asarray(expected))


@given(WORDS, st.integers(0, 9), st.integers(2, 2**16), st.integers(1, 2), st.sampled_from([0, 1, PLACE]))
def test_compiled_and_numpy_draw_the_same(number, step, modulus, parts, threshold):
    draw = Draw((3, 4), BASE, (number, STEP, ROW), 5, 0)
    residue = Residue((3, 4), BASE, (number, STEP, ROW), 0, threshold, modulus, parts)
    for one in (draw, residue):
        keys = one.keys(step, 1)[0]
        assert np.array_equal(one.values(keys), np.asarray(one.values(keys, jax.numpy)))


@pytest.mark.parametrize(
    "change",
    [
        {"words": (1,)},
        {"words": (1, 2, 3)},
        {"words": (1, 2**32)},
        {"words": (-1, 0)},
        {"path": (0,) * 9},
        {"path": (-3,)},
        {"path": (2**32,)},
        {"shift": 32},
        {"shift": -1},
        {"threshold": 2**23},
        {"threshold": -1},
        {"shape": (2**22,)},
        {"shape": (2**11, 2**20)},
        {"shape": (0,)},
        {"shape": (), "path": (ROW,)},
    ],
)
def test_malformed_draws_are_refused(change):
    whole = {"shape": (2, 3), "words": BASE, "path": (7, STEP), "shift": 9, "threshold": 5} | change
    with pytest.raises((ValueError, TypeError)):
        Draw(**whole).infer_shape([], Leaves((), ()))
    data = drawing().to_json()
    data["nodes"][4] |= {name: list(x) if isinstance(x, tuple) else x for name, x in change.items()}
    with pytest.raises(FormatError):
        Circuit.from_json(data)
    with pytest.raises(reference.Rejected):
        reference.Circuit(data)


@pytest.mark.parametrize(
    "change",
    [
        {"modulus": 1},
        {"modulus": 2**32},
        {"parts": 0},
        {"parts": 3},
        {"parts": 2, "shift": 1},
        {"parts": 2, "modulus": 2**16 + 1},
        {"threshold": 5},
        {"threshold": -2},
        {"threshold": -1, "modulus": 2**21 + 1},
        {"threshold": -1, "shape": (2**20,), "modulus": 2**11},
        {"shape": (2**22,)},
        {"path": (0,) * 9},
    ],
)
def test_malformed_residues_are_refused(change):
    whole = {"shape": (3, 2), "words": BASE, "path": (-1, 1), "shift": 0, "threshold": 0, "modulus": 5, "parts": 1} | change
    with pytest.raises((ValueError, TypeError)):
        Residue(**whole).infer_shape([], Leaves((), ()))
    data = drawing(modulus=5).to_json()
    data["nodes"][9] |= {name: list(x) if isinstance(x, tuple) else x for name, x in whole.items()}
    with pytest.raises(FormatError):
        Circuit.from_json(data)
    with pytest.raises(reference.Rejected):
        reference.Circuit(data)


def test_a_table_has_words_for_every_step():
    assert drawing(words=(*BASE, *BASE), max_steps=2).max_steps == 2
    for words, max_steps in (((*BASE, *BASE), None), ((*BASE, *BASE), 3), ((*BASE, *BASE, *BASE), 2)):
        with pytest.raises(FormatError, match="words"):
            drawing(words=words, max_steps=max_steps)


# ---- in a step -------------------------------------------------------------------------------------------------------


def trained(circuit, steps, run=None):
    found = zkjax.train(circuit, *(start() if run is None else (run, None)), steps=steps)
    found.chain.geometry = SMALL
    return found


def by_hand(circuit, run):
    """The last weights and the losses of a run, with the words of the second verifier."""
    w, losses = run.initial[0].copy(), []
    for t, rows in enumerate(run.indices, start=run.first_step):
        x = run.data.arrays[0][rows].astype(np.int64)
        mask, words = (np.array(reference.drawn(reference.Circuit(circuit.to_json()), i, t)) for i in (4, 9))
        kept = mask.reshape(BATCH, 2) * ((x @ w + 32) >> 6)
        losses.append(((kept**2).sum(), kept.sum(), words.sum()))
        w = w - x.T @ kept - 2 * words.reshape(3, 2)
    return w, losses


@pytest.fixture(scope="module", params=["step", "rows", "table", "constant", "residues", "residues of rows"])
def circuit(request):
    table = {"words": tuple(range(5, 15)), "path": (), "max_steps": 5}
    kinds = {"step": {}, "rows": {"path": (STEP, 3, ROW)}, "table": table, "constant": {"path": (2**32 - 1,)}}
    kinds |= {"residues": {"modulus": 5}, "residues of rows": {"modulus": 7, "path": (STEP, ROW)}}
    return drawing(**kinds[request.param])


def test_steps_are_those_by_hand_however_they_are_cut(circuit):
    whole, first = trained(circuit, 5), trained(circuit, 2)
    last = trained(circuit, 3, first)
    for run in (whole, first, last):
        final, losses = by_hand(circuit, run)
        assert np.array_equal(run.final[0], final)
        assert [tuple(x) for x in run.loss_integers] == losses
    assert np.array_equal(last.final[0], whole.final[0])


def test_compiled_steps_are_the_same(circuit):
    plain = trained(circuit, 3)
    with mock.patch("zkjax.training.steps.UNCOMPILED", 0):
        compiled = trained(circuit, 3)
    assert plain.loss_integers == compiled.loss_integers
    assert np.array_equal(plain.final[0], compiled.final[0])


def test_chunks_are_proven_and_both_verifiers_agree(circuit):
    first = trained(circuit, 2)
    proofs = [prove_small(circuit, first, reveal=("loss", "noise")), prove_small(circuit, trained(circuit, 3, first), reveal=("kept",))]
    verify_small(circuit, proofs)
    reference.verify_chain(circuit.to_json(), [bytes(p) for p in proofs], minimum_bits=0)
    assert [x and x[0] for x in proofs[0].statement.losses] == [first.loss_integers[0][0], None, first.loss_integers[0][2]]


def test_a_word_that_was_exchanged_breaks_a_constraint(circuit):
    """A prover who draws other masks than the circuit's has another mask than the verifier wherever he says so."""
    run = trained(circuit, 2)
    for i in circuit.drawn:
        liar = Liar(run)
        values = liar.witness.values(i)
        values[0].reshape(-1)[0] ^= 1
        assert liar.broken()
    assert not Liar(run).broken()


LIES = {
    "another key": {"words": (BASE[0] ^ 1, BASE[1])},
    "another path": {"path": (8, STEP)},
    "another order": {"path": (STEP, 7)},
    "the same key in all steps": {"path": (7, 0)},
    "another threshold": {"threshold": 6 << 20},
    "nothing is dropped": {"threshold": 2**23 - 1},
}


@pytest.mark.parametrize("lie", LIES)
def test_whoever_trains_with_other_draws_is_refused(lie):
    """A chunk of another circuit, relabelled as this one's: what the verifier draws does not fit."""
    honest, other = drawing(), drawing(**LIES[lie])
    run = trained(other, 3)
    mine, theirs = (np.stack([x.values(k) for k in x.keys(0, 3)]) for x in (c.nodes[4].operation for c in (honest, other)))
    assert not np.array_equal(mine, theirs)
    for insists in (False, True):
        liar = Liar(run)
        liar.plan = make_plan(dataclasses.replace(run, circuit=honest))
        if insists:
            liar.witness._values[4] = theirs.astype(np.int64)
        assert liar.broken()


def test_a_draw_of_other_steps_is_refused():
    """A second chunk whose draws began again at step 0."""
    circuit = drawing()
    first = trained(circuit, 2)
    liar = Liar(first)
    liar.plan = dataclasses.replace(liar.plan, first_step=2)
    assert liar.broken()
    assert not Liar(trained(circuit, 2, first)).broken()


def test_the_verifier_finds_what_draws_amount_to_on_its_own():
    """Were the amounts the prover's choice, another mask would pass."""
    circuit = drawing()
    run = trained(circuit, 2)
    proof = prove_small(circuit, run)
    verify_small(circuit, proof)
    amount = settled._amount
    with mock.patch.object(settled, "_amount", lambda *x: amount(*x) + 1), pytest.raises(VerificationError):
        verify_small(circuit, proof)


def test_the_table_limits_a_chain():
    circuit = drawing(words=tuple(range(8)), path=(), max_steps=4)
    assert circuit.longest_chain().steps == 4
    with pytest.raises(zkjax.errors.PrecisionError, match="4 steps"):
        trained(circuit, 5)


def test_drawing_is_work_that_a_verifier_is_asked_for():
    circuit = drawing()
    proof = prove_small(circuit, trained(circuit, 2))
    large = drawing()
    nodes = list(large.nodes)
    shape = (2**10, 2**20)
    nodes.append(node("draw", (), shape, {"shape": shape, "words": BASE, "path": (STEP,), "shift": 0, "threshold": 1}))
    nodes.append(node("sum", (len(nodes) - 1,), (), {"axes": (0, 1)}))
    losses = (*large.losses, dataclasses.replace(large.losses[0], node=len(nodes) - 1))
    hostile = dataclasses.replace(large, nodes=tuple(nodes), losses=losses).check()
    statement = dataclasses.replace(proof.statement, circuit=hostile.digest(), losses=(*[None] * 3, (0, 0)))
    with pytest.raises((VerificationError, ConfigurationError), match=r"draws of 1,073,741,824 words"):
        verify_small(hostile, dataclasses.replace(proof, statement=statement))
