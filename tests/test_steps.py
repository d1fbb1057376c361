"""Training steps of the user's own: states of any kind, outputs, counters; traced, trained, continued, proven."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState
from harness import BITS, prove_small, verify_small
from reference import verifier as reference
from test_optimizers import BATCH, KERNELS, PARAMS, X, Y, distance, loss, trained_by_optax

import zkjax
from zkjax.errors import DataError, RunError, UnsupportedOperationError

STEPS = 10
FINE = zkjax.Precision(activation_scale=10, period=4)


def forward(params, x):
    h = jax.nn.relu(x @ params["in"]["w"] + params["in"]["b"])
    return h @ params["out"]["w"] + params["out"]["b"]


def with_train_state(optimizer):
    def step(state, x, y):
        def own_loss(params):
            out = state.apply_fn(params, x)
            return optax.squared_error(out, y).sum(-1).mean(), out

        (value, out), gradients = jax.value_and_grad(own_loss, has_aux=True)(state.params)
        return state.apply_gradients(grads=gradients), {"loss": value, "mean": out.mean(), "text": out}

    return jax.jit(step), TrainState.create(apply_fn=forward, params=PARAMS, tx=optimizer)


def with_averages(optimizer):
    """(parameters, optimizer state, average of the weights, a counter that switches the average on)."""

    def step(state, x, y):
        params, kept, average, count = state
        value, gradients = jax.value_and_grad(loss)(params, x, y)
        updates, kept = optimizer.update(gradients, kept, params)
        params = optax.apply_updates(params, updates)
        decay = jnp.where(count < 3, 0.0, 0.75)
        average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, params)
        return (params, kept, average, count + 1), {"loss": value}

    return step, (PARAMS, optimizer.init(PARAMS), PARAMS, jnp.int32(0))


def with_target(optimizer):
    """A target network that is copied every third step, by a condition on a counter; its outputs are what is learnt."""

    def step(state, x, y):
        params, target, kept, count = state
        value, gradients = jax.value_and_grad(lambda p: jnp.mean((forward(p, x) - 0.5 * forward(target, x) - y) ** 2))(params)
        updates, kept = optimizer.update(gradients, kept, params)
        params = optax.apply_updates(params, updates)
        target = jax.lax.cond(count % 3 == 2, lambda: params, lambda: target)
        return (params, target, kept, count + 1), {"loss": value}

    return step, (PARAMS, PARAMS, optimizer.init(PARAMS), jnp.int32(0))


def with_lookahead(optimizer):
    lookahead = optax.lookahead(optimizer, sync_period=3, slow_step_size=0.5)
    params = optax.LookaheadParams.init_synced(PARAMS)

    def step(state, x, y):
        params, kept = state
        value, gradients = jax.value_and_grad(loss)(params.fast, x, y)
        updates, kept = lookahead.update(gradients, kept, params)
        return (optax.apply_updates(params, updates), kept), {"loss": value}

    return step, (params, lookahead.init(params))


def two_optimizers(_):
    """Kernels and biases with optimizers of their own, two updates in a step."""
    first, second = optax.masked(optax.sgd(0.05, momentum=0.9), KERNELS), optax.sgd(0.02)

    def step(state, x, y):
        params, kept = state["params"], state["opt_state"]
        value, gradients = jax.value_and_grad(loss)(params, x, y)
        gradients, one = first.update(gradients, kept[0], params)
        updates, two = second.update(gradients, kept[1], params)
        return {"params": optax.apply_updates(params, updates), "opt_state": (one, two)}, {"loss": value}

    return step, {"params": PARAMS, "opt_state": (first.init(PARAMS), second.init(PARAMS))}


MOMENTUM = optax.sgd(0.05, momentum=0.9)
STEPS_OF_USERS = {
    "TrainState": (with_train_state, MOMENTUM),
    "TrainState, schedule": (with_train_state, optax.sgd(optax.linear_schedule(0.05, 0.01, STEPS), momentum=0.9)),
    "averages": (with_averages, MOMENTUM),
    "lookahead": (with_lookahead, MOMENTUM),
    "target": (with_target, optax.sgd(0.05)),
    "two optimizers": (two_optimizers, None),
}


def traced(name, **options):
    make, optimizer = STEPS_OF_USERS[name]
    step, state = make(optimizer)
    return zkjax.trace_step(step, state, (X[:BATCH], Y[:BATCH]), **({"steps": STEPS, "chunk": 8, "precision": FINE} | options)), step, state


def by_jax(step, state, rows_of_steps):
    outputs = []
    for rows in rows_of_steps:
        state, found = step(state, X[rows], Y[rows])
        outputs.append(float(found["loss"]))
    return state, outputs


def floats(state):
    return [np.asarray(x, float) for x in jax.tree.leaves(state) if jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating)]


@pytest.mark.parametrize("name", STEPS_OF_USERS)
def test_it_trains_as_jax_does(name):
    circuit, step, state = traced(name, outputs=("loss",))
    run = zkjax.train(circuit, state, (X, Y), steps=STEPS)
    after, losses = by_jax(step, state, run.indices)
    assert jax.tree.structure(run.state) == jax.tree.structure(after)
    assert [x.dtype for x in jax.tree.leaves(run.state)] == [jnp.asarray(x).dtype for x in jax.tree.leaves(after)]
    np.testing.assert_allclose(run.outputs["loss"], losses, rtol=0.05)
    for found, wanted, first in zip(floats(run.state), floats(after), floats(state), strict=True):
        assert np.linalg.norm(found - wanted) <= 0.05 * np.linalg.norm(wanted - first) + 2e-3
    for found, wanted in zip(jax.tree.leaves(run.state), jax.tree.leaves(after), strict=True):
        if not jnp.issubdtype(found.dtype, jnp.floating):
            assert (found == wanted).all()


def test_a_chain_with_outputs_is_proven(tmp_path):
    circuit, step, state = traced("TrainState, schedule", outputs=("mean", "loss"))
    assert circuit.outputs == ("mean", "loss")
    first, second = zkjax.chunks(circuit, state, (X, Y), steps=8, chunk=4)
    first.save(tmp_path / "run")
    proofs = [prove_small(circuit, first, reveal=("loss",)), prove_small(circuit, second, reveal=("mean",))]
    verify_small(circuit, proofs)
    reference.verify_chain(circuit.to_json(), [bytes(p) for p in proofs], minimum_bits=BITS)
    revealed = proofs[1].statement.losses
    found = [circuit.exact_loss([x and x[t] for x in revealed], "mean") for t in range(4)]
    np.testing.assert_allclose([float(v) for v in found], second.outputs["mean"])
    assert any(x is None for x in revealed) and int(second.state.step) == 8
    loaded = zkjax.Run.load(tmp_path / "run")
    assert int(loaded.state["step"]) == 4 and set(loaded.state) == {"step", "params", "opt_state"}
    with pytest.raises(zkjax.ConfigurationError, match=r"reveal is \('accuracy',\); it is a tuple of names from \('mean', 'loss'\)"):
        zkjax.prove(circuit, first, reveal=("accuracy",))


def test_a_state_given_by_the_circuit_is_not_the_users_choice():
    circuit, _, state = traced("TrainState")
    assert [x.path for x in circuit.public] == ["step"]
    other = state.replace(opt_state=jax.tree.map(lambda x: x + 1, state.opt_state))
    with pytest.raises(DataError, match="opt_state/0/trace/in/b is not what the circuit gives where a chain begins"):
        zkjax.train(circuit, other, (X, Y), steps=1)
    with pytest.raises(DataError, match="step is not what the circuit gives"):
        zkjax.train(circuit, state.replace(step=7), (X, Y), steps=1)
    with pytest.raises(DataError, match="params holds 4 arrays, the circuit has 8 parameters|give the pytree that was traced"):
        zkjax.train(circuit, (*PARAMS.values(), np.float32(1)), (X, Y), steps=1)


def test_counters_beyond_the_traced_steps():
    def step(state, x, y):
        params, count, doubled = state
        return (jax.tree.map(lambda p, g: p - 0.05 * g, params, jax.grad(loss)(params, x, y)), count + 1, doubled * 2), {}

    circuit = zkjax.trace_step(step, (PARAMS, jnp.int32(0), jnp.int32(1)), (X[:BATCH], Y[:BATCH]), steps=3)
    run = zkjax.train(circuit, (PARAMS, 0, 1), (X, Y), steps=3)
    assert [int(v) for v in run.state[1:]] == [3, 8]
    with pytest.raises(RunError, match="traced for 3 steps, and is not known after 4"):
        zkjax.train(circuit, (PARAMS, 0, 1), (X, Y), steps=4).state  # noqa: B018


def test_a_model_with_a_state():
    """The loss takes and returns what the model keeps: a running mean of the inputs, and how often it was updated."""

    def centred(params, state, x, y):
        mean = 0.9 * state["mean"] + 0.1 * x.mean(0)
        return loss(params, x - state["mean"], y), ({"mean": mean, "count": state["count"] + 1}, x.sum())

    state = {"mean": np.zeros(6, np.float32), "count": 0}  # a Python number, as states have them
    circuit = zkjax.trace(centred, MOMENTUM, PARAMS, batch=(X[:BATCH], Y[:BATCH]), has_aux=True, state=state, precision=FINE)
    mean = next(p for p in circuit.parameters if p.path == "state/mean")
    assert mean.recurrence is not None and mean.given.integer == 0 and [x.path for x in circuit.public] == ["state/count"]
    run = zkjax.train(circuit, PARAMS, (X, Y), steps=6)
    params, kept, carried = PARAMS, MOMENTUM.init(PARAMS), state
    for rows in run.indices:
        (_, (carried, _)), gradients = jax.value_and_grad(centred, has_aux=True)(params, carried, X[rows], Y[rows])
        updates, kept = MOMENTUM.update(gradients, kept, params)
        params = optax.apply_updates(params, updates)
    assert distance(run.params, params) < 0.03
    verify_small(circuit, prove_small(circuit, zkjax.train(circuit, PARAMS, (X, Y), steps=2)))


def test_a_model_with_a_state_of_any_numbers():
    """A slow copy of the parameters, with a bias of zeros: what is given to ``trace`` apart goes to ``train`` apart."""

    def chased(params, slow, x, y):
        return loss(params, x, y) + loss(slow["copy"], x, y), slow | {"copy": optax.incremental_update(params, slow["copy"], 0.25)}

    slow = {"copy": jax.tree.map(lambda w: w / 2, PARAMS), "zeros": np.zeros(3, np.float32), "count": 0}
    circuit = zkjax.trace(chased, optax.sgd(1 / 8), PARAMS, state=slow, batch=(X[:BATCH], Y[:BATCH]), precision=FINE)
    run = zkjax.train(circuit, PARAMS, (X, Y), steps=2, state=slow, seed=1)  # of seed 0 a ReLU is 2e-7 from its kink
    params, carried = PARAMS, slow
    for rows in run.indices:
        (_, carried), gradients = jax.value_and_grad(chased, has_aux=True)(params, carried, X[rows], Y[rows])
        params = jax.tree.map(lambda p, g: p - g / 8, params, gradients)
    assert distance(run.params, params) < 0.003 and distance(run.state["copy"], carried["copy"]) < 0.003
    with pytest.raises(DataError, match="state/zeros is not what the circuit gives where a chain begins"):
        zkjax.train(circuit, PARAMS, (X, Y), steps=2, state=slow | {"zeros": np.ones(3, np.float32)})
    verify_small(circuit, prove_small(circuit, run))


def counts_positives(state, x, y):
    return {**state, "n": (x.sum() > 0).astype(jnp.int32)}, {"loss": x.sum()}


def chooses_by_data(state, x, y):
    return jax.lax.cond((x > 0).any(), lambda: state, lambda: {**state, "n": state["n"] + 1}), {"loss": x.sum()}


def test_states_that_data_reach_in_a_later_step_alone():
    """A number that follows the data from the third step on is a committed state; a counter that does, as of a plateau, is refused."""

    def step(state, x, y):
        params, seen, count = state
        value, gradient = jax.value_and_grad(loss)(params, x, y)
        params = jax.tree.map(lambda w, g: w - 0.1 * g, params, gradient)
        return (params, jnp.where(count == 2, value / 2, seen), count + 1), {"loss": value}

    circuit = zkjax.trace_step(step, (PARAMS, np.float32(0.5), 0), (X[:BATCH], Y[:BATCH]), outputs=("loss",), steps=4, precision=FINE)
    run = zkjax.train(circuit, (PARAMS, np.float32(0.5), 0), (X, Y), steps=3)
    assert float(run.params[1]) == pytest.approx(float(run.losses[2]) / 2, abs=0.01) and run.params[2] == 3

    optimizer = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=2, accumulation_size=2))
    state = optimizer.init(PARAMS)
    state = state[0], state[1]._replace(best_value=jnp.float32(10.0))

    def plateau(carried, x, y):
        params, state = carried
        value, gradients = jax.value_and_grad(loss)(params, x, y)
        updates, state = optimizer.update(gradients, state, params, value=value)
        return optax.apply_updates(params, updates), state

    with pytest.raises(UnsupportedOperationError, match="plateau_count of dtype int32 depends on data or parameters"):
        zkjax.trace_step(plateau, (PARAMS, state), (X[:BATCH], Y[:BATCH]), steps=8)


@pytest.mark.parametrize(
    "step, error, message",
    [
        (lambda state, x, y: state["params"], DataError, "returns another state than it takes"),
        (lambda state, x, y: ({**state, "n": state["n"] + 0.5}, {}), DataError, "an array of int32 .* becomes one of float32"),
        (counts_positives, UnsupportedOperationError, "n of dtype int32 depends on data or parameters"),
        (chooses_by_data, UnsupportedOperationError, "choose with jnp.where|reduce_or"),
        (lambda state, x: state, DataError, "does not take state and the 2 arrays"),
        (lambda state, x, y: (state, {"other": x.sum()}), DataError, "outputs names 'loss', which is not among .*other"),
        (lambda state, x, y: (state, {"loss": x}), DataError, "output 'loss' returns .*one floating-point scalar"),
        (3, DataError, r"train_step is int, not a function; the order is trace_step\(train_step, state, batch\)"),
    ],
)
def test_steps_that_are_refused(step, error, message):
    state = {"params": PARAMS, "n": jnp.int32(0)}
    with pytest.raises(error, match=message):
        zkjax.trace_step(step, state, (X[:BATCH], Y[:BATCH]), outputs=("loss",))


def test_a_program_without_data():
    """A loss of parameters alone, and a step of its own: the data are constants that they capture."""
    matrix, wanted = X[:6], Y[:6]

    def fit(w):
        return jnp.mean((matrix @ w - wanted) ** 2)

    def step(w):
        value, gradient = jax.value_and_grad(fit)(w)
        return w - 0.1 * gradient, {"loss": value}

    first, w = np.zeros((6, 2), np.float32), np.zeros((6, 2), np.float32)
    for _ in range(5):
        w = step(w)[0]
    for circuit in (
        zkjax.trace(fit, optax.sgd(0.1), first, batch=(), precision=FINE),
        zkjax.trace_step(step, first, (), outputs=("loss",), precision=FINE),
    ):
        run = zkjax.train(circuit, first, (), steps=5)
        np.testing.assert_allclose(run.params, w, atol=2e-3)
        verify_small(circuit, prove_small(circuit, run, reveal=("loss",)))


def test_counters_that_go_round():
    """Every fourth step another one: not the step's number alone, but known for as many steps as anybody wants, and soon."""
    optimizer = optax.MultiSteps(optax.sgd(optax.cosine_decay_schedule(0.05, 1000), momentum=0.9), 4)
    circuit = zkjax.trace(loss, optimizer, PARAMS, batch=(X[:BATCH], Y[:BATCH]), steps=600, precision=FINE)
    found = {x.path.split("/")[-1]: x for x in circuit.public}
    assert [[int(v) for v in found[name].at(599)] for name in ("mini_step", "gradient_step")] == [[3], [149]]
    assert circuit.max_steps == 600


# ---- what a reviewer found -------------------------------------------------------------------------------------------


def least_squares(p, x, y):
    return jnp.mean((x @ p - y) ** 2)


def gradient_of(p, x, y):
    return jax.grad(least_squares)(p, x, y)


W = PARAMS["in"]["w"][:, :2]
LINEAR_STEPS = {
    "two states that change places": (lambda s, x, y: (s[1], s[0] - 0.05 * gradient_of(s[0], x, y)), (W, W)),
    "the weights before, under decay": (lambda s, x, y: (0.999 * s[0] - 0.05 * gradient_of(s[0], x, y), s[0]), (W, W)),
    "the weights before, from zero": (lambda s, x, y: (s[0] - 0.05 * gradient_of(s[0], x, y), s[0]), (0 * W, 0 * W)),
    "a heavy ball of two points": (lambda s, x, y: (s[0] - 0.05 * gradient_of(s[0], x, y) + 0.5 * (s[0] - s[1]), s[0]), (W, W)),
    "a penalty that grows": (
        lambda s, x, y: (s[0] - 0.05 * jax.grad(lambda p: least_squares(p, x, y) + 0.01 * s[1] * jnp.sum(p**2))(s[0]), s[1] + 1),
        (W, np.int32(0)),
    ),
    "a sum of weights": (lambda s, x, y: (s[0] - 0.05 * gradient_of(s[0], x, y), s[1] + 0.1 * s[0]), (W, 0 * W)),
}


@pytest.mark.parametrize("name", LINEAR_STEPS)
def test_states_that_follow_from_states(name):
    """Each reaches another only through a third one, or with signs that cancel: its coefficients are not lost, and its range holds."""
    step, first = LINEAR_STEPS[name]
    circuit = zkjax.trace_step(step, first, (X[:BATCH], Y[:BATCH]), steps=12)
    run = zkjax.train(circuit, first, (X, Y), steps=12)
    state = first
    for rows in run.indices:
        state = step(state, X[rows], Y[rows])
    for found, wanted, before in zip(run.state, state, first, strict=True):
        assert np.linalg.norm(found - wanted) < 0.02 * np.linalg.norm(wanted - before)


@pytest.mark.parametrize(
    "optimizer", [optax.contrib.schedule_free_sgd(0.05), optax.chain(optax.add_decayed_weights(1.0), optax.sgd(0.1, momentum=0.9))]
)
def test_optimizers_whose_coefficients_vary_or_cancel(optimizer):
    circuit = zkjax.trace(loss, optimizer, PARAMS, batch=(X[:BATCH], Y[:BATCH]), steps=12, precision=zkjax.Precision(activation_scale=10))
    run = zkjax.train(circuit, PARAMS, (X, Y), steps=12)
    assert distance(run.params, trained_by_optax(optimizer, run)) < 0.04


@pytest.mark.parametrize(
    "change",
    [
        lambda p, t, x, y: least_squares(p, x, y) * (1 + t / 10),
        lambda p, t, x, y: least_squares(p, 0.1 * (1 + t) * x, y),
        lambda p, t, x, y: least_squares(p, x, jnp.where(t % 2 == 0, y, -y)),
    ],
)
def test_numbers_of_the_step_before_anything_else(change):
    """Wherever a number of the step multiplies, each step of the circuit has its own: a chunk that begins in the middle too."""

    def step(state, x, y):
        value, gradient = jax.value_and_grad(lambda p: change(p, state[1], x, y))(state[0])
        return (state[0] - 0.05 * gradient, state[1] + 1), {"loss": value}

    circuit = zkjax.trace_step(step, (W, 0), (X[:BATCH], Y[:BATCH]), steps=6, precision=zkjax.Precision(activation_scale=10))
    first, last = zkjax.chunks(circuit, (W, 0), (X, Y), steps=6, chunk=3, progress=None)
    state = W, 0
    for rows in np.concatenate([first.indices, last.indices]):
        state, _ = step(state, X[rows], Y[rows])
    moved, apart = (np.linalg.norm(x - np.asarray(state[0])) for x in (W, np.asarray(last.params[0])))
    assert apart < 0.02 * moved
    zkjax.verify(circuit, [prove_small(circuit, run) for run in (first, last)], minimum_bits=BITS)


def test_other_states_that_are_refused():
    def plain(state, x, y):
        return (state[0] - 0.05 * gradient_of(state[0], x, y), state[1]), {"rate": 0.1 * state[1]} if jnp.ndim(state[1]) == 0 else {}

    def counted(state, x, y):
        return (plain(state, x, y)[0][0], state[1] + 1), {"rate": jnp.float32(0.1) * state[1]}

    for step, other, outputs, message in (
        (counted, 0, ("rate",), "output 'rate' is a number of the step alone"),
        (plain, np.arange(300_000), (), r"1 of shape \(300000,\) and dtype int32 has too many different entries"),
    ):
        with pytest.raises(UnsupportedOperationError, match=message):
            zkjax.trace_step(step, (W, other), (X[:BATCH], Y[:BATCH]), outputs=outputs, steps=4)


def test_a_copy_that_is_coarser_than_what_it_copies_is_refused():
    """Where a chain begins the circuit gives a copy of the weights, and there are no integers for it on a coarser grid."""
    optimizer = optax.contrib.schedule_free_sgd(0.05)
    circuit = zkjax.trace(loss, optimizer, PARAMS, batch=(X[:BATCH], Y[:BATCH]), steps=8)
    copies = [p for p in circuit.parameters if p.given is not None and p.given.copied is not None]
    assert copies and all(circuit.unit(p.given.copied) >= circuit.unit(circuit.parameters.index(p)) for p in copies)
    coarse = zkjax.Precision(states={copies[0].path: (2, 20, 0, 20)})
    with pytest.raises(zkjax.PrecisionError, match=f"{copies[0].path} begins as a copy of finer numbers"):
        zkjax.trace(loss, optimizer, PARAMS, batch=(X[:BATCH], Y[:BATCH]), steps=8, precision=coarse)


# ---- data without a batch axis -------------------------------------------------------------------------------------------


def graph_loss(params, adjacency, nodes, labels, weight):
    """A graph convolution; all of it is read in every step."""
    hidden = jax.nn.relu(adjacency @ (nodes @ params["a"]))
    return weight * 0.5 * jnp.mean(jnp.sum((adjacency @ (hidden @ params["b"]) - labels) ** 2, axis=-1))


def test_a_graph_is_read_whole():
    """Arrays of any shapes, in the same order in every step."""
    rng = np.random.default_rng(3)
    adjacency = (rng.uniform(size=(5, 5)) < 0.5).astype(np.float32) / 4
    graph = adjacency, rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(5, 2)).astype(np.float32), np.float32(0.5)
    params = {"a": rng.normal(size=(3, 4)).astype(np.float32) / 2, "b": rng.normal(size=(4, 2)).astype(np.float32) / 2}
    circuit = zkjax.trace(graph_loss, optax.sgd(1 / 16), params, batch=graph, full_batch=True)
    run = zkjax.train(circuit, params, graph, steps=3)
    own = params
    for step in range(3):
        value, gradient = jax.value_and_grad(graph_loss)(own, *graph)
        assert run.float_losses[step] == pytest.approx(float(value), rel=0.02)
        own = jax.tree.map(lambda p, g: p - g / 16, own, gradient)
    verify_small(circuit, prove_small(circuit, run))
    shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in graph)
    assert [x.shape for x in zkjax.trace(graph_loss, optax.sgd(1 / 16), params, batch=shapes, full_batch=True).inputs] == [
        (1, 5, 5),
        (1, 5, 3),
        (1, 5, 2),
        (1,),
    ]

    def step(state, *graph):
        value, gradient = jax.value_and_grad(graph_loss)(state, *graph)
        return jax.tree.map(lambda p, g: p - g / 16, state, gradient), {"loss": value}

    own = zkjax.train(zkjax.trace_step(step, params, graph, full_batch=True, outputs=("loss",)), params, graph, steps=3)
    assert own.loss_integers == run.loss_integers
    with pytest.raises(DataError, match="full_batch=True"):
        zkjax.trace(graph_loss, optax.sgd(1 / 16), params, batch=graph)
    with pytest.raises(DataError, match="shape"):
        zkjax.train(circuit, params, (graph[0][:4], *graph[1:]), steps=1)


def test_calibration_of_a_full_batch():
    graph = np.eye(4, dtype=np.float32), X[:4], Y[:4], np.float32(1)
    params = {"a": np.ones((6, 3), np.float32) / 4, "b": np.ones((3, 2), np.float32) / 4}
    found = zkjax.calibrate(graph_loss, optax.sgd(1 / 16), params, graph, full_batch=True, steps=2, chunk=2)
    assert found.circuit.batch_size == 1
