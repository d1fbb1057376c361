"""Exact training: bit by bit the plain-Python reference, close to float training, and honest about its ranges."""

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.nn import relu

from tests.reference import mlp_integers
from zkjax import exact
from zkjax.config import Precision
from zkjax.errors import DataError, PrecisionError, RunError
from zkjax.kernels.integers import evaluate_step
from zkjax.schedule import batch_indices
from zkjax.tracing import trace
from zkjax.training import Dataset, Run, chunks, train


def mlp(dims, bias, seed=0):
    rng = np.random.default_rng(seed)
    params = [{"w": (rng.standard_normal((a, b)) / np.sqrt(a)).astype(np.float32)} for a, b in zip(dims, dims[1:], strict=False)]
    if bias:
        params = [{**p, "b": rng.uniform(-0.2, 0.2, p["w"].shape[1]).astype(np.float32)} for p in params]

    def loss(params, x, y):
        for i, p in enumerate(params):
            x = x @ p["w"] + (p["b"] if bias else 0)
            x = relu(x) if i < len(params) - 1 else x
        return 0.5 * jnp.mean(jnp.sum((x - y) ** 2, axis=-1))

    return params, loss


def dataset(dims, samples=12, seed=0):
    rng = np.random.default_rng([seed, samples])
    return rng.uniform(-1, 1, (samples, dims[0])).astype(np.float32), rng.uniform(-1, 1, (samples, dims[-1])).astype(np.float32)


SHAPES = [
    ((5, 6, 4, 3), True, 4, 5),
    ((5, 6, 4, 3), False, 4, 3),
    ((3, 2), True, 5, 3),
    ((7, 9, 5, 5, 2), True, 3, 2),
    ((4, 3, 2), False, 1, 6),
    ((4, 3, 2), True, 1, 1),
    ((1, 1, 1), True, 2, 3),
]


@pytest.mark.parametrize("dims, bias, batch, steps", SHAPES)
@pytest.mark.parametrize("rate", [1 / 16, 3 / 64])
def test_equals_the_python_reference(dims, bias, batch, steps, rate):
    params, loss = mlp(dims, bias)
    data = dataset(dims)
    circuit = trace(loss, optax.sgd(rate), params, batch=tuple(x[:batch] for x in data), precision=Precision(gradient_scale=12))
    run = train(circuit, params, data, steps=steps, seed=3)
    witness = run.witness()

    # the recipe, from the documented formats alone: w = a + g + lb, the error's constant is 1 / batch
    fraction = Fraction(rate)
    a, g, lb = 8, 12, fraction.denominator.bit_length() - 1
    w = a + g + lb
    assert circuit.weight_scale == w
    factor, cb = {1: (1, 0), 2: (1, 1), 4: (1, 2), 3: (2731, 13), 5: (3277, 14)}[batch]
    arrays = [x.tolist() for x in run.initial]
    weights = arrays[1::2] if bias else arrays
    biases = arrays[0::2] if bias else None
    forward, backward = len(dims) - 2, len(dims) - 2
    rescales, gates, signs = circuit.of("rescale"), circuit.of("gate"), circuit.of("sign")
    for t, index in enumerate(run.indices):
        x, y = ([[int(np.floor(v * 256 + 0.5)) for v in row] for row in array[index].astype(float)] for array in data)
        weights, biases, step = mlp_integers.train_step(
            weights,
            biases,
            x,
            y,
            activation_scale=a,
            weight_scale=w,
            error_shift=a + w + cb - g,
            error_factor=factor,
            rate=fraction.numerator,
        )
        quotients = [*step["y"], step["G"][-1], *step["h"][::-1]]
        assert [witness.values[i][t].tolist() for i in rescales] == quotients
        assert [witness.values[i][t].tolist() for i in signs] == step["m"]
        assert [witness.values[i][t].tolist() for i in gates] == [*step["A"][1:], *step["G"][:-1][::-1]]
        assert [witness.values[i][t].tolist() for i in circuit.of("input")] == [x, y]
        assert run.loss_integers[t] == (step["loss"],)
    assert forward == backward == len(signs) and len(rescales) == forward + 1 + backward
    final = [x.tolist() for x in run.final]
    assert (final[1::2] if bias else final) == weights
    assert not bias or final[0::2] == biases
    for i in rescales:
        r, shift = witness.remainders[i], circuit.nodes[i]["shift"]
        assert r.dtype == np.int64 and (r >= 0).all() and (r < 2**shift).all()


def test_close_to_flax_and_optax_in_float():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Linear(12, 16, rngs=rngs), nnx.Linear(16, 4, rngs=rngs)

        def __call__(self, x):
            return self.b(relu(self.a(x)))

    graph, params = nnx.split(Net(nnx.Rngs(0)))

    def loss(params, x, y):
        return jnp.mean(optax.losses.squared_error(nnx.merge(graph, params)(x), y))

    data = dataset((12, 4), samples=64)
    optimizer = optax.sgd(optax.cosine_decay_schedule(0.25, 40))
    circuit = trace(loss, optimizer, params, batch=tuple(x[:8] for x in data), steps=40)
    run = train(circuit, params, data, steps=40)
    state, losses = optimizer.init(params), []
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    for index in run.indices:
        value, gradients = value_and_grad(params, *(jnp.asarray(x[index]) for x in data))
        updates, state = optimizer.update(gradients, state)
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    np.testing.assert_allclose(run.float_losses, losses, atol=5e-3)
    assert jax.tree.structure(run.params) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(run.params), jax.tree.leaves(params), strict=True):
        assert a.dtype == b.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=2e-2)
    assert run.losses[-1] < run.losses[0]


@pytest.fixture(scope="module")
def small():
    dims = (5, 6, 3)
    params, loss = mlp(dims, True)
    data = dataset(dims)
    return trace(loss, optax.sgd(1 / 16), params, batch=tuple(x[:4] for x in data)), params, data


def test_chunks_are_nearly_equal_and_continue_exactly(small):
    circuit, params, data = small
    whole = train(circuit, params, data, steps=11, seed=5, shard_size=5)
    runs = list(chunks(circuit, params, data, steps=11, chunk=4, seed=5, shard_size=5))
    assert [r.steps for r in runs] == [3, 4, 4] and [r.first_step for r in runs] == [0, 3, 7]
    assert all((a == b).all() for a, b in zip(runs[-1].final, whole.final, strict=True))
    assert sum((r.losses for r in runs), []) == whole.losses
    for a, b in zip(runs, runs[1:], strict=False):
        assert b.initial is a.final and b.initial_bound == a.final_bound and b.coarse_shifts is None
        b.witness()


def test_ninety_by_sixteen_is_six_times_fifteen(small):
    circuit, params, data = small
    assert [r.steps for r in chunks(circuit, params, data, steps=90, chunk=16)] == [15] * 6


def test_initial_weights_are_coarse(small):
    circuit, params, data = small
    run = train(circuit, params, data, steps=1)
    for x, s, bound, leaf in zip(run.initial, run.coarse_shifts, run.initial_bound, jax.tree.leaves(params), strict=True):
        v = x >> s
        assert (v << s == x).all() and (abs(v) < 2 ** (circuit.table_bits - 1)).all()
        assert bound == 2 ** (s + circuit.table_bits - 1)
        assert s == 0 or abs(v).max() >= 2 ** (circuit.table_bits - 2)  # the least shift that fits
        np.testing.assert_allclose(x * 2.0**-circuit.weight_scale, leaf, atol=2.0 ** (s - circuit.weight_scale))
    assert all((abs(x) <= b).all() for x, b in zip(run.final, run.final_bound, strict=True))


def test_values_stay_within_the_derived_bounds(small):
    circuit, params, data = small
    run = train(circuit, params, data, steps=3)
    bounds = circuit.bounds(run.initial_bound, 3)
    with jax.enable_x64(True):
        values = evaluate_step(circuit, run.initial, [x[run.indices[0]] for x in run.data.arrays], exact.plan(circuit, bounds.nodes))
    assert all(int(abs(np.asarray(values[i])).max()) <= bounds.nodes[i] for i in range(len(circuit.nodes)))


def test_numpy_and_jax_evaluate_alike(small):
    circuit, params, data = small
    run = train(circuit, params, data, steps=1)
    limbs = exact.plan(circuit, circuit.bounds(run.initial_bound, 1).nodes)
    values = exact.evaluate(circuit, limbs, run.initial, [x[run.indices[0]] for x in run.data.arrays])
    rates = [u.rate(0) for p in circuit.parameters for u in p.updates]
    assert all((a == b).all() for a, b in zip(exact.update(circuit, run.initial, values, rates), run.final, strict=True))


def test_schedule_and_progress(small):
    circuit, params, data = small
    seen = []
    run = train(circuit, params, data, steps=3, seed=9, progress=lambda *a: seen.append(a))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert (run.indices == batch_indices(9, 12, None, 4, 0, 3)).all()


def test_repeated_samples_and_frozen_parameters():
    def loss(p, x):
        return jnp.mean((relu(x @ jax.lax.stop_gradient(p["a"])) @ p["b"]) ** 2)

    params = {"a": np.eye(2, dtype=np.float32), "b": np.float32([[0.5], [0.25]])}
    data = (np.float32([[0.5, 0.25]] * 4),)
    circuit = trace(loss, optax.sgd(1 / 8), params, batch=data)
    run = train(circuit, params, data, steps=2)
    assert (run.final[0] == run.initial[0]).all() and (run.final[1] != run.initial[1]).all()
    assert run.final_bound[0] == run.initial_bound[0]


def test_data_is_validated(small):
    circuit, params, (x, y) = small
    spoiled = x.copy()
    spoiled[7, 2] = np.nan
    large = x.copy()
    large[5, 1] = -1e30
    for data, message in (
        ((x,), "2 arrays"),
        (x, "2 arrays"),
        ((x[:, :4], y), r"'x' has shape \(12, 4\)"),
        ((x, y[:11]), "11 samples"),
        ((x.astype(complex), y), "dtype complex"),
        ((spoiled, y), "sample 7.*finite"),
        ((large, y), "sample 5.*outside.*data_bits"),
        ((x[:3], y[:3]), "do not fill"),
    ):
        with pytest.raises(DataError, match=message):
            train(circuit, params, data, steps=1)
    with pytest.raises(DataError, match="steps"):
        train(circuit, params, (x, y), steps=0)
    with pytest.raises(DataError, match="chunk"):
        next(chunks(circuit, params, (x, y), steps=4, chunk=0))
    with pytest.raises(DataError, match="parameters"):
        train(circuit, params[:1], (x, y), steps=1)
    with pytest.raises(DataError, match="finite"):
        train(circuit, jax.tree.map(lambda p: p * np.inf, params), (x, y), steps=1)
    with pytest.raises(DataError, match="shape"):
        train(circuit, jax.tree.map(lambda p: p[..., None], params), (x, y), steps=1)


def test_rounding_of_data_is_half_up(small):
    circuit, params, (x, y) = small
    x = x.copy()
    x[0, :4] = np.float32([0.5, -0.5, 1.5, -1.5]) / 256
    assert Dataset.of(circuit, (x, y)).arrays[0][0, :4].tolist() == [1, 0, 2, -1]


def test_going_on_with_something_else_is_refused(small):
    circuit, params, (x, y) = small
    run = train(circuit, params, (x, y), steps=2)
    other = trace(mlp((5, 6, 3), True)[1], optax.sgd(1 / 32), params, batch=(x[:4], y[:4]))
    for arguments, message in (
        ((other, run, (x, y)), "another circuit"),
        ((circuit, run, (x + 0.5, y)), "other data"),
    ):
        with pytest.raises(RunError, match=message):
            train(*arguments, steps=1)
    with pytest.raises(RunError, match="seed 0"):
        train(circuit, run, None, steps=1, seed=1)
    with pytest.raises(RunError, match="shards"):
        train(circuit, run, None, steps=1, shard_size=3)
    assert dataclasses.replace(run, kept=None).witness().values.keys() == run.witness().values.keys()
    altered = dataclasses.replace(run, final=tuple(v + 1 for v in run.final), kept=None)
    with pytest.raises(RunError, match="altered"):
        altered.witness()


def test_run_without_a_template_names_its_parameters(small):
    circuit, params, data = small
    run: Run = dataclasses.replace(train(circuit, params, data, steps=1), template=None)
    assert list(run.params) == ["0/b", "0/w", "1/b", "1/w"]


def test_value_out_of_range_names_step_and_setting():
    params, loss = mlp((3, 4, 2), False)
    x, y = dataset((3, 2), samples=8)
    circuit = trace(loss, optax.sgd(1 / 8), params, batch=(x[:2], y[:2]), precision=Precision(gradient_scale=12, gradient_bits=9))
    with pytest.raises(PrecisionError, match=r"step \d+: operation \d+ rescale \[1/w error\].*outside \[-512, 512\).*gradient_bits"):
        train(circuit, params, (x, y), steps=8)


def test_gated_off_quotients_are_named():
    """A backward quotient must fit its format even where the ReLU is off."""

    def loss(p, x):
        return jnp.sum(relu(x @ p["a"] - 4) * 0 + (relu(x @ p["a"] - 4) @ p["b"] - 1) ** 2)

    params = {"a": np.float32([[0.1, 0.1]]), "b": np.float32([[64], [64]])}
    data = (np.float32([[0.5]]),)
    circuit = trace(loss, optax.sgd(1 / 8), params, batch=data, precision=Precision(gradient_bits=6, gradient_scale=4))
    with pytest.raises(PrecisionError, match="mask is 0"):
        train(circuit, params, data, steps=1)


def test_users_precision_is_left_alone(small):
    circuit, params, data = small
    run = train(circuit, params, data, steps=1)
    assert not jax.config.jax_enable_x64 and all(p.dtype == jnp.float32 for p in jax.tree.leaves(run.params))
