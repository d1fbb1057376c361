"""Vocabularies: one-hots that are products of those of two digits; embeddings, labels and tied weights with them, and what stops a liar."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from beside import followed
from flax import linen as nn
from harness import BITS, Liar, prove_small, verify_small
from reference import verifier as reference

import zkjax
from zkjax.algebra import functions
from zkjax.errors import PrecisionError
from zkjax.ops.division import Divide
from zkjax.ops.functions import OneHot, Range, TableFunction
from zkjax.ops.products import Dot
from zkjax.tracing import digits, relations
from zkjax.tracing.precision import TensorFormat

RNG = np.random.default_rng(0)
WORDS, WIDTH = 1500, 4
IDS = np.int32([0, 1499, 38, 39, -1, 1499, 700, -1500])  # both ends, both sides of a digit's end, from the end on, and one word twice
Y = RNG.normal(size=(8, WIDTH)).astype(np.float32)
TABLE = {"e": (0.4 * RNG.normal(size=(WORDS, WIDTH))).astype(np.float32), "w": (0.5 * RNG.normal(size=(WIDTH, WIDTH))).astype(np.float32)}
SMALL_TABLE = {"e": TABLE["e"][:6], "w": TABLE["w"]}
TEXT = np.int32([[0, 3, 5, 1], [2, 2, 4, 0], [5, 1, 0, 3], [4, 4, 1, 2], [0, 5, 2, 3], [1, 0, 5, 4], [3, 1, 4, 5], [2, 3, 0, 1]])
FEW = 3  # places of one digit, in tests where six words are many


@pytest.fixture
def few_places(monkeypatch):
    monkeypatch.setattr(relations, "MAX_SIZE", FEW)


def squares(pick):
    return lambda p, i, y: jnp.mean((pick(p["e"], i) @ p["w"] - y) ** 2)


def trained(loss, params, data, **options):
    """(circuit, run) of one that follows floating point, by digits, and breaks no constraint."""
    circuit, run, off = followed(loss, optax.sgd(0.5), params, data, **options)
    assert off < 0.02 and Liar(run).broken() == set() and len(circuit.of(OneHot.name)) % 2 == 0 < len(circuit.of(OneHot.name))
    return circuit, run


# ---- digits ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [4, 6, 9, 1025, 1500, 50_000, 2**20])
def test_the_digits_of_a_number_are_those_of_no_other(size):
    """What is no place below the size has none that are one's."""
    upper, lower = digits.lengths(size)
    assert size <= upper * lower < size + lower and upper + lower <= 2 * size**0.5 + 2
    for start in (-3, size // 2, size - 4):
        found = [functions.entries(program, start, 8, Fraction(1), 0) for program in digits.digits(functions.IDENTITY, size)]
        for n, high, low in zip(range(start, start + 8), *found, strict=True):
            place = high * lower + low if 0 <= high < upper and 0 <= low < lower else -1
            assert place == n if 0 <= n < size else not 0 <= place < size
    no_number = functions.joined("div", *[functions.number(Fraction(0))] * 2)
    for program in digits.digits(no_number, size):
        assert functions.entries(program, 0, 1, Fraction(1), 0).tolist() == [functions.LARGEST]


def test_a_vocabulary_costs_its_digits():
    """Two digits of 39 places each; gradients are JAX's, also of a word that stands twice, and of no other word."""
    circuit, run = trained(squares(lambda e, i: e[i]), TABLE, (IDS, Y), batch=8)
    assert [circuit.nodes[i].shape for i in circuit.of(OneHot.name)] == [(8, 39)] * 2
    assert circuit.counts(1).cells < len(IDS) * WORDS / 8
    before = zkjax.train(circuit, TABLE, (IDS, Y), steps=1).initial[0]
    assert set(np.flatnonzero((run.final[0] != before).any(axis=1))) == {*(IDS % WORDS).tolist()}


PICKS = {
    "an index": lambda e, i: e[i],
    "take, filled": lambda e, i: jnp.take(e, i, axis=0),
    "take, clipped": lambda e, i: jnp.take(e, i + 3 * (i == 5), axis=0, mode="clip"),
    "one-hots": lambda e, i: jax.nn.one_hot(i, 6) @ e,
    "one-hots, of which some are beyond": lambda e, i: jax.nn.one_hot(i - 1, 6) @ e + jax.nn.one_hot(i + 2, 6) @ e,
    "along an axis": lambda e, i: jnp.take_along_axis(e, i[:, None], axis=0),
    "added, and read": lambda e, i: jnp.zeros((6, WIDTH)).at[5 - i].add(e[i])[i],
    "columns": lambda e, i: (e.T[:, i]).T,
    "a function of an index": lambda e, i: e[(i * 7 + 2) % 6],
}


@pytest.mark.parametrize("name", PICKS)
def test_what_picks_by_digits(name, few_places):
    data = np.int32([0, 5, 2, 3, 5, 1, 4, 2]), Y
    trained(squares(PICKS[name]), SMALL_TABLE, data)


def cross_entropy(module):
    def loss(params, text):
        scores = module.apply(params, text[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(scores, text[:, 1:]).mean()

    return loss


class Tied(nn.Module):
    """A language model whose output layer is its embedding."""

    words: int = 6

    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(self.words, 4)
        return embed.attend(embed(tokens) + nn.Dense(4)(nn.relu(embed(tokens))))


def test_tied_weights_and_labels_by_digits(few_places):
    """Words are read, scored and picked as labels; both verifiers take the proof."""
    module = Tied()
    circuit, run = trained(cross_entropy(module), module.init(jax.random.key(0), TEXT[:1]), (TEXT,))
    assert len(circuit.of(OneHot.name)) == 4  # of the words that are read, and of the next ones
    proof = prove_small(circuit, run)
    assert verify_small(circuit, proof).steps == 2
    assert reference.verify_chain(circuit.to_json(), [bytes(proof)], minimum_bits=BITS)


def test_a_softmax_over_many_words():
    """1 over a sum of 1,500 exps is as fine as one over a few, and has room for what it is of one word that is sure."""
    module = Tied(WORDS)
    text = RNG.integers(0, WORDS, (4, 3)).astype(np.int32)
    circuit, _, off = followed(cross_entropy(module), optax.sgd(0.5), module.init(jax.random.key(0), text[:1]), (text,), batch=2)
    (share,) = (circuit.nodes[i] for i in circuit.of(Divide.name))
    assert off < 0.03 and 2.0**-share.scale < 1 / WORDS / 8 and 2.0 ** (share["bits"] - share.scale) >= 1


def test_labels_that_stand_for_nothing(few_places):
    """Of -100 no word is picked, where a choice leaves it out."""
    labels = np.int32([0, 5, -100, 3, -100, 1, 4, 2])

    def loss(p, i, y):
        losses = optax.softmax_cross_entropy_with_integer_labels(p["e"][jnp.maximum(i, 0)] @ p["w"] @ p["e"].T, i)
        return jnp.mean(jnp.where(i >= 0, losses, 0.0))

    trained(loss, SMALL_TABLE, (labels, Y))


# ---- indices that are no place, or too many ----------------------------------------------------------------------
def test_an_index_beyond_the_vocabulary_stops_the_training(few_places):
    """JAX has no number there."""
    circuit = zkjax.trace(squares(lambda e, i: e[i]), optax.sgd(0.1), SMALL_TABLE, batch=(np.int32([0, 5, 2, 3]), Y[:4]))
    with pytest.raises(PrecisionError, match="digit of one-hot of i.*no value.*give it another number, such as an index"):
        zkjax.train(circuit, SMALL_TABLE, (np.int32([0, 5, 2, 6]), Y[:4]), steps=1)


def test_wide_integers_are_no_coarser_as_an_index(few_places):
    """No bit of them is rounded away, however few of them are places."""
    wide, pick = np.int32([0, 20_000, 2, 3, 5, 1, 4, 2]), squares(lambda e, i: jnp.take(e, i, axis=0, mode="clip"))
    trained(pick, SMALL_TABLE, (wide, Y))
    precision = zkjax.Precision(tensors={"i": TensorFormat(0, 19)})
    with pytest.raises(PrecisionError, match="an index of 21 bits.*fewer"):
        zkjax.trace(lambda p, i, y: pick(p, i + i[::-1], y), optax.sgd(0.5), SMALL_TABLE, batch=(wide[:4], Y[:4]), precision=precision)


# ---- liars -------------------------------------------------------------------------------------------------------
def lies(circuit):
    """Of a chunk's tensors: what a liar changes, by name."""
    upper, lower = circuit.of(OneHot.name)
    (site,) = circuit.nodes[upper].inputs
    (digit,) = circuit.nodes[site].inputs

    def moved(values, i):
        values[i][0, 0] = np.roll(values[i][0, 0], 1)

    def another_digit(values):  # all that follows from it agrees
        moved(values, upper)
        values[digit][0, 0] = values[site][0, 0] = values[upper][0, 0].argmax()

    def two_ones(values):
        values[lower][0, 0] = 1

    def none(values):
        values[lower][0, 0] = 0

    def halves(values):
        values[upper][0, 0, :2] = [2, -1]

    return {
        "another upper place": lambda values: moved(values, upper),
        "another lower place": lambda values: moved(values, lower),
        "another digit": another_digit,
        "two ones": two_ones,
        "no one": none,
        "a sum that is 1": halves,
    }


@pytest.fixture(scope="module")
def looked_up():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relations, "MAX_SIZE", FEW)
        return followed(squares(lambda e, i: e[i]), optax.sgd(0.5), SMALL_TABLE, (np.int32([0, 5, 2, 3, 5, 1, 4, 2]), Y))[:2]


@pytest.mark.parametrize("name", ["another upper place", "another lower place", "another digit", "two ones", "no one", "a sum that is 1"])
def test_a_liar_reads_another_row(name, looked_up):
    """All that a one-hot by digits is made of stands in tables: nothing else is committed."""
    circuit, run = looked_up
    liar = Liar(run)
    lies(circuit)[name](liar.values)
    assert "lookup" in " ".join(liar.broken())


def test_only_digits_are_committed(looked_up):
    circuit, _ = looked_up
    upper, lower = circuit.of(OneHot.name)
    kinds = {key[0] for found in circuit.advice.values() for key in found} - {"quotient", "remainder"}
    assert kinds == {OneHot.name, TableFunction.name}
    (product,) = (i for i in circuit.of(Dot.name) if circuit.nodes[i].inputs == (upper, lower))
    assert isinstance(circuit.nodes[circuit.nodes[upper].inputs[0]].operation, Range) and circuit.nodes[product].shape == (4, 2, 3)


# ---- public indices ----------------------------------------------------------------------------------------------
POSITIONS = np.arange(70)  # too many for constants of 70 places each
PUBLIC = {
    "positions": lambda e: e[POSITIONS],
    "those of some rows": lambda e: e.T[:, (POSITIONS + 9) % 70].T,
    "in two axes": lambda e: e[POSITIONS.reshape(7, 10)].reshape(70, 2)[::-1],
    "in the middle": lambda e: jnp.moveaxis(e.reshape(1, 70, 2)[:, POSITIONS.reshape(10, 7)], 0, -1).reshape(70, 2),
    "added": lambda e: jnp.zeros((70, 2)).at[(POSITIONS - 4) % 70].add(e) * e,
}


@pytest.mark.parametrize("name", PUBLIC)
def test_constant_indices_that_count_up(name):
    """Rows by position: slices, at no cell."""
    params, y = {"e": (0.4 * RNG.normal(size=(70, 2))).astype(np.float32)}, RNG.normal(size=(8, 70, 2)).astype(np.float32)
    circuit, run, off = followed(lambda p, y: jnp.sum((PUBLIC[name](p["e"]) - y) ** 2), optax.sgd(0.05), params, (y,))
    assert off < 0.02 and Liar(run).broken() == set() and not circuit.of(OneHot.name)


def test_constant_indices_in_disorder_are_refused():
    order, params = RNG.permutation(70), {"e": np.zeros((70, 2), np.float32)}
    with pytest.raises(zkjax.UnsupportedOperationError, match="a large constant; index with slices"):
        zkjax.trace(lambda p, y: jnp.mean((p["e"][order] - y) ** 2), optax.sgd(0.5), params, batch=(np.zeros((2, 70, 2), np.float32),))
