"""Learning rates told from a circuit alone, and circuits whose updates are no descent on their loss."""

from dataclasses import replace
from fractions import Fraction

import jax
import jax.numpy as jnp
import optax
import pytest
from harness import mlp_loss

import zkjax
from zkjax.circuit.descent import learning_rates
from zkjax.circuit.parts import Loss
from zkjax.tracing.precision import TensorFormat

PARAMS = [{"w": jax.ShapeDtypeStruct(s, jnp.float32), "b": jax.ShapeDtypeStruct(s[1:], jnp.float32)} for s in ((5, 4), (4, 4), (4, 3))]
BATCH = (jax.ShapeDtypeStruct((6, 5), jnp.float32), jax.ShapeDtypeStruct((6, 3), jnp.float32))


def traced(optimizer, loss=mlp_loss, steps=None):
    return zkjax.trace(loss, optimizer, PARAMS, batch=BATCH, chunk=2, steps=steps)


@pytest.mark.parametrize("rate", [1 / 16, 0.1, 3e-4, 0.7])
def test_constant_rates(rate):
    assert all(found == pytest.approx((rate,), rel=5e-4) for found in learning_rates(traced(optax.sgd(rate))))


def test_schedules_and_frozen_parameters():
    schedule = optax.cosine_decay_schedule(0.1, 12)
    for found in learning_rates(traced(optax.sgd(schedule), steps=12)):
        assert found == pytest.approx([float(schedule(t)) for t in range(12)], rel=0.05, abs=0.05 * 0.1 / 16)

    def frozen(params, x, y):
        return mlp_loss([params[0], jax.lax.stop_gradient(params[1]), params[2]], x, y)

    found = learning_rates(traced(optax.sgd(0.1), frozen))
    assert found[2] == found[3] == (0.0,) and found[0] == pytest.approx((0.1,), rel=5e-4)


def test_several_rates_and_uses():
    """Rates that differ by a factor are rounded to it; a tied weight's update has several uses."""
    labels = [{"w": "fast", "b": "slow"}] * 3
    both = optax.multi_transform({"fast": optax.sgd(0.1), "slow": optax.sgd(0.01)}, labels)
    assert [r[0] for r in learning_rates(traced(both))] == pytest.approx([0.01, 0.1] * 3, rel=0.05)

    def tied(params, x, y):
        h = jax.nn.relu(x @ params[0]["w"]) @ params[1]["w"]
        return mlp_loss([{"w": params[1]["w"]}, {"w": params[2]["w"]}], h, y)

    found = learning_rates(traced(optax.sgd(1 / 32), tied))
    assert [r[0] for r in found] == pytest.approx([0, 1 / 32, 0, 1 / 32, 0, 1 / 32], rel=5e-4)


def test_deep_convolutions():
    """Kernels of many numbers each: outputs are no larger than those of dense layers, and do not saturate the softmax."""
    shapes = [*((3, 3, a, 32) for a in (2, *[32] * 5)), (32,), (512, 10), (10,)]

    def loss(params, x, y):
        *kernels, last, w, b = params
        for kernel in kernels:
            x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.relu(x + last if kernel is kernels[-1] else x)
        return optax.softmax_cross_entropy_with_integer_labels(x.reshape(len(x), -1) @ w + b, y).mean()

    params = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
    batch = jax.ShapeDtypeStruct((2, 4, 4, 2), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.int32)
    circuit = zkjax.trace(loss, optax.sgd(1 / 16), params, batch=batch, chunk=2)
    assert all(found == pytest.approx((1 / 16,), rel=2e-3) for found in learning_rates(circuit))


@pytest.mark.parametrize("words", [7, 1500])
def test_embeddings(words):
    """Rows picked by integers, as labels are; of many words by digits."""
    params = {"rows": jax.ShapeDtypeStruct((words, 3), jnp.float32), "last": jax.ShapeDtypeStruct((3, words), jnp.float32)}

    def loss(params, tokens):
        return optax.softmax_cross_entropy_with_integer_labels(params["rows"][tokens[:, :-1]] @ params["last"], tokens[:, 1:]).mean()

    formats = zkjax.Precision(tensors={"tokens": TensorFormat(0, words.bit_length())})
    batch = (jax.ShapeDtypeStruct((2, 3), jnp.int32),)
    circuit = zkjax.trace(loss, optax.sgd(1 / 16), params, batch=batch, chunk=2, precision=formats)
    assert all(found == pytest.approx((1 / 16,), rel=5e-4) for found in learning_rates(circuit))
    assert "NO MULTIPLE" not in str(circuit)


def test_an_update_that_is_no_descent():
    circuit = traced(optax.sgd(1 / 16))
    first = circuit.parameters[1]

    twice = replace(first, updates=tuple(replace(u, rates=tuple(2 * r for r in u.rates)) for u in first.updates))
    doubled = replace(circuit, parameters=(circuit.parameters[0], twice, *circuit.parameters[2:]))
    assert learning_rates(doubled)[1] == pytest.approx((1 / 8,), rel=5e-4)
    one, other = circuit.parameters[0], circuit.parameters[2]  # the biases of the first two layers
    swapped = (replace(one, updates=other.updates), first, replace(other, updates=one.updates), *circuit.parameters[3:])
    found = learning_rates(replace(circuit, parameters=swapped))
    assert found[0] is found[2] is None and found[1] == pytest.approx((1 / 16,), rel=5e-4)
    halved = replace(circuit, losses=tuple(Loss(x.node, x.factor * Fraction(1, 2)) for x in circuit.losses))
    assert learning_rates(halved)[0] == pytest.approx((1 / 8,), rel=5e-4)
    assert learning_rates(replace(circuit, losses=()))[0] is None


def test_large_circuits_are_not_tried(monkeypatch):
    circuit = traced(optax.sgd(1 / 16))
    for limit in ("MAX_OPERATIONS", "MAX_ENTRIES"):
        with monkeypatch.context() as patch:
            patch.setattr(f"zkjax.circuit.descent.{limit}", 10)
            assert learning_rates(circuit) is None
