"""Random keys in a step: folded, split and kept in a state, as JAX draws from them; dropout as flax, nnx, haiku and equinox write it."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from harness import SMALL, data_for, mlp_params, prove_small, verify_small

import zkjax
from zkjax.algebra import exact
from zkjax.errors import DataError, UnsupportedOperationError
from zkjax.ops.draw import ROW, STEP
from zkjax.tracing.constants import Known
from zkjax.tracing.graph import Graph
from zkjax.tracing.interpreter import interpret

DIMS, BATCH, STEPS = (5, 8, 3), 4, 3
PARAMS, DATA = mlp_params(DIMS, bias=False), data_for(DIMS)
SAMPLE = tuple(x[:BATCH] for x in DATA)
KEY = jax.random.key(11)


def error(outputs, y):
    return 0.5 * jnp.mean(jnp.sum((outputs - y) ** 2, axis=-1))


def net(dropped):
    """The loss of a net whose hidden layer goes through ``dropped(h, key)``."""

    def loss(params, x, y, key):
        return error(dropped(jax.nn.relu(x @ params[0]["w"]), key) @ params[1]["w"], y)

    return loss


def as_haiku(h, key):
    return jax.random.bernoulli(key, 0.75, h.shape) * h / 0.75


def as_equinox(h, key):
    return jnp.where(jax.random.bernoulli(key, 0.75, h.shape), h / 0.75, 0)


def as_linen(h, key):
    return linen.Dropout(0.25, deterministic=False).apply({}, h, rngs={"dropout": key})


def as_nnx(h, key):
    return nnx.Dropout(0.25, deterministic=False)(h, rngs=nnx.Rngs(dropout=key))


def for_each_sample(h, key):
    return jax.vmap(as_equinox)(h, jax.random.split(key, len(h)))


def for_each_feature(h, key):
    return jnp.where(jax.random.bernoulli(key, 0.5, (1, h.shape[1])), 2 * h, 0)


def in_one_of_two_ways(h, key):
    first, second = jax.random.split(key)
    return jax.lax.cond(jax.random.bernoulli(first), lambda h: as_haiku(h, second), lambda h: h, h)


def with_a_coin(h, key):
    return jnp.where(jax.random.uniform(key) < 0.3, h, 0.5 * h)


def with_noise(h, key):
    return h + jax.random.uniform(key, h.shape, minval=-0.5, maxval=0.5)


def with_other_words(h, key):
    words = jax.random.key_data(key)
    exchanged, doubled = (jax.random.wrap_key_data(x) for x in (words[::-1], words[jnp.array([0, 0])]))
    return as_haiku(as_haiku(h, exchanged), jax.random.fold_in(doubled, 1))


def twice(h, key):
    first, second = jax.random.split(key)
    return as_haiku(as_haiku(h, first), second)


def by_two_masks(h, key):
    first, second = jax.random.split(key)
    return jnp.where(jax.random.bernoulli(first, 0.75, h.shape) & (jax.random.uniform(second, h.shape) < 0.5), 2 * h, 0)


def unless(h, key):
    return jax.lax.cond(~jax.random.bernoulli(key, 0.3), lambda h: as_haiku(h, key), lambda h: 0.5 * h, h)


def by_two_coins(combined, h, key):
    coins = (jax.random.bernoulli(k, 0.6) for k in jax.random.split(key))
    return jax.lax.cond(combined(*coins), lambda h: 2 * h, lambda h: h, h)


def and_(h, key):
    return by_two_coins(jnp.logical_and, h, key)


def or_(h, key):
    return by_two_coins(jnp.logical_or, h, key)


def xor(h, key):
    return by_two_coins(jnp.logical_xor, h, key)


def with_relu_inside(h, key):
    return jax.lax.cond(jax.random.bernoulli(key), lambda h: jax.nn.relu(h - 0.25), lambda h: h, h)


def with_conditions_inside(h, key):
    above = jax.lax.cond(jax.random.bernoulli(key), lambda h: h > 0.25, lambda h: h > 0.5, h)
    return jnp.where(above, h, 0)


def one_inside_another(h, key):
    first, second = jax.random.split(key)
    return jax.lax.cond(jax.random.bernoulli(first), lambda h: in_one_of_two_ways(h, second), lambda h: 2 * h, h)


def keys_by_scan(h, key):
    last, keys = jax.lax.scan(lambda k, _: tuple(jax.random.split(k)), key, None, length=3)
    return as_haiku(as_haiku(h, last), keys[1])


def keys_that_a_loop_reads(h, key):
    return jax.lax.scan(lambda h, k: (as_haiku(h, k), None), h, jax.random.split(key, 2))[0]


def keys_by_fori_loop(h, key):
    return as_haiku(h, jax.lax.fori_loop(0, 3, lambda i, k: jax.random.fold_in(k, i), key))


def keys_by_while_loop(h, key):
    return as_haiku(h, jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, jax.random.split(s[1])[0]), (0, key))[1])


def by_remat(h, key):
    return jax.checkpoint(lambda h: jax.nn.relu(jnp.where(1 - jax.random.uniform(key, h.shape) > 0.3, h, -h)))(h)


def each_by_a_coin(h, key):
    def one(row, key):
        return jax.lax.cond(jax.random.bernoulli(key), lambda row: 2 * row[::-1], lambda row: row, row)

    return jax.vmap(one)(h, jax.random.split(key, len(h)))


def with_the_highest_bit(h, key):
    return h * (jax.random.bits(key, h.shape) >> 31).astype(jnp.float32)


CHOICES = [
    each_by_a_coin,
    with_the_highest_bit,
    by_two_masks,
    unless,
    and_,
    or_,
    xor,
    with_relu_inside,
    with_conditions_inside,
    one_inside_another,
]
LOOPS = [keys_by_scan, keys_that_a_loop_reads, keys_by_fori_loop, keys_by_while_loop, by_remat]
WAYS = [
    as_haiku,
    as_equinox,
    as_linen,
    as_nnx,
    for_each_sample,
    for_each_feature,
    in_one_of_two_ways,
    with_a_coin,
    with_noise,
    twice,
    *CHOICES,
    *LOOPS,
]


def float_training(loss, steps) -> list[float]:
    """Losses as the user would train on the batches of seed 1."""
    params, losses = PARAMS, []
    for t, rows in enumerate(batches(steps)):
        value, gradient = jax.value_and_grad(loss)(params, *(x[rows] for x in DATA), jax.random.fold_in(KEY, t))
        params = jax.tree.map(lambda p, g: p - g / 32, params, gradient)
        losses.append(float(value))
    return losses


def apart(params, own) -> float:
    """How far parameters are from the user's own, of what training has moved these; of the worst tensor."""
    found = zip(*map(jax.tree.leaves, (params, own, PARAMS)), strict=True)
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b - first)) for a, b, first in found)


def batches(steps):
    return zkjax.protocol.schedule.batch_indices(1, len(DATA[0]), None, BATCH, 0, steps)


OFTEN = [as_haiku, as_equinox, as_linen, as_nnx, for_each_sample, in_one_of_two_ways, with_noise, CHOICES[0], LOOPS[0]]


@pytest.mark.parametrize("way", [pytest.param(x, marks=[] if x in OFTEN else pytest.mark.slow, id=x.__name__) for x in WAYS])
def test_dropout_is_the_users_own(way):
    """The circuit without rounding computes the user's step, and training in integers goes along with it, mask for mask."""
    loss = net(way)
    circuit = zkjax.trace(loss, optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY)
    assert circuit.max_steps is None  # a key into which the step's number is folded needs no table
    run = zkjax.train(circuit, PARAMS, DATA, steps=STEPS, seed=1)
    assert np.allclose(run.float_losses, float_training(loss, STEPS), rtol=0.02)
    assert all(exact < 0.01 and rounded < 0.05 for _, exact, rounded in circuit.comparison.updates)


def test_other_words_of_a_key_are_another_key():
    """Whoever takes a key apart has a table of what he makes of it."""
    with pytest.raises(UnsupportedOperationError, match="depends on the step, by its key; give .* steps"):
        zkjax.trace(net(with_other_words), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY)
    circuit = zkjax.trace(net(with_other_words), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY, steps=STEPS)
    assert circuit.max_steps == STEPS and len(circuit.drawn) == 2
    run = zkjax.train(circuit, PARAMS, DATA, steps=STEPS, seed=1)
    assert np.allclose(run.float_losses, float_training(net(with_other_words), STEPS), rtol=0.02)


def test_masks_cost_no_cell():
    """A net with dropout commits to what a net without it does, and looks up as much, where 1/keep is a power of two."""
    halved = net(lambda h, key: jnp.where(jax.random.bernoulli(key, 0.5, h.shape), h / 0.5, 0))
    eight = zkjax.Precision(activation_scale=8)
    losses = net(lambda h, key: h), halved
    found = [zkjax.trace(loss, optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY, precision=eight) for loss in losses]
    plain, dropped = (c.counts(4) for c in found)
    assert (plain.cells, plain.lookups) == (dropped.cells, dropped.lookups)


def test_keys_of_both_kinds_are_the_same():
    circuits = [
        zkjax.trace(net(as_haiku), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=key) for key in (jax.random.key(3), jax.random.PRNGKey(3))
    ]
    assert circuits[0].digest() == circuits[1].digest()
    other = zkjax.trace(net(as_haiku), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=jax.random.key(4))
    assert other.digest() != circuits[0].digest()


def test_shapes_and_a_key_give_the_digest():
    """An auditor knows the key, for it is a part of the recipe, and not the data."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (PARAMS, SAMPLE))
    precision = zkjax.Precision(
        activation_scale=8, activation_bits=13, gradient_scale=10, gradient_bits=14, data_bits=(11, 11), table_bits=16
    )
    found = [
        zkjax.trace(net(as_linen), optax.sgd(1 / 32), params, batch=batch, key=KEY, precision=precision)
        for params, batch in ((PARAMS, SAMPLE), shapes)
    ]
    assert found[0].digest() == found[1].digest()


def test_what_an_auditor_reads():
    circuit = zkjax.trace(
        net(lambda h, key: linen.Dropout(0.5, deterministic=False).apply({}, h, rngs={"dropout": key})),
        optax.sgd(1 / 32),
        PARAMS,
        batch=SAMPLE,
        key=KEY,
    )
    (i,) = circuit.drawn
    drawn = circuit.nodes[i].operation
    assert drawn.describe() == "draw, 1 with probability 0.5"
    assert drawn.path[0] == STEP and len(drawn.path) == 2  # the step, then the name of linen's scope
    assert drawn.words == tuple(int(w) for w in jax.random.key_data(KEY))
    assert "The net is 5 -> 8 -> ReLU -> mask that keeps 0.5 -> 3, the loss the squared error against" in str(circuit)
    assert re.search(r"draw, 1 with probability 0.5 .* mask", str(circuit))


@functools.cache
def proven(way):
    circuit, run = make_run_with_key(net(way))
    return circuit, prove_small(circuit, run)


def make_run_with_key(loss):
    circuit = zkjax.trace(loss, optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY)
    run = zkjax.train(circuit, PARAMS, DATA, steps=2, seed=1)
    run.chain.geometry = SMALL
    return circuit, run


PROVEN = [for_each_sample, by_two_masks, with_relu_inside]
MORE = [pytest.param(x, marks=pytest.mark.slow, id=x.__name__) for x in (with_noise, twice, in_one_of_two_ways)]


@pytest.mark.parametrize("way", [*(pytest.param(x, id=x.__name__) for x in PROVEN), *MORE])
def test_it_is_proven(way):
    verify_small(*proven(way))


def test_rows_of_a_split_are_one_draw():
    circuit = zkjax.trace(net(for_each_sample), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY)
    (i,) = circuit.drawn
    assert circuit.nodes[i].operation.path == (STEP, ROW)


MOVED = [
    lambda key: jax.random.uniform(key, (2, 64, 64))[0] < 0.003,
    lambda key: jax.random.uniform(key, (64, 64)).T < 0.003,
    lambda key: jax.random.uniform(key, (32, 128)).reshape(64, 64)[::-1] <= 0.003,
    lambda key: jax.random.bits(key, (2, 64, 64))[0] < jnp.uint32(13_000_001),
    lambda key: jax.random.bits(key, (64, 64)) >= jnp.uint32(3_000_000_001),
    lambda key: 0.997 < jax.random.uniform(jax.random.split(key, 1)[0], (64, 64)),
    lambda key: jax.vmap(lambda k: jax.random.uniform(k, (64,)))(jax.random.split(key, 64)) < 0.003,
    lambda key: jax.vmap(lambda k: jax.random.uniform(k, (64, 64)))(jax.random.split(key, 1))[0] < 0.003,
]


@pytest.mark.parametrize("mask", MOVED, ids=range(len(MOVED)))
def test_rare_masks_are_bit_by_bit_those_of_jax(mask):
    """Whatever moves the words: were they rounded before they are compared, entries would be others."""

    def loss(params, x, y, key):
        return jnp.mean(jnp.where(mask(key), x @ params, 0.0) - y)

    x, y, w = (np.ones(shape, np.float32) for shape in ((64, 1), (64, 64), (1, 64)))
    circuit = zkjax.trace(loss, optax.sgd(0.1), w, batch=(x, y), key=KEY)
    assert len(circuit.drawn) == 1 and not circuit.of("sign")
    values = exact.evaluate(circuit, None, [w], [x, y], keys=[keys[0] for keys in circuit.keys(5, 1)])
    masks = [values[circuit.nodes[i].inputs[0]] for i in circuit.of("dot") if circuit.nodes[i].operation.batch[0]]
    expected = np.asarray(mask(jax.random.fold_in(KEY, 5)))
    assert masks and all(np.array_equal(x, expected) or np.array_equal(x, ~expected) for x in masks)


U = np.arange(2**23, dtype=np.float32) * np.float32(2.0**-23)  # all numbers that jax.random.uniform draws

EXACT = {
    "one minus": lambda u: 1 - u > 0.1,
    "twice one minus": lambda u: 1.0 - (1.0 - u) <= 0.7,
    "negative": lambda u: -u < -0.3,
    "shifted": lambda u: u - 0.5 < 0.1,
    "scaled": lambda u: 4 * u >= 1.3,
    "as by minval and maxval": lambda u: jnp.maximum(u * 2.0 - 1.0, -1.0) > 0.3,
    "all": lambda u: 1 - u > 0,
    "a number of exact arithmetic": lambda u: u < jnp.float32(1.0) - jnp.float32(0.25),
    "a number that float32 makes the same of": lambda u: u < jnp.float32(1.0) - jnp.float32(0.1),
    "from an array": lambda u: u < jnp.asarray(np.float32([0.1, 0.3]))[1],
    "tiny": lambda u: u > 1e-12,
}


def traced_mask(mask):
    def loss(params, x, y, key):
        return jnp.mean(jnp.where(mask(key), x @ params, 0.0) - y)

    x, y, w = (np.ones(shape, np.float32) for shape in ((8, 1), (8, 8), (1, 8)))
    return zkjax.trace(loss, optax.sgd(0.1), w, batch=(x, y), key=KEY)


@pytest.mark.parametrize("name", EXACT)
def test_every_number_is_compared_as_jax_does(name):
    """What is exact in float32 comes out as in JAX for each of the 2^23 numbers, compiled or not."""
    mask = EXACT[name]
    eager, compiled = np.asarray(mask(jnp.asarray(U))), np.asarray(jax.jit(mask)(U))
    assert np.array_equal(eager, compiled)
    circuit = traced_mask(lambda key: mask(jax.random.uniform(key, (8, 8))))
    if eager.all() or not eager.any():
        assert not circuit.drawn
        return
    (i,) = circuit.drawn
    below = np.arange(2**23) < circuit.nodes[i].operation.threshold
    assert np.array_equal(eager, below) or np.array_equal(eager, ~below)


UNLIKE = next(p for p in (i / 1000 for i in range(1, 1000)) if np.float32(1) - np.float32(p) != np.float32(1 - p))

ROUNDED = {
    "a factor": (lambda u: u * 10 < 3, "compare jax.random.uniform"),
    "a factor and its inverse": (lambda u: u * 0.1 * 10 < 0.5, "compare jax.random.uniform"),
    "a sum": (lambda u: u - 0.1 < 0.2, "compare jax.random.uniform"),
    "a quotient": (lambda u: u / 3 < 0.2, "compare jax.random.uniform"),
    "minval and maxval": (lambda u: u * 0.5 + 0.2 < 0.3, "compare jax.random.uniform"),
    "twice": (lambda u: u + u < 0.5, "more than one number"),
    "float32 makes another number": (lambda u: u < 1 - jnp.float32(UNLIKE), "compute it in Python or with NumPy"),
    "a function": (lambda u: u < jnp.exp(jnp.float32(-1.0)), "compute it in Python or with NumPy"),
    "many numbers": (lambda u: u < np.linspace(0, 1, 8, dtype=np.float32), "more than one number"),
    "subnormal": (lambda u: u < 1e-40, "compute it in Python or with NumPy"),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_what_float32_rounds_is_not_compared(name):
    mask, told = ROUNDED[name]
    with pytest.raises(UnsupportedOperationError, match=told):
        traced_mask(lambda key: mask(jax.random.uniform(key, (8, 8))))


def test_words_as_floating_point_numbers():
    """Words have 32 bits, of which float32 keeps 24."""
    with pytest.raises(UnsupportedOperationError, match="float32 has rounded"):
        traced_mask(lambda key: jax.random.bits(key, (8, 8)).astype(jnp.float32) < 3e9)
    circuit = traced_mask(lambda key: (jax.random.bits(key, (8, 8)) >> 8).astype(jnp.float32) < 3e6)
    assert [circuit.nodes[i].operation.threshold for i in circuit.drawn] == [3_000_000]


def test_a_probability_that_depends_on_the_step():
    def loss(params, state, x, y, key):
        p = jnp.where(state < 2, 0.3, 0.5)
        return net(lambda h, key: jnp.where(jax.random.uniform(key, h.shape) < p, h, 0))(params, x, y, key), state + 1

    with pytest.raises(UnsupportedOperationError, match="depends on the step; use one number in all steps"):
        zkjax.trace(loss, optax.sgd(1 / 32), PARAMS, state=jnp.zeros((), jnp.int32), batch=SAMPLE, key=KEY, steps=4)


# ---- keys of the program's own -------------------------------------------------------------------------------------------


def splitting(state, x, y):
    """A step that splits the key of its state."""
    key, mine = jax.random.split(state["key"])
    value, gradient = jax.value_and_grad(net(as_haiku))(state["params"], x, y, mine)
    return {"params": jax.tree.map(lambda p, g: p - g / 32, state["params"], gradient), "key": key}, {"loss": value}


def counting(state, x, y, key):
    """A step that folds a counter of its own into a key."""
    value, gradient = jax.value_and_grad(net(as_haiku))(state["params"], x, y, jax.random.fold_in(key, 2 * state["count"]))
    return {"params": jax.tree.map(lambda p, g: p - g / 32, state["params"], gradient), "count": state["count"] + 1}, {"loss": value}


@pytest.mark.parametrize(
    "chosen",
    [
        lambda coin, new, old: jax.lax.cond(coin, lambda: new, lambda: old),
        lambda coin, new, old: jax.tree.map(lambda a, b: jnp.where(coin, a, b), new, old),
        lambda coin, new, old: jax.tree.map(lambda a, b: jnp.where(coin, b, a), new, old),
    ],
)
def test_an_update_that_is_left_out_by_a_coin(chosen):
    """The weights stay exact: only their change is chosen."""

    def step(state, x, y, key):
        gradient = jax.grad(net(lambda h, key: h))(state, x, y, key)
        return chosen(jax.random.bernoulli(key), jax.tree.map(lambda p, g: p - g / 32, state, gradient), state)

    circuit = zkjax.trace_step(step, PARAMS, SAMPLE, key=KEY)
    assert all(exact < 1e-6 and rounded < 0.05 for _, exact, rounded in circuit.comparison.updates)
    assert not circuit.recurrent
    run = zkjax.train(circuit, PARAMS, DATA, steps=STEPS, seed=1)
    own = PARAMS
    for t, rows in enumerate(batches(STEPS)):
        own = step(own, *(x[rows] for x in DATA), jax.random.fold_in(KEY, t))
    assert apart(run.params, own) < 0.05


def by_the_step(step, state, *keys):
    for t, rows in enumerate(batches(STEPS)):
        state, _ = step(state, *(x[rows] for x in DATA), *(jax.random.fold_in(key, t) for key in keys))
    return state


def test_long_tables():
    """Of more steps than a function of NumPy takes arguments."""
    state = {"params": PARAMS, "key": jax.random.key(8)}
    circuit = zkjax.trace_step(splitting, state, SAMPLE, steps=100)
    (i,) = circuit.drawn
    key = state["key"]
    for keys in circuit.nodes[i].operation.keys(0, 100):
        key, mine = jax.random.split(key)
        assert np.array_equal(keys[0], jax.random.key_data(mine))


def test_a_raw_key_that_is_split_needs_no_table():
    def twice(h, key):
        first, second = jax.random.split(key)
        return as_haiku(as_haiku(h, first), second)

    typed, raw = (zkjax.trace(net(twice), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=k) for k in (KEY, jax.random.key_data(KEY)))
    assert typed.digest() == raw.digest() and raw.max_steps is None


def test_a_key_of_which_only_the_shape_is_known():
    state = jax.eval_shape(lambda: {"params": PARAMS, "key": jax.random.key(8)})
    with pytest.raises(DataError, match="give the key itself: it is public"):
        zkjax.trace_step(splitting, state, SAMPLE, steps=4)


@pytest.mark.parametrize("key", [jax.random.key(8), jax.random.PRNGKey(8)], ids=["typed", "raw"])
def test_a_key_in_the_state(key):
    state = {"params": PARAMS, "key": key}
    circuit = zkjax.trace_step(splitting, state, SAMPLE, outputs=("loss",), steps=STEPS + 1)
    run = zkjax.train(circuit, state, DATA, steps=STEPS, seed=1)
    own = by_the_step(splitting, state)
    assert run.state["key"].dtype == key.dtype
    assert np.array_equal(*(jax.random.key_data(x["key"]) for x in (run.state, own)))
    assert apart(run.state["params"], own["params"]) < 0.05
    verify_small(circuit, prove_small(circuit, run))
    other = state | {"key": jax.tree.map(lambda x: x, jax.random.key(6) if key.shape == () else jax.random.PRNGKey(6))}
    with pytest.raises(DataError, match="key is not what the circuit gives where a chain begins"):
        zkjax.train(circuit, other, DATA, steps=STEPS)


def test_a_counter_that_is_folded_in():
    state = {"params": PARAMS, "count": jnp.zeros((), jnp.int32)}
    circuit = zkjax.trace_step(counting, state, SAMPLE, key=KEY, outputs=("loss",), steps=STEPS + 1)
    run = zkjax.train(circuit, state, DATA, steps=STEPS, seed=1)
    assert apart(run.state["params"], by_the_step(counting, state, KEY)["params"]) < 0.05
    with pytest.raises(UnsupportedOperationError, match=r"depends on the step, by count, its key; give .* steps"):
        zkjax.trace_step(counting, state, SAMPLE, key=KEY, outputs=("loss",))


def test_streams_of_nnx():
    """A model that holds its stream of keys, with their count, as nnx's Rngs do."""

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.first, self.last = nnx.Linear(5, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.last(self.dropout(jax.nn.relu(self.first(x))))

    graph, params, rest = nnx.split(Model(nnx.Rngs(0)), nnx.Param, ...)

    def loss(params, rest, x, y):
        model = nnx.merge(graph, params, rest, copy=True)
        value = error(model(x), y)
        return value, nnx.state(model, nnx.Not(nnx.Param))

    circuit = zkjax.trace(loss, optax.sgd(1 / 32), params, state=rest, batch=SAMPLE, steps=STEPS + 1)
    run = zkjax.train(circuit, params, DATA, steps=STEPS, seed=1)
    own, losses = (params, rest), []
    for rows in batches(STEPS):
        (value, after), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(*own, *(x[rows] for x in DATA))
        own = jax.tree.map(lambda p, g: p - g / 32, own[0], gradient), after
        losses.append(float(value))
    assert np.allclose(run.float_losses, losses, rtol=0.02)


# ---- keys while tracing --------------------------------------------------------------------------------------------------


def interpreted(function, *arguments):
    """The constants that a function of constants is."""
    closed = jax.make_jaxpr(function)(*arguments)
    return [x.full().astype(float) for x in interpret(Graph(), closed, [Known.of(np.asarray(x)) for x in arguments], "here")]


@pytest.mark.parametrize(
    "function",
    [
        lambda: jax.random.bits(jax.random.key(3), (2, 3)),
        lambda: jax.random.uniform(jax.random.PRNGKey(3), (4,), minval=-1.0, maxval=3.0),
        lambda: jax.random.bernoulli(jax.random.split(jax.random.key(3), (2, 3))[1, 2], 0.3, (20,)),
        lambda: jax.random.randint(jax.random.fold_in(jax.random.key(3), 2**31), (7,), 0, 100),
        lambda: jax.random.permutation(jax.random.key(3), 9),
        lambda: jax.random.key_data(jax.random.clone(jax.random.wrap_key_data(jnp.array([7, 9], jnp.uint32)))),
        lambda: jax.random.key_data(jnp.where(jnp.arange(2) > 0, jax.random.split(jax.random.key(1)), jax.random.key(2))),
        lambda: jax.vmap(lambda k: jax.random.bits(k, (2,)))(jax.random.split(jax.random.key(8), 3)),
        lambda: jax.random.bits(jax.random.key(-7), ()),
        lambda: jax.lax.bitcast_convert_type(jnp.array([0x3FC00000, 0xC0000000], jnp.uint32), jnp.float32),
    ],
    ids=["bits", "uniform", "bernoulli", "randint", "permutation", "words", "where", "vmap", "negative", "bitcast"],
)
def test_constants_are_those_of_jax(function):
    (found,) = interpreted(function)
    assert np.allclose(found, np.asarray(function(), dtype=float), rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_normal_numbers(seed):
    """Those of jax.random.normal, read off a table at what is drawn, in every step anew."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, (64, 3)).astype(np.float32), rng.uniform(-1, 1, (64, 4)).astype(np.float32)
    params = {"w": (0.5 * rng.standard_normal((3, 4))).astype(np.float32)}

    def loss(p, x, y, key):
        return jnp.mean((x @ p["w"] + jax.random.normal(key, y.shape) - y) ** 2)

    circuit = zkjax.trace(loss, optax.sgd(1 / 4), params, batch=(x[:32], y[:32]), key=jax.random.key(seed), steps=4, chunk=2)
    assert all(off < 4e-3 for _, _, off in circuit.comparison.updates)
    run = zkjax.train(circuit, params, (x, y), steps=2)
    state = jax.tree.map(jnp.asarray, params)
    for t, rows in enumerate(run.indices):
        gradient = jax.grad(loss)(state, x[rows], y[rows], jax.random.fold_in(jax.random.key(seed), t))
        state = jax.tree.map(lambda w, g: w - g / 4, state, gradient)
    assert np.abs(run.params["w"] - state["w"]).max() < 2e-3
    run.chain.geometry = SMALL
    assert verify_small(circuit, prove_small(circuit, run)).steps == 2


REFUSED = [
    (lambda h, key: h + jnp.sin(jax.random.bits(key, h.shape).astype(jnp.int32)), "int32 holds"),
    (lambda h, key: h[jax.random.permutation(key, len(h))], "sort.*random words"),
    (lambda h, key: h * jax.random.gamma(key, 1.0, h.shape), "random_gamma.*use jax.random.bernoulli"),
    (lambda h, key: h * (jax.random.bits(key, h.shape) & 1), "bits of random words; use jax.random.bernoulli"),
    (lambda h, key: jnp.where(jax.random.uniform(key, h.shape) < h, h, 0), None),
    (lambda h, key: jnp.where(jax.random.bernoulli(key, 0.5, h.shape) & (jax.random.uniform(key, h.shape) > 0.1), h, 0), None),
    (lambda h, key: jnp.where(jax.random.bits(key, h.shape, "uint16") > 5, h, 0), "16 bits"),
    (
        lambda h, key: jnp.where(jax.random.uniform(key, h.shape) + jax.random.uniform(jax.random.fold_in(key, 1), h.shape) < 1, h, 0),
        "more than one number",
    ),
    (
        lambda h, key: as_haiku(h, jax.lax.while_loop(lambda k: jax.random.uniform(k) > 0.3, lambda k: jax.random.split(k)[0], key)),
        "'while'.*goes on as long as a draw",
    ),
    (
        lambda h, key: as_haiku(h, jax.lax.cond(jax.random.bernoulli(key), lambda k: k, lambda k: jax.random.fold_in(k, 1), key)),
        "'cond'.*between random keys.*draw from both keys",
    ),
    (lambda h, key: as_haiku(h, jax.random.fold_in(key, jax.random.bits(key))), "on what was drawn; derive keys from keys and counters"),
]


@pytest.mark.parametrize("dropped, told", REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_exact_is_refused_by_name(dropped, told):
    if told is None:  # a comparison with data is one of rounded values, and a product of masks a mask
        zkjax.trace(net(dropped), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY)
        return
    with pytest.raises(UnsupportedOperationError, match=told):
        zkjax.trace(net(dropped), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY)


@pytest.mark.parametrize(
    "key, told",
    [
        (3, "a int"),
        ([1, [2, 3]], "a list"),
        (jax.random.split(KEY), "key<fry>"),
        (np.zeros(2, np.int32), "int32"),
        (jax.ShapeDtypeStruct((), KEY.dtype), "key<fry>"),
    ],
)
def test_what_is_no_key_is_refused(key, told):
    with pytest.raises(DataError, match=told):
        zkjax.trace(net(as_haiku), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=key)


def test_other_kinds_of_keys_are_refused():
    for key in (jax.random.key(1, impl="rbg"), jax.random.key(1, impl="unsafe_rbg")):
        with pytest.raises(UnsupportedOperationError, match="use threefry2x32"):
            zkjax.trace(net(as_haiku), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=key)
    with pytest.raises(UnsupportedOperationError, match="use threefry2x32"):
        zkjax.trace(net(lambda h, key: as_haiku(h, jax.random.key(1, impl="rbg"))), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY)


def with_a_key_of_its_own(h, key):
    return as_haiku(h, jax.random.key(5))


def with_a_raw_key(h, key):
    return as_haiku(h, jax.random.key_data(key))


@pytest.mark.parametrize(
    "setting, value, ways, right",
    [
        (jax.threefry_partitionable, False, (as_haiku, twice), ()),
        (jax.enable_x64, True, (as_haiku,), ()),
        (jax.default_prng_impl, "rbg", (with_a_key_of_its_own, with_a_raw_key), (as_haiku, twice)),
        (jax.enable_custom_prng, True, (), (as_haiku, with_a_key_of_its_own, with_a_raw_key)),
    ],
    ids=["partitionable", "x64", "implementation", "custom"],
)
def test_settings_by_which_jax_draws_otherwise_are_refused(setting, value, ways, right):
    """The user's own program has other masks then than the circuit; where it has the same, the circuit is the same."""
    usual = [zkjax.trace(net(way), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY).digest() for way in right]
    with setting(value):
        assert [zkjax.trace(net(way), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY).digest() for way in right] == usual
        for way in ways:
            with pytest.raises(
                UnsupportedOperationError, match=rf"primitive .* at .*is {value}, by which JAX draws other words.*config.update"
            ):
                zkjax.trace(net(way), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY)
        zkjax.trace(net(lambda h, key: h), optax.sgd(1 / 32), PARAMS, batch=SAMPLE, key=KEY)


def test_a_loss_without_a_key_does_not_take_one():
    with pytest.raises(DataError, match="does not take"):
        zkjax.trace(lambda params, x, y: error(x @ params[0]["w"], y), optax.sgd(0.1), PARAMS, batch=SAMPLE, key=KEY)


def test_a_key_is_no_data_and_no_parameter():
    with pytest.raises((DataError, UnsupportedOperationError)):
        zkjax.trace(net(as_haiku), optax.sgd(0.1), PARAMS, batch=(*SAMPLE, jax.random.split(KEY, BATCH)))
    with pytest.raises(UnsupportedOperationError, match="dtype"):
        zkjax.trace(lambda p, x, y: error(x @ p["w"], y), optax.sgd(0.1), {"w": PARAMS[0]["w"], "k": KEY}, batch=SAMPLE)


def test_calibration_draws_as_training_does():
    found = zkjax.calibrate(net(as_linen), optax.sgd(1 / 32), PARAMS, DATA, batch_size=BATCH, key=KEY, steps=2, chunk=2)
    assert found.within and len(found.circuit.drawn) == 1
