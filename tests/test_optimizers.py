"""Optimizers: traced, trained beside optax, proven, lied about; first those that are linear in gradients, weights and their own state."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import BITS, prove_small, verify_small
from reference import verifier as reference

import zkjax
from zkjax.circuit.circuit import Circuit
from zkjax.errors import ConfigurationError, FormatError, PrecisionError

generator = np.random.default_rng(0)
X = generator.standard_normal((48, 6)).astype(np.float32)
Y = (0.5 * np.tanh(X @ generator.standard_normal((6, 2)))).astype(np.float32)
PARAMS = {
    "in": {"w": (0.4 * generator.standard_normal((6, 8))).astype(np.float32), "b": np.zeros(8, np.float32)},
    "out": {"w": (0.4 * generator.standard_normal((8, 2))).astype(np.float32), "b": np.zeros(2, np.float32)},
}
BATCH, STEPS = 12, 12
KERNELS = {layer: {"w": True, "b": False} for layer in PARAMS}
warm = optax.warmup_cosine_decay_schedule(0.0, 0.05, 4, STEPS)

LINEAR = {
    "momentum": optax.sgd(0.05, momentum=0.9),
    "nesterov": optax.sgd(0.05, momentum=0.9, nesterov=True),
    "momentum, warm-up and cosine": optax.sgd(warm, momentum=0.9),
    "decoupled decay": optax.chain(optax.trace(0.9), optax.add_decayed_weights(1e-2), optax.scale(-0.05)),
    "coupled decay": optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.05, momentum=0.9)),
    "decay of kernels": optax.chain(optax.add_decayed_weights(1e-2, mask=KERNELS), optax.sgd(0.05, momentum=0.9)),
    "decay alone": optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.05)),
    "average of gradients": optax.chain(optax.ema(0.8), optax.sgd(0.05)),
    "accumulated": optax.MultiSteps(optax.sgd(0.05), 3),
    "accumulated, with momentum": optax.MultiSteps(optax.sgd(0.05, momentum=0.9), 3),
    "injected": optax.inject_hyperparams(optax.sgd)(learning_rate=optax.linear_schedule(0.05, 0.01, STEPS), momentum=0.9),
    "partly frozen": optax.multi_transform({"a": optax.sgd(0.05, momentum=0.9), "b": optax.set_to_zero()}, {"in": "b", "out": "a"}),
    "two rates": optax.multi_transform({"a": optax.sgd(0.05, momentum=0.9), "b": optax.sgd(0.01)}, {"in": "b", "out": "a"}),
    "optimistic": optax.optimistic_gradient_descent(0.05),
    "noise": optax.noisy_sgd(0.05, eta=0.01, key=0),
    "momentum, then noise": optax.chain(optax.sgd(0.05, momentum=0.9), optax.add_noise(1e-6, 0.55, jax.random.key(5))),
}


ADAPTIVE = {
    "adam": optax.adam(0.02),
    "adamw, warm-up and cosine, clipped": optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(warm)),
    "adamax": optax.adamax(0.02),
    "adabelief": optax.adabelief(0.02),
    "adafactor": optax.adafactor(0.02),
    "nadam": optax.nadam(0.02),
    "radam": optax.radam(0.02),
    "amsgrad": optax.amsgrad(0.02),
    "yogi": optax.yogi(0.02),
    "rmsprop": optax.rmsprop(0.02),
    "adagrad": optax.adagrad(0.05),
    "adadelta": optax.adadelta(0.5),
    "lamb": optax.lamb(0.02),
    "lion": optax.lion(0.01),
    "muon": optax.contrib.muon(0.02),  # its iteration is a loop over the momentum; its coefficients stand in its state
    "signs": optax.sign_sgd(0.01),
    "entries clipped": optax.chain(optax.clip(0.05), optax.sgd(0.2)),
    "common norm clipped": optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.2)),
    "each tensor clipped": optax.chain(optax.clip_by_block_rms(0.02), optax.sgd(0.2)),
}


def loss(params, x, y):
    h = jax.nn.relu(x @ params["in"]["w"] + params["in"]["b"])
    return optax.squared_error(h @ params["out"]["w"] + params["out"]["b"], y).sum(-1).mean()


def trained_by_optax(optimizer, run, loss=loss, params=PARAMS, targets=Y):
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, x, y):
        updates, state = optimizer.update(jax.grad(loss)(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    for rows in run.indices:
        params, state = step(params, state, X[rows], targets[rows])
    return params


@cache
def default(name: str) -> Circuit:
    return traced(name)


def traced(name: str, **options) -> Circuit:
    options = {"precision": zkjax.Precision(activation_scale=10, period=4), "steps": STEPS, "chunk": 8} | options
    return zkjax.trace(loss, LINEAR[name], PARAMS, batch=(X[:BATCH], Y[:BATCH]), **options)


def distance(a, b) -> float:
    """Of how far two trainings moved the weights."""
    first, a, b = (np.concatenate([np.ravel(np.asarray(x, float)) for x in jax.tree.leaves(tree)]) for tree in (PARAMS, a, b))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b - first))


@pytest.mark.parametrize("name", LINEAR)
def test_it_trains_as_optax_does(name):
    run = zkjax.train(default(name), PARAMS, (X, Y), steps=STEPS)
    assert distance(run.params, trained_by_optax(LINEAR[name], run)) < 0.03  # a ReLU that flips for one sample is a hundredth


@pytest.mark.parametrize("name", ADAPTIVE)
def test_what_divides_by_its_state_trains_as_optax_does(name):
    """In default formats, of a regression; signs of small gradients are those that differ."""
    weights, labels = {"w": PARAMS["in"]["w"][:, :3]}, np.argmax(X[:, :3], axis=-1).astype(np.int32)

    def regression(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(x @ params["w"], y).mean()

    circuit = zkjax.trace(regression, ADAPTIVE[name], weights, batch=(X[:BATCH], labels[:BATCH]), steps=STEPS, chunk=STEPS)
    run = zkjax.train(circuit, weights, (X, labels), steps=STEPS)
    reference = trained_by_optax(ADAPTIVE[name], run, regression, weights, labels)
    assert np.linalg.norm(run.params["w"] - reference["w"]) < 0.06 * np.linalg.norm(reference["w"] - weights["w"])


def cross_entropy(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(x @ params["w"], y).mean()


def sharpness_aware(state, x, y):
    """The gradient at where the gradient leads uphill, for weights and momentum."""
    params, trace = state
    value, uphill = jax.value_and_grad(cross_entropy)(params, x, y)
    there = jax.tree.map(lambda w, g: w + 0.05 * g / optax.tree.norm(uphill), params, uphill)
    updates, trace = MOMENTUM.update(jax.grad(cross_entropy)(there, x, y), trace, params)
    return (optax.apply_updates(params, updates), trace), {"loss": value}


def clipped_by_example(state, x, y):
    """Gradients of single samples, each clipped, and their mean."""
    params, trace = state
    gradients = jax.vmap(jax.grad(lambda p, x, y: cross_entropy(p, x[None], y[None])), (None, 0, 0))(params, x, y)
    (total,), _ = optax.per_example_global_norm_clip(jax.tree.leaves(gradients), 0.5)
    updates, trace = MOMENTUM.update({"w": total / BATCH}, trace, params)
    return (optax.apply_updates(params, updates), trace), {}


MOMENTUM = optax.sgd(0.2, momentum=0.9)


@pytest.mark.parametrize("step", [sharpness_aware, clipped_by_example])
def test_steps_that_are_their_authors_own(step):
    """They train as in JAX, and the one with a product for each sample is proven."""
    weights, labels = {"w": PARAMS["in"]["w"][:, :3]}, np.argmax(X[:, :3], axis=-1).astype(np.int32)
    state = weights, MOMENTUM.init(weights)
    circuit = zkjax.trace_step(step, state, (X[:BATCH], labels[:BATCH]), steps=4, chunk=4)
    run = zkjax.train(circuit, state, (X, labels), steps=4)
    for rows in run.indices:
        state, _ = jax.jit(step)(state, X[rows], labels[rows])
    assert np.linalg.norm(run.params[0]["w"] - state[0]["w"]) < 0.02 * np.linalg.norm(state[0]["w"] - weights["w"])
    if step is clipped_by_example:
        verify_small(circuit, prove_small(circuit, run))


@pytest.mark.parametrize("name", ["momentum", "coupled decay", "accumulated", "momentum, warm-up and cosine", "noise"])
def test_a_chain_is_proven(name):
    """In two chunks, the second one of a loaded run, by both verifiers."""
    circuit = default(name)
    first, second = zkjax.chunks(circuit, PARAMS, (X, Y), steps=STEPS, chunk=8)
    for run in (first, second):
        proof = prove_small(circuit, run, reveal=("loss",))
        verify_small(circuit, proof, assume_bound=run is second)
        reference.verify(circuit.to_json(), bytes(proof), minimum_bits=BITS, assume_bound=run is second)
    assert Circuit.from_json(circuit.to_json()).digest() == circuit.digest()


def test_any_cut_on_the_grid_is_the_same():
    for name in ("momentum", "coupled decay"):
        whole = zkjax.train(default(name), PARAMS, (X, Y), steps=STEPS)
        *_, last = zkjax.chunks(default(name), PARAMS, (X, Y), steps=STEPS, chunk=4)
        assert all(np.array_equal(a, b) for a, b in zip(whole.final, last.final, strict=True))


def test_weights_stay_exact_where_their_bounds_allow_it():
    """Under momentum they are read after the step and subtracted; where that would leave the field, they are rounded as well."""
    circuit = default("momentum")
    weights, moments = circuit.parameters[:4], circuit.parameters[4:]
    assert all(p.recurrence is None and circuit.nodes[p.updates[0].node].op == "next" and p.given is None for p in weights)
    assert all(p.recurrence is not None and p.given.integer == 0 and p.given.copied is None for p in moments)
    for steps in (2**20, None):
        longer = traced("momentum", chunk=16, steps=steps)
        assert all(p.recurrence is not None for p in longer.parameters) and longer.longest_chain().steps is None


def test_an_auditor_gets_the_digest_from_shapes():
    """With the formats that calibration proposes, the recipe's source and shapes suffice."""
    found = zkjax.calibrate(loss, LINEAR["momentum"], PARAMS, (X, Y), batch_size=BATCH, steps=6, chunk=8)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (PARAMS, (X[:BATCH], Y[:BATCH])))
    again = zkjax.trace(loss, LINEAR["momentum"], shapes[0], batch=shapes[1], precision=found.precision, chunk=8)
    assert found.within and again.digest() == found.circuit.digest()
    assert set(found.precision.states) == {p.path for p in again.parameters if p.recurrence is not None}


def test_a_precision_is_a_file_of_the_recipe(tmp_path):
    found = traced("momentum")
    chosen = {p.path: (10, p.recurrence.bits, p.recurrence.inner, p.recurrence.end) for p in found.parameters if p.recurrence}
    precision = zkjax.Precision(activation_scale=9, data_bits=(10, 11), rate_tolerance=0.01, states=chosen, period=4)
    precision.save(tmp_path / "precision.json")
    assert zkjax.Precision.load(tmp_path / "precision.json") == precision
    zkjax.Precision().save(tmp_path / "precision.json")
    assert zkjax.Precision.load(tmp_path / "precision.json") == zkjax.Precision()
    for text, error, message in (
        ("[]", FormatError, "not a precision file .*no object"),
        ("{", FormatError, "not a precision file"),
        ('{"bits": 3}', FormatError, "keys .*bits"),
        ('{"states": {"a": {"scale": 3}}}', FormatError, "not a precision file .*bits"),
        ('{"states": 7}', FormatError, "not a precision file"),
        ('{"period": 65}', ConfigurationError, "period is 65"),
        ('{"states": {"a": {"scale": 3, "bits": 61, "inner": 0, "end": 0}}}', ConfigurationError, "format of state a"),
    ):
        (tmp_path / "precision.json").write_text(text)
        with pytest.raises(error, match=message):
            zkjax.Precision.load(tmp_path / "precision.json")


def test_formats_of_states_are_the_users():
    chosen = {"optimizer/0/trace/in/w": (10, 20, 12, 20)}
    circuit = traced("momentum", precision=zkjax.Precision(states=chosen))
    state = next(p for p in circuit.parameters if p.path == "optimizer/0/trace/in/w")
    found = state.recurrence
    assert (found.bits, found.inner, found.end) == (20, 12, 20) and 2.0**-10 <= state.unit < 2.0**-9
    with pytest.raises(PrecisionError, match="state optimizer/0/trace/in/w: a coefficient of .* is lost"):
        traced("momentum", precision=zkjax.Precision(states={"optimizer/0/trace/in/w": (-60, 20, 0, 0)}))


def test_penalties_and_products_of_weights():
    def penalised(params, x, y):
        return loss(params, x, y) + 0.01 * sum(jnp.sum(layer["w"] ** 2) for layer in params.values())

    optimizer = optax.sgd(0.05, momentum=0.9)
    circuit = zkjax.trace(penalised, optimizer, PARAMS, batch=(X[:BATCH], Y[:BATCH]), precision=zkjax.Precision(activation_scale=10))
    run = zkjax.train(circuit, PARAMS, (X, Y), steps=8)
    assert distance(run.params, trained_by_optax(optimizer, run, penalised)) < 0.02


NARROW = {
    "momentum": lambda dtype: optax.sgd(0.05, momentum=0.9, accumulator_dtype=dtype),
    "adam": lambda dtype: optax.adam(0.02, mu_dtype=dtype),
}


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", NARROW)
def test_what_is_kept_in_fewer_bits_has_a_format_of_the_circuit(name, dtype):
    """As what a model computes in them; the constants are what they are in it."""
    optimizer = NARROW[name](dtype)
    state = {"params": PARAMS, "opt_state": optimizer.init(PARAMS)}

    def step(state, x, y):
        value, gradient = jax.value_and_grad(loss)(state["params"], x, y)
        updates, kept = optimizer.update(gradient, state["opt_state"], state["params"])
        return {"params": optax.apply_updates(state["params"], updates), "opt_state": kept}, {"loss": value}

    circuits = (
        zkjax.trace(loss, optimizer, PARAMS, batch=(X[:BATCH], Y[:BATCH]), steps=STEPS),
        zkjax.trace_step(step, state, (X[:BATCH], Y[:BATCH]), outputs=("loss",), steps=STEPS),
    )
    for circuit, first in zip(circuits, (PARAMS, state), strict=True):
        assert f"what the program computes in {jnp.dtype(dtype).name} the circuit computes in its own formats" in circuit.notes
        run = zkjax.train(circuit, first, (X, Y), steps=4)
        assert distance(run.params if first is PARAMS else run.state["params"], trained_by_optax(optimizer, run)) < 0.05
    assert {str(x.dtype) for x in jax.tree.leaves(run.state["opt_state"])} >= {jnp.dtype(dtype).name}
    assert verify_small(circuits[0], prove_small(circuits[0], zkjax.train(circuits[0], PARAMS, (X, Y), steps=2))).steps == 2


@pytest.mark.parametrize("change", ["carry", "rate", "given"])
def test_another_optimizer_is_another_circuit(change):
    """A proof under momentum is none under another coefficient, another rate, or a moment that begins elsewhere."""
    circuit = default("momentum")
    proof = prove_small(circuit, zkjax.train(circuit, PARAMS, (X, Y), steps=4))
    *others, moment = circuit.parameters
    recurrence = moment.recurrence
    if change == "carry":
        moment = replace(moment, recurrence=replace(recurrence, carry=((recurrence.carry[0][0], (2**63,)),)))
    elif change == "given":
        moment = replace(moment, given=replace(moment.given, integer=5))
    else:
        others[3] = replace(others[3], updates=(replace(others[3].updates[0], rates=(2,)),))
    with pytest.raises(zkjax.VerificationError, match="circuit"):
        verify_small(replace(circuit, parameters=(*others, moment)), proof)


def test_a_circuit_says_what_its_optimizer_divides_by():
    weights, labels = {"w": PARAMS["in"]["w"][:, :3]}, np.argmax(X[:, :3], axis=-1).astype(np.int32)
    for optimizer, told in (
        (optax.adam(0.02), "minus 0.1012..0.02508 (in 8 steps from 0.02508 to 0.1012) * #"),
        (optax.adam(0.02), '"optimizer/0/nu/w": becomes 0.999 * itself + 0.001 * the square of the gradient of the loss'),
        (optax.adam(0.02), ': follows from "optimizer/0/mu/w", "optimizer/0/nu/w" by a quotient and a root'),
        (optax.rmsprop(0.02), ': follows from "optimizer/0/nu/w" by a quotient and a root'),
        (optax.sgd(0.5), " times the gradient of the loss"),
    ):
        assert told in str(zkjax.trace(cross_entropy, optimizer, weights, batch=(X[:BATCH], labels[:BATCH]), steps=8, chunk=8))
