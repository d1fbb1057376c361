"""What people write around layers and losses, beside floating point: each of these once was traced to something else, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from beside import followed
from harness import Liar

from zkjax.errors import PrecisionError, UnsupportedOperationError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 6)).astype(np.float32)
T = RNG.normal(size=(8, 4)).astype(np.float32)
LABELS = RNG.integers(0, 4, 8).astype(np.int32)
PARAMS = {"w": (0.4 * RNG.normal(size=(6, 4))).astype(np.float32)}


def cross_entropy(scores):
    """Of scores that are a function of the logits."""
    return lambda p, x, y: optax.softmax_cross_entropy_with_integer_labels(scores(x @ p["w"]), y).mean()


SCORES = {  # x - max(x) is at most 0, also of a multiple
    "a temperature": lambda z: z / 0.5,
    "a steep one": lambda z: 10 * z,
    "distances": lambda z: -3 * z,
    "a soft cap": lambda z: 30 * jnp.tanh(z / 30),
    "over the first axis": lambda z: 2 * z + 0.1 * jax.nn.log_softmax(2 * z, axis=0),
}


@pytest.mark.parametrize("name", SCORES)
def test_multiples_of_logits(name):
    _, run, off = followed(cross_entropy(SCORES[name]), optax.sgd(0.1), PARAMS, (X, LABELS))
    assert off < 0.01 and Liar(run).broken() == set()


def squares(of):
    return lambda p, x, t: jnp.mean((of(x @ p["w"]) - t) ** 2)


def _norm(f):
    return jnp.linalg.norm(f, axis=-1, keepdims=True)


DIVISORS = {  # guarded by a tiny number, whose inverse is no measure of the quotient
    "maximum": lambda f: f / jnp.maximum(_norm(f), 1e-12),
    "clip": lambda f: f / jnp.clip(_norm(f), 1e-6),
    "sum of absolute values": lambda f: f / jnp.maximum(jnp.abs(f).sum(-1, keepdims=True), 1e-8),
    "sum of exps": lambda f: jnp.exp(f) / jnp.clip(jnp.exp(f).sum(-1, keepdims=True), 1e-6),
}


@pytest.mark.parametrize("name", DIVISORS)
def test_guarded_divisors(name):
    _, run, off = followed(squares(DIVISORS[name]), optax.sgd(0.1), PARAMS, (X, T))
    assert off < 0.02 and Liar(run).broken() == set()


POWERS = {
    "of a constant": lambda z, y: 2.0**z,
    "of one": lambda z, y: z * 1.0**z,
    "of several constants": lambda z, y: jnp.array([0.5, 2.0, 1.0, 3.0]) ** (z / 4),
    "with an exponent of the data": lambda z, y: jax.nn.sigmoid(z) ** (y[:, None] + 1),
    "with several exponents": lambda z, y: jax.nn.sigmoid(z) ** jnp.array([1.0, 2.0, 3.0, 0.5]),
}


@pytest.mark.parametrize("name", POWERS)
def test_powers_whose_exponent_is_no_constant(name):
    loss = lambda p, x, t, y: jnp.mean((POWERS[name](x @ p["w"], y) - t) ** 2)  # noqa: E731
    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, (X, T, LABELS))
    assert off < 0.01 and Liar(run).broken() == set()


@pytest.mark.parametrize("power", [lambda z: (-2.0) ** z, lambda z: 0.0**z, lambda z: z**z], ids=["below 0", "of 0", "of any number"])
def test_powers_of_what_may_be_below_zero(power):
    with pytest.raises(UnsupportedOperationError, match="may be below 0.*exponent.*jnp.exp"):
        followed(squares(power), optax.sgd(0.1), PARAMS, (X, T))


IGNORED = np.where(LABELS == 1, -100, LABELS).astype(np.int32)
integer_cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def _log_likelihood(z, y):
    return jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1)[:, 0]


LEFT_OUT = {  # labels of which JAX picks what is no number
    "before": lambda z, y: jnp.where(y >= 0, integer_cross_entropy(z, jnp.maximum(y, 0)), 0.0),
    "after": lambda z, y: jnp.where(y != -100, integer_cross_entropy(z, y), 0.0),
    "a mean": lambda z, y: jnp.where(y >= 0, integer_cross_entropy(z, y), 0.0).sum() / jnp.sum(y >= 0),
    "log-likelihoods": lambda z, y: jnp.where(y == -100, 0.0, -2 * _log_likelihood(z, y)),
    "under vmap": lambda z, y: jax.vmap(lambda z, y: jnp.where(y >= 0, integer_cross_entropy(z, y), 0.0))(z, y),
    "multiplied by a condition": lambda z, y: integer_cross_entropy(z, y) * (y != -100),
    "of sequences": lambda z, y: jnp.where(y[:, None] >= 0, integer_cross_entropy(z[:, None], y[:, None]), 0.0),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_labels_that_are_left_out(name):
    loss = lambda p, x, y: jnp.sum(LEFT_OUT[name](x @ p["w"], y))  # noqa: E731
    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, (X, IGNORED))
    assert off < 0.005 and Liar(run).broken() == set()


def test_labels_of_sequences_that_are_left_out():
    labels = np.stack([IGNORED, LABELS, IGNORED[::-1]], axis=1)

    def loss(p, x, y):
        z = (x @ p["w"])[:, None] * jnp.array([1.0, 2.0, -1.0])[:, None]
        return jnp.sum(jnp.where(y >= 0, integer_cross_entropy(z, y), 0.0)) / jnp.sum(y >= 0)

    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, (X, labels))
    assert off < 0.01 and Liar(run).broken() == set()


NAN = {
    "not left out": lambda z, y: integer_cross_entropy(z, y),
    "multiplied by 0": lambda z, y: integer_cross_entropy(z, y) * jnp.maximum(y, 0),
    "left out elsewhere": lambda z, y: jnp.where((y != -100)[::-1], integer_cross_entropy(z, y), 0.0),
    "other ones left out": lambda z, y: jnp.where(y != 0, integer_cross_entropy(z, y), 0.0),
    "left out once": lambda z, y: jnp.where(y >= 0, integer_cross_entropy(z, y), 0.0) + integer_cross_entropy(2 * z, y),
}


@pytest.mark.parametrize("name", NAN)
def test_labels_that_make_a_loss_no_number(name):
    loss = lambda p, x, y: jnp.sum(NAN[name](x @ p["w"], y))  # noqa: E731
    assert np.isnan(loss(PARAMS, X, IGNORED))
    with pytest.raises(PrecisionError, match="not there"):
        followed(loss, optax.sgd(0.1), PARAMS, (X, IGNORED), batch=8)


def _pooled(low):
    """The largest unmasked entry of each row."""
    return lambda p, x, t, mask: jnp.mean((jnp.max(jnp.where(mask, x @ p["w"], low), axis=1) - t[:, 0]) ** 2)


@pytest.mark.parametrize("low", [-1e9, -jnp.inf])
def test_maxima_of_masked_entries(low):
    mask = np.abs(T) > 0.3
    assert mask.any(1).all() and not mask.all(1).all()
    _, run, off = followed(_pooled(low), optax.sgd(0.1), PARAMS, (X, T, mask))
    assert off < 0.02 and Liar(run).broken() == set()
    _, run, off = followed(lambda p, *data: _pooled(low)(p, *data[:2], jnp.arange(4) < 3), optax.sgd(0.1), PARAMS, (X, T))
    assert off < 0.02 and Liar(run).broken() == set()


def test_a_maximum_of_nothing():
    """A row whose entries are all masked has the low number in JAX, which the circuit has not: no training says otherwise."""
    mask = np.abs(T) > 0.3
    mask[2] = False
    with pytest.raises(PrecisionError, match="no value"):
        followed(_pooled(-1e9), optax.sgd(0.1), PARAMS, (X, T, mask))


def test_gradients_that_are_clipped_by_the_norms_of_weights():
    _, run, off = followed(squares(lambda f: f), optax.chain(optax.adaptive_grad_clip(0.01), optax.sgd(0.1)), PARAMS, (X, T))
    assert off < 0.01 and Liar(run).broken() == set()


@pytest.mark.parametrize(
    "optimizer",
    [optax.adam(1e-2), optax.adamw(1e-2), optax.sgd(0.1, 0.9), optax.adafactor(1e-2)],
    ids=["adam", "adamw", "momentum", "adafactor"],
)
def test_a_parameter_that_the_loss_does_not_read(optimizer):
    """Its moments are numbers of the step."""
    circuit, run, off = followed(squares(lambda f: f), optimizer, PARAMS | {"unused": np.ones((3, 2), np.float32)}, (X, T))
    assert off < 0.02 and Liar(run).broken() == set()
    assert any("unused" in x.path for x in circuit.public)


def test_a_decay_that_an_adaptive_optimizer_reads():
    """Where a gradient is smaller than its rounding, both moments lose it: no step is larger than the optimizer's bound."""
    x = X.copy()
    x[:, 0] = 0
    optimizer = optax.chain(optax.add_decayed_weights(1e-3), optax.adam(1e-2))
    _, run, _ = followed(squares(lambda f: f), optimizer, PARAMS, (x, T), steps=4)
    assert np.abs(np.asarray(run.params["w"]) - PARAMS["w"]).max() < 1.1 * 4 * 1e-2
    assert Liar(run).broken() == set()


@pytest.mark.parametrize("optimizer", [optax.chain(optax.clip(1.0), optax.adam(1e-3)), optax.amsgrad(1e-3)], ids=["clipped", "amsgrad"])
def test_moments_of_gradients_that_differ_much(optimizer):
    """The numerator and the root that it is divided by follow from one rounding, and what is the larger one of two stays above 0."""
    x = X.copy()
    x[:, 0] *= 0.03
    x[:, 1] = 0
    _, run, off = followed(squares(lambda f: f), optimizer, PARAMS, (x, T), steps=4)
    assert off < 0.05 and Liar(run).broken() == set()
