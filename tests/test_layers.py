"""Layers as Flax has them: normalisation, attention, statistics; trained and proven beside floating point, and what stops a liar."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from beside import distance, float_training, followed
from flax import linen as nn
from harness import SMALL, Liar, prove_small, verify_small

import zkjax
from zkjax.ops.rescale import Rescale
from zkjax.tracing.program import trace

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 6, (8, 5)).astype(np.int32)
LABELS = RNG.integers(0, 3, 8).astype(np.int32)
X = RNG.uniform(-1, 1, (8, 6)).astype(np.float32)


class Attention(nn.Module):
    """One block of a decoder, with a mask of its own for padding (token 0)."""

    @nn.compact
    def __call__(self, tokens):
        mask = nn.combine_masks(nn.make_causal_mask(tokens), nn.make_attention_mask(tokens > 0, tokens > 0))
        x = nn.Embed(6, 4)(tokens)
        x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x), mask=mask)
        return nn.Dense(3)(nn.RMSNorm()(x).mean(1))


class Normalised(nn.Module):
    kind: str

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8)(x)
        x = {"layer": nn.LayerNorm(), "root": nn.RMSNorm(), "group": nn.GroupNorm(num_groups=2)}[self.kind](x)
        return nn.Dense(3)(nn.gelu(x))


def cross_entropy(module):
    return lambda params, x, y: optax.softmax_cross_entropy_with_integer_labels(module.apply(params, x), y).mean()


def trained(module, data, optimizer, steps=2):
    return followed(cross_entropy(module), optimizer, module.init(jax.random.key(0), data[0][:1]), data, steps)


@pytest.mark.parametrize("kind", ["layer", "root", "group"])
def test_a_normalised_net_follows_float(kind):
    _, run, off = trained(Normalised(kind), (X, LABELS), optax.sgd(0.1))
    assert off < 0.02 and Liar(run).broken() == set()


def test_a_decoder_is_trained_and_proven():
    """Causal and padding masks: queries of padding have no score left, and equal shares, as in JAX."""
    circuit, run, off = trained(Attention(), (TOKENS, LABELS), optax.sgd(0.1))
    assert (TOKENS[:4] == 0).any() and off < 0.03
    assert any("stands for minus infinity" in note for note in circuit.notes)
    run.chain.geometry = SMALL
    assert verify_small(circuit, prove_small(circuit, run)).steps == 2


def test_attention_by_adam_asks_for_no_absurd_format():
    """The gradient of the keys' bias is 0 but for rounding: it gets the format of a gradient, not one of 2^-60."""
    circuit, run, off = trained(Attention(), (TOKENS, LABELS), optax.adam(1e-3))
    assert not any("coarser" in note for note in circuit.notes) and Liar(run).broken() == set()
    (name,) = (name for name in circuit.precision.tensors if "root of" in name and "key/bias" in name)
    assert circuit.precision.tensors[name].scale <= 24


@pytest.mark.filterwarnings("ignore")  # float32's own update of a net whose outputs are constant is noise
def test_rows_of_equal_numbers_have_a_variance_of_zero():
    """Exactly: a rounded mean would leave a variance below 0, which has no root."""
    x = np.repeat(RNG.uniform(0.5, 1, (8, 1)), 6, axis=1).astype(np.float32)

    def loss(p, x, y):
        return jnp.mean((nn.LayerNorm(epsilon=1e-3, use_scale=False, use_bias=False).apply({}, x * p["a"]) @ p["w"] - y) ** 2)

    params = {"a": np.float32(0.77), "w": np.full((6, 1), 0.25, np.float32)}
    run = zkjax.train(trace(loss, optax.sgd(0.1), params, batch=(x[:4], x[:4, :1]), chunk=2), params, (x, x[:, :1]), steps=2)
    assert Liar(run).broken() == set()


def test_batch_statistics_are_states():
    """Running means and variances follow float32's; a variance feeds its state rounded, and the root whole."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.relu(nn.BatchNorm(use_running_average=False, momentum=0.9)(nn.Dense(4)(x))))

    variables = Net().init(jax.random.key(0), X[:4])
    params, stats = variables["params"], variables["batch_stats"]

    def loss(params, state, x, y):
        logits, new = Net().apply({"params": params, "batch_stats": state}, x, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), new["batch_stats"]

    circuit = trace(loss, optax.sgd(0.1, 0.9), params, state=stats, batch=(X[:4], LABELS[:4]), chunk=2, steps=8)
    run = zkjax.train(circuit, params, (X, LABELS), steps=2)
    before = stats
    for rows in np.asarray(run.indices):
        (_, stats), gradient = jax.value_and_grad(loss, has_aux=True)(params, stats, X[rows], LABELS[rows])
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)  # the second step's momentum changes no statistics
    found = {x.path: run.final[p] * float(circuit.unit(p)) for p, x in enumerate(circuit.parameters)}
    for name in ("mean", "var"):
        wanted, first = np.asarray(stats["BatchNorm_0"][name]), np.asarray(before["BatchNorm_0"][name])
        assert np.abs(found[f"state/BatchNorm_0/{name}"] - wanted).max() < 0.02 * np.abs(wanted - first).max(), name
    assert Liar(run).broken() == set()


def test_a_state_beside_the_parameters():
    """Of spectral normalisation: u is no number that the circuit gives, and sigma is written alone. A run goes on with its own."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.relu(nn.SpectralNorm(nn.Dense(4))(x, update_stats=True)))

    variables = Net().init(jax.random.key(0), X[:4])
    params, state = variables["params"], variables["batch_stats"]

    def loss(params, state, x, y):
        logits, new = Net().apply({"params": params, "batch_stats": state}, x, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), new["batch_stats"]

    circuit = trace(loss, optax.sgd(0.1), params, state=state, batch=(X[:4], LABELS[:4]), chunk=2, steps=8)
    runs = [zkjax.train(circuit, params, (X, LABELS), steps=2, state=state)]
    runs.append(zkjax.train(circuit, runs[0], None, steps=2))
    (whole,) = zkjax.chunks(circuit, params, (X, LABELS), steps=2, chunk=2, state=state)
    assert jax.tree.all(jax.tree.map(np.array_equal, whole.state, runs[0].state))
    exact, found = (params, state), (runs[1].params, runs[1].state)
    for rows in np.concatenate([run.indices for run in runs]):
        (_, after), gradient = jax.value_and_grad(loss, has_aux=True)(*exact, X[rows], LABELS[rows])
        exact = jax.tree.map(lambda p, g: p - 0.1 * g, exact[0], gradient), after
    assert jax.tree.structure(found) == jax.tree.structure(exact)
    assert all(distance(*x) < 0.05 for x in zip(found, exact, (params, state), strict=True))
    assert Liar(runs[0]).broken() == set()
    other = jax.tree.map(lambda x: 2 * x, state)
    for given, message in (
        ((params, None), "model's state too"),
        ((params, {"u": 1.0}), "other paths"),
        ((params, other), "not what the circuit gives"),
        ((runs[0], state), "goes on with its own state"),
    ):
        with pytest.raises(zkjax.DataError, match=message):
            zkjax.train(circuit, given[0], (X, LABELS), steps=2, state=given[1])


def test_few_weights_are_rounded_where_bounds_ask_for_it():
    """A convolution reads its few weights many times: exact ones would make all formats coarser."""
    x, y = RNG.uniform(0, 1, (8, 8, 8, 1)).astype(np.float32), LABELS

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.LayerNorm()(nn.gelu(nn.Conv(4, (3, 3))(x)))
            return nn.Dense(3)(nn.relu(nn.Conv(2, (3, 3))(x)).mean((1, 2)))

    params, plain = Net().init(jax.random.key(0), x[:1]), cross_entropy(Net())

    def loss(params, x, y):
        return plain(params, x, y) + 1e-4 * sum(jnp.sum(p**2) for p in jax.tree.leaves(params) if p.ndim > 1)

    optimizer = optax.sgd(optax.cosine_decay_schedule(0.02, 20), 0.9, nesterov=True)
    circuit = trace(loss, optimizer, params, batch=(x[:4], y[:4]), chunk=2, steps=20)
    assert "params/Conv_1/kernel" in circuit.precision.tensors and any("weights are rounded" in note for note in circuit.notes)
    assert not any("coarser" in note for note in circuit.notes)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (params, (x[:4], y[:4])))
    again = trace(loss, optimizer, shapes[0], batch=shapes[1], chunk=2, steps=20, precision=circuit.precision)
    assert again.digest() == circuit.digest()
    run = zkjax.train(circuit, params, (x, y), steps=2)
    assert Liar(run).broken() == set()
    assert distance(run.params, float_training(loss, optimizer, params, (x, y), run.indices), params) < 0.05


# ---- what is rounded --------------------------------------------------------------------------------------------------


def roundings(circuit, shape) -> int:
    """How many tensors of a shape are rounded."""
    return sum(isinstance(node.operation, Rescale) and node.shape == shape for node in circuit.nodes)


@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_of_a_softmax_is_rounded_once(masked):
    """JAX derives e / sum(e) by both its sides, with 1 / sum(e) and its square; together these are two products with the shares."""
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=(6, 5)).astype(np.float32) for name in "qkv"}
    x, y = rng.normal(size=(4, 8, 6)).astype(np.float32), rng.normal(size=(4, 8, 5)).astype(np.float32)

    def loss(p, x, y):
        scores = jnp.einsum("btd,bsd->bts", x @ p["q"], x @ p["k"]) / 2.0
        if masked:
            scores = jnp.where(np.tri(8, dtype=bool), scores, -1e9)
        return ((jax.nn.softmax(scores, -1) @ (x @ p["v"]) - y) ** 2).mean()

    circuit = zkjax.trace(loss, optax.sgd(0.1), params, batch=(x, y))
    assert circuit.comparison.off < 0.04
    assert roundings(circuit, (4, 8, 8)) <= 5  # scores, their distance from the maximum, shares, and the gradients of shares and scores


def test_the_gradient_of_a_variance_reads_what_the_forward_pass_has_rounded():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 7, 6)).astype(np.float32), rng.normal(size=(4, 7, 3)).astype(np.float32)
    norm = nn.LayerNorm(use_bias=False, use_scale=False)
    params = {"a": rng.normal(size=(6, 8)).astype(np.float32), "b": rng.normal(size=(8, 3)).astype(np.float32)}

    def loss(p, x, y):
        return ((norm.apply({}, x @ p["a"]) @ p["b"] - y) ** 2).mean()

    circuit = zkjax.trace(loss, optax.sgd(0.1), params, batch=(x, y))
    assert circuit.comparison.off < 0.01
    # before and after the mean is taken away, divided by the deviation; the gradients of the last and the first, and a product
    assert roundings(circuit, (4, 7, 8)) <= 5
