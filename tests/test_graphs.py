"""Any graph of the supported operations: proven, verified, and lied about."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import Liar, make_run, prove_small, verify_small
from hypothesis import example, given, settings
from hypothesis import strategies as st

import zkjax

RNG = np.random.default_rng(5)


def matrix(*shape):
    return (RNG.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


def mean_square(a, b):
    return 0.5 * jnp.mean(jnp.sum((a - b) ** 2, axis=-1))


def residual(p, x, y):
    h = jax.nn.relu(x @ p["a"])
    h = h + jax.nn.relu(h @ p["b"])
    return mean_square(h @ p["c"], y)


def two_heads(p, x, y, z):
    h = jax.nn.relu(x @ p["a"])
    return mean_square(h @ p["b"], y) + jnp.mean(optax.losses.l2_loss(h @ p["c"], z))


def tied(p, x, y):
    return mean_square(jax.nn.relu(x @ p["w"]) @ p["w"].T + p["b"], y)


def frozen(p, x, y):
    h = jax.nn.relu(x @ jax.lax.stop_gradient(p["a"]))
    return mean_square(h @ p["b"], y)


def elementwise(p, x, y):
    return mean_square((jax.nn.relu(x @ p["a"]) * (x @ p["b"])) @ p["c"], y)


def reshaped(p, x, y):
    h = jax.nn.relu(x @ p["a"]).reshape(-1, 2, 3)
    h = jnp.einsum("bij,jk->bik", h, p["b"]).reshape(-1, 6)  # joins an axis of h with one of b
    return mean_square(jax.nn.relu(h) @ p["c"], y)


def images(p, x, y):
    h = jnp.einsum("bij,jk->bik", x, p["a"]).reshape(-1, 36)
    h = jax.nn.relu(h + p["b"]).reshape(-1, 6, 6)
    return mean_square(jnp.einsum("bij,j->bi", h, p["c"]), y)


def concatenated(p, x, y):
    left, right = jax.nn.relu(x[:, :2] @ p["a"]), x[:, 2:] @ p["b"]
    h = jnp.concatenate([left, right], axis=-1)
    return mean_square(h[:, ::-1] @ p["c"] + jnp.array([0.5, -0.25], jnp.float32), y)


def only_linear(p, x, y):
    return jnp.sum(optax.losses.squared_error(x @ p["w"], y))


def scaled(p, x, y):
    return mean_square((x * 0.5) @ p["w"] * jnp.array([2.0, -1.0], jnp.float32) + 3 * p["b"], y)


def scalar_parameter(p, x, y):
    return mean_square(jax.nn.relu(x @ p["w"] + p["s"]), y)


FORGED = 4  # tensors of each graph; ``test_lies.py`` forges every cell of others
X, Y, Z = (RNG.normal(size=(9, n)).astype(np.float32) for n in (4, 2, 3))
GRAPHS = {
    "residual": (residual, {"a": matrix(4, 3), "b": matrix(3, 3), "c": matrix(3, 2)}, (X, Y)),
    "two heads": (two_heads, {"a": matrix(4, 3), "b": matrix(3, 2), "c": matrix(3, 3)}, (X, Y, Z)),
    "tied": (tied, {"w": matrix(4, 3), "b": matrix(1, 4)[0]}, (X, X[::-1].copy())),
    "frozen and unused": (frozen, {"a": matrix(4, 3), "b": matrix(3, 2), "unused": matrix(2, 2)}, (X, Y)),
    "elementwise": (elementwise, {"a": matrix(4, 3), "b": matrix(4, 3), "c": matrix(3, 2)}, (X, Y)),
    "reshape": (reshaped, {"a": matrix(4, 6), "b": matrix(3, 3), "c": matrix(6, 2)}, (X, Y)),
    "concatenate and slice": (concatenated, {"a": matrix(2, 3), "b": matrix(2, 2), "c": matrix(5, 2)}, (X, Y)),
    "one linear layer": (only_linear, {"w": matrix(4, 2)}, (X, Y)),
    "scalar parameter": (scalar_parameter, {"w": matrix(4, 2), "s": np.float32(0.25)}, (X, Y)),
    "constants": (scaled, {"w": matrix(4, 2), "b": matrix(1, 2)[0]}, (X, Y)),
}


LARGE = {  # of one test only
    "(B, 6, 6) to (B, 36) and back": (images, {"a": matrix(6, 6), "b": matrix(36), "c": matrix(6)}, (matrix(9, 6, 6), matrix(9, 6))),
}


@pytest.mark.parametrize("name", [*GRAPHS, *LARGE])
def test_graph(name):
    loss, params, data = (GRAPHS | LARGE)[name]
    circuit, run = make_run(loss, params, data, batch=3, steps=3)
    losses = tuple(zip(*run.loss_integers, strict=True))
    assert Liar(run, losses).broken() == set()

    proof = prove_small(circuit, run, reveal=("loss",))
    assert verify_small(circuit, zkjax.Proof.parse(bytes(proof))) == proof.statement

    rng = np.random.default_rng(0)
    for p, parameter in enumerate(circuit.parameters):  # a forged result, in every parameter; of frozen ones there is none
        if p in circuit.frozen:
            continue
        liar = Liar(run, losses)
        liar.final[p].reshape(-1)[rng.integers(liar.final[p].size)] += 1
        assert liar.broken() == {"level 2"}, parameter.path
    keys = [k for k in Liar(run).witness.tensors if k[0] in ("quotient", "sign")]
    for key in [keys[i] for i in rng.permutation(len(keys))[:FORGED]]:  # a forged activation, mask or gradient at some operation
        liar = Liar(run, losses)
        tensor = liar.witness.tensors[key].astype(np.int64)
        tensor.reshape(-1)[rng.integers(tensor.size)] += 1
        liar.witness.tensors[key] = tensor
        assert liar.broken(), key


def test_frozen_and_unused_parameters_stay_as_they_are():
    loss, params, data = GRAPHS["frozen and unused"]
    _, run = make_run(loss, params, data, batch=3, steps=3)
    for path, start, end in zip([p.path for p in run.circuit.parameters], run.initial, run.final, strict=True):
        assert np.array_equal(start, end) == (path != "b")


def test_schedule():
    loss, params, data = GRAPHS["one linear layer"]
    circuit, run = make_run(loss, params, data, batch=3, steps=4, optimizer=optax.sgd(optax.linear_schedule(1 / 64, 1 / 256, 3)))
    proof = prove_small(circuit, run)
    assert verify_small(circuit, proof).steps == 4
    with pytest.raises(zkjax.PrecisionError, match="steps"):
        zkjax.train(circuit, run, data, steps=1)


KINDS = ["dense", "bias", "relu", "skip", "product", "flip", "split", "fold", "tied", "reshape", "frozen"]


@settings(max_examples=2)
@given(
    width=st.integers(2, 4),
    batch=st.integers(1, 4),
    ops=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
    heads=st.integers(1, 2),
    scheduled=st.booleans(),
    proven=st.integers(0, 3).map(lambda x: x == 0),
    seed=st.integers(0, 2**16),
)
@example(width=4, batch=3, ops=["skip", "frozen", "tied", "reshape"], heads=2, scheduled=True, proven=True, seed=1)
@example(width=3, batch=2, ops=["tied", "product", "split", "bias"], heads=2, scheduled=False, proven=True, seed=2)
@example(width=2, batch=4, ops=["reshape", "fold", "flip", "relu"], heads=1, scheduled=True, proven=True, seed=3)
def test_random_graphs(width, batch, ops, heads, scheduled, proven, seed):
    """Random compositions of layers keep all constraints, and forgeries break one; some are proven and verified.

    Skips, products of activations, parts cut off and joined again, reshapes, weights used with their transpose, frozen and unused
    parameters, one or two heads with a loss each, a constant rate or a schedule.
    """
    rng = np.random.default_rng(seed)
    params = {f"w{i}": (rng.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32) for i in range(len(ops))}
    params |= {f"b{i}": (rng.normal(size=width) * 0.1).astype(np.float32) for i in range(len(ops))} | {"out": params["w0"][:, :1].copy()}
    params |= {"second": params["w0"][:, 1:].copy(), "unused": params["w0"].copy()}
    across = (0, 2, 1)

    def loss(p, x, y, z):
        h = x
        for i, op in enumerate(ops):
            before, w = h, p[f"w{i}"]
            if op in ("dense", "skip", "product"):
                h = h @ w
            if op == "bias":
                h = h @ w.T + p[f"b{i}"]
            if op in ("relu", "skip"):
                h = jax.nn.relu(h @ w)
            if op == "skip":
                h = h + before
            if op == "product":
                h = h * jax.nn.relu(before)
            if op == "flip":
                h = h[:, ::-1] - 0.5 * before
            if op == "split":
                h = jnp.concatenate([h[:, 1:], h[:, :1]], axis=1)
            if op == "fold":
                h = jnp.transpose(jnp.transpose(h)[::-1])
            if op == "tied":
                h = jax.nn.relu(h @ w) @ w.T
            if op == "reshape":
                h = jnp.transpose(h.reshape(-1, 2 - width % 2, width // (2 - width % 2)), across).reshape(-1, width)
            if op == "frozen":
                h = h @ jax.lax.stop_gradient(w)
        first = mean_square(h @ p["out"], y)
        return first + jnp.mean(optax.losses.l2_loss(h @ p["second"], z)) if heads == 2 else first

    data = tuple(rng.uniform(-1, 1, (6, n)).astype(np.float32) for n in (width, 1, width - 1))
    rate = optax.linear_schedule(1 / 64, 1 / 256, 1) if scheduled else 1 / 64
    precision = zkjax.Precision(data_bits=(11, 11, 11))
    circuit, run = make_run(loss, params, data, batch=batch, steps=2, optimizer=optax.sgd(rate), precision=precision)
    losses = tuple(zip(*run.loss_integers, strict=True))
    assert len(losses) == heads and Liar(run, losses).broken() == set()
    moved = {p.path for p in circuit.parameters if p.updates}
    assert "out" in moved and "unused" not in moved and ("second" in moved) == (heads == 2)
    assert not moved & {f"w{i}" for i, op in enumerate(ops) if op == "frozen"}
    assert {len(u.rates) for p in circuit.parameters for u in p.updates} == {1 + scheduled}
    liar = Liar(run, losses)
    p = int(rng.choice([p for p in range(len(run.final)) if p not in circuit.frozen]))  # frozen ones have no last weights
    liar.final[p].reshape(-1)[0] += 1
    assert liar.broken() == {"level 2"}
    if proven:
        proof = prove_small(circuit, run, reveal=("loss",))
        assert verify_small(circuit, zkjax.Proof.parse(bytes(proof))) == proof.statement
