"""A small net with functions, maxima, a sign, picking, divisions and roots, trained with cross-entropy and Adam."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
from test_graphs import X, matrix

import zkjax
from zkjax.tracing.precision import TensorFormat

STEPS = 5


def curving():
    """(circuit, a run of its first three steps, data); of five."""

    def loss(p, x, y):
        h = jnp.tanh(x @ p["a"])
        h = jax.nn.relu(h - jnp.max(h, axis=-1, keepdims=True) / 2)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(h @ p["c"], y))

    data = np.array(X, np.float32), np.arange(len(X), dtype=np.int32) % 3
    wide = {"root of optimizer/0/nu/a gradient": TensorFormat(16, 17)}  # whose forms are beyond the table
    precision = zkjax.Precision(activation_scale=5, activation_bits=8, gradient_scale=8, gradient_bits=10, tensors=wide)
    params = {"a": matrix(data[0].shape[1], 3), "c": matrix(3, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zkjax.PrecisionWarning)
        circuit = zkjax.trace(loss, optax.adam(1e-2), params, batch=tuple(x[:4] for x in data), precision=precision, steps=STEPS, chunk=3)
        return circuit, zkjax.train(circuit, params, data, steps=3, seed=1)
