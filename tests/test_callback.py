"""What a step returns besides its state reaches the trainer's callback, in floating point and unproven."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import data_for, mlp_loss, mlp_params

import zkjax
from zkjax.errors import DataError
from zkjax.protocol.schedule import batch_indices

DIMS, BATCH, STEPS = (5, 4, 3), 4, 20  # past the end of a period
PARAMS, DATA = mlp_params(DIMS), data_for(DIMS)
SAMPLE = tuple(x[:BATCH] for x in DATA)
OPTIMIZER = optax.sgd(optax.linear_schedule(1 / 16, 1 / 64, STEPS), momentum=0.5)
KEY = jax.random.key(5)


def batches():
    return [tuple(x[rows] for x in DATA) for rows in batch_indices(1, len(DATA[0]), None, BATCH, 0, STEPS)]


def told_by(train):
    """(steps, outputs) that ``train(callback)`` hands on."""
    found = []
    train(lambda step, outputs: found.append((step, outputs)))
    return [step for step, _ in found], [outputs for _, outputs in found]


def step(state, x, y, key):
    params, kept, mean, split = state
    mine, split = jax.random.split(split)
    value, gradient = jax.value_and_grad(mlp_loss)(params, x, y)
    updates, kept = OPTIMIZER.update(gradient, kept, params)
    after = optax.apply_updates(params, updates)
    told = {"loss": value, "norm": jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))), "count": kept[1].count}
    told |= {"drawn": jax.random.uniform(key), "mine": jax.random.uniform(mine), "mean": mean[0]["w"], "first": x[:, 0]}
    return (after, kept, jax.tree.map(lambda m, p: 0.75 * m + 0.25 * p, mean, params), split), told


def test_all_that_a_step_returns():
    """Of a state with moments and averages that are rounded in periods, a counter and a key; across runs."""
    state = PARAMS, OPTIMIZER.init(PARAMS), PARAMS, jax.random.key(3)
    circuit = zkjax.trace_step(step, state, SAMPLE, key=KEY, outputs=("loss",), steps=STEPS)
    runs = []

    def train(callback):
        runs.extend(zkjax.chunks(circuit, state, DATA, steps=STEPS, chunk=8, seed=1, callback=callback))

    steps, told = told_by(train)
    assert steps == list(range(STEPS)) and len(runs) == 3
    exact = np.concatenate([run.outputs["loss"] for run in runs])
    assert np.allclose([x["loss"] for x in told], exact, rtol=0.02)
    own = state
    for t, batch in enumerate(batches()):
        own, expected = step(own, *batch, jax.random.fold_in(KEY, t))
        assert set(told[t]) == set(expected) and all(type(told[t][name]) is float for name in ("loss", "norm", "drawn", "mine"))
        for name in ("drawn", "mine", "count"):
            assert told[t][name] == expected[name].item(), (t, name)
        for name in ("loss", "norm", "mean"):
            assert np.allclose(told[t][name], expected[name], rtol=0.05, atol=0.01), (t, name)
        assert isinstance(told[t]["first"], np.ndarray) and np.abs(told[t]["first"] - expected["first"]).max() < 0.01


def test_the_auxiliary_output_of_a_loss():
    def loss(params, x, y):
        return mlp_loss(params, x, y), {"least": jnp.min(x), "error": jnp.sort((x @ params[0]["w"])[:, 0])}  # whatever no circuit can

    circuit = zkjax.trace(loss, OPTIMIZER, PARAMS, batch=SAMPLE, has_aux=True, steps=STEPS)
    run = []
    steps, told = told_by(lambda callback: run.append(zkjax.train(circuit, PARAMS, DATA, steps=3, seed=1, callback=callback)))
    assert steps == [0, 1, 2] and np.allclose([x["loss"] for x in told], run[0].float_losses, rtol=0.02)
    for outputs, batch in zip(told, batches()):
        assert abs(outputs["aux"]["least"] - batch[0].min()) < 0.01 and outputs["aux"]["error"].shape == (BATCH,)


def test_a_loss_without_auxiliary_output_and_a_step_that_returns_a_number():
    circuit = zkjax.trace(mlp_loss, optax.sgd(1 / 32), PARAMS, batch=SAMPLE)
    _, told = told_by(lambda callback: zkjax.train(circuit, PARAMS, DATA, steps=1, callback=callback))
    assert [set(x) for x in told] == [{"loss"}]

    def number(params, x, y):
        value, gradient = jax.value_and_grad(mlp_loss)(params, x, y)
        return jax.tree.map(lambda p, g: p - g / 32, params, gradient), value

    circuit = zkjax.trace_step(number, PARAMS, SAMPLE)
    _, again = told_by(lambda callback: zkjax.train(circuit, PARAMS, DATA, steps=1, callback=callback))
    assert again == [{"outputs": told[0]["loss"]}]


def test_training_is_the_same_and_a_callback_may_stop_it():
    circuit = zkjax.trace(mlp_loss, OPTIMIZER, PARAMS, batch=SAMPLE, steps=STEPS)
    runs = [zkjax.train(circuit, PARAMS, DATA, steps=4, callback=callback) for callback in (None, lambda *_: None)]
    assert all(np.array_equal(a, b) for a, b in zip(*(run.final for run in runs), strict=True))
    with pytest.raises(KeyboardInterrupt):
        zkjax.train(circuit, PARAMS, DATA, steps=4, callback=lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))


def test_a_circuit_from_a_file_or_another_process_knows_no_step_of_the_users(tmp_path):
    circuit = zkjax.trace(mlp_loss, optax.sgd(1 / 32), PARAMS, batch=SAMPLE)
    circuit.save(tmp_path / "circuit.json")
    for other in (zkjax.Circuit.load(tmp_path / "circuit.json"), pickle.loads(pickle.dumps(circuit))):
        assert other == circuit and other.digest() == circuit.digest()
        with pytest.raises(DataError, match="trace the step again"):
            zkjax.train(other, PARAMS, DATA, steps=1, callback=print)
    assert copy.deepcopy(circuit).own is circuit.own
