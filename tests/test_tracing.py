"""Tracing: the circuit without rounding is JAX's own gradient step; what cannot be traced is refused by name."""

import json
from fractions import Fraction

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from harness import SMALL, make_run, prove_small, verify_small
from jax.nn import relu
from nodes import roundings

import zkjax
from zkjax.algebra import exact
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.wellformed import MAX_FEEDS
from zkjax.errors import ConfigurationError, DataError, PrecisionError, UnsupportedOperationError
from zkjax.tracing.elementary import between, simplest
from zkjax.tracing.precision import Precision
from zkjax.tracing.program import trace
from zkjax.tracing.rationals import dyadic, gradient_unit, rounded_rates
from zkjax.tracing.rules import RULES


def normal(*shape, seed=0, scale=0.5):
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * scale).astype(np.float32)


def half_mean_square(prediction, target):
    return 0.5 * jnp.mean(jnp.sum((prediction - target) ** 2, axis=-1))


def unrounded_step(circuit, params, batch):
    """Loss and new parameters by the circuit in float64, without rounding."""
    units = [float(circuit.unit(p)) for p in range(len(circuit.parameters))]
    parameters = [np.asarray(x, dtype=np.float64) / unit for x, unit in zip(jax.tree.leaves(params), units, strict=True)]
    inputs = [np.asarray(x, dtype=np.float64) * 2.0**y.scale for x, y in zip(batch, circuit.inputs, strict=True)]
    values = exact.evaluate(circuit, None, parameters, inputs)
    rates = [u.rate(0) for p in circuit.parameters for u in p.updates]
    new = exact.update(circuit, parameters, values, rates)
    loss = sum(float(x.factor) * float(values[x.node]) for x in circuit.losses)
    return loss, [x * unit for x, unit in zip(new, units, strict=True)]


def agrees(circuit, loss, params, batch, rate=1 / 8, tolerance=1e-5):
    value, gradients = jax.value_and_grad(loss)(params, *map(jnp.asarray, batch))
    traced, new = unrounded_step(circuit, params, batch)
    assert traced == pytest.approx(float(value), rel=tolerance)
    for a, w, g in zip(new, jax.tree.leaves(params), jax.tree.leaves(gradients), strict=True):
        np.testing.assert_allclose(a, np.asarray(w) - rate * np.asarray(g), atol=tolerance, rtol=tolerance)


X, Y = normal(4, 5, seed=1), normal(4, 3, seed=2)
TWO = {"a": normal(5, 4), "b": normal(4, 3)}
BIASED = {"a": normal(5, 4), "p": normal(4), "b": normal(4, 3), "q": normal(3)}


def mlp(p, x):
    return relu(x @ p["a"] + p["p"]) @ p["b"] + p["q"]


def residual(p, x, y):
    h = x @ p["i"]
    for k in ("a", "b"):
        h = h + relu(h @ p[k])
    return half_mean_square(h @ p["o"], y)


GRAPHS = {
    "one layer": (lambda p, x, y: half_mean_square(x @ p, y), normal(5, 3)),
    "no bias": (lambda p, x, y: half_mean_square(relu(x @ p["a"]) @ p["b"], y), TWO),
    "bias": (lambda p, x, y: half_mean_square(mlp(p, x), y), BIASED),
    "squared_error": (lambda p, x, y: jnp.mean(optax.losses.squared_error(mlp(p, x), y)), BIASED),
    "l2_loss": (lambda p, x, y: optax.losses.l2_loss(mlp(p, x), y).sum(axis=-1).mean(), BIASED),
    "summed loss": (lambda p, x, y: jnp.sum((mlp(p, x) - y) ** 2) / 64, BIASED),
    "product loss": (lambda p, x, y: jnp.mean((mlp(p, x) - y) * (mlp(p, x) - y)), BIASED),
    "vdot loss": (lambda p, x, y: jnp.vdot(mlp(p, x) - y, mlp(p, x) - y) / 8, BIASED),
    "linear loss": (lambda p, x, y: jnp.mean(relu(x @ p["a"]) @ p["b"]), TWO),
    "weighted loss": (lambda p, x, y: jnp.mean(np.float32([1, 0.5, 2]) * (mlp(p, x) - y) ** 2), BIASED),
    "where": (lambda p, x, y: half_mean_square(jnp.where(x @ p["a"] > 0, x @ p["a"], 0) @ p["b"], y), TWO),
    "leaky relu": (lambda p, x, y: half_mean_square(jax.nn.leaky_relu(x @ p["a"], 0.25) @ p["b"], y), TWO),
    "relu of relu": (lambda p, x, y: half_mean_square(relu(relu(x @ p["a"])) @ p["b"], y), TWO),
    "relu last": (lambda p, x, y: half_mean_square(relu(relu(x @ p["a"]) @ p["b"]), y), TWO),
    "relu of data": (lambda p, x, y: half_mean_square(relu(x) @ p, y), normal(5, 3)),
    "step gate": (lambda p, x, y: half_mean_square(((x @ p["a"] > 0.25) * (x @ p["a"])) @ p["b"], y), TWO),
    "negative branch": (lambda p, x, y: half_mean_square(jnp.where(x @ p["a"] <= 0, 0.5 * x @ p["a"], 0) @ p["b"], y), TWO),
    "residual": (residual, {"i": normal(5, 4), "a": normal(4, 4), "b": normal(4, 4, seed=9), "o": normal(4, 3)}),
    "tied": (lambda p, x, y: half_mean_square(relu(relu(x @ p["a"]) @ p["s"]) @ p["s"] @ p["b"], y), {**TWO, "s": normal(4, 4)}),
    "autoencoder": (lambda p, x, y: half_mean_square(relu(x @ p) @ p.T, x) + 0 * y[0, 0], normal(5, 4)),
    "used transposed": (lambda p, x, y: half_mean_square(relu(x @ p["a"].T) @ p["b"], y), {"a": normal(4, 5), "b": normal(4, 3)}),
    "two heads": (
        lambda p, x, y: half_mean_square(mlp(p, x), y) + 0.25 * jnp.mean((relu(x @ p["a"]) @ p["h"] - y[:, :2]) ** 2),
        {**BIASED, "h": normal(4, 2)},
    ),
    "activation product": (
        lambda p, x, y: half_mean_square((relu(x @ p["a"]) * (x @ p["g"])) @ p["b"], y),
        {**TWO, "g": normal(5, 4, seed=7)},
    ),
    "square activation": (lambda p, x, y: half_mean_square(jnp.square(x @ p["a"]) @ p["b"], y), TWO),
    "scaled features": (lambda p, x, y: half_mean_square((relu(x @ p["a"]) * p["s"]) @ p["b"], y), {**TWO, "s": normal(4)}),
    "scalar parameter": (lambda p, x, y: half_mean_square(relu(x @ p["a"]) @ p["b"] * p["s"], y), {**TWO, "s": np.float32(0.5)}),
    "constants": (lambda p, x, y: half_mean_square(relu(2 * x @ p["a"] - 0.25) @ p["b"] / 3 + np.float32([1, 0.5, 0.1]), y), TWO),
    "normalised data": (lambda p, x, y: half_mean_square(relu((x - 0.1307) / 0.3081 @ p["a"]) @ p["b"], y), TWO),
    "constant matrix": (lambda p, x, y: half_mean_square(relu(x @ p["a"] @ np.eye(4, dtype=np.float32)[::-1]) @ p["b"], y), TWO),
    "sum of ones": (
        lambda p, x, y: half_mean_square(relu(x @ p["a"]) @ jnp.ones((4, 3)) @ p["b"], y),
        {"a": normal(5, 4), "b": normal(3, 3)},
    ),
    "stop gradient": (lambda p, x, y: half_mean_square(relu(x @ jax.lax.stop_gradient(p["a"])) @ p["b"], y), TWO),
    "unused": (lambda p, x, y: half_mean_square(relu(x @ p["a"]) @ p["b"], y), {**TWO, "z": normal(7)}),
    "reshapes": (lambda p, x, y: half_mean_square(relu((x @ p["a"]).reshape(2, 2, 2, 2)).reshape(4, 4) @ p["b"], y), TWO),
    "slices": (
        lambda p, x, y: half_mean_square(jnp.concatenate([relu(x[:, :2] @ p["a"][:2]), x[:, 3:] @ p["a"][3:]], 1)[:, ::2] @ p["b"], y),
        {"a": normal(5, 4), "b": normal(4, 3)},
    ),
    "flip and pad": (lambda p, x, y: half_mean_square(jnp.pad(relu(x @ p["a"])[:, ::-1], ((0, 0), (1, 0)))[:, :4] @ p["b"], y), TWO),
    "one sample's row": (lambda p, x, y: half_mean_square(mlp(p, x)[2], y[2]), BIASED),
    "mean pool": (lambda p, x, y: half_mean_square(relu(x @ p["a"]).mean(axis=1, keepdims=True) * p["b"][0] + p["b"][1], y), TWO),
    "batched dot": (
        lambda p, x, y: half_mean_square(jnp.einsum("bi,gij->bj", relu(jnp.einsum("bk,kj->bj", x, p["a"])), p["c"]), y),
        {"a": normal(5, 4), "c": normal(2, 4, 3)},
    ),
    "attention-like": (
        lambda p, x, y: half_mean_square(((x @ p["a"]) @ (x @ p["a"]).T) @ x @ p["c"], y),
        {"a": normal(5, 4), "c": normal(5, 3)},
    ),
    "jit, remat, custom_jvp": (lambda p, x, y: half_mean_square(jax.jit(jax.checkpoint(lambda p, x: mlp(p, x)))(p, x), y), BIASED),
}
ROUNDED = dict.fromkeys(("constants", "normalised data", "squared_error", "weighted loss", "product loss"), 4e-4) | {"linear loss": 2e-3}


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_without_rounding_is_jax(name):
    loss, params = GRAPHS[name]
    circuit = trace(loss, optax.sgd(1 / 8), params, batch=(X, Y), chunk=2)
    agrees(circuit, loss, params, (X, Y), tolerance=ROUNDED.get(name, 3e-6))
    assert trace(loss, optax.sgd(1 / 8), params, batch=(X, Y), chunk=2).digest() == circuit.digest()
    assert Circuit.from_json(json.loads(json.dumps(circuit.to_json()))) == circuit


def test_nodes_of_an_mlp():
    loss, params = GRAPHS["bias"]
    circuit = trace(loss, optax.sgd(1 / 64), params, batch=(X, Y))
    ops = [n.op for n in circuit.nodes]
    kinds = ("dot", "rescale", "ceiling", "sign", "gate")
    assert [ops.count(k) for k in kinds] == [6, 2, 1, 1, 2]  # 2 forward, 1 backward, 2 updates, 1 loss
    hidden, scale, back = (circuit.nodes[i].scale for i in roundings(circuit))
    found = {p.path: circuit.scale(k)[1] - 6 for k, p in enumerate(circuit.parameters)}
    assert found == {"a": 10 + back, "p": back, "b": hidden + 1 + scale, "q": scale}  # the rate is 2^-6; ReLUs are in half units
    forward, error, backward = roundings(circuit)
    assert circuit.nodes[forward].operation.shift == found["a"] + 6 + 10 - hidden
    assert circuit.nodes[backward].operation.shift == found["b"] + 6 + scale - back
    assert circuit.nodes[forward].label == "a forward" and circuit.nodes[backward].label == "b backward"
    assert circuit.nodes[error].label == "b error"
    assert [circuit.nodes[i].inputs[0] for i in circuit.of("gate")] == [circuit.of("sign")[0]] * 2


def test_one_rescale_per_tensor():
    """The bias gradient reads the narrow error, although a sum would not ask for it."""
    loss, params = GRAPHS["bias"]
    circuit = trace(loss, optax.sgd(1 / 64), params, batch=(X, Y))
    q = next(p for p in circuit.parameters if p.path == "q")
    (summed,) = circuit.nodes[q.updates[0].node].inputs
    assert summed == roundings(circuit)[1]


def test_frozen_parameters_have_no_update():
    for name, path in (("stop gradient", "a"), ("unused", "z")):
        loss, params = GRAPHS[name]
        circuit = trace(loss, optax.sgd(1 / 8), params, batch=(X, Y))
        assert [p.path for p in circuit.parameters if not p.updates] == [path]
    frozen = optax.partition({"train": optax.sgd(1 / 8), "freeze": optax.set_to_zero()}, {"a": "freeze", "b": "train"})
    circuit = trace(GRAPHS["no bias"][0], frozen, TWO, batch=(X, Y))
    assert [bool(p.updates) for p in circuit.parameters] == [False, True]


def test_skip_connection_is_rescaled_by_zero_bits():
    circuit = trace(*(GRAPHS["residual"][0], optax.sgd(1 / 8), GRAPHS["residual"][1]), batch=(X, Y))
    assert any(circuit.nodes[i].operation.shift == 0 for i in roundings(circuit))


def test_tied_weights_sum_over_their_uses():
    circuit = trace(GRAPHS["tied"][0], optax.sgd(1 / 8), GRAPHS["tied"][1], batch=(X, Y))
    assert [len(p.updates) for p in circuit.parameters] == [1, 1, 2]


def test_loss_is_the_quadratic_form_of_the_error():
    loss, params = GRAPHS["bias"]
    circuit = trace(loss, optax.sgd(1 / 8), params, batch=(X, Y))
    (summand,) = circuit.losses
    error = circuit.nodes[circuit.nodes[summand.node].inputs[0]]
    assert circuit.nodes[summand.node].inputs == (roundings(circuit)[1],) * 2
    assert summand.factor == Fraction(4, 2) * Fraction(1, 2 ** (2 * error.scale))  # batch / 2 at scale 2g
    assert len(trace(GRAPHS["two heads"][0], optax.sgd(1 / 8), GRAPHS["two heads"][1], batch=(X, Y)).losses) == 2


class Linen(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        x = relu(flax.linen.Dense(4)(x))
        return flax.linen.Dense(3)(x)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.a, self.b = nnx.Linear(5, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.b(relu(self.a(x)))


def test_linen_nnx_and_plain_functions_give_equal_circuits():
    graph, state = nnx.split(Nnx(nnx.Rngs(0)))
    linen = Linen().init(jax.random.key(0), X)
    values = jax.tree.leaves(state)
    linen = jax.tree.unflatten(jax.tree.structure(linen), values)
    plain = {f"{k}": v for k, v in enumerate(values)}
    circuits = [
        trace(loss, optax.sgd(1 / 8), params, batch=(X, Y))
        for loss, params in (
            (lambda p, x, y: half_mean_square(nnx.merge(graph, p)(x), y), state),
            (lambda p, x, y: half_mean_square(Linen().apply(p, x), y), linen),
            (lambda p, x, y: half_mean_square(relu(x @ p["1"] + p["0"]) @ p["3"] + p["2"], y), plain),
        )
    ]
    assert [p.path for p in circuits[0].parameters] == ["a/bias", "a/kernel", "b/bias", "b/kernel"]
    assert [p.path for p in circuits[1].parameters][0] == "params/Dense_0/bias"
    forms = []
    for circuit in circuits:
        data = circuit.to_json() | {"notes": None}  # they name tensors
        for item in (*data["nodes"], *data["parameters"]):
            item.pop("label", item.pop("path", None))
        forms.append(data)
    assert forms[0] == forms[1] == forms[2]


def test_a_linen_module_is_trained_and_proven():
    """Its variables go in and come out as linen keeps them, and the chain goes on with them."""
    module, data = Linen(), (normal(12, 5), normal(12, 3))
    params = module.init(jax.random.key(1), data[0])
    circuit, run = make_run(lambda p, x, y: half_mean_square(module.apply(p, x), y), params, data, optimizer=optax.sgd(1 / 8))
    assert verify_small(circuit, prove_small(circuit, run)).steps == 2
    trained = run.params
    assert jax.tree.structure(trained) == jax.tree.structure(params)
    assert [x.shape for x in jax.tree.leaves(trained)] == [x.shape for x in jax.tree.leaves(params)]
    assert not any(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(params)))
    before, after = (float(half_mean_square(module.apply(p, data[0]), data[1])) for p in (params, trained))
    assert after < before


@pytest.mark.parametrize("batch", [1, 2, 5, 6])
def test_batch_sizes(batch):
    (loss, params), batches = GRAPHS["bias"], (normal(batch, 5), normal(batch, 3))
    circuit = trace(loss, optax.sgd(1 / 8), params, batch=batches)
    agrees(circuit, loss, params, batches, tolerance=3e-4 if batch > 2 else 3e-6)
    assert any("constant" in note for note in circuit.notes) == (batch in (5, 6))  # 1/5 and 1/6 are rounded, and said to be


# ---- refusals --------------------------------------------------------------------------------------------------------

P = normal(5, 3)
REFUSED = {
    "power of a tensor": (lambda p, x, y: jnp.sum(y ** (x @ p)), r"'pow'.*test_tracing\.py:\d+.*exponent"),
    "sorting": (lambda p, x, y: jnp.sum(jnp.sort(x @ p) * y), "'sort'.*maxima"),
    "inverse": (lambda p, x, y: jnp.sum(jnp.linalg.inv(x.T @ x) @ p), "'(lu|triangular_solve)'"),
    "angle": (lambda p, x, y: jnp.sum(jnp.arctan2(x @ p, y)), "'atan2'"),
    "a long loop": (
        lambda p, x, y: jnp.sum(jax.lax.fori_loop(0, 200, lambda i, c: c + x[0] @ p, jnp.zeros(3))),
        r"'scan'.*test_tracing\.py:\d+.*a loop over data of 200 iterations; at most 128",
    ),
    "a loop of any length": (
        lambda p, x, y: (
            jnp.sum(jax.lax.stop_gradient(jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: c + x[0] @ p, jnp.zeros(3)))) * p.sum()
        ),
        "'while'.*whose length may depend.*loop in Python",
    ),
    "big constant": (lambda p, x, y: jnp.sum((x @ p @ jnp.asarray(normal(3, 4000)))[:, :3] - y), "more than 4096"),
    "rounding": (lambda p, x, y: jnp.sum((x @ p).astype(jnp.int32).astype(jnp.float32)), "'convert_element_type'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_operations_are_named(name):
    loss, message = REFUSED[name]
    with pytest.raises(UnsupportedOperationError, match=message):
        trace(loss, optax.sgd(1 / 8), P, batch=(X, Y))


def test_a_large_constant_gradient_is_refused_at_the_loss():
    matrix = normal(90, 60)

    @jax.custom_vjp
    def total(p):
        return jnp.sum(p)

    def loss(p, x, y):
        return half_mean_square(x @ p["w"], y) + total(p["large"])

    total.defvjp(lambda p: (jnp.sum(p), None), lambda _, g: (g * matrix,))
    with pytest.raises(UnsupportedOperationError, match=r"test_tracing\.py:\d+.*more than 4096 entries"):
        trace(loss, optax.sgd(1 / 8), {"w": P, "large": np.ones((90, 60), np.float32)}, batch=(X, Y))


def test_location_is_the_users_line():
    def loss(p, x, y):
        h = x @ p
        return jnp.sum(jnp.sort(h, axis=0)[0])  # this line

    line = loss.__code__.co_firstlineno + 2
    with pytest.raises(UnsupportedOperationError, match=rf"'sort' on shapes \[\(4, 3\)(, \(4, 3\))?\] at .*test_tracing\.py:{line}"):
        trace(loss, optax.sgd(1 / 8), P, batch=(X, Y))


@pytest.mark.parametrize(
    "optimizer, message",
    [
        (optax.adam(1e-3), "steps="),
        (optax.noisy_sgd(0.1, key=0), "optimizer/0/rng_key.*steps="),
        (optax.add_noise(0.1, 0.5, jax.random.key(0, impl="rbg")), "random keys of dtype.*use threefry2x32"),
        (optax.sgd(optax.linear_schedule(0.1, 0.0, 10)), "steps="),
        (optax.sgd(Fraction(1, 3)), "'Fraction'.*give the learning rate as a number, such as 1 / 64"),
        (lambda g: g, "optax optimizer"),
    ],
)
def test_refused_optimizers(optimizer, message):
    with pytest.raises(UnsupportedOperationError, match=message):
        trace(GRAPHS["one layer"][0], optimizer, P, batch=(X, Y))


@pytest.mark.parametrize(
    "optimizer, told",
    [
        (optax.stateless_with_tree_map(lambda g, _: jnp.sort(g)), r"on shapes .* at .*$"),
        (optax.scale(float("inf")), r"the constant inf is not finite; leave it out, or choose a large number for it$"),
    ],
)
def test_an_optimizer_is_not_told_what_a_loss_may_do(optimizer, told):
    """But what is true of every constant it is told."""
    with pytest.raises(UnsupportedOperationError, match=rf"update is no sum of gradients.*{told}") as found:
        trace(GRAPHS["one layer"][0], optimizer, P, batch=(X, Y))
    assert type(found.value) is UnsupportedOperationError


def test_bad_arguments():
    loss, good = GRAPHS["one layer"][0], (X, Y)
    bad = np.where(np.arange(20).reshape(4, 5) == 7, np.nan, X)
    for params, batch, message in (
        (P, (bad, Y), r"batch\[0\].*finite"),
        (P, (X, Y[:3]), "batch"),
        (P, (X[:0], Y[:0]), "batch"),
        (P, X, "tuple"),
        (P, (X,), "does not take params and the 1 arrays"),
        (P, (X.astype(complex), Y), "real"),
        (P * np.nan, good, "finite"),
        ({}, good, "no arrays"),
    ):
        with pytest.raises(DataError, match=message):
            trace(loss, optax.sgd(1 / 8), params, batch=batch)
    with pytest.raises(UnsupportedOperationError, match="int32"):
        trace(loss, optax.sgd(1 / 8), P.astype(np.int32), batch=good)
    with pytest.raises(DataError, match="scalar"):
        trace(lambda p, x, y: x @ p, optax.sgd(1 / 8), P, batch=good)
    with pytest.raises(DataError, match="at least 1"):
        trace(loss, optax.sgd(1 / 8), P, batch=good, chunk=0)


def test_bounds_are_checked_while_tracing():
    with pytest.raises(PrecisionError, match=r"2\^6\d.*Precision"):
        trace(GRAPHS["bias"][0], optax.sgd(2**-24), BIASED, batch=(X, Y), precision=Precision(activation_scale=14, tensors={}))
    with pytest.raises(PrecisionError, match="table"):
        trace(GRAPHS["bias"][0], optax.sgd(1 / 8), BIASED, batch=(X, Y), precision=Precision(table_bits=8))


# ---- formats, rates, constants ---------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_design():
    circuit = headline(chunk=16)
    assert circuit.table_bits == 18
    assert [circuit.scale(p)[1] for p in range(len(circuit.parameters))] == [34, 24] + [35, 24] * 8  # ReLUs are in half units
    assert {(circuit.nodes[i].scale, circuit.nodes[i].operation.bits) for i in circuit.rounded} == {(10, 13), (17, 13)}
    assert {circuit.nodes[i].operation.shift for i in circuit.rounded} == {34, 35, 36}


def headline(chunk):
    dims = (3072, *(1024,) * 8, 10)
    shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.float32)  # noqa: E731
    params = [(shape(a, b), shape(b)) for a, b in zip(dims, dims[1:], strict=False)]

    def loss(params, x, y):
        for kernel, bias in params[:-1]:
            x = relu(x @ kernel + bias)
        return half_mean_square(x @ params[-1][0] + params[-1][1], y)

    return trace(loss, optax.sgd(2**-7), params, batch=(shape(64, 3072), shape(64, 10)), chunk=chunk)


def test_headline_counts():
    counts = headline(chunk=16).counts(16)
    assert counts.cells == 16 * 64 * (8 * 1024 * 5 + 10 * 2) == 41_963_520
    assert counts.lookups == 16 * 64 * (8 * 1024 * 6 + 10 * 3 + 3072 + 10) == 53_518_336
    assert counts.parameters == 10_504_202
    checked = headline(chunk=16).counts(16, headline(chunk=16).coarse_widths)
    assert checked.lookups - counts.lookups == counts.parameters


def test_small_nets_get_small_tables():
    loss, params = GRAPHS["bias"]
    assert trace(loss, optax.sgd(1 / 8), params, batch=(X, Y), chunk=2).table_bits < 16


def test_formats_are_widened_for_large_values():
    loss, params = GRAPHS["bias"]
    large = {**params, "p": params["p"] + 20}
    circuit = trace(loss, optax.sgd(1 / 8), large, batch=(X, Y), precision=Precision(activation_scale=8))
    assert any("activation format widened to 15 bits: [a forward]" in note for note in circuit.notes)
    for given, bits in ((Precision(), 13), (Precision(activation_bits=11, gradient_bits=13), 11)):  # a coarser scale, for this tensor
        circuit = trace(loss, optax.sgd(1 / 8), large, batch=(X, Y), precision=given)
        forward = circuit.nodes[circuit.rounded[0]]
        assert (forward.label, forward.scale, forward.operation.bits) == ("a forward", bits - 7, bits)
        assert not any("widened" in note for note in circuit.notes)


def test_schedules_become_tables():
    loss, params = GRAPHS["bias"]
    schedule = optax.cosine_decay_schedule(0.1, 20)
    circuit = trace(loss, optax.sgd(schedule), params, batch=(X, Y), steps=20)
    assert circuit.max_steps == 20 and len(circuit.parameters[0].updates[0].rates) == 20
    kernel = circuit.parameters[0].updates[0]
    assert gradient_unit([(Fraction(1, 10),)]) == Fraction(5, 4)  # gradients are integers times 5 * 2^-scale
    unit = float(circuit.unit(0)) * 2.0 ** circuit.nodes[kernel.node].scale / 5
    for t in range(20):
        assert kernel.rate(t) * unit == pytest.approx(float(schedule(t)), rel=0.05, abs=0.05 * 0.1 / 16)
    assert any("schedule" in note for note in circuit.notes)
    with pytest.raises(PrecisionError, match="schedule"):
        circuit.bounds(tuple(2**20 for _ in circuit.parameters), 21)
    constant = trace(loss, optax.sgd(optax.constant_schedule(1 / 8)), params, batch=(X, Y), steps=20)
    assert constant.max_steps is None and "rate of updates: 1/8" in constant.notes


def test_rates():
    tolerance = Fraction(1, 20)
    assert rounded_rates((Fraction(1, 64),), tolerance) == ((1,), 6)
    assert rounded_rates((Fraction(3, 64),), tolerance) == ((3,), 6)
    assert rounded_rates((Fraction(21, 1024),), tolerance) == ((21,), 10)
    assert rounded_rates((Fraction(1, 100),), tolerance) == ((5,), 9)
    assert rounded_rates((Fraction(3),), tolerance) == ((3,), 0)
    n, b = rounded_rates((Fraction(1, 100),), Fraction(0) + Fraction(1, 10**6))
    assert abs(Fraction(n[0], 2**b) * 100 - 1) <= Fraction(1, 10**6)


def test_a_fault_of_the_tracer_is_not_one_of_the_loss(monkeypatch):
    """It stays what it is, as do refusals of zkjax that a loss meets while it runs."""

    def fault(graph, eqn, x):
        raise TypeError("a fault")

    monkeypatch.setitem(RULES, "neg", fault)
    x, y, w = (np.ones(shape, np.float32) for shape in ((4, 3), (4, 2), (3, 2)))
    with pytest.raises(TypeError, match="a fault"):
        trace(lambda p, x, y: jnp.mean((-(x @ p) - y) ** 2), optax.sgd(0.1), w, batch=(x, y))

    def loss(p, x, y):
        raise PrecisionError("said while the loss runs")

    for step in (loss, jax.jit(loss), jax.checkpoint(loss), lambda p, x, y: jax.vmap(lambda r: loss(p, r, y))(x)):
        with pytest.raises(PrecisionError, match="said while the loss runs"):
            trace(step, optax.sgd(0.1), w, batch=(x, y))


def test_constants():
    assert simplest(Fraction(float(np.float32(0.1)))) == Fraction(1, 10)
    assert [simplest(Fraction(n)) for n in (2**24 + 2, 3 * 10**9, 2**60 + 2**37)] == [2**24 + 2, 3 * 10**9, 2**60 + 2**37]
    assert simplest(Fraction(float(np.float32(1 / 3)))) == Fraction(1, 3)
    assert simplest(Fraction(-3, 8)) == Fraction(-3, 8)
    assert between(Fraction(314, 100), Fraction(315, 100)) == Fraction(22, 7)
    assert dyadic(Fraction(-3, 8), 12) == (-3, 3)
    assert dyadic(Fraction(96), 12) == (3, -5)
    n, s = dyadic(Fraction(1, 3), 12)
    assert n % 2 == 1 and n.bit_length() <= 12 and abs(Fraction(n, 2**s) * 3 - 1) < 2**-11


def test_precision_refuses_nonsense():
    wrong = {"activation_scale": 0, "gradient_bits": 30, "data_bits": (40,), "rate_tolerance": 1, "step_tolerance": -1, "table_bits": 30}
    for setting in ({name: value} for name, value in wrong.items()):
        with pytest.raises(ConfigurationError, match=next(iter(setting))):
            Precision(**setting)
    with pytest.raises(DataError, match="data_bits"):
        trace(GRAPHS["one layer"][0], optax.sgd(1 / 8), P, batch=(X, Y), precision=Precision(data_bits=(9,)))


def test_tracing_leaves_the_users_jax_alone():
    trace(GRAPHS["bias"][0], optax.sgd(1 / 8), BIASED, batch=(X, Y))
    assert not jax.config.jax_enable_x64 and jnp.ones(1).dtype == jnp.float32


def test_an_auditor_traces_the_same_circuit_without_data():
    loss, params = GRAPHS["bias"]
    precision = Precision(activation_bits=14, gradient_scale=14, gradient_bits=14, data_bits=(12, 12), table_bits=16)
    circuit = trace(loss, optax.sgd(1 / 8), params, batch=(X, Y), precision=precision)
    shapes = lambda tree: jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)  # noqa: E731
    assert trace(loss, optax.sgd(1 / 8), shapes(params), batch=shapes((X, Y)), precision=precision).digest() == circuit.digest()


def test_circuit_holds_no_paths_and_no_values_of_the_batch():
    loss, params = GRAPHS["bias"]
    eight = Precision(activation_scale=8)
    text = json.dumps(trace(loss, optax.sgd(1 / 8), {**params, "p": params["p"] + 20}, batch=(X, Y), precision=eight).to_json())
    assert ".py" not in text and __file__ not in text and "widened" in text
    other = trace(loss, optax.sgd(1 / 8), {**params, "p": params["p"] + 20.01}, batch=(X * 0.99, Y * 0.99), precision=eight)
    assert json.dumps(other.to_json()) == text


def test_a_recurrent_net_is_trained_and_proven():
    """A scan over time: gradients of shared weights are sums over all steps of the loop, more than feed a state one by one.

    A moment of Adam and that of squares read one rounded sum: so no weight moves by more than the rate, however small its gradient is.
    """
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (12, 10, 2)).astype(np.float32), rng.uniform(-1, 1, (12, 1)).astype(np.float32)
    params = {
        name: (0.5 * rng.standard_normal(shape)).astype(np.float32) for name, shape in {"u": (2, 3), "w": (3, 3), "v": (3, 1)}.items()
    }

    def loss(p, x, y):
        def step(h, row):
            h = jnp.tanh(row @ p["u"] + h @ p["w"])
            return h, h.sum()

        last, sums = jax.lax.scan(step, jnp.zeros((len(x), 3)), x.swapaxes(0, 1))
        return jnp.mean((last @ p["v"] - y) ** 2) + 0.01 * jnp.mean(sums)

    circuit = trace(loss, optax.sgd(1e-2, 0.9), params, batch=(x[:4], y[:4]), steps=4, chunk=2)
    assert any(len(circuit.nodes[node].inputs) > MAX_FEEDS for p in circuit.parameters if p.recurrence for node, _ in p.recurrence.feeds)
    circuit = trace(loss, optax.adam(1e-2), params, batch=(x[:4], y[:4]), steps=4, chunk=2)
    assert max(off for _, _, off in circuit.comparison.updates) < 0.01
    one = zkjax.train(circuit, params, (x, 1e-5 * y), steps=1)
    assert max(abs(np.asarray(one.params[name]) - params[name]).max() for name in params) < 1.1e-2
    run = zkjax.train(circuit, params, (x, y), steps=2)
    run.chain.geometry = SMALL
    assert verify_small(circuit, prove_small(circuit, run)).steps == 2


def test_arrays_in_boxes_of_linen():
    """A model that names its axes, for a mesh, hands out boxes: their paths are the arrays', and a run's parameters are in boxes."""
    kernel = flax.linen.with_partitioning(flax.linen.initializers.lecun_normal(), ("rows", "columns"))
    module, x, y = flax.linen.Dense(3, kernel_init=kernel), np.ones((4, 5), np.float32), np.zeros((4, 3), np.float32)
    params = module.init(jax.random.key(0), x)["params"]
    circuit = trace(lambda params, x, y: jnp.mean((module.apply({"params": params}, x) - y) ** 2), optax.sgd(0.1), params, batch=(x, y))
    assert [parameter.path for parameter in circuit.parameters] == ["bias", "kernel"]
    run = zkjax.train(circuit, params, (x, y), steps=1)
    assert isinstance(run.params["kernel"], flax.linen.Partitioned) and run.params["kernel"].names == ("rows", "columns")
