"""Random numbers that are more than masks, beside JAX: integers as numbers, indices and one-hots, and functions of uniform numbers."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from beside import followed
from harness import SMALL, Liar, prove_small, verify_small
from reference import verifier as reference

import zkjax
from zkjax.algebra import threefry
from zkjax.errors import UnsupportedOperationError
from zkjax.ops.draw import PLACE, ROW, STEP, Residue

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 6)).astype(np.float32)
PARAMS = {"w": (0.3 * RNG.normal(size=(6, 6))).astype(np.float32)}
KEY, BATCH, TIMES = jax.random.key(3), 8, 50
KEPT = np.cumprod(1 - np.linspace(1e-3, 0.05, TIMES)).astype(np.float32)  # of a diffusion's schedule


def squares(drawn):
    """A loss of what ``drawn(key, x)`` makes of the data."""
    return lambda p, x, key: jnp.mean((drawn(key, x) @ p["w"]) ** 2)


def beside(drawn):
    return followed(squares(drawn), optax.sgd(0.05), PARAMS, (X,), batch=BATCH, key=KEY)


def residues(circuit) -> list[Residue]:
    found = [circuit.nodes[i].operation for i in circuit.drawn]
    assert all(isinstance(x, Residue) for x in found)
    return found


def integers(*limits, shape=(BATCH,)):
    return lambda key: jax.random.randint(key, shape, *limits)


# ---- integers --------------------------------------------------------------------------------------------------------

AS_JAX_HAS_THEM = {
    "a span": (integers(0, 50), 0),
    "a large span": (integers(0, 2**16), 0),
    "beyond what two words are for": (integers(0, 100_000), 0),
    "a power of two": (integers(0, 64), 0),
    "from another number on": (integers(-3, 4), -3),
    "of eight bits": (lambda key: jax.random.randint(key, (BATCH,), 0, 200, jnp.uint8), 0),
    "of a key of each row": (lambda key: jax.vmap(integers(0, 1000, shape=()))(jax.random.split(key, BATCH)), 0),
    "of a key that was split": (lambda key: integers(0, 10)(jax.random.split(key, 3)[2]), 0),
    "a remainder of words": (lambda key: jax.random.bits(key, (BATCH,)) % 10, 0),
    "of shifted words": (lambda key: (jax.random.bits(key, (BATCH,)) >> 8) % 10, 0),
}


@pytest.mark.parametrize("name", AS_JAX_HAS_THEM)
def test_integers_are_those_of_jax(name):
    drawn, least = AS_JAX_HAS_THEM[name]
    circuit = zkjax.trace(squares(lambda key, x: x * drawn(key)[:, None] / 64), optax.sgd(0.1), PARAMS, batch=(X[:BATCH],), key=KEY)
    (one,) = residues(circuit)
    assert circuit.max_steps is None
    for t in range(4):
        found = one.values(one.keys(t, 1)[0]).astype(np.int64) + least
        assert np.array_equal(found, np.asarray(drawn(jax.random.fold_in(KEY, t))).astype(np.int64))


def test_one_number_has_no_circuit_of_its_own():
    circuit = zkjax.trace(squares(lambda key, x: x + integers(3, 4)(key)[:, None]), optax.sgd(0.01), PARAMS, batch=(X[:BATCH],), key=KEY)
    assert not circuit.drawn


def of_a_table(key, x):
    return jnp.asarray(KEPT)[integers(0, TIMES)(key)][:, None] * x


def of_an_embedding(key, x):
    return x + jnp.eye(6)[integers(0, 6)(key)]


def one_hots(key, x):
    return x + jax.nn.one_hot(integers(0, 6)(key), 6)


def one_hots_from_a_number_on(key, x):
    return x + jax.nn.one_hot(integers(1, 4)(key), 6)


def as_a_number(key, x):
    return x * (integers(0, TIMES)(key)[:, None] / TIMES)


def one_for_all(key, x):
    return x * (integers(0, 1000, shape=())(key) / 1000)


def as_sines(key, x):
    angles = integers(0, TIMES)(key)[:, None] * jnp.exp(-jnp.arange(3.0))
    return x + jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def as_a_mask(key, x):
    return jnp.where(integers(0, 1000)(key)[:, None] < 300, x, 0)


def of_another_modulus(key, x):
    return x * (integers(0, 1000)(key) % 7)[:, None]


def halved(key, x):
    return x * (integers(0, 1000)(key) // 100)[:, None]


def a_choice(key, x):
    return x * jax.random.choice(key, jnp.arange(6.0), x.shape)


def a_diffusion(key, x):
    times, noise = jax.random.split(key)
    kept = jnp.asarray(KEPT)[integers(0, TIMES)(times)][:, None]
    return jnp.sqrt(kept) * x + jnp.sqrt(1 - kept) * jax.random.normal(noise, x.shape)


PUBLIC = [of_a_table, of_an_embedding, one_hots, one_hots_from_a_number_on, as_a_number, one_for_all, as_a_mask, a_choice]
LOOKED_UP = [as_sines, of_another_modulus, halved, a_diffusion]


@pytest.mark.parametrize("way", [*PUBLIC, *LOOKED_UP])
def test_integers_in_a_step(way):
    _, run, off = beside(way)
    assert off < 0.01 and Liar(run).broken() == set()


@pytest.mark.parametrize("way", PUBLIC)
def test_what_follows_from_integers_commits_nothing(way):
    """But for products with them, which are rounded as others are."""
    circuit = zkjax.trace(squares(way), optax.sgd(0.05), PARAMS, batch=(X[:BATCH],), key=KEY)
    assert not circuit.of("onehot") and not circuit.of("function") and not circuit.of("sign")


@pytest.mark.parametrize("way", [of_a_table, as_a_number])
def test_both_verifiers_draw_them(way):
    circuit, run, _ = beside(way)
    run.chain.geometry = SMALL
    proof = prove_small(circuit, run)
    verify_small(circuit, proof)
    reference.verify_chain(circuit.to_json(), [bytes(proof)], minimum_bits=0)


def test_what_an_auditor_reads():
    circuit = zkjax.trace(squares(one_hots), optax.sgd(0.05), PARAMS, batch=(X[:BATCH],), key=KEY)
    (one,) = residues(circuit)
    assert one.describe() == "residue, modulo 6" and "one-hot" in str(circuit)
    assert (one.path, one.parts, one.threshold) == ((STEP,), 2, PLACE)
    rows = lambda key, x: x * jax.vmap(integers(0, 9, shape=()))(jax.random.split(key, BATCH))[:, None]  # noqa: E731
    (one,) = residues(zkjax.trace(squares(rows), optax.sgd(0.05), PARAMS, batch=(X[:BATCH],), key=KEY))
    assert one.path == (STEP, ROW)


def swapped(key):
    """``jax.random.randint`` with the two words exchanged, which are other numbers."""
    high, low = (jax.random.bits(k, (BATCH,)) for k in jax.random.split(key))
    span = jnp.uint32(50)
    return ((low % span) * jnp.uint32(2**32 % 50) + high % span) % span


def of_two_keys(key):
    high, low = (jax.random.bits(k, (BATCH,)) for k in (jax.random.fold_in(key, 0), jax.random.fold_in(key, 2)))
    span = jnp.uint32(50)
    return ((high % span) * jnp.uint32(2**32 % 50) + low % span) % span


def of_another_factor(key):
    high, low = (jax.random.bits(k, (BATCH,)) for k in jax.random.split(key))
    span = jnp.uint32(50)
    return ((high % span) * jnp.uint32(7) + low % span) % span


def of_two_moduli(key):
    high, low = (jax.random.bits(k, (BATCH,)) for k in jax.random.split(key))
    return ((high % jnp.uint32(48)) * jnp.uint32(2**32 % 50) + low % jnp.uint32(48)) % jnp.uint32(50)


def of_residues(key):
    """Of what ``jax.random.randint`` has drawn already."""
    high, low = (jax.random.randint(k, (BATCH,), 0, 50) for k in jax.random.split(key))
    return (high * (2**32 % 50) + low) % 50


def of_masks(key):
    high, low = (jax.random.bits(k, (BATCH,)) % 50 < 5 for k in jax.random.split(key))
    return (high * jnp.uint32(2**32 % 50) + low) % 50


@pytest.mark.parametrize("drawn", [swapped, of_two_keys, of_another_factor, of_two_moduli, of_residues, of_masks])
def test_what_resembles_randint_is_none(drawn):
    with pytest.raises(UnsupportedOperationError, match="remainder of random numbers that were put together; use .*randint"):
        zkjax.trace(squares(lambda key, x: x * (drawn(key)[:, None] / 50)), optax.sgd(0.05), PARAMS, batch=(X[:BATCH],), key=KEY)


REFUSED = {
    "many spans": (lambda key, x: x * integers(0, np.arange(1, 9))(key)[:, None], "truncates, other than by one constant"),
    "numbers that leave their dtype": (lambda key, x: x * (3 * jax.random.bits(key, x.shape) % 5), "uint32 holds"),
    "words plus a number": (lambda key, x: x * (((jax.random.bits(key, x.shape) >> 1) + 1) % 5), "a function of random words"),
    "a shift of what is no word": (lambda key, x: x * (integers(0, 64)(key)[:, None] >> 1), "shift_right"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    drawn, told = REFUSED[name]
    with pytest.raises(UnsupportedOperationError, match=told):
        zkjax.trace(squares(drawn), optax.sgd(0.05), PARAMS, batch=(X[:BATCH],), key=KEY)


# ---- functions of uniform numbers ----------------------------------------------------------------------------------------


def of_uniform(function):
    return lambda key, x: x * function(jax.random.uniform(key, x.shape))


FUNCTIONS = {
    "exp": of_uniform(jnp.exp),
    "cos": of_uniform(lambda u: jnp.cos(u * jnp.pi / 2)),
    "log": of_uniform(lambda u: -jnp.log(u)),
    "log of a log": of_uniform(lambda u: -jnp.log(-jnp.log(u))),
    "floor": of_uniform(lambda u: jnp.floor(u * 50) / 50),
    "a root": of_uniform(jnp.sqrt),
    "a power": of_uniform(lambda u: u**0.3),
    "a quotient": of_uniform(lambda u: 1 / (1 + u)),
    "a quotient of it": of_uniform(lambda u: u / (1 + u)),
    "times its own": of_uniform(lambda u: u * jnp.exp(u)),
    "absolute values": of_uniform(lambda u: jnp.abs(u - 0.5)),
    "clipped": of_uniform(lambda u: jnp.clip(u, 0.1, 0.9)),
    "exponential": lambda key, x: x * jax.random.exponential(key, x.shape),
    "gumbel": lambda key, x: x + 0.1 * jax.random.gumbel(key, x.shape),
    "laplace": lambda key, x: x * jax.random.laplace(key, x.shape),
    "logistic": lambda key, x: x * jax.random.logistic(key, x.shape),
    "truncated normal": lambda key, x: x * jax.random.truncated_normal(key, -2, 2, x.shape),
    "categorical": lambda key, x: x * jax.random.categorical(key, x)[:, None],
    "gumbel softmax": lambda key, x: jax.nn.softmax((x + jax.random.gumbel(key, x.shape)) / 0.5),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_uniform_numbers(name):
    _, run, off = beside(FUNCTIONS[name])
    assert off < 0.01 and Liar(run).broken() == set()


AT_ENDS = {
    "floor": lambda key, x: jnp.floor(50 * jax.random.uniform(key, x.shape)),
    "log": lambda key, x: jnp.log(jax.random.uniform(key, x.shape)),
    "gumbel": lambda key, x: jax.random.gumbel(key, x.shape),
    "normal": lambda key, x: jax.random.normal(key, x.shape),
    "truncated normal": lambda key, x: jax.random.truncated_normal(key, -2, 2, x.shape),
}


@pytest.mark.parametrize("word", [0, 2**32 - 1])
@pytest.mark.parametrize("name", AT_ENDS)
def test_no_word_is_beyond_a_table(name, word):
    """Nor where it stands for 0 or 1, at which functions may have no value, or is rounded up to the end of a range."""
    small = squares(lambda key, x: x + 2.0**-8 * AT_ENDS[name](key, x))
    circuit = zkjax.trace(small, optax.sgd(0.05), PARAMS, batch=(X[:BATCH],), key=KEY, chunk=1)

    def words(keys, size, xp=np):
        return xp.full((len(keys), size), word, dtype=np.uint32)

    with mock.patch.object(threefry, "bits", words):
        found = zkjax.train(circuit, PARAMS, (X,), steps=1)
    assert all(np.isfinite(x) for x in found.float_losses)
