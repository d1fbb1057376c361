"""Calibration: the coarsest formats that follow float training, with room for every value that it reaches."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import data_for, mlp_loss, mlp_params

import zkjax
from zkjax import calibration
from zkjax.errors import DataError, PrecisionError

DIMS = (4, 6, 2)
PARAMS, DATA = mlp_params(DIMS), data_for(DIMS, samples=40)


def calibrated(**options):
    options = {"optimizer": optax.sgd(1 / 8), "params": PARAMS, "data": DATA, "batch_size": 8, "steps": 4, "chunk": 4} | options
    return zkjax.calibrate(mlp_loss, options.pop("optimizer"), options.pop("params"), options.pop("data"), **options)


def float_training(run, rate):
    params = jax.tree.map(jnp.asarray, PARAMS)
    for rows in run.indices:
        gradient = jax.grad(mlp_loss)(params, *(x[rows] for x in DATA))
        params = jax.tree.map(lambda p, g: p - rate * g, params, gradient)
    return params


def distance(a, b):
    return np.sqrt(sum(float(((np.asarray(x, dtype=float) - y) ** 2).sum()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b))))


def test_the_coarsest_formats_within_the_tolerance():
    found = calibrated(tolerance=0.008)
    *coarser, chosen = found.trials
    assert found.within and coarser and chosen.precision == found.precision
    assert all(x.distance > 0.008 >= chosen.distance for x in coarser)
    assert all(x.cost <= chosen.cost for x in coarser)
    run = zkjax.train(found.circuit, PARAMS, DATA, steps=4, seed=0)
    reference = float_training(run, 1 / 8)
    assert chosen.distance == pytest.approx(distance(run.params, reference) / distance(PARAMS, reference), rel=1e-3)
    rescaled = [x for x in found.roundings if x.name.startswith("[")]
    assert [x.name for x in rescaled] == [f"[{found.circuit.nodes[i].label}]" for i in found.circuit.rounded]
    assert all(0 < x.largest <= x.bound / 3.9 and x.cost > 0 and 0 < x.error < 0.1 for x in rescaled)  # two bits of room, but for rounding
    assert "proposed" in str(found) and "<script" not in found._repr_html_()


def test_the_proposal_leaves_nothing_open():
    """An auditor who has shapes only traces the same circuit."""
    found = calibrated()
    assert None not in vars(found.precision).values()
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (PARAMS, tuple(x[:8] for x in DATA)))
    assert zkjax.trace(mlp_loss, optax.sgd(1 / 8), shapes[0], batch=shapes[1], precision=found.precision).digest() == found.circuit.digest()


def test_values_that_only_later_steps_reach():
    """Where the first batch is small, formats chosen from it are too narrow for the others."""
    x, y = DATA
    order = np.argsort(np.abs(x).max(axis=1))
    data = (np.concatenate([x[order] * 0.01, x[order] * 100]), np.concatenate([y[order], y[order]]))
    options = {"optimizer": optax.sgd(2.0**-14), "data": data, "steps": 9, "tolerance": 0.2}
    found = calibrated(**options)
    narrow = zkjax.trace(mlp_loss, options["optimizer"], PARAMS, batch=tuple(a[:8] for a in data))
    with pytest.raises((DataError, PrecisionError)):
        zkjax.train(narrow, PARAMS, data, steps=9)
    zkjax.train(found.circuit, PARAMS, data, steps=9)


def test_no_candidate_is_close_enough(monkeypatch):
    monkeypatch.setattr(calibration, "FINEST_SCALE", 7)
    found = calibrated(tolerance=1e-9, precision=zkjax.Precision(gradient_bits=6, rate_tolerance=0.0))
    assert not found.within and "NO CANDIDATE" in str(found)
    assert found.precision.gradient_bits == 6
    usable = [x for x in found.trials if not x.problem]
    assert found.precision == min(usable, key=lambda x: x.distance).precision


def test_a_schedule():
    found = calibrated(optimizer=optax.sgd(optax.linear_schedule(1 / 8, 1 / 64, 4)))
    assert found.within and found.circuit.max_steps == 4


def own_step(optimizer):
    """A step of the user's own over (params, optimizer's state)."""

    def step(state, x, y):
        params, kept = state
        value, gradient = jax.value_and_grad(mlp_loss)(params, x, y)
        updates, kept = optimizer.update(gradient, kept, params)
        return (optax.apply_updates(params, updates), kept), {"loss": value}

    return step, (PARAMS, optimizer.init(PARAMS))


def test_a_step_of_the_users_own_is_calibrated():
    """It finds what the loss and the optimizer of the same training find, and an auditor needs shapes only."""
    optimizer = optax.sgd(1 / 16, momentum=0.9)
    step, state = own_step(optimizer)
    options = {"batch_size": 8, "steps": 4, "chunk": 4}
    found = zkjax.calibrate_step(step, state, DATA, outputs=("loss",), **options)
    same = calibrated(optimizer=optimizer)
    assert [(x.distance, x.loss_distance, x.chain) for x in found.trials] == [(x.distance, x.loss_distance, x.chain) for x in same.trials]
    silent = zkjax.calibrate_step(step, state, DATA, **options)
    assert silent.within and [x.loss_distance for x in silent.trials] == [0.0] * len(silent.trials)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (state, tuple(x[:8] for x in DATA)))
    again = zkjax.trace_step(step, state, shapes[1], outputs=("loss",), precision=found.precision, chunk=4)
    assert again.digest() == found.circuit.digest()


def test_a_model_with_a_state_is_calibrated():
    def centred(params, mean, x, y):
        new = 0.9 * mean + 0.1 * x.mean(axis=0)
        return mlp_loss(params, x - mean, y), new

    found = zkjax.calibrate(centred, optax.sgd(1 / 8), PARAMS, DATA, batch_size=8, steps=4, chunk=4, state=np.full(4, 0.25, np.float32))
    assert found.within and any(p.path == "state/" for p in found.circuit.parameters)


def test_a_program_without_data_is_calibrated():
    def fit(params):
        return jnp.mean((DATA[0] @ params - DATA[1]) ** 2)

    found = zkjax.calibrate(fit, optax.sgd(1 / 8), np.zeros((4, 2), np.float32), (), batch_size=1, steps=4, chunk=4)
    assert found.within and zkjax.train(found.circuit, np.zeros((4, 2), np.float32), (), steps=4).steps == 4


def test_the_length_of_a_chain_is_told_and_asked_for():
    found = calibrated()
    length = next(x.chain for x in found.trials if x.precision == found.precision)
    assert length == found.circuit.longest_chain(read_bounds(found.circuit)).steps and f"{length:,}" in str(found)
    for chain, lasts in ((length, True), (length + 1, False)):
        again = calibrated(chain=chain)
        assert again.trials[-1].lasts == lasts and ("SHORTER THAN WHAT WAS ASKED FOR" in str(again)) != lasts
    for trial in found.trials:  # and what ends it, candidate by candidate
        assert trial.limit.endswith(f"in step {trial.chain}") and f"with {trial.precision.activation_scale}, {trial.limit}" in str(found)


def read_bounds(circuit):
    """What the first proof of a chain will show of the weights."""
    run = zkjax.train(circuit, PARAMS, DATA, steps=1)
    return run.initial_bound


def test_misuse():
    with pytest.raises(DataError, match="batch_size is 0"):
        calibrated(batch_size=0)
    with pytest.raises(DataError, match="give a tuple of arrays"):
        calibrated(data=DATA[0])
    with pytest.raises(DataError, match="diverges at step"):
        calibrated(data=(DATA[0] * 1e9, DATA[1]))
    with pytest.raises(PrecisionError, match="none of the formats.*use fewer bits in the formats"):
        calibrated(precision=zkjax.Precision(table_bits=4))


def test_ranges_hold_what_a_chain_reaches():
    """A hidden layer that grows from 0.1 to 20 in 32 steps, of which two are tried: a chain of so many steps has room for it."""
    x, y = np.ones((8, 1), np.float32), np.full((8, 1), 1600, np.float32)
    params = {"a": np.full((1, 4), 0.1, np.float32), "b": np.full((4, 1), 0.1, np.float32)}

    def loss(p, x, y):
        return jnp.mean((x @ p["a"] @ p["b"] - y) ** 2)

    def bound(chain):
        found = zkjax.calibrate(loss, optax.sgd(1e-4), params, (x, y), batch_size=8, steps=2, chain=chain)
        form = found.precision.tensors["a forward"]
        return 2.0 ** (form.bits - form.scale)

    assert bound(2) < 20 < bound(32) / 2


def test_half_a_chain_counts_before_closeness():
    """Where no candidate is close enough: formats that end a chain at once are of no use."""
    task, precision = SimpleNamespace(chain=200), zkjax.Precision()
    short, long, endless = (calibration.Trial(precision, distance=d, chain=c) for d, c in ((0.1, 19), (0.2, 189), (0.3, None)))
    order = sorted((short, endless, long), key=lambda x: calibration._Task.worse(task, x))
    assert order == [long, endless, short]
    assert min((short, long), key=lambda x: calibration._Task.worse(SimpleNamespace(chain=None), x)) is short
