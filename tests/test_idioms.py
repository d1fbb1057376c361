"""What people write around layers and losses, beside floating point: each of these once was traced to something else, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from beside import followed
from harness import Liar

import zkjax
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


def contrastive(put):
    """SimCLR's loss of similarities, of which an entry's own are put out of the way."""

    def loss(p, x, y):
        f = x @ p["w"]
        f = f / jnp.linalg.norm(f, axis=-1, keepdims=True)
        i = jnp.arange(len(f))
        similar = put(f @ f.T / 0.07, i)
        return jnp.mean(jax.nn.logsumexp(similar, axis=-1) - similar[i, jnp.roll(i, len(f) // 2)])

    return loss


PUT = {
    "the tutorial's": lambda s, i: s.at[i, i].set(-9e15),
    "another number": lambda s, i: s.at[i, i].set(-1e9),
    "minus infinity": lambda s, i: s.at[jnp.diag_indices_from(s)].set(-jnp.inf),
    "added": lambda s, i: s.at[i, i].add(-1e9),
    "row by row": lambda s, i: jax.vmap(lambda row, k: row.at[k].set(-1e9))(s, i),
}


@pytest.mark.parametrize("name", PUT)
def test_scores_that_an_update_at_constant_indices_takes_away(name):
    _, run, off = followed(contrastive(PUT[name]), optax.sgd(0.1), PARAMS, (X, T))
    assert off < 0.02 and Liar(run).broken() == set()


UPDATES = {
    "an entry": lambda z, t: z.at[1, 2].set(0.5),
    "a row": lambda z, t: z.at[1].set(t[0]),
    "columns": lambda z, t: z.at[:, 1:3].set(t[:, :2] * 0.5),
    "entries": lambda z, t: z.at[jnp.array([0, 2]), jnp.array([3, 1])].set(z[0, :2]),
    "of data": lambda z, t: z * jnp.asarray(t).at[2].set(0.5).at[:, jnp.array([1, 1])].set(1.5),
    "into data": lambda z, t: jnp.asarray(t).at[0].set(z[1]),
}


@pytest.mark.parametrize("name", UPDATES)
def test_updates_at_constant_indices(name):
    loss = lambda p, x, t: jnp.mean((UPDATES[name](x @ p["w"], t) - t) ** 2)  # noqa: E731
    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, (X, T))
    assert off < 0.02 and Liar(run).broken() == set()


PICKED = {
    "a row": lambda q, i: jax.vmap(lambda a, b: a[b])(q, i),
    "a column": lambda q, i: jax.vmap(lambda a, b: a[:, b])(q.transpose(0, 2, 1), i),
    "at a place": lambda q, i: jax.vmap(lambda a, b: jnp.tanh(a.at[b].add(0.5)))(q, i),
}


@pytest.mark.parametrize("name", PICKED)
def test_windows_at_an_index_of_data(name):
    loss = lambda p, x, y: jnp.mean((PICKED[name]((x @ p["w"]).reshape(-1, 2, 2), y % 2) - 0.3) ** 2)  # noqa: E731
    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, (X, LABELS))
    assert off < 0.02 and Liar(run).broken() == set()


WEIGHTS = np.abs(T) + 0.1
BELOW = {  # what a program calls no number never comes up here
    "logsumexp with weights of data": lambda z, t: jax.nn.logsumexp(z, b=t, axis=-1),
    "with constant ones": lambda z, t: jax.nn.logsumexp(z, b=jnp.array([1.0, 2.0, 0.5, 0.0]), axis=-1) * t[:, 0],
    "a focal loss": lambda z, t: optax.sigmoid_focal_loss(z, (t > 0.8).astype(jnp.float32), alpha=0.25, gamma=2.0),
    "by hand": lambda z, t: jnp.where(t > 0, z, jnp.nan),
    "the other way": lambda z, t: jnp.where(jnp.sum(z**2) < 0, jnp.nan, z),
    "of one tensor": lambda z, t: jnp.where(z > -9, jax.nn.softplus(z), jnp.nan),
    "a constant": lambda z, t: z * jnp.where(t.sum(0) > 0, 2.0, jnp.nan),
}


@pytest.mark.parametrize("name", BELOW)
def test_branches_that_are_no_number(name):
    loss = lambda p, x, t: jnp.mean(BELOW[name](x @ p["w"], t) ** 2)  # noqa: E731
    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, (X, WEIGHTS))
    assert off < 0.05 and Liar(run).broken() == set()


@pytest.mark.parametrize("name", ["logsumexp with weights of data", "by hand", "a constant"])
def test_where_jax_has_no_number_there_is_no_witness(name):
    loss = lambda p, x, t: jnp.mean(BELOW[name](x @ p["w"], t) ** 2)  # noqa: E731
    circuit = zkjax.trace(loss, optax.sgd(0.1), PARAMS, batch=(X[:4], WEIGHTS[:4]), steps=8)
    assert np.isnan(loss(PARAMS, X[4:], -WEIGHTS[4:]))
    with pytest.raises(zkjax.PrecisionError, match="where it has no value"):
        zkjax.train(circuit, PARAMS, (X, -WEIGHTS), steps=1)


NEIGHBOURS = np.array([0, 0, 1, 2, 2, 2, 0, 1])
TO = np.array([0, 2, 1, 2, 0, 2, 0, 1])


def _over_neighbours(scores):
    """jraph's softmax of each node's edges."""
    scores = scores - jax.ops.segment_max(scores, TO, 4)[TO]
    shares = jnp.exp(scores)
    return shares / jax.ops.segment_sum(shares, TO, 4)[TO]


GROUPS = {
    "maxima": lambda z: jax.ops.segment_max(z, NEIGHBOURS, 3),
    "maxima of a vector": lambda z: jax.ops.segment_max(z[:, 0], NEIGHBOURS, 3),
    "isolated ones": lambda z: jnp.where(jnp.isfinite(m := jax.ops.segment_max(z, NEIGHBOURS, 5)), m, 0.2),
    "one each": lambda z: jax.ops.segment_max(z, np.array([3, 1, 0, 2, 6, 5, 4, 7]), 8),
    "attention": lambda z: jax.ops.segment_sum(_over_neighbours(2 * z[NEIGHBOURS].sum(-1))[:, None] * z, TO, 4),
    "by hand": lambda z: jnp.full((4, 2), -jnp.inf).at[:, TO // 2].max(z[:4].T.repeat(2, 1)),
}


@pytest.mark.parametrize("name", GROUPS)
def test_maxima_of_groups(name):
    loss = lambda p, x, t: jnp.mean((GROUPS[name](x @ p["w"]) - 0.5) ** 2) + 0.1 * jnp.mean((x @ p["w"] - t) ** 2)  # noqa: E731
    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, (X, T), batch=8)
    assert off < 0.03 and Liar(run).broken() == set()


def test_groups_without_members_and_indices_of_data():
    for of, why in (
        (lambda z, y: jax.ops.segment_max(z, NEIGHBOURS, 5), "minus infinity"),
        (lambda z, y: jax.ops.segment_max(z, y, 4), "depend on data"),
    ):
        loss = lambda p, x, y: jnp.mean(of(x @ p["w"], y) ** 2)  # noqa: B023, E731
        with pytest.raises(zkjax.UnsupportedOperationError, match=why):
            zkjax.trace(loss, optax.sgd(0.1), PARAMS, batch=(X, LABELS), steps=8)


MULTIPLIED = {
    "rows": lambda z, t: z.at[jnp.array([1, 3, 1])].multiply(3.0, unique_indices=True),
    "a column": lambda z, t: z.at[:, 1].multiply(t[:, 0], unique_indices=True),
}


@pytest.mark.parametrize("name", MULTIPLIED)
def test_products_at_constant_indices(name):
    loss = lambda p, x, t: jnp.mean((MULTIPLIED[name](x @ p["w"], t) - t) ** 2)  # noqa: E731
    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, (X, T))
    assert off < 0.02 and Liar(run).broken() == set()


def test_a_state_that_a_product_reads_as_it_is_after_the_step():
    """It is a sum of itself and others, and what is read stands for it, as for the step sizes of Rprop."""
    _, run, off = followed(squares(lambda f: f), optax.rprop(0.01), PARAMS, (X, T), steps=4)
    assert off < 0.01 and Liar(run).broken() == set()


LOW = jnp.array([0, 0, 0, -1e9])


def _hidden_markov(z):
    """The forward algorithm, of a chain that moves to the right."""
    moves = jnp.where(jnp.tril(jnp.ones((4, 4), bool)), -1e30, jnp.roll(z[:4], 1, 1))
    a = z[4]
    for row in z[5:]:
        a = jax.nn.logsumexp(a[:, None] + jax.nn.log_softmax(moves, axis=1), axis=0) + row
    return jax.nn.logsumexp(a)


def _biased(low):
    return lambda z, t: jax.nn.softmax(jnp.where(t > 0.5, low, z) + z[::-1] * 0.5 + 1.0)


MASKED = {
    "only what a mask takes away": lambda z, t: jnp.exp((z + LOW)[:, 3:]) + z**2,
    "the difference of two": lambda z, t: jnp.exp((z + LOW) - (0.5 * z + LOW)),
    "a chain": lambda z, t: _hidden_markov(z),
    "a bias beside it": _biased(-1e9),
    "beside minus infinity": _biased(-jnp.inf),
    "both": lambda z, t: jax.nn.softmax(jnp.where(t > 0.5, -1e9, z) + jnp.where(t > 0.0, z[::-1], -1e9)),
}


@pytest.mark.parametrize("name", MASKED)
def test_sums_and_differences_of_masked_scores(name):
    loss = lambda p, x, t: jnp.mean((MASKED[name](x @ p["w"], jnp.minimum(t, t[:, ::-1])) - 0.3) ** 2)  # noqa: E731
    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, (X, T), batch=8)
    assert off < 0.08 and Liar(run).broken() == set()


def _negative_binomial(z, t):
    rate, count = jax.nn.softplus(z) + 0.2, jnp.floor(t**2)
    return jax.scipy.special.gammaln(count + rate) - jax.scipy.special.gammaln(rate)


SPECIAL = {
    "arctan": lambda z, t: jnp.arctan(2 * z) - t,
    "arcsin": lambda z, t: jnp.arcsin(0.9 * jnp.tanh(z)) - t,
    "arccos": lambda z, t: jnp.arccos(0.9 * jnp.tanh(z)) - jnp.arccos(jnp.array([0.5, -1.0, 0.0, 1.0])) * t,
    "negative binomial": _negative_binomial,
    "digamma": lambda z, t: jax.scipy.special.digamma(jnp.exp(z) + 0.5) - t,
}


@pytest.mark.parametrize("name", SPECIAL)
def test_angles_and_gamma_functions(name):
    loss = lambda p, x, t: jnp.mean(SPECIAL[name](x @ p["w"], t) ** 2)  # noqa: E731
    _, run, off = followed(loss, optax.sgd(0.02), PARAMS, (X, T))
    assert off < 0.03 and Liar(run).broken() == set()


def test_what_is_read_in_the_place_of_a_masked_score_is_what_the_program_wrote():
    def loss(p, x, t):
        z, i = x @ p["w"], jnp.array([0, 2, 1, 3])
        low = jnp.where(jnp.eye(4, dtype=bool), -2e4, z[:4])
        return jnp.mean((low[jnp.arange(4), i] / 2e4 * t[0]) ** 2) + 0.1 * jnp.mean(z**2)

    circuit = zkjax.trace(loss, optax.sgd(1e-3), PARAMS, batch=(X, T), steps=8)
    run = zkjax.train(circuit, PARAMS, (X, T), steps=1)
    (rows,) = np.asarray(run.indices)
    assert np.isclose(float(run.losses[0]), loss(PARAMS, X[rows], T[rows]), rtol=0.02)
